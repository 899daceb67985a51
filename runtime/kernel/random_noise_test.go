package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// noiseCase is a draw of the generator of step graphs.
func noiseCase(op string, out Spec, pool *Pool) opCase {
	return opCase{
		domain: graph.Asdl, op: op, out: []Spec{out}, pool: pool,
		in:    []*Tensor{Of([]int64{int64(out.Len())}, 1), Of([]int64{-7}), Of([]int64{1 << 33})},
		attrs: []graph.Attr{graph.I("draw", 4), graph.I("first", 4), graph.I("second", 5)},
	}
}

// TestNoise: a draw has the same bits on every set of kernels and every number of workers, whose parts end anywhere, and a run
// allocates nothing.
func TestNoise(t *testing.T) {
	for _, op := range []string{"Uniform", "Normal"} {
		for _, n := range []int{0, 1, 15, 17, 1000, 30_011} {
			for _, out := range []Spec{outLike[float32](n), outLike[float64](n)} {
				want := noiseCase(op, out, newTestPool(t, 1, amd64.Portable())).run(t)[0]
				forEachSet(t, func(t *testing.T, k *amd64.Kernels) {
					for _, workers := range []int{1, 3} {
						o := noiseCase(op, out, newTestPool(t, workers, k))
						if got := o.run(t)[0]; !bytes.Equal(got.Raw, want.Raw) {
							t.Errorf("asdl.%s: %d numbers of type %s on %d workers differ", op, n, out.Elem, workers)
						}
					}
					if allocs := noiseCase(op, out, nil).allocs(t); allocs != 0 {
						t.Errorf("asdl.%s: %v allocations a run", op, allocs)
					}
				})
			}
		}
	}
}

// TestNoiseOfDraws: seed, step and each of the draws change the numbers; seed and step are scalars.
func TestNoiseOfDraws(t *testing.T) {
	out := outLike[float32](100)
	seen := map[string]string{}
	for _, op := range []string{"Uniform", "Normal"} {
		for i, change := range []func(o *opCase){
			func(o *opCase) {},
			func(o *opCase) { o.in[1] = Of([]int64{-8}) },
			func(o *opCase) { o.in[2] = Of([]int64{1<<33 + 1}) },
			func(o *opCase) { o.attrs = []graph.Attr{graph.I("draw", 5), graph.I("first", 4), graph.I("second", 6)} },
			func(o *opCase) { o.attrs = []graph.Attr{graph.I("draw", 6), graph.I("first", 3), graph.I("second", 5)} },
		} {
			o := noiseCase(op, out, nil)
			change(&o)
			raw, name := string(o.run(t)[0].Raw), fmt.Sprint(op, " ", i)
			if other, ok := seen[raw]; ok {
				t.Errorf("%s gives the numbers of %s", name, other)
			}
			seen[raw] = name
		}
		o := noiseCase(op, out, nil)
		o.in[1] = Of([]int64{1, 2}, 2)
		if err := o.mustFail(t); !errors.Is(err, graph.ErrInvalid) {
			t.Errorf("two seeds: %v", err)
		}
	}
}
