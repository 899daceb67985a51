package op

import (
	"errors"

	"github.com/asdlc/asdlc/graph"
)

var (
	ifAttrs   = []AttrSpec{need("else_branch", graph.AttrGraph), need("then_branch", graph.AttrGraph)}
	scanAttrs = []AttrSpec{
		need("body", graph.AttrGraph), need("num_scan_inputs", graph.AttrInt), may("scan_input_axes", graph.AttrInts),
		may("scan_input_directions", graph.AttrInts), may("scan_output_axes", graph.AttrInts), may("scan_output_directions", graph.AttrInts),
	}
)

// controlTable has the operators with nested graphs. Their bodies are typed in place.
var controlTable = []Schema{
	{
		Name: "If", Since: 1, Inputs: []Param{one("cond", "", boolElem)}, Outputs: []Param{many("outputs", "", anyElem)},
		Attrs: ifAttrs, Infer: inferIf, Doc: "one of two graphs, lazily",
	},
	{
		Name: "Loop", Since: 1, Inputs: []Param{opt("M", "", int64Elem), opt("cond", "", boolElem), anyCount("v_initial", "", anyElem)},
		Outputs: []Param{anyCount("v_final_and_scan_outputs", "", anyElem)}, Attrs: []AttrSpec{need("body", graph.AttrGraph)},
		Infer: inferLoop, Doc: "a graph repeated while its condition holds, M times at most",
	},
	{
		Name: "Scan", Since: 8, Inputs: []Param{opt("sequence_lens", "", int64Elem), many("initial_state_and_scan_inputs", "", anyElem)},
		Outputs: []Param{many("final_state_and_scan_outputs", "", anyElem)},
		Attrs:   []AttrSpec{need("body", graph.AttrGraph), may("directions", graph.AttrInts), need("num_scan_inputs", graph.AttrInt)},
		Infer:   inferBatchedScan, Doc: "a graph applied to each slice of the scan inputs, for each sequence of a batch",
	},
	{
		Name: "Scan", Since: 9, Inputs: []Param{many("initial_state_and_scan_inputs", "", anyElem)},
		Outputs: []Param{many("final_state_and_scan_outputs", "", anyElem)}, Attrs: scanAttrs, Infer: inferScan, Doc: "a graph applied to each slice of the scan inputs",
	},
}

// nested infers graph attribute attr with the given types of its inputs and returns its outputs. Where the environment
// is pure, the graph is left as it was.
func (c *Context) nested(g *graph.Graph, in []Arg) ([]Arg, error) {
	if c.env.pure {
		defer snapshot(g)()
	}
	for i, v := range g.Inputs() {
		t, err := mergeType(in[i].Type, v.Type)
		if err != nil && !c.env.merge {
			t, err = in[i].Type, nil
		}
		if err != nil {
			return nil, c.fail("input %q of the graph %q is %v", v.Name, g.Name, err)
		}
		v.Type, v.Content = t, in[i].Content
	}
	inner := *c.env
	inner.depth++
	if inner.depth > maxCallDepth {
		return nil, c.fail("graphs nest more than %d deep", maxCallDepth)
	}
	if err := inner.walk(&inner, g); err != nil {
		return nil, err
	}
	out := make([]Arg, len(g.Outputs()))
	for i, v := range g.Outputs() {
		out[i] = inner.argOf(v)
	}
	return out, nil
}

// body is a graph attribute; arity is checked against the node.
func (c *Context) body(attr string, inputs, outputs int) (*graph.Graph, error) {
	a, ok := c.Attr(attr)
	if !ok || a.G == nil {
		return nil, c.fail("attribute %q holds no graph", attr)
	}
	if n := len(a.G.Inputs()); n != inputs {
		return nil, c.fail("%s has %d inputs, want %d", attr, n, inputs)
	}
	if n := len(a.G.Outputs()); n != outputs {
		return nil, c.fail("%s has %d outputs, want %d", attr, n, outputs)
	}
	return a.G, nil
}

// inferIf joins the branches. If the condition is known, the branch not taken is typed as far as it goes: it may be
// wrong for these shapes.
func inferIf(c *Context) error {
	taken := [2]bool{true, true} // then, else
	if cond := c.Content(0); len(cond) == 1 {
		if v, ok := cond[0].Int(); ok {
			taken = [2]bool{v != 0, v == 0}
		}
	}
	var out []Arg
	for i, name := range []string{"then_branch", "else_branch"} {
		g, err := c.body(name, 0, len(c.Out))
		if err != nil {
			return err
		}
		branch, err := c.nested(g, nil)
		switch {
		case !taken[i] && errors.Is(err, graph.ErrInvalid), err == nil && !taken[i]:
		case err != nil:
			return err
		case out == nil:
			out = branch
		default:
			for k := range out {
				if x, y := out[k].Type.Elem, branch[k].Type.Elem; x != y && x != graph.Undefined && y != graph.Undefined {
					return c.fail("output %d is %s in then_branch and %s in else_branch", k, out[k].Type, branch[k].Type)
				}
				out[k].Type, out[k].Content = joinType(out[k].Type, branch[k].Type), joinContent(out[k].Content, branch[k].Content)
			}
		}
	}
	for i := range c.Out {
		c.Out[i].Type, c.Out[i].Content = out[i].Type, out[i].Content
	}
	return nil
}

// inferLoop finds types of the carried values that hold in every iteration: it starts from the initial ones and
// weakens them until the body keeps them.
func inferLoop(c *Context) error {
	carried := max(len(c.In)-2, 0)
	a, ok := c.Attr("body")
	if !ok || a.G == nil {
		return c.fail("attribute %q holds no graph", "body")
	}
	g, err := c.body("body", carried+2, 1+len(c.Out))
	if err != nil {
		return err
	}
	if len(c.Out) < carried {
		return c.fail("%d outputs for %d carried values", len(c.Out), carried)
	}
	in := make([]Arg, 2+carried)
	in[0].Type, in[1].Type = graph.StaticType(graph.Int64), graph.StaticType(graph.Bool)
	in[1].Content = []graph.Dim{graph.Known(1)} // the body runs only while the condition holds
	for i := range carried {
		in[2+i] = Arg{Present: true, Type: c.Type(2 + i)}
	}
	out, err := c.fixpoint(g, in, carry{in: 2, out: 1, n: carried})
	if err != nil {
		return err
	}
	for i := range carried {
		c.Out[i].Type = joinType(in[2+i].Type, out[1+i].Type)
	}
	for i := carried; i < len(c.Out); i++ {
		c.Out[i].Type = out[1+i].Type
		if t := out[1+i].Type; t.Ranked {
			c.Out[i].Type.Dims = append([]graph.Dim{c.tripCount(out[0])}, t.Dims...)
		}
	}
	return nil
}

// carry tells which input of a body continues which output.
type carry struct{ in, out, n int }

// fixpoint infers g repeatedly, weakening the types in until those of the carried outputs agree with them.
func (c *Context) fixpoint(g *graph.Graph, in []Arg, k carry) ([]Arg, error) {
	const rounds = 4
	restore := snapshot(g)
	for round := 0; ; round++ {
		out, err := c.nested(g, in)
		if err != nil {
			return nil, err
		}
		stable := true
		for i := range k.n {
			was, is := in[k.in+i].Type, out[k.out+i].Type
			if was.Elem != is.Elem && was.Elem != graph.Undefined && is.Elem != graph.Undefined {
				return nil, c.fail("carried value %d starts as %s and becomes %s", i, was, is)
			}
			elem := max(was.Elem, is.Elem)
			t := joinType(was.WithElem(elem), is.WithElem(elem))
			if round >= rounds {
				t = graph.UnrankedType(elem)
			}
			if !t.Equal(was) {
				in[k.in+i].Type, stable = t, false
			}
		}
		if stable {
			return out, nil
		}
		restore()
	}
}

// tripCount is the number of iterations of a Loop, if it cannot end early.
func (c *Context) tripCount(cond Arg) graph.Dim {
	m := c.Content(0)
	if len(m) != 1 || len(cond.Content) != 1 || cond.Content[0] != graph.Known(1) {
		return graph.UnknownDim
	}
	if c.Has(1) {
		if first := c.Content(1); len(first) != 1 || first[0] != graph.Known(1) {
			return graph.UnknownDim
		}
	}
	if n, ok := m[0].Int(); ok {
		return graph.Known(max(n, 0))
	}
	return m[0]
}

func inferScan(c *Context) error {
	scans := c.Int("num_scan_inputs")
	if scans < 1 || scans > int64(len(c.In)) {
		return c.fail("num_scan_inputs is %d, want 1..%d", scans, len(c.In))
	}
	states := len(c.In) - int(scans)
	if len(c.Out) < states {
		return c.fail("%d outputs for %d states", len(c.Out), states)
	}
	g, err := c.body("body", len(c.In), len(c.Out))
	if err != nil {
		return err
	}
	in, length, err := c.scanInputs(states)
	if err != nil {
		return err
	}
	out, err := c.fixpoint(g, in, carry{n: states})
	if err != nil {
		return err
	}
	for i := range states {
		c.Out[i].Type = joinType(in[i].Type, out[i].Type)
	}
	axes, _ := c.Ints("scan_output_axes")
	for i := states; i < len(c.Out); i++ {
		t := out[i].Type
		c.Out[i].Type = t
		if !t.Ranked {
			continue
		}
		axis := int64(0)
		if k := i - states; k < len(axes) {
			axis = axes[k]
		}
		at, err := c.normAxis("scan_output_axes", axis, len(t.Dims)+1)
		if err != nil {
			return err
		}
		dims := append([]graph.Dim{}, t.Dims[:at]...)
		c.Out[i].Type.Dims = append(append(dims, length), t.Dims[at:]...)
	}
	return nil
}

// inferBatchedScan is the form of opset 8: states are [batch, ...], scan inputs and outputs [batch, length, ...].
func inferBatchedScan(c *Context) error {
	inputs, scans := len(c.In)-1, c.Int("num_scan_inputs")
	if scans < 1 || scans > int64(inputs) {
		return c.fail("num_scan_inputs is %d, want 1..%d", scans, inputs)
	}
	states := inputs - int(scans)
	if len(c.Out) < states {
		return c.fail("%d outputs for %d states", len(c.Out), states)
	}
	g, err := c.body("body", inputs, len(c.Out))
	if err != nil {
		return err
	}
	lead := []graph.Dim{graph.UnknownDim, graph.UnknownDim} // batch, length
	in := make([]Arg, inputs)
	for i := range in {
		t, n := c.Type(1+i), 1
		if i >= states {
			n = 2
		}
		if t.Ranked && len(t.Dims) < n {
			return c.fail("%s has type %s, want at least %d dimensions", c.inputName(1+i), t, n)
		}
		for k := range min(n, len(t.Dims)) {
			var ok bool
			if lead[k], ok = mergeDim(lead[k], t.Dims[k]); !ok {
				return c.fail("inputs %s differ in batch or length", c.inputTypes())
			}
		}
		if t.Ranked {
			t.Dims = append([]graph.Dim{}, t.Dims[n:]...)
		}
		in[i] = Arg{Present: true, Type: t}
	}
	out, err := c.fixpoint(g, in, carry{n: states})
	if err != nil {
		return err
	}
	for i := range c.Out {
		t, n := out[i].Type, 2
		if i < states {
			t, n = joinType(in[i].Type, t), 1
		}
		if t.Ranked {
			t.Dims = append(append([]graph.Dim{}, lead[:n]...), t.Dims...)
		}
		c.Out[i].Type = t
	}
	return nil
}

// scanInputs gives the types of the body's inputs, and the number of iterations.
func (c *Context) scanInputs(states int) (in []Arg, length graph.Dim, err error) {
	length = graph.UnknownDim
	axes, _ := c.Ints("scan_input_axes")
	in = make([]Arg, len(c.In))
	for i := range in {
		in[i] = Arg{Present: true, Type: c.Type(i)}
		if i < states || !in[i].Type.Ranked {
			continue
		}
		dims, axis := in[i].Type.Dims, int64(0)
		if k := i - states; k < len(axes) {
			axis = axes[k]
		}
		at, err := c.normAxis("scan_input_axes", axis, len(dims))
		if err != nil {
			return nil, length, err
		}
		var ok bool
		if length, ok = mergeDim(length, dims[at]); !ok {
			return nil, length, c.fail("scan inputs %s differ in length", c.inputTypes())
		}
		in[i].Type.Dims = append(append([]graph.Dim{}, dims[:at]...), dims[at+1:]...)
	}
	return in, length, nil
}
