package passes_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/asdlc/asdlc/passes/pass"
)

// TestGradientsOfOldForms: operators in the forms of old opsets, which have no derivative of their own, are rewritten into
// newer ones; the gradient is the finite difference of the loss.
func TestGradientsOfOldForms(t *testing.T) {
	for _, c := range []struct {
		name      string
		opset     int
		shape     []int // of the parameter
		sig, more string
		body      string
		result    []int
	}{
		{"Upsample of opset 7", 7, []int{1, 2, 2, 3}, "double[1,2,4,9] y", "", `y = Upsample <scales: floats = [1, 1, 2, 3], mode: string = "nearest"> (h)`, []int{1, 2, 4, 9}},
		{"linear Upsample", 9, []int{1, 2, 3, 3}, "double[1,2,6,4] y", ", float[4] s = {1, 1, 2, 1.5}", `y = Upsample <mode: string = "linear"> (h, s)`, []int{1, 2, 6, 4}},
		{"Resize of opset 10", 10, []int{1, 2, 4, 3}, "double[1,2,2,6] y", ", float[4] s = {1, 1, 0.5, 2}", `y = Resize (h, s)`, []int{1, 2, 2, 6}},
		{"Scatter", 9, []int{2, 3}, "double[2,3] y", ", int64[1,3] k = {1, 0, 1}, double[1,3] u = {1, 2, 3}", `m = Mul (u, u)  a = Scatter (h, k, m)  y = Scatter (a, k, u)`, []int{2, 3}},
		{"Softmax of opset 9", 9, []int{2, 3, 2}, "double[2,3,2] y", "", `y = Softmax <axis: int = 1> (h)`, []int{2, 3, 2}},
		{"LogSoftmax of opset 11", 11, []int{2, 3, 2}, "double[2,3,2] y", "", `y = LogSoftmax <axis: int = 0> (h)`, []int{2, 3, 2}},
		{"Pad of opset 10", 10, []int{2, 3}, "double[3,5] y", "", `y = Pad <pads: ints = [1, 0, 0, 2], value: float = 0.5> (h)`, []int{3, 5}},
		{"Clip of opset 6", 8, []int{2, 4}, "double[2,4] y", "", `y = Clip <min: float = -0.8, max: float = 0.9> (h)`, []int{2, 4}},
		{"TopK of opset 9", 9, []int{2, 4}, "double[2,2] y", "", `y, i = TopK <k: int = 2, axis: int = 1> (h)`, []int{2, 2}},
		{"Slice of opset 9", 9, []int{3, 4}, "double[2,2] y", "", `y = Slice <starts: ints = [1, -3], ends: ints = [3, -1], axes: ints = [0, 1]> (h)`, []int{2, 2}},
		{"ReduceMax of opset 11", 11, []int{2, 3, 2}, "double[2,2] y", "", `y = ReduceMax <axes: ints = [1], keepdims: int = 0> (h)`, []int{2, 2}},
		{"Dropout of opset 7", 7, []int{2, 3}, "double[2,3] y", "", `y = Dropout <ratio: float = 0.5> (h)`, []int{2, 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(5, 6))
			w, x, target := normals(rng, c.shape...), normals(rng, c.shape...), normals(rng, c.result...)
			text := fmt.Sprintf(`<ir_version: 8, opset_import: ["" : %d]> net (double[%s] x) => (%s) <%s%s> { h = Mul (x, w)  %s }`,
				c.opset, dims(c.shape), c.sig, tensorText("w", w), c.more, c.body)
			s := instrument(t, text, record(t, "sgd"), pass.Options{OutputGrad: true, Loss: pass.LossOptions{Row: "mse"}})
			feeds := func(w array) arrays { return arrays{"x": x, "w": w, "target": target, "lr": number(0)} }
			got := s.step(feeds(w))["grad/w"].v
			want := make([]float64, len(w.v))
			for i := range want {
				const h = 1e-5
				at := func(step float64) float64 {
					moved := w.clone()
					moved.v[i] += step
					return s.step(feeds(moved))["loss"].v[0]
				}
				want[i] = (at(h) - at(-h)) / (2 * h)
			}
			near(t, "gradient", got, want, 1e-8)
		})
	}
}
