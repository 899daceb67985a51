package kernel

import (
	"math/rand/v2"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

func checkConvWeightGrad[T amd64.Float](t *testing.T, g convCase, rng *rand.Rand, p *Pool) {
	t.Helper()
	out := g.convOut()
	x := randomTensor[T](rng, append([]int{g.images, g.groups * g.ins}, g.in...)...)
	dy := randomTensor[T](rng, append([]int{g.images, g.groups * g.outs}, out...)...)
	shape := append([]int{g.groups * g.outs, g.ins}, g.kernel...)
	o := opCase{domain: graph.Asdl, op: "ConvWeightGrad", in: []*Tensor{x, dy}, attrs: g.attrs(), pool: p, out: []Spec{outLike[T](shape...)}}
	want := make([]float64, Count(shape))
	places, size, kernels := Count(out), Count(g.in), Count(g.kernel)
	xs, gs := Data[T](x), Data[T](dy)
	g.eachTap(out, g.in, func(place, k, at int) {
		for n := range g.images {
			for m := range g.groups * g.outs {
				for c := range g.ins {
					want[(m*g.ins+c)*kernels+k] += float64(xs[((n*g.groups+m/g.outs)*g.ins+c)*size+at]) * float64(gs[(n*g.groups*g.outs+m)*places+place])
				}
			}
		}
	})
	wantClose[T](t, g.String(), o.run(t)[0], want, tolerance[T](float64(g.images*places+8)))
	if n := o.allocs(t); n != 0 {
		t.Errorf("%v: %v allocations per run", g, n)
	}
}

func TestConvWeightGradRandom(t *testing.T) {
	forPools(t, func(t *testing.T, p *Pool) {
		rng := rand.New(rand.NewPCG(21, 22))
		for range 300 {
			g := randomConv(rng)
			if g.convOut() != nil {
				checkConvWeightGrad[float32](t, g, rng, p)
				checkConvWeightGrad[float64](t, g, rng, p)
			}
		}
	})
}

// Several blocks of places, of images, of columns; images in bands; kernels wider than the lines of places.
func TestConvWeightGradSizes(t *testing.T) {
	ones, none := []int{1, 1}, []int{0, 0}
	for _, g := range []convCase{
		{images: 3, groups: 1, ins: 40, outs: 70, in: []int{20, 21}, kernel: []int{3, 3}, stride: ones, dilation: ones, padLo: ones, padHi: ones},
		{images: 40, groups: 1, ins: 30, outs: 50, in: []int{4, 4}, kernel: []int{3, 3}, stride: ones, dilation: ones, padLo: ones, padHi: ones},
		{images: 2, groups: 1, ins: 3, outs: 20, in: []int{230, 231}, kernel: []int{7, 7}, stride: []int{2, 2}, dilation: ones, padLo: []int{3, 3}, padHi: []int{3, 3}},
		{images: 9, groups: 2, ins: 8, outs: 16, in: []int{5, 5}, kernel: ones, stride: ones, dilation: ones, padLo: none, padHi: none},
		{images: 3, groups: 1, ins: 16, outs: 14, in: []int{6, 6}, kernel: []int{6, 6}, stride: ones, dilation: ones, padLo: none, padHi: none},
		{images: 2, groups: 20, ins: 1, outs: 1, in: []int{12, 13}, kernel: []int{5, 5}, stride: []int{2, 2}, dilation: ones, padLo: []int{2, 2}, padHi: []int{2, 2}},
	} {
		forPools(t, func(t *testing.T, p *Pool) { checkConvWeightGrad[float32](t, g, rand.New(rand.NewPCG(1, 1)), p) })
	}
}

func checkPatches[T amd64.Float](t *testing.T, g convCase, rng *rand.Rand, p *Pool) {
	t.Helper()
	out := g.convOut()
	x := randomTensor[T](rng, append([]int{g.images, g.ins}, g.in...)...)
	attrs := g.attrs()[1:]
	places, size, kernels := Count(out), Count(g.in), Count(g.kernel)
	k, rows, xs := g.ins*kernels, g.images*places, Data[T](x)
	patches := make([]float64, rows*k)
	g.eachTap(out, g.in, func(place, tap, at int) {
		for n := range g.images {
			for c := range g.ins {
				patches[(n*places+place)*k+c*kernels+tap] = float64(xs[(n*g.ins+c)*size+at])
			}
		}
	})
	sum, gram := make([]float64, k), make([]float64, k*k)
	for r := range rows {
		row := patches[r*k : (r+1)*k]
		for i, a := range row {
			sum[i] += a
			for j, b := range row {
				gram[i*k+j] += a * b
			}
		}
	}
	for _, o := range []opCase{
		{op: "PatchGram", out: []Spec{outLike[T](k, k)}}, {op: "PatchSum", out: []Spec{outLike[T](1, k)}},
	} {
		o.domain, o.in, o.attrs, o.pool = graph.Asdl, []*Tensor{x}, attrs, p
		want := gram
		if o.op == "PatchSum" {
			want = sum
		}
		wantClose[T](t, o.op+" "+g.String(), o.run(t)[0], want, tolerance[T](float64(rows+8)))
		if n := o.allocs(t); n != 0 {
			t.Errorf("%v: %v allocations per run", g, n)
		}
	}
}

func TestPatches(t *testing.T) {
	forPools(t, func(t *testing.T, p *Pool) {
		rng := rand.New(rand.NewPCG(31, 32))
		for range 150 {
			g := randomConv(rng)
			if g.groups = 1; g.convOut() != nil {
				checkPatches[float32](t, g, rng, p)
				checkPatches[float64](t, g, rng, p)
			}
		}
		ones := []int{1, 1}
		checkPatches[float32](t, convCase{images: 2, groups: 1, ins: 30, in: []int{12, 11}, kernel: []int{3, 3}, stride: ones, dilation: ones, padLo: ones, padHi: ones}, rng, p)
		checkPatches[float32](t, convCase{images: 1, groups: 1, ins: 3, in: []int{230, 231}, kernel: []int{7, 7}, stride: []int{2, 2}, dilation: ones, padLo: ones, padHi: ones}, rng, p)
	})
}
