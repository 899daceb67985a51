package passes_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph/onnx"
	"github.com/asdlc/asdlc/passes"
	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/passes/passtest"
)

// every lists the methods of the table, with the sources of K-FAC and settings that take other ways through the stages. A
// method joins these tests by its row of the table.
func every(t *testing.T, set ...string) map[string]method.Record {
	t.Helper()
	recs := map[string]method.Record{}
	for _, name := range method.Names() {
		recs[name] = record(t, name)
	}
	delete(recs, "kfac")
	for _, source := range []string{"mc", "emp", "exact"} {
		recs["kfac "+source] = record(t, "kfac", "curvature.source="+source)
	}
	recs["ekfac mean"] = record(t, "ekfac", "representation.moments=mean", "curvature.source=mc", "solve.every=3")
	recs["shampoo newton"] = record(t, "shampoo", "solve.kernel=newton", "representation.sides=modes", "representation.max_side=3", "apply.graft=none")
	for name, rec := range recs {
		for _, s := range set {
			path, value, _ := strings.Cut(s, "=")
			if err := method.Set(&rec, path, value); err != nil {
				t.Fatal(err)
			}
		}
		if method.Validate(rec) == nil {
			recs[name] = rec
		}
	}
	return recs
}

// batch is one step's data.
func (n *net) batch(rng *rand.Rand, size int) arrays {
	return arrays{"x": n.inputs(rng, size), "target": labels(rng, n.classes, n.labelShape(size)...)}
}

// TestBatchSplit (X2): the statistics of a batch are the mean of those of its halves, and so is the gradient.
func TestBatchSplit(t *testing.T) {
	for name, c := range claims(t, splits) {
		if c.not != "" {
			continue
		}
		rec := still(t, name, append([]string{"accumulate.beta=0", "accumulate.debias=false"}, c.set...)...)
		rec.Curvature.Source = strings.Replace(rec.Curvature.Source, "mc", "emp", 1)
		for _, n := range []*net{mlpNet(), sequenceNet(false), convNet(), tokenNet()} {
			rng := rand.New(rand.NewPCG(1, 21))
			params, full := n.params(rng), n.batch(rng, 6)
			s := instrument(t, source(n.body, params), rec, pass.Options{OutputGrad: true, Noise: "input"})
			noise := s.noisy(rng, rec, arrays{"x": newArray(6)})
			run := func(from, to int) arrays {
				part := arrays{"lr": number(0), "fallback_lr": number(0)}
				for name, a := range full {
					part[name] = a.part(from, to)
				}
				for name, a := range noise {
					if name != "x" {
						part[name] = a
					}
				}
				return s.step(part)
			}
			whole, one, two := run(0, 6), run(0, 3), run(3, 6)
			compared := 0
			for out, w := range whole {
				slot := out[strings.LastIndex(strings.TrimSuffix(out, "/next"), "/")+1:]
				statistic := slices.Contains([]string{"A/next", "S/next", "F/next", "D/next", "a/next", "d/next"}, slot)
				if !statistic && !strings.HasPrefix(out, "grad/") {
					continue
				}
				if statistic {
					compared++
				}
				want := make([]float64, len(w.v))
				for i := range want {
					want[i] = (one[out].v[i] + two[out].v[i]) / 2
				}
				near(t, n.name+", "+name+": "+out, w.v, want, 1e-11)
			}
			if compared == 0 {
				t.Errorf("%s, %s: no statistic", n.name, name)
			}
		}
	}
}

const (
	ofTheMean = "its statistics are squares of the mean gradient, or of one estimate"
	noneKept  = "it keeps no statistics"
)

var splits = map[string]claim{
	"sgd": {not: noneKept}, "adagrad": {not: ofTheMean}, "adam": {not: ofTheMean}, "kfac": {}, "shampoo": {not: ofTheMean}, "kfac-reduce": {}, "kflr": {}, "kfra": {not: "its output factors are products of means"},
	"ekfac": {}, "skfac": {not: noneKept}, "foof": {}, "eva": {}, "unit-ng": {}, "muon": {not: noneKept}, "tnt": {not: ofTheMean}, "kl-tnt": {not: ofTheMean}, "soap": {not: ofTheMean}, "kl-shampoo": {not: ofTheMean},
	"splus": {not: ofTheMean}, "psgd-kron": {not: noneKept}, "adahessian": {not: ofTheMean}, "sfn": {}, "esgd": {not: ofTheMean}, "psgd-kf": {not: noneKept}, "k-bfgs": {}, "sophia-g": {not: ofTheMean},
	"seng": {not: noneKept}, "tonga-unit": {not: ofTheMean},
}

// TestDescent (X7): directions of every method make an acute angle with the gradient on the first step.
func TestDescent(t *testing.T) {
	for _, n := range allNets() {
		for name, rec := range every(t) {
			rng := rand.New(rand.NewPCG(4, 21))
			rec.Solve.Lag = false // the first step makes none
			out := instrument(t, source(n.body, n.params(rng)), rec, pass.Options{OutputGrad: true, OutputPrecond: true}).step(n.batch(rng, 5))
			dots, sizes := map[string]float64{}, map[string]float64{} // by layer: weight and bias are solved for together
			for p, g := range outputsOf(out, "grad/", "") {
				layer := p[:max(0, strings.LastIndex(p, "."))]
				for i, v := range g.v {
					dots[layer] += v * out["precond/"+p].v[i]
				}
				sizes[layer] += length(g.v)
			}
			for layer, dot := range dots {
				if !(dot > 0) && sizes[layer] > 1e-12 {
					t.Errorf("%s, %s, %s: gradient times direction is %g", n.name, name, layer, dot)
				}
			}
		}
	}
}

// TestStateMoves (X8): every state changes on a step where its clock ticks, and curvature stays on others. One that the
// step does not change is returned bit for bit.
func TestStateMoves(t *testing.T) {
	n := sequenceNet(true)
	for name, rec := range every(t, "accumulate.every=2", "solve.every=4", "accumulate.warmup=0", "solve.warmup=0", "solve.tolerance=1e-12") { // a basis that is good enough stays
		rng := rand.New(rand.NewPCG(5, 21))
		s := instrument(t, source(n.body, n.params(rng)), rec, pass.Options{})
		kinds := map[string]string{}
		for _, st := range s.session.States() {
			kinds[st.In] = st.Kind
		}
		var before arrays
		for k := range 6 {
			out := outputsOf(s.step(n.batch(rng, 5)), "", "/next")
			for in, a := range out {
				if before == nil || in == "asdl/guards" || strings.HasSuffix(in, "/begun") {
					continue
				}
				slot := in[strings.LastIndex(in, "/")+1:]
				moves := true
				if kinds[in] == "curvature" {
					solved := strings.HasSuffix(slot, "_inv") || strings.HasPrefix(slot, "root") || strings.HasPrefix(slot, "Q") || strings.HasPrefix(slot, "basis") || rec.Solve.Kind == "bfgs" && slices.Contains([]string{"H_A", "H_G", "s", "y"}, slot)
					moves = solved && k%max(rec.Solve.Every, 1) == 0 || !solved && k%max(rec.Accumulate.Every, 1) == 0
				}
				if same := slices.Equal(a.v, before[in].v); same == moves {
					t.Errorf("%s, step %d: %s (%s) moves: %t, want %t", name, k, in, kinds[in], !same, moves)
				}
			}
			before = out
		}
	}
}

// TestSameStepTwice (X9): the same state and inputs give the same bits, whatever ran in between.
func TestSameStepTwice(t *testing.T) {
	n := convNet()
	for name, rec := range every(t) {
		rng := rand.New(rand.NewPCG(6, 21))
		text := source(n.body, n.params(rng))
		data := []arrays{n.batch(rng, 5), n.batch(rng, 5), n.batch(rng, 5)}
		var first []arrays
		for range 2 {
			s := instrument(t, text, rec, pass.Options{})
			for k, d := range data {
				d["asdl/seed"] = number(5)
				out := s.step(d)
				if len(first) <= k {
					first = append(first, out)
					continue
				}
				for o, a := range out {
					if !slices.Equal(a.v, first[k][o].v) {
						t.Errorf("%s, step %d: %s differs", name, k, o)
					}
				}
			}
		}
	}
}

// TestSeeds: another seed draws other labels, another step too, and methods without sampling have no seed.
func TestSeeds(t *testing.T) {
	n := mlpNet()
	rng := rand.New(rand.NewPCG(7, 21))
	text := source(n.body, n.params(rng))
	data := n.batch(rng, 8)
	data["lr"] = number(0)
	stat := func(name string, seed float64) []float64 {
		s := instrument(t, text, record(t, "kfac", "accumulate.beta=0", "accumulate.debias=false", "curvature.source="+name), pass.Options{})
		data["asdl/seed"] = number(seed)
		var both []float64
		for range 2 {
			both = append(both, s.step(data)["asdl/fc1/S/next"].v...)
		}
		return both
	}
	one, two := stat("mc", 1), stat("mc", 2)
	if slices.Equal(one, two) {
		t.Error("the seed changes nothing")
	}
	if slices.Equal(one[:16], one[16:]) {
		t.Error("the step changes nothing")
	}
	if !slices.Equal(stat("emp", 1), stat("emp", 2)) {
		t.Error("the seed changes a method that draws nothing")
	}
}

// forms are the ways to write the same step.
var forms = map[string]pass.Options{
	"embed": {Embed: true},
	"all":   {OutputGrad: true, OutputPrecond: true, Inline: true, Embed: true, Opset: 21},
}

const formSteps = 6

// TestForms: every way to write a step graph gives the numbers of the plain one.
func TestForms(t *testing.T) {
	n := sequenceNet(true)
	recs := every(t, "accumulate.every=2", "solve.every=3")
	recs["warm-up"] = record(t, "kfac", "accumulate.every=2", "accumulate.warmup=1", "solve.every=3", "solve.warmup=2")
	recs["schedule"] = record(t, "shampoo", "accumulate.schedule=101010")
	recs["newest"] = record(t, "kfac", "accumulate.kind=none", "solve.every=2")
	recs["staggered"] = record(t, "kfac", "accumulate.every=2", "solve.every=3", "solve.warmup=1", "solve.stagger=true")
	for name, rec := range recs {
		rng := rand.New(rand.NewPCG(8, 21))
		text := source(n.body, n.params(rng))
		var data, want []arrays
		plain := instrument(t, text, rec, pass.Options{})
		for range formSteps {
			data = append(data, n.batch(rng, 5))
			want = append(want, plain.step(data[len(data)-1]))
		}
		for form, o := range forms {
			r := compile(t, text, rec, o)
			s := start(t, r.Step)
			if !o.Embed {
				must(s.session.LoadInit(r.Init))
			}
			for k, d := range data {
				nearAll(t, fmt.Sprintf("%s, %s, step %d", name, form, k), s.step(d), want[k], 1e-9)
			}
		}
		splitSteps(t, name, text, rec, data, want)
		gradientSteps(t, name, text, rec, data)
	}
}

// splitSteps (X10) runs the variant that is due at each step, carrying states by hand.
func splitSteps(t *testing.T, name, text string, rec method.Record, data, want []arrays) {
	r := compile(t, text, rec, pass.Options{Split: true})
	var clocks []passes.Clock
	must(json.Unmarshal([]byte(r.Step.Metadata["asdl.clocks"]), &clocks))
	sessions := map[string]*stepper{r.Step.Metadata["asdl.variant"]: start(t, r.Step)}
	for _, v := range r.Variants {
		sessions[v.Name] = start(t, v.Model)
	}
	for _, s := range sessions {
		must(s.session.LoadInit(r.Init))
	}
	state := arrays{}
	for k, d := range data {
		s := sessions[passes.VariantAt(clocks, int64(k))]
		if s == nil {
			t.Fatalf("%s: no variant %q", name, passes.VariantAt(clocks, int64(k)))
		}
		for in, a := range state {
			if p, ok := s.ports[in]; ok {
				if s.isState(in) {
					must(s.session.SetState(in, a.tensor(p.Type.Elem)))
				} else {
					d = d.with(in, a)
				}
			}
		}
		out := s.step(d)
		for in, a := range outputsOf(out, "", "/next") {
			state[in] = a
		}
		for o, w := range want[k] {
			got, ok := out[o]
			if in, next := strings.CutSuffix(o, "/next"); next && !ok {
				got, ok = state[in]
				if !ok {
					continue // never refreshed yet: the initial value, which the plain graph copies
				}
			}
			near(t, fmt.Sprintf("%s, split, step %d: %s", name, k, o), got.v, w.v, 1e-9)
		}
	}
}

func (s *stepper) isState(name string) bool {
	for _, st := range s.session.States() {
		if st.In == name {
			return true
		}
	}
	return false
}

func (as arrays) with(name string, a array) arrays {
	out := arrays{name: a}
	for k, v := range as {
		out[k] = v
	}
	return out
}

// gradientSteps compares the directions of --emit gradient with those of an update at a learning rate of zero.
func gradientSteps(t *testing.T, name, text string, rec method.Record, data []arrays) {
	if rec.Curvature.Source == "secant" {
		return // refused
	}
	rec.Update.WeightDecay = 0
	full := instrument(t, text, rec, pass.Options{OutputPrecond: true})
	bare := instrument(t, text, rec, pass.Options{Emit: "gradient"})
	for k, d := range data {
		still := d.with("lr", number(0)).with("fallback_lr", number(0))
		want, got := full.step(still), bare.step(d)
		nearAll(t, fmt.Sprintf("%s, gradient, step %d", name, k), outputsOf(got, "precond/", ""), outputsOf(want, "precond/", ""), 1e-9)
		if g, w := len(outputsOf(got, "precond/", "")), len(outputsOf(want, "precond/", "")); g != w {
			t.Errorf("%s: %d directions, want %d", name, g, w)
		}
		for o := range got {
			if strings.HasSuffix(o, ".weight/next") || strings.HasSuffix(o, ".bias/next") {
				t.Errorf("%s: --emit gradient has the output %s", name, o)
			}
		}
	}
}

// TestSameBytes: the same model and options give the same file, many times over.
func TestSameBytes(t *testing.T) {
	for _, n := range []*net{sequenceNet(true), tokenNet()} {
		rng := rand.New(rand.NewPCG(9, 21))
		text := source(n.body, n.params(rng))
		for name, rec := range every(t) {
			for form, o := range map[string]pass.Options{"plain": {}, "split": {Split: true}, "all": forms["all"], "noise": {Noise: "input", Emit: "gradient"}} {
				var first []byte
				if rec.Curvature.Source == "secant" && o.Emit == "gradient" {
					continue // refused
				}
				for i := range 3 {
					r, err := passes.Instrument(passtest.Parse(t, text), rec, o, "digest")
					if err != nil {
						t.Fatal(err)
					}
					var file []byte
					models := append([]passes.Variant{{Model: r.Step}, {Model: r.Init}}, r.Variants...)
					for _, v := range models {
						b, err := onnx.Encode(v.Model)
						if err != nil {
							t.Fatal(err)
						}
						file = append(file, b...)
					}
					if i == 0 {
						first = file
					} else if !bytes.Equal(file, first) {
						t.Errorf("%s, %s, %s: run %d gives other bytes", n.name, name, form, i)
						break
					}
				}
			}
		}
	}
}

// TestSinglePrecision (X15): after twenty steps the float32 graph is within 1e-3 of the float64 one.
func TestSinglePrecision(t *testing.T) {
	for _, n := range []*net{sequenceNet(false), convNet(), tokenNet()} {
		for name, rec := range every(t, "solve.every=5") {
			if strings.HasPrefix(name, "kfac mc") {
				rec.Curvature.Source = "emp" // a label drawn otherwise would change everything after it
			}
			if rec.Solve.Kind == "sign" {
				continue // which jumps at 0
			}
			rng := rand.New(rand.NewPCG(10, 21))
			text := source(n.body, n.params(rng))
			double, float := instrument(t, text, rec, pass.Options{}), instrument(t, single(text), rec, pass.Options{})
			var want, got arrays
			for range 20 {
				d := n.batch(rng, 6).with("lr", number(0.01))
				want, got = double.step(d), float.step(d)
			}
			for p, w := range outputsOf(want, "", "/next") {
				if strings.HasPrefix(p, "asdl/") {
					continue
				}
				near(t, n.name+", "+name+": "+p, got[p+"/next"].v, w.v, 1e-3)
			}
			if math.Abs(got["loss"].v[0]-want["loss"].v[0]) > 1e-3 {
				t.Errorf("%s, %s: loss %g, want %g", n.name, name, got["loss"].v[0], want["loss"].v[0])
			}
		}
	}
}
