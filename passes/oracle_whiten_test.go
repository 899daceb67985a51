package passes_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/asdlc/asdlc/passes/pass"
)

// whitenTwin is PSGD-Kron on one tensor, with diagonal factors as diagonal matrices.
type whitenTwin struct {
	inverseFree bool
	shape       []int
	diagonal    []bool
	qs          []*mat.Dense
	ls          []float64
	rate, noise float64
	m           []float64
	t           int
}

func newWhitenTwin(shape []int, diagonal []bool, inverseFree bool) *whitenTwin {
	tw := &whitenTwin{inverseFree: inverseFree, shape: shape, diagonal: diagonal, rate: 0.1, noise: 0.01, ls: make([]float64, len(shape))}
	for _, n := range shape {
		tw.qs = append(tw.qs, addEye(mat.NewDense(n, n, nil), 1))
	}
	return tw
}

// lowerBound is |A x| for the unit vector x along A's largest column.
func lowerBound(a *mat.Dense) float64 {
	n, _ := a.Dims()
	best, x := -1.0, mat.NewVecDense(n, nil)
	for j := range n {
		if s := mat.Norm(a.ColView(j), 2); s > best {
			best = s
			x.CloneFromVec(a.ColView(j))
		}
	}
	if best == 0 {
		return 0
	}
	var y mat.VecDense
	y.MulVec(a, x)
	return mat.Norm(&y, 2) / best
}

func (tw *whitenTwin) step(g, v []float64) []float64 {
	if tw.m == nil {
		tw.m = make([]float64, len(g))
	}
	tw.t++
	m, noisy := make([]float64, len(g)), make([]float64, len(g))
	for i := range g {
		tw.m[i] = 0.9*tw.m[i] + 0.1*g[i]
		m[i] = tw.m[i] / (1 - math.Pow(0.9, float64(tw.t)))
		noisy[i] = m[i] + tw.noise*v[i]
	}
	if tw.inverseFree {
		tw.free(noisy)
	} else {
		tw.lie(noisy, v)
	}
	return tw.apply(m)
}

func (tw *whitenTwin) apply(x []float64) []float64 {
	for d, q := range tw.qs {
		x = turned(tw.shape, x, d, product(q.T(), q))
	}
	return x
}

func (tw *whitenTwin) lie(a, z []float64) {
	for d, q := range tw.qs {
		var inv mat.Dense
		must(inv.Inverse(q))
		a, z = turned(tw.shape, a, d, q.T()), turned(tw.shape, z, d, &inv)
	}
	for d, n := range tw.shape {
		data, noise := gram(tw.shape, a, d), gram(tw.shape, z, d)
		sum, grad := mat.NewDense(n, n, nil), mat.NewDense(n, n, nil)
		sum.Add(data, noise)
		bound := lowerBound(sum)
		if tw.diagonal[d] {
			bound = 0
		}
		for i := range n {
			for j := i; j < n; j++ {
				if tw.diagonal[d] && j > i {
					continue
				}
				grad.Set(i, j, data.At(i, j)-noise.At(i, j))
				if tw.diagonal[d] {
					bound = math.Max(bound, sum.At(i, i))
				}
			}
		}
		change := product(grad, tw.qs[d])
		change.Scale(tw.rate/bound, change)
		tw.qs[d].Sub(tw.qs[d], change)
	}
}

func (tw *whitenTwin) free(x []float64) {
	x = tw.apply(x)
	for d, n := range tw.shape {
		white := float64(len(x) / n)
		data := gram(tw.shape, x, d)
		if tw.diagonal[d] {
			data = diagonalOf(data)
		}
		l := lowerBound(data) + white
		if tw.diagonal[d] {
			l = white + mat.Max(data)
		}
		tw.ls[d] = math.Max(0.9*tw.ls[d]+0.1*l, l)
		change := product(addEye(data, -white), tw.qs[d])
		change.Scale(tw.rate/tw.ls[d], change)
		q := tw.qs[d]
		q.Sub(q, change)
		if tw.diagonal[d] {
			continue
		}
		r := mat.NewDense(n, n, nil)
		r.Sub(q.T(), q)
		r.Scale(1/math.Max(lowerBound(r), 1e-30), r)
		rq := product(r, q)
		rrq := product(r, rq)
		a := 0.0
		if mat.Trace(rq) > 0 {
			a = 0.125
			if mat.Trace(rrq) < 0 {
				a = math.Min(a, -mat.Trace(rq)/mat.Trace(rrq))
			}
		}
		rq.Scale(a, rq)
		rrq.Scale(a*a/2, rrq)
		q.Add(q, rq)
		q.Add(q, rrq)
	}
}

// everyStep lets PSGD-Kron fit on every step, without balancing and clipping.
var everyStep = []string{"solve.probability.floor=0", "solve.balance=0", "apply.clip_rms=0", "damping=0.01"}

// TestWhitenTwin follows both kernels, by the native kernels and by the bodies of the functions.
func TestWhitenTwin(t *testing.T) {
	for _, kernel := range []string{"triangular", "inverse_free"} {
		for _, c := range []struct {
			shape    []int
			diagonal []bool
			set      []string
		}{
			{[]int{4, 3}, []bool{false, false}, nil},
			{[]int{5}, []bool{true}, nil},
			{[]int{3, 2, 4}, []bool{false, false, false}, []string{"representation.sides=modes"}},
			{[]int{4, 3}, []bool{true, false}, []string{"representation.max_side=3"}},
		} {
			for _, inline := range []bool{false, true} {
				text, feeds := given(c.shape...)
				s := instrument(t, text, record(t, "psgd-kron", with(with(everyStep, "solve.kernel="+kernel), c.set...)...),
					pass.Options{OutputPrecond: true, Noise: "input", Inline: inline, Loss: pass.LossOptions{Row: "mse", Reduction: "sum"}})
				rng := rand.New(rand.NewPCG(71, 5))
				tw := newWhitenTwin(c.shape, c.diagonal, kernel == "inverse_free")
				for k := range 6 {
					g, v := normals(rng, c.shape...), normals(rng, c.shape...)
					out := s.step(feeds(g).with("asdl/noise/probe/w", v))
					near(t, fmt.Sprintf("%s, %v, inline %t, step %d", kernel, c.shape, inline, k), out["precond/w"].v, tw.step(g.v, v.v), 1e-9)
				}
			}
		}
	}
}

// TestWhitenFixedPoint: on normal gradients with covariance U (x) V, P comes to rest where P g is white.
func TestWhitenFixedPoint(t *testing.T) {
	rng := rand.New(rand.NewPCG(72, 5))
	u, v := covariance(rng, 3, 20), covariance(rng, 4, 20)
	shape, set := tensorNormal(u, v)
	left, right := symPower(u, 0.5), symPower(v, 0.5)
	for _, kernel := range []string{"triangular", "inverse_free"} {
		text, feeds := given(shape...)
		s := instrument(t, text, record(t, "psgd-kron", with(everyStep, "solve.kernel="+kernel, "apply.beta=0", "damping=0")...), summed)
		second := mat.NewDense(12, 12, nil)
		for k := range 8000 {
			g := product(left, normals(rng, shape...).dense(), right)
			s.step(feeds(array{shape, flat(g)}).with("precond_lr", number(0.1/(1+float64(k)/300))))
		}
		for _, g := range set { // its covariance is U (x) V exactly
			outer(second, 1./12, s.step(feeds(array{shape, g}).with("precond_lr", number(0)))["precond/w"].v)
		}
		second.Sub(second, addEye(mat.NewDense(12, 12, nil), 1))
		if off := mat.Norm(second, 2) / math.Sqrt(12); off > 0.1 {
			t.Errorf("%s: the second moment of P g is off the identity by %g", kernel, off)
		}
	}
}

// TestWhitenStart: with factors at the identity and a rate of zero, PSGD-Kron is SGD along the debiased momentum; and a
// direction is shrunk to the bound on its root-mean-square entry.
func TestWhitenStart(t *testing.T) {
	gs := series(73, 4, 4, 3)
	for _, clip := range []float64{0, 0.5} {
		text, feeds := given(4, 3)
		s := instrument(t, text, record(t, "psgd-kron", with(everyStep, fmt.Sprint("apply.clip_rms=", clip))...), summed)
		m := make([]float64, 12)
		for k, g := range gs {
			out := s.step(feeds(g).with("precond_lr", number(0)))
			want := make([]float64, 12)
			for i := range m {
				m[i] = 0.9*m[i] + 0.1*g.v[i]
				want[i] = m[i] / (1 - math.Pow(0.9, float64(k+1)))
			}
			if rms := length(want) / math.Sqrt(12); clip > 0 && rms > clip {
				want = times(array{g.shape, want}, clip/rms).v
			}
			near(t, fmt.Sprint("clip ", clip, ", step ", k), out["precond/w"].v, want, 1e-12)
		}
	}
}

// TestWhitenPermutation (X14): rows in another order give directions in that order without triangular factors, and do not
// with them.
func TestWhitenPermutation(t *testing.T) {
	gs := series(74, 5, 4, 3)
	swap := func(a array) array {
		out := a.clone()
		for r := range 4 {
			copy(out.v[3*r:3*r+3], a.v[3*(3-r):3*(3-r)+3])
		}
		return out
	}
	var swapped []array
	for _, g := range gs {
		swapped = append(swapped, swap(g))
	}
	for kernel, equivariant := range map[string]bool{"triangular": false, "inverse_free": true} {
		set := with(everyStep, "solve.kernel="+kernel, "solve.damping.kind=none")
		one, two := directionsOf(t, set, "psgd-kron", gs...), directionsOf(t, set, "psgd-kron", swapped...)
		off := 0.0
		for k := range gs {
			off = math.Max(off, distance(two[k].v, swap(one[k]).v))
		}
		if (off < 1e-9) != equivariant {
			t.Errorf("%s: directions of permuted gradients are off by %g", kernel, off)
		}
	}
}

// TestWhitenProbability: the factors move on the steps on which the random number is below the probability, which falls from 1
// after the flat start to its floor; the generator draws the steps, in one graph and in split ones.
func TestWhitenProbability(t *testing.T) {
	text, feeds := given(4, 3)
	rec := record(t, "psgd-kron", "solve.probability.flat=10", "solve.probability.decay=0.1", "solve.probability.floor=0.2")
	s := instrument(t, text, rec, pass.Options{Noise: "input", Loss: pass.LossOptions{Row: "mse", Reduction: "sum"}})
	rng := rand.New(rand.NewPCG(75, 5))
	moves := func(s *stepper, k int, u float64) bool {
		f := feeds(normals(rng, 4, 3)).with("asdl/step", number(float64(k))).with("asdl/noise/clock/solve", array{[]int{1}, []float64{u}}).with("asdl/noise/probe/w", normals(rng, 4, 3)).with("asdl/w/Q0", array{[]int{4, 4}, flat(addEye(mat.NewDense(4, 4, nil), 1))})
		q := s.step(f)["asdl/w/Q0/next"]
		return q.v[1] != 0
	}
	for k, p := range map[int]float64{0: 1, 9: 1, 10: 1, 11: math.Exp(-0.1), 15: math.Exp(-0.5), 26: math.Exp(-1.6), 27: 0.2, 5000: 0.2} {
		if p < 1 && moves(s, k, p+1e-4) || !moves(s, k, p-1e-4) {
			t.Errorf("step %d: the probability is not %g", k, p)
		}
	}
	o := pass.Options{Loss: pass.LossOptions{Row: "mse", Reduction: "sum"}}
	drawn, split := instrument(t, text, rec, o), (*stepper)(nil)
	o.Split = true
	split = instrument(t, text, rec, o)
	if len(split.result.Variants) > 0 {
		t.Errorf("%d variants: a host cannot know the clock", len(split.result.Variants))
	}
	count := 0
	for k := range 400 {
		a, b := moves(drawn, 100+k, 0), moves(split, 100+k, 0)
		if a != b {
			t.Fatalf("step %d: one graph solves, the other does not", 100+k)
		}
		if a {
			count++
		}
	}
	if count < 56 || count > 104 { // 80 +- 3 standard deviations
		t.Errorf("%d of 400 steps solve, at a probability of 0.2", count)
	}
}
