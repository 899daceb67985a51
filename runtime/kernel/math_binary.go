package kernel

import (
	"math"

	"github.com/asdlc/asdlc/graph"
)

// binaryLoop computes a run of a binary operator: both operands vary, or one of them is repeated.
type binaryLoop[A, B, R graph.Number] struct {
	vv func(dst []R, a []A, b []B)
	vs func(dst []R, a []A, b B)
	sv func(dst []R, a A, b []B)
}

// lift makes loops of a function of two elements.
func lift[A, B, R graph.Number](f func(A, B) R) binaryLoop[A, B, R] {
	return binaryLoop[A, B, R]{
		vv: func(dst []R, a []A, b []B) {
			for i, x := range a {
				dst[i] = f(x, b[i])
			}
		},
		vs: func(dst []R, a []A, b B) {
			for i, x := range a {
				dst[i] = f(x, b)
			}
		},
		sv: func(dst []R, a A, b []B) {
			for i, y := range b {
				dst[i] = f(a, y)
			}
		},
	}
}

// binary prepares an operator of inputs 0 and 1 with broadcasting.
func binary[A, B, R graph.Number](loop binaryLoop[A, B, R], grain int) func(*Call) (Run, error) {
	return func(c *Call) (Run, error) {
		if err := c.needs(2); err != nil {
			return nil, err
		}
		if want := graph.ElemOf[B](); c.In[1].Elem != want {
			return nil, c.Errorf(graph.ErrInvalid, "input 1 is of type %s, want %s; insert a Cast", c.In[1].Elem, want)
		}
		w := &walk{}
		if err := c.broadcast(w, 0, 1); err != nil {
			return nil, err
		}
		var a []A
		var b []B
		var dst []R
		body := loop.body(w, &dst, &a, &b)
		return func(in, out []*Tensor) error {
			a, b, dst = Data[A](in[0]), Data[B](in[1]), Data[R](out[0])
			c.Pool.For(w.n, grain, body)
			return nil
		}, nil
	}
}

// body computes the elements lo <= i < hi of a walk with two operands.
func (loop *binaryLoop[A, B, R]) body(w *walk, dst *[]R, a *[]A, b *[]B) func(lo, hi int) {
	return func(lo, hi int) {
		dst, a, b := *dst, *a, *b
		for at := w.from(lo, hi); at.n > 0; at.next() {
			d, i, j := dst[at.pos:at.pos+at.n], at.off[0], at.off[1]
			switch {
			case w.inner(0) == 0 && w.inner(1) == 0: // both are repeated along the last axes: one value for the run
				loop.vs(d[:1], a[i:i+1], b[j])
				fill(d[1:], d[0])
			case w.inner(0) == 0:
				loop.sv(d, a[i], b[j:j+at.n])
			case w.inner(1) == 0:
				loop.vs(d, a[i:i+at.n], b[j])
			default:
				loop.vv(d, a[i:i+at.n], b[j:j+at.n])
			}
		}
	}
}

func fill[T graph.Number](dst []T, v T) {
	for i := range dst {
		dst[i] = v
	}
}

// arithmetic are the operators that every numeric type has.
func arithmetic[T numeric]() []Row {
	return inPlace([]int{0, 1},
		row[T]("Add", binary(addLoop[T](), grainCheap)),
		row[T]("Sub", binary(subLoop[T](), grainCheap)),
		row[T]("Mul", binary(mulLoop[T](), grainCheap)),
	)
}

func floatDivision[T floating]() []Row {
	return inPlace([]int{0, 1}, row[T]("Div", binary(divLoop[T](), grainCheap)))
}

// integerDivision truncates towards zero, as C does. A zero divisor is an error.
func integerDivision[T integral]() []Row {
	return inPlace([]int{0, 1}, row[T]("Div", nonZeroDivisor[T](binary(divLoop[T](), grainCheap))))
}

// nonZeroDivisor looks for zeros in input 1 before it lets prepare's function run.
func nonZeroDivisor[T integral](prepare func(*Call) (Run, error)) func(*Call) (Run, error) {
	return func(c *Call) (Run, error) {
		run, err := prepare(c)
		if err != nil {
			return nil, err
		}
		return func(in, out []*Tensor) error {
			if out[0].Len() > 0 {
				for i, v := range Data[T](in[1]) {
					if v == 0 {
						return c.Errorf(graph.ErrInvalid, "division by zero: element %d of the divisor", i)
					}
				}
			}
			return run(in, out)
		}, nil
	}
}

func addLoop[T numeric]() binaryLoop[T, T, T] {
	vs := func(dst, a []T, b T) {
		a = a[:len(dst)]
		for i := range dst {
			dst[i] = a[i] + b
		}
	}
	return binaryLoop[T, T, T]{
		vv: func(dst, a, b []T) {
			a, b = a[:len(dst)], b[:len(dst)]
			for i := range dst {
				dst[i] = a[i] + b[i]
			}
		},
		vs: vs,
		sv: func(dst []T, a T, b []T) { vs(dst, b, a) },
	}
}

func subLoop[T numeric]() binaryLoop[T, T, T] {
	return binaryLoop[T, T, T]{
		vv: func(dst, a, b []T) {
			a, b = a[:len(dst)], b[:len(dst)]
			for i := range dst {
				dst[i] = a[i] - b[i]
			}
		},
		vs: func(dst, a []T, b T) {
			a = a[:len(dst)]
			for i := range dst {
				dst[i] = a[i] - b
			}
		},
		sv: func(dst []T, a T, b []T) {
			b = b[:len(dst)]
			for i := range dst {
				dst[i] = a - b[i]
			}
		},
	}
}

func mulLoop[T numeric]() binaryLoop[T, T, T] {
	vs := func(dst, a []T, b T) {
		a = a[:len(dst)]
		for i := range dst {
			dst[i] = a[i] * b
		}
	}
	return binaryLoop[T, T, T]{
		vv: func(dst, a, b []T) {
			a, b = a[:len(dst)], b[:len(dst)]
			for i := range dst {
				dst[i] = a[i] * b[i]
			}
		},
		vs: vs,
		sv: func(dst []T, a T, b []T) { vs(dst, b, a) },
	}
}

func divLoop[T numeric]() binaryLoop[T, T, T] {
	return binaryLoop[T, T, T]{
		vv: func(dst, a, b []T) {
			a, b = a[:len(dst)], b[:len(dst)]
			for i := range dst {
				dst[i] = a[i] / b[i]
			}
		},
		vs: func(dst, a []T, b T) {
			a = a[:len(dst)]
			for i := range dst {
				dst[i] = a[i] / b
			}
		},
		sv: func(dst []T, a T, b []T) {
			b = b[:len(dst)]
			for i := range dst {
				dst[i] = a / b[i]
			}
		},
	}
}

// modFloat is Mod on floats, which must have fmod=1: the sign of the result is that of the dividend.
func modFloat[T floating]() []Row {
	fmod := binary(lift(func(a, b T) T { return T(math.Mod(float64(a), float64(b))) }), grainCostly)
	return inPlace([]int{0, 1}, row[T]("Mod", func(c *Call) (Run, error) {
		if c.Node.Int("fmod", 0) != 1 {
			return nil, c.Errorf(graph.ErrInvalid, "Mod of %s needs fmod=1", c.In[0].Elem)
		}
		return fmod(c)
	}))
}

// modInt is Mod on integers: the sign of the result is that of the divisor, or with fmod=1 that of the dividend.
func modInt[T integral]() []Row {
	fmod := nonZeroDivisor[T](binary(lift(func(a, b T) T { return a % b }), grainCheap))
	mod := nonZeroDivisor[T](binary(lift(func(a, b T) T {
		r := a % b
		if r != 0 && (r < 0) != (b < 0) {
			r += b
		}
		return r
	}), grainCheap))
	return inPlace([]int{0, 1}, row[T]("Mod", func(c *Call) (Run, error) {
		if c.Node.Int("fmod", 0) == 1 {
			return fmod(c)
		}
		return mod(c)
	}))
}

// power is Pow of a base T; since opset 12 the exponent may be of another type.
func power[T numeric]() []Row {
	return inPlace([]int{0}, row[T]("Pow", func(c *Call) (Run, error) {
		if err := c.needs(2); err != nil {
			return nil, err
		}
		switch e := c.In[1].Elem; e {
		case graph.Float32:
			return binary(powLoop[T, float32](), grainCostly)(c)
		case graph.Float64:
			return binary(powLoop[T, float64](), grainCostly)(c)
		case graph.Int8:
			return binary(powLoop[T, int8](), grainCostly)(c)
		case graph.Int16:
			return binary(powLoop[T, int16](), grainCostly)(c)
		case graph.Int32:
			return binary(powLoop[T, int32](), grainCostly)(c)
		case graph.Int64:
			return binary(powLoop[T, int64](), grainCostly)(c)
		case graph.Uint8:
			return binary(powLoop[T, uint8](), grainCostly)(c)
		case graph.Uint16:
			return binary(powLoop[T, uint16](), grainCostly)(c)
		case graph.Uint32:
			return binary(powLoop[T, uint32](), grainCostly)(c)
		case graph.Uint64:
			return binary(powLoop[T, uint64](), grainCostly)(c)
		default:
			return nil, c.Errorf(graph.ErrUnsupported, "exponent of type %s", e)
		}
	}))
}

func powLoop[T, E numeric]() binaryLoop[T, E, T] {
	f := powFloat[T, E]
	if graph.ElemOf[T]().IsInt() && graph.ElemOf[E]().IsInt() {
		f = powInt[T, E]
	}
	loop := lift(f)
	general := loop.vs
	loop.vs = func(dst []T, a []T, b E) {
		switch b {
		case 1:
			copy(dst, a)
		case 2:
			for i, x := range a {
				dst[i] = x * x
			}
		default:
			general(dst, a, b)
		}
	}
	return loop
}

func powFloat[T, E numeric](x T, y E) T { return T(math.Pow(float64(x), float64(y))) }

// powInt multiplies exactly, modulo the word; a negative exponent gives the truncated quotient.
func powInt[T, E numeric](x T, y E) T {
	if y < 0 {
		return powFloat(x, y)
	}
	r := T(1)
	for n := uint64(y); n > 0; n >>= 1 {
		if n&1 == 1 {
			r *= x
		}
		x *= x
	}
	return r
}
