package autodiff

import (
	"errors"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// Pass is the row of the pass tables.
var Pass = pass.Pass{
	Name:  "autodiff",
	Doc:   "expand gradient and tangent requests into standard operators",
	Ref:   "Griewank & Walther 2008, Evaluating Derivatives, chapters 3 and 5",
	Needs: []pass.Prop{pass.Seeds},
	Gives: []pass.Prop{pass.Gradients},
	Run:   Expand,
}

// Expand replaces every Gradient and Tangent request of m, in graph order, by standard operators placed before it.
// Requests that depend on earlier requests differentiate their expansion.
//
// Operators without a rule on a path from an x to a y are graph.ErrUnsupported; the error lists all of a request.
func Expand(c *pass.Ctx, m *graph.Model) error {
	rules := newTable()
	for n := range m.Graph.All() {
		var err error
		switch {
		case n.Is(graph.Asdl, graph.TagGradient):
			err = expandGradient(c, m, n, rules)
		case n.Is(graph.Asdl, graph.TagTangent):
			err = expandTangent(m, n, rules)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// request is a Gradient or Tangent node taken apart: its y's, their seeds (or the tangents of the x's), its x's.
type request struct {
	ys, seeds, xs []*graph.Value
}

func parseRequest(n *graph.Node, seedsPerX bool) (request, error) {
	k := int(n.Int("ys", 1))
	in := n.Inputs()
	x := 2 * k // start of the x's
	if seedsPerX {
		x = k + (len(in)-k)/2
	}
	if k < 1 || len(in) < x+1 || (seedsPerX && (len(in)-k)%2 != 0) {
		return request{}, n.Errorf(graph.ErrInvalid, "%d inputs do not fit ys=%d", len(in), k)
	}
	r := request{ys: in[:k], seeds: in[k:x], xs: in[x:]}
	for _, v := range append(append([]*graph.Value{}, r.ys...), r.xs...) {
		if v == nil || !real(v) {
			return r, n.Errorf(graph.ErrInvalid, "%s is not a floating-point value", v)
		}
	}
	if outs := len(n.Outputs()); (!seedsPerX && outs > len(r.xs)) || (seedsPerX && outs > k) {
		return r, n.Errorf(graph.ErrInvalid, "%d outputs for %d y and %d x", outs, k, len(r.xs))
	}
	return r, nil
}

// begin prepares the expansion of the request at.
func begin(m *graph.Model, at *graph.Node, prefix string, rules table) (*op.Builder, *walk) {
	b, w := op.NewBuilder(m, at.Graph()), newWalk(m, rules)
	b.At, b.Prefix = at, prefix
	infer := b.Infer
	b.Infer = func(n *graph.Node) error {
		w.unnamed[n] = true
		return infer(n)
	}
	return b, w
}

func expandGradient(c *pass.Ctx, m *graph.Model, n *graph.Node, rules table) error {
	r, err := parseRequest(n, false)
	if err != nil {
		return err
	}
	b, w := begin(m, n, "bwd/", rules)
	seeds := make([]*graph.Value, len(r.ys))
	for i, y := range r.ys {
		if seeds[i] = r.seeds[i]; seeds[i] == nil {
			seeds[i] = onesLike(b, y)
		}
	}
	dx := w.pullback(b, r.ys, seeds, r.xs, nil)
	for i, x := range r.xs {
		if dx[i] != nil || i >= len(n.Outputs()) || n.Out(i) == nil {
			continue
		}
		if p, ok := pass.ParamOf(x); ok && c != nil && c.Report != nil {
			c.Note("parameter " + p.Name() + " does not influence " + r.ys[0].Name + ": its gradient is zero")
		}
		dx[i] = b.ZerosLike(x)
	}
	return finish(b, w, n, dx)
}

func expandTangent(m *graph.Model, n *graph.Node, rules table) error {
	r, err := parseRequest(n, true)
	if err != nil {
		return err
	}
	b, w := begin(m, n, "fwd/", rules)
	dy := w.pushforward(b, r.ys, r.xs, r.seeds, nil)
	for i, y := range r.ys {
		if dy[i] == nil && n.Out(i) != nil {
			dy[i] = b.ZerosLike(y)
		}
	}
	return finish(b, w, n, dy)
}

// finish puts the results in the place of the request's outputs and removes it.
func finish(b *op.Builder, w *walk, n *graph.Node, results []*graph.Value) error {
	if err := errors.Join(w.errs...); err != nil {
		return err
	}
	if err := b.Err(); err != nil {
		return err
	}
	b.Scope = n.Scope
	names := map[*graph.Value]string{} // graph outputs keep their names
	for i, o := range n.Outputs() {
		if o == nil {
			continue
		}
		v := results[i]
		if o.IsOutput() {
			v = b.Identity(v)
			names[v] = o.Name
		}
		o.ReplaceUses(v)
	}
	n.Remove()
	for v, name := range names {
		v.Rename(name)
	}
	return nil
}

// onesLike is a tensor of ones of v's type and shape.
func onesLike(b *op.Builder, v *graph.Value) *graph.Value {
	if v.Type.Rank() == 0 {
		return b.FloatLike(v, 1)
	}
	return b.OnesLike(v)
}

// real reports whether v may be a tensor of real numbers.
func real(v *graph.Value) bool {
	return v.Type.Elem.IsFloat() || v.Type.Elem == graph.Undefined
}
