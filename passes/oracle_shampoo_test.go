package passes_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/asdlc/asdlc/passes/pass"
)

// given is a model whose gradient is whatever the target says: y = w for an input of one, squared error summed, and
// w starts at all but zero: the gradient is -2 times the target.
func given(shape ...int) (text string, feeds func(g array) arrays) {
	size := 1
	for _, n := range shape {
		size *= n
	}
	w := newArray(shape...)
	for i := range w.v {
		w.v[i] = 1e-30 * float64(i+1) // all equal would be a constant
	}
	text = source(fmt.Sprintf(`(double[1,1] x) => (double[1,%d] y) PARAMS { r = Constant <value_ints: ints = [1,%d]> ()  f = Reshape ("w", r)  y = Mul (x, f) }`,
		size, size), arrays{"w": w})
	return text, func(g array) arrays {
		target := newArray(1, size)
		for i, v := range g.v {
			target.v[i] = -v / 2
		}
		return arrays{"x": {[]int{1, 1}, []float64{1}}, "target": target, "lr": number(0)}
	}
}

var summed = pass.Options{OutputPrecond: true, OutputGrad: true, Loss: pass.LossOptions{Row: "mse", Reduction: "sum"}}

// directionsOf feeds gradients one a step, at a learning rate of zero, and returns the directions.
func directionsOf(t *testing.T, rec []string, name string, gs ...array) []array {
	t.Helper()
	text, feeds := given(gs[0].shape...)
	s := instrument(t, text, record(t, name, rec...), summed)
	var out []array
	for _, g := range gs {
		o := s.step(feeds(g))
		near(t, "the gradient is the one given", o["grad/w"].v, g.v, 1e-12)
		out = append(out, o["precond/w"])
	}
	return out
}

// plainShampoo are settings without grafting and damping, refreshed on every step.
var plainShampoo = []string{"apply.graft=none", "solve.every=1", "solve.damping.kind=none", "solve.kernel=eigen"}

func with(set []string, more ...string) []string { return append(append([]string{}, set...), more...) }

func series(seed uint64, steps int, shape ...int) []array {
	rng := rand.New(rand.NewPCG(seed, 5))
	var gs []array
	for range steps {
		gs = append(gs, normals(rng, shape...))
	}
	return gs
}

// TestShampooFirstStep: from statistics of epsilon I, the first direction of G = U diag(s) V^T is
// U diag(s / sqrt(s^2 + epsilon)) V^T.
func TestShampooFirstStep(t *testing.T) {
	for _, kernel := range []string{"eigen", "newton", "auto"} {
		for _, shape := range [][]int{{4, 3}, {3, 4}, {5, 5}} {
			const eps = 0.1
			g := series(1, 1, shape...)[0]
			got := directionsOf(t, with(plainShampoo, "accumulate.init=0.1", "solve.kernel="+kernel, "solve.tolerance=1e-12"), "shampoo", g)[0]
			var svd mat.SVD
			if !svd.Factorize(g.dense(), mat.SVDThin) {
				t.Fatal("no singular values")
			}
			var u, v mat.Dense
			svd.UTo(&u)
			svd.VTo(&v)
			s := svd.Values(nil)
			d := mat.NewDiagDense(len(s), nil)
			for i, x := range s {
				d.SetDiag(i, x/math.Sqrt(x*x+eps))
			}
			near(t, fmt.Sprint(kernel, shape), got.v, flat(product(&u, d, v.T())), 1e-9)
		}
	}
}

// shampooTwin accumulates unfolded Gram matrices and contracts with their inverse roots, by explicit loops.
type shampooTwin struct {
	shape      []int
	stats      []*mat.Dense
	beta, init float64 // beta 0: sum
	rel        float64
	power      float64 // 0: -1/2
}

func newShampooTwin(shape []int, init, beta, rel float64) *shampooTwin {
	tw := &shampooTwin{shape: shape, beta: beta, init: init, rel: rel}
	for _, n := range shape {
		tw.stats = append(tw.stats, addEye(mat.NewDense(n, n, nil), init))
	}
	return tw
}

// strides of a row-major tensor.
func strides(shape []int) []int {
	s := make([]int, len(shape))
	n := 1
	for i := len(shape) - 1; i >= 0; i-- {
		s[i] = n
		n *= shape[i]
	}
	return s
}

func (tw *shampooTwin) step(g array) []float64 {
	st := strides(tw.shape)
	for d, n := range tw.shape {
		gram := mat.NewDense(n, n, nil)
		for i := range g.v {
			at := i / st[d] % n
			for other := range n { // entries that differ in dimension d alone
				j := i + (other-at)*st[d]
				gram.Set(at, other, gram.At(at, other)+g.v[i]*g.v[j])
			}
		}
		if tw.beta > 0 {
			tw.stats[d].Scale(tw.beta, tw.stats[d])
			gram.Scale(1-tw.beta, gram)
		}
		tw.stats[d].Add(tw.stats[d], gram)
	}
	cur := append([]float64{}, g.v...)
	for d, n := range tw.shape {
		damped := tw.stats[d]
		if tw.rel > 0 {
			damped = addEye(damped, tw.rel*rowSum(damped))
		}
		power := tw.power
		if power == 0 {
			power = -0.5
		}
		root := symPower(damped, power/float64(len(tw.shape)))
		next := make([]float64, len(cur))
		for i := range cur {
			at := i / st[d] % n
			for other := range n {
				next[i] += root.At(at, other) * cur[i+(other-at)*st[d]]
			}
		}
		cur = next
	}
	return cur
}

// rowSum is the largest absolute row sum.
func rowSum(m *mat.Dense) float64 {
	r, c := m.Dims()
	largest := 0.0
	for i := range r {
		sum := 0.0
		for j := range c {
			sum += math.Abs(m.At(i, j))
		}
		largest = math.Max(largest, sum)
	}
	return largest
}

// TestShampooTwin follows matrices, and tensors by their modes or as matrices, over several steps.
func TestShampooTwin(t *testing.T) {
	for _, c := range []struct {
		name      string
		shape, as []int
		set       []string
		beta, rel float64
	}{
		{"matrix", []int{4, 3}, []int{4, 3}, nil, 0, 0},
		{"matrix, relative damping", []int{4, 3}, []int{4, 3}, []string{"solve.damping.kind=rel", "damping=0.01"}, 0, 0.01},
		{"matrix, moving average", []int{4, 3}, []int{4, 3}, []string{"accumulate.kind=ema", "accumulate.beta=0.7"}, 0.7, 0},
		{"four modes", []int{3, 2, 2, 4}, []int{3, 2, 2, 4}, []string{"representation.sides=modes"}, 0, 0},
		{"three modes", []int{3, 5, 2}, []int{3, 5, 2}, []string{"representation.sides=modes"}, 0, 0},
		{"convolution as a matrix", []int{3, 2, 2, 2}, []int{3, 8}, nil, 0, 0},
		{"a mode of one", []int{3, 1, 2}, []int{3, 2}, []string{"representation.sides=modes"}, 0, 0},
	} {
		for _, kernel := range []string{"eigen", "newton"} {
			gs := series(2, 4, c.shape...)
			got := directionsOf(t, with(with(plainShampoo, "accumulate.init=0.3", "solve.kernel="+kernel, "solve.tolerance=1e-12"), c.set...), "shampoo", gs...)
			tw := newShampooTwin(c.as, 0.3, c.beta, c.rel)
			for k, g := range gs {
				near(t, fmt.Sprintf("%s, %s, step %d", c.name, kernel, k), got[k].v, tw.step(array{c.as, g.v}), 1e-9)
			}
		}
	}
}

// TestShampooDebias: a debiased average over a constant gradient is that gradient's square from the first step on.
func TestShampooDebias(t *testing.T) {
	g := series(3, 1, 3, 3)[0]
	got := directionsOf(t, with(plainShampoo, "accumulate.kind=ema", "accumulate.beta=0.9", "accumulate.debias=true", "accumulate.init=0"), "shampoo", g, g, g)
	for k := range got {
		near(t, fmt.Sprint(k), got[k].v, got[0].v, 1e-9)
	}
	d := array{[]int{3, 3}, got[0].v}.dense()
	near(t, "orthogonal", flat(product(d, d.T())), flat(addEye(mat.NewDense(3, 3, nil), 1)), 1e-8)
}

// TestShampooRotation: G -> U G V^T gives D -> U D V^T (and an element-wise method does not).
func TestShampooRotation(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 5))
	u, v := orthogonal(rng, 4), orthogonal(rng, 3)
	turn := func(a array) array { return array{a.shape, flat(product(u, a.dense(), v.T()))} }
	gs := series(5, 3, 4, 3)
	var turned []array
	for _, g := range gs {
		turned = append(turned, turn(g))
	}
	for _, c := range []struct {
		method      string
		set         []string
		equivariant bool
	}{{"shampoo", plainShampoo, true}, {"shampoo", with(plainShampoo, "solve.kernel=newton", "solve.tolerance=1e-12"), true}, {"adam", nil, false}, {"adagrad", nil, false}} {
		one, two := directionsOf(t, c.set, c.method, gs...), directionsOf(t, c.set, c.method, turned...)
		for k := range gs {
			want := turn(one[k])
			if c.equivariant {
				near(t, c.method, two[k].v, want.v, 1e-8)
				continue
			}
			diff := 0.0
			for i := range want.v {
				diff = math.Max(diff, math.Abs(want.v[i]-two[k].v[i]))
			}
			if diff < 1e-2 {
				t.Errorf("%s is equivariant under rotations", c.method)
			}
		}
	}
}

// TestShampooBlocks: blocks as large as the tensor change nothing; smaller ones treat each tile as a tensor; blocks of
// one element divide by the root of the summed squares, as AdaGrad does.
func TestShampooBlocks(t *testing.T) {
	gs := series(6, 3, 5, 4)
	set := with(plainShampoo, "accumulate.init=0.3")
	whole := directionsOf(t, with(set, "representation.max_side=0"), "shampoo", gs...)
	large := directionsOf(t, with(set, "representation.max_side=5"), "shampoo", gs...)
	tiles := directionsOf(t, with(set, "representation.max_side=3"), "shampoo", gs...)
	cut := func(a array, r0, r1, c0, c1 int) array {
		out := newArray(r1-r0, c1-c0)
		for r := r0; r < r1; r++ {
			copy(out.v[(r-r0)*(c1-c0):], a.v[4*r+c0:4*r+c1])
		}
		return out
	}
	for k := range gs {
		near(t, "large blocks", large[k].v, whole[k].v, 1e-12)
	}
	for _, rows := range [][2]int{{0, 2}, {2, 5}} { // nearly equal parts of at most 3
		for _, cols := range [][2]int{{0, 2}, {2, 4}} {
			tw := newShampooTwin([]int{rows[1] - rows[0], cols[1] - cols[0]}, 0.3, 0, 0)
			for k, g := range gs {
				want := tw.step(cut(g, rows[0], rows[1], cols[0], cols[1]))
				near(t, fmt.Sprint("tile ", rows, cols), cut(tiles[k], rows[0], rows[1], cols[0], cols[1]).v, want, 1e-9)
			}
		}
	}
	ones := directionsOf(t, with(set, "representation.max_side=1", "accumulate.init=0"), "shampoo", gs...)
	adagrad := directionsOf(t, []string{"damping=0"}, "adagrad", gs...)
	for k := range gs {
		near(t, "blocks of one element", ones[k].v, adagrad[k].v, 1e-9)
	}
	sides := directionsOf(t, with(set, "representation.max_side=4", "representation.on_exceed=identity"), "shampoo", gs...)
	stat := addEye(mat.NewDense(4, 4, nil), 0.3) // the factor of the short side alone, at power -1/2
	for k, g := range gs {
		m := g.dense()
		stat.Add(stat, product(m.T(), m))
		near(t, "one-sided", sides[k].v, flat(product(m, symPower(stat, -0.5))), 1e-9)
	}
}

// TestShampooGrafting: the direction keeps its angle and takes the norm of the gradient, or of Adam's direction without
// momentum.
func TestShampooGrafting(t *testing.T) {
	gs := series(7, 4, 4, 3)
	plain := directionsOf(t, plainShampoo, "shampoo", gs...)
	adam := directionsOf(t, []string{"apply.beta=0"}, "adam", gs...)
	for name, norms := range map[string][]array{"sgd": gs, "adam": adam} {
		got := directionsOf(t, with(plainShampoo, "apply.graft="+name), "shampoo", gs...)
		for k := range gs {
			scale := length(norms[k].v) / length(plain[k].v)
			want := plain[k].clone()
			for i := range want.v {
				want.v[i] *= scale
			}
			near(t, fmt.Sprint(name, " step ", k), got[k].v, want.v, 1e-10)
			near(t, "norm", []float64{length(got[k].v)}, []float64{length(norms[k].v)}, 1e-12)
		}
	}
}

func length(v []float64) float64 {
	s := 0.0
	for _, x := range v {
		s += x * x
	}
	return math.Sqrt(s)
}

// TestShampooVectors: tensors of one dimension follow AdaGrad, or keep their gradient.
func TestShampooVectors(t *testing.T) {
	for _, shape := range [][]int{{5}, {5, 1}, {1, 5}} {
		gs := series(8, 3, shape...)
		got := directionsOf(t, plainShampoo, "shampoo", gs...)
		adagrad := directionsOf(t, []string{"damping=1e-8"}, "adagrad", gs...)
		for k := range gs {
			near(t, fmt.Sprint(shape), got[k].v, adagrad[k].v, 1e-12)
		}
	}
	gs := series(9, 2, 5)
	for k, d := range directionsOf(t, with(plainShampoo, "representation.vectors=grad", "fallback.other=grad"), "shampoo", gs...) {
		near(t, "gradient", d.v, gs[k].v, 1e-12)
	}
}

// TestShampooBound: r L^(1/2) (x) R^(1/2) is at least the sum of the gradients' outer products, r the largest
// rank (Gupta, Koren & Singer 2018, lemma 8): checked on the statistics that the graph keeps.
func TestShampooBound(t *testing.T) {
	gs := series(10, 6, 3, 2)
	text, feeds := given(3, 2)
	s := instrument(t, text, record(t, "shampoo", with(plainShampoo, "accumulate.init=0")...), summed)
	sum := mat.NewDense(6, 6, nil)
	for _, g := range gs {
		out := s.step(feeds(g))
		outer(sum, 1, g.v)
		l, r := out["asdl/w/stat0/next"].dense(), out["asdl/w/stat1/next"].dense()
		bound := kron(symPower(addEye(l, 1e-12), 0.5), symPower(addEye(r, 1e-12), 0.5))
		bound.Scale(2, bound)
		bound.Sub(bound, sum)
		sym := mat.NewSymDense(6, nil)
		for i := range 6 {
			for j := i; j < 6; j++ {
				sym.SetSym(i, j, bound.At(i, j))
			}
		}
		var eig mat.EigenSym
		eig.Factorize(sym, false)
		if low := eig.Values(nil)[0]; low < -1e-9*mat.Norm(sum, 2) {
			t.Errorf("the bound is broken by %g", low)
		}
	}
}

// TestShampooLargeSides follows both kernels on sides that are no power of two, by the native kernels and by the bodies
// of the functions.
func TestShampooLargeSides(t *testing.T) {
	gs := series(11, 2, 37, 19)
	for _, kernel := range []string{"newton", "eigen"} {
		for _, inline := range []bool{false, true} {
			text, feeds := given(37, 19)
			o := summed
			o.Inline = inline
			rec := record(t, "shampoo", "apply.graft=none", "solve.every=1", "accumulate.init=0.5", "solve.tolerance=1e-10", "solve.kernel="+kernel)
			s, tw := instrument(t, text, rec, o), newShampooTwin([]int{37, 19}, 0.5, 0, 1e-6)
			for k, g := range gs {
				near(t, fmt.Sprintf("%s, inline %t, step %d", kernel, inline, k), s.step(feeds(g))["precond/w"].v, tw.step(g), 1e-7)
			}
		}
	}
}

// TestShampooInterval: between refreshes statistics go on and roots stay.
func TestShampooInterval(t *testing.T) {
	gs := series(12, 5, 4, 3)
	text, feeds := given(4, 3)
	s := instrument(t, text, record(t, "shampoo", with(plainShampoo, "solve.every=3")...), summed)
	var before arrays
	for k, g := range gs {
		out := outputsOf(s.step(feeds(g)), "asdl/w/", "/next")
		for name, a := range out {
			moves := !strings.HasPrefix(name, "root") || k%3 == 0
			if before != nil && fmt.Sprint(before[name].v) == fmt.Sprint(a.v) == moves && name != "momentum" {
				t.Errorf("step %d: %s moves: %t, want %t", k, name, !moves, moves)
			}
		}
		before = out
	}
}

// TestShampooLowRank: gradients of low rank leave most eigenvalues of a statistic at the initial value, equal to each
// other and far below the largest.
func TestShampooLowRank(t *testing.T) {
	for _, kernel := range []string{"newton", "eigen"} {
		for elem, tol := range map[string]float64{"double": 1e-6, "float": 1e-2} {
			for _, c := range []struct {
				shape []int
				rank  int
				scale float64
			}{{[]int{64, 40}, 1, 1}, {[]int{64, 40}, 4, 1}, {[]int{130, 30}, 2, 0.1}, {[]int{40, 50}, 3, 1e-4}, {[]int{40, 50}, 3, 10}} {
				rng := rand.New(rand.NewPCG(13, 5))
				text, feeds := given(c.shape...)
				if elem == "float" {
					text = single(text)
				}
				rec := record(t, "shampoo", "apply.graft=none", "solve.every=1", "solve.kernel="+kernel)
				s, tw := instrument(t, text, rec, summed), newShampooTwin(c.shape, 1e-4, 0, 1e-6)
				for k := range 3 {
					g := mat.NewDense(c.shape[0], c.shape[1], nil)
					for range c.rank {
						g.RankOne(g, c.scale, mat.NewVecDense(c.shape[0], normals(rng, c.shape[0]).v), mat.NewVecDense(c.shape[1], normals(rng, c.shape[1]).v))
					}
					a := array{c.shape, flat(g)}
					out := s.step(feeds(a))
					what := fmt.Sprintf("%s, %s, rank %d of %v, scale %g, step %d", kernel, elem, c.rank, c.shape, c.scale, k)
					near(t, what, out["precond/w"].v, tw.step(a), tol)
					if guards(out) != 0 {
						t.Errorf("%s: guards %g", what, guards(out))
					}
				}
			}
		}
	}
}
