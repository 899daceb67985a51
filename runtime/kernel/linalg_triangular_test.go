package kernel

import (
	"math/rand/v2"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
	"gonum.org/v1/gonum/mat"
)

func TestUpperInverse(t *testing.T) {
	forPools(t, func(t *testing.T, p *Pool) {
		testUpperInverse[float32](t, p)
		testUpperInverse[float64](t, p)
	})
}

// testUpperInverse compares with gonum, for sizes around the edges of blocks; what is below the diagonal is garbage.
func testUpperInverse[T amd64.Float](t *testing.T, pool *Pool) {
	rng := rand.New(rand.NewPCG(41, 42))
	for _, n := range []int{1, 2, 31, 32, 33, 64, 65, 130} {
		q, garbage := upperMatrix(rng, n)
		var want mat.Dense
		if err := want.Inverse(q); err != nil {
			t.Fatal(err)
		}
		o := opCase{domain: graph.Asdl, op: "UpperInverse", in: []*Tensor{tensorOf[T](garbage)}, out: []Spec{outLike[T](n, n)}, pool: pool}
		if e := relative(denseOf[T](o.run(t)[0]), &want); e > 50*epsilon[T]() {
			t.Errorf("side %d: relative error %g", n, e)
		}
		if got := o.allocs(t); got != 0 {
			t.Errorf("side %d: %v allocations per run", n, got)
		}
	}
}
