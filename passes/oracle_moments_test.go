package passes_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestMomentsAreDiagonals: the second moments of examples are the diagonals of the blocks of units, which TestUnitTwin proves, and the
// direction is the gradient divided by them and the damping. The step of a normalisation is by the diagonal of its blocks too.
func TestMomentsAreDiagonals(t *testing.T) {
	const lambda = 0.05
	for _, n := range allNets() {
		for _, source := range []string{"emp", "exact"} {
			set := []string{"accumulate.beta=0", "accumulate.debias=false", "solve.every=1", fmt.Sprint("damping=", lambda), "curvature.source=" + source}
			rng := rand.New(rand.NewPCG(1, 81))
			text, feeds := sourceOf(n, rng), n.batch(rng, 5)
			blocks := instrument(t, text, still(t, "unit-ng", set...), all).step(feeds)
			set = append(set, "representation.granularity=element", "representation.format=moments", "representation.max_bytes=0")
			s := instrument(t, text, still(t, "unit-ng", set...), all)
			out := s.step(feeds)
			compared := 0
			for name, d := range outputsOf(out, "asdl/", "/D/next") {
				f := blocks["asdl/"+name+"/F/next"]
				k := f.shape[len(f.shape)-1]
				want := newArray(d.shape...)
				for i := range want.v {
					want.v[i] = f.v[i/k*k*k+i%k*(k+1)]
				}
				near(t, n.name+", "+source+": "+name, d.v, want.v, 1e-11)
				compared++
				w, dir, grad := d.shape[0], out["precond/"+name+".weight"], out["grad/"+name+".weight"]
				if len(dir.shape) == 0 || strings.HasPrefix(name, "in") {
					continue // a weight of the other layout
				}
				for i, g := range grad.v {
					per := len(grad.v) / w
					near(t, n.name+", "+source+": direction of "+name, dir.v[i:i+1], []float64{g / (d.v[i/per*k+i%per] + lambda)}, 1e-9)
				}
			}
			if compared == 0 {
				t.Errorf("%s, %s: nothing compared", n.name, source)
			}
		}
	}
}

func sourceOf(n *net, rng *rand.Rand) string { return source(n.body, n.params(rng)) }
