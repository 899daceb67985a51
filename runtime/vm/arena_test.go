package vm

import (
	"math/rand/v2"
	"testing"
)

// All layouts keep blocks apart that live at the same time, and stay within 15 % above the bound on random lives.
func TestLayout(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 3))
		const steps = 60
		lives := make([]life, 80)
		for i := range lives {
			def := rng.IntN(steps)
			lives[i] = life{def: def, last: min(steps, def+rng.IntN(15)), size: align * (1 + rng.IntN(20))}
		}
		size, bound := layout(lives, steps)
		if size < bound {
			t.Fatalf("seed %d: %d bytes for a bound of %d", seed, size, bound)
		}
		apart(t, lives, size)
		if float64(size) > 1.15*float64(bound) {
			t.Errorf("seed %d: %d bytes for a bound of %d", seed, size, bound)
		}
		s, _ := bestFit(lives, steps)
		apart(t, lives, s)
		top := place(lives, largestFirst(lives))
		apart(t, lives, lives[top].off+lives[top].size)
	}
}

func apart(t *testing.T, lives []life, size int) {
	t.Helper()
	for i, a := range lives {
		if a.off%align != 0 || a.off < 0 || a.off+a.size > size {
			t.Fatalf("block %+v does not fit in %d", a, size)
		}
		for _, b := range lives[:i] {
			if a.def <= b.last && b.def <= a.last && a.off < b.off+b.size && b.off < a.off+a.size {
				t.Fatalf("blocks %+v and %+v overlap", a, b)
			}
		}
	}
}
