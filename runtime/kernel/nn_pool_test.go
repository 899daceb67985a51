package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// poolOut is the spatial shape of a pooling operator, or nil when the kernel does not fit.
func (g convCase) poolOut(ceil bool) []int {
	out := g.convOut()
	for i := range out {
		room := g.in[i] + g.padLo[i] + g.padHi[i] - (g.kernel[i]-1)*g.dilation[i] - 1
		if ceil && room%g.stride[i] != 0 && out[i]*g.stride[i] < g.in[i]+g.padLo[i] {
			out[i]++
		}
	}
	return out
}

func TestPools(t *testing.T) {
	forPools(t, func(t *testing.T, p *Pool) {
		rng := rand.New(rand.NewPCG(13, 14))
		for range 300 {
			g := randomConv(rng)
			for i, k := range g.kernel {
				g.padLo[i], g.padHi[i] = min(g.padLo[i], k-1), min(g.padHi[i], k-1)
			}
			ceil := rng.IntN(2) == 0
			if g.poolOut(ceil) == nil {
				continue
			}
			checkMaxPool[float32](t, g, ceil, rng, p)
			checkMaxPool[float64](t, g, ceil, rng, p)
			checkAveragePool[float32](t, g, ceil, rng, p)
			checkAveragePool[float64](t, g, ceil, rng, p)
		}
	})
}

func (g convCase) poolCase(op string, ceil bool, p *Pool) opCase {
	o := opCase{op: op, pool: p}
	for _, a := range g.attrs() {
		if a.Name != "group" {
			o.attrs = append(o.attrs, a)
		}
	}
	if ceil {
		o.attrs = append(o.attrs, graph.I("ceil_mode", 1))
	}
	return o
}

func checkMaxPool[T amd64.Float](t *testing.T, g convCase, ceil bool, rng *rand.Rand, p *Pool) {
	t.Helper()
	out := g.poolOut(ceil)
	places, size := Count(out), Count(g.in)
	x := randomTensor[T](rng, append([]int{g.images, g.ins}, g.in...)...)
	data := Data[T](x)
	if rng.IntN(5) == 0 {
		data[rng.IntN(len(data))] = T(math.NaN())
	}
	if rng.IntN(5) == 0 {
		for i := range data {
			data[i] = T(math.Inf(-1))
		}
	}
	order := rng.IntN(2)
	want, index := make([]float64, g.images*g.ins*places), make([]int64, g.images*g.ins*places)
	for i := range index {
		index[i] = -1
	}
	g.eachTap(out, g.in, func(place, _, at int) {
		for plane := range g.images * g.ins {
			i, v := plane*places+place, float64(data[plane*size+at])
			if index[i] < 0 || v > want[i] || math.IsNaN(v) && !math.IsNaN(want[i]) {
				want[i], index[i] = v, int64(plane*size+at)
			}
		}
	})
	for i := range index {
		if index[i] < 0 {
			return // a window in the padding alone, which is refused
		}
		if order == 1 {
			plane, at, step, total := int(index[i])/size*size, int(index[i])%size, size, 0
			for d := len(g.in) - 1; d >= 0; d-- {
				step /= g.in[d]
				total += at % g.in[d] * step
				at /= g.in[d]
			}
			index[i] = int64(plane + total)
		}
	}
	o := g.poolCase("MaxPool", ceil, p)
	o.attrs = append(o.attrs, graph.I("storage_order", int64(order)))
	o.in, o.out = []*Tensor{x}, []Spec{outLike[T](append([]int{g.images, g.ins}, out...)...)}
	wantClose[T](t, g.String(), o.run(t)[0], want, 0)
	o.out = append(o.out, outLike[int64](o.out[0].Shape...))
	got := o.run(t)
	wantClose[T](t, g.String(), got[0], want, 0)
	for i, v := range Data[int64](got[1]) {
		if v != index[i] {
			t.Fatalf("%v: index %d is %d, want %d", g, i, v, index[i])
		}
	}
	if n := o.allocs(t); n != 0 {
		t.Errorf("%v: %v allocations per run", g, n)
	}
}

func checkAveragePool[T amd64.Float](t *testing.T, g convCase, ceil bool, rng *rand.Rand, p *Pool) {
	t.Helper()
	out := g.poolOut(ceil)
	places, size := Count(out), Count(g.in)
	x := randomTensor[T](rng, append([]int{g.images, g.ins}, g.in...)...)
	want, count := make([]float64, g.images*g.ins*places), make([]float64, places)
	withPad := rng.IntN(2) == 0
	g.eachTap(out, g.in, func(place, _, at int) {
		count[place]++
		for plane := range g.images * g.ins {
			want[plane*places+place] += float64(Data[T](x)[plane*size+at])
		}
	})
	if withPad { // the same windows over the padded image, of which they touch every element
		clear(count)
		padded := g
		padded.in, padded.padLo = nil, make([]int, len(g.in))
		for i, n := range g.in {
			padded.in = append(padded.in, n+g.padLo[i]+g.padHi[i])
		}
		padded.eachTap(out, padded.in, func(place, _, _ int) { count[place]++ })
	}
	for i := range want {
		if n := count[i%places]; n > 0 {
			want[i] /= n
		}
	}
	o := g.poolCase("AveragePool", ceil, p)
	if withPad {
		o.attrs = append(o.attrs, graph.I("count_include_pad", 1))
	}
	o.in, o.out = []*Tensor{x}, []Spec{outLike[T](append([]int{g.images, g.ins}, out...)...)}
	wantClose[T](t, fmt.Sprint(g, ceil, withPad), o.run(t)[0], want, tolerance[T](200))
	if n := o.allocs(t); n != 0 {
		t.Errorf("%v: %v allocations per run", g, n)
	}
}

func TestGlobalPools(t *testing.T) {
	x := Of([]float32{1, 2, 3, 6, -1, -2, -3, -2}, 1, 2, 2, 2)
	for op, want := range map[string][]float64{"GlobalAveragePool": {3, -2}, "GlobalMaxPool": {6, -1}} {
		o := opCase{op: op, in: []*Tensor{x}, out: []Spec{outLike[float32](1, 2, 1, 1)}}
		wantClose[float32](t, op, o.run(t)[0], want, 0)
		if n := o.allocs(t); n != 0 {
			t.Errorf("%s: %v allocations per run", op, n)
		}
	}
}

// TestGlobalMeans compares with sums in float64, for planes shorter and longer than what vector kernels take at once.
func TestGlobalMeans(t *testing.T) {
	forPools(t, func(t *testing.T, p *Pool) {
		rng := rand.New(rand.NewPCG(15, 16))
		for _, size := range []int{1, 7, 49, 64, 1000, 1024, 1025} {
			for _, planes := range [][]int{{1, 1}, {3, 5}, {2, 37}, {0, 4}} {
				x := randomTensor[float32](rng, append(planes, size)...)
				want := make([]float64, Count(planes))
				for i, v := range Data[float32](x) {
					want[i/size] += float64(v) / float64(size)
				}
				o := opCase{op: "GlobalAveragePool", in: []*Tensor{x}, out: []Spec{outLike[float32](append(planes, 1)...)}, pool: p}
				wantClose[float32](t, fmt.Sprint(planes, size), o.run(t)[0], want, 1e-5)
				if n := o.allocs(t); n != 0 {
					t.Errorf("%v, %d: %v allocations per run", planes, size, n)
				}
			}
		}
	})
}

// TestMaxPoolGrad compares with additions one by one, in windows that overlap.
func TestMaxPoolGrad(t *testing.T) {
	forPools(t, func(t *testing.T, p *Pool) {
		rng := rand.New(rand.NewPCG(17, 18))
		for _, shape := range [][]int{{1, 1, 1}, {2, 3, 4, 5}, {7, 5, 9}, {0, 3, 2}} {
			const size = 11
			g := randomTensor[float64](rng, Count(shape))
			index, total := New(graph.Int64, shape...), shape[0]*shape[1]*size
			want := make([]float64, total)
			for i, v := range Data[float64](g) {
				e := i/Count(shape[2:])*size + rng.IntN(size)
				Data[int64](index)[i] = int64(e)
				want[e] += v
			}
			o := opCase{domain: graph.Asdl, op: "MaxPoolGrad", in: []*Tensor{g, index, Of([]int64{int64(total)}, 1)}, out: []Spec{outLike[float64](total)}, pool: p}
			wantClose[float64](t, fmt.Sprint(shape), o.run(t)[0], want, 1e-12)
		}
	})
}

func TestMaxPoolBytes(t *testing.T) {
	o := opCase{op: "MaxPool", in: []*Tensor{Of([]uint8{1, 200, 3, 4}, 1, 1, 4)}, out: []Spec{outLike[uint8](1, 1, 2)}}
	o.attrs = []graph.Attr{graph.Is("kernel_shape", 2), graph.Is("strides", 2)}
	if got := fmt.Sprint(Data[uint8](o.run(t)[0])); got != "[200 4]" {
		t.Error(got)
	}
}

func TestLpPool(t *testing.T) {
	o := opCase{op: "LpPool", in: []*Tensor{Of([]float32{3, -4, 0, 2}, 1, 1, 4)}, out: []Spec{outLike[float32](1, 1, 2)}}
	o.attrs = []graph.Attr{graph.Is("kernel_shape", 2), graph.Is("strides", 2)}
	wantClose[float32](t, "LpPool", o.run(t)[0], []float64{5, 2}, 1e-6)
}
