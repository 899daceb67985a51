// Package precondition turns gradients into directions: statistics, their accumulation, the solve, and the
// application, as the method record says. Each parameter ends up in one block; a block is a row of a representation
// (Kronecker factors of a layer, 2x2 units of a normalisation, one factor a tensor side, a diagonal, nothing).
//
// Emitted graph. State of a block goes in as State tags and out as NAME/next. Where the record sets intervals, the
// statistics of all blocks sit in one If on the statistics clock and the solves in one If on the solve clock, so that
// a step on which a clock does not tick pays nothing.
package precondition

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
	Name: "precondition", Doc: "statistics, accumulation, solve and application: gradients to directions, by the method record",
	Needs: []pass.Prop{pass.Gradients}, Gives: []pass.Prop{pass.Directed}, Run: Run,
}

// block is a set of parameters preconditioned together. stats are slots of accumulated statistics, sols what the solve
// makes of them.
type block struct {
	name    string
	params  []pass.Param
	note    pass.LayerNote
	stats   []slot
	sols    []slot
	always  bool     // statistics and solve on every step, whatever the intervals
	rule    string   // update rule tag: "" or "adam"
	roots   []int    // orders p of the inverse roots A^(-1/p) that solve takes
	graft   *block   // the block whose direction gives the norm, or nil
	guard   bool     // a direction that is not finite makes no step
	squares bool     // it needs squares of the gradient: one that overflows must not get into its averages
	held    bool     // next leaves the statistics as they are on a step whose gradients are not finite
	lag     bool     // directions come before this step's statistics and solutions
	texts   []string // further functions that it calls
	ways    []pass.Way
	inverts bool         // it calls the inverse for sides that are not those of its slots
	inner   *graph.Value // of the directions and gradients, where apply has it cheaper than by the gradients
	side    int64        // of the largest matrix that it inverts beside its sols

	debiased bool    // apply takes statistics divided by their weight
	moment   float64 // beta of an EMA of the gradients that apply takes in their place, or 0

	// next, if set, computes the next statistics from the present ones by itself, on every step.
	next func(b *op.Builder, stats []*graph.Value) []*graph.Value
	// fresh computes this step's statistics, one per stats slot.
	fresh func(b *op.Builder) []*graph.Value
	// solve makes the sols from accumulated (debiased) statistics; damped, if not nil, is what becomes of the statistics.
	solve func(b *op.Builder, stats []*graph.Value) (sols, damped []*graph.Value)
	// renew, if set, makes the next sols from the present ones, on the clock of the solve; stats as for solve.
	renew func(b *op.Builder, stats, sols []*graph.Value) []*graph.Value
	// after, if set, makes the next sols once the step's directions are known, on the clock of the solve: what it
	// uses may depend on the parameters' next values.
	after func(b *op.Builder, stats, sols []*graph.Value) []*graph.Value
	// follow, if set, makes the next sols from the present ones on the clock of the statistics, after statistics and solve.
	follow func(b *op.Builder, sols []*graph.Value) []*graph.Value
	// apply gives a direction per parameter from its gradients and this step's statistics and solutions.
	apply func(b *op.Builder, grads, stats, sols []*graph.Value) []*graph.Value

	// prepare, if set, makes what renew and play share, before any of them.
	prepare func()
	// observe and play, if set, are fresh and apply for blocks whose statistics depend on their solutions, or whose directions
	// change what is kept (play writes to lv.sols).
	observe func(b *op.Builder, lv *live) []*graph.Value
	play    func(b *op.Builder, lv *live, grads []*graph.Value) []*graph.Value
}

// names lists the names of the block's parameters.
func (bl *block) names() []string { return names(bl.params) }

// solves reports whether the block does something on the clock of the solve.
func (bl *block) solves() bool { return bl.solve != nil || bl.renew != nil }

// slot is a state tensor of a block.
type slot struct {
	name  string
	shape []int64
	init  string  // "zeros", "ones", "eye"
	scale float64 // of the initial value
	kind  string  // "curvature" or "optimizer"
}

// engine emits the blocks of the parameters that follow one record.
type engine struct {
	*shared
	rec     method.Record
	index   int          // of the record
	label   string       // of the record: "" for the default
	rows    *graph.Value // number of loss rows, or data_size
	hypers  map[string]*graph.Value
	factors map[*captured]*graph.Value // output factors by recursion
	toss    *graph.Value               // the clock that ticks at random, if there is one
	blocks  []*block
	left    map[*graph.Value]string // why the representation leaves a parameter to the fall-back
}

// shared is what the engines of one model have in common.
type shared struct {
	c          *pass.Ctx
	b          *op.Builder
	elem       graph.Elem
	grads      map[*graph.Value]*graph.Value // parameter -> training gradient
	step       *graph.Value
	captures   map[string]*captured // by block name (first layer)
	quantities map[quantity][][]*graph.Value
	ticks      map[interval]*graph.Value
	sizes      map[string]int64        // of symbolic dimensions, where the batch size is known
	starts     int                     // power iterations so far
	biases     map[biasOf]*graph.Value // 1 - beta^t
	decays     map[float64]*graph.Value
	guards     []*graph.Value // int64 scalars: failures of this step
}

// quantity names what Capture tags hold of a parameter; its values are listed by draw.
type quantity struct{ of, what string }

// captured are the output gradients of a block: [draw][use].
type captured struct {
	g      map[int]map[int]*graph.Value
	factor *graph.Value
	layers []pass.Layer
	train  map[int]*graph.Value // by use: of the training loss
	next   string               // block above, of which the output factor is made
}

// Run emits directions for all parameters, by one engine a record.
func Run(c *pass.Ctx, m *graph.Model) error {
	mix, err := method.ReadMix(m.Metadata)
	if err != nil {
		return err
	}
	s := &shared{c: c, b: op.NewBuilder(m, m.Graph), elem: pass.FloatElem(m.Graph), sizes: pass.Sizes(m.Graph, c.Options), ticks: map[interval]*graph.Value{}, biases: map[biasOf]*graph.Value{}, decays: map[float64]*graph.Value{}}
	s.collect(m.Graph)
	var engines []*engine
	var blocks []*block
	for i, rec := range mix.Records() {
		e := &engine{shared: s, rec: rec, index: i, label: mix.Label(i), hypers: map[string]*graph.Value{}, factors: map[*captured]*graph.Value{}, left: map[*graph.Value]string{}}
		engines = append(engines, e)
		e.plan(m.Graph)
		blocks = append(blocks, e.blocks...)
	}
	if err := addFunctions(m, blocks); err != nil {
		return err
	}
	s.emit(engines)
	for _, e := range engines {
		for _, bl := range e.blocks {
			if len(engines) > 1 {
				bl.note.Method = e.rec.Name
			}
			c.Report.Layers = append(c.Report.Layers, bl.note)
		}
	}
	return s.b.Err()
}

// collect reads the tags that earlier stages left.
func (e *shared) collect(g *graph.Graph) {
	e.grads = map[*graph.Value]*graph.Value{}
	for _, n := range pass.Tags(g, graph.TagGrad) {
		e.grads[n.In(1)] = n.Out(0)
	}
	layers := map[string]pass.Layer{}
	for _, l := range pass.LayersOf(g) {
		layers[l.Name] = l
	}
	e.captures, e.quantities = map[string]*captured{}, map[quantity][][]*graph.Value{}
	for _, n := range pass.Tags(g, graph.TagCapture) {
		what := n.Str("what", "")
		if !slices.Contains([]string{graph.CaptureOut, graph.CaptureTrain, graph.CaptureIn, graph.CaptureSlope}, what) { // draws come in order
			q := quantity{n.Str("of", ""), what}
			e.quantities[q] = append(e.quantities[q], []*graph.Value{n.Out(0), n.In(1)})
			continue
		}
		name := n.Str("block", "")
		cap := e.captures[name]
		if cap == nil {
			cap = &captured{g: map[int]map[int]*graph.Value{}, train: map[int]*graph.Value{}}
			e.captures[name] = cap
		}
		if next := n.Str("next", ""); next != "" { // not on every tag of the block
			cap.next = next
		}
		draw, use := int(n.Int("draw", 0)), int(n.Int("use", 0))
		if n.Str("what", "") == graph.CaptureTrain {
			cap.train[use] = n.Out(0)
			continue
		}
		cap.factor = n.In(1)
		if cap.g[draw] == nil {
			cap.g[draw] = map[int]*graph.Value{}
		}
		cap.g[draw][use] = n.Out(0)
		if draw == 0 {
			cap.layers = append(cap.layers, layers[n.Str("layer", "")])
		}
	}
}

// hyper is the scalar input of that name with a default; records other than the default have inputs of their own.
func (e *engine) hyper(name string, def float64) *graph.Value {
	name = pass.Labelled(name, e.label)
	if v, ok := e.hypers[name]; ok {
		return v
	}
	v := pass.Hyper(e.b, name, def, e.elem)
	e.hypers[name] = v
	return v
}

func (e *engine) damping() *graph.Value { return e.hyper("damping", e.rec.Solve.Damping.Value) }

// dataSize is what statistics are divided by, a scalar.
func (e *engine) dataSize() *graph.Value {
	if e.rows != nil {
		return e.rows
	}
	if n := e.rec.Curvature.DataSize; n > 0 {
		e.rows = e.b.Float(e.elem, float64(n))
		return e.rows
	}
	loss := pass.Tags(e.b.Graph, graph.TagLoss)[0]
	e.rows = e.lossRows(loss)
	return e.rows
}

// lossRows counts the rows of the loss whose label counts.
func (e *shared) lossRows(loss *graph.Node) *graph.Value {
	b, axis := e.b, int(loss.Int("axis", 1))
	if a, ok := loss.Attr("ignore_index"); ok {
		valid := b.Unary("Not", b.Compare("Equal", loss.In(2), b.Int(a.I)))
		return b.Op("Max", []*graph.Value{b.Sum(b.Cast(valid, e.elem)), b.Float(e.elem, 1)})
	}
	var axes []int
	for i := range loss.In(1).Type.Rank() {
		if i != axis {
			axes = append(axes, i)
		}
	}
	if loss.Int("scalar", 0) != 0 { // of the model: its operand has an example in each slice
		return b.CountOf(loss.In(2), e.elem, 0)
	}
	if len(axes) == 0 { // the logits of one example
		return b.Float(e.elem, 1)
	}
	return b.CountOf(loss.In(1), e.elem, axes...)
}

func (e *shared) stepValue() *graph.Value {
	if e.step == nil {
		e.step = pass.Step(e.b)
	}
	return e.step
}

// state declares the slots of a block.
func (e *engine) state(bl *block, slots []slot) []*graph.Value {
	vs := make([]*graph.Value, len(slots))
	for i, s := range slots {
		vs[i] = pass.State(e.b, pass.StateSpec{
			Name: e.slotName(bl, s), Kind: s.kind, Of: bl.name, Elem: e.elem, Shape: s.shape, Init: s.init, Scale: s.scale, Held: bl.held,
		})
	}
	return vs
}

func (e *engine) slotName(bl *block, s slot) string {
	return fmt.Sprintf("asdl/%s/%s", bl.name, s.name)
}
