package passes_test

import (
	"fmt"
	"testing"

	"gonum.org/v1/gonum/mat"
)

// TestWhitenedPolar: FOOF-Muon's direction D is polar(G A^-1/2) A^-1/2 for the damped input factor A. On the data it changes
// outputs by at most 1 in the spectral norm, along all directions that G has alike.
func TestWhitenedPolar(t *testing.T) {
	for _, n := range []*net{mlpNet(), sequenceNet(true), convNet()} {
		rec := recordFile(t, "foof-muon", "solve.every=1", "damping=0.1", "apply.beta=0", "apply.nesterov=false", "solve.kernel=cubic", "solve.iterations=80", "fallback.head=grad")
		for k, r := range runTaps(t, n, rec, 7, 6, 2) {
			for _, l := range n.layers {
				if _, ok := r.out["asdl/"+l.name+"/A/next"]; !ok { // a normalisation, or the head
					continue
				}
				at := fmt.Sprintf("%s, %s, step %d", n.name, l.name, k)
				a := addEye(r.state(l.name, "A"), 0.1)
				root := symPower(a, -0.5)
				d := r.direction(l)
				near(t, at, flat(d), flat(product(polarOf(product(r.gradient(l), root)), root)), 1e-8)
				_, _, s := svd(product(d, symPower(a, 0.5)))
				near(t, at+": norm of the change", s[:1], []float64{1}, 1e-8)
			}
		}
	}
}

// TestWhitenedPolarMomentum: under momentum and Nesterov's rule the polar factor is that of (1-beta) G + beta M, M debiased; of
// equal gradients that is G.
func TestWhitenedPolarMomentum(t *testing.T) {
	n := mlpNet()
	set := []string{"solve.every=1", "solve.kernel=cubic", "solve.iterations=80", "fallback.head=grad"}
	rec := recordFile(t, "foof-muon", append(set, "apply.beta=0.5", "apply.nesterov=true")...)
	runs := runTaps(t, n, rec, 8, 6, 3)
	l := n.layers[0]
	m := mat.NewDense(4, 4, nil)
	weight := 0.0
	for k, r := range runs {
		m.Scale(0.5, m)
		g := mat.DenseCopyOf(r.gradient(l))
		var half, u, hat mat.Dense
		half.Scale(0.5, g)
		m.Add(m, &half)
		weight = 0.5*weight + 0.5
		hat.Scale(0.5/weight, m)
		u.Add(&half, &hat)
		root := symPower(addEye(r.state(l.name, "A"), rec.Solve.Damping.Value), -0.5)
		near(t, fmt.Sprintf("step %d", k), flat(r.direction(l)), flat(product(polarOf(product(&u, root)), root)), 1e-7)
	}
}
