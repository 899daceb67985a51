package passes_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
)

// tapRun is one step of a method on a reference network, with what an oracle needs.
type tapRun struct {
	net       *net
	tw        *kfacTwin // for matrices of layers
	x, target array
	out       arrays
	rows      float64
}

// runTaps makes steps of a record on batches of a size; the result is about the last one. Parameters stay.
func runTaps(t *testing.T, n *net, rec method.Record, seed uint64, batch, steps int) []*tapRun {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 61))
	params := n.params(rng)
	s := instrument(t, source(n.body, params), rec, pass.Options{OutputGrad: true, OutputPrecond: true, Noise: "input"})
	var runs []*tapRun
	for range steps {
		x, target := n.inputs(rng, batch), labels(rng, n.classes, n.labelShape(batch)...)
		out := s.step(arrays{"x": x, "target": target, "lr": number(0)})
		runs = append(runs, &tapRun{n, newKFACTwin(n, rec, params), x, target, out, float64(batch * n.rows)})
	}
	return runs
}

// examples are the gradients of each example in a layer's Ŵ, of the summed loss of its rows.
func (r *tapRun) examples(l layerRef) []*mat.Dense {
	var list []*mat.Dense
	for row, g := range r.net.perRow(r.tw.params, r.x, crossEntropyOf(r.target)) {
		m := r.tw.matrix(l, g)
		if row%r.net.rows == 0 {
			list = append(list, m)
		} else {
			list[len(list)-1].Add(list[len(list)-1], m)
		}
	}
	return list
}

func (r *tapRun) gradient(l layerRef) *mat.Dense {
	return r.tw.matrix(l, outputsOf(r.out, "grad/", ""))
}

func (r *tapRun) direction(l layerRef) *mat.Dense {
	return r.tw.matrix(l, outputsOf(r.out, "precond/", ""))
}

// state is a factor that the step left, divided by the sum of its weights.
func (r *tapRun) state(layer, slot string) *mat.Dense {
	m := factor(r.out, layer, slot)
	if w, ok := r.out["asdl/"+layer+"/weight/next"]; ok && (slot == "A" || slot == "S" || slot == "F") {
		m.Scale(1/w.v[0], m)
	}
	return m
}

// matrixLayers are the layers of a network with a matrix, leaving embeddings out.
func matrixLayers(n *net) []layerRef {
	var ls []layerRef
	for _, l := range n.layers {
		if l.kind != "unit" && !(n.tokens > 0 && l.io) {
			ls = append(ls, l)
		}
	}
	return ls
}

// rotated is QS^T G QA.
func rotated(qs, g, qa *mat.Dense) *mat.Dense { return product(qs.T(), g, qa) }

// TestEigenbasisTwin: QA and QS diagonalise the moving averages of the factors; s starts from the products of their
// eigenvalues at a refresh and follows the second moments of each example's gradient in the basis; the direction is the
// dense solve with (QS (x) QA) (diag s + lambda) (QS (x) QA)^T.
func TestEigenbasisTwin(t *testing.T) {
	for _, n := range []*net{mlpNet(), sequenceNet(true), sequenceNet(false), convNet(), tiedNet()} {
		for _, moments := range []string{"example", "mean", "example, warm"} {
			kind, _, _ := strings.Cut(moments, ",")
			rec := record(t, "ekfac", "solve.every=2", "solve.tolerance=1e-12", "solve.iterations=80", "damping=0.05", "apply.kl_clip=0", "representation.moments="+kind)
			rec.Solve.Warm = kind != moments
			last := map[string]*mat.Dense{}
			for k, r := range runTaps(t, n, rec, 1, 6, 4) {
				for _, l := range matrixLayers(n) {
					at := fmt.Sprintf("%s, %s, step %d, %s", n.name, moments, k, l.name)
					qa, qs, s := factor(r.out, l.name, "QA"), factor(r.out, l.name, "QS"), factor(r.out, l.name, "s")
					if k%2 == 0 {
						var wa, ws []float64
						for _, f := range []struct {
							q    *mat.Dense
							slot string
							w    *[]float64
						}{{qa, "A", &wa}, {qs, "S", &ws}} {
							d := product(f.q.T(), r.state(l.name, f.slot), f.q)
							side, _ := d.Dims()
							diagonal := mat.NewDense(side, side, nil)
							for i := range side {
								*f.w = append(*f.w, d.At(i, i))
								diagonal.Set(i, i, d.At(i, i))
							}
							near(t, at+": Q"+f.slot+" diagonalises", flat(d), flat(diagonal), 1e-8)
							near(t, at+": Q"+f.slot+" is orthonormal", flat(product(f.q.T(), f.q)), flat(addEye(mat.NewDense(side, side, nil), 1)), 1e-12)
						}
						fresh := mat.NewDense(len(ws), len(wa), nil)
						for i := range ws {
							for j := range wa {
								fresh.Set(i, j, ws[i]*wa[j])
							}
						}
						if !rec.Solve.Warm || k == 0 {
							last[l.name] = fresh
						}
					}
					o, i := s.Dims()
					want := mat.NewDense(o, i, nil)
					want.Scale(rec.Accumulate.MomentBeta, last[l.name])
					square := func(g *mat.Dense, scale float64) {
						for j, v := range flat(rotated(qs, g, qa)) {
							want.Set(j/i, j%i, want.At(j/i, j%i)+(1-rec.Accumulate.MomentBeta)*scale*v*v)
						}
					}
					if moments == "mean" {
						square(r.gradient(l), r.rows)
					} else {
						for _, g := range r.examples(l) {
							square(g, 1/r.rows)
						}
					}
					near(t, at+": s", flat(s), flat(want), 1e-7)
					last[l.name] = s
					q := kron(qs, qa)
					block := product(q, addEye(mat.DenseCopyOf(mat.NewDiagDense(o*i, flat(s))), 0.05), q.T())
					var d mat.VecDense
					must(d.SolveVec(block, mat.NewVecDense(o*i, flat(r.gradient(l)))))
					near(t, at+": direction", flat(r.direction(l)), d.RawVector().Data, 1e-8)
				}
			}
		}
	}
}

// TestEigenbasisFit: where s holds this batch's moments alone, it keeps the trace of the batch's matrix and fits it no worse than
// K-FAC's product does, and better than moments squared at each position.
func TestEigenbasisFit(t *testing.T) {
	for _, n := range []*net{mlpNet(), sequenceNet(true), convNet(), tiedNet()} {
		rec := record(t, "ekfac", "accumulate.beta=0", "accumulate.debias=false", "accumulate.moment_beta=0", "solve.every=1", "solve.tolerance=1e-12", "solve.iterations=80")
		r := runTaps(t, n, rec, 2, 6, 1)[0]
		for _, l := range matrixLayers(n) {
			s := factor(r.out, l.name, "s")
			o, i := s.Dims()
			f := mat.NewDense(o*i, o*i, nil)
			for _, g := range r.examples(l) {
				outer(f, 1/r.rows, flat(g))
			}
			near(t, n.name+": trace of "+l.name, []float64{mat.Sum(s)}, []float64{mat.Trace(f)}, 1e-10)
			q := kron(factor(r.out, l.name, "QS"), factor(r.out, l.name, "QA"))
			var a, b mat.Dense
			a.Sub(product(q, mat.NewDiagDense(o*i, flat(s)), q.T()), f)
			b.Sub(kron(factor(r.out, l.name, "S"), factor(r.out, l.name, "A")), f)
			if mat.Norm(&a, 2) > mat.Norm(&b, 2)*(1+1e-9) {
				t.Errorf("%s, %s: off by %g, K-FAC by %g", n.name, l.name, mat.Norm(&a, 2), mat.Norm(&b, 2))
			}
		}
	}
}

// TestRecursion: with one example, and with linear networks of any batch, the factors by recursion are those of exact
// back-propagation; with more examples of a non-linear network they differ.
func TestRecursion(t *testing.T) {
	linear := linearNets()["one position"]
	linear.classes = 2
	for _, tc := range []struct {
		net   *net
		batch int
		exact bool
	}{{mlpNet(), 1, true}, {linear, 5, true}, {mlpNet(), 5, false}} {
		set := []string{"accumulate.beta=0", "accumulate.debias=false", "solve.every=1"}
		got, want := runTaps(t, tc.net, record(t, "kfra", set...), 3, tc.batch, 1)[0], runTaps(t, tc.net, record(t, "kflr", set...), 3, tc.batch, 1)[0]
		for i, l := range tc.net.layers {
			s, exact := factor(got.out, l.name, "S"), factor(want.out, l.name, "S")
			if tc.exact || i == len(tc.net.layers)-1 {
				near(t, fmt.Sprintf("%s, batch %d: S of %s", tc.net.name, tc.batch, l.name), flat(s), flat(exact), 1e-10)
				continue
			}
			var off mat.Dense
			off.Sub(s, exact)
			if mat.Norm(&off, 2) < 1e-3*mat.Norm(exact, 2) {
				t.Errorf("%s, batch %d: the recursion is exact", tc.net.name, tc.batch)
			}
		}
	}
	// What is no chain falls back, with the reason.
	for _, n := range []*net{convNet(), sequenceNet(false), tiedNet()} {
		rng := rand.New(rand.NewPCG(4, 61))
		notes := compile(t, source(n.body, n.params(rng)), record(t, "kfra"), pass.Options{}).Report.Layers
		for _, note := range notes {
			if !note.Fallback || note.Reason == "" {
				t.Errorf("%s: %+v", n.name, note)
			}
		}
	}
}

// TestDualsAreInverses: the inverses through products of samples are those of K-FAC's factors of the same batch, with fewer and
// with more samples than the sides.
func TestDualsAreInverses(t *testing.T) {
	for _, n := range []*net{mlpNet(), sequenceNet(true), convNet(), tiedNet()} {
		for _, batch := range []int{1, 2, 4, 9} {
			for _, sharing := range []string{"reduce", "expand"} {
				for _, bias := range []string{"joint", "output"} {
					set := []string{"curvature.source=exact", "curvature.sharing=" + sharing, "representation.bias=" + bias, "solve.every=1", "apply.kl_clip=0"}
					got := runTaps(t, n, record(t, "skfac", set...), 5, batch, 1)[0].out
					want := runTaps(t, n, record(t, "kfac", append(set, "accumulate.kind=none")...), 5, batch, 1)[0].out
					nearAll(t, fmt.Sprint(n.name, batch, sharing, bias), outputsOf(got, "precond/", ""), outputsOf(want, "precond/", ""), 1e-9)
				}
			}
		}
	}
}

// TestOneSided: the direction times the damped second moment of the inputs is the gradient.
func TestOneSided(t *testing.T) {
	for _, n := range allNets() {
		r := runTaps(t, n, record(t, "foof", "solve.every=1", "damping=0.1"), 6, 5, 3)[2]
		for _, l := range n.layers {
			if l.kind == "unit" {
				continue
			}
			var a *mat.Dense
			if n.tokens > 0 && l.io {
				v := r.out["asdl/"+l.name+"/A/next"].v
				a = mat.DenseCopyOf(mat.NewDiagDense(len(v), v))
				a.Scale(1/r.out["asdl/"+l.name+"/weight/next"].v[0], a)
			} else {
				a = r.state(l.name, "A")
			}
			near(t, n.name+", "+l.name, flat(product(r.direction(l), addEye(a, 0.1))), flat(r.gradient(l)), 1e-9)
		}
	}
}

// TestRankOneTwin: the direction is the dense solve with the outer product of the mean input and the mean output gradient; with
// one example that is the example's own matrix.
func TestRankOneTwin(t *testing.T) {
	const lambda = 0.07
	for _, n := range []*net{mlpNet(), sequenceNet(true), convNet(), tiedNet()} {
		for _, batch := range []int{1, 5} {
			r := runTaps(t, n, record(t, "eva", "apply.kl_clip=0", "accumulate.beta=0", fmt.Sprint("damping=", lambda)), 7, batch, 2)[1]
			for _, l := range matrixLayers(n) {
				o := r.tw.outputs(l)
				taps := n.capture(r.tw.params, r.x, l.name, o, crossEntropyOf(r.target))
				a, d := make([]float64, len(taps.a[0])), make([]float64, o)
				for u := range taps.a {
					for i, v := range taps.a[u] {
						a[i] += v / float64(len(taps.a))
					}
					for i, v := range taps.g[u] {
						d[i] += v / r.rows
					}
				}
				if r.tw.joint(l) {
					a = append(a, 1)
				}
				v := flat(kron(mat.NewDense(o, 1, d), mat.NewDense(len(a), 1, a)))
				block := addEye(mat.NewDense(len(v), len(v), nil), lambda)
				outer(block, 1, v)
				var want mat.VecDense
				must(want.SolveVec(block, mat.NewVecDense(len(v), flat(r.gradient(l)))))
				near(t, fmt.Sprintf("%s, batch %d, %s", n.name, batch, l.name), flat(r.direction(l)), want.RawVector().Data, 1e-9)
				if batch == 1 && n.name == "mlp" {
					near(t, "one example: "+l.name, v, flat(r.examples(l)[0]), 1e-9)
				}
			}
		}
	}
}

// TestUnitTwin: the blocks are the diagonal blocks of the dense matrix of a batch, over units, and rows of the direction their
// damped solves.
func TestUnitTwin(t *testing.T) {
	const lambda = 0.05
	for _, n := range []*net{mlpNet(), sequenceNet(true), sequenceNet(false), convNet(), tiedNet()} {
		r := runTaps(t, n, record(t, "unit-ng", "curvature.source=emp", "accumulate.beta=0", "accumulate.debias=false", "solve.every=1", "apply.kl_clip=0", fmt.Sprint("damping=", lambda)), 8, 5, 2)[1]
		for _, l := range matrixLayers(n) {
			g := r.gradient(l)
			o, i := g.Dims()
			got := r.out["asdl/"+l.name+"/F/next"].v
			for k := range o {
				f := mat.NewDense(i, i, nil)
				for _, e := range r.examples(l) {
					outer(f, 1/r.rows, e.RawRowView(k))
				}
				at := fmt.Sprintf("%s, %s, unit %d", n.name, l.name, k)
				near(t, at+": block", got[k*i*i:(k+1)*i*i], flat(f), 1e-10)
				var d mat.VecDense
				must(d.SolveVec(addEye(f, lambda), mat.NewVecDense(i, g.RawRowView(k))))
				near(t, at+": direction", r.direction(l).RawRowView(k), d.RawVector().Data, 1e-9)
			}
		}
	}
}

// TestDenseBudget: dense blocks beyond the budget are not made, and the note says how large they would be.
func TestDenseBudget(t *testing.T) {
	n := mlpNet()
	rng := rand.New(rand.NewPCG(9, 61))
	text := source(n.body, n.params(rng))
	first := 2 * 4 * 4 * 4 * 8 // 4 units of 4x4 and their inverses, float64
	for bytes, covered := range map[int]int{first - 1: 0, first: 1, 1 << 20: 2} {
		r := compile(t, text, record(t, "unit-ng", fmt.Sprint("representation.max_bytes=", bytes)), pass.Options{})
		made := 0
		for _, note := range r.Report.Layers {
			if !note.Fallback {
				made++
			} else if note.Reason == "" {
				t.Errorf("no reason: %+v", note)
			}
		}
		if made != covered {
			t.Errorf("budget %d: %d layers, want %d: %+v", bytes, made, covered, r.Report.Layers)
		}
	}
}

// TestSequencesFirst: a network that takes [T, N, ...] is preconditioned as one that takes [N, T, ...].
func TestSequencesFirst(t *testing.T) {
	rng := rand.New(rand.NewPCG(41, 1))
	params := arrays{"l.weight": normals(rng, 4, 3), "l.bias": normals(rng, 3)}
	x, target := normals(rng, 5, 2, 4), labels(rng, 3, 5)
	turned := newArray(2, 5, 4)
	for n := range 5 {
		for p := range 2 {
			copy(turned.v[(p*5+n)*4:][:4], x.v[(n*2+p)*4:])
		}
	}
	net := func(shape string, axis int) string {
		return source(fmt.Sprintf(`(double[%s,4] x) => (double[N,3] y) PARAMS {
			m = MatMul (x, "l.weight") z = Add (m, "l.bias") h = Tanh (z) y = ReduceMean <axes: ints = [%d], keepdims: int = 0> (h) }`, shape, axis), params)
	}
	for _, sharing := range []string{"expand", "reduce"} {
		set := []string{"curvature.source=exact", "curvature.sharing=" + sharing}
		one := factors(t, net("N,2", 1), arrays{"x": x, "target": target}, pass.Options{}, set...)
		two := factors(t, net("2,N", 0), arrays{"x": turned, "target": target}, pass.Options{}, set...)
		for _, name := range []string{"precond/l.weight", "precond/l.bias", "asdl/l/A/next", "asdl/l/S/next"} {
			near(t, sharing+": "+name, two[name].v, one[name].v, 1e-12)
		}
	}
}
