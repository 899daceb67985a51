// Package capture asks for what a method needs to know about a step: the training gradient of every parameter, and for
// methods built on inputs and output gradients of layers, the gradients in the layers' outputs, under the true labels,
// labels sampled from the model, or the columns of a root of the loss's Hessian.
//
// It only writes requests and tags; autodiff expands them. A pass for sampled labels asks for the gradients in layer
// outputs alone, so the weight gradients that it would throw away are never computed.
package capture

import (
	"fmt"
	"slices"

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
	mix, err := method.ReadMix(m.Metadata)
	if err != nil {
		return err
	}
	if err := assign(m.Graph, mix); err != nil {
		return err
	}
	losses := pass.Tags(m.Graph, graph.TagLoss)
	if len(losses) != 1 {
		return fmt.Errorf("BUG: %d Loss tags, want 1", len(losses))
	}
	w := &writer{b: op.NewBuilder(m, m.Graph), loss: losses[0], records: mix.Records(), difference: c.Options.HVP == "difference", factors: c.Options.Batch > 0}
	w.logits, w.target = w.loss.In(1), w.loss.In(2)
	blocks := cover(m.Graph, w.records)
	warnCoupled(c, m.Graph, blocks)
	if c.Options.Emit == "gradient" && len(w.from(blocks, "secant")) > 0 {
		return &pass.OptionError{Option: "emit", Value: "gradient", Want: "update: curvature.source secant compares gradients at the parameters and at their next values, which only the step graph's own update knows"}
	}
	if err := w.training(m.Graph, blocks); err != nil {
		return err
	}
	if err := w.statistics(blocks); err != nil {
		return err
	}
	w.elements(m.Graph)
	w.secant(m.Graph, w.from(blocks, "secant"))
	return w.b.Err()
}

// warnCoupled notes that batch statistics make an example's loss depend on the other examples, so that there are no
// gradients of single examples in the strict sense.
func warnCoupled(c *pass.Ctx, g *graph.Graph, blocks []block) {
	if len(blocks) == 0 {
		return
	}
	for _, l := range pass.LayersOf(g) {
		if l.Kind == graph.LayerBatchNorm && l.Node.In(4) == nil {
			c.Note("batch normalisation by the statistics of the batch couples its examples: curvature from gradients of single examples leaves that out (--bn frozen does not couple them)")
			return
		}
	}
}

type writer struct {
	b              *op.Builder
	loss           *graph.Node
	logits, target *graph.Value
	records        []method.Record
	difference     bool // Hessian-vector products by finite differences
	factors        bool // also the training gradients in layer outputs, of which weight gradients are products
	draws          int  // of labels, so far

	grads map[*graph.Value]*graph.Value // training gradients of the parameters
}

// source is where the blocks' output gradients come from.
func (w *writer) source(bl block) string { return w.records[bl.Record].Curvature.Source }

// from lists the blocks with a source.
func (w *writer) from(blocks []block, source string) []block {
	var list []block
	for _, bl := range blocks {
		if w.source(bl) == source {
			list = append(list, bl)
		}
	}
	return list
}

// request asks for d<seed, y>/dx for all xs.
func (w *writer) request(y, seed *graph.Value, xs []*graph.Value) []*graph.Value {
	in := append([]*graph.Value{y, seed}, xs...)
	return w.b.Node(graph.Asdl, graph.TagGradient, in, len(xs), graph.I("ys", 1)).Outputs()
}

// about emits a request about the loss, with the Loss tag's settings.
func (w *writer) about(tag string, target *graph.Value, extra ...graph.Attr) *graph.Value {
	return w.aboutAt(tag, w.logits, target, extra...)
}

// aboutAt is about for the logits of another evaluation of the model.
func (w *writer) aboutAt(tag string, logits, target *graph.Value, extra ...graph.Attr) *graph.Value {
	attrs := append(append([]graph.Attr{}, w.loss.Attrs()...), extra...)
	return w.b.Tag(tag, []*graph.Value{logits, target}, attrs...)
}

// by is the attribute that tells the loss which record a request follows.
func by(record int) []graph.Attr {
	if record == 0 {
		return nil
	}
	return []graph.Attr{graph.I("record", int64(record))}
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
	emp := slices.Concat(w.from(blocks, "emp"), w.from(blocks, "secant"))
	seen := emp
	if w.factors {
		seen = slices.Concat(emp, slices.DeleteFunc(slices.Clone(blocks), func(bl block) bool {
			return w.source(bl) == "emp" || w.source(bl) == "secant"
		}))
	}
	xs = append(xs, outputs(seen)...)
	seed, rows := w.seed(w.logits)
	grads := w.request(w.logits, seed, xs)
	w.grads = map[*graph.Value]*graph.Value{}
	for i, p := range params {
		w.grads[p.Value] = grads[i]
		b.Named(graph.Asdl, graph.TagGrad, []*graph.Value{grads[i], p.Value}, []string{"grad/" + p.Name()}, graph.S("of", p.Name()))
	}
	inOutputs := grads[len(params):]
	w.tag(emp, graph.CaptureOut, inOutputs, rows, 0)
	if w.factors {
		w.tag(seen, graph.CaptureTrain, inOutputs, nil, 0)
	}
	return nil
}

// seed is the gradient of the training loss in the logits, and the number of rows over which it is averaged (nil: it is summed).
func (w *writer) seed(logits *graph.Value) (seed, rows *graph.Value) {
	seed = w.aboutAt(graph.TagLossGrad, logits, w.target)
	if r := w.loss.Str("reduction", "mean"); r != "sum" {
		rows = w.aboutAt(graph.TagLossRows, logits, w.target)
		seed = w.b.Div(seed, rows)
	}
	return seed, rows
}

// statistics requests the output gradients for sources mc and exact. Blocks of records that sample alike and on the same
// steps share their backward passes.
func (w *writer) statistics(blocks []block) error {
	w.sampled(w.from(blocks, "mc"))
	w.inputs(w.from(blocks, "none"))
	if err := w.recursive(w.b.Graph, w.from(blocks, "recursive")); err != nil {
		return err
	}
	return w.exact(w.from(blocks, "exact"))
}

// sampled requests a backward pass for each drawn set of labels, for the blocks that draw so many.
func (w *writer) sampled(blocks []block) {
	b := w.b
	for _, group := range w.alike(blocks) {
		for i, more := 0, group; len(more) > 0; i++ {
			record := more[0].Record
			b.Prefix = "sampled/"
			seed := w.sampledSeed(record)
			w.tag(more, graph.CaptureOut, w.request(w.logits, seed, outputs(more)), nil, i)
			more = slices.DeleteFunc(slices.Clone(more), func(bl block) bool { return w.records[bl.Record].Curvature.Samples <= i+1 })
		}
	}
}

// sampledSeed is the gradient of the loss in the logits under labels drawn from the model. The labels of the data still
// decide how much a row weighs.
func (w *writer) sampledSeed(record int) *graph.Value {
	labels := w.about(graph.TagSample, w.target, append(by(record), graph.I("draw", int64(w.draws)))...)
	w.draws++
	attrs := slices.Concat(w.loss.Attrs(), by(record), []graph.Attr{graph.I("sampled", 1)})
	return w.b.Tag(graph.TagLossGrad, []*graph.Value{w.logits, labels, w.target}, attrs...)
}

// alike groups blocks whose records draw from the same distribution and look at it on the same steps: a pass that serves
// statistics of one clock is left out on the other steps.
func (w *writer) alike(blocks []block) [][]block {
	var groups [][]block
	var keys []string
	for _, bl := range blocks {
		r := w.records[bl.Record]
		key := fmt.Sprint(r.Preset, r.Curvature.Variance, r.Accumulate.Kind == "none", r.Accumulate.Every, r.Accumulate.Warmup, r.Accumulate.Schedule)
		if r.Accumulate.Kind == "none" {
			key += fmt.Sprint(r.Solve.Every, r.Solve.Warmup)
		}
		i := slices.Index(keys, key)
		if i < 0 {
			keys, groups = append(keys, key), append(groups, nil)
			i = len(keys) - 1
		}
		groups[i] = append(groups[i], bl)
	}
	return groups
}

// exact requests a backward pass for each column of a root of the loss's Hessian.
func (w *writer) exact(blocks []block) error {
	for _, group := range w.alike(blocks) {
		axis := w.loss.Int("axis", 1)
		columns, ok := w.logits.Type.Dims[axis].Size()
		if !ok || columns > MaxExactColumns {
			return fmt.Errorf("%w: source exact needs one backward pass per class, and logits %s have type %s (limit %d classes); use curvature.source=mc with curvature.samples",
				graph.ErrUnsupported, w.logits, w.logits.Type, MaxExactColumns)
		}
		for j := range columns {
			w.b.Prefix = "exact/"
			seed := w.about(graph.TagLossRoot, w.target, append(by(group[0].Record), graph.I("column", j))...)
			w.tag(group, graph.CaptureOut, w.request(w.logits, seed, outputs(group)), nil, int(j))
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
func (w *writer) tag(blocks []block, what string, values []*graph.Value, factor *graph.Value, draw int, more ...graph.Attr) {
	i := 0
	for _, bl := range blocks {
		for use, l := range bl.Layers {
			in := []*graph.Value{values[i]}
			if factor != nil {
				in = append(in, factor)
			}
			attrs := append([]graph.Attr{
				graph.S("layer", l.Name), graph.S("what", what), graph.I("draw", int64(draw)), graph.S("block", bl.Layers[0].Name), graph.I("use", int64(use)),
			}, more...)
			w.b.Named(graph.Asdl, graph.TagCapture, in, []string{"capture/" + l.Name}, attrs...)
			i++
		}
	}
}
