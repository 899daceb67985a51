package op_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
)

// caller makes random calls of operators: mostly of the right arity and kinds, with sizes, axes and lists that need
// not make sense.
type caller struct {
	rand *rand.Rand
	m    *graph.Model
}

func (c *caller) number() int64 {
	odd := []int64{math.MinInt64, math.MaxInt64, math.MinInt32, math.MaxInt32, 1 << 40, -1 << 40, 1 << 62}
	if c.rand.IntN(8) == 0 {
		return odd[c.rand.IntN(len(odd))]
	}
	return c.rand.Int64N(9) - 3
}

func (c *caller) numbers() []int64 {
	v := make([]int64, c.rand.IntN(6))
	for i := range v {
		v[i] = c.number()
	}
	return v
}

func (c *caller) dim() graph.Dim {
	switch c.rand.IntN(8) {
	case 0:
		return graph.UnknownDim
	case 1:
		return graph.Sym("N")
	case 2:
		return graph.Sym("2*H-1")
	case 3:
		return graph.Known(max(0, c.number()))
	}
	return graph.Known(1 + c.rand.Int64N(6))
}

func (c *caller) elem(set op.Elems) graph.Elem {
	if c.rand.IntN(20) == 0 {
		return graph.Elem(c.rand.IntN(17))
	}
	for range 20 {
		if e := graph.Elem(c.rand.IntN(17)); set.Has(e) && e.Valid() {
			return e
		}
	}
	return graph.Float32
}

// value is a random input: a typed one, an unranked one, or a constant.
func (c *caller) value(p op.Param) *graph.Value {
	e := c.elem(p.Types)
	if p.Types.Has(graph.Float32) && c.rand.IntN(2) == 0 {
		e = graph.Float32
	}
	switch k := c.rand.IntN(10); {
	case k == 0:
		return c.m.Graph.AddInput("u", graph.UnrankedType(e))
	case k < 5 && e == graph.Int64:
		v := c.numbers()
		if len(v) == 1 && c.rand.IntN(2) == 0 {
			return c.m.Graph.AddInitializer("c", graph.Scalar(v[0]))
		}
		return c.m.Graph.AddInitializer("c", graph.Ints(v...))
	case k < 5 && e == graph.Float32:
		v := make([]float32, c.rand.IntN(5))
		for i := range v {
			v[i] = []float32{0, 1, 2, 0.5, -1, float32(math.NaN()), float32(math.Inf(1)), 1e30}[c.rand.IntN(8)]
		}
		return c.m.Graph.AddInitializer("f", graph.TensorOf(v, int64(len(v))))
	case k == 5 && e == graph.Int64:
		v := c.m.Graph.AddInput("s", graph.StaticType(e, 3))
		v.Content = []graph.Dim{c.dim(), graph.Known(c.number()), c.dim()}
		return v
	}
	dims := make([]graph.Dim, []int{0, 1, 1, 2, 2, 3, 4, 4, 4, 5}[c.rand.IntN(10)])
	for i := range dims {
		dims[i] = c.dim()
	}
	return c.m.Graph.AddInput("x", graph.TensorType(e, dims...))
}

func (c *caller) inputs(s *op.Schema) []*graph.Value {
	var in []*graph.Value
	for _, p := range s.Inputs {
		n := 1
		switch {
		case p.Option == op.Optional && c.rand.IntN(2) == 0:
			n = 0
			in = append(in, nil)
		case p.Option == op.Variadic || p.Option == op.AnyCount:
			n = c.rand.IntN(4)
		}
		for range n {
			v := c.value(p)
			if len(in) > 0 && in[0] != nil && c.rand.IntN(2) == 0 && p.Types.Has(in[0].Type.Elem) {
				v = in[0]
			}
			in = append(in, v)
		}
	}
	return in
}

func (c *caller) attr(a op.AttrSpec) (graph.Attr, bool) {
	text := []string{
		"SAME_UPPER", "VALID", "NOTSET", "ij,jk->ik", "...i,...j->...ij", "ii->i", "a.b->", "->->", "reflect", "mean", "none",
		"bidirectional", "CRD", "not_larger", "x", "", "LEFT", "add",
	}
	switch a.Kind {
	case graph.AttrInt:
		return graph.I(a.Name, c.number()), true
	case graph.AttrFloat:
		return graph.F(a.Name, 0.5), true
	case graph.AttrString:
		return graph.S(a.Name, text[c.rand.IntN(len(text))]), true
	case graph.AttrInts:
		return graph.Is(a.Name, c.numbers()...), true
	case graph.AttrFloats:
		return graph.Fs(a.Name, 1, 2), true
	case graph.AttrTensor:
		return graph.T(a.Name, graph.Ints(c.numbers()...)), true
	case graph.AttrGraph:
		return graph.G(a.Name, c.nested()), true
	}
	return graph.Attr{}, false
}

// nested is a graph of a few inputs and outputs.
func (c *caller) nested() *graph.Graph {
	g := c.m.Graph.NewNested("body")
	var vs []*graph.Value
	for range c.rand.IntN(5) {
		vs = append(vs, g.AddInput("i", graph.Type{}))
	}
	vs = append(vs, g.AddInitializer("t", graph.Scalar(true)), g.AddInitializer("k", graph.Ints(1, 2)))
	for range c.rand.IntN(3) {
		a, b := vs[c.rand.IntN(len(vs))], vs[c.rand.IntN(len(vs))]
		vs = append(vs, g.AddNode("", []string{"Add", "Concat", "Identity"}[c.rand.IntN(2)], []*graph.Value{a, b}, []string{"o"}, graph.I("axis", 0)).Out(0))
	}
	for range 1 + c.rand.IntN(4) {
		g.AddOutput(vs[c.rand.IntN(len(vs))])
	}
	return g
}

// call infers one random call and checks what it says; typed tells whether it was valid.
func call(t *testing.T, s *op.Schema, seed uint64) (typed bool) {
	t.Helper()
	m := graph.NewModel(int64(max(s.Since, 7)))
	m.Opsets[graph.Asdl] = 1
	c := &caller{rand: rand.New(rand.NewPCG(seed, uint64(s.Since))), m: m}
	var attrs []graph.Attr
	for _, spec := range s.Attrs {
		if a, ok := c.attr(spec); ok && (spec.Required || c.rand.IntN(2) == 0) {
			attrs = append(attrs, a)
		}
	}
	outputs := slices.Repeat([]string{"y"}, 1+c.rand.IntN(max(3, len(s.Outputs))))
	if s.Outputs[0].Option == op.Single {
		outputs = outputs[:min(len(outputs), len(s.Outputs))]
	}
	n := m.Graph.AddNode(s.Domain, s.Name, c.inputs(s), outputs, attrs...)
	defer func() {
		if r := recover(); r != nil {
			t.Errorf("%s since %d, seed %d: %v, inputs %v, attributes %v", s.Name, s.Since, seed, r, n.Inputs(), n.Attrs())
			panic(r)
		}
	}()
	err := op.Infer(m, n)
	var ne *graph.NodeError
	if err != nil && !errors.As(err, &ne) {
		t.Errorf("%s: %v is no NodeError", s.Name, err)
	}
	if err != nil {
		return false
	}
	for _, v := range n.Outputs() {
		for _, d := range v.Type.Dims {
			if k, ok := d.Int(); ok && k < 0 || len(d.String()) > 200 {
				t.Errorf("%s since %d, seed %d: output of type %s", s.Name, s.Since, seed, v.Type)
			}
		}
		if len(v.Content) > 64 || v.Content != nil && (!v.Type.Ranked || len(v.Type.Dims) > 1) {
			t.Errorf("%s since %d, seed %d: output of type %s with content %v", s.Name, s.Since, seed, v.Type, v.Content)
		}
	}
	return true
}

// TestHostile makes random calls of every row.
func TestHostile(t *testing.T) {
	for s := range op.Schemas() {
		valid := 0
		for seed := range uint64(400) {
			if call(t, s, seed) {
				valid++
			}
		}
		if valid == 0 {
			t.Logf("%s since %d: no call was valid", s.Name, s.Since)
		}
	}
}

// FuzzInfer is TestHostile for the fuzzer.
func FuzzInfer(f *testing.F) {
	rows := slices.Collect(op.Schemas())
	f.Add(uint64(1), uint(0))
	f.Fuzz(func(t *testing.T, seed uint64, row uint) {
		call(t, rows[row%uint(len(rows))], seed)
	})
}
