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

// gramTwin forms the gradients of single examples one by one, and solves with each layer's Fisher matrix densely.
type gramTwin struct {
	*kfacTwin
	x     array
	loss  objective
	draws []objective
	share float64 // weight of a draw
}

func newGramTwin(n *net, rec method.Record, params arrays, x array, loss objective, sampled []array) *gramTwin {
	tw := &gramTwin{kfacTwin: newKFACTwin(n, rec, params), x: x, loss: loss}
	tw.draws, tw.share = tw.kfacTwin.draws(x, loss, sampled)
	return tw
}

// rows are U of a layer, whatever its kind: with the record's sharing, over all draws.
func (tw *gramTwin) rows(l layerRef) *mat.Dense {
	var rows []float64
	width := 0
	add := func(row []float64) { rows, width = append(rows, row...), len(row) }
	for _, loss := range tw.draws {
		// two uses of a tied layer are not positions of one
		if sharing := tw.rec.Curvature.Sharing; sharing == "per_example" || sharing == "reduce" && (l.kind == "unit" || tw.net.name == "tied") {
			each := tw.net.perRow(tw.params, tw.x, loss)
			for i := 0; i < len(each); i += tw.net.rows {
				sum := layerRow(tw.kfacTwin, l, each[i])
				for _, g := range each[i+1 : i+tw.net.rows] {
					for k, v := range layerRow(tw.kfacTwin, l, g) {
						sum[k] += v
					}
				}
				add(sum)
			}
			continue
		}
		tp := tw.net.capture(tw.params, tw.x, l.name, tw.outputs(l), loss)
		as, gs := tp.a, tp.g
		if tw.rec.Curvature.Sharing == "reduce" {
			as, gs = reduced(tp)
		}
		for u := range as {
			var row []float64
			for o, g := range gs[u] {
				switch {
				case l.kind == "unit":
					row = append(row, g*as[u][o], g)
				default:
					for _, a := range as[u] {
						row = append(row, g*a)
					}
					if l.b != "" {
						row = append(row, g)
					}
				}
			}
			add(row)
		}
	}
	u := mat.NewDense(len(rows)/width, width, rows)
	u.Scale(math.Sqrt(tw.share), u)
	return u
}

// gradient is the mean gradient.
func (tw *gramTwin) gradient() arrays {
	g := tw.net.gradient(tw.params, tw.x, tw.loss)
	for _, a := range g {
		for i := range a.v {
			a.v[i] /= tw.size()
		}
	}
	return g
}

func (tw *gramTwin) size() float64 { return float64(tw.x.shape[0] * tw.net.rows) }

// directions solves with U^T U / n + lambda I; embeddings keep the gradient.
func (tw *gramTwin) directions() arrays {
	grads, out := tw.gradient(), arrays{}
	for _, l := range tw.net.layers {
		if l.name == "emb" {
			out[l.w] = grads[l.w]
			continue
		}
		u, g := tw.rows(l), tw.matrix(l, grads)
		f := product(u.T(), u)
		f.Scale(1/tw.size(), f)
		tw.unpack(l, solved(addEye(f, tw.lambda), g), out)
	}
	return out
}

// solved is m^-1 vec(g), in the shape of g.
func solved(m, g *mat.Dense) *mat.Dense {
	var d mat.VecDense
	must(d.SolveVec(m, mat.NewVecDense(len(g.RawMatrix().Data), flat(g))))
	r, c := g.Dims()
	return mat.NewDense(r, c, d.RawVector().Data)
}

// TestSENGDense: without sketches the direction is the dense solve with each layer's Fisher matrix, for all kinds of layers,
// sources of curvature and ways to share a layer between positions.
func TestSENGDense(t *testing.T) {
	const batch = 4
	for _, n := range allNets() {
		for _, set := range [][]string{
			{}, {"curvature.sharing=reduce"}, {"curvature.sharing=expand"}, {"curvature.source=exact"}, {"curvature.source=mc", "curvature.samples=2"},
		} {
			rng := rand.New(rand.NewPCG(1, 61))
			params := n.params(rng)
			rec := record(t, "seng", append(set, "damping=0.3")...)
			x, target := n.inputs(rng, batch), labels(rng, n.classes, n.labelShape(batch)...)
			draws := labels(rng, n.classes, 2, batch*n.rows)
			sampled := []array{draws.part(0, 1), draws.part(1, 2)}
			out := instrument(t, source(n.body, params), rec, all).step(arrays{"x": x, "target": target, "asdl/noise/labels": draws})
			tw := newGramTwin(n, rec, params, x, crossEntropyOf(target), sampled)
			nearAll(t, fmt.Sprint(n.name, set), outputsOf(out, "precond/", ""), tw.directions(), 1e-9)
		}
	}
}

// TestSENGWays: layers of many positions and few, of which the Gram matrix is made in different ways.
func TestSENGWays(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 61))
	for _, positions := range []int{1, 2, 9} {
		n := &net{
			name: fmt.Sprint(positions, " positions"),
			body: fmt.Sprintf(`(double[N,%d,6] x) => (double[N,5] y) PARAMS {
				t = Transpose <perm: ints = [1,0]> ("l.weight")  m = MatMul (x, t)  z = Add (m, "l.bias")  a = Tanh (z)
				y = ReduceMean <axes: ints = [1], keepdims: int = 0> (a) }`, positions),
			shapes: map[string][]int{"l.weight": {5, 6}, "l.bias": {5}},
			x:      []int{positions, 6}, classes: 5, rows: 1,
			layers: []layerRef{{name: "l", w: "l.weight", b: "l.bias"}},
			forward: func(r *ref, x vec) []vec {
				var zs []vec
				for p := range positions {
					zs = append(zs, tanhs(r.linear("l", "l.weight", "l.bias", x[6*p:6*p+6])))
				}
				return []vec{meanOf(zs)}
			},
		}
		params, rec := n.params(rng), record(t, "seng", "damping=0.1")
		x, target := n.inputs(rng, 3), labels(rng, 5, 3)
		out := instrument(t, source(n.body, params), rec, all).step(arrays{"x": x, "target": target})
		nearAll(t, n.name, outputsOf(out, "precond/", ""), newGramTwin(n, rec, params, x, crossEntropyOf(target), nil).directions(), 1e-9)
	}
}

// TestSENGRank: with representation.rank the rows are the gradients of examples whose output gradients are the nearest matrices
// of that rank, by layer and on windows, through outputs and through positions.
func TestSENGRank(t *testing.T) {
	for _, n := range []*net{convNet(), sequenceNet(true), sequenceNet(false), groupsNet()} {
		for _, set := range [][]string{{"representation.rank=1"}, {"representation.rank=2"}, {"representation.rank=1", "accumulate.kind=window", "accumulate.size=9"}, {"representation.rank=50"}} {
			rng := rand.New(rand.NewPCG(7, 61))
			params, rec := n.params(rng), record(t, "seng", append(set, "damping=0.1", "fallback.norm=grad")...)
			feeds := n.batch(rng, 4)
			out := instrument(t, source(n.body, params), rec, all).step(feeds)
			if n.forward == nil { // no reference: it runs
				if !finiteArrays(out) {
					t.Errorf("%s: not finite", n.name)
				}
				continue
			}
			tw := newGramTwin(n, rec, params, feeds["x"], crossEntropyOf(feeds["target"]), nil)
			grads, want := tw.gradient(), arrays{}
			for _, l := range n.layers {
				if l.kind == "unit" {
					continue
				}
				g := tw.matrix(l, grads)
				o, i := g.Dims()
				tp := n.capture(params, feeds["x"], l.name, o, tw.loss)
				f := mat.NewDense(o*i, o*i, nil)
				for from := 0; from < len(tp.a); {
					to := from
					for to < len(tp.a) && tp.example[to] == tp.example[from] {
						to++
					}
					u, v, s := svd(withOnes(tp.g[from:to], false))
					for k := rec.Representation.Rank; k < len(s); k++ {
						s[k] = 0
					}
					cut := product(u, mat.NewDiagDense(len(s), s), v.T())
					outer(f, 1/tw.size(), flat(product(cut.T(), withOnes(tp.a[from:to], l.b != ""))))
					from = to
				}
				tw.unpack(l, solved(addEye(f, tw.lambda), g), want)
			}
			nearAll(t, fmt.Sprint(n.name, set), outputsOf(out, "precond/", ""), want, 1e-8)
		}
	}
}

// chosen are the entries of row-major rows of o x i in some rows and columns of the matrix.
func chosen(u *mat.Dense, in int, outs, ins []float64, scale float64) *mat.Dense {
	n, width := u.Dims()
	if outs == nil {
		outs = counting(width / in)
	}
	if ins == nil {
		ins = counting(in)
	}
	s := mat.NewDense(n, len(outs)*len(ins), nil)
	for r := range n {
		for j, o := range outs {
			for k, i := range ins {
				s.Set(r, j*len(ins)+k, scale*u.At(r, int(o)*in+int(i)))
			}
		}
	}
	return s
}

func counting(n int) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = float64(i)
	}
	return v
}

// TestSENGSketch: with sketches of both sides U U^T and U g are of the chosen columns, and U^T v of all.
func TestSENGSketch(t *testing.T) {
	const batch, columns = 4, 2
	for _, n := range []*net{mlpNet(), sequenceNet(true), convNet()} {
		rng := rand.New(rand.NewPCG(3, 61))
		params, rec := n.params(rng), record(t, "seng", "representation.sketch=2", "damping=0.3")
		feeds := n.batch(rng, batch)
		s := instrument(t, source(n.body, params), rec, all)
		tw := newGramTwin(n, rec, params, feeds["x"], crossEntropyOf(feeds["target"]), nil)
		grads, want := tw.gradient(), arrays{}
		for _, l := range n.layers {
			u, g := tw.rows(l), tw.matrix(l, grads)
			out, in := g.Dims()
			scale := 1.0
			pick := func(side string, size int) []float64 {
				if l.kind == "unit" || size <= columns {
					return nil
				}
				scale *= math.Sqrt(float64(size) / columns)
				perm := rng.Perm(size)
				v := array{[]int{columns}, []float64{float64(perm[0]), float64(perm[1])}}
				feeds["asdl/noise/sketch/"+l.name+"/"+side] = v
				return v.v
			}
			ins, outs := pick("inputs", in), pick("outputs", out)
			row := mat.NewDense(1, out*in, flat(g))
			su, sg := chosen(u, in, outs, ins, scale), chosen(row, in, outs, ins, scale)
			k := product(su, su.T())
			k.Scale(1/tw.size(), k)
			v := solved(addEye(k, tw.lambda), product(su, sg.T()))
			d := product(u.T(), v)
			d.Scale(-1/tw.size(), d)
			d.Add(d, row.T())
			d.Scale(1/tw.lambda, d)
			tw.unpack(l, mat.NewDense(out, in, flat(d)), want)
		}
		for name := range s.ports {
			if _, ok := feeds[name]; !ok && len(name) > 11 && name[:11] == "asdl/noise/" {
				t.Errorf("%s: input %s is not expected", n.name, name)
			}
		}
		nearAll(t, n.name, outputsOf(s.step(feeds), "precond/", ""), want, 1e-9)
	}
}

// pairs lists the pairs of different numbers below n.
func pairs(n int) []array {
	var list []array
	for i := range n {
		for j := range i {
			list = append(list, array{[]int{2}, []float64{float64(i), float64(j)}})
		}
	}
	return list
}

// TestSENGSketchExpectation: of a single example the direction is g / (K + lambda) with the sketched K = |g|^2. Its mean over
// all pairs of columns is the exact one; and what the generator draws are such pairs.
func TestSENGSketchExpectation(t *testing.T) {
	n := mlpNet()
	rng := rand.New(rand.NewPCG(4, 61))
	params, feeds := n.params(rng), n.batch(rng, 1).with("lr", number(0))
	rec := record(t, "seng", "representation.sketch=2", "damping=0.3")
	estimate := func(out arrays) float64 {
		g, d := out["grad/fc1.weight"].v, out["precond/fc1.weight"].v
		return g[0]/d[0] - 0.3
	}
	s := instrument(t, source(n.body, params), rec, all)
	var values []float64
	sum, exact := 0.0, 0.0
	for _, ins := range pairs(4) {
		for _, outs := range pairs(4) {
			out := s.step(feeds.with("asdl/noise/sketch/fc1/inputs", ins).with("asdl/noise/sketch/fc1/outputs", outs).
				with("asdl/noise/sketch/fc2/inputs", pairs(5)[0]).with("asdl/noise/sketch/fc2/outputs", pairs(3)[0]))
			values = append(values, estimate(out))
			sum += estimate(out)
			exact = 0
			for _, name := range []string{"grad/fc1.weight", "grad/fc1.bias"} {
				for _, v := range out[name].v {
					exact += v * v
				}
			}
		}
	}
	near(t, "mean over all sketches", []float64{sum / float64(len(values))}, []float64{exact}, 1e-9)

	s = instrument(t, source(n.body, params), rec, pass.Options{OutputGrad: true, OutputPrecond: true})
	seen := map[int]bool{}
	for range 60 {
		got := estimate(s.step(feeds))
		at := slices.IndexFunc(values, func(v float64) bool { return math.Abs(v-got) < 1e-9*exact })
		if at < 0 {
			t.Fatalf("a drawn sketch gives %g, which no two columns a side give", got)
		}
		seen[at] = true
	}
	if len(seen) < 15 { // of 36; 60 draws leave out 7 in the mean
		t.Errorf("60 steps draw %d different sketches", len(seen))
	}
}

// TestSENGWholeSketch: a sketch of as many columns as a layer has, or more, is none.
func TestSENGWholeSketch(t *testing.T) {
	n := sequenceNet(true)
	var dirs []arrays
	for _, columns := range []string{"0", "5", "1000"} {
		rng := rand.New(rand.NewPCG(5, 61))
		s := instrument(t, source(n.body, n.params(rng)), record(t, "seng", "representation.sketch="+columns), pass.Options{OutputPrecond: true})
		if _, ok := s.ports["asdl/seed"]; ok {
			t.Errorf("sketch %s draws columns", columns)
		}
		dirs = append(dirs, outputsOf(s.step(n.batch(rng, 4)), "precond/", ""))
	}
	nearAll(t, "sketch of 5", dirs[1], dirs[0], 0)
	nearAll(t, "sketch of 1000", dirs[2], dirs[0], 0)
}

// TestSENGImplicit: U^T v by the estimate of rank one, or of one rank a position.
func TestSENGImplicit(t *testing.T) {
	for _, n := range []*net{mlpNet(), sequenceNet(true), convNet()} {
		rng := rand.New(rand.NewPCG(6, 61))
		params, rec := n.params(rng), record(t, "seng", "apply.product=implicit", "damping=0.3")
		feeds := n.batch(rng, 4)
		out := instrument(t, source(n.body, params), rec, all).step(feeds)
		tw := newGramTwin(n, rec, params, feeds["x"], crossEntropyOf(feeds["target"]), nil)
		grads, want := tw.gradient(), arrays{}
		for _, l := range n.layers {
			if l.kind == "unit" {
				continue
			}
			u, g := tw.rows(l), tw.matrix(l, grads)
			outs, ins := g.Dims()
			row := mat.NewDense(1, outs*ins, flat(g))
			k := product(u, u.T())
			k.Scale(1/tw.size(), k)
			v := flat(solved(addEye(k, tw.lambda), product(u, row.T())))
			total := 0.0
			for _, x := range v {
				total += math.Sqrt(math.Abs(x))
			}
			tp := tw.net.capture(tw.params, tw.x, l.name, outs, tw.loss)
			positions := len(tp.a) / len(v)
			d := mat.DenseCopyOf(g)
			for p := range positions {
				left, right := make([]float64, outs), make([]float64, ins)
				for e, x := range v {
					for o, y := range tp.g[e*positions+p] {
						left[o] += math.Sqrt(math.Abs(x)) * y
					}
					a := tp.a[e*positions+p]
					if l.b != "" {
						a = append(slices.Clone(a), 1)
					}
					for i, y := range a {
						right[i] += x * y
					}
				}
				for o := range outs {
					for i := range ins {
						d.Set(o, i, d.At(o, i)-left[o]*right[i]/total/tw.size())
					}
				}
			}
			d.Scale(1/tw.lambda, d)
			tw.unpack(l, d, want)
		}
		nearAll(t, n.name, outputsOf(out, "precond/", ""), want, 1e-9)
	}
}
