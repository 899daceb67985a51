package precondition

import (
	"math"
	"testing"

	"github.com/asdlc/asdlc/graph"
)

// TestRootTable: the rows take eigenvalues between the least one that they are for and 1 to eigenvalues that do not exceed 1 and
// end near it; in each of the first the errors of the best approximation alternate.
func TestRootTable(t *testing.T) {
	for p := 1; p <= 12; p++ {
		table := rootTable(p)
		flat := graph.Data[float64](table)
		rows := len(flat) / 3
		if rows > 9 {
			t.Errorf("p=%d: %d rows", p, rows)
		}
		for i := range 400 {
			m := math.Pow(rootSpread, float64(i)/399)
			for k := range rows + 1 {
				row := min(k, rows-1) // the last one twice
				m *= math.Pow(quadratic(flat[3*row:3*row+3]).at(m), float64(p))
				if !(m > 0 && m <= 1+1e-6) {
					t.Fatalf("p=%d: trip %d leads to %g", p, k, m)
				}
			}
			if math.Abs(m-1) > 1e-4 {
				t.Fatalf("p=%d: eigenvalue %g ends at %g", p, math.Pow(rootSpread, float64(i)/399), m)
			}
		}
	}
}

func TestBestRoot(t *testing.T) {
	for p := 1; p <= 8; p++ {
		for _, least := range []float64{1e-3, 0.1, 0.5} {
			q, e := bestRoot(p, least)
			var signs []float64
			for i := range 20001 {
				m := math.Pow(least, 1-float64(i)/20000)
				d := 1 - math.Pow(m, 1/float64(p))*q.at(m)
				if math.Abs(d) > e*(1+1e-4) {
					t.Fatalf("p=%d, least %g: error %g at %g, more than %g", p, least, d, m, e)
				}
				if math.Abs(d) > e*(1-1e-3) && (len(signs) == 0 || signs[len(signs)-1]*d < 0) {
					signs = append(signs, d)
				}
			}
			if len(signs) != 4 {
				t.Errorf("p=%d, least %g: the error alternates %d times, want 4", p, least, len(signs))
			}
		}
	}
}
