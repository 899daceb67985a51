package passes_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
)

// Properties that a method has because of what it computes, whatever the network: for each of them a table with a claim for
// every method. A property that a method lacks by definition has the reason; where it must fail, the test sees that it does.

// claim is what a table says of one method.
type claim struct {
	set  []string
	not  string // why the property does not apply
	fail string // why it must fail
}

// claims has a claim for every method of the table.
func claims(t *testing.T, table map[string]claim) map[string]claim {
	t.Helper()
	for _, name := range method.Names() {
		if _, ok := table[name]; !ok {
			t.Errorf("%s has no claim", name)
		}
	}
	for name := range table {
		if !slices.Contains(method.Names(), name) {
			t.Errorf("a claim for %s, which is no method", name)
		}
	}
	return table
}

// still is a method's record with what the tests of directions leave out: clipping, momentum of the update, changes of rate.
func still(t *testing.T, name string, set ...string) method.Record {
	t.Helper()
	rec := record(t, name)
	for _, s := range append([]string{"apply.kl_clip=0", "update.clip_norm=0", "update.momentum=0", "update.weight_decay=0"}, set...) {
		path, value, _ := strings.Cut(s, "=")
		must(method.Set(&rec, path, value))
	}
	must(method.Validate(rec))
	return rec
}

// own are the directions of parameters that the method itself treats, not its fall-back.
func (s *stepper) own(out arrays) arrays {
	dirs := outputsOf(out, "precond/", "")
	for _, note := range s.result.Report.Layers {
		if note.Fallback {
			for _, p := range note.Params {
				delete(dirs, p)
			}
		}
	}
	return dirs
}

// off is the largest difference of directions over the largest entry, over all that want has.
func off(got, want arrays) float64 {
	worst := 0.0
	for name, w := range want {
		scale := 1e-300
		for _, v := range w.v {
			scale = math.Max(scale, math.Abs(v))
		}
		for i, v := range w.v {
			if d := math.Abs(got[name].v[i]-v) / scale; !(d <= worst) {
				worst = d
			}
		}
	}
	return worst
}

// judge compares directions with those that the property predicts.
func (c claim) judge(t *testing.T, what string, got, want arrays, tol float64) {
	t.Helper()
	switch d := off(got, want); {
	case len(want) == 0:
		t.Errorf("%s: no direction of its own", what)
	case c.fail != "" && !(d > 1e-3):
		t.Errorf("%s: off by %g, but it must fail: %s", what, d, c.fail)
	case c.fail == "" && !(d <= tol):
		t.Errorf("%s: off by %g", what, d)
	}
}

// times are arrays times a factor.
func (as arrays) times(f float64) arrays {
	out := as.clone()
	for _, a := range out {
		for i := range a.v {
			a.v[i] *= f
		}
	}
	return out
}

// lossScale (X3): the loss times c. What grows like a Hessian grows by c and second moments of gradients by c^2: damping
// and initial values that grow with them leave directions of power -1 to curvature and of power -1/2 to moments as they are.
type lossScale struct {
	damping, initial, direction float64 // powers of c
	set                         []string
	not                         string
	matrices                    bool // only: for vectors the powers are others
}

var lossScales = map[string]lossScale{
	"sgd":         {0, 0, 1, nil, "", false},
	"adagrad":     {1, 0, 0, nil, "", false},
	"adam":        {1, 0, 0, nil, "", false},
	"kfac":        {1, 0, 0, nil, "", false},
	"shampoo":     {0, 2, 0, []string{"apply.graft=none"}, "", false},
	"kfac-reduce": {1, 0, 0, nil, "", false},
	"kflr":        {1, 0, 0, nil, "", false},
	"kfra":        {1, 0, 0, nil, "", false},
	"ekfac":       {2, 0, -1, nil, "", false},
	"skfac":       {1, 0, 0, nil, "", false},
	"foof":        {0, 0, 1, nil, "", false},
	"eva":         {2, 0, -1, nil, "", false},
	"unit-ng":     {1, 0, 0, nil, "", false},
	"muon":        {0, 0, 0, nil, "", false},
	"tnt":         {0.5, 0, 0, nil, "", true},
	"kl-tnt":      {0, 0, 0, nil, "its factors are whitened by inverses that start from the identity", true},
	"soap":        {1, 0, 0, nil, "", false},
	"kl-shampoo":  {1, 0, 0, nil, "", false},
	"splus":       {0, 0, 0, nil, "", false},
	"psgd-kron":   {0, -0.5, 0, []string{"solve.damping.kind=none"}, "", false},
	"adahessian":  {1, 0, 0, nil, "", false},
	"sfn":         {1, 0, 0, nil, "", false},
	"esgd":        {1, 0, 0, nil, "", false},
	"psgd-kf":     {0, 0, 0, nil, "factors start from the identity, whatever the size of the Hessian", false},
	"k-bfgs":      {0, 0, 0, nil, "the output factor starts from the identity, and the damping is split between factors of which one grows", false},
	"sophia-g":    {0, 0, 0, nil, "", false},
	"seng":        {2, 0, -1, nil, "", false},
	"tonga-unit":  {2, 0, -1, nil, "", false},
}

func TestLossScale(t *testing.T) {
	const c = 3.0 // a squared error summed over 3 outputs is 3 times their mean
	n := mlpNet()
	if len(lossScales) != len(method.Names()) {
		t.Errorf("%d methods have a claim, of %d", len(lossScales), len(method.Names()))
	}
	for _, name := range method.Names() {
		scale := lossScales[name]
		if scale.not != "" {
			continue
		}
		var dirs []arrays
		for i, reduction := range []string{"mean", "rows"} {
			rng := rand.New(rand.NewPCG(2, 21))
			rec := still(t, name, scale.set...)
			rec.Solve.Damping.Value *= math.Pow(c, float64(i)*scale.damping)
			rec.Accumulate.Init *= math.Pow(c, float64(i)*scale.initial)
			s := instrument(t, source(n.body, n.params(rng)), rec, pass.Options{OutputPrecond: true, Loss: pass.LossOptions{Row: "mse", Reduction: reduction}})
			var out arrays
			for range 3 {
				out = s.step(arrays{"x": n.inputs(rng, 6), "target": normals(rng, 6, 3), "lr": number(0)})
			}
			dirs = append(dirs, s.own(out))
		}
		want := dirs[0].times(math.Pow(c, scale.direction))
		for p, d := range want {
			if scale.matrices && len(d.shape) == 1 {
				delete(want, p)
			}
		}
		claim{}.judge(t, name, dirs[1], want, 1e-7)
	}
}

// TestPermutation (X14): hidden units in another order give everything in that order.
func TestPermutation(t *testing.T) {
	perm := []int{2, 0, 3, 1}
	rows := func(a array, size int) { // of hidden units
		b := a.clone()
		for i, p := range perm {
			copy(a.v[size*i:size*i+size], b.v[size*p:size*p+size])
		}
	}
	cols := func(a array) {
		b := a.clone()
		for r := range 3 {
			for i, p := range perm {
				a.v[4*r+i] = b.v[4*r+p]
			}
		}
	}
	permuted := func(as arrays, prefix string) arrays {
		out := as.clone()
		if a, ok := out[prefix+"fc1.weight"]; ok {
			rows(a, 3)
		}
		if a, ok := out[prefix+"fc1.bias"]; ok {
			rows(a, 1)
		}
		if a, ok := out[prefix+"fc2.weight"]; ok {
			cols(a)
		}
		return out
	}
	for name, c := range claims(t, permutations) {
		if c.not != "" {
			continue
		}
		rng := rand.New(rand.NewPCG(11, 1))
		n := mlpNet()
		params := n.params(rng)
		rec := still(t, name, c.set...)
		o := pass.Options{OutputPrecond: true, Noise: "input"}
		one, two := instrument(t, source(n.body, params), rec, o), instrument(t, source(n.body, permuted(params, "")), rec, o)
		for k := range 3 {
			feeds := one.noisy(rng, rec, n.batch(rng, 6)).with("lr", number(0.01))
			got, want := two.step(permuted(feeds, "asdl/noise/probe/")), one.step(feeds)
			if dirs := permuted(outputsOf(want, "precond/", ""), ""); c.fail == "" || k == 2 {
				c.judge(t, fmt.Sprintf("%s, step %d", name, k), outputsOf(got, "precond/", ""), dirs, 1e-7)
			}
		}
	}
}

var permutations = map[string]claim{
	"sgd": {}, "adagrad": {}, "adam": {}, "kfac": {}, "shampoo": {}, "kfac-reduce": {}, "kflr": {}, "kfra": {}, "ekfac": {}, "skfac": {}, "foof": {}, "eva": {}, "unit-ng": {},
	"muon": {}, "tnt": {}, "kl-tnt": {}, "soap": {}, "kl-shampoo": {}, "splus": {},
	"psgd-kron":  {set: []string{"solve.damping.kind=none"}, fail: "its factors are triangular"},
	"adahessian": {}, "sfn": {}, "esgd": {},
	"psgd-kf": {set: []string{"solve.rate=0.3"}, fail: "its factors are triangular"},
	"k-bfgs":  {}, "sophia-g": {}, "seng": {}, "tonga-unit": {},
}

// noisy adds the random numbers that the step graph asks for.
func (s *stepper) noisy(rng *rand.Rand, rec method.Record, feeds arrays) arrays {
	out := feeds.clone()
	batch := feeds["x"].shape[0]
	for _, name := range sortedKeys(s.ports) {
		p := s.ports[name]
		what, ok := strings.CutPrefix(name, "asdl/noise/")
		if !ok {
			continue
		}
		var shape []int
		for _, d := range p.Type.Dims {
			n, known := d.Size()
			if !known {
				n = int64(batch)
			}
			shape = append(shape, int(n))
		}
		switch {
		case what == "labels":
			out[name] = labels(rng, 3, shape...)
		case strings.HasPrefix(what, "probe/") && rec.Curvature.Probe == "rademacher":
			out[name] = normals(rng, shape...)
			for i, v := range out[name].v {
				out[name].v[i] = math.Copysign(1, v)
			}
		default:
			out[name] = normals(rng, shape...)
		}
	}
	return out
}

// TestRotation (X5): hidden units and inputs turned by orthogonal matrices turn the gradient of the weight between them,
// G -> U G V^T, and the direction of methods that see matrices as such.
func TestRotation(t *testing.T) {
	for name, c := range claims(t, rotations) {
		if c.not != "" {
			continue
		}
		rng := rand.New(rand.NewPCG(12, 1))
		u, v := orthogonal(rng, 4), orthogonal(rng, 5)
		turned := func(as arrays, prefix string) arrays {
			out := as.clone()
			if a, ok := out[prefix+"in.weight"]; ok {
				out[prefix+"in.weight"] = array{a.shape, flat(product(u, a.dense(), v.T()))}
			}
			if a, ok := out[prefix+"out.weight"]; ok {
				out[prefix+"out.weight"] = array{a.shape, flat(product(a.dense(), u.T()))}
			}
			return out
		}
		params := arrays{"in.weight": normals(rng, 4, 5), "out.weight": normals(rng, 5, 4)}
		model := func(ps arrays) string {
			return source(`(double[N,5] x) => (double[N,5] y) PARAMS { h = Gemm <transB: int = 1> (x, "in.weight")  y = Gemm <transB: int = 1> (h, "out.weight") }`, ps)
		}
		rec := still(t, name, append([]string{"solve.every=1"}, c.set...)...)
		rec.Accumulate.Every = min(rec.Accumulate.Every, 1)
		o := pass.Options{OutputPrecond: true, Noise: "input"}
		one, two := instrument(t, model(params), rec, o), instrument(t, model(turned(params, "")), rec, o)
		for k := range 3 {
			feeds := one.noisy(rng, rec, arrays{"x": normals(rng, 7, 5), "target": labels(rng, 5, 7), "lr": number(0.01), "fallback_lr": number(0)})
			other := turned(feeds, "asdl/noise/probe/")
			other["x"] = array{feeds["x"].shape, flat(product(feeds["x"].dense(), v.T()))}
			got, want := two.own(two.step(other)), turned(one.own(one.step(feeds)), "")
			if c.fail == "" || k == 2 {
				c.judge(t, fmt.Sprintf("%s, step %d", name, k), got, want, 1e-6)
			}
		}
	}
}

const byElement = "it sees single entries"

var rotations = map[string]claim{
	"sgd": {}, "adagrad": {fail: byElement}, "adam": {fail: byElement},
	"kfac": {}, "shampoo": {set: []string{"apply.graft=none", "damping=1e-12"}}, "kfac-reduce": {}, "kflr": {}, "kfra": {},
	"ekfac": {set: []string{"solve.tolerance=1e-12", "solve.iterations=200"}}, "skfac": {}, "foof": {}, "eva": {},
	"unit-ng": {fail: "it sees single outputs"},
	"muon":    {}, "tnt": {}, "kl-tnt": {},
	"soap":       {set: []string{"solve.tolerance=1e-12", "solve.iterations=200"}},
	"kl-shampoo": {set: []string{"solve.tolerance=1e-12", "solve.iterations=200"}},
	"splus":      {not: "the sign of an entry that is zero but for rounding is anything, and gradients have such entries in their bases"},
	"psgd-kron":  {set: []string{"solve.damping.kind=none"}, fail: "its factors are triangular"},
	"adahessian": {fail: byElement}, "sfn": {fail: byElement}, "esgd": {fail: byElement},
	"psgd-kf": {fail: "its factors are triangular"},
	"k-bfgs":  {}, "sophia-g": {fail: byElement}, "seng": {}, "tonga-unit": {fail: "it sees single outputs"},
}
