package passes_test

import (
	"fmt"
	"math"
	"testing"

	"gonum.org/v1/gonum/mat"
)

// TestShampooForms follows further representations and solvers over several steps.
func TestShampooForms(t *testing.T) {
	track := []string{"solve.kernel=track", "solve.tolerance=1e-14", "solve.iterations=100"}
	for _, c := range []struct {
		name      string
		shape, as []int
		set       []string
		power     float64
		tol       float64
	}{
		{"tracked eigenbases", []int{6, 4}, []int{6, 4}, track, 0, 1e-8},
		{"tracked eigenbases of a tensor", []int{3, 4, 2}, []int{3, 4, 2}, with(track, "representation.sides=modes"), 0, 1e-8},
		{"power -1", []int{4, 3}, []int{4, 3}, []string{"solve.power=-1"}, -1, 1e-9},
		{"power -1/4", []int{4, 3}, []int{4, 3}, []string{"solve.power=-0.25"}, -0.25, 1e-9},
		{"a convolution with one side for the kernel", []int{3, 2, 2, 2}, []int{3, 2, 4}, []string{"representation.sides=kernel"}, 0, 1e-9},
		{"a vector: AdaGrad with a full matrix", []int{5}, []int{5}, []string{"representation.vectors=full"}, 0, 1e-9},
	} {
		gs := series(61, 5, c.shape...)
		got := directionsOf(t, with(with(plainShampoo, "accumulate.init=0.3"), c.set...), "shampoo", gs...)
		tw := newShampooTwin(c.as, 0.3, 0, 0)
		tw.power = c.power
		for k, g := range gs {
			near(t, fmt.Sprintf("%s, step %d", c.name, k), got[k].v, tw.step(array{c.as, g.v}), c.tol)
		}
	}
}

// TestShampooDiagonalSide: a side that is too long has a diagonal factor of the same power; with both sides so, it is the
// product of two AdaGrads along rows and columns.
func TestShampooDiagonalSide(t *testing.T) {
	gs := series(62, 4, 5, 3)
	for _, limit := range []int{3, 1} {
		got := directionsOf(t, with(plainShampoo, "accumulate.init=0.3", "representation.on_exceed=diagonal", fmt.Sprint("representation.max_side=", limit)), "shampoo", gs...)
		rows, columns := addEye(mat.NewDense(5, 5, nil), 0.3), addEye(mat.NewDense(3, 3, nil), 0.3)
		for k, g := range gs {
			m := g.dense()
			rows.Add(rows, product(m, m.T()))
			columns.Add(columns, product(m.T(), m))
			left, right := symPower(diagonalOf(rows), -0.25), symPower(columns, -0.25)
			if limit < 3 {
				right = symPower(diagonalOf(columns), -0.25)
			}
			near(t, fmt.Sprintf("limit %d, step %d", limit, k), got[k].v, flat(product(left, m, right)), 1e-9)
		}
	}
}

func diagonalOf(m *mat.Dense) *mat.Dense {
	n, _ := m.Dims()
	d := mat.NewDense(n, n, nil)
	for i := range n {
		d.Set(i, i, m.At(i, i))
	}
	return d
}

// TestShampooAdaptiveRefresh: a basis is left alone while what is off the diagonal is below the tolerance.
func TestShampooAdaptiveRefresh(t *testing.T) {
	gs := series(63, 30, 6, 4)
	for tolerance, moves := range map[float64]bool{1e-9: true, 0.5: false} {
		text, feeds := given(6, 4)
		s := instrument(t, text, record(t, "shampoo", with(plainShampoo, "solve.kernel=track", fmt.Sprint("solve.tolerance=", tolerance))...), summed)
		var before array
		for k, g := range gs {
			out := s.step(feeds(g))
			now := out["asdl/w/basis0/next"]
			if k == len(gs)-1 && (distance(now.v, before.v) > 1e-9) != moves {
				t.Errorf("tolerance %g: the basis moves: %t, want %t", tolerance, !moves, moves)
			}
			before = now
			for _, x := range out["precond/w"].v {
				if math.IsNaN(x) {
					t.Fatalf("tolerance %g, step %d: NaN", tolerance, k)
				}
			}
		}
	}
}

// distance is the largest difference of two vectors.
func distance(a, b []float64) float64 {
	d := 0.0
	for i := range a {
		d = math.Max(d, math.Abs(a[i]-b[i]))
	}
	return d
}
