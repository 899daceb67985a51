package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A unit is an instruction set together with an element type.
type unit struct {
	isa
	elem
}

// An isa gives the register file that the kernels are shaped for.
type isa struct {
	set   string // suffix of the function names
	bytes int    // of a vector register
	rows  int    // of the tallest matrix tile; tile(rows, 2) uses all registers
	wide  int    // the tallest tile that may be four vectors wide
	dot   int    // rows and columns of the largest tile of dot products

	opmask bool // masks are in mask registers
}

// An elem gives the instructions of one element type.
type elem struct {
	suffix, goType string
	size           int // bytes of an element

	mov, bcast, fma, mul, add, xor func(...Op)
	unpackLo, unpackHi, shuf128    func(...Op)
	movZ                           func(m, k, z Op)
	maskMov                        func(src, mask, dst Op)
	scalar                         func(...Op) // scalar move
	even                           func(...Op) // the even elements of two vectors, by 128-bit lanes
	cmp, spread                    func(...Op) // spread fills a vector with the lowest element of one
	blend                          func(signs, yes, no, to Op)
	blendMask                      func(...Op) // by a mask register
}

var (
	avx512 = isa{set: "AVX512", bytes: 64, rows: 14, wide: 6, dot: 4, opmask: true}
	avx2   = isa{set: "AVX2", bytes: 32, rows: 6, wide: 2, dot: 3}

	f32 = elem{
		suffix: "F32", goType: "float32", size: 4,
		mov: VMOVUPS, bcast: VBROADCASTSS, fma: VFMADD231PS, mul: VMULPS, add: VADDPS, xor: VXORPS,
		unpackLo: VUNPCKLPS, unpackHi: VUNPCKHPS, shuf128: VSHUFF32X4,
		movZ: VMOVUPS_Z, maskMov: VMASKMOVPS, scalar: VMOVSS,
		even: func(ops ...Op) { VSHUFPS(append([]Op{U8(0x88)}, ops...)...) },
		cmp:  VCMPPS, spread: VBROADCASTSS, blend: VBLENDVPS, blendMask: VBLENDMPS,
	}
	f64 = elem{
		suffix: "F64", goType: "float64", size: 8,
		mov: VMOVUPD, bcast: VBROADCASTSD, fma: VFMADD231PD, mul: VMULPD, add: VADDPD, xor: VXORPD,
		unpackLo: VUNPCKLPD, unpackHi: VUNPCKHPD, shuf128: VSHUFF64X2,
		movZ: VMOVUPD_Z, maskMov: VMASKMOVPD, scalar: VMOVSD,
		even: VUNPCKLPD,
		cmp:  VCMPPD, spread: VBROADCASTSD, blend: VBLENDVPD, blendMask: VBLENDMPD,
	}

	units = []unit{{avx512, f32}, {avx512, f64}, {avx2, f32}, {avx2, f64}}
)

func (s isa) reg() reg.VecVirtual {
	if s.bytes == 64 {
		return ZMM()
	}
	return YMM()
}

func (s isa) regs(n int) []reg.VecVirtual {
	r := make([]reg.VecVirtual, n)
	for i := range r {
		r[i] = s.reg()
	}
	return r
}

// name is the function name of an operation on this unit.
func (u unit) name(op string) string { return op + u.suffix + u.set }

func (u unit) lanes() int { return u.bytes / u.size }

// shift is log2 of the element size.
func (u unit) shift() uint64 { return map[int]uint64{4: 2, 8: 3}[u.size] }

// lanesShift is log2 of the lane count.
func (u unit) lanesShift() uint64 { return map[int]uint64{4: 2, 8: 3, 16: 4}[u.lanes()] }

// text starts a function that neither grows the stack nor keeps its pointers.
func text(name, signature string) {
	TEXT(name, NOSPLIT, signature)
	Pragma("noescape")
}

// mask returns a register that selects the first n lanes, 0 <= n <= lanes.
func (u unit) mask(n reg.GPVirtual) reg.Register {
	if u.bytes == 64 {
		bits, m := GP64(), K()
		MOVQ(I32(-1), bits)
		BZHIQ(n, bits, bits)
		KMOVW(bits.As32(), m)
		return m
	}
	window := u.window()
	at, base, m := GP64(), GP64(), YMM()
	LEAQ(window, base)
	MOVQ(U32(uint32(u.lanes())), at)
	SUBQ(n, at)
	VMOVUPS(Mem{Base: base, Index: at, Scale: uint8(u.size)}, m)
	return m
}

// windows holds the sliding mask tables already emitted into this file.
var windows = map[int]Mem{}

// window is a table of lanes ones followed by lanes zeros; a vector load from element lanes-n of it is the mask of
// the first n lanes.
func (u unit) window() Mem {
	if m, ok := windows[u.size]; ok {
		return m
	}
	m := GLOBL(fmt.Sprintf("window%d", 8*u.size), attr.RODATA|attr.NOPTR)
	for i := 0; i < 2*u.bytes/8; i++ {
		word := U64(0)
		if i < u.bytes/8 {
			word = ^U64(0)
		}
		DATA(8*i, word)
	}
	windows[u.size] = m
	return m
}

// load reads a vector; with mask, only the masked lanes, and the others are 0.
func (u unit) load(m Mem, mask reg.Register, dst Op) {
	switch {
	case mask == nil:
		u.mov(m, dst)
	case u.opmask:
		u.movZ(m, mask, dst)
	default:
		u.maskMov(m, mask, dst)
	}
}

// store writes a vector; with mask, only the masked lanes.
func (u unit) store(src Op, mask reg.Register, m Mem) {
	switch {
	case mask == nil:
		u.mov(src, m)
	case u.opmask:
		u.mov(src, mask, m)
	default:
		u.maskMov(src, mask, m)
	}
}

// param loads a 64-bit parameter.
func param(name string) reg.GPVirtual {
	r := GP64()
	Load(Param(name), r)
	return r
}

// bytesParam loads a count of elements and scales it to bytes.
func (u unit) bytesParam(name string) reg.GPVirtual {
	r := param(name)
	SHLQ(U8(u.shift()), r)
	return r
}

// reduceLanes combines the lanes of v with op and leaves the result in the lowest lane of the returned XMM register.
func (u unit) reduceLanes(op func(...Op), v reg.VecVirtual) reg.VecVirtual {
	low, high, out := v.AsY(), XMM(), XMM()
	if u.bytes == 64 {
		half := YMM()
		VEXTRACTF64X4(U8(1), v, half)
		op(half, low, half)
		low = half
		VEXTRACTF64X2(U8(1), low, high) // VEXTRACTF128 does not reach the upper sixteen registers
	} else {
		VEXTRACTF128(U8(1), low, high)
	}
	op(high, low.(reg.VecVirtual).AsX(), out)
	shuffled := XMM()
	VPERMILPD(U8(1), out, shuffled)
	op(shuffled, out, out)
	if u.size == 4 {
		VMOVSHDUP(out, shuffled)
		op(shuffled, out, out)
	}
	return out
}

// pause emits the spin-wait hint.
func pause() {
	TEXT("pause", NOSPLIT, "func(n int)")
	Doc("pause executes n PAUSE instructions, n >= 1.")
	n := param("n")
	Label("again")
	PAUSE()
	DECQ(n)
	JNZ(LabelRef("again"))
	RET()
}
