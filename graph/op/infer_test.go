package op_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
)

func mustParse(t *testing.T, src string) *graph.Model {
	t.Helper()
	m, err := graph.Parse(src)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestTables checks that rows can be told apart and say what they must.
func TestTables(t *testing.T) {
	type key struct {
		domain, name string
		since        int
	}
	seen := map[key]bool{}
	for s := range op.Schemas() {
		k := key{s.Domain, s.Name, s.Since}
		if seen[k] {
			t.Errorf("%v occurs twice", k)
		}
		seen[k] = true
		if s.Infer == nil || s.Doc == "" || s.Since < 1 || len(s.Outputs) == 0 {
			t.Errorf("%v is incomplete", k)
		}
		attrs := map[string]bool{}
		for _, a := range s.Attrs {
			if attrs[a.Name] || a.Required && a.Default.Kind != graph.AttrUndefined || a.Default.Kind != graph.AttrUndefined && a.Default.Kind != a.Kind {
				t.Errorf("%v: attribute %s is not consistent", k, a.Name)
			}
			attrs[a.Name] = true
		}
		for _, params := range [][]op.Param{s.Inputs, s.Outputs} {
			for i, p := range params {
				if (p.Option == op.Variadic || p.Option == op.AnyCount) && i != len(params)-1 || p.Types == 0 {
					t.Errorf("%v: parameter %s is not consistent", k, p.Name)
				}
			}
		}
	}
	for _, name := range strings.Fields(listA) {
		if _, ok := op.Lookup("", name, 13); !ok && name != "LayerNormalization" {
			t.Errorf("no %s", name)
		}
	}
	if s, ok := op.Lookup("ai.onnx", "ReduceMean", 17); !ok || s.Since != 1 {
		t.Errorf("ReduceMean at 17 is %v", s)
	}
	if s, ok := op.Lookup("", "ReduceMean", 26); !ok || s.Since != 18 {
		t.Errorf("ReduceMean at 26 is %v", s)
	}
}

// listA are the core operators of trainable float models.
const listA = `Add Sub Mul Div Neg Pow Sqrt Exp Log Erf Tanh Sigmoid Relu Abs Reciprocal MatMul Gemm Conv MaxPool AveragePool
	GlobalAveragePool BatchNormalization LayerNormalization Softmax LogSoftmax Dropout Flatten Reshape Transpose Concat
	Split Slice Gather Squeeze Unsqueeze Expand Shape Cast Constant ConstantOfShape Identity Where Equal ReduceMean ReduceSum
	Range Clip Pad`

func TestFunctions(t *testing.T) {
	m := mustParse(t, `<ir_version: 9, opset_import: ["" : 17, "local" : 1]>
		g (float[N,6] x, double[2,3] z) => (y, w, s) {
			y = local.twice <axis: int = 1> (x)
			w = local.twice(z)
			s = local.shaped(x)
			c = local.clip(x)
		}
		<domain: "local", opset_import: ["" : 17, "local" : 1]>
		twice <axis: int = 0> (a) => (b) { c = local.join <at: int = @axis> (a)  b = Relu(c) }
		<domain: "local", opset_import: ["" : 17]>
		join <at> (a) => (b) { b = Concat <axis: int = @at> (a, a) }
		<domain: "local", opset_import: ["" : 17]>
		shaped (a) => (b) { n = Shape(a) b = ConstantOfShape(n) }
		<domain: "local", opset_import: ["" : 17]>
		clip (a, lo) => (b) { b = Clip(a, lo) }`)
	// What a body was typed as elsewhere has no say in a call.
	stale := m.Functions[3].Body.Inputs()[1]
	stale.Type = graph.StaticType(graph.Float64, 7)
	if err := op.InferGraph(m); err != nil {
		t.Fatal(err)
	}
	if stale.Type.String() != "double[7]" {
		t.Errorf("the body was left as %s", stale.Type)
	}
	stale.Type = graph.Type{}
	want := "[float[N,12] double[4,3] float[N,6]]"
	var got []string
	for _, v := range m.Graph.Outputs() {
		got = append(got, v.Type.String())
	}
	if fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
	for _, f := range m.Functions {
		for v := range f.Body.Values() {
			if !v.Type.Equal(graph.Type{}) || v.Content != nil {
				t.Errorf("%s of function %s was left as %s", v, f.Name, v.Type)
			}
		}
	}
}

func TestFunctionErrors(t *testing.T) {
	m := mustParse(t, `<ir_version: 9, opset_import: ["" : 17, "local" : 1]>
		g (float[N,6] x) => (y) { [call] y = local.f(x) }
		<domain: "local", opset_import: ["" : 17]> f (a) => (b) { [bad] b = Concat <axis: int = 2> (a, a) }`)
	err := op.InferGraph(m)
	var ne *graph.NodeError
	if !errors.As(err, &ne) || !errors.Is(err, graph.ErrInvalid) || ne.Scope != "call" || ne.Opset != 17 || !strings.HasPrefix(ne.Node, "bad") {
		t.Errorf("%#v (%v)", ne, err)
	}
	// Each of 40 functions calls the next twice: inference must not take 2^40 steps.
	var src strings.Builder
	src.WriteString(`<ir_version: 9, opset_import: ["" : 17, "local" : 1]> g (float[N,6] x) => (y) { y = local.f0(x) }`)
	for i := range 40 {
		fmt.Fprintf(&src, `<domain: "local", opset_import: ["" : 17, "local" : 1]> f%d (a) => (b) { c = local.f%d(a) b = local.f%d(c) }`, i, i+1, i+1)
	}
	src.WriteString(`<domain: "local", opset_import: ["" : 17]> f40 (a) => (b) { b = Relu(a) }`)
	m = mustParse(t, src.String())
	if err := op.InferGraph(m); err != nil || m.Graph.Outputs()[0].Type.String() != "float[N,6]" {
		t.Errorf("%v, %v", err, m.Graph.Outputs()[0].Type)
	}
}

func TestRecursiveFunction(t *testing.T) {
	m := graph.NewModel(17)
	m.Opsets["local"] = 1
	f := &graph.Function{Domain: "local", Name: "f", Opsets: m.Opsets, Body: graph.NewGraph("f")}
	a := f.Body.AddInput("a", graph.Type{})
	grow := f.Body.AddNode("", "Concat", []*graph.Value{a, a}, []string{"c"}, graph.I("axis", 0))
	f.Body.AddOutput(f.Body.AddNode("local", "f", []*graph.Value{grow.Out(0)}, []string{"b"}).Out(0))
	m.Functions = append(m.Functions, f)
	x := m.Graph.AddInput("x", graph.StaticType(graph.Float32, 2))
	n := m.Graph.AddNode("local", "f", []*graph.Value{x}, []string{"y"})
	if err := op.Infer(m, n); !errors.Is(err, graph.ErrInvalid) {
		t.Errorf("got %v", err)
	}
}

// TestNestedLoops: a Loop whose types settle only after several rounds, around such a Loop, and so on: inference must
// not multiply the rounds without end.
func TestNestedLoops(t *testing.T) {
	body := ""
	for i := range 12 {
		outer := "x"
		if i < 11 {
			outer = fmt.Sprintf("c%d", i+1)
		}
		body = fmt.Sprintf(`p%[1]d, q%[1]d, r%[1]d, s%[1]d = Loop (n, k, one, %[2]s, %[2]s, %[2]s) <body: graph = body%[1]d (i%[1]d, k%[1]d, a%[1]d, b%[1]d, d%[1]d, c%[1]d)
			=> (l%[1]d, e%[1]d, f%[1]d, g%[1]d, h%[1]d) {
				%[3]s
				l%[1]d = Identity(k%[1]d) e%[1]d = Identity(a%[1]d) f%[1]d = Identity(a%[1]d) g%[1]d = Identity(b%[1]d) h%[1]d = Identity(d%[1]d)
			}>`, i, outer, body)
	}
	m := mustParse(t, `<ir_version: 9, opset_import: ["" : 17]> g (float[4] x, float[1] one, int64 n, bool k) => (p11) { `+body+` }`)
	if err := op.InferGraph(m); !errors.Is(err, graph.ErrUnsupported) || !strings.Contains(err.Error(), "nest too deep") {
		t.Error(err)
	}
}

// TestParam: training changes a parameter, so that nothing follows from its initial value.
func TestParam(t *testing.T) {
	m := graph.NewModel(17)
	m.Opsets[graph.Asdl] = 1
	b := op.NewBuilder(m, m.Graph)
	w := b.Tag(graph.TagParam, []*graph.Value{b.Const("w", graph.TensorOf([]float32{0, 1}, 2))})
	if y := b.Mul(w, w); b.Err() != nil || y.Content != nil || y.Type.String() != "float[2]" {
		t.Errorf("%v: content %v of %s", b.Err(), y.Content, y.Type)
	}
}

// TestMissing: all unknown operators are reported, with where they are, and what does not depend on them is typed.
func TestMissing(t *testing.T) {
	m := mustParse(t, `<ir_version: 9, opset_import: ["" : 17, "local" : 1, "com.acme" : 1]>
		g (float[N,6] x, bool c) => (y, z) {
			[one] a = StringNormalizer(x)
			[two] b = com.acme.Thing(x)
			[three] d = local.f(x)
			[four] e = If (c) <then_branch: graph = t () => (p) { [five] p = Unique(x) }, else_branch: graph = e () => (q) { q = Relu(x) }>
			y = Add(a, b)
			z = Relu(x)
		}
		<domain: "local", opset_import: ["" : 17]> f (a) => (b) { [six] b = NonMaxSuppression(a) }`)
	err := op.InferGraph(m)
	if !errors.Is(err, graph.ErrUnsupported) || errors.Is(err, graph.ErrInvalid) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{"one (StringNormalizer)", "two (com.acme.Thing)", "five (Unique)", "six (NonMaxSuppression), opset 17, in three"} {
		if strings.Count(err.Error(), want) != 1 {
			t.Errorf("%q is not reported once in:\n%v", want, err)
		}
	}
	if got := m.Graph.Outputs()[1].Type.String(); got != "float[N,6]" {
		t.Errorf("z is %s", got)
	}
}

// TestDeclared: declared types refine inferred ones, and must not contradict them.
func TestDeclared(t *testing.T) {
	const src = `<ir_version: 9, opset_import: ["" : 17]> g (float[N,6] x, int64[2] s) => (%s y) { y = Reshape(x, s) }`
	m := mustParse(t, fmt.Sprintf(src, "float[M,4]"))
	if err := op.InferGraph(m); err != nil || m.Graph.Outputs()[0].Type.String() != "float[M,4]" {
		t.Errorf("%v, %v", err, m.Graph.Outputs()[0].Type)
	}
	for _, declared := range []string{"float[M]", "double[M,4]"} {
		if err := op.InferGraph(mustParse(t, fmt.Sprintf(src, declared))); !errors.Is(err, graph.ErrInvalid) {
			t.Errorf("declared %s: %v", declared, err)
		}
	}
	m = mustParse(t, fmt.Sprintf(src, "float[M]"))
	if err := op.Infer(m, m.Graph.First()); err != nil || m.Graph.Outputs()[0].Type.String() != "float[?,?]" {
		t.Errorf("Infer: %v, %v", err, m.Graph.Outputs()[0].Type)
	}
	// Again: what was inferred is no contradiction to itself.
	if err := op.InferGraph(m); err != nil {
		t.Error(err)
	}
}

// TestOverridable: an initializer that is an input says nothing of the value that will be fed.
func TestOverridable(t *testing.T) {
	m := graph.NewModel(17)
	x := m.Graph.AddInput("x", graph.StaticType(graph.Float32, 6))
	s := m.Graph.AddInput("s", graph.StaticType(graph.Int64, 2))
	m.Graph.SetDefault(s, graph.Ints(2, 3))
	n := m.Graph.AddNode("", "Reshape", []*graph.Value{x, s}, []string{"y"})
	if err := op.Infer(m, n); err != nil || n.Out(0).Type.String() != "float[?,?]" {
		t.Errorf("%v, %v", err, n.Out(0).Type)
	}
}

// TestInferCall: concrete arguments give concrete results, and the graph stays as it was.
func TestInferCall(t *testing.T) {
	m := mustParse(t, `<ir_version: 9, opset_import: ["" : 17]> g (float[N,6] x, int64[K] s, bool c) => (y, z) {
		y = Reshape(x, s)
		z = If (c) <then_branch: graph = t () => (p) { p = Relu(x) }, else_branch: graph = e () => (q) { q = Neg(x) }>
	}`)
	reshape := m.Graph.First()
	ctx := &op.Context{Node: reshape, Opset: 17, In: []op.Arg{
		{Present: true, Type: graph.StaticType(graph.Float64, 4, 6)},
		{Present: true, Type: graph.StaticType(graph.Int64, 2), Const: graph.Ints(-1, 8)},
	}}
	if err := op.InferCall(ctx); err != nil || ctx.Out[0].Type.String() != "double[3,8]" {
		t.Errorf("%v, %v", err, ctx.Out)
	}
	branch := m.Graph.Last()
	ctx = &op.Context{Node: branch, Opset: 17, Model: m, In: []op.Arg{{Present: true, Type: graph.StaticType(graph.Bool)}}}
	if err := op.InferCall(ctx); err != nil || ctx.Out[0].Type.String() != "float[N,6]" {
		t.Errorf("%v, %v", err, ctx.Out)
	}
	for n := range m.Graph.All() {
		if !n.Out(0).Type.Equal(graph.Type{}) {
			t.Errorf("%s was left as %s", n.Out(0), n.Out(0).Type)
		}
	}
}

// TestFunctionBody: nodes of a function that is not called get what follows without its attributes.
func TestFunctionBody(t *testing.T) {
	m := mustParse(t, `<ir_version: 9, opset_import: ["" : 17, "local" : 1]> g (float x) => (x) {}
		<domain: "local", opset_import: ["" : 20]> f <k> (a) => (c) { b = Concat <axis: int = @k> (a, a) c = Gelu(b) }`)
	body := m.Functions[0].Body
	body.Inputs()[0].Type = graph.StaticType(graph.Float32, 3)
	for n := range body.Nodes() {
		if err := op.Infer(m, n); err != nil || n.Out(0).Type.String() != "float[]" {
			t.Errorf("%s: %v, %v", n, err, n.Out(0).Type)
		}
	}
}

func BenchmarkInferGraph(b *testing.B) {
	m := graph.NewModel(17)
	v := m.Graph.AddInput("x", graph.TensorType(graph.Float32, graph.Sym("N"), graph.Known(64)))
	for range 5000 {
		v = m.Graph.AddNode("", "Add", []*graph.Value{v, v}, []string{"y"}).Out(0)
	}
	m.Graph.AddOutput(v)
	b.ReportAllocs()
	for b.Loop() {
		if err := op.InferGraph(m); err != nil {
			b.Fatal(err)
		}
	}
}
