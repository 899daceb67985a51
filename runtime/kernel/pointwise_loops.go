package kernel

import (
	"math"

	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// pointLoop is the loop of an operator of one argument, unary, or of two.
type pointLoop[T amd64.Float] struct {
	unary  func(dst, x []T)
	binary binaryLoop[T, T, T]
}

// pointOps has the number of arguments of the operators that asdl.Pointwise knows.
var pointOps = map[string]int{
	"Add": 2, "Sub": 2, "Mul": 2, "Div": 2, "ReluGrad": 2,
	"Neg": 1, "Abs": 1, "Relu": 1, "Exp": 1, "Tanh": 1, "Sigmoid": 1, "Erf": 1, "Sqrt": 1, "Reciprocal": 1,
}

// PointwiseArity is the number of arguments of an operator that asdl.Pointwise can have among others; 0 if it cannot.
func PointwiseArity(op string) int { return pointOps[op] }

// pointLoops are the loops of the operators, by name: those of the rows that compute them alone.
func pointLoops[T amd64.Float](k *amd64.Kernels) map[string]pointLoop[T] {
	loops := map[string]pointLoop[T]{
		"Add": {binary: addLoop[T]()}, "Sub": {binary: subLoop[T]()}, "Mul": {binary: mulLoop[T]()}, "Div": {binary: divLoop[T]()},
		"ReluGrad":   {binary: lift(reluGradOf[T])},
		"Neg":        {unary: each(func(x T) T { return -x })},
		"Abs":        {unary: absolutes[T]()},
		"Relu":       {unary: each(func(x T) T { return max(x, 0) })},
		"Exp":        {unary: rounded[T](math.Exp)},
		"Tanh":       {unary: rounded[T](math.Tanh)},
		"Sigmoid":    {unary: rounded[T](sigmoid)},
		"Erf":        {unary: rounded[T](math.Erf)},
		"Sqrt":       {unary: rounded[T](math.Sqrt)},
		"Reciprocal": {unary: each(func(x T) T { return 1 / x })},
	}
	if v, ok := any(loops).(map[string]pointLoop[float32]); ok {
		for op, loop := range vectorLoops(k) {
			v[op] = pointLoop[float32]{binary: loop}
		}
		grads := v["ReluGrad"]
		grads.binary.vv = k.ReluGrad
		v["ReluGrad"] = grads
		for op, u := range vectorUnaries {
			v[op] = pointLoop[float32]{unary: func(dst, x []float32) { u.f(k, dst, x) }}
		}
	}
	return loops
}

// of computes a value of a block from one or two others.
func (l *pointLoop[T]) of(dst []T, a, b *pointValue[T]) {
	switch {
	case b == nil && a.isSame:
		setAll(dst, a.same)
		l.unary(dst, dst)
	case b == nil:
		l.unary(dst, a.each)
	case a.isSame && b.isSame:
		setAll(dst, a.same)
		l.binary.vs(dst, dst, b.same)
	case a.isSame:
		l.binary.sv(dst, a.same, b.each)
	case b.isSame:
		l.binary.vs(dst, a.each, b.same)
	default:
		l.binary.vv(dst, a.each, b.each)
	}
}

func reluGradOf[T amd64.Float](g, y T) T {
	if y > 0 {
		return g
	}
	return 0
}
