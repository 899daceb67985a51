package kernel

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"gonum.org/v1/gonum/mat"
)

func TestDet(t *testing.T) {
	rng := rand.New(rand.NewPCG(37, 38))
	for _, n := range []int{1, 2, 3, 7, 20} {
		x := randomTensor[float64](rng, 3, n, n)
		var want []float64
		for i := range 3 {
			want = append(want, mat.Det(mat.NewDense(n, n, append([]float64{}, Data[float64](x)[i*n*n:(i+1)*n*n]...))))
		}
		o := opCase{op: "Det", in: []*Tensor{x}, out: []Spec{outLike[float64](3)}}
		wantClose[float64](t, "Det", o.run(t)[0], want, 1e-11)
	}
	singular := Of([]float32{1, 2, 2, 4, 0, 1, float32(math.NaN()), 1}, 2, 2, 2)
	o := opCase{op: "Det", in: []*Tensor{singular}, out: []Spec{outLike[float32](2)}}
	wantClose[float32](t, "singular and NaN", o.run(t)[0], []float64{0, math.NaN()}, 0)
	if n := o.allocs(t); n != 0 {
		t.Errorf("%v allocations per run", n)
	}
}

// TestCol2Im compares with the definition over random geometries.
func TestCol2Im(t *testing.T) {
	rng := rand.New(rand.NewPCG(39, 40))
	for range 100 {
		g := randomConv(rng)
		places := g.convOut()
		if places == nil {
			continue
		}
		kernels, size, length := Count(g.kernel), Count(g.in), Count(places)
		x := randomTensor[float64](rng, g.images, g.ins*kernels, length)
		want := make([]float64, g.images*g.ins*size)
		g.eachTap(places, g.in, func(place, k, at int) {
			for plane := range g.images * g.ins {
				want[plane*size+at] += Data[float64](x)[(plane*kernels+k)*length+place]
			}
		})
		o := opCase{op: "Col2Im", in: []*Tensor{x, constInts64(g.in), constInts64(g.kernel)}}
		if rng.IntN(2) == 0 {
			o.constant = []int{1, 2}
		}
		for _, a := range g.attrs() {
			if a.Name != "group" && a.Name != "kernel_shape" {
				o.attrs = append(o.attrs, a)
			}
		}
		o.out = []Spec{outLike[float64](append([]int{g.images, g.ins}, g.in...)...)}
		wantClose[float64](t, g.String(), o.run(t)[0], want, 1e-13)
		if n := o.allocs(t); n != 0 {
			t.Errorf("%v allocations per run", n)
		}
	}
	opCase{op: "Col2Im", in: []*Tensor{New(graph.Float32, 1, 4, 2), Of([]int64{2, 2}, 2), Of([]int64{2, 2}, 2)}, out: []Spec{outLike[float32](1, 1, 2, 2)}}.mustFail(t)
}

func constInts64(s []int) *Tensor {
	t := New(graph.Int64, len(s))
	for i, v := range s {
		Data[int64](t)[i] = int64(v)
	}
	return t
}
