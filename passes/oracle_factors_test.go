package passes_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/asdlc/asdlc/passes/pass"
)

// factors runs one step of K-FAC that keeps the newest statistics, and returns the step's outputs.
func factors(t *testing.T, text string, feeds arrays, o pass.Options, set ...string) arrays {
	t.Helper()
	o.OutputPrecond, o.OutputGrad, o.Noise = true, true, "input"
	set = append([]string{"accumulate.beta=0", "accumulate.debias=false", "solve.every=1"}, set...)
	return instrument(t, text, record(t, "kfac", set...), o).step(feeds)
}

func factor(out arrays, layer, slot string) *mat.Dense {
	return out["asdl/"+layer+"/"+slot+"/next"].dense()
}

func kron(s, a *mat.Dense) *mat.Dense {
	var k mat.Dense
	k.Kronecker(s, a)
	return &k
}

// layerRow is one row's gradient in a layer's Ŵ, row-major.
func layerRow(tw *kfacTwin, l layerRef, g arrays) []float64 { return flat(tw.matrix(l, g)) }

// TestKFACSingleExample: with one example and its own label the Kronecker product is the outer product of the gradient.
func TestKFACSingleExample(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, n := range []*net{mlpNet()} {
		params := n.params(rng)
		x, target := n.inputs(rng, 1), labels(rng, n.classes, 1)
		out := factors(t, source(n.body, params), arrays{"x": x, "target": target}, pass.Options{}, "curvature.source=emp")
		tw := newKFACTwin(n, record(t, "kfac"), params)
		g := n.perRow(params, x, crossEntropyOf(target))[0]
		for _, l := range n.layers {
			v := layerRow(tw, l, g)
			want := mat.NewDense(len(v), len(v), nil)
			outer(want, 1, v)
			near(t, l.name, flat(kron(factor(out, l.name, "S"), factor(out, l.name, "A"))), flat(want), 1e-10)
		}
	}
}

// gaussNewton is the block of a layer in (1/rows) sum J^T (2/C I) J, the Gauss-Newton matrix of the mean squared error.
func gaussNewton(n *net, tw *kfacTwin, l layerRef, x array) *mat.Dense {
	var block *mat.Dense
	rows := float64(x.shape[0] * n.rows)
	for c := range n.classes {
		pick := func(_ int, z vec) complex128 { return z[c] }
		for _, g := range n.perRow(tw.params, x, pick) {
			v := layerRow(tw, l, g)
			if block == nil {
				block = mat.NewDense(len(v), len(v), nil)
			}
			outer(block, 2/float64(n.classes)/rows, v)
		}
	}
	return block
}

// linearNets are deep linear networks, for which the Kronecker block of the exact Fisher matrix is exact.
func linearNets() map[string]*net {
	deep := &net{
		name: "deep linear",
		body: `(double[N,3] x) => (double[N,2] y) PARAMS {
			h = Gemm <transB: int = 1> (x, "fc1.weight", "fc1.bias")  y = Gemm <transB: int = 1> (h, "fc2.weight", "fc2.bias") }`,
		shapes: map[string][]int{"fc1.weight": {4, 3}, "fc1.bias": {4}, "fc2.weight": {2, 4}, "fc2.bias": {2}},
		x:      []int{3}, classes: 2, rows: 1,
		layers: []layerRef{{name: "fc1", w: "fc1.weight", b: "fc1.bias"}, {name: "fc2", w: "fc2.weight", b: "fc2.bias"}},
		forward: func(r *ref, x vec) []vec {
			return []vec{r.linear("fc2", "fc2.weight", "fc2.bias", r.linear("fc1", "fc1.weight", "fc1.bias", x))}
		},
	}
	each := func(r *ref, x vec) []vec {
		var zs []vec
		for t := range 3 {
			zs = append(zs, r.linear("fc2", "fc2.weight", "fc2.bias", r.linear("fc1", "fc1.weight", "fc1.bias", x[3*t:3*t+3])))
		}
		return zs
	}
	head := `(double[N,3,3] x) => (double[N,%s2] y) PARAMS {
		t1 = Transpose ("fc1.weight")  m1 = MatMul (x, t1)  h = Add (m1, "fc1.bias")
		t2 = Transpose ("fc2.weight")  m2 = MatMul (h, t2)  z = Add (m2, "fc2.bias")  %s }`
	summed, pooled := *deep, *deep
	summed.x, summed.rows, summed.forward = []int{3, 3}, 3, each
	summed.body = fmt.Sprintf(head, "3,", "y = Identity (z)")
	pooled.x = []int{3, 3}
	pooled.forward = func(r *ref, x vec) []vec { return []vec{meanOf(each(r, x))} }
	pooled.body = fmt.Sprintf(head, "", "y = ReduceMean <axes: ints = [1], keepdims: int = 0> (z)")
	return map[string]*net{"one position": deep, "loss at each position": &summed, "loss of the mean": &pooled}
}

// TestKFACExactBlocks: for deep linear networks, squared error and exact output factors, S (x) A is the Gauss-Newton
// block; over positions this needs expand where the loss is a sum over them and reduce where the output is their mean
// (Eschenhagen et al. 2023), and the other choice is wrong.
func TestKFACExactBlocks(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 1))
	for name, n := range linearNets() {
		for _, sharing := range []string{"expand", "reduce"} {
			params, x := n.params(rng), n.inputs(rng, 4)
			target := normals(rng, append(n.labelShape(4), 2)...)
			out := factors(t, source(n.body, params), arrays{"x": x, "target": target},
				pass.Options{Loss: pass.LossOptions{Row: "mse"}}, "curvature.source=exact", "curvature.sharing="+sharing)
			tw := newKFACTwin(n, record(t, "kfac"), params)
			exact := name == "one position" || (sharing == "expand") == (name == "loss at each position")
			for _, l := range n.layers {
				got, want := kron(factor(out, l.name, "S"), factor(out, l.name, "A")), gaussNewton(n, tw, l, x)
				if exact {
					near(t, name+", "+sharing+", "+l.name, flat(got), flat(want), 1e-10)
					continue
				}
				var off mat.Dense
				off.Sub(got, want)
				if mat.Norm(&off, 2) < 0.05*mat.Norm(want, 2) {
					t.Errorf("%s, %s, %s: the wrong choice of sharing is exact", name, sharing, l.name)
				}
			}
		}
	}
}

// TestSampledFactorExpectation: weighting the factor of each label by its probability gives the exact source's factor,
// with label smoothing too: the Hessian of the loss does not depend on the labels.
func TestSampledFactorExpectation(t *testing.T) {
	for _, smoothing := range []float64{0, 0.2} {
		rng := rand.New(rand.NewPCG(3, 1))
		n := mlpNet()
		params, x := n.params(rng), n.inputs(rng, 2)
		target := labels(rng, n.classes, 2)
		o := pass.Options{Loss: pass.LossOptions{LabelSmoothing: smoothing}}
		text := source(n.body, params)
		exact := factors(t, text, arrays{"x": x, "target": target}, o, "curvature.source=exact")
		logits := n.logits(params, x)
		s := instrument(t, text, record(t, "kfac", "accumulate.beta=0", "accumulate.debias=false", "solve.every=1"),
			pass.Options{Noise: "input", Loss: o.Loss})
		sums := map[string]*mat.Dense{}
		for y0 := range n.classes {
			for y1 := range n.classes {
				for name, p := range params { // back to the same parameters
					must(s.session.SetState(name, p.tensor(s.ports[name].Type.Elem)))
				}
				out := s.step(arrays{"x": x, "target": target, "asdl/noise/labels": {[]int{1, 2}, []float64{float64(y0), float64(y1)}}})
				weight := softmax(logits[0])[y0] * softmax(logits[1])[y1]
				for _, l := range n.layers {
					m := factor(out, l.name, "S")
					if sums[l.name] == nil {
						sums[l.name] = mat.NewDense(m.RawMatrix().Rows, m.RawMatrix().Cols, nil)
					}
					m.Scale(weight, m)
					sums[l.name].Add(sums[l.name], m)
				}
			}
		}
		for _, l := range n.layers {
			near(t, fmt.Sprintf("smoothing %g: S of %s", smoothing, l.name), flat(sums[l.name]), flat(factor(exact, l.name, "S")), 1e-10)
		}
	}
}

// TestSampledSquaredError: normals e fed as noise give output gradients -sqrt(2/C) e for the mean squared error, and
// -sqrt(2) e where the squares of a row are summed.
func TestSampledSquaredError(t *testing.T) {
	for reduction, variance := range map[string]float64{"mean": 2.0 / 3, "rows": 2, "sum": 2} {
		rng := rand.New(rand.NewPCG(4, 1))
		n := mlpNet()
		params, x := n.params(rng), n.inputs(rng, 4)
		draws := normals(rng, 2, 4, 3)
		out := factors(t, source(n.body, params), arrays{"x": x, "target": normals(rng, 4, 3), "asdl/noise/targets": draws},
			pass.Options{Loss: pass.LossOptions{Row: "mse", Reduction: reduction}}, "curvature.samples=2")
		tw := newKFACTwin(n, record(t, "kfac"), params)
		var losses []objective
		for d := range 2 {
			var seeds [][]float64
			for r := range 4 {
				seed := make([]float64, 3)
				for c := range seed {
					seed[c] = -math.Sqrt(variance) * draws.v[12*d+3*r+c]
				}
				seeds = append(seeds, seed)
			}
			losses = append(losses, along(seeds))
		}
		for _, l := range n.layers {
			want := tw.statistics(l, x, losses, 0.5)
			near(t, reduction+": A of "+l.name, flat(factor(out, l.name, "A")), flat(want[0]), 1e-10)
			near(t, reduction+": S of "+l.name, flat(factor(out, l.name, "S")), flat(want[1]), 1e-10)
		}
	}
}

// TestIgnoredLabels: rows whose label is ignored add nothing to loss, gradient and output factor, and do not count.
func TestIgnoredLabels(t *testing.T) {
	ignore := int64(-100)
	for _, src := range []string{"mc", "emp", "exact"} {
		rng := rand.New(rand.NewPCG(5, 1))
		n := sequenceNet(false)
		params, x := n.params(rng), n.inputs(rng, 3)
		target, draws := labels(rng, n.classes, 3, 3), labels(rng, n.classes, 1, 9)
		counts := []float64{1, 0, 1, 1, 1, 0, 0, 1, 1}
		for r, c := range counts {
			if c == 0 {
				target.v[r] = float64(ignore)
			}
		}
		masked := func(f objective) objective {
			return func(row int, z vec) complex128 {
				if counts[row] == 0 {
					return 0
				}
				return f(row, z)
			}
		}
		rec := record(t, "kfac", "accumulate.beta=0", "accumulate.debias=false", "solve.every=1", "curvature.source="+src)
		out := instrument(t, source(n.body, params), rec, pass.Options{Noise: "input", OutputGrad: true, Loss: pass.LossOptions{IgnoreIndex: &ignore}}).
			step(arrays{"x": x, "target": target, "asdl/noise/labels": draws})
		tw := newKFACTwin(n, rec, params)
		grads := n.gradient(params, x, masked(crossEntropyOf(target)))
		for _, g := range grads {
			for i := range g.v {
				g.v[i] /= 6
			}
		}
		nearAll(t, src, outputsOf(out, "grad/", ""), grads, 1e-10)
		losses, average := tw.draws(x, crossEntropyOf(target), []array{draws})
		for i := range losses {
			losses[i] = masked(losses[i])
		}
		for _, l := range n.layers {
			if l.kind == "unit" {
				continue
			}
			want := tw.statistics(l, x, losses, average*9/6)
			near(t, src+": S of "+l.name, flat(factor(out, l.name, "S")), flat(want[1]), 1e-10)
		}
	}
}

// TestBatchNormUnits: the 2x2 blocks of a batch normalisation, with statistics of the batch or frozen ones, sum an
// example's gradient over its pixels first.
func TestBatchNormUnits(t *testing.T) {
	for _, bn := range []string{"train", "frozen"} {
		rng := rand.New(rand.NewPCG(6, 1))
		const batch, pixels, channels, lambda, eps = 4, 6, 3, 0.05, 0.125
		params := arrays{
			"bn.weight": normals(rng, channels), "bn.bias": normals(rng, channels),
			"bn.running_mean": normals(rng, channels), "bn.running_var": {[]int{channels}, []float64{0.5, 1.5, 2.5}},
		}
		text := source(`(double[N,3,2,3] x) => (double[N,3] y) PARAMS {
			u = BatchNormalization <epsilon: float = 0.125> (x, "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var")  y = ReduceMean <axes: ints = [2,3], keepdims: int = 0> (u) }`, params)
		x, target := normals(rng, batch, channels, 2, 3), labels(rng, channels, batch)
		out := factors(t, text, arrays{"x": x, "target": target}, pass.Options{BN: bn}, "curvature.source=emp", fmt.Sprintf("damping=%g", lambda))
		at := func(n, c, p int) float64 { return x.v[(n*channels+c)*pixels+p] }
		unit := newArray(batch, channels) // mean over pixels of the normalised input
		for c := range channels {
			mean, variance := params["bn.running_mean"].v[c], params["bn.running_var"].v[c]
			if bn == "train" {
				mean, variance = 0, 0
				for n := range batch {
					for p := range pixels {
						mean += at(n, c, p) / (batch * pixels)
					}
				}
				for n := range batch {
					for p := range pixels {
						variance += (at(n, c, p) - mean) * (at(n, c, p) - mean) / (batch * pixels)
					}
				}
			}
			for n := range batch {
				for p := range pixels {
					unit.v[n*channels+c] += (at(n, c, p) - mean) / math.Sqrt(variance+eps) / pixels
				}
			}
		}
		dw, db := newArray(channels), newArray(channels)
		for c := range channels {
			f := mat.NewDense(2, 2, nil)
			g := mat.NewVecDense(2, nil)
			for n := range batch {
				z := make([]float64, channels)
				for k := range z {
					z[k] = unit.v[n*channels+k]*params["bn.weight"].v[k] + params["bn.bias"].v[k]
				}
				delta := softmax(z)[c]
				if int(target.v[n]) == c {
					delta--
				}
				pair := []float64{delta * unit.v[n*channels+c], delta}
				outer(f, 1.0/batch, pair)
				g.AddScaledVec(g, 1.0/batch, mat.NewVecDense(2, pair))
			}
			near(t, bn+": block", out["asdl/bn/F/next"].v[4*c:4*c+4], flat(f), 1e-9)
			var d mat.VecDense
			must(d.SolveVec(addEye(f, lambda), g))
			dw.v[c], db.v[c] = d.AtVec(0), d.AtVec(1)
		}
		near(t, bn+": scale", out["precond/bn.weight"].v, dw.v, 1e-9)
		near(t, bn+": shift", out["precond/bn.bias"].v, db.v, 1e-9)
	}
}

// TestKFACConvolutionIsLinear: a convolution with a single output position is a linear layer on the patch.
func TestKFACConvolutionIsLinear(t *testing.T) {
	for _, side := range []int{1, 2} {
		rng := rand.New(rand.NewPCG(8, 1))
		in := 3 * side * side
		w, b := normals(rng, 4, in), normals(rng, 4)
		x, target := normals(rng, 5, in), labels(rng, 4, 5)
		linear := source(fmt.Sprintf(`(double[N,%d] x) => (double[N,4] y) PARAMS { y = Gemm <transB: int = 1> (x, "l.weight", "l.bias") }`, in),
			arrays{"l.weight": w, "l.bias": b})
		conv := source(fmt.Sprintf(`(double[N,3,%d,%d] x) => (double[N,4] y) PARAMS {
			z = Conv <kernel_shape: ints = [%d,%d]> (x, "l.weight", "l.bias")  y = Flatten <axis: int = 1> (z) }`, side, side, side, side),
			arrays{"l.weight": {[]int{4, 3, side, side}, w.v}, "l.bias": b})
		for _, sharing := range []string{"expand", "reduce"} {
			set := []string{"curvature.source=exact", "curvature.sharing=" + sharing}
			one := factors(t, linear, arrays{"x": x, "target": target}, pass.Options{}, set...)
			two := factors(t, conv, arrays{"x": {[]int{5, 3, side, side}, x.v}, "target": target}, pass.Options{}, set...)
			for _, name := range []string{"precond/l.weight", "precond/l.bias", "asdl/l/A/next", "asdl/l/S/next", "l.weight/next"} {
				near(t, fmt.Sprintf("side %d, %s: %s", side, sharing, name), two[name].v, one[name].v, 1e-12)
			}
		}
	}
}

// TestKFACEmbeddingIsLinear: an embedding is a linear layer on one-hot inputs.
func TestKFACEmbeddingIsLinear(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 1))
	w := normals(rng, 5, 3)
	ids, target := labels(rng, 4, 6), labels(rng, 3, 6)
	hot := newArray(6, 5)
	for i, id := range ids.v {
		hot.v[5*i+int(id)] = 1
	}
	set := []string{"curvature.source=exact"}
	linear := factors(t, source(`(double[N,5] x) => (double[N,3] y) PARAMS { y = MatMul (x, "e.weight") }`, arrays{"e.weight": w}),
		arrays{"x": hot, "target": target}, pass.Options{}, set...)
	gather := factors(t, source(`(int64[N] x) => (double[N,3] y) PARAMS { y = Gather <axis: int = 0> ("e.weight", x) }`, arrays{"e.weight": w}),
		arrays{"x": ids, "target": target}, pass.Options{}, set...)
	for _, name := range []string{"precond/e.weight", "asdl/e/S/next", "e.weight/next"} {
		near(t, name, gather[name].v, linear[name].v, 1e-12)
	}
	diagonal := factor(linear, "e", "A")
	for i, v := range gather["asdl/e/A/next"].v {
		near(t, "frequency", []float64{v}, []float64{diagonal.At(i, i)}, 1e-12)
	}
}

// TestKFACLargeSides: factors beyond the innermost Cholesky, of sides that are no power of two, by the native kernel and
// by the function's body.
func TestKFACLargeSides(t *testing.T) {
	const in, out, lambda = 37, 70, 1e-3
	rng := rand.New(rand.NewPCG(12, 1))
	text := source(fmt.Sprintf(`(double[N,%d] x) => (double[N,%d] y) PARAMS { y = Gemm <transB: int = 1> (x, "l.weight", "l.bias") }`, in, out),
		arrays{"l.weight": normals(rng, out, in), "l.bias": normals(rng, out)})
	feeds := arrays{"x": normals(rng, 90, in), "target": labels(rng, out, 90)}
	for _, o := range []pass.Options{{}, {Inline: true}} {
		got := factors(t, text, feeds, o, "curvature.source=emp", fmt.Sprintf("damping=%g", lambda))
		a, s := factor(got, "l", "A"), factor(got, "l", "S")
		pi := math.Sqrt(mean(a) / mean(s))
		a, s = addEye(a, pi*math.Sqrt(lambda)), addEye(s, math.Sqrt(lambda)/pi)
		g := mat.NewDense(out, in+1, nil)
		g.Augment(got["grad/l.weight"].dense(), mat.NewDense(out, 1, got["grad/l.bias"].v))
		var left, right mat.Dense
		must(left.Solve(s, g))
		must(right.Solve(a, left.T()))
		d := mat.DenseCopyOf(right.T())
		near(t, fmt.Sprint("inline ", o.Inline, ": weight"), got["precond/l.weight"].v, flat(mat.DenseCopyOf(d.Slice(0, out, 0, in))), 1e-9)
		near(t, fmt.Sprint("inline ", o.Inline, ": bias"), got["precond/l.bias"].v, flat(mat.DenseCopyOf(d.Slice(0, out, in, in+1))), 1e-9)
	}
}
