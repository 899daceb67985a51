package kernel

import (
	"math/rand/v2"
	"testing"

	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// TestDepthwise checks one input channel a group on every set of kernels: several outputs of each, lines taken together and
// one by one, images in bands, strides, dilations, one and three dimensions.
func TestDepthwise(t *testing.T) {
	ones, none := []int{1, 1}, []int{0, 0}
	cases := []convCase{
		{images: 3, groups: 7, ins: 1, outs: 1, in: []int{13, 17}, kernel: []int{3, 3}, stride: ones, dilation: ones, padLo: ones, padHi: ones, bias: true},
		{images: 2, groups: 3, ins: 1, outs: 4, in: []int{9, 70}, kernel: []int{5, 4}, stride: ones, dilation: []int{1, 2}, padLo: []int{2, 0}, padHi: []int{1, 3}},
		{images: 2, groups: 5, ins: 1, outs: 2, in: []int{12, 15}, kernel: []int{3, 3}, stride: []int{2, 2}, dilation: ones, padLo: ones, padHi: none, bias: true},
		{images: 1, groups: 2, ins: 1, outs: 1, in: []int{11, 40}, kernel: []int{3, 3}, stride: []int{3, 1}, dilation: []int{2, 1}, padLo: none, padHi: none},
		{images: 1, groups: 2, ins: 1, outs: 1, in: []int{400, 401}, kernel: []int{3, 3}, stride: ones, dilation: ones, padLo: ones, padHi: ones},
		{images: 2, groups: 4, ins: 1, outs: 3, in: []int{33}, kernel: []int{7}, stride: []int{2}, dilation: []int{1}, padLo: []int{3}, padHi: []int{3}, bias: true},
		{images: 2, groups: 3, ins: 1, outs: 1, in: []int{4, 5, 6}, kernel: []int{2, 3, 3}, stride: []int{1, 1, 1}, dilation: []int{1, 1, 1}, padLo: []int{1, 1, 1}, padHi: []int{0, 1, 1}},
		{images: 4, groups: 3, ins: 1, outs: 2, in: []int{8, 8}, kernel: ones, stride: ones, dilation: ones, padLo: none, padHi: none},
	}
	for _, set := range amd64.Available() {
		t.Run(set.Name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(61, 62))
			for _, workers := range []int{1, 3} {
				p := newTestPool(t, workers, set)
				for _, g := range cases {
					checkConv[float32](t, g, rng, p)
					checkConvTranspose[float32](t, g, rng, p)
					checkConvWeightGrad[float32](t, g, rng, p)
					checkConv[float64](t, g, rng, p)
					checkConvTranspose[float64](t, g, rng, p)
					checkConvWeightGrad[float64](t, g, rng, p)
				}
			}
		})
	}
}
