package method

import "testing"

// TestProof: each row of the table says where its equations stand and which tests compare it with something independent.
func TestProof(t *testing.T) {
	for _, r := range table {
		if r.Equations == "" || r.Oracles == "" {
			t.Errorf("method %s: give its row Equations (paper, equation) and Oracles (names of tests)", r.Name)
		}
	}
}

// TestExtraPasses: each source of curvature has a row that says what it computes.
func TestExtraPasses(t *testing.T) {
	for _, c := range choices {
		if c.Field != "curvature.source" {
			continue
		}
		for _, source := range c.Values {
			n := 0
			for _, e := range extras {
				if e.Source == source {
					n++
				}
			}
			if n != 1 {
				t.Errorf("curvature.source %s has %d rows in the table extras, want 1", source, n)
			}
		}
	}
	if got, want := with(t, "kfac", "curvature.samples=3").ExtraPasses(), "3 backward, from sampled labels to layer outputs"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
