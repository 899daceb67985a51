package op_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/graphtest"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/runtime"
	"github.com/asdlc/asdlc/runtime/backendtest"
	"github.com/asdlc/asdlc/runtime/kernel"
	"github.com/asdlc/asdlc/runtime/lower"
)

// evaluated is a random graph, whose every value has been computed for given sizes of its symbols.
type evaluated struct {
	t        *rapid.T
	m        *graph.Model
	registry *kernel.Registry
	symbols  map[string]int64
	values   map[*graph.Value]*kernel.Tensor
	rng      *rand.Rand
	refused  map[string]int // calls that inference let through and the runtime did not, by operator
	ran      map[string]int
}

// leaf is an input, or an initializer where the sizes are known.
func (e *evaluated) leaf(name string, typ graph.Type) *graph.Value {
	shape := make([]int, len(typ.Dims))
	for i, d := range typ.Dims {
		n, err := evalDim(d.String(), e.symbols)
		if err != nil || n < 0 || n > 1<<10 {
			return nil
		}
		shape[i] = int(n)
	}
	x := kernel.New(typ.Elem, shape...)
	draw := kernel.New(graph.Float64, shape...)
	for i := range kernel.Data[float64](draw) {
		v := e.rng.NormFloat64()
		if typ.Elem.IsInt() || typ.Elem == graph.Bool {
			v = float64(e.rng.IntN(3))
		}
		kernel.Data[float64](draw)[i] = v
	}
	e.cast(draw, x)
	var v *graph.Value
	if _, static := typ.Static(); static && rapid.Bool().Draw(e.t, "constant") {
		v = e.m.Graph.AddInitializer(name, x.Const())
	} else {
		v = e.m.Graph.AddInput(name, typ)
	}
	e.values[v] = x
	return v
}

func (e *evaluated) cast(from, to *kernel.Tensor) {
	m := graph.NewModel(18)
	x := m.Graph.AddInput("x", from.Const().Type())
	m.Graph.AddOutput(m.Graph.AddNode("", "Cast", []*graph.Value{x}, []string{"y"}, graph.I("to", int64(to.Elem))).Out(0))
	out, err := e.eval(m, []*kernel.Tensor{from})
	if err != nil {
		e.t.Fatal(err)
	}
	copy(to.Raw, out[0].Raw)
}

func (e *evaluated) eval(m *graph.Model, in []*kernel.Tensor) ([]*kernel.Tensor, error) {
	p, err := lower.Lower(m, e.registry, nil)
	if err != nil {
		return nil, err
	}
	p.MaxBytes = 1 << 24
	return p.Run(in)
}

// tensor is the value of an operand.
func (e *evaluated) tensor(v *graph.Value) *kernel.Tensor {
	if x := e.values[v]; x != nil {
		return x
	}
	return kernel.FromConst(v.Const())
}

// alone runs a node in a model of its own.
func (e *evaluated) alone(n *graph.Node) ([]*kernel.Tensor, error) {
	m := graph.NewModel(int64(e.m.Opset()))
	copies := map[*graph.Value]*graph.Value{nil: nil}
	var operands []*graph.Value
	var in []*kernel.Tensor
	for _, v := range n.Inputs() {
		if _, ok := copies[v]; !ok {
			x := e.tensor(v)
			if c := v.Const(); c != nil {
				copies[v] = m.Graph.AddInitializer("c", c)
			} else {
				copies[v] = m.Graph.AddInput("x", x.Const().Type())
				in = append(in, x)
			}
		}
		operands = append(operands, copies[v])
	}
	names := make([]string, len(n.Outputs()))
	for i := range names {
		names[i] = "y"
	}
	c := m.Graph.AddNode(n.Domain, n.Op, operands, names, n.Attrs()...)
	for _, v := range c.Outputs() {
		m.Graph.AddOutput(v)
	}
	return e.eval(m, in)
}

// agrees compares what inference says of a value with what it is.
func (e *evaluated) agrees(v *graph.Value, x *kernel.Tensor) error {
	if v.Type.Elem != x.Elem {
		return fmt.Errorf("inferred %s, but it is %s", v.Type, x)
	}
	if v.Type.Ranked && len(v.Type.Dims) != len(x.Shape) {
		return fmt.Errorf("inferred %s, but it is %s", v.Type, x)
	}
	for i, d := range v.Type.Dims {
		// The same holds of windows and negative pads.
		if n, err := evalDim(d.String(), e.symbols); err == nil && n < 0 {
			e.t.Skip("sizes too small")
		}
		if !e.equals(d, int64(x.Shape[i])) {
			return fmt.Errorf("inferred %s, but it is %s for %v", v.Type, x, e.symbols)
		}
	}
	if v.Content == nil {
		return nil
	}
	ints, ok := x.Const().Int64s()
	if floats, float := x.Const().Float64s(); float { // content of floats is what Ceil, say, makes of sizes
		ints, ok = make([]int64, len(floats)), true
		for i, f := range floats {
			ints[i] = int64(f)
		}
	}
	if !ok || len(ints) != len(v.Content) {
		return fmt.Errorf("inferred content %v, but it is %s", v.Content, x)
	}
	for i, d := range v.Content {
		if !e.equals(d, ints[i]) {
			return fmt.Errorf("inferred content %v, but it is %v for %v", v.Content, ints, e.symbols)
		}
	}
	return nil
}

func (e *evaluated) equals(d graph.Dim, n int64) bool {
	if d.IsUnknown() {
		return true
	}
	v, err := evalDim(d.String(), e.symbols)
	return err != nil || v == n // expressions that evalDim does not read
}

// randomGraph makes and checks a graph of up to 10 calls.
func randomGraph(t *rapid.T, registry *kernel.Registry, ran, refused map[string]int) {
	opset := rapid.IntRange(7, 27).Draw(t, "opset")
	e := &evaluated{
		t: t, m: graph.NewModel(int64(opset)), registry: registry, values: map[*graph.Value]*kernel.Tensor{}, ran: ran, refused: refused,
		symbols: map[string]int64{"N": rapid.Int64Range(1, 5).Draw(t, "N"), "M": rapid.Int64Range(1, 5).Draw(t, "M")},
		rng:     rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "data"), 1)),
	}
	c := &graphtest.Caller{
		T: t, Model: e.m, Leaf: e.leaf, Schemas: graphtest.Callable(opset),
		Elems: []graph.Elem{graph.Float32, graph.Float64, graph.Int64, graph.Bool, graph.Int32, graph.Float16, graph.Uint8},
	}
	for range rapid.IntRange(1, 10).Draw(t, "calls") {
		n := c.Call()
		if n == nil {
			continue
		}
		out, err := e.alone(n)
		if n.Op == "Slice" && min(e.symbols["N"], e.symbols["M"]) < 3 {
			err = errors.New("slices assume that symbolic sizes are large enough for what they cut off")
		}
		if err != nil {
			if strings.Contains(err.Error(), "BUG") {
				t.Fatalf("%s: %v", n, err)
			}
			e.refused[n.Op]++
			c.Values = c.Values[:len(c.Values)-len(n.Outputs())]
			n.Remove()
			continue
		}
		e.ran[n.Op]++
		for i, v := range n.Outputs() {
			if err := e.agrees(v, out[i]); err != nil {
				t.Fatalf("output %d of %s: %v\n%s", i, n, err, graph.Print(e.m))
			}
			e.values[v] = out[i]
		}
	}
	e.whole()
}

// whole runs the graph in a session, which must give what its nodes gave one by one.
func (e *evaluated) whole() {
	feeds := map[string]*kernel.Tensor{}
	for _, v := range e.m.Graph.Inputs() {
		feeds[v.Name] = e.values[v]
	}
	outputs := 0
	for n := range e.m.Graph.Nodes() {
		if n.Op == "Dropout" {
			return // its masks depend on its name
		}
		for _, v := range n.Outputs() {
			e.m.Graph.AddOutput(v)
			outputs++
		}
	}
	if outputs == 0 {
		return
	}
	s, err := runtime.NewSession(e.m, runtime.Options{Threads: 1, Registry: e.registry})
	if err != nil {
		e.t.Fatalf("session: %v\n%s", err, graph.Print(e.m))
	}
	defer s.Close()
	out, err := s.Run(feeds, nil)
	if err != nil {
		e.t.Fatalf("run: %v\n%s", err, graph.Print(e.m))
	}
	for _, v := range e.m.Graph.Outputs() {
		if err := backendtest.Compare(out[v.Name], e.values[v], 1e-4, 1e-5); err != nil {
			e.t.Fatalf("%s in a session and alone: %v\n%s", v.Name, err, graph.Print(e.m))
		}
	}
}

// TestRandomGraphs: where random graphs run, what inference says of their values is true.
func TestRandomGraphs(t *testing.T) {
	registry, err := kernel.NewRegistry(kernel.Default()...)
	if err != nil {
		t.Fatal(err)
	}
	ran, refused := map[string]int{}, map[string]int{}
	rapid.Check(t, func(t *rapid.T) { randomGraph(t, registry, ran, refused) })
	var never []string
	for s := range op.Schemas() {
		if s.Domain == "" && ran[s.Name] == 0 {
			never = append(never, s.Name)
		}
	}
	t.Logf("%d operators ran; never: %v; refused: %v", len(ran), never, refused)
}

// FuzzGraphs is TestRandomGraphs for the fuzzer.
func FuzzGraphs(f *testing.F) {
	registry, err := kernel.NewRegistry(kernel.Default()...)
	if err != nil {
		f.Fatal(err)
	}
	ran, refused := map[string]int{}, map[string]int{}
	f.Fuzz(rapid.MakeFuzz(func(t *rapid.T) { randomGraph(t, registry, ran, refused) }))
}
