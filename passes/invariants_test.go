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
	for _, n := range allNets() {
		for _, src := range []string{"emp", "exact"} {
			rng := rand.New(rand.NewPCG(1, 21))
			params, full := n.params(rng), n.batch(rng, 6)
			s := instrument(t, source(n.body, params), record(t, "kfac", "accumulate.beta=0", "accumulate.debias=false", "curvature.source="+src), all)
			run := func(from, to int) arrays {
				part := arrays{"lr": number(0)}
				for name, a := range full {
					size := len(a.v) / 6
					part[name] = array{append([]int{to - from}, a.shape[1:]...), a.v[from*size : to*size]}
				}
				return s.step(part)
			}
			whole, one, two := run(0, 6), run(0, 3), run(3, 6)
			checked := 0
			for name, w := range whole {
				slot := name[strings.LastIndex(strings.TrimSuffix(name, "/next"), "/")+1:]
				if !strings.HasPrefix(name, "grad/") && slot != "A/next" && slot != "S/next" && slot != "F/next" {
					continue
				}
				checked++
				want := make([]float64, len(w.v))
				for i := range want {
					want[i] = (one[name].v[i] + two[name].v[i]) / 2
				}
				near(t, n.name+", "+src+": "+name, w.v, want, 1e-11)
			}
			if checked < len(params)+2 {
				t.Errorf("%s: %d arrays compared", n.name, checked)
			}
		}
	}
}

// TestLossScale (X3): a squared error summed over C outputs is C times the mean. A Hessian grows as C, and with it the
// damping leaves the direction; second moments of gradients grow as C^2, so that directions of power -1 shrink as 1/C
// and those of power -1/2 stay.
func TestLossScale(t *testing.T) {
	const c = 3.0
	n := mlpNet()
	for _, tc := range []struct {
		method           string
		damping, initial float64 // factors with the loss
		set              []string
		direction        float64
	}{
		{"kfac", c, 1, []string{"curvature.source=exact"}, 1},
		{"kfac", c, 1, []string{"curvature.source=mc"}, 1},
		{"kfac", c * c, 1, []string{"curvature.source=emp"}, 1 / c},
		{"shampoo", 1, c * c, []string{"apply.graft=none", "representation.vectors=grad", "fallback.other=grad"}, 1},
		{"adam", c, 1, nil, 1},
		{"adagrad", c, 1, nil, 1},
		{"sgd", 1, 1, nil, c},
	} {
		var dirs []arrays
		for _, reduction := range []string{"mean", "rows"} {
			rng := rand.New(rand.NewPCG(2, 21))
			rec := record(t, tc.method, tc.set...)
			rec.Apply.KLClip = 0
			if reduction == "rows" {
				rec.Solve.Damping.Value *= tc.damping
				rec.Accumulate.Init *= tc.initial
			}
			s := instrument(t, source(n.body, n.params(rng)), rec, pass.Options{Noise: "input", OutputPrecond: true, Loss: pass.LossOptions{Row: "mse", Reduction: reduction}})
			var out arrays
			for range 3 {
				out = s.step(arrays{"x": n.inputs(rng, 6), "target": normals(rng, 6, 3), "asdl/noise/targets": normals(rng, 1, 6, 3), "lr": number(0)})
			}
			dirs = append(dirs, outputsOf(out, "precond/", ""))
		}
		for name, d := range dirs[0] {
			if tc.method == "shampoo" && len(d.shape) == 1 {
				continue // these keep their gradient
			}
			want := make([]float64, len(d.v))
			for i := range want {
				want[i] = d.v[i] * tc.direction
			}
			near(t, fmt.Sprint(tc.method, tc.set, " ", name), dirs[1][name].v, want, 1e-9)
		}
	}
}

// TestLargeDamping (X4): as the damping grows, K-FAC's direction approaches the gradient divided by it; the
// unit blocks' too.
func TestLargeDamping(t *testing.T) {
	for _, n := range allNets() {
		for _, kind := range []string{"factor_pi", "iso"} {
			rng := rand.New(rand.NewPCG(3, 21))
			out := factors(t, source(n.body, n.params(rng)), n.batch(rng, 5), pass.Options{}, "curvature.source=exact", "damping=1e12", "solve.damping.kind="+kind)
			for name, g := range outputsOf(out, "grad/", "") {
				want := make([]float64, len(g.v))
				for i := range want {
					want[i] = g.v[i] / 1e12
				}
				near(t, n.name+", "+kind+": "+name, out["precond/"+name].v, want, 1e-3)
			}
		}
	}
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
