package passes_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
)

// tongaTwin keeps each unit's covariance densely, and cuts it to its largest eigenvalues where the record says so.
type tongaTwin struct {
	*kfacTwin
	cov    map[string][]*mat.Dense // by layer, one a unit
	weight float64
}

func newTongaTwin(n *net, rec method.Record, params arrays) *tongaTwin {
	return &tongaTwin{kfacTwin: newKFACTwin(n, rec, params), cov: map[string][]*mat.Dense{}}
}

// step gives the directions of step k.
func (tw *tongaTwin) step(k int, x array, loss objective) (grads, dirs arrays) {
	gamma, rank := tw.rec.Accumulate.Beta, tw.rec.Representation.Rank
	grads, dirs = tw.net.gradient(tw.params, x, loss), arrays{}
	for _, g := range grads {
		for i := range g.v {
			g.v[i] /= float64(x.shape[0] * tw.net.rows)
		}
	}
	tw.weight = gamma*tw.weight + 1
	for _, l := range tw.net.layers {
		if l.name == "emb" {
			continue
		}
		g := tw.matrix(l, grads)
		units, width := g.Dims()
		d := mat.NewDense(units, width, nil)
		for u := range units {
			if k == 0 {
				tw.cov[l.name] = append(tw.cov[l.name], mat.NewDense(width, width, nil))
			}
			c := tw.cov[l.name][u]
			if l.kind != "unit" && k%tw.rec.Solve.Every == 0 && k > 0 {
				c = truncated(c, rank)
			}
			c.Scale(gamma, c)
			row := mat.Row(nil, u, g)
			outer(c, 1, row)
			tw.cov[l.name][u] = c
			m := mat.DenseCopyOf(c)
			if tw.rec.Accumulate.Debias {
				m.Scale(1/tw.weight, m)
			}
			d.SetRow(u, flat(solved(addEye(m, tw.lambda), mat.NewDense(1, width, row))))
		}
		tw.unpack(l, d, dirs)
	}
	return grads, dirs
}

// truncated is a symmetric matrix cut to its largest eigenvalues.
func truncated(c *mat.Dense, rank int) *mat.Dense {
	n, _ := c.Dims()
	var eig mat.EigenSym
	sym := mat.NewSymDense(n, nil)
	for i := range n {
		for j := range n {
			sym.SetSym(i, j, (c.At(i, j)+c.At(j, i))/2)
		}
	}
	if !eig.Factorize(sym, true) {
		panic("no eigendecomposition")
	}
	var v mat.Dense
	eig.VectorsTo(&v)
	out := mat.NewDense(n, n, nil)
	for k, w := range eig.Values(nil) {
		if k >= n-rank {
			outer(out, w, mat.Col(nil, k, &v))
		}
	}
	return out
}

// TestTongaDense: over steps with changing parameters, directions and rows are those of the discounted covariances, of full
// rank where representation.rank is no less than a unit's inputs, and cut to it otherwise.
func TestTongaDense(t *testing.T) {
	for _, n := range allNets() {
		for _, set := range [][]string{
			{"representation.rank=12", "solve.every=3"},
			{"representation.rank=2", "solve.every=3"},
			{"representation.rank=1", "solve.every=1", "accumulate.beta=0.7"},
			{"representation.rank=3", "solve.every=2", "accumulate.debias=true", "damping=0.001"},
		} {
			follows(t, n, record(t, "tonga-unit", append([]string{"update.lr=0.05"}, set...)...), 8, 1e-8)
		}
	}
}

// follows runs a step graph beside a twin that takes over its parameters.
func follows(t *testing.T, n *net, rec method.Record, steps int, tol float64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 62))
	params := n.params(rng)
	s := instrument(t, source(n.body, params), rec, all)
	tw := newTongaTwin(n, rec, params)
	for k := range steps {
		feeds := n.batch(rng, 4)
		out := s.step(feeds)
		grads, dirs := tw.step(k, feeds["x"], crossEntropyOf(feeds["target"]))
		at := fmt.Sprintf("%s, rank %d, step %d", n.name, rec.Representation.Rank, k)
		nearAll(t, at+" gradient", outputsOf(out, "grad/", ""), grads, tol)
		nearAll(t, at+" direction", outputsOf(out, "precond/", ""), dirs, tol)
		for _, l := range n.layers {
			x, ok := out["asdl/"+l.name+"/X/next"]
			if !ok {
				continue
			}
			for u, c := range tw.cov[l.name] {
				rows := array{x.shape[1:], x.v[u*x.shape[1]*x.shape[2] : (u+1)*x.shape[1]*x.shape[2]]}.dense()
				near(t, fmt.Sprintf("%s: covariance of %s, unit %d", at, l.name, u), flat(product(rows.T(), rows)), flat(c), tol)
			}
		}
		if t.Failed() {
			return
		}
		for name := range tw.params {
			tw.params[name] = out[name+"/next"]
		}
	}
}

// TestGramLimits: a batch of one, gradients of zero, inputs that are not finite, and no damping.
func TestGramLimits(t *testing.T) {
	for _, name := range []string{"seng", "tonga-unit"} {
		for _, n := range []*net{mlpNet(), sequenceNet(false), convNet()} {
			rng := rand.New(rand.NewPCG(2, 62))
			params := n.params(rng)
			s := instrument(t, source(n.body, params), record(t, name), all)
			good := s.step(n.batch(rng, 1))
			if !finiteArrays(good) || guards(good) != 0 {
				t.Errorf("%s, %s, a batch of one: guards %g, finite %t", name, n.name, guards(good), finiteArrays(good))
			}
			bad := n.batch(rng, 3)
			bad["x"].v[0] = math.Inf(1)
			bad["x"].v[1] = math.NaN()
			out := s.step(bad)
			if guards(out) == 0 || !finiteArrays(outputsOf(out, "precond/", "")) {
				t.Errorf("%s, %s, inputs that are not finite: guards %g, directions %v", name, n.name, guards(out), outputsOf(out, "precond/", ""))
			}
			nearAll(t, name+": kept", curvature(out), curvature(good), 0)
			for p := range params {
				must(s.session.SetState(p, params[p].tensor(s.ports[p].Type.Elem)))
			}
			if after := s.step(n.batch(rng, 3)); !finiteArrays(after) || guards(after) != guards(out) {
				t.Errorf("%s, %s, the step after: guards %g then %g, finite %t", name, n.name, guards(out), guards(after), finiteArrays(after))
			}
		}
		text := source(`(double[N,3] x) => (double[N,2] y) PARAMS { y = MatMul (x, "l.weight") }`, arrays{"l.weight": newArray(3, 2)})
		for _, damping := range []string{"0", "0.1"} {
			s := instrument(t, text, record(t, name, "damping="+damping), pass.Options{OutputPrecond: true, Loss: pass.LossOptions{Row: "mse"}})
			out := s.step(arrays{"x": newArray(4, 3), "target": newArray(4, 2)})
			if !finiteArrays(out) || (guards(out) > 0) != (damping == "0") {
				t.Errorf("%s, gradients of zero, damping %s: guards %g, finite %t", name, damping, guards(out), finiteArrays(out))
			}
			near(t, name+", gradients of zero", out["precond/l.weight"].v, make([]float64, 6), 0)
		}
	}
}
