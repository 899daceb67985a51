package autodiff_test

import "testing"

func TestRules(t *testing.T) {
	for i := range specs {
		s := &specs[i]
		t.Run(s.title(), s.run)
	}
}

func TestRulesWithOpenShapes(t *testing.T) {
	for i := range specs {
		s := &specs[i]
		if s.open != "static" {
			t.Run(s.title(), s.runOpen)
		}
	}
}

func TestRulesInSinglePrecision(t *testing.T) {
	for i := range specs {
		s := &specs[i]
		t.Run(s.title(), s.runSingle)
	}
}
