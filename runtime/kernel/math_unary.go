package kernel

import (
	"math"

	"github.com/asdlc/asdlc/graph"
)

// unary prepares an operator whose output i is a function of element i of input 0.
func unary[A, R graph.Number](loop func(dst []R, a []A), grain int) func(*Call) (Run, error) {
	return func(c *Call) (Run, error) {
		if err := c.needs(1); err != nil {
			return nil, err
		}
		n := c.In[0].Len()
		var a []A
		var dst []R
		body := func(lo, hi int) { loop(dst[lo:hi], a[lo:hi]) }
		return func(in, out []*Tensor) error {
			a, dst = Data[A](in[0]), Data[R](out[0])
			c.Pool.For(n, grain, body)
			return nil
		}, nil
	}
}

// each makes a loop of a function of one element.
func each[A, R graph.Number](f func(A) R) func(dst []R, a []A) {
	return func(dst []R, a []A) {
		for i, x := range a {
			dst[i] = f(x)
		}
	}
}

// rounded makes a loop of a function in double precision, whose results are rounded to T.
func rounded[T floating](f func(float64) float64) func(dst, a []T) {
	return func(dst, a []T) {
		for i, x := range a {
			dst[i] = T(f(float64(x)))
		}
	}
}

// functions are the operators without attributes that are evaluated in double precision.
var functions = []struct {
	op string
	f  func(float64) float64
}{
	{"Exp", math.Exp},
	{"Log", math.Log},
	{"Erf", math.Erf},
	{"Tanh", math.Tanh},
	{"Sigmoid", sigmoid},
	{"Sin", math.Sin},
	{"Cos", math.Cos},
	{"Tan", math.Tan},
	{"Asin", math.Asin},
	{"Acos", math.Acos},
	{"Atan", math.Atan},
	{"Sinh", math.Sinh},
	{"Cosh", math.Cosh},
	{"Asinh", math.Asinh},
	{"Acosh", math.Acosh},
	{"Atanh", math.Atanh},
	{"Floor", math.Floor},
	{"Ceil", math.Ceil},
	{"Round", math.RoundToEven},
	{"Softplus", softplus},
	{"Softsign", func(x float64) float64 { return x / (1 + math.Abs(x)) }},
	{"HardSwish", func(x float64) float64 { return x * min(max(x/6+0.5, 0), 1) }},
	{"Mish", func(x float64) float64 { return x * math.Tanh(softplus(x)) }},
}

// sigmoid is 1/(1+e^-x); neither branch overflows.
func sigmoid(x float64) float64 {
	if x >= 0 {
		return 1 / (1 + math.Exp(-x))
	}
	e := math.Exp(x)
	return e / (1 + e)
}

// softplus is log(1+e^x), without overflow.
func softplus(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }

func floatFunctions[T floating]() []Row {
	rows := []Row{
		row[T]("Sqrt", unary(func(dst, a []T) {
			for i, x := range a {
				dst[i] = T(math.Sqrt(float64(x)))
			}
		}, grainCheap)),
		row[T]("Reciprocal", unary(func(dst, a []T) {
			for i, x := range a {
				dst[i] = 1 / x
			}
		}, grainCheap)),
	}
	for _, f := range functions {
		rows = append(rows, row[T](f.op, unary(rounded[T](f.f), grainCostly)))
	}
	return inPlace([]int{0}, rows...)
}

// signedFunctions are those of types that have negative numbers.
func signedFunctions[T floating | ~int8 | ~int16 | ~int32 | ~int64]() []Row {
	return inPlace([]int{0},
		row[T]("Neg", unary(func(dst, a []T) {
			for i, x := range a {
				dst[i] = -x
			}
		}, grainCheap)),
		row[T]("Abs", unary(absolutes[T](), grainCheap)),
		row[T]("Relu", unary(func(dst, a []T) {
			for i, x := range a {
				if x < 0 { // NaN stays
					x = 0
				}
				dst[i] = x
			}
		}, grainCheap)),
		row[T]("Sign", unary(each(sign[T]), grainCheap)),
	)
}

// unsignedFunctions are the same for types that have none.
func unsignedFunctions[T ~uint8 | ~uint16 | ~uint32 | ~uint64]() []Row {
	same := func(dst, a []T) { copy(dst, a) }
	return inPlace([]int{0},
		row[T]("Abs", unary(same, grainCheap)),
		row[T]("Sign", unary(each(sign[T]), grainCheap)),
	)
}

func absolute[T numeric](x T) T {
	if x <= 0 { // -0 becomes +0
		return 0 - x
	}
	return x
}

// absolutes is absolute of each number; of floating-point ones without a branch, which signs at random mispredict.
func absolutes[T numeric]() func(dst, a []T) {
	var loop any = each(absolute[T])
	switch loop.(type) {
	case func(dst, a []float32):
		loop = func(dst, a []float32) {
			for i, x := range a {
				dst[i] = math.Float32frombits(math.Float32bits(x) &^ (1 << 31))
			}
		}
	case func(dst, a []float64):
		loop = func(dst, a []float64) {
			for i, x := range a {
				dst[i] = math.Abs(x)
			}
		}
	}
	return loop.(func(dst, a []T))
}

// sign is -1, 0 or 1; NaN stays.
func sign[T numeric](x T) T {
	switch {
	case x > 0:
		return 1
	case x < 0:
		one := T(1)
		return -one
	}
	return x
}
