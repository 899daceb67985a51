package graph_test

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/asdlc/asdlc/graph"
)

func TestDimArithmetic(t *testing.T) {
	n, h, two := graph.Sym("N"), graph.Sym("H"), graph.Known(2)
	cases := []struct {
		got  graph.Dim
		want string
	}{
		{n.Add(n), "2*N"},
		{n.Mul(two).Sub(n), "N"},
		{n.Sub(n), "0"},
		{h.Mul(n), "H*N"},
		{n.Mul(h).Div(h), "N"},
		{n.Mul(two).Add(two).Div(two), "N+1"},
		{n.Add(graph.Known(1)).Div(two), "floor(N+1,2)"},
		{n.Div(n), "1"},
		{graph.Known(-7).Div(two), "-4"},
		{graph.Known(0).Mul(graph.UnknownDim), "0"},
		{n.Add(graph.UnknownDim), "?"},
		{n.Div(graph.Known(0)), "?"},
		{graph.Sym("3"), "3"},
		{graph.Sym("N + 1*2"), "N+2"},
		{graph.Sym("T*N*2-N*T"), "N*T"},
		{graph.Sym("batch size"), "batch size"},
		{graph.Sym(""), "?"},
	}
	for _, c := range cases {
		if c.got.String() != c.want {
			t.Errorf("got %s, want %s", c.got, c.want)
		}
	}
	if graph.Sym("2*N") != n.Add(n) || graph.Sym("N*H") != h.Mul(n) {
		t.Error("equal expressions are not ==")
	}
}

// TestDimNamesComeBack checks that the printed form of any dimension is read as the same dimension.
func TestDimNamesComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := graph.Sym(rapid.OneOf(rapid.StringMatching(`[NHT0-9*+()/, -]{1,10}`), rapid.String()).Draw(t, "name"))
		for range 3 {
			o := rapid.SampledFrom([]graph.Dim{graph.Sym("N"), graph.Known(2), graph.Sym("H+1"), graph.Known(-3)}).Draw(t, "other")
			switch rapid.IntRange(0, 3).Draw(t, "operation") {
			case 0:
				d = d.Add(o)
			case 1:
				d = d.Sub(o)
			case 2:
				d = d.Mul(o)
			default:
				d = d.Div(o)
			}
		}
		if d.IsSymbolic() && graph.Sym(d.String()) != d {
			t.Fatalf("%s is read as %s", d, graph.Sym(d.String()))
		}
	})
}

func TestTensorLimits(t *testing.T) {
	for _, shape := range [][]int64{{-1}, {0, -1}, {1 << 40, 1 << 40}, {math.MaxInt64}, {1 << 38, 4}} {
		if _, err := graph.NewTensor(graph.Float32, shape...); err == nil {
			t.Errorf("shape %v is accepted", shape)
		}
	}
	if k, err := graph.NewTensor(graph.Float32, math.MaxInt64, 0); err != nil || k.Len() != 0 {
		t.Errorf("an empty tensor: %v", err)
	}
	if _, err := graph.RawTensor(graph.Float32, []int64{2}, make([]byte, 7)); err == nil {
		t.Error("7 bytes are accepted for 2 floats")
	}
	buf := make([]byte, 17)
	buf[1+4] = 1
	k, err := graph.RawTensor(graph.Int32, []int64{4}, buf[1:]) // at an odd address
	if err != nil || graph.Data[int32](k)[1] != 1 {
		t.Errorf("a tensor at an odd address: %v", err)
	}
	for bits, want := range map[uint16]float32{0x3c00: 1, 0xc000: -2, 0x0001: 1.0 / (1 << 24), 0x7bff: 65504, 0xfc00: float32(math.Inf(-1))} {
		if got := graph.HalfToFloat32(bits); got != want {
			t.Errorf("half %#x is %g, want %g", bits, got, want)
		}
	}
}

// TestEditingKeepsInvariants does random edits; Verify must be content after each.
func TestEditingKeepsInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := graph.NewModel(17)
		g := m.Graph
		vals := []*graph.Value{g.AddInput("x", graph.Type{})}
		var nodes []*graph.Node
		for range 30 {
			v := rapid.SampledFrom(vals).Draw(t, "value")
			switch rapid.IntRange(0, 6).Draw(t, "edit") {
			case 0, 1:
				n := g.AddNode("", "Op", []*graph.Value{v, nil, v}, []string{"a", "a"})
				nodes, vals = append(nodes, n), append(vals, n.Outputs()...)
			case 2:
				g.AddOutput(v)
			case 3:
				w := g.AddInitializer("w", graph.Scalar(int64(1)))
				v.ReplaceUses(w)
				vals = append(vals, w)
			case 4:
				v.Rename("renamed")
			case 5:
				if len(nodes) > 0 {
					n := rapid.SampledFrom(nodes).Draw(t, "node")
					n.SetInput(rapid.IntRange(0, 3).Draw(t, "index"), nil)
				}
			case 6:
				g.SetOutputs(v)
			}
			if err := graph.Verify(m); err != nil {
				t.Fatal(err)
			}
		}
		g.SetOutputs()
		for n := range g.Backward() {
			n.Remove()
		}
		if err := graph.Verify(m); err != nil {
			t.Fatal(err)
		}
		if g.Len() != 0 || len(vals[0].Uses()) != 0 {
			t.Fatalf("%d nodes left, x has uses %v", g.Len(), vals[0].Uses())
		}
	})
}
