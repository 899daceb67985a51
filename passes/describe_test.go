package passes_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/passes"
	"github.com/asdlc/asdlc/passes/method"
)

// TestStateShapes compares the shapes that are told with those of the papers, in symbols.
func TestStateShapes(t *testing.T) {
	for name, kinds := range map[string]map[string]string{
		"sgd":  {"linear": "W: momentum o×i; b: momentum o", "parameter": "W: momentum m×n"},
		"adam": {"conv": "W: v o×c×kh×kw, m o×c×kh×kw; b: v o, m o", "embedding": "W: v V×d, m V×d"},
		"kfac": {
			"linear":    "W b: A (i+1)×(i+1), S o×o, weight scalar, A_inv (i+1)×(i+1), S_inv o×o, momentum o×i, momentum of b o",
			"conv":      "W b: A (i+1)×(i+1), S o×o, weight scalar, A_inv (i+1)×(i+1), S_inv o×o, momentum o×c×kh×kw, momentum of b o",
			"layernorm": "W b: F c×2×2, weight scalar, F_inv c×2×2, momentum c, momentum of b c",
			"embedding": "W: A V, S d×d, weight scalar, A_inv V, S_inv d×d, momentum V×d",
			"parameter": "W: momentum m×n",
		},
		"shampoo": {"linear": "W: stat0 o×o, stat1 i×i, root0 o×o, root1 i×i, v o×i, momentum o×i; b: v o, momentum o"},
		"muon":    {"linear": "W: m o×i; b: v o, m o", "embedding": "W: v V×d, m V×d"},
	} {
		got := map[string]string{}
		for _, k := range passes.StateShapes(record(t, name)) {
			var blocks []string
			for _, b := range k.Blocks {
				var slots []string
				for _, s := range b.State {
					slots = append(slots, s.Slot+" "+s.Shape)
				}
				blocks = append(blocks, strings.Join(b.Params, " ")+": "+strings.Join(slots, ", "))
			}
			got[k.Kind] = strings.Join(blocks, "; ") + k.Error
		}
		for kind, want := range kinds {
			if got[kind] != want {
				t.Errorf("%s, %s: %s\nwant %s", name, kind, got[kind], want)
			}
		}
	}
}

// TestStateShapesOfAll: every method can be told of, and no shape is one of a number that should be a symbol.
func TestStateShapesOfAll(t *testing.T) {
	for _, name := range method.Names() {
		for _, k := range passes.StateShapes(record(t, name)) {
			if k.Error == "" && len(k.Blocks) == 0 {
				t.Errorf("%s, %s: neither state nor error", name, k.Kind)
			}
			for _, b := range k.Blocks {
				for _, s := range b.State {
					for _, size := range []string{"19", "20", "29", "31", "41", "43", "47", "105", "106"} {
						if strings.Contains(fmt.Sprintf("×%s×", s.Shape), "×"+size+"×") {
							t.Errorf("%s, %s: %s %s", name, k.Kind, s.Slot, s.Shape)
						}
					}
				}
			}
		}
	}
}
