package dropout_test

import (
	"math"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/onnx"
	"github.com/asdlc/asdlc/passes"
	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/runtime"
	"github.com/asdlc/asdlc/runtime/kernel"
)

func step(t *testing.T) (*runtime.Session, *graph.Model) {
	t.Helper()
	m := graph.NewModel(17)
	x := m.Graph.AddInput("x", graph.TensorType(graph.Float32, graph.Sym("N"), graph.Known(200)))
	w := m.Graph.AddInitializer("fc.weight", graph.TensorOf(make([]float32, 600), 3, 200))
	ratio := m.Graph.AddInitializer("ratio", graph.Scalar(float32(0.25)))
	on := m.Graph.AddInitializer("on", graph.Scalar(true))
	d := m.Graph.AddNode("", "Dropout", []*graph.Value{x, ratio, on}, []string{"d"}).Out(0)
	y := m.Graph.AddNode("", "Gemm", []*graph.Value{d, w}, []string{"y"}, graph.I("transB", 1)).Out(0)
	m.Graph.SetOutputs(y, d)
	rec, _ := method.Lookup("sgd")
	rec, err := method.WithPreset(rec, "paper")
	if err != nil {
		t.Fatal(err)
	}
	r, err := passes.Instrument(m, rec, pass.Options{Verify: true}, "")
	if err != nil {
		t.Fatal(err)
	}
	s, err := runtime.NewSession(r.Step, runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.LoadInit(r.Init); err != nil {
		t.Fatal(err)
	}
	return s, r.Step
}

// Three quarters of the elements survive, scaled by 4/3; every step has a mask of its own; the exported graph holds no
// Dropout.
func TestMask(t *testing.T) {
	s, m := step(t)
	defer s.Close()
	for n := range m.Graph.All() {
		if n.Op == "Dropout" {
			t.Fatalf("left: %s", n)
		}
	}
	if _, err := onnx.Encode(m); err != nil {
		t.Fatal(err)
	}
	n := 50
	x := kernel.New(graph.Float32, n, 200)
	for i := range kernel.Data[float32](x) {
		kernel.Data[float32](x)[i] = 3
	}
	feeds := map[string]*kernel.Tensor{"x": x, "target": kernel.New(graph.Int64, n)}
	var previous []float32
	for k := range 3 {
		out, err := s.Run(feeds, []string{"d"})
		if err != nil {
			t.Fatal(err)
		}
		d := kernel.Data[float32](out["d"])
		kept, same := 0, 0
		for i, v := range d {
			switch {
			case v == 0:
			case math.Abs(float64(v)-4) < 1e-6:
				kept++
			default:
				t.Fatalf("element %d is %g, want 0 or 4", i, v)
			}
			if previous != nil && v == previous[i] {
				same++
			}
		}
		// 10,000 draws: standard deviation 43 of the count
		if kept < 7300 || kept > 7700 {
			t.Errorf("step %d keeps %d of %d", k, kept, len(d))
		}
		if previous != nil && (same < 6000 || same > 6500) { // 0.75^2 + 0.25^2
			t.Errorf("step %d agrees with the step before in %d of %d elements", k, same, len(d))
		}
		previous = append(previous[:0], d...)
	}
}
