package passes_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/asdlc/asdlc/passes/pass"
)

// TestAverage: the state average is the debiased moving average of the parameters, under any method.
func TestAverage(t *testing.T) {
	n := sequenceNet(true)
	for _, name := range []string{"sgd", "splus", "muon"} {
		rng := rand.New(rand.NewPCG(41, 5))
		s := instrument(t, source(n.body, n.params(rng)), record(t, name, "update.average=0.7"), pass.Options{})
		kinds := map[string]string{}
		for _, st := range s.session.States() {
			kinds[st.In] = st.Kind + " " + st.Of
		}
		sums := map[string][]float64{}
		for k := range 6 {
			out := s.step(n.batch(rng, 5))
			for p := range n.shapes {
				w := out[p+"/next"].v
				if sums[p] == nil {
					sums[p] = make([]float64, len(w))
				}
				want := make([]float64, len(w))
				for i, x := range w {
					sums[p][i] = 0.7*sums[p][i] + 0.3*x
					want[i] = sums[p][i] / (1 - math.Pow(0.7, float64(k+1)))
				}
				near(t, fmt.Sprint(name, " step ", k, ": ", p), out["asdl/"+p+"/average/next"].v, want, 1e-12)
				if got := kinds["asdl/"+p+"/average"]; got != "average "+p {
					t.Errorf("%s: the average of %s is of kind %q", name, p, got)
				}
			}
		}
	}
}
