package kernel

import (
	"math"
	"slices"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// causalConv is ONNX CausalConvWithState (opset 27): a depthwise convolution of X [N, C, L] with weight [C, 1, k] over the
// k-1 positions before the sequence, past_state [N, C, k-1] or zeros, and the sequence itself. The present state is the
// last k-1 positions of both.
type causalConv[T amd64.Float] struct {
	channels, length, taps int
	silu                   bool

	x, w, bias, past, y, state []T
	body                       func(lo, hi int)
}

func makeCausalConv[T amd64.Float](c *Call) (Run, error) {
	if err := c.sameElem(0); err != nil {
		return nil, err
	}
	x, w := c.In[0].Shape, c.In[1].Shape
	if len(x) != 3 || len(w) != 3 || w[0] != x[1] || w[1] != 1 || w[2] < 1 {
		return nil, c.Errorf(graph.ErrInvalid, "input of shape %v and weight %v, want [batch, channels, length] and [channels, 1, taps]", x, w)
	}
	v := &causalConv[T]{channels: x[1], length: x[2], taps: w[2]}
	if err := c.vector(v.channels, 2); err != nil {
		return nil, err
	}
	if c.has(3) && !slices.Equal(c.In[3].Shape, []int{x[0], x[1], w[2] - 1}) {
		return nil, c.Errorf(graph.ErrInvalid, "past_state has shape %v, want %v", c.In[3].Shape, []int{x[0], x[1], w[2] - 1})
	}
	switch act := c.Node.Str("activation", "none"); act {
	case "none":
	case "silu", "swish":
		v.silu = true
	default:
		return nil, c.Errorf(graph.ErrInvalid, "activation is %q, want none, silu or swish", act)
	}
	v.body = v.lines
	n := x[0] * x[1]
	return func(in, out []*Tensor) error {
		v.x, v.w, v.y = Data[T](in[0]), Data[T](in[1]), Data[T](out[0])
		v.bias, v.past, v.state = optional[T](in, 2), optional[T](in, 3), optional[T](out, 1)
		c.Pool.For(n, grainFor(v.length*v.taps), v.body)
		return nil
	}, nil
}

// lines computes channels lo..hi, of all batches.
func (v *causalConv[T]) lines(lo, hi int) {
	before := v.taps - 1
	for i := lo; i < hi; i++ {
		x, y, w := v.x[i*v.length:][:v.length], v.y[i*v.length:][:v.length], v.w[i%v.channels*v.taps:][:v.taps]
		at := func(p int) T { // position p of the sequence, negative in the past
			switch {
			case p >= 0:
				return x[p]
			case v.past != nil:
				return v.past[(i+1)*before+p]
			}
			return 0
		}
		for t := range y {
			var sum T
			if v.bias != nil {
				sum = v.bias[i%v.channels]
			}
			for k, f := range w {
				sum += f * at(t+k-before)
			}
			if v.silu {
				sum = T(float64(sum) / (1 + math.Exp(-float64(sum))))
			}
			y[t] = sum
		}
		if v.state != nil {
			for k := range before {
				v.state[i*before+k] = at(v.length - before + k)
			}
		}
	}
}
