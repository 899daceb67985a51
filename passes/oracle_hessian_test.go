package passes_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/asdlc/asdlc/passes/pass"
)

// coordinates lists the entries of all parameters, in the order of names.
func coordinates(ps arrays) (names []string, index []int) {
	for _, name := range sortedKeys(ps) {
		for i := range ps[name].v {
			names, index = append(names, name), append(index, i)
		}
	}
	return names, index
}

// hessian is the Hessian of the mean loss in all parameters: central differences of gradients that are exact. Its error is
// about 1e-10.
func (n *net) hessian(ps arrays, x array, loss objective) [][]float64 {
	const h = 1e-5
	at := ps.clone()
	names, index := coordinates(ps)
	rows := float64(x.shape[0] * n.rows)
	out := make([][]float64, len(names))
	for k := range names {
		v := at[names[k]].v
		old := v[index[k]]
		v[index[k]] = old + h
		plus := n.gradient(at, x, loss)
		v[index[k]] = old - h
		minus := n.gradient(at, x, loss)
		v[index[k]] = old
		for j := range names {
			out[k] = append(out[k], (plus[names[j]].v[index[j]]-minus[names[j]].v[index[j]])/(2*h)/rows)
		}
	}
	return out
}

// hessianTimes is H v, as arrays like ps.
func hessianTimes(h [][]float64, ps, v arrays) arrays {
	names, index := coordinates(ps)
	out := arrays{}
	for name, a := range ps {
		out[name] = newArray(a.shape...)
	}
	for k := range names {
		for j := range names {
			out[names[k]].v[index[k]] += h[k][j] * v[names[j]].v[index[j]]
		}
	}
	return out
}

// probes draws a vector a parameter: normal numbers or signs.
func probes(rng *rand.Rand, kind string, ps arrays) arrays {
	out := arrays{}
	for _, name := range sortedKeys(ps) {
		out[name] = normals(rng, ps[name].shape...)
		for i, v := range out[name].v {
			if kind == "rademacher" {
				out[name].v[i] = math.Copysign(1, v)
			}
		}
	}
	return out
}

// fed adds noise inputs to a batch.
func fed(batch, probe arrays) arrays {
	for name, a := range probe {
		batch = batch.with("asdl/noise/probe/"+name, a)
	}
	return batch
}

// newest are settings under which state D is this step's estimate.
var newest = []string{"accumulate.kind=sum", "accumulate.debias=false", "accumulate.every=1"}

// TestProducts: v.Hv of the graph against the Hessian of a network that shares no code with the compiler, by the derivative
// of the gradient and by differences.
func TestProducts(t *testing.T) {
	for _, n := range allNets() {
		for hvp, tol := range map[string]float64{"tangent": 1e-7, "difference": 1e-6} {
			for _, kind := range []string{"normal", "rademacher"} {
				rng := rand.New(rand.NewPCG(1, 31))
				params := n.params(rng)
				data := n.batch(rng, 4)
				v := probes(rng, kind, params)
				rec := record(t, "sfn", with(newest, "curvature.probe="+kind)...)
				s := instrument(t, source(n.body, params), rec, pass.Options{Noise: "input", HVP: hvp})
				out := s.step(fed(data, v))
				hv := hessianTimes(n.hessian(params, data["x"], crossEntropyOf(data["target"])), params, v)
				for name, a := range hv {
					want := newArray(a.shape...)
					for i := range a.v {
						want.v[i] = a.v[i] * v[name].v[i]
					}
					near(t, fmt.Sprint(n.name, " ", hvp, " ", kind, " ", name), out["asdl/"+name+"/D/next"].v, want.v, tol)
				}
			}
		}
	}
}

// estimate is what a record's element-wise statistic makes of Hv.
func estimate(kind string, hv, v []float64) []float64 {
	out := make([]float64, len(hv))
	for i := range hv {
		switch kind {
		case "diag":
			out[i] = hv[i] * v[i]
		case "diag_squared":
			out[i] = hv[i] * v[i] * hv[i] * v[i]
		case "row_squared":
			out[i] = hv[i] * hv[i]
		}
	}
	return out
}

// kernelMean averages over all but the first two dimensions, as the convolutions of the networks have them.
func kernelMean(a array, abs bool) array {
	if len(a.shape) < 3 {
		return a
	}
	out := newArray(a.shape...)
	size := 1
	for _, d := range a.shape[2:] {
		size *= d
	}
	for i := range a.v {
		for j := range size {
			x := a.v[i/size*size+j]
			if abs {
				x = math.Abs(x)
			}
			out.v[i] += x / float64(size)
		}
	}
	return out
}

// TestHessianTwins follows the element-wise methods of Hessian-vector products over several steps.
func TestHessianTwins(t *testing.T) {
	for _, c := range []struct {
		method string
		set    []string
	}{
		{"adahessian", nil},
		{"adahessian", []string{"representation.spatial=mean_abs", "solve.power=-0.5", "update.weight_decay=0.1", "damping=0.01"}},
		{"adahessian", []string{"representation.spatial=", "accumulate.every=2", "accumulate.debias=false", "curvature.samples=2"}},
		{"sfn", nil},
		{"sfn", []string{"accumulate.kind=none", "curvature.samples=3"}},
		{"esgd", []string{"accumulate.every=3"}},
		{"esgd", []string{"accumulate.kind=ema", "accumulate.beta=0.9", "accumulate.every=2", "apply.beta=0.9", "update.momentum=0.5"}},
	} {
		for _, n := range []*net{mlpNet(), convNet()} {
			t.Run(fmt.Sprint(n.name, c.method, c.set), func(t *testing.T) {
				rng := rand.New(rand.NewPCG(2, 31))
				rec := record(t, c.method, append(c.set, "update.lr=0.02")...)
				params := n.params(rng)
				s := instrument(t, source(n.body, params), rec, all)
				d, m, buffers, weight := arrays{}, arrays{}, arrays{}, 0.0
				for name, p := range params {
					d[name], m[name] = newArray(p.shape...), newArray(p.shape...)
				}
				for k := range 5 {
					data := n.batch(rng, 4)
					samples := rec.Curvature.Samples
					feeds, draws := data, []arrays{}
					for range samples {
						draws = append(draws, probes(rng, rec.Curvature.Probe, params))
					}
					for name, p := range params {
						stacked := array{shape: append([]int{samples}, p.shape...)}
						for _, v := range draws {
							stacked.v = append(stacked.v, v[name].v...)
						}
						if samples == 1 {
							stacked.shape = p.shape
						}
						feeds = feeds.with("asdl/noise/probe/"+name, stacked)
					}
					out := s.step(feeds)
					loss := crossEntropyOf(data["target"])
					grads := n.gradient(params, data["x"], loss)
					ticks := k%max(rec.Accumulate.Every, 1) == 0
					if ticks {
						h := n.hessian(params, data["x"], loss)
						old, fresh := 1.0, 1.0
						switch rec.Accumulate.Kind {
						case "ema":
							old, fresh = rec.Accumulate.Beta, 1-rec.Accumulate.Beta
						case "none":
							old = 0
						}
						weight = old*weight + fresh
						for name := range params {
							sum := newArray(params[name].shape...)
							for _, v := range draws {
								hv := hessianTimes(h, params, v)
								e := array{params[name].shape, estimate("diag", hv[name].v, v[name].v)}
								if sp := rec.Representation.Spatial; sp != "" {
									e = kernelMean(e, sp == "mean_abs")
								}
								switch rec.Curvature.Estimate {
								case "diag_squared":
									e.v = estimate("row_squared", e.v, nil)
								case "row_squared":
									e.v = estimate("row_squared", hv[name].v, nil)
								}
								for i := range e.v {
									sum.v[i] += e.v[i] / float64(samples)
								}
							}
							for i := range sum.v {
								d[name].v[i] = old*d[name].v[i] + fresh*sum.v[i]
							}
						}
					}
					dirs := arrays{}
					for name, g := range grads {
						dir := newArray(g.shape...)
						for i := range g.v {
							g.v[i] /= 4
							x := g.v[i]
							if beta := rec.Apply.Beta; beta != 0 {
								m[name].v[i] = beta*m[name].v[i] + (1-beta)*x
								if x = m[name].v[i]; rec.Accumulate.Debias {
									x /= 1 - math.Pow(beta, float64(k+1))
								}
							}
							c := d[name].v[i]
							if rec.Accumulate.Debias {
								c /= weight
							}
							power := -rec.Solve.Power
							if rec.Curvature.Estimate != "diag" {
								power /= 2
							}
							dir.v[i] = x / (math.Pow(math.Abs(c), power) + rec.Solve.Damping.Value)
						}
						dirs[name] = dir
					}
					nearAll(t, fmt.Sprint("gradient ", k), outputsOf(out, "grad/", ""), grads, 1e-9)
					nearAll(t, fmt.Sprint("direction ", k), outputsOf(out, "precond/", ""), dirs, 1e-5)
					update(rec, rec.Update.LR, params, buffers, grads, outputsOf(out, "precond/", ""))
					nearAll(t, fmt.Sprint("parameters ", k), outputsOf(out, "", "/next"), params, 1e-9)
				}
			})
		}
	}
}
