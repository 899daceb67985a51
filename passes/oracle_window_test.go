package passes_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/asdlc/asdlc/passes/pass"
)

// keptRows are the newest rows of several batches, each scaled so that the mean of their outer products over all rows kept is
// the matrix.
type keptRows struct {
	size int
	rows [][]float64
}

func (k *keptRows) push(u *mat.Dense, weight float64) {
	n, _ := u.Dims()
	var fresh [][]float64
	for r := range n {
		row := append([]float64{}, u.RawRowView(r)...)
		for i := range row {
			row[i] *= math.Sqrt(weight)
		}
		fresh = append(fresh, row)
	}
	k.rows = append(fresh, k.rows...)
	k.rows = k.rows[:min(len(k.rows), k.size)]
}

// moment is the mean outer product of the rows.
func (k *keptRows) moment() *mat.Dense {
	m := mat.NewDense(len(k.rows[0]), len(k.rows[0]), nil)
	for _, row := range k.rows {
		outer(m, 1/float64(len(k.rows)), row)
	}
	return m
}

// due says on which steps a clock of an interval ticks.
func due(k, every int) bool { return k%max(1, every) == 0 }

// TestWindowTwin: format gram on a window: by layer and by unit, the direction is the dense solve with the mean of the kept
// examples' outer products as the last solve saw them, and this step's gradient; batches may have any size.
func TestWindowTwin(t *testing.T) {
	for _, n := range []*net{mlpNet(), sequenceNet(true), sequenceNet(false), convNet(), tiedNet()} {
		for _, set := range [][]string{
			{"accumulate.size=4"},
			{"accumulate.size=7", "every=2"},
			{"accumulate.size=7", "accumulate.every=1", "solve.every=3", "curvature.source=mc", "curvature.samples=2"},
			{"accumulate.size=3", "accumulate.every=2", "solve.every=1", "curvature.sharing=reduce"},
			{"accumulate.size=9", "curvature.sharing=expand", "every=2"},
			{"accumulate.size=9", "representation.granularity=unit", "fallback.norm=grad", "representation.sketch=0"},
			{"accumulate.size=5", "representation.granularity=unit", "fallback.norm=grad", "representation.sketch=0", "accumulate.every=1", "solve.every=2"},
		} {
			rec := record(t, "seng", append([]string{"accumulate.kind=window", "damping=0.3"}, set...)...)
			rng := rand.New(rand.NewPCG(1, 71))
			params := n.params(rng)
			s := instrument(t, source(n.body, params), rec, all)
			kept, damped := map[string]*keptRows{}, map[string]*mat.Dense{}
			for k, batch := range []int{4, 3, 5, 2, 4} {
				x, target := n.inputs(rng, batch), labels(rng, n.classes, n.labelShape(batch)...)
				draws := labels(rng, n.classes, 2, batch*n.rows)
				sampled := []array{draws.part(0, 1), draws.part(1, 2)}
				out := s.step(arrays{"x": x, "target": target, "asdl/noise/labels": draws, "lr": number(0)})
				tw := newGramTwin(n, rec, params, x, crossEntropyOf(target), sampled)
				grads, want := tw.gradient(), arrays{}
				for _, l := range n.layers {
					if l.kind == "unit" && rec.Fallback.Norm == "grad" {
						continue
					}
					if kept[l.name] == nil {
						kept[l.name] = &keptRows{size: rec.Accumulate.Size}
					}
					if due(k, rec.Accumulate.Every) {
						u := tw.rows(l)
						rows, _ := u.Dims()
						kept[l.name].push(u, float64(rows)/tw.size())
					}
					if due(k, rec.Solve.Every) {
						f := kept[l.name].moment()
						if rec.Representation.Granularity == "unit" {
							f = unitBlocks(f, tw.outputs(l))
						}
						damped[l.name] = addEye(f, tw.lambda)
					}
					tw.unpack(l, solved(damped[l.name], tw.matrix(l, grads)), want)
				}
				nearAll(t, fmt.Sprint(n.name, set, " step ", k), outputsOf(out, "precond/", ""), want, 1e-8)
			}
		}
	}
}

// unitBlocks are the diagonal blocks of f, as many as units.
func unitBlocks(f *mat.Dense, units int) *mat.Dense {
	n, _ := f.Dims()
	side := n / units
	out := mat.NewDense(n, n, nil)
	for u := range units {
		for i := range side {
			for j := range side {
				out.Set(u*side+i, u*side+j, f.At(u*side+i, u*side+j))
			}
		}
	}
	return out
}

// TestGramUnitsAreUnits: unit-wise natural gradient through Gram matrices is that through the blocks themselves.
func TestGramUnitsAreUnits(t *testing.T) {
	for _, n := range append(allNets(), groupsNet()) {
		for _, from := range []string{"emp", "exact"} {
			set := []string{"curvature.source=" + from, "accumulate.kind=none", "accumulate.debias=false", "every=1", "damping=0.2", "apply.kl_clip=0"}
			rng := rand.New(rand.NewPCG(2, 71))
			text := source(n.body, n.params(rng))
			dense := instrument(t, text, record(t, "unit-ng", set...), all)
			gram := instrument(t, text, record(t, "unit-ng", append(set, "representation.format=gram", "representation.max_bytes=0", "solve.kind=gram")...), all)
			for range 2 {
				feeds := n.batch(rng, 5)
				nearAll(t, n.name+", "+from, outputsOf(gram.step(feeds), "precond/", ""), outputsOf(dense.step(feeds), "precond/", ""), 1e-9)
			}
		}
	}
}

// TestWindowOfBatch: a window that holds the batch and nothing else is none; groups of convolutions and transposed convolutions
// included.
func TestWindowOfBatch(t *testing.T) {
	for _, n := range append(allNets(), groupsNet()) {
		for _, set := range [][]string{
			{"seng"},
			{"seng", "representation.sketch=2"},
			{"skfac", "curvature.source=emp", "apply.kl_clip=0"},
			{"skfac", "solve.damping.kind=iso", "curvature.samples=2", "apply.kl_clip=0"},
			{"seng", "representation.granularity=unit", "representation.sketch=0", "fallback.norm=unit"},
		} {
			rng := rand.New(rand.NewPCG(3, 71))
			text := source(n.body, n.params(rng))
			feeds := n.batch(rng, 5)
			want := instrument(t, text, record(t, set[0], set[1:]...), pass.Options{OutputPrecond: true}).step(feeds)
			for _, size := range []string{"20", "40"} { // less and more than the sides of factors
				window := []string{"accumulate.kind=window", "accumulate.size=" + size, "every=1"}
				got := instrument(t, text, record(t, set[0], append(slices.Clone(set[1:]), window...)...), pass.Options{OutputPrecond: true}).step(feeds)
				nearAll(t, n.name+fmt.Sprint(set, size), outputsOf(got, "precond/", ""), outputsOf(want, "precond/", ""), 1e-8)
			}
		}
	}
}

// TestSampleWindowTwin: SKFAC on a window is K-FAC with the means of the kept rows' outer products for factors, as the last
// solve saw them.
func TestSampleWindowTwin(t *testing.T) {
	for _, n := range []*net{mlpNet(), sequenceNet(true), convNet()} {
		for _, set := range [][]string{
			{"accumulate.size=3", "every=2"}, // fewer rows than the sides
			{"accumulate.size=7", "accumulate.every=1", "solve.every=2"},
			{"accumulate.size=11", "every=3", "curvature.sharing=expand", "representation.bias=output"},
		} {
			rec := record(t, "skfac", append([]string{"curvature.source=emp", "accumulate.kind=window", "apply.kl_clip=0", "damping=0.2", "fallback.norm=grad"}, set...)...)
			rng := rand.New(rand.NewPCG(4, 71))
			params := n.params(rng)
			s := instrument(t, source(n.body, params), rec, all)
			as, gs := map[string]*keptRows{}, map[string]*keptRows{}
			tw := newKFACTwin(n, rec, params)
			for k, batch := range []int{4, 3, 5, 2, 4} {
				x, target := n.inputs(rng, batch), labels(rng, n.classes, n.labelShape(batch)...)
				out := s.step(arrays{"x": x, "target": target, "lr": number(0)})
				grads, want := outputsOf(out, "grad/", ""), arrays{}
				for _, l := range n.layers {
					if l.kind == "unit" {
						continue
					}
					if as[l.name] == nil {
						as[l.name], gs[l.name] = &keptRows{size: rec.Accumulate.Size}, &keptRows{size: rec.Accumulate.Size}
					}
					if due(k, rec.Accumulate.Every) {
						tp := n.capture(params, x, l.name, tw.outputs(l), crossEntropyOf(target))
						a, g := tp.a, tp.g
						if rec.Curvature.Sharing == "reduce" {
							a, g = reduced(tp)
						}
						as[l.name].push(withOnes(a, tw.joint(l)), 1)
						gs[l.name].push(withOnes(g, false), float64(len(g))/float64(batch*n.rows))
					}
					if due(k, rec.Solve.Every) {
						tw.stats[l.name] = []*mat.Dense{as[l.name].moment(), gs[l.name].moment()}
						m := tw.stats[l.name]
						pi := math.Sqrt(mean(m[0]) / mean(m[1]))
						tw.damped[l.name] = []*mat.Dense{addEye(m[0], pi*math.Sqrt(0.2)), addEye(m[1], math.Sqrt(0.2)/pi)}
					}
					d := tw.damped[l.name]
					tw.unpack(l, product(inverseOf(d[1]), tw.matrix(l, grads), inverseOf(d[0])), want)
				}
				nearAll(t, fmt.Sprint(n.name, set, " step ", k), outputsOf(out, "precond/", ""), want, 1e-8)
			}
		}
	}
}

func inverseOf(m *mat.Dense) *mat.Dense {
	var out mat.Dense
	must(out.Inverse(m))
	return &out
}

// withOnes are rows as a matrix, with a coordinate of ones if there is a bias.
func withOnes(rows [][]float64, joint bool) *mat.Dense {
	var flat []float64
	for _, r := range rows {
		flat = append(flat, r...)
		if joint {
			flat = append(flat, 1)
		}
	}
	return mat.NewDense(len(rows), len(flat)/len(rows), flat)
}

// TestWindowStaggered: where layers solve on different steps, each keeps the rows that its inverse is made of.
func TestWindowStaggered(t *testing.T) {
	n := mlpNet()
	rec := record(t, "seng", "accumulate.kind=window", "accumulate.size=7", "every=3", "solve.stagger=true", "damping=0.3")
	rng := rand.New(rand.NewPCG(5, 71))
	params := n.params(rng)
	s, tw := instrument(t, source(n.body, params), rec, all), newKFACTwin(n, rec, params)
	apart := false
	for k := range 9 {
		out := s.step(n.batch(rng, 4).with("lr", number(0)))
		for _, l := range n.layers {
			g := tw.matrix(l, outputsOf(out, "grad/", ""))
			o, i := g.Dims()
			f := mat.NewDense(o*i, o*i, nil)
			a, d, fill := out["asdl/"+l.name+"/a_solved/next"], out["asdl/"+l.name+"/d_solved/next"], out["asdl/"+l.name+"/fill_solved/next"].v[0]
			for r := range 7 {
				row := product(mat.NewDense(o, 1, d.v[r*o:(r+1)*o]), mat.NewDense(1, i, a.v[r*i:(r+1)*i]))
				outer(f, 1/fill, flat(row))
			}
			got := tw.matrix(l, outputsOf(out, "precond/", ""))
			near(t, fmt.Sprint("step ", k, " ", l.name), flat(got), flat(solved(addEye(f, 0.3), g)), 1e-9)
			for j, v := range out["asdl/"+l.name+"/a/next"].v {
				apart = apart || v != a.v[j]
			}
		}
	}
	if !apart {
		t.Error("no layer solves on another step than its statistics: this is no test of them")
	}
}
