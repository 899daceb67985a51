package lower_test

import (
	"slices"
	"testing"

	"github.com/asdlc/asdlc/graph/graphtest"
	"github.com/asdlc/asdlc/runtime/kernel"
	"github.com/asdlc/asdlc/runtime/lower"
)

// TestBatchedScan runs the Scan of opset 8, running sums of each sequence, with and without sequence_lens.
func TestBatchedScan(t *testing.T) {
	reg, err := kernel.NewRegistry(kernel.Default()...)
	if err != nil {
		t.Fatal(err)
	}
	s, x := kernel.Of([]float32{0, 100}, 2, 1), kernel.Of([]float32{1, 2, 3, 4, 5, 6}, 2, 3, 1)
	for _, c := range []struct {
		name, head, attrs, lens string
		in                      []*kernel.Tensor
		last, sums              []float32
	}{
		{"whole", "", "", "", []*kernel.Tensor{s, x}, []float32{6, 115}, []float32{1, 3, 6, 104, 109, 115}},
		{"lengths", ", int64[2] n", "", "n", []*kernel.Tensor{s, x, kernel.Of([]int64{3, 2}, 2)}, []float32{6, 109}, []float32{1, 3, 6, 104, 109, 0}},
		{"backwards", ", int64[2] n", "directions: ints = [1], ", "n", []*kernel.Tensor{s, x, kernel.Of([]int64{0, 2}, 2)}, []float32{0, 109}, []float32{0, 0, 0, 105, 109, 0}},
	} {
		m := graphtest.MustParse(t, `<ir_version: 8, opset_import: ["" : 8]> g (float[2,1] s, float[2,3,1] x`+c.head+`) => (float[2,1] y, float[2,3,1] z) {
			y, z = Scan <`+c.attrs+`num_scan_inputs: int = 1, body: graph = b (float[1] a, float[1] e) => (float[1] c, float[1] d) {
				c = Add(a, e) d = Identity(c) }> (`+c.lens+`, s, x) }`)
		p, err := lower.Lower(m, reg, nil)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		out, err := p.Run(c.in)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if y, z := kernel.Data[float32](out[0]), kernel.Data[float32](out[1]); !slices.Equal(y, c.last) || !slices.Equal(z, c.sums) {
			t.Errorf("%s: got %v and %v, want %v and %v", c.name, y, z, c.last, c.sums)
		}
		if len(c.in) == 3 {
			c.in[2] = kernel.Of([]int64{3, 4}, 2)
			if _, err := p.Run(c.in); err == nil {
				t.Errorf("%s: no error for a length beyond the sequence", c.name)
			}
		}
	}
}
