package onnx

import (
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/graphtest"
	"github.com/asdlc/asdlc/graph/onnx/internal/pb"
)

// TestOutputsGetIdentities writes outputs that are no node's outputs of the graph, and one that is listed twice.
func TestOutputsGetIdentities(t *testing.T) {
	m := graphtest.MustParse(t, `<ir_version: 8, opset_import: ["" : 17, "asdl" : 1]>
g (float[1] x, bool c) => (x, w, y, y)
<float[1] w = {3}>
{
   y = If (c) <then_branch: graph = t () => (x) { }, else_branch: graph = e () => (k) <float[1] k = {1}> { }>
   z = Add (w, y)
}
`)
	want := graphtest.MustParse(t, `<ir_version: 8, opset_import: ["" : 17, "asdl" : 1]>
g (float[1] x, bool c) => (float[1] x_out, float[1] w, y, y_out)
<float[1] w_value = {3}>
{
   y = If (c) <then_branch: graph = t () => (float[1] x_out_1) { x_out_1 = Identity (x) },
               else_branch: graph = e () => (float[1] k_out) <float[1] k = {1}> { k_out = Identity (k) }>
   z = Add (w_value, y)
   x_out = Identity (x)
   w = Identity (w_value)
   y_out = Identity (y)
}
`)
	data, err := Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(data, DecodeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	graphtest.Same(t, got, want)
}

func TestFunctionsAreWrittenForOnnxruntime(t *testing.T) {
	m := graphtest.MustParse(t, `<ir_version: 8, opset_import: ["" : 17, "asdl" : 1]>
g (float[1] x) => (y) { y = asdl.F (x) }
<domain: "asdl", opset_import: ["" : 17]>
F <q: int = 1> (a) => (a, r) <float[1] k = {1}> { r = Add (a, k) }`)
	data, err := Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	p := &pb.ModelProto{}
	if err := proto.Unmarshal(data, p); err != nil {
		t.Fatal(err)
	}
	if p.GetIrVersion() != irDefaults {
		t.Errorf("IR version %d; defaults of attributes need %d", p.GetIrVersion(), irDefaults)
	}
	if out := p.Graph.Node[0].Output; len(out) != 2 || out[1] != "" {
		t.Errorf("the call lists outputs %q; it must name or skip every one", out)
	}
	f := p.Functions[0]
	var ops []string
	for _, n := range f.Node {
		ops = append(ops, n.GetOpType())
	}
	if fmt.Sprint(ops, f.Output) != "[Constant Add Identity] [a_out r]" {
		t.Errorf("body %v, outputs %v", ops, f.Output)
	}
}

// TestInitializersAsInputs reads the three cases of an initializer that is listed as an input.
func TestInitializersAsInputs(t *testing.T) {
	p := good()
	p.Graph.Input = append(p.Graph.Input, value("w", 2))
	m, err := decodeProto(t, p)
	if err != nil {
		t.Fatal(err)
	}
	if w := m.Graph.Find("w"); !w.IsInput() || w.Const() == nil {
		t.Error("IR version 8: w should be an input with a default")
	}
	roundTrip(t, m)
	p.IrVersion = ptr(int64(3))
	if m, err = decodeProto(t, p); err != nil {
		t.Fatal(err)
	}
	if w := m.Graph.Find("w"); !w.IsInitializer() {
		t.Error("IR version 3: w should be an initializer")
	}
	back := &pb.ModelProto{}
	if err := proto.Unmarshal(roundTrip(t, m), back); err != nil {
		t.Fatal(err)
	}
	if len(back.Graph.Input) != 2 {
		t.Error("IR version 3: w must be listed as an input")
	}
}

// TestTypedFields reads every element type from its typed field.
func TestTypedFields(t *testing.T) {
	cases := []struct {
		elem graph.Elem
		p    *pb.TensorProto
		want string
	}{
		{graph.Float32, &pb.TensorProto{FloatData: []float32{1.5, -2}}, "1.5, -2"},
		{graph.Float64, &pb.TensorProto{DoubleData: []float64{1e300, -2}}, "1e+300, -2"},
		{graph.Int64, &pb.TensorProto{Int64Data: []int64{1 << 40, -2}}, "1099511627776, -2"},
		{graph.Uint64, &pb.TensorProto{Uint64Data: []uint64{1 << 63, 2}}, "9223372036854775808, 2"},
		{graph.Uint32, &pb.TensorProto{Uint64Data: []uint64{1 << 31, 2}}, "2147483648, 2"},
		{graph.Int32, &pb.TensorProto{Int32Data: []int32{1, -2}}, "1, -2"},
		{graph.Int16, &pb.TensorProto{Int32Data: []int32{1, -2}}, "1, -2"},
		{graph.Int8, &pb.TensorProto{Int32Data: []int32{1, -2}}, "1, -2"},
		{graph.Uint8, &pb.TensorProto{Int32Data: []int32{1, 255}}, "1, 255"},
		{graph.Uint16, &pb.TensorProto{Int32Data: []int32{1, 65535}}, "1, 65535"},
		{graph.Bool, &pb.TensorProto{Int32Data: []int32{0, 7}}, "0, 1"},
		{graph.Bool, &pb.TensorProto{RawData: []byte{0, 7}}, "0, 1"},
		{graph.Float16, &pb.TensorProto{Int32Data: []int32{15360, 0}}, "15360, 0"},
		{graph.BFloat16, &pb.TensorProto{Int32Data: []int32{16256, 0}}, "16256, 0"},
	}
	for _, c := range cases {
		c.p.Dims, c.p.DataType = []int64{2}, ptr(int32(c.elem))
		k, err := new(decoder).tensor(c.p)
		if err != nil {
			t.Errorf("%s: %v", c.elem, err)
			continue
		}
		m := graph.NewModel(17)
		m.Graph.AddInitializer("w", k)
		want := fmt.Sprintf("%s[2] w = {%s}", c.elem, c.want)
		if got := graph.PrintGraph(m.Graph); len(got) < len(want) || got[len("main () => ()\n<\n   "):][:len(want)] != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
	}
}

// TestNodesOutOfOrder reads nodes in reverse.
func TestNodesOutOfOrder(t *testing.T) {
	p := good()
	p.Graph.Node[0], p.Graph.Node[1] = p.Graph.Node[1], p.Graph.Node[0]
	m, err := decodeProto(t, p)
	if err != nil {
		t.Fatal(err)
	}
	if m.Graph.First().Op != "Add" {
		t.Error("the nodes were not sorted")
	}
}

// chain is a model of n nodes.
func chain(n int) *graph.Model {
	m := graph.NewModel(17)
	v := m.Graph.AddInput("x", graph.TensorType(graph.Float32, graph.Sym("N"), graph.Known(4)))
	w := m.Graph.AddInitializer("w", graph.Scalar(float32(2)))
	for i := range n {
		node := m.Graph.AddNode("", "Mul", []*graph.Value{v, w}, []string{fmt.Sprintf("block/%d/v", i)})
		node.Name = fmt.Sprintf("block/%d/mul", i)
		node.Out(0).Type = v.Type
		v = node.Out(0)
	}
	m.Graph.AddOutput(v)
	return m
}

// BenchmarkGraph times what must be linear, on 20,000 nodes.
func BenchmarkGraph(b *testing.B) {
	m := chain(20000)
	data, err := Encode(m)
	if err != nil {
		b.Fatal(err)
	}
	text := graph.Print(m)
	copied := graph.Clone(m)
	for _, c := range []struct {
		name string
		run  func() error
	}{
		{"Decode", func() error { _, err := Decode(data, DecodeOptions{}); return err }},
		{"Encode", func() error { _, err := Encode(m); return err }},
		{"Verify", func() error { return graph.Verify(m) }},
		{"Sort", func() error { return graph.Sort(m.Graph) }},
		{"Print", func() error { graph.Print(m); return nil }},
		{"Parse", func() error { _, err := graph.Parse(text); return err }},
		{"Clone", func() error { graph.Clone(m); return nil }},
		{"Equal", func() error { return graph.Equal(m, copied) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if err := c.run(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
