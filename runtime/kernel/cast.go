package kernel

import (
	"math"
	"unsafe"

	"github.com/asdlc/asdlc/graph"
)

// caster converts the elements of src, given as bytes, to those of dst.
type caster func(dst, src []byte)

// makeCast serves Cast and CastLike: the output's type says what to convert to.
//
// Floats become integers by truncation; what does not fit saturates, and NaN becomes 0 (ONNX leaves both undefined).
// Integers that do not fit lose their high bits. To bool, everything but zero is true. To and from 16-bit floats the
// way is over float32, rounding to nearest, ties to even.
func makeCast(c *Call) (Run, error) {
	if err := c.needs(1); err != nil {
		return nil, err
	}
	from, to := c.In[0].Elem, c.Out[0].Elem
	conv := casterOf(from, to)
	if conv == nil {
		return nil, c.Errorf(graph.ErrUnsupported, "no conversion from %s to %s", from, to)
	}
	n, a, b := c.In[0].Len(), from.Size(), to.Size()
	var dst, src []byte
	body := func(lo, hi int) { conv(dst[lo*b:hi*b], src[lo*a:hi*a]) }
	return func(in, out []*Tensor) error {
		dst, src = out[0].Raw, in[0].Raw
		c.Pool.For(n, grainCheap, body)
		return nil
	}, nil
}

func castRows() []Row {
	return []Row{
		{Op: "Cast", Note: "portable", Make: makeCast},
		{Op: "CastLike", Note: "portable", Make: makeCast},
	}
}

// casterOf is the conversion between two element types, or nil.
func casterOf(from, to graph.Elem) caster {
	if from == to && from.Valid() {
		return func(dst, src []byte) { copy(dst, src) }
	}
	switch from {
	case graph.Float32:
		return casterTo[float32](to)
	case graph.Float64:
		return casterTo[float64](to)
	case graph.Int8:
		return casterTo[int8](to)
	case graph.Int16:
		return casterTo[int16](to)
	case graph.Int32:
		return casterTo[int32](to)
	case graph.Int64:
		return casterTo[int64](to)
	case graph.Uint8, graph.Bool: // a bool is 0 or 1
		return casterTo[uint8](to)
	case graph.Uint16:
		return casterTo[uint16](to)
	case graph.Uint32:
		return casterTo[uint32](to)
	case graph.Uint64:
		return casterTo[uint64](to)
	case graph.Float16:
		return fromHalf(graph.HalfToFloat32, to)
	case graph.BFloat16:
		return fromHalf(bfloat16ToFloat32, to)
	}
	return nil
}

func casterTo[A numeric](to graph.Elem) caster {
	switch to {
	case graph.Float32:
		return convert[A, float32]
	case graph.Float64:
		return convert[A, float64]
	case graph.Int8:
		return toInt[A, int8]()
	case graph.Int16:
		return toInt[A, int16]()
	case graph.Int32:
		return toInt[A, int32]()
	case graph.Int64:
		return toInt[A, int64]()
	case graph.Uint8:
		return toInt[A, uint8]()
	case graph.Uint16:
		return toInt[A, uint16]()
	case graph.Uint32:
		return toInt[A, uint32]()
	case graph.Uint64:
		return toInt[A, uint64]()
	case graph.Bool:
		return toBool[A]
	case graph.Float16:
		return toHalf[A](float32ToHalf)
	case graph.BFloat16:
		return toHalf[A](float32ToBFloat16)
	}
	return nil
}

// view reads bytes as elements; their address is aligned to the element size.
func view[T graph.Number](raw []byte) []T {
	if len(raw) == 0 {
		return nil
	}
	var z T
	return unsafe.Slice((*T)(unsafe.Pointer(&raw[0])), len(raw)/int(unsafe.Sizeof(z)))
}

func convert[A, B numeric](dst, src []byte) {
	d := view[B](dst)
	for i, x := range view[A](src) {
		d[i] = B(x)
	}
}

func toBool[A numeric](dst, src []byte) {
	d := view[bool](dst)
	for i, x := range view[A](src) {
		d[i] = x != 0
	}
}

func toInt[A numeric, B integral]() caster {
	if graph.ElemOf[A]().IsFloat() {
		return saturate[A, B]
	}
	return convert[A, B]
}

// saturate truncates floats to integers; values outside the range become its ends.
func saturate[A numeric, B integral](dst, src []byte) {
	least, greatest := limits[B]()
	lo, hi := float64(least), float64(greatest) // hi may round up, to 2^63 or 2^64
	d := view[B](dst)
	for i, x := range view[A](src) {
		switch f := float64(x); {
		case f != f:
			d[i] = 0
		case f <= lo:
			d[i] = least
		case f >= hi:
			d[i] = greatest
		default:
			d[i] = B(f)
		}
	}
}

// block is the number of elements that are converted over float32 at a time.
const block = 256

func fromHalf(decode func(uint16) float32, to graph.Elem) caster {
	rest, size := casterOf(graph.Float32, to), to.Size()
	if rest == nil {
		return nil
	}
	buffers := &freeList[[block]float32]{}
	return func(dst, src []byte) {
		buf := buffers.get()
		raw := unsafe.Slice((*byte)(unsafe.Pointer(buf)), 4*block)
		for half := view[uint16](src); len(half) > 0; {
			n := min(block, len(half))
			for i, h := range half[:n] {
				buf[i] = decode(h)
			}
			rest(dst[:n*size], raw[:4*n])
			half, dst = half[n:], dst[n*size:]
		}
		buffers.put(buf)
	}
}

func toHalf[A numeric](encode func(float32) uint16) caster {
	return func(dst, src []byte) {
		d := view[uint16](dst)
		for i, x := range view[A](src) {
			d[i] = encode(float32(x))
		}
	}
}

func bfloat16ToFloat32(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

// float32ToBFloat16 rounds to nearest, ties to even; NaN stays NaN.
func float32ToBFloat16(f float32) uint16 {
	b := math.Float32bits(f)
	if f != f {
		return uint16(b>>16) | 0x40
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

// float32ToHalf rounds to IEEE 754 binary16, to nearest, ties to even; what exceeds 65504 by half a unit is infinite.
func float32ToHalf(f float32) uint16 {
	b := math.Float32bits(f)
	sign := uint16(b >> 16 & 0x8000)
	b &= 0x7fffffff
	switch {
	case b > 0x7f800000: // NaN
		return sign | 0x7e00
	case b >= 0x47800000: // 2^16 and above
		return sign | 0x7c00
	case b >= 0x38800000: // normal: rebias the exponent and round off 13 bits
		b -= 112 << 23
		return sign | uint16((b+0xfff+b>>13&1)>>13)
	}
	// Subnormal: in units of 2^-24, which adding 2^-1 puts into the last bits of the fraction, rounded by the hardware.
	return sign | uint16(math.Float32bits(math.Float32frombits(b)+0.5)&0xffff)
}
