package passes_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/asdlc/asdlc/passes/method"
)

// The methods that work in the eigenbases of a tensor's sides. The twin takes the bases from the graph's state, so that it
// checks all but them to rounding; the bases have tests of their own.

// basisTwin is one tensor [d_1, ..., d_k] under a method.
type basisTwin struct {
	rec    method.Record
	shape  []int
	stats  []*mat.Dense
	bases  []*mat.Dense // of the step before
	eigen  [][]float64
	m, v   []float64 // in the bases
	counts int       // gradients in the moments
}

func newBasisTwin(rec method.Record, shape []int) *basisTwin {
	tw := &basisTwin{rec: rec, shape: shape}
	n := len(newArray(shape...).v)
	tw.m, tw.v = make([]float64, n), make([]float64, n)
	for _, d := range shape {
		tw.stats = append(tw.stats, addEye(mat.NewDense(d, d, nil), rec.Accumulate.Init))
		tw.bases = append(tw.bases, addEye(mat.NewDense(d, d, nil), 1))
		w := make([]float64, d)
		for i := range w {
			w[i] = rec.Accumulate.Init
		}
		tw.eigen = append(tw.eigen, w)
	}
	return tw
}

// turned contracts dimension d of x with a matrix: y[.., k, ..] = sum_i x[.., i, ..] q[i][k].
func turned(shape []int, x []float64, d int, q mat.Matrix) []float64 {
	st, y := strides(shape), make([]float64, len(x))
	for i := range x {
		at := i / st[d] % shape[d]
		for k := range shape[d] {
			y[i+(k-at)*st[d]] += x[i] * q.At(at, k)
		}
	}
	return y
}

func (tw *basisTwin) into(x []float64, bases []*mat.Dense) []float64 {
	for d, q := range bases {
		x = turned(tw.shape, x, d, q)
	}
	return x
}

func (tw *basisTwin) out(x []float64, bases []*mat.Dense) []float64 {
	for d, q := range bases {
		x = turned(tw.shape, x, d, q.T())
	}
	return x
}

// gram is the second moment of dimension d of x.
func gram(shape []int, x []float64, d int) *mat.Dense {
	st, n := strides(shape), shape[d]
	out := mat.NewDense(n, n, nil)
	for i := range x {
		at := i / st[d] % n
		for other := range n {
			out.Set(at, other, out.At(at, other)+x[i]*x[i+(other-at)*st[d]])
		}
	}
	return out
}

// step advances the twin to the bases that the graph has after the step and gives the direction.
func (tw *basisTwin) step(k int, g []float64, next []*mat.Dense) []float64 {
	if tw.rec.Solve.Lag {
		var d []float64
		if k > 0 || tw.rec.Solve.Kind == "sign" {
			d = tw.play(g)
		} else {
			d = make([]float64, len(g))
		}
		tw.observe(g)
		tw.move(next)
		return d
	}
	tw.observe(g)
	tw.move(next)
	return tw.play(g)
}

func (tw *basisTwin) move(next []*mat.Dense) {
	tw.m = tw.into(tw.out(tw.m, tw.bases), next)
	tw.bases = next
}

func (tw *basisTwin) observe(g []float64) {
	beta := tw.rec.Accumulate.Beta
	var fresh []*mat.Dense
	for d := range tw.shape {
		x := g
		if tw.rec.Representation.Fit == "kl" { // G S_b^-1/2, squared and per column
			columns := 1.0
			for c, q := range tw.bases {
				if c == d {
					continue
				}
				columns *= float64(tw.shape[c])
				root := mat.NewDiagDense(tw.shape[c], nil)
				for i, w := range tw.eigen[c] {
					root.SetDiag(i, 1/math.Sqrt(w))
				}
				x = turned(tw.shape, x, c, product(q, root, q.T()))
			}
			f := gram(tw.shape, x, d)
			f.Scale(1/columns, f)
			fresh = append(fresh, f)
			continue
		}
		fresh = append(fresh, gram(tw.shape, x, d))
	}
	for d, f := range fresh {
		tw.stats[d].Scale(beta, tw.stats[d])
		f.Scale(1-beta, f)
		tw.stats[d].Add(tw.stats[d], f)
	}
}

func (tw *basisTwin) play(g []float64) []float64 {
	beta1, beta2, eps := tw.rec.Apply.Beta, tw.rec.Accumulate.Beta, tw.rec.Solve.Damping.Value
	tw.counts++
	x := tw.into(g, tw.bases)
	d, old := make([]float64, len(x)), tw.eigen
	bias1, bias2 := 1-math.Pow(beta1, float64(tw.counts)), 1-math.Pow(beta2, float64(tw.counts))
	if tw.rec.Solve.Kind == "root" {
		tw.eigen = nil
		for side := range tw.shape {
			tw.eigen = append(tw.eigen, tw.eigenvalues(x, side, old))
		}
	}
	st := strides(tw.shape)
	for i := range x {
		tw.m[i] = beta1*tw.m[i] + (1-beta1)*x[i]
		switch tw.rec.Solve.Kind {
		case "divide":
			tw.v[i] = beta2*tw.v[i] + (1-beta2)*x[i]*x[i]
			d[i] = tw.m[i] / bias1 / (math.Sqrt(tw.v[i]/bias2) + eps)
		case "sign":
			d[i] = math.Copysign(1, tw.m[i])
		case "root":
			whole := 1.0
			for side, w := range tw.eigen {
				whole *= w[i/st[side]%tw.shape[side]]
			}
			d[i] = tw.m[i] / bias1 / (math.Sqrt(whole) + eps)
		}
	}
	d = tw.out(d, tw.bases)
	if tw.rec.Apply.LRScale == "sides" {
		for i := range d {
			d[i] *= 2 / float64(tw.shape[0]+len(d)/tw.shape[0])
		}
	}
	return d
}

// eigenvalues follow the mean of the squares along a side, whitened on the others.
func (tw *basisTwin) eigenvalues(x []float64, side int, old [][]float64) []float64 {
	beta, st := tw.rec.Accumulate.Beta, strides(tw.shape)
	next := make([]float64, tw.shape[side])
	for i := range x {
		w := x[i] * x[i] / float64(len(x)/tw.shape[side])
		for c := range tw.shape {
			if c != side {
				w /= old[c][i/st[c]%tw.shape[c]]
			}
		}
		next[i/st[side]%tw.shape[side]] += (1 - beta) * w
	}
	for i := range next {
		next[i] += beta * old[side][i]
	}
	return next
}

// basesOf are the bases among the outputs of a step.
func basesOf(out arrays, sides int) []*mat.Dense {
	var qs []*mat.Dense
	for d := range sides {
		qs = append(qs, out[fmt.Sprintf("asdl/w/basis%d/next", d)].dense())
	}
	return qs
}

// basisMethods are the records, exact where they clamp.
func basisMethods(t *testing.T, set ...string) map[string]method.Record {
	recs := map[string]method.Record{}
	for _, name := range []string{"soap", "kl-shampoo", "splus"} {
		s := set
		if name == "kl-shampoo" {
			s = with(set, "solve.damping.floor=0", "accumulate.init=0.1")
		}
		recs[name] = record(t, name, s...)
	}
	recs["soap without lag"] = record(t, "soap", with(set, "solve.lag=false", "damping=0.001")...) // on the first step G' is diagonal
	recs["kl-shampoo with lag"] = record(t, "kl-shampoo", with(set, "solve.lag=true", "solve.damping.floor=0", "accumulate.init=0.1")...)
	return recs
}

// TestBasisTwin follows matrices and tensors.
func TestBasisTwin(t *testing.T) {
	for name, rec := range basisMethods(t, "solve.every=2", "representation.sides=modes") {
		for _, shape := range [][]int{{4, 3}, {3, 5}, {3, 2, 4}, {2, 3, 2, 3}} {
			text, feeds := given(shape...)
			s, tw := instrument(t, text, rec, summed), newBasisTwin(rec, shape)
			for k, g := range series(31, 7, shape...) {
				out := s.step(feeds(g))
				what := fmt.Sprintf("%s, %v, step %d", name, shape, k)
				bases := basesOf(out, len(shape))
				near(t, what, out["precond/w"].v, tw.step(k, g.v, bases), 1e-9)
				near(t, what+": m", out["asdl/w/m/next"].v, tw.m, 1e-9)
				for d := range shape {
					near(t, what+": statistic", out[fmt.Sprintf("asdl/w/stat%d/next", d)].v, flat(tw.stats[d]), 1e-9)
				}
				if guards(out) != 0 {
					t.Errorf("%s: guards %g", what, guards(out))
				}
			}
		}
	}
}

// TestBasisDiagonalises: after refreshes under a steady stream of gradients the bases are orthogonal and the statistics
// nearly diagonal in them.
func TestBasisDiagonalises(t *testing.T) {
	for name, rec := range basisMethods(t, "solve.every=2") {
		text, feeds := given(12, 7)
		s := instrument(t, text, rec, summed)
		for k, g := range series(32, 41, 12, 7) {
			out := s.step(feeds(g))
			for d, q := range basesOf(out, 2) {
				n, _ := q.Dims()
				near(t, fmt.Sprintf("%s, step %d: orthogonal", name, k), flat(product(q.T(), q)), flat(addEye(mat.NewDense(n, n, nil), 1)), 1e-10)
				if k%2 == 1 || k < 20 {
					continue
				}
				b := product(q.T(), out[fmt.Sprintf("asdl/w/stat%d/next", d)].dense(), q)
				whole := mat.Norm(b, 2)
				for i := range n {
					b.Set(i, i, 0)
				}
				if off := mat.Norm(b, 2) / whole; off > 0.02 {
					t.Errorf("%s, step %d, side %d: %g is off the diagonal", name, k, d, off)
				}
			}
		}
	}
}

// atIdentity runs a method with its bases held at the identity.
func atIdentity(t *testing.T, name string, gs []array, set ...string) []array {
	t.Helper()
	text, feeds := given(gs[0].shape...)
	s := instrument(t, text, record(t, name, set...), summed)
	var dirs []array
	for _, g := range gs {
		for d, n := range g.shape {
			eye := array{[]int{n, n}, flat(addEye(mat.NewDense(n, n, nil), 1))}
			must(s.session.SetState(fmt.Sprintf("asdl/w/basis%d", d), eye.tensor(s.ports["w"].Type.Elem)))
		}
		dirs = append(dirs, s.step(feeds(g))["precond/w"])
	}
	return dirs
}

// TestSoapIsAdam: with the identity for bases SOAP is Adam from the second gradient on; vectors are that by themselves, and
// so are tensors without a side that is short enough.
func TestSoapIsAdam(t *testing.T) {
	for _, tc := range []struct {
		shape []int
		set   []string
	}{{[]int{4, 3}, nil}, {[]int{6}, nil}, {[]int{4, 3}, []string{"representation.max_side=1"}}} {
		gs := series(33, 6, tc.shape...)
		var got []array
		if len(tc.shape) == 2 && tc.set == nil {
			got = atIdentity(t, "soap", gs, "solve.every=1000")
		} else {
			got = directionsOf(t, tc.set, "soap", gs...)
		}
		adam := directionsOf(t, []string{"apply.beta=0.95", "accumulate.beta=0.95"}, "adam", gs[1:]...)
		near(t, "the first step", got[0].v, make([]float64, len(gs[0].v)), 0)
		for k, want := range adam {
			near(t, fmt.Sprintf("%v, step %d", tc.shape, k+1), got[k+1].v, want.v, 1e-9)
		}
	}
}

// TestSplusIsSignSGD: with the identity for bases SPlus is the sign of the momentum, times 2/(o+i); vectors times 1e-3.
func TestSplusIsSignSGD(t *testing.T) {
	for _, shape := range [][]int{{4, 3}, {7}} {
		gs := series(34, 5, shape...)
		scale := 2.0 / 7
		var got []array
		if len(shape) == 2 {
			got = directionsOf(t, []string{"accumulate.schedule=000000"}, "splus", gs...) // no refresh
		} else {
			got, scale = directionsOf(t, nil, "splus", gs...), 1e-3
		}
		m := make([]float64, len(gs[0].v))
		for k, g := range gs {
			want := make([]float64, len(m))
			for i := range m {
				m[i] = 0.9*m[i] + 0.1*g.v[i]
				want[i] = math.Copysign(scale, m[i])
			}
			near(t, fmt.Sprint(shape, k), got[k].v, want, 1e-12)
		}
	}
}

// TestSplusBound: in its bases, every entry of SPlus's direction is 1 or -1.
func TestSplusBound(t *testing.T) {
	text, feeds := given(5, 8)
	s := instrument(t, text, record(t, "splus", "solve.every=3"), summed)
	q := []*mat.Dense{addEye(mat.NewDense(5, 5, nil), 1), addEye(mat.NewDense(8, 8, nil), 1)}
	for k, g := range series(35, 8, 5, 8) {
		out := s.step(feeds(times(g, math.Pow(10, float64(k)))))
		d := product(q[0].T(), out["precond/w"].dense(), q[1])
		for _, x := range flat(d) {
			if math.Abs(math.Abs(x)*13/2-1) > 1e-9 {
				t.Errorf("step %d: an entry of %g", k, x*13/2)
			}
		}
		q = basesOf(out, 2)
	}
}

// TestKLFixedPoint: gradients whose covariance is exactly U (x) V leave KL-Shampoo's factors and eigenvalues at U and V on
// average. (Shampoo's own factors are U and V times the trace of the other.)
func TestKLFixedPoint(t *testing.T) {
	rng := rand.New(rand.NewPCG(36, 5))
	wu, wv := []float64{3, 1, 0.2}, []float64{2, 0.5}
	qu, qv := orthogonal(rng, 3), orthogonal(rng, 2)
	u, v := product(qu, mat.NewDiagDense(3, wu), qu.T()), product(qv, mat.NewDiagDense(2, wv), qv.T())
	ru, rv := symPower(u, 0.5), symPower(v, 0.5)
	text, feeds := given(3, 2)
	s := instrument(t, text, record(t, "kl-shampoo", "accumulate.beta=0", "solve.damping.floor=0", "solve.every=100"), summed)
	elem := s.ports["w"].Type.Elem
	sums := map[string]*mat.Dense{}
	step := func(g *mat.Dense) arrays {
		for name, m := range map[string]mat.Matrix{"stat0": u, "stat1": v, "basis0": qu, "basis1": qv, "eigen0": mat.NewVecDense(3, wu).T(), "eigen1": mat.NewVecDense(2, wv).T()} {
			must(s.session.SetState("asdl/w/"+name, stateArray(m, strings.HasPrefix(name, "eigen")).tensor(elem)))
		}
		return s.step(feeds(array{[]int{3, 2}, flat(g)}))
	}
	step(mat.NewDense(3, 2, []float64{1, 2, 3, 4, 5, 6})) // the refresh of the first step
	for i := range 3 {
		for j := range 2 {
			unit := mat.NewDense(3, 2, nil)
			unit.Set(i, j, math.Sqrt(6))
			out := step(product(ru, unit, rv))
			for _, name := range []string{"stat0", "stat1", "eigen0", "eigen1"} {
				a := out["asdl/w/"+name+"/next"]
				if sums[name] == nil {
					sums[name] = mat.NewDense(1, len(a.v), nil)
				}
				for k, x := range a.v {
					sums[name].Set(0, k, sums[name].At(0, k)+x/6)
				}
			}
		}
	}
	near(t, "U", flat(sums["stat0"]), flat(u), 1e-9)
	near(t, "V", flat(sums["stat1"]), flat(v), 1e-9)
	near(t, "eigenvalues of U", flat(sums["eigen0"]), wu, 1e-9)
	near(t, "eigenvalues of V", flat(sums["eigen1"]), wv, 1e-9)
}

// TestKLStart: without an initial value the estimates start at the size of the gradients: the whole of them is right from the
// first step on, whatever the scale, and follows the scale of the gradient.
func TestKLStart(t *testing.T) {
	gs := series(37, 8, 6, 4)
	want := directionsOf(t, nil, "kl-shampoo", gs...)
	for _, scale := range []float64{1e-4, 1e4} {
		var scaled []array
		for _, g := range gs {
			scaled = append(scaled, times(g, scale))
		}
		for k, d := range directionsOf(t, []string{"damping=0"}, "kl-shampoo", scaled...) {
			near(t, fmt.Sprintf("scale %g, step %d", scale, k), d.v, want[k].v, 1e-6)
		}
	}
	for k, d := range want {
		if size := length(d.v) / math.Sqrt(24); size < 0.2 || size > 3 {
			t.Errorf("step %d: the root-mean-square entry is %g", k, size)
		}
	}
}

// stateArray is m as a state, one of one dimension if asked.
func stateArray(m mat.Matrix, vector bool) array {
	d := mat.DenseCopyOf(m)
	r, c := d.Dims()
	if vector {
		return array{[]int{r * c}, flat(d)}
	}
	return array{[]int{r, c}, flat(d)}
}
