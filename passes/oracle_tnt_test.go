package passes_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
)

// tntTwin is one tensor under TNT, with the covariance formed and inverted as a whole where it is small.
type tntTwin struct {
	rec    method.Record
	shape  []int // as the method sees it
	omegas []*mat.Dense
	inv    []*mat.Dense // solutions, for the whitening of fit kl
	weight float64
}

func newTNTTwin(rec method.Record, shape []int) *tntTwin {
	tw := &tntTwin{rec: rec, shape: shape}
	for _, n := range shape {
		tw.omegas = append(tw.omegas, mat.NewDense(n, n, nil))
		tw.inv = append(tw.inv, addEye(mat.NewDense(n, n, nil), 1))
	}
	return tw
}

// observe takes sums of gradients over batches of sampled labels.
func (tw *tntTwin) observe(draws [][]float64, rows float64) {
	beta := tw.rec.Accumulate.Beta
	tw.weight = beta*tw.weight + 1 - beta
	for d := range tw.shape {
		tw.omegas[d].Scale(beta, tw.omegas[d])
	}
	fresh := make([]*mat.Dense, len(tw.shape))
	for d := range tw.shape {
		fresh[d] = mat.NewDense(tw.shape[d], tw.shape[d], nil)
		for _, g := range draws {
			x, scale := g, 1/(rows*float64(len(draws)))
			if tw.rec.Representation.Fit == "kl" {
				for c := range tw.shape {
					if c != d {
						x = turned(tw.shape, x, c, symPower(tw.inv[c], 0.5))
						scale /= float64(tw.shape[c])
					}
				}
			}
			f := gram(tw.shape, x, d)
			f.Scale(scale*(1-beta), f)
			fresh[d].Add(fresh[d], f)
		}
	}
	for d := range fresh {
		tw.omegas[d].Add(tw.omegas[d], fresh[d])
	}
}

// solve inverts the damped factors.
func (tw *tntTwin) solve() {
	whole := 1.0
	for _, n := range tw.shape {
		whole *= float64(n)
	}
	k := float64(len(tw.shape))
	for d, o := range tw.omegas {
		f := mat.DenseCopyOf(o)
		f.Scale(1/tw.weight, f)
		if tw.rec.Representation.Fit == "" {
			c := math.Pow(mat.Trace(tw.omegas[0])/tw.weight/whole, 1/k)
			f.Scale(float64(tw.shape[d])/(whole*math.Pow(c, k-1)), f)
		}
		tw.inv[d] = symPower(addEye(f, tw.rec.Solve.Damping.Value), -1)
	}
}

func (tw *tntTwin) direction(g []float64) []float64 {
	for d, inv := range tw.inv {
		g = turned(tw.shape, g, d, inv)
	}
	return g
}

// viewed is the shape in which TNT sees a parameter: matrices, and convolutions with one side for the kernel's positions; a
// side of one has no factor.
func viewed(shape []int) []int {
	if len(shape) >= 4 {
		shape = []int{shape[0], shape[1], len(newArray(shape...).v) / shape[0] / shape[1]}
	}
	return slices.DeleteFunc(slices.Clone(shape), func(n int) bool { return n == 1 })
}

// TestTNTTwin follows whole networks on given labels: factors from gradients of sampled labels, one or several draws.
func TestTNTTwin(t *testing.T) {
	for _, n := range allNets() {
		for _, c := range [][]string{
			{"tnt"},
			{"tnt", "curvature.samples=3"},
			{"tnt", "accumulate.every=2", "solve.every=3", "accumulate.warmup=0", "solve.warmup=0"},
			{"kl-tnt"},
			{"kl-tnt", "curvature.samples=2", "accumulate.beta=0.5"},
		} {
			rec := record(t, c[0], c[1:]...)
			rng := rand.New(rand.NewPCG(51, 5))
			params := n.params(rng)
			s := instrument(t, source(n.body, params), rec, all)
			twins := map[string]*tntTwin{}
			for name, shape := range n.shapes {
				twins[name] = newTNTTwin(rec, viewed(shape))
			}
			due := func(k, every, warmup int) bool { return k < warmup || (k-warmup)%max(every, 1) == 0 }
			const batch = 5
			for k := range 4 {
				x, target := n.inputs(rng, batch), labels(rng, n.classes, n.labelShape(batch)...)
				samples := max(1, rec.Curvature.Samples)
				draws := labels(rng, n.classes, samples, batch*n.rows)
				out := s.step(arrays{"x": x, "target": target, "asdl/noise/labels": draws})
				rows := batch * n.rows
				sampled := map[string][][]float64{}
				for i := range samples {
					part := array{[]int{rows}, draws.v[i*rows : (i+1)*rows]}
					for name, g := range n.gradient(params, x, crossEntropyOf(part)) {
						sampled[name] = append(sampled[name], g.v)
					}
				}
				for name, g := range outputsOf(out, "grad/", "") {
					tw := twins[name]
					if due(k, rec.Accumulate.Every, rec.Accumulate.Warmup) {
						tw.observe(sampled[name], float64(rows))
					}
					if due(k, rec.Solve.Every, rec.Solve.Warmup) {
						tw.solve()
					}
					near(t, fmt.Sprintf("%s, %v, step %d: %s", n.name, c, k, name), out["precond/"+name].v, tw.direction(g.v), 1e-8)
					params[name] = out[name+"/next"]
				}
				if guards(out) != 0 {
					t.Errorf("%s, %v, step %d: guards %g", n.name, c, k, guards(out))
				}
			}
		}
	}
}

// tensorNormal is a set of tensors whose mean outer product is the Kronecker product of covariances, exactly.
func tensorNormal(covariances ...*mat.Dense) (shape []int, set [][]float64) {
	size := 1
	for _, c := range covariances {
		n, _ := c.Dims()
		shape, size = append(shape, n), size*n
	}
	for i := range size {
		x := make([]float64, size)
		x[i] = math.Sqrt(float64(size))
		for d, c := range covariances {
			x = turned(shape, x, d, symPower(c, 0.5))
		}
		set = append(set, x)
	}
	return shape, set
}

// covariance is random, with eigenvalues from 1/spread to 1.
func covariance(rng *rand.Rand, n int, spread float64) *mat.Dense {
	d := mat.NewDiagDense(n, nil)
	for i := range n {
		d.SetDiag(i, math.Pow(spread, -float64(i)/math.Max(1, float64(n-1))))
	}
	q := orthogonal(rng, n)
	return product(q, d, q.T())
}

// drawing makes a step on which the sampled gradients are a population: the labels of a squared error are its outputs plus
// given noise.
func drawing(t *testing.T, name string, shape []int, set [][]float64, opts ...string) (s *stepper, feeds func(g array) arrays) {
	t.Helper()
	text, given := given(shape...)
	s = instrument(t, text, record(t, name, append(opts, fmt.Sprint("curvature.samples=", len(set)), "curvature.variance=1")...),
		pass.Options{Noise: "input", OutputPrecond: true, OutputGrad: true, Loss: pass.LossOptions{Row: "mse", Reduction: "sum"}})
	var noise []float64
	for _, x := range set {
		noise = append(noise, x...)
	}
	return s, func(g array) arrays {
		return given(g).with("asdl/noise/targets", array{[]int{len(set), 1, len(set[0])}, noise})
	}
}

// TestTNTPopulation: on gradients whose covariance is exactly U (x) V (x) ... the direction without damping is
// U^-1 G V^-1 ..., up to what the sampler of squared errors scales gradients by; for a vector the whole Fisher matrix is
// inverted; and the trace of the product of the factors over tau^(k-1) is the mean square.
func TestTNTPopulation(t *testing.T) {
	rng := rand.New(rand.NewPCG(52, 5))
	for _, sides := range [][]int{{5}, {3, 4}, {2, 3, 2}} {
		var covs []*mat.Dense
		for _, n := range sides {
			covs = append(covs, covariance(rng, n, 10))
		}
		shape, set := tensorNormal(covs...)
		g := normals(rng, shape...)
		s, feeds := drawing(t, "tnt", shape, set, "damping=0")
		out := s.step(feeds(g))
		want := g.v
		for d, c := range covs {
			want = turned(shape, want, d, symPower(c, -1))
		}
		got := out["precond/w"].v
		scale := want[0] / got[0] // the square of what the sampler scales by
		near(t, fmt.Sprint(sides), times(array{shape, got}, scale).v, want, 1e-9)
		if math.Abs(scale-math.Round(scale)) > 1e-9 {
			t.Errorf("%v: directions are scaled by %g", sides, scale)
		}
		meanSquare, trace, tau := 0.0, 1.0, 0.0
		for _, x := range set {
			meanSquare += scale * length(x) * length(x) / float64(len(set))
		}
		for d := range sides {
			o := out[fmt.Sprintf("asdl/w/stat%d/next", d)].dense()
			w := out["asdl/w/weight/next"].v[0]
			tau = mat.Trace(o) / w
			trace *= tau
		}
		near(t, "trace", []float64{trace / math.Pow(tau, float64(len(sides)-1))}, []float64{meanSquare}, 1e-9)
	}
}

// TestTNTDamping: as the damping grows, the direction approaches the gradient over its k-th power (X4).
func TestTNTDamping(t *testing.T) {
	rng := rand.New(rand.NewPCG(53, 5))
	for _, sides := range [][]int{{5}, {3, 4}, {2, 3, 2}} {
		g := normals(rng, sides...)
		s, feeds := drawing(t, "tnt", sides, [][]float64{normals(rng, sides...).v}, "damping=1e8")
		out := s.step(feeds(g))
		near(t, fmt.Sprint(sides), out["precond/w"].v, times(g, math.Pow(1e8, -float64(len(sides)))).v, 1e-5)
	}
}

// TestKLTNTFixedPoint: factors that whiten each other come to rest at the covariance, from far off, and stay there exactly.
func TestKLTNTFixedPoint(t *testing.T) {
	rng := rand.New(rand.NewPCG(54, 5))
	for _, sides := range [][]int{{4}, {3, 4}, {2, 3, 2}} {
		var covs []*mat.Dense
		for _, n := range sides {
			covs = append(covs, covariance(rng, n, 10))
		}
		shape, set := tensorNormal(covs...)
		g := normals(rng, shape...)
		s, feeds := drawing(t, "kl-tnt", shape, set, "damping=0", "accumulate.beta=0.6", "every=1")
		var out arrays
		for range 120 {
			out = s.step(feeds(g))
		}
		want := g.v
		for d, c := range covs {
			want = turned(shape, want, d, symPower(c, -1))
		}
		got := out["precond/w"].v
		scale := want[0] / got[0]
		near(t, fmt.Sprint(sides), times(array{shape, got}, scale).v, want, 1e-6)
		if math.Abs(scale-math.Round(scale)) > 1e-6 {
			t.Errorf("%v: directions are scaled by %g", sides, scale)
		}
	}
}
