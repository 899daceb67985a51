package capture

import (
	"slices"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
)

// elements requests what element-wise statistics and those of whole parameters are made of: Hessian-vector products, or
// gradients under sampled labels.
func (w *writer) elements(g *graph.Graph) {
	for i, rec := range w.records {
		var ps []pass.Param
		for _, p := range pass.Params(g, "param") {
			if p.Record() == i {
				ps = append(ps, p)
			}
		}
		switch {
		case len(ps) == 0:
		case rec.Probed():
			w.probed(ps, rec)
		case rec.Curvature.Source == "mc" && (rec.Representation.Format == "diag" || rec.Representation.Format == "kf_dim"):
			w.drawn(ps, i)
		}
	}
}

// probed requests a Hessian-vector product for each sample.
func (w *writer) probed(ps []pass.Param, rec method.Record) {
	for draw := range max(1, rec.Curvature.Samples) {
		vs := w.probes(ps, rec, draw)
		products := w.products(ps, vs, rec.Curvature.Source)
		for i, p := range ps {
			w.tagParam(p, graph.CaptureProduct, draw, products[i], vs[i])
		}
	}
}

// drawn requests the parameters' gradients under labels drawn from the model, for each sample.
func (w *writer) drawn(ps []pass.Param, record int) {
	for draw := range max(1, w.records[record].Curvature.Samples) {
		w.b.Prefix = "sampled/"
		seed := w.sampledSeed(record)
		for i, grad := range w.request(w.logits, seed, values(ps)) {
			w.tagParam(ps[i], graph.CaptureSampled, draw, grad)
		}
	}
}

// tagParam marks a quantity of a parameter.
func (w *writer) tagParam(p pass.Param, what string, draw int, in ...*graph.Value) {
	w.b.Named(graph.Asdl, graph.TagCapture, in, []string{"capture/" + p.Name()},
		graph.S("of", p.Name()), graph.S("what", what), graph.I("draw", int64(draw)))
}

// probes draws one vector a parameter. As inputs (--noise input) they are the vectors themselves.
func (w *writer) probes(ps []pass.Param, rec method.Record, draw int) []*graph.Value {
	w.b.Prefix = "probe/"
	vs := make([]*graph.Value, len(ps))
	for i, p := range ps {
		shape, ok := p.Value.Type.Static()
		if !ok {
			panic("BUG: parameter " + p.Name() + " of unknown shape")
		}
		attrs := []graph.Attr{
			graph.S("name", "probe/"+p.Name()), graph.S("kind", rec.Curvature.Probe), graph.I("draw", int64(draw)),
			graph.I("dtype", int64(p.Value.Type.Elem)),
		}
		if rec.Curvature.Samples <= 1 {
			attrs = append(attrs, graph.I("single", 1))
		}
		vs[i] = w.b.Tag(graph.TagNoise, []*graph.Value{w.b.Ints(shape...)}, attrs...)
	}
	return vs
}

// products are Hv for one vector a parameter, H being the Hessian of the training loss in all parameters together: the
// derivative of the gradient along v (Pearlmutter 1994), or a central difference of two gradients; for source ggnvp, Gv.
func (w *writer) products(ps []pass.Param, vs []*graph.Value, source string) []*graph.Value {
	w.b.Prefix = "hvp/"
	if source == "ggnvp" {
		return w.gaussNewton(ps, vs)
	}
	if w.difference {
		return w.differences(ps, vs)
	}
	var in []*graph.Value
	for _, p := range ps {
		in = append(in, w.grads[p.Value])
	}
	in = append(append(in, vs...), values(ps)...)
	return w.b.Node(graph.Asdl, graph.TagTangent, in, len(ps), graph.I("ys", int64(len(ps)))).Outputs()
}

// gaussNewton are Gv = J^T H J v for one vector a parameter, J being the Jacobian of the logits in the parameters and H the
// Hessian of the training loss in the logits (Schraudolph 2002): a forward derivative of the logits, one of the loss's
// gradient, and a backward pass.
func (w *writer) gaussNewton(ps []pass.Param, vs []*graph.Value) []*graph.Value {
	in := append([]*graph.Value{w.logits}, append(slices.Clone(vs), values(ps)...)...)
	along := w.b.Node(graph.Asdl, graph.TagTangent, in, 1, graph.I("ys", 1)).Out(0)
	seed, _ := w.seed(w.logits)
	curved := w.b.Node(graph.Asdl, graph.TagTangent, []*graph.Value{seed, along, w.logits}, 1, graph.I("ys", 1)).Out(0)
	return w.request(w.logits, curved, values(ps))
}

// differences are (g(p + hv) - g(p - hv)) / 2h. The step h is relative to the parameters, for their rounding is.
func (w *writer) differences(ps []pass.Param, vs []*graph.Value) []*graph.Value {
	b, e := w.b, vs[0].Type.Elem
	step := 3e-3
	if e == graph.Float64 {
		step = 6e-6 // the cube root of the rounding error, as 3e-3 is in float32
	}
	size := b.Op("Max", []*graph.Value{norm(w, values(ps)), b.Float(e, 1e-3)})
	h := b.Div(b.Scale(size, step), norm(w, vs))
	var sides [2][]*graph.Value
	for side, sign := range []float64{1, -1} {
		at, xs := map[*graph.Value]*graph.Value{}, []*graph.Value{}
		for i, p := range ps {
			x := b.Add(p.Value, b.Mul(b.Scale(h, sign), vs[i]))
			at[p.Value], xs = x, append(xs, x)
		}
		t := w.evaluate(at)
		seed, _ := w.seed(t.logits)
		sides[side] = w.request(t.logits, seed, xs)
	}
	out := make([]*graph.Value, len(vs))
	for i := range out {
		out[i] = b.Div(b.Sub(sides[0][i], sides[1][i]), b.Scale(h, 2))
	}
	return out
}

// norm is the Euclidean norm of several tensors together.
func norm(w *writer, vs []*graph.Value) *graph.Value {
	var sum *graph.Value
	for _, v := range vs {
		s := w.b.Reduce("ReduceSumSquare", v, false)
		if sum != nil {
			s = w.b.Add(sum, s)
		}
		sum = s
	}
	return w.b.Sqrt(sum)
}

func values(ps []pass.Param) []*graph.Value {
	vs := make([]*graph.Value, len(ps))
	for i, p := range ps {
		vs[i] = p.Value
	}
	return vs
}
