package vm_test

import (
	"fmt"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel"
	"github.com/asdlc/asdlc/runtime/lower"
	"github.com/asdlc/asdlc/runtime/vm"
)

// idle is a registry whose Add does nothing: what is left is the machine's own time.
func idle(t testing.TB) *kernel.Registry {
	t.Helper()
	reg, err := kernel.NewRegistry([]kernel.Row{{Op: "Add", Note: "idle", Make: func(*kernel.Call) (kernel.Run, error) {
		return func(_, _ []*kernel.Tensor) error { return nil }, nil
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return reg
}

// wide is a graph of n Adds, eight chains side by side that mix now and then.
func wide(n int) *graph.Model {
	m := graph.NewModel(17)
	g := m.Graph
	ends := make([]*graph.Value, 8)
	for i := range ends {
		ends[i] = g.AddInput(fmt.Sprintf("x%d", i), graph.StaticType(graph.Float32, 8))
	}
	for i := range n {
		a, b := ends[i%8], ends[(i*3+1)%8]
		ends[i%8] = g.AddNode("", "Add", []*graph.Value{a, b}, []string{fmt.Sprintf("v%d", i)}).Out(0)
	}
	for _, v := range ends {
		g.AddOutput(v)
	}
	return m
}

func build(t testing.TB, m *graph.Model, reg *kernel.Registry) *vm.VM {
	t.Helper()
	prog, err := lower.Lower(m, reg, nil)
	if err != nil {
		t.Fatal(err)
	}
	v, err := vm.New(prog, vm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range prog.Main.Inputs {
		shape, _ := prog.Model.Graph.Inputs()[i].Type.Static()
		v.Bind(i, kernel.New(graph.Float32, int(shape[0])))
	}
	return v
}

// BenchmarkOverhead reports the machine's time for each node of a graph whose kernels do nothing.
func BenchmarkOverhead(b *testing.B) {
	const nodes = 5000
	v := build(b, wide(nodes), idle(b))
	if err := v.RunAll(); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := v.RunAll(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/nodes, "ns/node")
}

// BenchmarkPlan times the first run on a graph of 20,000 nodes, which is all planning.
func BenchmarkPlan(b *testing.B) {
	reg := idle(b)
	prog, err := lower.Lower(wide(20000), reg, nil)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		v, err := vm.New(prog, vm.Options{})
		if err != nil {
			b.Fatal(err)
		}
		for i := range prog.Main.Inputs {
			v.Bind(i, kernel.New(graph.Float32, 8))
		}
		if err := v.RunAll(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLower times the making of the Gorgonia graph of 20,000 nodes, inference included.
func BenchmarkLower(b *testing.B) {
	m, reg := wide(20000), idle(b)
	for b.Loop() {
		if _, err := lower.Lower(m, reg, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func TestRunsDoNotAllocate(t *testing.T) {
	v := build(t, wide(500), idle(t))
	if err := v.RunAll(); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(20, func() {
		if err := v.RunAll(); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a run", n)
	}
}
