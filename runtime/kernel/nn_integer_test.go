package kernel

import (
	"slices"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
)

func TestGemmInt(t *testing.T) {
	a, b, c := Of([]int32{1, 2, 3, 4, 5, 6}, 3, 2), Of([]int32{7, 8, 9, 10, 11, 12}, 2, 3), Of([]int32{100, 200}, 2, 1)
	o := opCase{
		op: "Gemm", in: []*Tensor{a, b, c}, out: []Spec{outLike[int32](2, 2)},
		attrs: []graph.Attr{graph.I("transA", 1), graph.I("transB", 1), graph.F("alpha", 2), graph.F("beta", -1)},
	}
	// A^T = [1 3 5; 2 4 6], B^T = [7 10; 8 11; 9 12]
	if got, want := Data[int32](o.run(t)[0]), []int32{2*76 - 100, 2*103 - 100, 2*100 - 200, 2*136 - 200}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	o.attrs[2] = graph.F("alpha", 0.5)
	if err := o.mustFail(t); !strings.Contains(err.Error(), "whole") {
		t.Error(err)
	}
}

func TestEinsumInt(t *testing.T) {
	big := int64(1) << 60 // float64 would lose the last digits
	a, b := Of([]int64{big + 1, 2, 3, 4}, 2, 2), Of([]int64{1, 1, -1, 2}, 2, 2)
	for _, c := range []struct {
		equation string
		in       []*Tensor
		shape    []int
		want     []int64
	}{
		{"ij,jk->ik", []*Tensor{a, b}, []int{2, 2}, []int64{big - 1, big + 5, -1, 11}},
		{"ij,ij->", []*Tensor{a, b}, []int{}, []int64{big + 1 + 2 - 3 + 8}},
		{"ii->i", []*Tensor{a}, []int{2}, []int64{big + 1, 4}},
		{"ij->ji", []*Tensor{a}, []int{2, 2}, []int64{big + 1, 3, 2, 4}},
		{"i...,k,k->...", []*Tensor{a, Of([]int64{1, 2}, 2), Of([]int64{3, 4}, 2)}, []int{2}, []int64{11 * (big + 4), 66}},
	} {
		o := opCase{op: "Einsum", in: c.in, out: []Spec{outLike[int64](c.shape...)}, attrs: []graph.Attr{graph.S("equation", c.equation)}}
		if got := Data[int64](o.run(t)[0]); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.equation, got, c.want)
		}
	}
}

func TestCol2ImInt(t *testing.T) {
	x := New(graph.Int16, 1, 4, 4)
	for i := range Data[int16](x) {
		Data[int16](x)[i] = int16(i)
	}
	o := opCase{op: "Col2Im", in: []*Tensor{x, Of([]int64{3, 3}, 2), Of([]int64{2, 2}, 2)}, constant: []int{1, 2}, out: []Spec{outLike[int16](1, 1, 3, 3)}}
	// image[y,x] is the sum of the columns' entries block[dy,dx] at place [y-dy, x-dx].
	want := []int16{0, 1 + 4, 5, 2 + 8, 3 + 6 + 9 + 12, 7 + 13, 10, 11 + 14, 15}
	if got := Data[int16](o.run(t)[0]); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
