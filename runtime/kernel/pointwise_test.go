package kernel

import (
	"slices"
	"testing"

	"github.com/asdlc/asdlc/graph"
)

// TestPointwiseInPlace: results may lie in the memory of inputs that are read later, for sizes around those of blocks and tasks.
func TestPointwiseInPlace(t *testing.T) {
	forPools(t, func(t *testing.T, p *Pool) {
		for _, n := range []int{1, 5, 63, 64, 1023, 1024, 1025, 16384, 40001} {
			o := momentumCase(n)
			o.pool = p
			run, out, err := o.prepare(t)
			if err != nil {
				t.Fatal(err)
			}
			if err := run(o.in, out); err != nil {
				t.Fatal(err)
			}
			v, w := slices.Clone(Data[float32](out[0])), slices.Clone(Data[float32](out[1]))
			for i := range v {
				x, mu, g := Data[float32](o.in[0])[i], Data[float32](o.in[1])[0], Data[float32](o.in[2])[i]
				lr, w0 := Data[float32](o.in[3])[0], Data[float32](o.in[4])[i]
				if want := float32(x*mu) + g; v[i] != want || w[i] != w0-float32(want*lr) {
					t.Fatalf("size %d, element %d: %v and %v, want %v and %v", n, i, v[i], w[i], want, w0-float32(want*lr))
				}
			}
			if err := run(o.in, []*Tensor{o.in[4], o.in[0]}); err != nil { // v' over w, w' over v: each is still read
				t.Fatal(err)
			}
			if !slices.Equal(Data[float32](o.in[4]), v) || !slices.Equal(Data[float32](o.in[0]), w) {
				t.Errorf("size %d: other results in place", n)
			}
		}
		if o := momentumCase(5000); o.allocs(t) != 0 {
			t.Error("allocations in a run")
		}
	})
}

func TestPointwiseRefuses(t *testing.T) {
	x, between := New(graph.Float32, 2, 3, 4), New(graph.Float32, 2, 1, 4)
	for _, o := range []opCase{
		{in: []*Tensor{x, between}, attrs: pointAttrs([]string{"Add"}, []int64{0, 1}, 2)},
		{in: []*Tensor{x}, attrs: pointAttrs([]string{"Add"}, []int64{0, -1}, 1)},
		{in: []*Tensor{x}, attrs: pointAttrs([]string{"Exp"}, []int64{0, 0}, 1)},
		{in: []*Tensor{x}, attrs: pointAttrs([]string{"Gemm"}, []int64{0, 0}, 1)},
		{in: []*Tensor{x}, attrs: pointAttrs([]string{"Add"}, []int64{0, 1}, 1)},
		{in: []*Tensor{x}, attrs: pointAttrs([]string{"Add"}, []int64{0, 0}, 0)},
		{in: []*Tensor{x}, attrs: pointAttrs([]string{"Add"}, []int64{0}, 1)},
	} {
		o.domain, o.op, o.out = graph.Asdl, "Pointwise", []Spec{outLike[float32](2, 3, 4)}
		if _, _, err := o.prepare(t); err == nil {
			t.Errorf("%v accepted", o.attrs)
		}
	}
}

func pointAttrs(ops []string, args []int64, result int64) []graph.Attr {
	return []graph.Attr{graph.Ss("ops", ops...), graph.Is("args", args...), graph.Is("results", result)}
}
