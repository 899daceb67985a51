package runtime_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/graphtest"
	"github.com/asdlc/asdlc/runtime"
	"github.com/asdlc/asdlc/runtime/data"
	"github.com/asdlc/asdlc/runtime/kernel"
)

func TestPorts(t *testing.T) {
	s := session(t, stepModel, runtime.Options{})
	if err := s.LoadInit(graphtest.MustParse(t, initModel)); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range append(s.Inputs(), s.Outputs()...) {
		got = append(got, fmt.Sprintf("%s %s %s %t", p.Type, p.Name, p.Kind, p.Optional))
	}
	want := []string{
		"float[N,3] x  false", "float[N] target  false", "float[3] w param true", "int64 asdl/step counter true", "float lr  true",
		"float loss  false", "float[3] w/next param false", "int64 asdl/step/next counter false",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q\nwant %q", got, want)
	}
	if n := len(s.ExprGraph().Inputs()); n < len(s.Inputs()) {
		t.Errorf("the Gorgonia graph has %d inputs", n)
	}
}

// Outputs that are not asked for are not computed; next states always are.
func TestChosenOutputs(t *testing.T) {
	const src = `<ir_version: 8, opset_import: ["" : 17], metadata_props: ["asdl.state" : "[{\"in\":\"w\",\"out\":\"w/next\",\"kind\":\"param\",\"of\":\"w\"}]"]>
		g (float[3] w, float[3] x, int64[1] i) => (float[3] y, float[1] z, float[3] "w/next") { y = Mul(w, x) z = Gather(x, i) "w/next" = Add(w, x) }`
	s := session(t, src, runtime.Options{Outputs: []string{"y"}})
	ones := kernel.Of([]float32{1, 1, 1}, 3)
	feeds := map[string]*kernel.Tensor{"w": ones, "x": ones, "i": kernel.Of([]int64{99}, 1)} // z would fail
	out, err := s.Run(feeds, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := out["z"]; ok || len(out) != 1 {
		t.Errorf("outputs %v", out)
	}
	if w, err := s.State("w"); err != nil || kernel.Data[float32](w)[0] != 2 {
		t.Errorf("state %v, %v", w, err)
	}
	if _, err := runtime.NewSession(graphtest.MustParse(t, src), runtime.Options{Outputs: []string{"v"}}); !errors.Is(err, runtime.ErrFeed) {
		t.Errorf("unknown output: %v", err)
	}
}

func TestBadStateMetadata(t *testing.T) {
	for _, text := range []string{`{`, `[{"in":"nothing","out":"y"}]`, `[{"in":"x","out":"y"},{"in":"x","out":"y"}]`} {
		m := graphtest.MustParse(t, `<ir_version: 8, opset_import: ["" : 17]> g (float[3] x) => (float[3] y) { y = Neg(x) }`)
		m.Metadata["asdl.state"] = text
		if _, err := runtime.NewSession(m, runtime.Options{}); !errors.Is(err, graph.ErrInvalid) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestArrays(t *testing.T) {
	for _, values := range []any{
		[]bool{true, false},
		[]uint8{1, 2},
		[]uint16{1, 2},
		[]uint32{1, 2},
		[]uint64{1, 2},
		[]int8{-1, 2},
		[]int16{-1, 2},
		[]int32{-1, 2},
		[]int64{-1, 2},
		[]float32{0.5, 2},
		[]float64{0.5, 2},
		[]data.Half{0x3c00, 0},
	} {
		x, err := runtime.FromArray(&data.Array{Shape: []int{2, 1}, Data: values})
		if err != nil {
			t.Fatal(err)
		}
		back, err := runtime.ToArray(x)
		if err != nil || fmt.Sprintf("%T %v", back.Data, back.Data) != fmt.Sprintf("%T %v", values, values) || len(back.Shape) != 2 {
			t.Errorf("%T %v becomes %v, %v", values, values, back, err)
		}
	}
	if _, err := runtime.FromArray(&data.Array{Shape: []int{3}, Data: []int8{1}}); err == nil {
		t.Error("an array that does not fill its shape is accepted")
	}
	if _, err := runtime.ToArray(kernel.New(graph.BFloat16, 2)); err == nil {
		t.Error("bfloat16 has no array")
	}
}
