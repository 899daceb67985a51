package passes_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/asdlc/asdlc/passes/pass"
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

// gaussNewton is the Gauss-Newton matrix of the mean cross-entropy in all parameters, in the order of coordinates: the sum of
// the outer products of the gradients along the columns of a root of each row's Hessian in the logits.
func (n *net) gaussNewton(ps arrays, x array) [][]float64 {
	names, index := coordinates(ps)
	out := make([][]float64, len(names))
	for k := range out {
		out[k] = make([]float64, len(names))
	}
	tw := &kfacTwin{net: n, params: ps}
	for _, column := range tw.exactDraws(x) {
		for _, g := range n.perRow(ps, x, column) {
			for k := range names {
				for j := range names {
					out[k][j] += g[names[k]].v[index[k]] * g[names[j]].v[index[j]] / float64(x.shape[0]*n.rows)
				}
			}
		}
	}
	return out
}

// TestGaussNewtonProducts: v.Gv of the graph against the Gauss-Newton matrix of a network that shares no code with the compiler.
func TestGaussNewtonProducts(t *testing.T) {
	for _, n := range allNets() {
		rng := rand.New(rand.NewPCG(1, 93))
		params := n.params(rng)
		data, v := n.batch(rng, 4), probes(rng, "normal", params)
		rec := record(t, "sfn", with(newest, "curvature.probe=normal", "curvature.matrix=GGN", "curvature.source=ggnvp")...)
		out := instrument(t, source(n.body, params), rec, pass.Options{Noise: "input"}).step(fed(data, v))
		for name, a := range hessianTimes(n.gaussNewton(params, data["x"]), params, v) {
			for i := range a.v {
				a.v[i] *= v[name].v[i]
			}
			near(t, n.name+": "+name, out["asdl/"+name+"/D/next"].v, a.v, 1e-9)
		}
	}
}

// TestGaussNewtonPSGD: on a Gauss-Newton matrix that is a Kronecker product, P approaches its inverse.
func TestGaussNewtonPSGD(t *testing.T) {
	const rows, cols, steps = 3, 4, 6000
	rng := rand.New(rand.NewPCG(2, 93))
	text, feeds, h := kroneckerHessian(rng, rows, cols)
	s := instrument(t, text, recordFile(t, "ggn-psgd", "damping=0"), pass.Options{Noise: "input", Loss: pass.LossOptions{Row: "mse", Reduction: "sum"}})
	var out arrays
	for k := range steps {
		mu := 0.1 * math.Pow(1e-3, float64(k)/steps)
		out = s.step(feeds().with("asdl/noise/probe/w", normals(rng, rows, cols)).with("precond_lr", number(mu)))
	}
	for name := range out {
		if l, ok := cutSlot(name, "Q_l/next"); ok {
			tw := &psgdTwin{q: [2]*mat.Dense{out[l+"Q_l/next"].dense(), out[l+"Q_r/next"].dense()}}
			if e := inverseError(tw, h); !(e < 1e-3) {
				t.Errorf("P is off the inverse by %g", e)
			}
			return
		}
	}
	t.Error("no factors")
}

// TestProductsInBasis: KFE-ESGD divides the debiased momentum, turned into the eigenbases, by the root of the mean of squared
// Hessian-vector products there; vectors have no basis. With AdaHessian's estimates likewise.
func TestProductsInBasis(t *testing.T) {
	n := mlpNet()
	for _, set := range [][]string{
		{"accumulate.every=1"},
		{"accumulate.every=2", "accumulate.warmup=0", "curvature.samples=2"},
		{"curvature.estimate=diag_squared", "curvature.probe=rademacher"},
		{"curvature.matrix=GGN", "curvature.source=ggnvp", "curvature.estimate=diag"},
	} {
		rec := recordFile(t, "kfe-esgd", append([]string{"solve.every=1", "damping=0.05", "accumulate.beta=0.8"}, set...)...)
		rng := rand.New(rand.NewPCG(3, 93))
		params := n.params(rng)
		s := instrument(t, source(n.body, params), rec, all)
		m, v := params.clone(), params.clone()
		for name := range params {
			m[name], v[name] = newArray(params[name].shape...), newArray(params[name].shape...)
		}
		weight, beta1, beta2 := 0.0, rec.Apply.Beta, rec.Accumulate.Beta
		for k := range 5 {
			data := n.batch(rng, 4).with("lr", number(0))
			draws, feeds := drawnProbes(rng, rec, params, data)
			out := s.step(feeds)
			curve := n.hessian(params, data["x"], crossEntropyOf(data["target"]))
			if rec.Curvature.Source == "ggnvp" {
				curve = n.gaussNewton(params, data["x"])
			}
			tick := k < rec.Accumulate.Warmup || due(k-rec.Accumulate.Warmup, rec.Accumulate.Every)
			if tick {
				weight = beta2*weight + 1 - beta2
			}
			for name, p := range params {
				turn := func(x array, back bool) array { return x }
				if len(p.shape) == 2 {
					q0, q1 := out["asdl/"+name+"/basis0/next"].dense(), out["asdl/"+name+"/basis1/next"].dense()
					turn = func(x array, back bool) array {
						if back {
							return array{p.shape, flat(product(q0, x.dense(), q1.T()))}
						}
						return array{p.shape, flat(product(q0.T(), x.dense(), q1))}
					}
				}
				if tick {
					for i := range v[name].v {
						v[name].v[i] *= beta2
					}
					for _, probe := range draws {
						hv := turn(hessianTimes(curve, params, probe)[name], false)
						z := turn(probe[name], false)
						for i, x := range estimate(rec.Curvature.Estimate, hv.v, z.v) {
							v[name].v[i] += (1 - beta2) * x / float64(len(draws))
						}
					}
				}
				g := out["grad/"+name]
				for i := range g.v {
					m[name].v[i] = beta1*m[name].v[i] + (1-beta1)*g.v[i]
				}
				d := turn(times(m[name], 1/(1-math.Pow(beta1, float64(k+1)))), false)
				for i := range d.v {
					c := math.Abs(v[name].v[i]) / weight
					if rec.Curvature.Estimate != "diag" {
						c = math.Sqrt(c)
					}
					d.v[i] /= c + 0.05
				}
				near(t, fmt.Sprint(set, " step ", k, " ", name), out["precond/"+name].v, turn(d, true).v, 1e-6)
			}
		}
	}
}

// TestResiduals: K-FAC with residuals is the dense solve with S (x) A + lambda and the mean of the outer products of the newest
// gradients, each shortened by what the factors explain of it.
func TestResiduals(t *testing.T) {
	for _, n := range []*net{mlpNet(), sequenceNet(true), convNet()} {
		rec := recordFile(t, "kfac-residual", "representation.rank=3", "solve.every=2", "curvature.source=emp", "damping=0.01", "apply.kl_clip=0")
		rows, damped := map[string][][]float64{}, map[string]*mat.Dense{}
		explained, acted := map[string]float64{}, false
		for k, r := range runTaps(t, n, rec, 9, 6, 6) {
			for _, l := range matrixLayers(n) {
				at := fmt.Sprintf("%s, %s, step %d", n.name, l.name, k)
				if k%2 == 0 {
					a, s := r.state(l.name, "A"), r.state(l.name, "S")
					pi := math.Sqrt(mean(a) / mean(s))
					da, ds := addEye(a, pi*math.Sqrt(0.01)), addEye(s, math.Sqrt(0.01)/pi)
					damped[l.name] = kron(ds, da)
					explained[l.name] = mat.Trace(product(inverseOf(damped[l.name]), kron(s, a)))
				}
				g := r.gradient(l)
				row := flat(g)
				for i := range row {
					row[i] *= math.Sqrt(r.rows)
				}
				rows[l.name] = append(rows[l.name], row)
				if len(rows[l.name]) > 3 {
					rows[l.name] = rows[l.name][1:]
				}
				c := mat.DenseCopyOf(damped[l.name])
				for _, u := range rows[l.name] {
					x := mat.NewVecDense(len(u), u)
					q := mat.Inner(x, inverseOf(damped[l.name]), x)
					if share := 1 - explained[l.name]/q; share > 0 {
						outer(c, share/3, u)
						acted = true
					}
				}
				near(t, at, flat(r.direction(l)), flat(solved(c, g)), 1e-8)
			}
		}
		if !acted {
			t.Errorf("%s: no gradient has a residual: this is no test of them", n.name)
		}
	}
}

// TestSeededLBFGS: K-FAC-seeded L-BFGS is the BFGS updates of the Kronecker inverse by the newest pairs of the layer's parameters,
// damped, in the order of their steps.
func TestSeededLBFGS(t *testing.T) {
	for _, set := range [][]string{{"damping=0.1"}, {"damping=0.05", "solve.damping.kind=iso", "every=2", "apply.beta=0.5"}} {
		for _, n := range []*net{mlpNet(), sequenceNet(true), convNet(), tiedNet()} {
			rec := recordFile(t, "kfac-lbfgs", append([]string{"representation.rank=2"}, set...)...)
			rng := rand.New(rand.NewPCG(10, 93))
			params := n.params(rng)
			s := instrument(t, source(n.body, params), rec, all)
			h0, kept := map[string]*mat.Dense{}, map[string][][2]*mat.VecDense{}
			tw := newKFACTwin(n, rec, params)
			m := map[string]*mat.Dense{}
			for k := range 6 {
				data := n.batch(rng, 4)
				out := s.step(data)
				run := &tapRun{net: n, tw: tw, out: out}
				next := params.clone()
				for name := range params {
					next[name] = out[name+"/next"]
				}
				after := n.gradient(next, data["x"], crossEntropyOf(data["target"]))
				for name, g := range after {
					after[name] = times(g, 1/float64(4*n.rows))
				}
				for _, l := range matrixLayers(n) {
					g := run.gradient(l)
					tick := due(k, rec.Solve.Every)
					if tick {
						weight := out["asdl/"+l.name+"/weight/next"].v[0]
						a, f := factor(out, l.name, "A"), factor(out, l.name, "S")
						a.Scale(1/weight, a)
						f.Scale(1/weight, f)
						root := math.Sqrt(rec.Solve.Damping.Value)
						h0[l.name] = inverseOf(kron(addEye(f, root), addEye(a, root)))
					}
					moment := g
					if beta := rec.Apply.Beta; beta > 0 {
						if m[l.name] == nil {
							r, c := g.Dims()
							m[l.name] = mat.NewDense(r, c, nil)
						}
						m[l.name].Scale(beta, m[l.name])
						var part mat.Dense
						part.Scale(1-beta, g)
						m[l.name].Add(m[l.name], &part)
						moment = mat.DenseCopyOf(m[l.name])
						moment.Scale(1/(1-math.Pow(beta, float64(k+1))), moment)
					}
					h := limited(h0[l.name], kept[l.name])
					var d mat.VecDense
					d.MulVec(h, vector(flat(moment)))
					near(t, fmt.Sprint(n.name, set, " step ", k, " ", l.name), flat(run.direction(l)), d.RawVector().Data, 1e-7)
					if !tick {
						continue
					}
					step, change := tw.matrix(l, next), tw.matrix(l, after)
					step.Sub(step, tw.matrix(l, params))
					change.Sub(change, g)
					ds, dy := damp(h0[l.name], vector(flat(step)), vector(flat(change)), rec.Solve.Damping.Kind, rec.Solve.Damping.Value)
					kept[l.name] = append(kept[l.name], [2]*mat.VecDense{ds, dy})
					kept[l.name] = kept[l.name][max(0, len(kept[l.name])-2):]
				}
				if t.Failed() {
					return
				}
				params = next
			}
		}
	}
}
