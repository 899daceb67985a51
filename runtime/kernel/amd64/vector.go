package amd64

import (
	"fmt"
	"math"
)

// vectorFuncs are the vector kernels of one set. They check no lengths: the methods of Kernels do.
type vectorFuncs struct {
	add, sub, mul, div func(dst, x, y []float32)
	scale, shift       func(dst, x []float32, a float32)
	subFrom            func(dst, x []float32, a float32)
	divBy, divInto     func(dst, x []float32, a float32)
	sqrt, neg          func(dst, x []float32)
	center             func(dst, x []float32, m, a, b float32)
	centerGrad         func(dst, dy, x []float32, m, a, b, c float32)
	axpy               func(y, x []float32, a float32)
	momentum           func(w, v, g []float32, lr, mu float32)
	relu               func(dst, x []float32)
	reluGrad           func(dst, dy, x []float32)
	exp, tanh, sigmoid func(dst, x []float32)
	erf                func(dst, x []float32)
	expSub             func(dst, x []float32, a float32)
	sum, sumAbs, max   func(x []float32) float32
	dot                func(x, y []float32) float32
	squares            func(x []float32, m float32) float32
	dotCentered        func(x, y []float32, m float32) float32
}

// sameLength panics unless the kernel's operands have the length of the first: the assembler checks no bounds.
func sameLength(kernel string, n int, lengths ...int) {
	for _, l := range lengths {
		if l != n {
			panic(fmt.Sprintf("BUG: amd64.%s: slices of lengths %d and %d", kernel, n, l))
		}
	}
}

// Add writes dst = x + y. In all element-wise kernels the slices have one length, and dst may be an operand itself but
// must not overlap one otherwise. Special values follow IEEE 754.
func (k *Kernels) Add(dst, x, y []float32) {
	sameLength("Add", len(dst), len(x), len(y))
	k.vec.add(dst, x, y)
}

// Sub writes dst = x - y.
func (k *Kernels) Sub(dst, x, y []float32) {
	sameLength("Sub", len(dst), len(x), len(y))
	k.vec.sub(dst, x, y)
}

// Mul writes dst = x * y.
func (k *Kernels) Mul(dst, x, y []float32) {
	sameLength("Mul", len(dst), len(x), len(y))
	k.vec.mul(dst, x, y)
}

// Div writes dst = x / y.
func (k *Kernels) Div(dst, x, y []float32) {
	sameLength("Div", len(dst), len(x), len(y))
	k.vec.div(dst, x, y)
}

// Scale writes dst = a*x.
func (k *Kernels) Scale(dst, x []float32, a float32) {
	sameLength("Scale", len(dst), len(x))
	k.vec.scale(dst, x, a)
}

// Shift writes dst = x + a.
func (k *Kernels) Shift(dst, x []float32, a float32) {
	sameLength("Shift", len(dst), len(x))
	k.vec.shift(dst, x, a)
}

// SubFrom writes dst = a - x.
func (k *Kernels) SubFrom(dst, x []float32, a float32) {
	sameLength("SubFrom", len(dst), len(x))
	k.vec.subFrom(dst, x, a)
}

// DivBy writes dst = x / a.
func (k *Kernels) DivBy(dst, x []float32, a float32) {
	sameLength("DivBy", len(dst), len(x))
	k.vec.divBy(dst, x, a)
}

// DivInto writes dst = a / x.
func (k *Kernels) DivInto(dst, x []float32, a float32) {
	sameLength("DivInto", len(dst), len(x))
	k.vec.divInto(dst, x, a)
}

// Sqrt writes the square root of x, rounded correctly.
func (k *Kernels) Sqrt(dst, x []float32) {
	sameLength("Sqrt", len(dst), len(x))
	k.vec.sqrt(dst, x)
}

// Neg writes dst = -x.
func (k *Kernels) Neg(dst, x []float32) {
	sameLength("Neg", len(dst), len(x))
	k.vec.neg(dst, x)
}

// Center writes dst = (x - m)*a + b: a normalisation. It fuses as Axpy does.
func (k *Kernels) Center(dst, x []float32, m, a, b float32) {
	sameLength("Center", len(dst), len(x))
	k.vec.center(dst, x, m, a, b)
}

// CenterGrad writes dst = dy*a - (x - m)*b - c: the gradient of a normalisation in its input. It fuses as Axpy does.
func (k *Kernels) CenterGrad(dst, dy, x []float32, m, a, b, c float32) {
	sameLength("CenterGrad", len(dst), len(dy), len(x))
	k.vec.centerGrad(dst, dy, x, m, a, b, c)
}

// Axpy adds a*x to y. The assembler fuses the multiplication and the addition, the portable set rounds between them.
func (k *Kernels) Axpy(y, x []float32, a float32) {
	sameLength("Axpy", len(y), len(x))
	k.vec.axpy(y, x, a)
}

// Momentum is a step of gradient descent with heavy-ball momentum: v = mu*v + g, w = w - lr*v (v may not be w or g).
// It fuses as Axpy does.
func (k *Kernels) Momentum(w, v, g []float32, lr, mu float32) {
	sameLength("Momentum", len(w), len(v), len(g))
	k.vec.momentum(w, v, g, lr, mu)
}

// Relu writes dst = max(x, 0); NaN and -0 stay as they are.
func (k *Kernels) Relu(dst, x []float32) {
	sameLength("Relu", len(dst), len(x))
	k.vec.relu(dst, x)
}

// ReluGrad writes dst = dy where x > 0, else 0.
func (k *Kernels) ReluGrad(dst, dy, x []float32) {
	sameLength("ReluGrad", len(dst), len(dy), len(x))
	k.vec.reluGrad(dst, dy, x)
}

// Exp writes dst = e^x within 2 units in the last place, denormal results included.
func (k *Kernels) Exp(dst, x []float32) {
	sameLength("Exp", len(dst), len(x))
	k.vec.exp(dst, x)
}

// Tanh writes the hyperbolic tangent of x within 2 units in the last place.
func (k *Kernels) Tanh(dst, x []float32) {
	sameLength("Tanh", len(dst), len(x))
	k.vec.tanh(dst, x)
}

// Sigmoid writes dst = 1/(1+e^-x) within 2 units in the last place, also where it is tiny.
func (k *Kernels) Sigmoid(dst, x []float32) {
	sameLength("Sigmoid", len(dst), len(x))
	k.vec.sigmoid(dst, x)
}

// Erf writes the error function of x within 2 units in the last place.
func (k *Kernels) Erf(dst, x []float32) {
	sameLength("Erf", len(dst), len(x))
	k.vec.erf(dst, x)
}

// ExpSub writes dst = e^(x-a), where the difference is rounded before Exp.
func (k *Kernels) ExpSub(dst, x []float32, a float32) {
	sameLength("ExpSub", len(dst), len(x))
	k.vec.expSub(dst, x, a)
}

// Sum is the sum of x, 0 if it is empty. The order of the additions depends on len(x) and the set of kernels only; so
// in Dot.
func (k *Kernels) Sum(x []float32) float32 { return k.vec.sum(x) }

// SumAbs is the sum of |x|, in the order of Sum.
func (k *Kernels) SumAbs(x []float32) float32 { return k.vec.sumAbs(x) }

// Max is the greatest element of x: NaN if one is NaN, -Inf if x is empty.
func (k *Kernels) Max(x []float32) float32 { return k.vec.max(x) }

// Dot is the sum of the products x[i]*y[i].
func (k *Kernels) Dot(x, y []float32) float32 {
	sameLength("Dot", len(x), len(y))
	return k.vec.dot(x, y)
}

// Squares is the sum of (x - m)^2.
func (k *Kernels) Squares(x []float32, m float32) float32 { return k.vec.squares(x, m) }

// DotCentered is the sum of the products x[i]*(y[i] - m).
func (k *Kernels) DotCentered(x, y []float32, m float32) float32 {
	sameLength("DotCentered", len(x), len(y))
	return k.vec.dotCentered(x, y, m)
}

// portableVector is the twin in Go.
var portableVector = vectorFuncs{
	add: func(dst, x, y []float32) {
		for i := range dst {
			dst[i] = x[i] + y[i]
		}
	},
	sub: func(dst, x, y []float32) {
		for i := range dst {
			dst[i] = x[i] - y[i]
		}
	},
	mul: func(dst, x, y []float32) {
		for i := range dst {
			dst[i] = x[i] * y[i]
		}
	},
	div: func(dst, x, y []float32) {
		for i := range dst {
			dst[i] = x[i] / y[i]
		}
	},
	scale: func(dst, x []float32, a float32) {
		for i := range dst {
			dst[i] = a * x[i]
		}
	},
	shift:   withScalar(func(x, a float32) float32 { return x + a }),
	subFrom: withScalar(func(x, a float32) float32 { return a - x }),
	divBy:   withScalar(func(x, a float32) float32 { return x / a }),
	divInto: withScalar(func(x, a float32) float32 { return a / x }),
	sqrt:    elementwise(math.Sqrt),
	neg:     elementwise(func(x float64) float64 { return -x }),
	center: func(dst, x []float32, m, a, b float32) {
		for i, v := range x {
			dst[i] = (v-m)*a + b
		}
	},
	centerGrad: func(dst, dy, x []float32, m, a, b, c float32) {
		for i, v := range x {
			dst[i] = dy[i]*a - (v-m)*b - c
		}
	},
	axpy: func(y, x []float32, a float32) {
		for i := range y {
			y[i] += a * x[i]
		}
	},
	momentum: func(w, v, g []float32, lr, mu float32) {
		for i := range w {
			v[i] = mu*v[i] + g[i]
			w[i] -= lr * v[i]
		}
	},
	relu: func(dst, x []float32) {
		for i, v := range x {
			if v < 0 {
				v = 0
			}
			dst[i] = v
		}
	},
	reluGrad: func(dst, dy, x []float32) {
		for i, v := range x {
			d := float32(0)
			if v > 0 {
				d = dy[i]
			}
			dst[i] = d
		}
	},
	exp:     elementwise(math.Exp),
	tanh:    elementwise(math.Tanh),
	sigmoid: elementwise(func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }),
	erf:     elementwise(math.Erf),
	expSub: func(dst, x []float32, a float32) {
		for i, v := range x {
			dst[i] = float32(math.Exp(float64(v - a)))
		}
	},
	sum: func(x []float32) float32 {
		var s [4]float32
		for i, v := range x {
			s[i%4] += v
		}
		return s[0] + s[1] + (s[2] + s[3])
	},
	sumAbs: func(x []float32) float32 {
		var s [4]float32
		for i, v := range x {
			s[i%4] += max(v, -v)
		}
		return s[0] + s[1] + (s[2] + s[3])
	},
	max: func(x []float32) float32 {
		m := float32(math.Inf(-1))
		for _, v := range x {
			m = max(m, v)
		}
		return m
	},
	dot: func(x, y []float32) float32 {
		var s [4]float32
		for i, v := range x {
			s[i%4] += v * y[i]
		}
		return s[0] + s[1] + (s[2] + s[3])
	},
	squares: func(x []float32, m float32) float32 {
		var s [4]float32
		for i, v := range x {
			s[i%4] += (v - m) * (v - m)
		}
		return s[0] + s[1] + (s[2] + s[3])
	},
	dotCentered: func(x, y []float32, m float32) float32 {
		var s [4]float32
		for i, v := range x {
			s[i%4] += v * (y[i] - m)
		}
		return s[0] + s[1] + (s[2] + s[3])
	},
}

func withScalar(f func(x, a float32) float32) func(dst, x []float32, a float32) {
	return func(dst, x []float32, a float32) {
		for i, v := range x {
			dst[i] = f(v, a)
		}
	}
}

// elementwise applies f in float64.
func elementwise(f func(float64) float64) func(dst, x []float32) {
	return func(dst, x []float32) {
		for i, v := range x {
			dst[i] = float32(f(float64(v)))
		}
	}
}
