package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// naiveMatMul is numpy.matmul by the definition, in float64.
func naiveMatMul[T amd64.Float](a, b *Tensor, out []int, m, n, k int) []float64 {
	sa, sb := a.Shape, b.Shape
	if len(sa) == 1 {
		sa = []int{1, sa[0]}
	}
	if len(sb) == 1 {
		sb = []int{sb[0], 1}
	}
	x, y := Data[T](a), Data[T](b)
	res := make([]float64, Count(out))
	for i := range res {
		col, row, batch := i%n, i/n%m, i/(n*m)
		oa, ob, stepA, stepB := 0, 0, m*k, k*n
		rest := batch
		full, _ := broadcastBatch(sa[:len(sa)-2], sb[:len(sb)-2])
		for d := 1; d <= len(full); d++ {
			index := rest % full[len(full)-d]
			rest /= full[len(full)-d]
			if da := dimFromEnd(sa[:len(sa)-2], d); da != 1 {
				oa += index * stepA
				stepA *= da
			}
			if db := dimFromEnd(sb[:len(sb)-2], d); db != 1 {
				ob += index * stepB
				stepB *= db
			}
		}
		for l := range k {
			res[i] += float64(x[oa+row*k+l]) * float64(y[ob+l*n+col])
		}
	}
	return res
}

func TestMatMul(t *testing.T) {
	forPools(t, func(t *testing.T, p *Pool) {
		testMatMul[float32](t, p)
		testMatMul[float64](t, p)
	})
}

func testMatMul[T amd64.Float](t *testing.T, p *Pool) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		a, b, out []int
		m, n, k   int
	}{
		{[]int{3}, []int{3}, []int{}, 1, 1, 3},
		{[]int{2, 3}, []int{3}, []int{2}, 2, 1, 3},
		{[]int{3}, []int{3, 4}, []int{4}, 1, 4, 3},
		{[]int{3}, []int{5, 3, 4}, []int{5, 4}, 1, 4, 3},
		{[]int{5, 2, 3}, []int{3}, []int{5, 2}, 2, 1, 3},
		{[]int{7, 5}, []int{5, 3}, []int{7, 3}, 7, 3, 5},
		{[]int{4, 7, 5}, []int{5, 3}, []int{4, 7, 3}, 7, 3, 5},
		{[]int{7, 5}, []int{4, 5, 3}, []int{4, 7, 3}, 7, 3, 5},
		{[]int{2, 1, 7, 5}, []int{3, 5, 3}, []int{2, 3, 7, 3}, 7, 3, 5},
		{[]int{9, 17, 16}, []int{9, 16, 33}, []int{9, 17, 33}, 17, 33, 16},
		{[]int{2, 130, 140}, []int{2, 140, 150}, []int{2, 130, 150}, 130, 150, 140},
		{[]int{2, 0}, []int{0, 3}, []int{2, 3}, 2, 3, 0},
		{[]int{0, 4}, []int{4, 3}, []int{0, 3}, 0, 3, 4},
	} {
		a, b := randomTensor[T](rng, c.a...), randomTensor[T](rng, c.b...)
		o := opCase{op: "MatMul", in: []*Tensor{a, b}, out: []Spec{outLike[T](c.out...)}, pool: p}
		wantClose[T](t, fmt.Sprint(c.a, c.b), o.run(t)[0], naiveMatMul[T](a, b, c.out, c.m, c.n, c.k), tolerance[T](float64(c.k+4)))
		if n := o.allocs(t); n != 0 {
			t.Errorf("%v x %v: %v allocations per run", c.a, c.b, n)
		}
	}
}

func TestMatMulInt(t *testing.T) {
	o := opCase{
		op:  "MatMul",
		in:  []*Tensor{Of([]int64{1, 2, 3, 4}, 2, 2), Of([]int64{5, 6, 7, 8}, 2, 2)},
		out: []Spec{outLike[int64](2, 2)},
	}
	if got := fmt.Sprint(Data[int64](o.run(t)[0])); got != "[19 22 43 50]" {
		t.Error(got)
	}
}

func TestMatMulRefuses(t *testing.T) {
	x := New(graph.Float32, 2, 3)
	for _, b := range []*Tensor{New(graph.Float32, 2, 3), New(graph.Float32), New(graph.Float64, 3, 2)} {
		opCase{op: "MatMul", in: []*Tensor{x, b}, out: []Spec{outLike[float32](2, 2)}}.mustFail(t)
	}
	opCase{
		op: "MatMul", in: []*Tensor{New(graph.Float32, 2, 3, 4), New(graph.Float32, 3, 4, 5)},
		out: []Spec{outLike[float32](3, 3, 5)},
	}.mustFail(t)
}

func TestGemmOperator(t *testing.T) {
	testGemmOperator[float32](t)
	testGemmOperator[float64](t)
}

func testGemmOperator[T amd64.Float](t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	const m, n, k = 5, 7, 9
	for form := range 4 {
		transA, transB := form&1, form>>1
		a, b := randomTensor[T](rng, m, k), randomTensor[T](rng, k, n)
		if transA == 1 {
			a = randomTensor[T](rng, k, m)
		}
		if transB == 1 {
			b = randomTensor[T](rng, n, k)
		}
		for _, shape := range [][]int{nil, {}, {1}, {n}, {1, n}, {m, 1}, {m, n}, {1, 1}} {
			in := []*Tensor{a, b}
			full := make([]T, m*n)
			beta := 0.5
			if shape != nil {
				c := randomTensor[T](rng, shape...)
				in = append(in, c)
				rows := pick(dimFromEnd(shape, 2) == 1, 0, dimFromEnd(shape, 1))
				cols := pick(dimFromEnd(shape, 1) == 1, 0, 1)
				for i := range full {
					full[i] = Data[T](c)[i/n*rows+i%n*cols]
				}
			}
			lda, ldb := a.Shape[1], b.Shape[1]
			want := naiveGemm(transA == 1, transB == 1, m, n, k, T(2), Data[T](a), lda, Data[T](b), ldb, T(beta), full, n)
			o := opCase{op: "Gemm", in: in, out: []Spec{outLike[T](m, n)}, attrs: []graph.Attr{
				graph.I("transA", int64(transA)), graph.I("transB", int64(transB)), graph.F("alpha", 2), graph.F("beta", 0.5),
			}}
			wantClose[T](t, fmt.Sprint(form, shape), o.run(t)[0], want, tolerance[T](30))
			if n := o.allocs(t); n != 0 {
				t.Errorf("%v allocations per run", n)
			}
		}
	}
	opCase{op: "Gemm", in: []*Tensor{New(graph.Float32, 2, 3), New(graph.Float32, 3, 4), New(graph.Float32, 3)}, out: []Spec{outLike[float32](2, 4)}}.mustFail(t)
}
