// Package dropout gives Dropout in training mode random numbers that every runtime reproduces: the operator's own are
// unspecified and cannot be resumed, so its mask is drawn from the counter-based generator of the step graph.
package dropout

import (
	"fmt"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// Pass is the row of the pass table.
var Pass = pass.Pass{
	Name: "dropout", Doc: "replace Dropout in training mode by a mask from the counter-based generator",
	Ref:   "Srivastava et al., JMLR 15, 2014; ONNX Dropout-13",
	Needs: []pass.Prop{pass.Normal, pass.Layers}, Run: Run,
}

// Run replaces every Dropout node, in nested graphs too. An element is kept with probability 1-ratio and then divided by
// that; with ratio 1 everything is dropped.
func Run(c *pass.Ctx, m *graph.Model) error {
	number := 0
	for n := range m.Graph.All() {
		if !n.Is("", "Dropout") {
			continue
		}
		if n.Graph() != m.Graph {
			return n.Errorf(graph.ErrUnsupported, "Dropout in training mode inside a nested graph; export the model in evaluation mode")
		}
		if err := replace(m, n, number); err != nil {
			return err
		}
		number++
	}
	if number > 0 {
		c.Note(fmt.Sprintf("%d Dropout nodes in training mode draw their masks from asdl/seed and asdl/step", number))
	}
	return nil
}

func replace(m *graph.Model, n *graph.Node, number int) error {
	b := op.NewBuilder(m, n.Graph())
	b.At, b.Prefix, b.Scope = n, "dropout/", n.Scope
	x := n.In(0)
	e := x.Type.Elem
	ratio := b.Float(e, 0.5)
	if r := n.In(1); r != nil {
		ratio = b.Cast(r, e)
	}
	u := b.Tag(graph.TagNoise, []*graph.Value{b.ShapeOf(x)}, graph.S("name", fmt.Sprintf("dropout/%d", number)), graph.S("kind", "uniform"),
		graph.I("draw", 0), graph.I("dtype", int64(e)))
	keep := b.Compare("GreaterOrEqual", u, ratio)
	y := b.Where(keep, b.Div(x, b.Sub(b.Float(e, 1), ratio)), b.Float(e, 0))
	if mode := n.In(2); mode != nil && mode.Const() == nil { // decided by an input of the model
		y = b.Where(mode, y, x)
		keep = b.Op("Or", []*graph.Value{keep, b.Unary("Not", mode)})
	}
	if err := b.Err(); err != nil {
		return err
	}
	if mask := n.Out(1); mask != nil {
		pass.Replace(mask, keep)
	}
	pass.Replace(n.Out(0), y)
	n.Remove()
	return nil
}
