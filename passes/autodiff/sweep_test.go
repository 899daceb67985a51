package autodiff_test

import (
	"slices"
	"testing"
)

// sweeps are specs for combinations of attributes.
func sweeps() []spec {
	return slices.Concat(convSweep(), poolSweep(), resizeSweep(), rnnSweep(), reduceSweep(), padSweep(), indexSweep(), einsumSweep(),
		normSweep(), lossSweep(), attentionSweep(), gridSweep())
}

// TestSweeps checks derivatives at first and second order over combinations of attributes.
func TestSweeps(t *testing.T) {
	for _, s := range sweeps() {
		t.Run(s.title(), func(t *testing.T) {
			s.run(t)
			if s.open != "static" {
				s.runOpen(t)
			}
		})
	}
}
