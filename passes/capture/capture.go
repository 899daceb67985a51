// Package capture asks for what a method needs to know about a step: the training gradient of every parameter, and for
// methods built on inputs and output gradients of layers, the gradients in the layers' outputs, under the true labels,
// labels sampled from the model, or the columns of a root of the loss's Hessian.
//
// It only writes requests and tags; autodiff expands them. A pass for sampled labels asks for the gradients in layer
// outputs alone, so the weight gradients that it would throw away are never computed.
package capture

import (
	"fmt"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
)

// Pass is the row of the pass table.
var Pass = pass.Pass{
	Name: "capture", Doc: "request the training gradient, and the output gradients that the method's statistics need",
	Needs: []pass.Prop{pass.Layers, pass.Loss}, Gives: []pass.Prop{pass.Requests}, Run: Run,
}

// MaxExactColumns bounds the backward passes of source exact.
const MaxExactColumns = 256

// Run writes the requests.
func Run(c *pass.Ctx, m *graph.Model) error {
	rec, err := method.Decode(m.Metadata["asdl.method"])
	if err != nil {
		return err
	}
	losses := pass.Tags(m.Graph, graph.TagLoss)
	if len(losses) != 1 {
		return fmt.Errorf("BUG: %d Loss tags, want 1", len(losses))
	}
	w := &writer{b: op.NewBuilder(m, m.Graph), loss: losses[0], rec: rec}
	w.logits, w.target = w.loss.In(1), w.loss.In(2)
	blocks := cover(c, m.Graph, rec)
	if err := w.training(m.Graph, blocks); err != nil {
		return err
	}
	if err := w.statistics(blocks); err != nil {
		return err
	}
	return w.b.Err()
}

type writer struct {
	b              *op.Builder
	loss           *graph.Node
	logits, target *graph.Value
	rec            method.Record
}

// request asks for d<seed, y>/dx for all xs.
func (w *writer) request(y, seed *graph.Value, xs []*graph.Value) []*graph.Value {
	in := append([]*graph.Value{y, seed}, xs...)
	return w.b.Node(graph.Asdl, graph.TagGradient, in, len(xs), graph.I("ys", 1)).Outputs()
}

// about emits a request about the loss, with the Loss tag's settings.
func (w *writer) about(tag string, target *graph.Value, extra ...graph.Attr) *graph.Value {
	attrs := append(append([]graph.Attr{}, w.loss.Attrs()...), extra...)
	return w.b.Tag(tag, []*graph.Value{w.logits, target}, attrs...)
}

// training requests the gradient of the loss in every parameter; with source emp also in the layer outputs, where it
// serves as the statistic's gradient too.
func (w *writer) training(g *graph.Graph, blocks []block) error {
	b := w.b
	b.Prefix = "grad/"
	params := pass.Params(g, "param")
	if len(params) == 0 {
		return fmt.Errorf("%w: the model has no trainable parameter (floating-point initializer that the loss depends on)", graph.ErrUnsupported)
	}
	var xs []*graph.Value
	for _, p := range params {
		xs = append(xs, p.Value)
	}
	emp := w.rec.Curvature.Source == "emp"
	if emp {
		xs = append(xs, outputs(blocks)...)
	}
	seed := w.about(graph.TagLossGrad, w.target)
	var rows *graph.Value
	if r := w.loss.Str("reduction", "mean"); r != "sum" {
		rows = w.about(graph.TagLossRows, w.target)
		seed = b.Div(seed, rows)
	}
	grads := w.request(w.logits, seed, xs)
	for i, p := range params {
		b.Named(graph.Asdl, graph.TagGrad, []*graph.Value{grads[i], p.Value}, []string{"grad/" + p.Name()}, graph.S("of", p.Name()))
	}
	if emp {
		w.tag(blocks, grads[len(params):], rows, 0)
	}
	return nil
}

// statistics requests the output gradients for sources mc and exact.
func (w *writer) statistics(blocks []block) error {
	if len(blocks) == 0 {
		return nil
	}
	xs := outputs(blocks)
	switch w.rec.Curvature.Source {
	case "mc":
		for i := range max(1, w.rec.Curvature.Samples) {
			w.b.Prefix = "sampled/"
			labels := w.about(graph.TagSample, w.target, graph.I("draw", int64(i)))
			seed := w.about(graph.TagLossGrad, labels)
			seed.Def().RemoveAttr("label_smoothing") // the Fisher matrix takes labels as drawn
			w.tag(blocks, w.request(w.logits, seed, xs), nil, i)
		}
	case "exact":
		axis := w.loss.Int("axis", 1)
		columns, ok := w.logits.Type.Dims[axis].Size()
		if !ok || columns > MaxExactColumns {
			return fmt.Errorf("%w: source exact needs one backward pass per class, and logits %s have type %s (limit %d classes); use curvature.source=mc with curvature.samples",
				graph.ErrUnsupported, w.logits, w.logits.Type, MaxExactColumns)
		}
		for j := range columns {
			w.b.Prefix = "exact/"
			seed := w.about(graph.TagLossRoot, w.target, graph.I("column", j))
			w.tag(blocks, w.request(w.logits, seed, xs), nil, int(j))
		}
	}
	return nil
}

func outputs(blocks []block) []*graph.Value {
	var xs []*graph.Value
	for _, bl := range blocks {
		for _, l := range bl.Layers {
			xs = append(xs, l.Out)
		}
	}
	return xs
}

// tag marks the gradients in layer outputs. With a factor, the true (un-averaged) gradient is that times the value.
func (w *writer) tag(blocks []block, grads []*graph.Value, factor *graph.Value, draw int) {
	i := 0
	for _, bl := range blocks {
		for use, l := range bl.Layers {
			in := []*graph.Value{grads[i]}
			if factor != nil {
				in = append(in, factor)
			}
			w.b.Named(graph.Asdl, graph.TagCapture, in, []string{"capture/" + l.Name},
				graph.S("layer", l.Name), graph.S("what", "g"), graph.I("draw", int64(draw)), graph.S("block", bl.Layers[0].Name), graph.I("use", int64(use)))
			i++
		}
	}
}
