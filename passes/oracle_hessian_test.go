package passes_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/asdlc/asdlc/passes/method"
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
// Matrices are averaged over blocks of neighbours, if they are made of such.
func kernelMean(a array, abs bool, block int) array {
	out := newArray(a.shape...)
	size := 1
	switch {
	case len(a.shape) > 2:
		for _, d := range a.shape[2:] {
			size *= d
		}
	case len(a.shape) < 2 || block < 2 || len(a.v)%block != 0:
		return a
	default:
		size = block
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

// curvedTwin is an element-wise method of Hessian-vector products in plain Go.
type curvedTwin struct {
	rec    method.Record
	d, m   arrays // estimate, first moment
	weight float64
	steps  int
}

func newCurvedTwin(rec method.Record, params arrays) *curvedTwin {
	tw := &curvedTwin{rec: rec, d: arrays{}, m: arrays{}}
	for name, p := range params {
		tw.d[name], tw.m[name] = newArray(p.shape...), newArray(p.shape...)
	}
	return tw
}

// one is what a probe gives for one parameter.
func (tw *curvedTwin) one(hv, v array) []float64 {
	if tw.rec.Curvature.Estimate == "row_squared" {
		return estimate("row_squared", hv.v, nil)
	}
	e := array{hv.shape, estimate("diag", hv.v, v.v)}
	if sp := tw.rec.Representation.Spatial; sp != "" {
		e = kernelMean(e, sp == "mean_abs", tw.rec.Representation.Block)
	}
	if tw.rec.Curvature.Estimate == "diag_squared" {
		return estimate("row_squared", e.v, nil)
	}
	return e.v
}

// refresh folds the mean over probes into the estimates.
func (tw *curvedTwin) refresh(h [][]float64, params arrays, draws []arrays) {
	old, fresh := 1.0, 1.0
	switch tw.rec.Accumulate.Kind {
	case "ema":
		old, fresh = tw.rec.Accumulate.Beta, 1-tw.rec.Accumulate.Beta
	case "none":
		old = 0
	}
	tw.weight = old*tw.weight + fresh
	for _, d := range tw.d {
		for i := range d.v {
			d.v[i] *= old
		}
	}
	for _, v := range draws {
		for name, hv := range hessianTimes(h, params, v) {
			for i, x := range tw.one(hv, v[name]) {
				tw.d[name].v[i] += fresh * x / float64(len(draws))
			}
		}
	}
}

// directions divides first moments by the curvature.
func (tw *curvedTwin) directions(grads arrays) arrays {
	tw.steps++
	power := -tw.rec.Solve.Power
	if tw.rec.Curvature.Estimate != "diag" {
		power /= 2
	}
	dirs, beta := arrays{}, tw.rec.Apply.Beta
	for name, g := range grads {
		dir := newArray(g.shape...)
		for i, x := range g.v {
			if m := tw.m[name].v; beta != 0 {
				m[i] = beta*m[i] + (1-beta)*x
				if x = m[i]; tw.rec.Accumulate.Debias {
					x /= 1 - math.Pow(beta, float64(tw.steps))
				}
			}
			c := math.Abs(tw.d[name].v[i])
			if tw.rec.Accumulate.Debias {
				c /= tw.weight
			}
			dir.v[i] = x / (math.Pow(c, power) + tw.rec.Solve.Damping.Value)
		}
		dirs[name] = dir
	}
	return dirs
}

// drawnProbes makes probes and the inputs that feed them.
func drawnProbes(rng *rand.Rand, rec method.Record, params, feeds arrays) ([]arrays, arrays) {
	var draws []arrays
	samples := rec.Curvature.Samples
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
	return draws, feeds
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
		{"adahessian", []string{"representation.block=4"}},
		{"adahessian", []string{"representation.block=2", "representation.spatial=mean_abs"}},
		{"sfn", nil},
		{"sfn", []string{"accumulate.kind=none", "curvature.samples=3"}},
		{"esgd", []string{"accumulate.every=3", "accumulate.warmup=2"}},
		{"esgd", []string{"accumulate.kind=ema", "accumulate.beta=0.9", "accumulate.every=2", "accumulate.warmup=0", "apply.beta=0.9", "update.momentum=0.5"}},
	} {
		for _, n := range []*net{mlpNet(), convNet()} {
			t.Run(fmt.Sprint(n.name, c.method, c.set), func(t *testing.T) {
				followCurved(t, n, record(t, c.method, append(c.set, "update.lr=0.02")...))
			})
		}
	}
}

func followCurved(t *testing.T, n *net, rec method.Record) {
	rng := rand.New(rand.NewPCG(2, 31))
	params := n.params(rng)
	s := instrument(t, source(n.body, params), rec, all)
	tw, buffers := newCurvedTwin(rec, params), arrays{}
	for k := range 5 {
		data := n.batch(rng, 4)
		draws, feeds := drawnProbes(rng, rec, params, data)
		out := s.step(feeds)
		loss := crossEntropyOf(data["target"])
		grads := n.gradient(params, data["x"], loss)
		for _, g := range grads {
			for i := range g.v {
				g.v[i] /= 4
			}
		}
		if acc := rec.Accumulate; k < acc.Warmup || (k-acc.Warmup)%max(acc.Every, 1) == 0 {
			tw.refresh(n.hessian(params, data["x"], loss), params, draws)
		}
		nearAll(t, fmt.Sprint("gradient ", k), outputsOf(out, "grad/", ""), grads, 1e-9)
		nearAll(t, fmt.Sprint("direction ", k), outputsOf(out, "precond/", ""), tw.directions(grads), 1e-5)
		update(rec, rec.Update.LR, params, buffers, grads, outputsOf(out, "precond/", ""))
		nearAll(t, fmt.Sprint("parameters ", k), outputsOf(out, "", "/next"), params, 1e-9)
	}
}
