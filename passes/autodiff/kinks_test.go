package autodiff_test

import (
	"slices"
	"testing"

	"github.com/asdlc/asdlc/runtime/kernel"
)

// TestKinks: where a function has no derivative, the one that is given out is PyTorch's, and backward and forward mode
// agree: extremes that tie share alike, the subgradient of a norm at zero is zero.
func TestKinks(t *testing.T) {
	for _, c := range []struct {
		name, nodes string
		x, want     []float64 // the gradient of the sum of y
	}{
		{"Max", "k = Mul(x, one) y = Max(x, k)", []float64{1, 2}, []float64{1, 1}},
		{"Max of a tie with a constant", "y = Max(x, one)", []float64{1, 2}, []float64{0.5, 1}},
		{"Min of a tie of three", "y = Min(x, one, one)", []float64{1, 2}, []float64{1. / 3, 0}},
		{"ReduceMax", "y = ReduceMax<keepdims: int = 0>(x)", []float64{3, 3}, []float64{0.5, 0.5}},
		{"ReduceMin", "y = ReduceMin<keepdims: int = 0>(x)", []float64{3, 3}, []float64{0.5, 0.5}},
		{"Relu", "y = Relu(x)", []float64{0, 1}, []float64{0, 1}},
		{"LeakyRelu", "y = LeakyRelu<alpha: float = 0.25>(x)", []float64{0, 1}, []float64{0.25, 1}},
		{"PRelu", "s = Mul(one, half) y = PRelu(x, s)", []float64{0, 1}, []float64{0.5, 1}},
		{"Abs", "y = Abs(x)", []float64{0, -1}, []float64{0, -1}},
		{"Clip", "y = Clip(x, half, one1)", []float64{0.5, 1}, []float64{1, 1}},
		{"ReduceL2", "y = ReduceL2(x)", []float64{0, 0}, []float64{0, 0}},
		{"ReduceProd", "y = ReduceProd(x)", []float64{0, 2}, []float64{2, 0}},
		{"LpNormalization", "y = LpNormalization(x)", []float64{0, 0}, []float64{1, 1}},
		{"Pow", "y = Pow(x, two)", []float64{0, 1}, []float64{0, 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := func(request string) string {
				return `f (double[2] x) => (d) <double[1] one = {1}, double half = {0.5}, double one1 = {1}, double two = {2},
					int64[1] at = {0}, double[2] a = {1, 0}, double[2] b = {0, 1}> { ` + c.nodes + " d = " + request + " }"
			}
			feeds := map[string]*kernel.Tensor{"x": vector(c.x...)}
			back := outputs(t, text("asdl.Gradient<ys: int = 1>(y, , x)"), feeds)[0]
			if !slices.Equal(back, c.want) {
				t.Errorf("gradient is %v, want %v", back, c.want)
			}
			for i, along := range []string{"a", "b"} {
				out := outputs(t, text("asdl.Tangent<ys: int = 1>(y, "+along+", x)"), feeds)[0]
				sum := 0.0
				for _, v := range out {
					sum += v
				}
				if sum != c.want[i] {
					t.Errorf("tangent along axis %d sums to %v, want %v", i, sum, c.want[i])
				}
			}
		})
	}
}
