package kernel

import (
	"math"

	"github.com/asdlc/asdlc/graph"
)

// activations are the operators of one input whose attributes make the function. Formulas and defaults are those of
// the ONNX operator specification.
var activations = []struct {
	op   string
	make func(n *graph.Node) (func(float64) float64, error)
}{
	{"LeakyRelu", func(n *graph.Node) (func(float64) float64, error) {
		alpha := float64(n.Float("alpha", 0.01))
		return func(x float64) float64 {
			if x < 0 {
				return alpha * x
			}
			return x
		}, nil
	}},
	{"Elu", func(n *graph.Node) (func(float64) float64, error) {
		alpha := float64(n.Float("alpha", 1))
		return func(x float64) float64 {
			if x < 0 {
				return alpha * math.Expm1(x)
			}
			return x
		}, nil
	}},
	{"Celu", func(n *graph.Node) (func(float64) float64, error) {
		alpha := float64(n.Float("alpha", 1))
		if alpha == 0 {
			return nil, n.Errorf(graph.ErrInvalid, "alpha is 0")
		}
		return func(x float64) float64 {
			if x < 0 {
				return alpha * math.Expm1(x/alpha)
			}
			return x
		}, nil
	}},
	{"Selu", func(n *graph.Node) (func(float64) float64, error) {
		alpha := float64(n.Float("alpha", 1.67326319217681884765625))
		gamma := float64(n.Float("gamma", 1.05070102214813232421875))
		return func(x float64) float64 {
			if x < 0 {
				return gamma * alpha * math.Expm1(x)
			}
			return gamma * x
		}, nil
	}},
	{"HardSigmoid", func(n *graph.Node) (func(float64) float64, error) {
		alpha, beta := float64(n.Float("alpha", 0.2)), float64(n.Float("beta", 0.5))
		return func(x float64) float64 { return min(max(alpha*x+beta, 0), 1) }, nil
	}},
	{"ThresholdedRelu", func(n *graph.Node) (func(float64) float64, error) {
		alpha := float64(n.Float("alpha", 1))
		return func(x float64) float64 {
			if x <= alpha { // NaN stays
				return 0
			}
			return x
		}, nil
	}},
	{"Shrink", func(n *graph.Node) (func(float64) float64, error) {
		bias, lambd := float64(n.Float("bias", 0)), float64(n.Float("lambd", 0.5))
		return func(x float64) float64 {
			switch {
			case x < -lambd:
				return x + bias
			case x > lambd:
				return x - bias
			case x != x:
				return x
			}
			return 0
		}, nil
	}},
	{"Swish", func(n *graph.Node) (func(float64) float64, error) {
		alpha := float64(n.Float("alpha", 1))
		return func(x float64) float64 { return x * sigmoid(alpha*x) }, nil
	}},
	{"Gelu", func(n *graph.Node) (func(float64) float64, error) {
		switch how := n.Str("approximate", "none"); how {
		case "none":
			return func(x float64) float64 { return 0.5 * x * (1 + math.Erf(x/math.Sqrt2)) }, nil
		case "tanh":
			k := math.Sqrt(2 / math.Pi)
			return func(x float64) float64 { return 0.5 * x * (1 + math.Tanh(k*(x+0.044715*x*x*x))) }, nil
		default:
			return nil, n.Errorf(graph.ErrInvalid, "approximate is %q, want none or tanh", how)
		}
	}},
}

func activationRows[T floating]() []Row {
	var rows []Row
	for _, a := range activations {
		rows = append(rows, row[T](a.op, func(c *Call) (Run, error) {
			f, err := a.make(c.Node)
			if err != nil {
				return nil, err
			}
			return unary(rounded[T](f), grainCostly)(c)
		}))
	}
	return inPlace([]int{0}, rows...)
}

// prelu is x, or slope*x where x is negative; the slope is broadcast to x.
func prelu[T numeric]() []Row {
	return inPlace([]int{0}, row[T]("PRelu", binary(lift(func(x, slope T) T {
		if x < 0 {
			return slope * x
		}
		return x
	}), grainCheap)))
}

// clip bounds by attributes (opset 6) or by the scalar inputs 1 and 2 (opset 11 on), each of which may be missing.
func clip[T numeric]() []Row {
	return inPlace([]int{0}, row[T]("Clip", func(c *Call) (Run, error) {
		if err := c.needs(1); err != nil {
			return nil, err
		}
		if err := c.sameElem(0); err != nil {
			return nil, err
		}
		lowest, highest := limits[T]()
		if a, ok := c.Node.Attr("min"); ok {
			lowest = T(a.F)
		}
		if a, ok := c.Node.Attr("max"); ok {
			highest = T(a.F)
		}
		for i := 1; i < len(c.In); i++ {
			if c.has(i) && c.In[i].Len() != 1 {
				return nil, c.Errorf(graph.ErrInvalid, "bound of shape %v, want a scalar", c.In[i].Shape)
			}
		}
		var lo, hi T
		var a, dst []T
		body := func(from, to int) { clipLoop(dst[from:to], a[from:to], lo, hi) }
		n := c.In[0].Len()
		return func(in, out []*Tensor) error {
			lo, hi = lowest, highest
			if t := input(in, 1); t != nil {
				lo = Data[T](t)[0]
			}
			if t := input(in, 2); t != nil {
				hi = Data[T](t)[0]
			}
			a, dst = Data[T](in[0]), Data[T](out[0])
			c.Pool.For(n, grainCheap, body)
			return nil
		}, nil
	}))
}

// clipLoop is min(max(x, lo), hi), so that hi wins where the bounds cross; NaN stays.
func clipLoop[T numeric](dst, a []T, lo, hi T) {
	for i, x := range a {
		if x < lo {
			x = lo
		}
		if x > hi {
			x = hi
		}
		dst[i] = x
	}
}

// limits are the least and the greatest value of T; for floats the infinities.
func limits[T numeric]() (least, greatest T) {
	switch l, g := any(&least), any(&greatest); l := l.(type) {
	case *float32:
		*l, *g.(*float32) = float32(math.Inf(-1)), float32(math.Inf(1))
	case *float64:
		*l, *g.(*float64) = math.Inf(-1), math.Inf(1)
	case *int8:
		*l, *g.(*int8) = math.MinInt8, math.MaxInt8
	case *int16:
		*l, *g.(*int16) = math.MinInt16, math.MaxInt16
	case *int32:
		*l, *g.(*int32) = math.MinInt32, math.MaxInt32
	case *int64:
		*l, *g.(*int64) = math.MinInt64, math.MaxInt64
	default: // unsigned
		greatest--
	}
	return least, greatest
}
