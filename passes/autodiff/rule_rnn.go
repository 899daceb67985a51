package autodiff

import (
	"strings"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
)

// rnnRules are the rows of the recurrent operators, which are differentiated as Loops over their steps. The product of
// the input with its weights stays outside of the loop.
func rnnRules() []Rule {
	// All inputs but the lengths of the sequences.
	const inputs = all &^ (1 << 4)
	return []Rule{
		{Op: "RNN", Since: 7, Kind: Smooth, Diff: inputs, VJP: pullOf(rnnBody), JVP: pushOf(rnnBody)},
		{Op: "GRU", Since: 7, Kind: Smooth, Diff: inputs, VJP: pullOf(gruBody), JVP: pushOf(gruBody)},
		{Op: "LSTM", Since: 7, Kind: Smooth, Diff: inputs, VJP: pullOf(lstmBody), JVP: pushOf(lstmBody)},
	}
}

// recurrence is a recurrent operator, taken apart.
type recurrence struct {
	c          *Call
	gates      int64 // blocks of hidden rows in W and R
	hidden     int64
	states     int // h, and c of LSTM
	reverse    []bool
	batchFirst bool
	names      []string // activations of all directions
	alphas     []float32
	betas      []float32
	clip       float64
}

// weights are those of one direction.
type weights struct {
	r       *graph.Value // [hidden, gates*hidden]
	rbias   *graph.Value // recurrent bias [gates*hidden], or nil
	peep    []*graph.Value
	acts    []activation
	lengths *graph.Value // [batch, 1], or nil
}

// stepFunc maps the part of the gates that comes from the input, [batch, gates*hidden], and the states to the new
// states.
type stepFunc func(b *op.Builder, w *weights, pre *graph.Value, states []*graph.Value) []*graph.Value

func rnnBody(c *Call) []*graph.Value {
	r := c.recurrence(1, 1, "Tanh")
	if r == nil {
		return make([]*graph.Value, len(c.N.Outputs()))
	}
	return r.emit(true, func(b *op.Builder, w *weights, pre *graph.Value, s []*graph.Value) []*graph.Value {
		return []*graph.Value{w.acts[0](b, b.Add(pre, b.MatMul(s[0], w.r)))}
	})
}

// gruBody: z and r gate the state h, with the reset gate before or after the product with the state.
func gruBody(c *Call) []*graph.Value {
	r := c.recurrence(3, 1, "Sigmoid", "Tanh")
	if r == nil {
		return make([]*graph.Value, len(c.N.Outputs()))
	}
	n, after := r.hidden, c.N.Int("linear_before_reset", 0) != 0
	return r.emit(!after, func(b *op.Builder, w *weights, pre *graph.Value, s []*graph.Value) []*graph.Value {
		h, one := s[0], b.FloatLike(s[0], 1)
		in, rec := b.Split(pre, 1, 2*n, n), b.Split(w.r, 1, 2*n, n)
		gates := b.MatMul(h, rec[0])
		if after && w.rbias != nil {
			gates = b.Add(gates, b.Slice(w.rbias, []int64{0}, []int64{2 * n}, []int64{0}))
		}
		zr := b.Split(w.acts[0](b, b.Add(in[0], gates)), 1, n, n)
		var product *graph.Value
		if after {
			product = b.MatMul(h, rec[1])
			if w.rbias != nil {
				product = b.Add(product, b.Slice(w.rbias, []int64{2 * n}, []int64{3 * n}, []int64{0}))
			}
			product = b.Mul(zr[1], product)
		} else {
			product = b.MatMul(b.Mul(zr[1], h), rec[1])
		}
		fresh := w.acts[1](b, b.Add(in[1], product))
		return []*graph.Value{b.Add(b.Mul(b.Sub(one, zr[0]), fresh), b.Mul(zr[0], h))}
	})
}

// lstmBody: gates i, o, f, c, and peepholes Pi, Po, Pf from the cell state.
func lstmBody(c *Call) []*graph.Value {
	r := c.recurrence(4, 2, "Sigmoid", "Tanh", "Tanh")
	if r == nil {
		return make([]*graph.Value, len(c.N.Outputs()))
	}
	n, coupled := r.hidden, c.N.Int("input_forget", 0) != 0
	return r.emit(true, func(b *op.Builder, w *weights, pre *graph.Value, s []*graph.Value) []*graph.Value {
		h, cell := s[0], s[1]
		g := b.Split(b.Add(pre, b.MatMul(h, w.r)), 1, n, n, n, n)
		look := func(x *graph.Value, k int, cell *graph.Value) *graph.Value {
			if w.peep == nil {
				return x
			}
			return b.Add(x, b.Mul(w.peep[k], cell))
		}
		in := w.acts[0](b, look(g[0], 0, cell))
		forget := b.Sub(b.FloatLike(in, 1), in)
		if !coupled {
			forget = w.acts[0](b, look(g[2], 2, cell))
		}
		next := b.Add(b.Mul(forget, cell), b.Mul(in, w.acts[1](b, g[3])))
		out := w.acts[0](b, look(g[1], 1, next))
		return []*graph.Value{b.Mul(out, w.acts[2](b, next)), next}
	})
}

// recurrence reads the node; it is nil where that is not supported.
func (c *Call) recurrence(gates int64, states int, activations ...string) *recurrence {
	r := &recurrence{c: c, gates: gates, states: states, hidden: c.N.Int("hidden_size", 0), batchFirst: c.N.Int("layout", 0) != 0}
	switch c.N.Str("direction", "forward") {
	case "forward":
		r.reverse = []bool{false}
	case "reverse":
		r.reverse = []bool{true}
	case "bidirectional":
		r.reverse = []bool{false, true}
	}
	if w := c.In(2); w != nil && w.Type.Rank() == 3 {
		if n, ok := w.Type.Dims[2].Size(); ok {
			r.hidden = n
		}
	}
	if r.hidden < 1 || r.reverse == nil {
		c.unsupported("its hidden size is not known; set the attribute hidden_size")
		return nil
	}
	for range r.reverse {
		r.names = append(r.names, activations...)
	}
	if a, ok := c.N.Attr("activations"); ok {
		r.names = a.Strings
	}
	if len(r.names) != len(activations)*len(r.reverse) {
		c.unsupported("%d activations, want %d", len(r.names), len(activations)*len(r.reverse))
		return nil
	}
	alphas, _ := c.N.Attr("activation_alpha")
	betas, _ := c.N.Attr("activation_beta")
	r.alphas, r.betas, r.clip = alphas.Floats, betas.Floats, float64(c.N.Float("clip", 0))
	return r
}

// emit writes the operator and returns its outputs. With joint, the recurrent bias is added to that of the input.
func (r *recurrence) emit(joint bool, step stepFunc) []*graph.Value {
	c, x := r.c, r.c.In(0)
	if r.batchFirst {
		x = c.Transpose(x, 1, 0, 2)
	}
	all := make([][]*graph.Value, 1+r.states)
	for d := range r.reverse {
		for i, v := range r.direction(d, x, joint, step) {
			all[i] = append(all[i], v)
		}
	}
	outs := make([]*graph.Value, len(c.N.Outputs()))
	for i := range outs {
		at := int64(0) // the axis of directions
		if i == 0 {
			at = 1
		}
		for k, v := range all[i] {
			all[i][k] = c.Unsqueeze(v, at)
		}
		outs[i] = c.Concat(at, all[i]...)
		switch {
		case r.batchFirst && i == 0:
			outs[i] = c.Transpose(outs[i], 2, 0, 1, 3)
		case r.batchFirst:
			outs[i] = c.Transpose(outs[i], 1, 0, 2)
		}
	}
	return outs
}

// direction runs direction d over x [steps, batch, inputs]: it gives all states h, and the last states.
func (r *recurrence) direction(d int, x *graph.Value, joint bool, step stepFunc) []*graph.Value {
	c := r.c
	pre, w := r.weights(d, x, joint)
	trips := c.Squeeze(c.DimOf(x, 0), 0)
	init := make([]*graph.Value, r.states)
	for i := range init {
		init[i] = r.initial(d, 5+i, x)
	}
	outs := c.emitLoop("steps", trips, nil, init, nil, func(b *op.Builder, iteration *graph.Value, now []*graph.Value) []*graph.Value {
		if r.reverse[d] {
			iteration = b.Sub(b.Sub(trips, b.Int(1)), iteration)
		}
		next := step(b, w, b.Gather(pre, iteration, 0), now)
		y := next[0]
		if w.lengths != nil {
			active := b.Compare("Less", iteration, w.lengths)
			y = b.Where(active, y, b.FloatLike(y, 0))
			for i := range next {
				next[i] = b.Where(active, next[i], now[i])
			}
		}
		results := append(next, y)
		if y == next[0] {
			results[len(next)] = b.Identity(y)
		}
		return own(b, results, results)
	}, 1)
	y := outs[r.states]
	if r.reverse[d] {
		y = c.scanResult(y, 0, 1)
	}
	return append([]*graph.Value{y}, outs[:r.states]...)
}

// weights are those of direction d, and the part of the gates that comes from x, [steps, batch, gates*hidden].
func (r *recurrence) weights(d int, x *graph.Value, joint bool) (pre *graph.Value, w *weights) {
	c, rows := r.c, r.gates*r.hidden
	part := func(i int) *graph.Value {
		if c.In(i) == nil {
			return nil
		}
		return c.Gather(c.In(i), c.Int(int64(d)), 0)
	}
	pre = c.MatMul(x, c.Transpose(part(1), 1, 0))
	w = &weights{r: c.Transpose(part(2), 1, 0)}
	if bias := part(3); bias != nil {
		both := c.Split(bias, 0, rows, rows)
		pre = c.Add(pre, both[0])
		if joint {
			pre = c.Add(pre, both[1])
		} else {
			w.rbias = both[1]
		}
	}
	if lengths := c.In(4); lengths != nil {
		w.lengths = c.Unsqueeze(c.Cast(lengths, graph.Int64), 1)
	}
	if peep := part(7); peep != nil {
		w.peep = c.Split(peep, 0, r.hidden, r.hidden, r.hidden)
	}
	count := len(r.names) / len(r.reverse)
	alphas, betas := r.alphas, r.betas
	for k, name := range r.names[:(d+1)*count] {
		f := r.activation(name, &alphas, &betas)
		if f == nil {
			c.unsupported("activation %q is not one of ONNX's", name)
			f = func(_ *op.Builder, x *graph.Value) *graph.Value { return x }
		}
		if k >= d*count {
			w.acts = append(w.acts, r.clipped(f))
		}
	}
	return pre, w
}

// initial is initial state i of direction d, [batch, hidden].
func (r *recurrence) initial(d, i int, x *graph.Value) *graph.Value {
	c := r.c
	if c.In(i) == nil {
		return c.Full(c.shape(c.dimPiece(x, 1), num(r.hidden)), x.Type.Elem, 0)
	}
	at := int64(0)
	if r.batchFirst {
		at = 1
	}
	return c.Gather(c.In(i), c.Int(int64(d)), at)
}

// activation emits a function of x.
type activation func(b *op.Builder, x *graph.Value) *graph.Value

// clipped bounds the argument of f.
func (r *recurrence) clipped(f activation) activation {
	if r.clip <= 0 {
		return f
	}
	return func(b *op.Builder, x *graph.Value) *graph.Value {
		return f(b, b.Op("Clip", []*graph.Value{x, b.FloatLike(x, -r.clip), b.FloatLike(x, r.clip)}))
	}
}

// activation is the function of that name, with its parameters taken from the lists if it has any; nil if unknown.
func (r *recurrence) activation(name string, alphas, betas *[]float32) activation {
	take := func(list *[]float32, def float64) float64 {
		if len(*list) == 0 {
			return def
		}
		v := (*list)[0]
		*list = (*list)[1:]
		return float64(v)
	}
	alpha := func(name string, def float64) activation {
		return withAttrs(name, graph.F("alpha", float32(take(alphas, def))))
	}
	switch strings.ToLower(name) {
	case "relu":
		return withAttrs("Relu")
	case "tanh":
		return withAttrs("Tanh")
	case "sigmoid":
		return withAttrs("Sigmoid")
	case "softsign":
		return withAttrs("Softsign")
	case "softplus":
		return withAttrs("Softplus")
	case "leakyrelu":
		return alpha("LeakyRelu", 0.01)
	case "thresholdedrelu":
		return alpha("ThresholdedRelu", 1)
	case "elu":
		return alpha("Elu", 1)
	case "hardsigmoid":
		a, b := take(alphas, 0.2), take(betas, 0.5)
		return withAttrs("HardSigmoid", graph.F("alpha", float32(a)), graph.F("beta", float32(b)))
	case "affine":
		a, k := take(alphas, 1), take(betas, 0)
		return func(b *op.Builder, x *graph.Value) *graph.Value { return b.Add(b.Scale(x, a), b.FloatLike(x, k)) }
	case "scaledtanh":
		a, k := take(alphas, 1), take(betas, 1)
		return func(b *op.Builder, x *graph.Value) *graph.Value { return b.Scale(b.Unary("Tanh", b.Scale(x, k)), a) }
	}
	return nil
}

func withAttrs(name string, attrs ...graph.Attr) activation {
	return func(b *op.Builder, x *graph.Value) *graph.Value { return b.Op(name, []*graph.Value{x}, attrs...) }
}
