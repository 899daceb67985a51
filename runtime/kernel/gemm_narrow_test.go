package kernel

import (
	"math/rand/v2"
	"testing"

	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// TestGemmNarrow reaches both ways of forming narrow products, with several blocks of k, in all forms.
func TestGemmNarrow(t *testing.T) {
	forEachSet(t, func(t *testing.T, k *amd64.Kernels) {
		rng := rand.New(rand.NewPCG(51, 52))
		for _, workers := range []int{1, 3} {
			p := newTestPool(t, workers, k)
			for _, s := range []gemmCase{
				{m: 40, n: 9, k: 2100},
				{m: 9, n: 40, k: 1500},
				{m: 100, n: 3, k: 1030},
				{m: 5, n: 11, k: 65},
				{m: 12, n: 12, k: 128},
				{m: 3000, n: 2, k: 130},
				{m: 16, n: 900, k: 64},
				{m: 17, n: 16, k: 300},
				{m: 70, n: 12, k: 1},
				{m: 2, n: 2, k: 4099},
			} {
				for form := range 4 {
					s.transA, s.transB = form&1 != 0, form&2 != 0
					s.pad, s.alpha, s.beta = 0, 1, 0
					checkGemm[float32](t, p, rng, s)
					s.pad, s.alpha, s.beta = 3, -2, 0.5
					checkGemm[float32](t, p, rng, s)
					checkGemm[float64](t, p, rng, s)
				}
			}
		}
	})
}
