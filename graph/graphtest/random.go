package graphtest

import (
	"math"

	"pgregory.net/rapid"

	"github.com/asdlc/asdlc/graph"
)

// Model generates models that Verify accepts and that use every feature of the IR: odd names, all attribute kinds, missing
// operands, nested graphs, functions with defaults and references, symbolic and unknown types. The operators have no meaning;
// do not run them.
func Model() *rapid.Generator[*graph.Model] {
	return rapid.Custom(func(t *rapid.T) *graph.Model {
		m := graph.NewModel(rapid.Int64Range(7, 26).Draw(t, "opset"))
		m.IRVersion = rapid.Int64Range(10, 13).Draw(t, "ir")
		m.Opsets["asdl"], m.Opsets["my domain"] = 1, 2
		m.Doc, m.Version = text(t, "doc"), text(t, "version")
		for range rapid.IntRange(0, 3).Draw(t, "metadata") {
			m.Metadata[text(t, "key")] = text(t, "value")
		}
		m.Graph = graph.NewGraph(word(t, "graph name"))
		m.Graph.Doc = text(t, "graph doc")
		for i := range rapid.IntRange(0, 2).Draw(t, "functions") {
			m.Functions = append(m.Functions, function(t, m, i))
		}
		b := &maker{t: t, model: m}
		b.fill(m.Graph, nil, true, 0)
		return m
	})
}

// text is any short string, lines and quotes included.
func text(t *rapid.T, label string) string {
	return rapid.StringN(0, 12, 24).Draw(t, label)
}

// word is a name: plain, with odd characters, or one that means something to the parser.
func word(t *rapid.T, label string) string {
	return rapid.OneOf(
		rapid.StringMatching(`[a-zA-Z_][a-zA-Z0-9_]{0,6}`),
		rapid.SampledFrom([]string{"float", "nan", "inf", "map", "undefined", "a.b", "x/y:0", `q"\`, "#|", "1", "=>", "a@b", "%40"}),
		rapid.StringN(1, 6, 12),
	).Draw(t, label)
}

func function(t *rapid.T, m *graph.Model, i int) *graph.Function {
	f := &graph.Function{
		Domain: rapid.SampledFrom([]string{"asdl", "my domain"}).Draw(t, "domain"), Doc: text(t, "doc"),
		Name:   word(t, "function") + string(rune('A'+i)),
		Opsets: map[string]int64{"": 17, "asdl": 1, "my domain": 2}, Attrs: []string{"a", "b c"},
		Defaults: []graph.Attr{graph.F("f", 0.5), graph.S("s", text(t, "default"))},
	}
	f.Body = graph.NewGraph(f.Name)
	b := &maker{t: t, model: m, fn: f}
	b.fill(f.Body, nil, true, 0)
	return f
}

// maker fills graphs.
type maker struct {
	t     *rapid.T
	model *graph.Model
	fn    *graph.Function
}

// fill adds inputs, initializers, nodes and outputs; seen are the values of the graphs around g.
func (b *maker) fill(g *graph.Graph, seen []*graph.Value, root bool, depth int) {
	t := b.t
	seen = append([]*graph.Value{}, seen...)
	for range rapid.IntRange(0, 3).Draw(t, "inputs") {
		v := g.AddInput(word(t, "input"), graph.Type{})
		if b.fn == nil {
			v.Type = typ(t)
		}
		if root && b.fn == nil && rapid.IntRange(0, 4).Draw(t, "default") == 0 {
			k := Tensor().Draw(t, "default")
			v.Type = k.Type()
			g.SetDefault(v, k)
		}
		seen = append(seen, v)
	}
	if b.fn == nil { // in functions they are written as nodes
		for range rapid.IntRange(0, 2).Draw(t, "initializers") {
			seen = append(seen, g.AddInitializer(word(t, "initializer"), Tensor().Draw(t, "constant")))
		}
	}
	var own []*graph.Value // that may be outputs as they are
	for range rapid.IntRange(1, 5-depth).Draw(t, "nodes") {
		outs := b.node(g, seen, depth)
		seen, own = append(seen, outs...), append(own, outs...)
	}
	if len(own) > 0 {
		picked := map[*graph.Value]bool{}
		for range rapid.IntRange(0, 2).Draw(t, "outputs") {
			if v := rapid.SampledFrom(own).Draw(t, "output"); !picked[v] {
				picked[v] = true
				g.AddOutput(v)
			}
		}
	}
}

// node adds a node and returns its outputs.
func (b *maker) node(g *graph.Graph, seen []*graph.Value, depth int) []*graph.Value {
	t := b.t
	domain := rapid.SampledFrom([]string{"", "", "asdl", "my domain"}).Draw(t, "domain")
	op := rapid.SampledFrom([]string{"Add", "Foo", "Blk.1", "aten::add"}).Draw(t, "op")
	var inputs []*graph.Value
	if len(seen) > 0 {
		for range rapid.IntRange(0, 2).Draw(t, "arity") {
			if rapid.IntRange(0, 5).Draw(t, "missing") == 0 {
				inputs = append(inputs, nil)
			}
			inputs = append(inputs, rapid.SampledFrom(seen).Draw(t, "operand"))
		}
	}
	var outputs []string
	for range rapid.IntRange(1, 2).Draw(t, "results") {
		if rapid.IntRange(0, 5).Draw(t, "missing") == 0 {
			outputs = append(outputs, "")
		}
		outputs = append(outputs, word(t, "output"))
	}
	n := g.AddNode(domain, op, inputs, outputs)
	var made []*graph.Value
	for _, v := range n.Outputs() {
		if v == nil {
			continue
		}
		made = append(made, v)
		if b.fn == nil {
			v.Type = typ(t)
		}
	}
	if rapid.Bool().Draw(t, "labelled") {
		n.Name, n.Scope, n.Doc = text(t, "name"), text(t, "scope"), text(t, "doc")
	}
	for range rapid.IntRange(0, 2).Draw(t, "attrs") {
		if name := word(t, "attribute"); !has(n, name) {
			n.SetAttr(b.attr(name, g, seen, depth))
		}
	}
	return made
}

func has(n *graph.Node, attr string) bool {
	_, ok := n.Attr(attr)
	return ok
}

// attr makes an attribute of any kind for a node of g.
func (b *maker) attr(name string, g *graph.Graph, seen []*graph.Value, depth int) graph.Attr {
	t := b.t
	kinds := 8
	if depth < 2 {
		kinds = 10
	}
	floats := rapid.Map(rapid.Uint32(), math.Float32frombits)
	switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
	case 0:
		return graph.F(name, floats.Draw(t, "f"))
	case 1:
		return graph.I(name, rapid.Int64().Draw(t, "i"))
	case 2:
		return graph.S(name, text(t, "s"))
	case 3:
		return graph.T(name, Tensor().Draw(t, "t"))
	case 4:
		return graph.Fs(name, rapid.SliceOfN(floats, 0, 3).Draw(t, "floats")...)
	case 5:
		return graph.Is(name, rapid.SliceOfN(rapid.Int64(), 0, 3).Draw(t, "ints")...)
	case 6:
		return graph.Ss(name, rapid.SliceOfN(rapid.StringN(0, 5, 10), 0, 3).Draw(t, "strings")...)
	case 7:
		if b.fn == nil {
			return graph.I(name, 1)
		}
		return graph.Ref(name, graph.AttrInt, rapid.SampledFrom(b.fn.Attrs).Draw(t, "ref"))
	case 8:
		return graph.G(name, b.nested(g, seen, depth))
	}
	a := graph.Attr{Name: name, Kind: graph.AttrGraphs}
	for range rapid.IntRange(0, 2).Draw(t, "graphs") {
		a.Graphs = append(a.Graphs, b.nested(g, seen, depth))
	}
	return a
}

func (b *maker) nested(g *graph.Graph, seen []*graph.Value, depth int) *graph.Graph {
	sub := g.NewNested(word(b.t, "nested"))
	sub.Doc = text(b.t, "nested doc")
	b.fill(sub, seen, false, depth+1)
	return sub
}

func typ(t *rapid.T) graph.Type {
	elem := rapid.SampledFrom([]graph.Elem{graph.Undefined, graph.Float32, graph.Float64, graph.Int64, graph.Bool, graph.BFloat16}).Draw(t, "elem")
	if elem == graph.Undefined {
		return graph.Type{} // the file format has no words for a shape alone
	}
	if rapid.IntRange(0, 3).Draw(t, "unranked") == 0 {
		return graph.UnrankedType(elem)
	}
	dims := rapid.SliceOfN(rapid.SampledFrom([]graph.Dim{
		graph.UnknownDim, graph.Known(0), graph.Known(3), graph.Sym("N"), graph.Sym("2*N"), graph.Sym("batch size"),
		graph.Sym("N*T+1"), graph.Sym("N").Div(graph.Known(2)), graph.Sym("float"),
	}), 0, 3).Draw(t, "dims")
	return graph.TensorType(elem, dims...)
}

// Tensor generates constants of every element type, with any bits.
func Tensor() *rapid.Generator[*graph.Tensor] {
	return rapid.Custom(func(t *rapid.T) *graph.Tensor {
		e := rapid.SampledFrom([]graph.Elem{
			graph.Float32, graph.Float64, graph.Float16, graph.BFloat16, graph.Bool, graph.Int8, graph.Int16, graph.Int32, graph.Int64,
			graph.Uint8, graph.Uint16, graph.Uint32, graph.Uint64,
		}).Draw(t, "elem")
		shape := rapid.SliceOfN(rapid.Int64Range(0, 4), 0, 3).Draw(t, "shape")
		k, err := graph.NewTensor(e, shape...)
		if err != nil {
			t.Fatal(err)
		}
		seed := rapid.Uint64().Draw(t, "bits")
		for i := range k.Raw {
			seed = seed*6364136223846793005 + 1442695040888963407
			k.Raw[i] = byte(seed >> 56)
			if e == graph.Bool {
				k.Raw[i] &= 1
			}
		}
		return k
	})
}
