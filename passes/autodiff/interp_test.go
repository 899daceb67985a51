package autodiff_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// interp evaluates a graph node by node with the portable kernels, on concrete shapes.
type interp struct {
	model    *graph.Model
	registry *kernel.Registry
	values   map[*graph.Value]*kernel.Tensor
	work     int // elements that kernels have written
}

// portable is the registry of the portable kernels.
var portable = sync.OnceValues(func() (*kernel.Registry, error) { return kernel.NewRegistry(kernel.Portable()...) })

// evaluate runs the model on inputs by name and returns its outputs by name.
func evaluate(t testing.TB, m *graph.Model, feeds map[string]*kernel.Tensor) map[string]*kernel.Tensor {
	t.Helper()
	outs, _ := measure(t, m, feeds)
	return outs
}

// measure is evaluate, and the number of elements that the kernels wrote.
func measure(t testing.TB, m *graph.Model, feeds map[string]*kernel.Tensor) (outs map[string]*kernel.Tensor, work int) {
	t.Helper()
	named := m.Graph.Outputs()
	m = withoutCalls(t, m)
	r, err := portable()
	if err != nil {
		t.Fatal(err)
	}
	e := &interp{model: m, registry: r, values: map[*graph.Value]*kernel.Tensor{}}
	for _, v := range m.Graph.Inputs() {
		if e.values[v] = feeds[v.Name]; e.values[v] == nil {
			t.Fatalf("no feed for input %s", v.Name)
		}
	}
	if err := e.graph(m.Graph); err != nil {
		var text strings.Builder
		if err := graph.Fprint(&text, m, graph.PrintOptions{MaxElements: 8}); err != nil {
			t.Error(err)
		}
		t.Fatalf("evaluate: %v\n%s", err, text.String())
	}
	outs = map[string]*kernel.Tensor{}
	for i, v := range m.Graph.Outputs() {
		outs[named[i].Name] = e.values[v]
	}
	return outs, e.work
}

// withoutCalls is a copy of m with the calls of model-local functions replaced by their bodies.
func withoutCalls(t testing.TB, m *graph.Model) *graph.Model {
	t.Helper()
	if len(m.Functions) == 0 {
		return m
	}
	m = graph.Clone(m)
	for n := m.Graph.Last(); n != nil; {
		f, before := m.Function(n.Domain, n.Op), n.Prev()
		if f != nil {
			b := op.NewBuilder(m, m.Graph)
			b.At = n
			outs, err := graph.Inline(b.Builder, f, n)
			if err != nil || b.Err() != nil {
				t.Fatal(err, b.Err())
			}
			for i, o := range n.Outputs() {
				o.ReplaceUses(outs[i])
			}
			before = n.Prev() // the body may hold calls
			n.Remove()
		}
		n = before
	}
	return m
}

func (e *interp) graph(g *graph.Graph) error {
	for _, v := range g.Initializers() {
		if !v.IsInput() {
			e.values[v] = kernel.FromConst(v.Const())
		}
	}
	for n := range g.Nodes() {
		if err := e.node(n); err != nil {
			return fmt.Errorf("%s: %w", n, err)
		}
	}
	return nil
}

func (e *interp) node(n *graph.Node) error {
	switch {
	case n.IsTag():
		e.values[n.Out(0)] = e.values[n.In(0)]
		return nil
	case n.Is("", "If"):
		return e.branch(n)
	case n.Is("", "Loop"):
		return e.loop(n)
	case n.Is("", "Scan"):
		return e.scan(n)
	case n.Is("", "NonZero"):
		e.nonZero(n)
		return nil
	}
	call := &kernel.Call{Node: n, Opset: int(e.model.Opsets[n.Domain])}
	ctx := &op.Context{Node: n, Opset: call.Opset, Model: e.model}
	var in, out []*kernel.Tensor
	for _, v := range n.Inputs() {
		t := e.values[v]
		in = append(in, t)
		spec, arg := kernel.Spec{}, op.Arg{}
		if t != nil {
			c := t.Const()
			spec = kernel.Spec{Present: true, Elem: t.Elem, Shape: t.Shape}
			arg = op.Arg{Present: true, Type: c.Type(), Const: c}
		} else if v != nil {
			return fmt.Errorf("input %s has no value", v.Name)
		}
		call.In, ctx.In = append(call.In, spec), append(ctx.In, arg)
	}
	if err := op.InferCall(ctx); err != nil {
		return err
	}
	for i, v := range n.Outputs() {
		if v == nil {
			out, call.Out = append(out, nil), append(call.Out, kernel.Spec{})
			continue
		}
		shape, ok := ctx.Out[i].Type.Static()
		if !ok {
			return fmt.Errorf("the shape of output %d is open: %s", i, ctx.Out[i].Type)
		}
		// What was inferred before the run must hold in it.
		if err := agree(v.Type, ctx.Out[i].Type); err != nil {
			return fmt.Errorf("output %d: %w", i, err)
		}
		t := kernel.New(ctx.Out[i].Type.Elem, ints(shape)...)
		out, call.Out = append(out, t), append(call.Out, kernel.Spec{Present: true, Elem: t.Elem, Shape: t.Shape})
		e.values[v] = t
		e.work += t.Len()
	}
	_, run, err := e.registry.Make(call)
	if err != nil {
		return err
	}
	for _, s := range call.Scratches {
		s.Raw = kernel.Aligned(s.Size)
	}
	return run(in, out)
}

// agree checks an inferred type against the one at run time.
func agree(static, actual graph.Type) error {
	wrong := static.Elem != actual.Elem || static.Ranked && len(static.Dims) != len(actual.Dims)
	for i := 0; !wrong && static.Ranked && i < len(static.Dims); i++ {
		if n, ok := static.Dims[i].Size(); ok && graph.Known(n) != actual.Dims[i] {
			wrong = true
		}
	}
	if wrong {
		return fmt.Errorf("type %s inferred, %s found", static, actual)
	}
	return nil
}

func ints(shape []int64) []int {
	out := make([]int, len(shape))
	for i, n := range shape {
		out[i] = int(n)
	}
	return out
}

// nonZero evaluates NonZero, whose output shape depends on the data, for a condition of one dimension.
func (e *interp) nonZero(n *graph.Node) {
	var at []int64
	for i, on := range kernel.Data[bool](e.values[n.In(0)]) {
		if on {
			at = append(at, int64(i))
		}
	}
	e.values[n.Out(0)] = kernel.Of(at, 1, len(at))
}

func subgraph(n *graph.Node, name string) *graph.Graph {
	a, _ := n.Attr(name)
	return a.G
}

func (e *interp) branch(n *graph.Node) error {
	g := subgraph(n, "else_branch")
	if kernel.Data[bool](e.values[n.In(0)])[0] {
		g = subgraph(n, "then_branch")
	}
	if err := e.graph(g); err != nil {
		return err
	}
	for i, v := range g.Outputs() {
		e.set(n.Out(i), e.values[v])
	}
	return nil
}

func (e *interp) set(v *graph.Value, t *kernel.Tensor) {
	if v != nil {
		e.values[v] = t
	}
}

func (e *interp) loop(n *graph.Node) error {
	body := subgraph(n, "body")
	states := make([]*kernel.Tensor, len(n.Inputs())-2)
	for k := range states {
		states[k] = e.values[n.In(2+k)]
	}
	trips, again := int64(1)<<62, true
	if v := n.In(0); v != nil {
		trips = kernel.Data[int64](e.values[v])[0]
	}
	if v := n.In(1); v != nil {
		again = kernel.Data[bool](e.values[v])[0]
	}
	scanned := make([][]*kernel.Tensor, len(body.Outputs())-1-len(states))
	for i := int64(0); i < trips && again; i++ {
		e.values[body.Inputs()[0]] = kernel.Of([]int64{i})
		e.values[body.Inputs()[1]] = kernel.Of([]bool{again})
		for k, t := range states {
			e.values[body.Inputs()[2+k]] = t
		}
		if err := e.graph(body); err != nil {
			return err
		}
		outs := body.Outputs()
		again = kernel.Data[bool](e.values[outs[0]])[0]
		for k := range states {
			states[k] = e.values[outs[1+k]]
		}
		for k := range scanned {
			scanned[k] = append(scanned[k], e.values[outs[1+len(states)+k]])
		}
	}
	for k, t := range states {
		e.set(n.Out(k), t)
	}
	for k, parts := range scanned {
		e.set(n.Out(len(states)+k), stack(parts, body.Outputs()[1+len(states)+k].Type))
	}
	return nil
}

// stack joins tensors along a new first axis.
func stack(parts []*kernel.Tensor, each graph.Type) *kernel.Tensor {
	if len(parts) == 0 {
		shape := []int{0}
		for _, d := range each.Dims {
			n, ok := d.Size()
			if !ok { // nothing has told
				n = 0
			}
			shape = append(shape, int(n))
		}
		return kernel.New(each.Elem, shape...)
	}
	t := kernel.New(parts[0].Elem, append([]int{len(parts)}, parts[0].Shape...)...)
	for i, p := range parts {
		copy(t.Raw[i*len(p.Raw):], p.Raw)
	}
	return t
}

// scan evaluates a Scan.
func (e *interp) scan(n *graph.Node) error {
	body := subgraph(n, "body")
	scanned := int(n.Int("num_scan_inputs", 0))
	states := len(n.Inputs()) - scanned
	for k := range states {
		e.values[body.Inputs()[k]] = e.values[n.In(k)]
	}
	entry := func(name string, k int) int {
		if v := n.IntList(name); k < len(v) {
			return int(v[k])
		}
		return 0
	}
	inputs := make([]*kernel.Tensor, scanned)
	for k := range inputs {
		inputs[k] = moveAxis(e.values[n.In(states+k)], entry("scan_input_axes", k), 0)
	}
	trips := inputs[0].Shape[0]
	results := make([][]*kernel.Tensor, len(body.Outputs())-states)
	for i := range trips {
		for k, all := range inputs {
			at := i
			if entry("scan_input_directions", k) == 1 {
				at = trips - 1 - i
			}
			part := kernel.New(all.Elem, all.Shape[1:]...)
			copy(part.Raw, all.Raw[at*len(part.Raw):])
			e.values[body.Inputs()[states+k]] = part
		}
		if err := e.graph(body); err != nil {
			return err
		}
		for k := range results {
			results[k] = append(results[k], e.values[body.Outputs()[states+k]])
		}
		next := make([]*kernel.Tensor, states)
		for k := range next {
			next[k] = e.values[body.Outputs()[k]]
		}
		for k, t := range next {
			e.values[body.Inputs()[k]] = t
		}
	}
	for k := range states {
		e.set(n.Out(k), e.values[body.Inputs()[k]])
	}
	for k, parts := range results {
		if entry("scan_output_directions", k) == 1 {
			slices.Reverse(parts)
		}
		e.set(n.Out(states+k), moveAxis(stack(parts, body.Outputs()[states+k].Type), 0, entry("scan_output_axes", k)))
	}
	return nil
}

// moveAxis moves dimension from of t to place to; negative ones count from the end.
func moveAxis(t *kernel.Tensor, from, to int) *kernel.Tensor {
	r := len(t.Shape)
	from, to = (from+r)%r, (to+r)%r
	perm := make([]int, 0, r) // dimension of t for each of the result
	for i := range r {
		if i != from {
			perm = append(perm, i)
		}
	}
	perm = slices.Insert(perm, to, from)
	shape, index := make([]int, r), make([]int, r)
	for i, p := range perm {
		shape[i] = t.Shape[p]
	}
	out, size := kernel.New(t.Elem, shape...), t.Elem.Size()
	for at := range out.Len() {
		for i, rest := r-1, at; i >= 0; i-- {
			index[perm[i]] = rest % shape[i]
			rest /= shape[i]
		}
		src := 0
		for i, n := range t.Shape {
			src = src*n + index[i]
		}
		copy(out.Raw[at*size:(at+1)*size], t.Raw[src*size:])
	}
	return out
}
