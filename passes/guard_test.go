package passes_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/passes/pass"
)

// A step whose gradients are not finite is no step: it leaves parameters, running statistics and every state of the method
// as they were, bit for bit, is counted, and the steps after it are what they would have been without it.

// guardedModel is a model in text form with its batches.
type guardedModel struct {
	name  string
	text  string
	batch func(rng *rand.Rand) arrays
}

func guardedModels(t *testing.T) []guardedModel {
	var models []guardedModel
	for _, n := range []*net{mlpNet(), sequenceNet(true)} {
		models = append(models, guardedModel{n.name, source(n.body, n.params(rand.New(rand.NewPCG(1, 61)))), func(rng *rand.Rand) arrays { return n.batch(rng, 5) }})
	}
	text, batch := dropNet(t)
	return append(models, guardedModel{"batch normalisation and dropout", text, batch})
}

// poisoned is a batch with one input replaced.
func poisoned(feeds arrays, v float64) arrays {
	bad := feeds.clone()
	bad["x"].v[len(bad["x"].v)/2] = v
	return bad
}

// TestBadBatch (X16): every method, on models of all kinds of layers.
func TestBadBatch(t *testing.T) {
	for i, m := range guardedModels(t) {
		for name, rec := range every(t, "accumulate.every=2", "accumulate.warmup=1", "solve.every=2", "solve.warmup=1", "apply.kl_clip=0.001") {
			if name != "kfac emp" {
				rec.Update.Average = 0.9
			}
			for _, o := range []pass.Options{{}, {Batch: 1}} {
				if o.Batch == 1 && (i > 0 || !rec.Tapped()) {
					continue
				}
				what := fmt.Sprintf("%s, %s, batch %d", m.name, name, o.Batch)
				rng := rand.New(rand.NewPCG(2, 61))
				plain, hit := instrument(t, m.text, rec, o), instrument(t, m.text, rec, o)
				for k := range 3 {
					feeds := m.batch(rng)
					want := plain.step(feeds)
					before := hit.states()
					bad := hit.step(poisoned(feeds, []float64{math.NaN(), math.Inf(1)}[k%2]))
					sameBits(t, fmt.Sprintf("%s, bad batch %d", what, k), outputsOf(bad, "", "/next"), before)
					if guards(bad) <= before["asdl/guards"].v[0] {
						t.Errorf("%s, bad batch %d: nothing is counted", what, k)
					}
					sameBits(t, fmt.Sprintf("%s, step %d", what, k), hit.step(feeds), want)
					if t.Failed() {
						return
					}
				}
			}
		}
	}
}

// sameBits compares all arrays but the count of failures.
func sameBits(t *testing.T, what string, got, want arrays) {
	t.Helper()
	for name, w := range want {
		g, ok := got[name]
		if strings.HasPrefix(name, "asdl/guards") || ok && slices.Equal(g.v, w.v) {
			continue
		}
		t.Errorf("%s: %s is %v, want %v", what, name, g.v, w.v)
	}
}

// states are the present values of all states.
func (s *stepper) states() arrays {
	got := arrays{}
	for _, st := range s.session.States() {
		x, err := s.session.State(st.In)
		must(err)
		got[st.In] = fromTensor(x)
	}
	return got
}
