package kernel

import (
	"math"
	"slices"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// linearAttention is ONNX LinearAttention (opset 27): for each batch b and key head h a state S [d_k, d_v] runs over the
// sequence, and each of the query heads that share h reads it. With g the decay in log-space and beta the update rate:
//
//	linear       S += k v^T
//	gated        S = exp(g) S + k v^T
//	delta        S += beta k (v - S^T k)^T
//	gated_delta  S = exp(g) S + beta k (v - exp(g) S^T k)^T
//	output       scale q^T S
//
// Tensors are packed: query [B, T, H_q d_k], key [B, T, H d_k], value [B, T, H d_v], decay [B, T, H d_k] or [B, T, H],
// beta [B, T, H] or [B, T, 1].
type linearAttention[T amd64.Float] struct {
	steps, heads, group, dk, dv int // group query heads a key head
	decays, betas               int // numbers a step; 0 for none
	gated, delta                bool
	scale                       T

	q, k, v, past, decay, beta, y, state []T
	body                                 func(lo, hi int)
}

func makeLinearAttention[T amd64.Float](c *Call) (Run, error) {
	if err := c.sameElem(0); err != nil {
		return nil, err
	}
	a, err := sizeLinearAttention[T](c)
	if err != nil {
		return nil, err
	}
	held := c.Scratch(sizeOf[T]() * c.In[0].Shape[0] * a.heads * a.dk * a.dv)
	a.body = a.run
	n := c.In[0].Shape[0] * a.heads
	return func(in, out []*Tensor) error {
		a.q, a.k, a.v, a.y = Data[T](in[0]), Data[T](in[1]), Data[T](in[2]), Data[T](out[0])
		a.past, a.decay, a.beta = optional[T](in, 3), optional[T](in, 4), optional[T](in, 5)
		if a.state = optional[T](out, 1); a.state == nil {
			a.state = ScratchOf[T](held)
		}
		if a.past == nil {
			clear(a.state)
		} else {
			copy(a.state, a.past)
		}
		c.Pool.For(n, grainFor(a.steps*a.dk*a.dv), a.body)
		return nil
	}, nil
}

// sizeLinearAttention reads the attributes and checks the shapes.
func sizeLinearAttention[T amd64.Float](c *Call) (*linearAttention[T], error) {
	a := &linearAttention[T]{}
	for i := range 3 {
		if len(c.In[i].Shape) != 3 {
			return nil, c.Errorf(graph.ErrInvalid, "input %d has shape %v, want [batch, length, heads*size]", i, c.In[i].Shape)
		}
	}
	q, k, v := c.In[0].Shape, c.In[1].Shape, c.In[2].Shape
	queries, heads := int(c.Node.Int("q_num_heads", 0)), int(c.Node.Int("kv_num_heads", 0))
	if heads < 1 || queries < heads || queries%heads != 0 {
		return nil, c.Errorf(graph.ErrInvalid, "q_num_heads is %d and kv_num_heads %d, want a positive multiple", queries, heads)
	}
	a.steps, a.heads, a.group, a.dk, a.dv = q[1], heads, queries/heads, k[2]/heads, v[2]/heads
	batch := q[0]
	if q[2] != queries*a.dk || k[2] != heads*a.dk || v[2] != heads*a.dv || k[0] != batch || v[0] != batch || k[1] != a.steps || v[1] != a.steps {
		return nil, c.Errorf(graph.ErrInvalid, "query %v, key %v and value %v do not go together with %d and %d heads", q, k, v, queries, heads)
	}
	if c.has(3) && !slices.Equal(c.In[3].Shape, []int{batch, heads, a.dk, a.dv}) {
		return nil, c.Errorf(graph.ErrInvalid, "past_state has shape %v, want %v", c.In[3].Shape, []int{batch, heads, a.dk, a.dv})
	}
	switch rule := c.Node.Str("update_rule", "gated_delta"); rule {
	case "linear":
	case "gated":
		a.gated = true
	case "delta":
		a.delta = true
	case "gated_delta":
		a.gated, a.delta = true, true
	default:
		return nil, c.Errorf(graph.ErrInvalid, "update_rule is %q, want linear, gated, delta or gated_delta", rule)
	}
	var err error
	if a.gated {
		if a.decays, err = c.perStep(4, "decay", q[:2], heads*a.dk, heads); err != nil {
			return nil, err
		}
	}
	if a.delta {
		if a.betas, err = c.perStep(5, "beta", q[:2], heads, 1); err != nil {
			return nil, err
		}
	}
	if a.scale = T(c.Node.Float("scale", 0)); a.scale == 0 {
		a.scale = T(1 / math.Sqrt(float64(a.dk)))
	}
	return a, nil
}

// perStep is the last dimension of input i of shape [batch, length, n], which must be one of two.
func (c *Call) perStep(i int, name string, lead []int, n, other int) (int, error) {
	if !c.has(i) {
		return 0, c.Errorf(graph.ErrInvalid, "input %d (%s) is missing, which update_rule %s needs", i, name, c.Node.Str("update_rule", "gated_delta"))
	}
	s := c.In[i].Shape
	if len(s) != 3 || !slices.Equal(s[:2], lead) || s[2] != n && s[2] != other {
		return 0, c.Errorf(graph.ErrInvalid, "%s has shape %v, want %v and %d or %d", name, s, lead, n, other)
	}
	return s[2], nil
}

// run takes pairs lo..hi of batch and key head through the sequence.
func (a *linearAttention[T]) run(lo, hi int) {
	for i := lo; i < hi; i++ {
		batch, head := i/a.heads, i%a.heads
		state := a.state[i*a.dk*a.dv:][:a.dk*a.dv]
		for t := range a.steps {
			step := batch*a.steps + t
			a.update(state, step, head)
			for g := range a.group {
				at := step*a.heads*a.group + head*a.group + g
				read(a.y[at*a.dv:][:a.dv], a.q[at*a.dk:][:a.dk], state, a.scale)
			}
		}
	}
}

// update is one step of a state.
func (a *linearAttention[T]) update(state []T, step, head int) {
	k := a.k[(step*a.heads+head)*a.dk:][:a.dk]
	v := a.v[(step*a.heads+head)*a.dv:][:a.dv]
	if a.gated {
		for i := range k {
			g := a.decay[step*a.decays+head*(a.decays/a.heads)+i%(a.decays/a.heads)]
			factor := T(math.Exp(float64(g)))
			for j := range v {
				state[i*a.dv+j] *= factor
			}
		}
	}
	rate := T(1)
	if a.delta {
		rate = a.beta[step*a.betas+head%a.betas]
	}
	for j, x := range v {
		if a.delta {
			for i, ki := range k {
				x -= state[i*a.dv+j] * ki
			}
		}
		x *= rate
		for i, ki := range k {
			state[i*a.dv+j] += ki * x
		}
	}
}

// read is y = scale q^T S.
func read[T amd64.Float](y, q, state []T, scale T) {
	clear(y)
	for i, x := range q {
		for j := range y {
			y[j] += x * state[i*len(y)+j]
		}
	}
	for j := range y {
		y[j] *= scale
	}
}
