package passes_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/asdlc/asdlc/passes/pass"
)

// svd is m = U diag(s) V^T, thin.
func svd(m *mat.Dense) (u, v *mat.Dense, s []float64) {
	var d mat.SVD
	if !d.Factorize(m, mat.SVDThin) {
		panic("no singular values")
	}
	u, v = new(mat.Dense), new(mat.Dense)
	d.UTo(u)
	d.VTo(v)
	return u, v, d.Values(nil)
}

// polarOf is U V^T.
func polarOf(m *mat.Dense) *mat.Dense {
	u, v, _ := svd(m)
	return product(u, v.T())
}

// spread is a matrix with singular values from 1 down to 1/ratio.
func spread(rng *rand.Rand, rows, cols int, ratio float64) array {
	k := min(rows, cols)
	d := mat.NewDense(rows, cols, nil)
	for i := range k {
		d.Set(i, i, math.Pow(ratio, -float64(i)/math.Max(1, float64(k-1))))
	}
	return array{[]int{rows, cols}, flat(product(orthogonal(rng, rows), d, orthogonal(rng, cols).T()))}
}

// bareMuon takes the polar factor of the gradient itself.
var bareMuon = []string{"apply.beta=0", "apply.nesterov=false", "apply.lr_scale=none"}

// TestMuonSingularValues: each kernel brings singular values of a spread of 100 into its range; only exact gives U V^T.
func TestMuonSingularValues(t *testing.T) {
	for _, c := range []struct {
		kernel    string
		low, high float64
		polar     bool
	}{
		{"keller", 0.65, 1.25, false},
		{"polar_express", 0.86, 1.14, false},
		{"cubic", 0.4, 1 + 1e-9, false},
		{"exact", 1 - 1e-9, 1 + 1e-9, true},
	} {
		for _, shape := range [][2]int{{8, 12}, {12, 8}, {9, 9}} {
			g := spread(rand.New(rand.NewPCG(1, 3)), shape[0], shape[1], 100)
			set := with(bareMuon, "solve.kernel="+c.kernel, "solve.iterations=0")
			d := directionsOf(t, set, "muon", g)[0].dense()
			_, _, s := svd(d)
			if slices.Min(s) < c.low || slices.Max(s) > c.high {
				t.Errorf("%s, %v: singular values from %g to %g, want %g to %g", c.kernel, shape, slices.Min(s), slices.Max(s), c.low, c.high)
			}
			want, diff := polarOf(g.dense()), new(mat.Dense)
			diff.Sub(d, want)
			if off := mat.Norm(diff, 2) / mat.Norm(want, 2); (off < 1e-9) != c.polar {
				t.Errorf("%s, %v: off U V^T by %g", c.kernel, shape, off)
			}
		}
	}
}

// TestMuonIsShampoo: the exact polar factor is the first direction of Shampoo from no statistic, and so is Muon's.
func TestMuonIsShampoo(t *testing.T) {
	for _, shape := range [][]int{{4, 4}, {5, 5}} {
		g := series(21, 1, shape...)[0]
		muon := directionsOf(t, with(bareMuon, "solve.kernel=exact", "solve.iterations=0"), "muon", g)[0]
		shampoo := directionsOf(t, with(plainShampoo, "accumulate.init=0"), "shampoo", g)[0]
		near(t, fmt.Sprint(shape), muon.v, shampoo.v, 1e-7)
	}
}

// TestMuonScale: the direction does not depend on the gradient's scale, even where squares overflow or vanish.
func TestMuonScale(t *testing.T) {
	gs := series(22, 3, 4, 6)
	want := directionsOf(t, nil, "muon", gs...)
	for _, scale := range []float64{1e-12, 1e-3, 1e9, 1e200} {
		var scaled []array
		for _, g := range gs {
			scaled = append(scaled, times(g, scale))
		}
		for k, d := range directionsOf(t, nil, "muon", scaled...) {
			near(t, fmt.Sprintf("scale %g, step %d", scale, k), d.v, want[k].v, 1e-9)
		}
	}
}

func times(a array, factor float64) array {
	out := a.clone()
	for i := range out.v {
		out.v[i] *= factor
	}
	return out
}

// TestMuonRotation: G -> U G V^T gives D -> U D V^T (X5).
func TestMuonRotation(t *testing.T) {
	rng := rand.New(rand.NewPCG(23, 3))
	u, v := orthogonal(rng, 4), orthogonal(rng, 6)
	turn := func(a array) array { return array{a.shape, flat(product(u, a.dense(), v.T()))} }
	gs := series(24, 3, 4, 6)
	var turned []array
	for _, g := range gs {
		turned = append(turned, turn(g))
	}
	one, two := directionsOf(t, nil, "muon", gs...), directionsOf(t, nil, "muon", turned...)
	for k := range gs {
		near(t, fmt.Sprint("step ", k), two[k].v, turn(one[k]).v, 1e-9)
	}
}

// muonTwin is Muon on one matrix [o, i] as published: lerp the momentum, look ahead, five quintics, scale.
type muonTwin struct {
	beta     float64
	nesterov bool
	scale    func(o, i float64) float64
	m        *mat.Dense
}

func (tw *muonTwin) step(g *mat.Dense) *mat.Dense {
	r, c := g.Dims()
	if tw.m == nil {
		tw.m = mat.NewDense(r, c, nil)
	}
	lerp := func(a, b *mat.Dense, w float64) *mat.Dense {
		out := mat.NewDense(r, c, nil)
		for i := range r {
			for j := range c {
				out.Set(i, j, (1-w)*a.At(i, j)+w*b.At(i, j))
			}
		}
		return out
	}
	tw.m = lerp(tw.m, g, 1-tw.beta)
	x := tw.m
	if tw.nesterov {
		x = lerp(g, tw.m, tw.beta)
	}
	u, v, s := svd(x)
	norm := 0.0
	for _, x := range s {
		norm += x * x
	}
	d := mat.NewDiagDense(len(s), nil)
	for i, x := range s { // the polynomial acts on singular values alone
		x /= math.Sqrt(norm)
		for range 5 {
			x = 3.4445*x - 4.7750*x*x*x + 2.0315*x*x*x*x*x
		}
		d.SetDiag(i, x*tw.scale(float64(r), float64(c)))
	}
	return product(u, d, v.T())
}

var lrScales = map[string]func(o, i float64) float64{
	"none":      func(_, _ float64) float64 { return 1 },
	"keller":    func(o, i float64) float64 { return math.Sqrt(math.Max(1, o/i)) },
	"moonlight": func(o, i float64) float64 { return 0.2 * math.Sqrt(math.Max(o, i)) },
}

// TestMuonTwin follows whole networks: hidden matrices (convolutions flattened, weights of either layout) by the twin,
// everything else by Adam at its own rate, with decoupled decay.
func TestMuonTwin(t *testing.T) {
	for _, n := range allNets() {
		for scale, f := range lrScales {
			for _, nesterov := range []bool{true, false} {
				rng := rand.New(rand.NewPCG(25, 3))
				rec := record(t, "muon", "apply.lr_scale="+scale, fmt.Sprint("apply.nesterov=", nesterov), "update.weight_decay=0.1")
				params := n.params(rng)
				s := instrument(t, source(n.body, params), rec, pass.Options{OutputGrad: true, OutputPrecond: true})
				hidden := map[string]bool{}
				for _, l := range s.result.Report.Layers {
					hidden[l.Params[0]] = !l.Fallback
				}
				muons, adams := map[string]*muonTwin{}, map[string]*elementTwin{}
				for k := range 4 {
					out := s.step(n.batch(rng, 5))
					for name, g := range outputsOf(out, "grad/", "") {
						var d []float64
						rate := 0.001
						if hidden[name] {
							if muons[name] == nil {
								muons[name] = &muonTwin{beta: 0.95, nesterov: nesterov, scale: f}
							}
							d, rate = muonDirection(muons[name], n, name, g), 0.02
						} else {
							if adams[name] == nil {
								adams[name] = &elementTwin{method: "adam", eps: 1e-8, beta1: 0.9, beta2: 0.999}
							}
							d = adams[name].step(g.v)
						}
						what := fmt.Sprintf("%s, %s, nesterov %t, step %d: %s", n.name, scale, nesterov, k, name)
						near(t, what, out["precond/"+name].v, d, 1e-9)
						next := params[name].clone()
						for i := range next.v {
							next.v[i] -= rate * (0.1*next.v[i] + d[i])
						}
						near(t, what+", next", out[name+"/next"].v, next.v, 1e-9)
						params[name] = out[name+"/next"]
					}
				}
			}
		}
	}
}

// muonDirection lets the twin see a weight as [outputs, inputs].
func muonDirection(tw *muonTwin, n *net, name string, g array) []float64 {
	for _, l := range n.layers {
		if l.w == name && l.io {
			d := tw.step(mat.DenseCopyOf(g.dense().T()))
			return flat(mat.DenseCopyOf(d.T()))
		}
	}
	return flat(tw.step(g.dense()))
}

// TestMuonCoverage: hidden matrices and nothing else, each exception with its reason.
func TestMuonCoverage(t *testing.T) {
	for _, n := range allNets() {
		s := instrument(t, source(n.body, n.params(rand.New(rand.NewPCG(1, 1)))), record(t, "muon"), pass.Options{})
		last := n.layers[len(n.layers)-1]
		for _, note := range s.result.Report.Layers {
			shape := n.shapes[note.Params[0]]
			vector := len(shape) < 2
			want := ""
			switch {
			case vector:
				want = "a vector"
			case note.Params[0] == last.w:
				want = "the head: " + last.name + " makes the logits"
			case n.tokens > 0 && note.Params[0] == n.layers[0].w:
				want = "an embedding"
			}
			if note.Reason != want || note.Fallback != (want != "") {
				t.Errorf("%s, %s: fall-back %t, reason %q, want %q", n.name, note.Params[0], note.Fallback, note.Reason, want)
			}
		}
	}
}
