//go:build interop

package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/asdlc/asdlc/graph/graphtest"
	"github.com/asdlc/asdlc/graph/onnx"
	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/runtime/data"
)

// The interop suite: step graphs run in stock onnxruntime (testdata/interop/follow.py) and in Go, from the same initial
// state on the same batches, and every output of every step is compared. ASDLC_PYTHON is the Python that has what
// testdata/interop/requirements.txt lists; make interop sets it.
//
// Each graph runs twice. In the free run onnxruntime carries its own state, so that differences may add up. In the
// synchronised run it starts every step from the state that Go had, so that a step on which the two disagree is seen by
// itself.
//
// float32 does not determine every number to stateTol: the inverse of an ill-conditioned factor magnifies rounding; where
// an activation is within rounding of the kink of a ReLU, the gradient jumps; and training magnifies what differs. So
// where a number is off, the Go run is repeated from perturbed parameters and inputs, as far apart as some roundings, and
// the number may differ by sensitivitySlack times what that changes. In a synchronised run, and in the free run of a
// network without kinks, at most a tenth of the numbers may need that. Free runs of a network with kinks have parted on
// the first step on which more than a quarter of the numbers need it, and are compared no further.
//
// Left out are the entries of parameters, and of their state, whose gradient is zero in exact arithmetic, such as a bias
// right before a normalisation or of attention's keys: it is rounding noise, and methods that divide by its size turn noise
// into steps of full length. They are found by a float64 run; the loss does not depend on them.
const (
	interopSteps = 50
	lossTol      = 1e-5 // relative
	stateTol     = 1e-4 // relative to the largest entry of the tensor
	// rootTol is for inverse roots, and for the directions whose factors they are. Their ridge is 1e-6 of the statistic's
	// norm, and float32 rounds the statistic by 6e-8 of it in any direction: 6 % of the smallest eigenvalues, 1.5 % of the
	// inverse fourth root. Perturbed inputs do not show that, because they leave the null space of a low-rank statistic alone.
	rootTol = 2e-3

	perturbation     = 1e-6 // relative, of inputs and parameters
	perturbedRuns    = 4
	sensitivitySlack = 4
)

// fixedTrips fixes the number of trips of a tracked eigenbasis: where the error is near the tolerance, runtimes may stop on
// different ones.
var fixedTrips = []string{"--set", "solve.iterations=2", "--set", "solve.tolerance=1e-12"}

// A small learning rate keeps the training away from chaos, in which any two float32 runs part; new batches with random
// labels keep the loss away from zero, where its relative error has no bound.
var interopMethods = []struct {
	name string
	args []string
	lr   float32
}{
	{"sgd", []string{"-m", "sgd"}, 0.01},
	{"adam", []string{"-m", "adam"}, 0.001},
	{"adagrad", []string{"-m", "adagrad"}, 0.01},
	{"shampoo", []string{"-m", "shampoo"}, 0.001},
	{"muon", []string{"-m", "muon"}, 0.001},
	{"soap", append([]string{"-m", "soap"}, fixedTrips...), 0.001},
	{"kl-shampoo", append([]string{"-m", "kl-shampoo"}, fixedTrips...), 0.001},
	{"splus", append([]string{"-m", "splus"}, fixedTrips...), 0.001},
	{"tnt", []string{"-m", "tnt"}, 0.0001},
	{"psgd-kron", []string{"-m", "psgd-kron"}, 0.001},
	{"kfac-mc", []string{"-m", "kfac"}, 0.01},
	{"kfac-emp", []string{"-m", "kfac", "--set", "curvature.source=emp"}, 0.01},
	{"kfac-exact", []string{"-m", "kfac", "--set", "curvature.source=exact"}, 0.01},
	{"kfac-reduce", []string{"-m", "kfac-reduce"}, 0.01},
	{"kflr", []string{"-m", "kflr"}, 0.01},
	{"kfra", []string{"-m", "kfra"}, 0.01},
	{"ekfac", append([]string{"-m", "ekfac", "--set", "solve.every=5"}, fixedTrips...), 0.01},
	{"skfac", []string{"-m", "skfac"}, 0.01},
	{"foof", []string{"-m", "foof"}, 0.01},
	{"eva", []string{"-m", "eva"}, 0.01},
	{"unit-ng", []string{"-m", "unit-ng", "--set", "representation.max_bytes=20000000"}, 0.01},
	{"adahessian", []string{"-m", "adahessian"}, 0.01},
	{"esgd", []string{"-m", "esgd", "--set", "damping=0.1"}, 0.001},
	{"psgd-kf", []string{"-m", "psgd-kf"}, 0.01},
	{"k-bfgs", []string{"-m", "k-bfgs"}, 0.01},
	{"seng", []string{"-m", "seng", "--set", "representation.sketch=16"}, 0.01},
	{"seng-reduce", []string{"-m", "seng", "--set", "curvature.sharing=reduce", "--set", "apply.product=implicit"}, 0.01},
	{"tonga-unit", []string{"-m", "tonga-unit", "--set", "solve.every=2"}, 0.001},
	{"sophia-g", []string{"-m", "sophia-g"}, 0.0001},
}

// Methods that are followed on every form of a file, and those whose free runs on files are compared: small steps of the
// others magnify rounding on networks without kinks beyond what the suite accepts, while each step agrees.
var (
	everyForm = []string{"sgd", "adam", "shampoo", "kfac-mc"}
	freeFiles = append([]string{"adagrad", "kfac-emp", "kfac-exact"}, everyForm...)
)

// TestInteropFiles follows every method on the exported networks of the data beside the repository: on every form of them
// with ASDLC_FULL=1, else on one form in turn, but for the methods that the others share their stages with.
func TestInteropFiles(t *testing.T) {
	dir := graphtest.Shared(t, "onnx-models")
	forms := []string{"op13_eval", "op13_train", "op17_eval", "op17_train"}
	for n, net := range []string{"mlp", "cnn_bn_dropout", "resnet8", "mlp_mixer"} {
		for f, form := range forms {
			for i, m := range interopMethods {
				if !slices.Contains(everyForm, m.name) && os.Getenv("ASDLC_FULL") == "" && (i+n)%len(forms) != f {
					continue
				}
				t.Run(net+"/"+form+"/"+m.name, func(t *testing.T) {
					t.Parallel()
					follow(t, interopCase{model: filepath.Join(dir, net+"_"+form+".onnx"), args: m.args, lr: m.lr, short: !slices.Contains(freeFiles, m.name)})
				})
			}
		}
	}
}

// TestInteropNew follows every method on the reference networks.
func TestInteropNew(t *testing.T) {
	for _, net := range []struct {
		name string
		args []string
	}{
		{"mlp", []string{"--widths", "12,40,10"}},
		{"lenet", nil},
	} {
		for _, m := range interopMethods {
			t.Run(net.name+"/"+m.name, func(t *testing.T) {
				t.Parallel()
				follow(t, interopCase{model: newModel(t, net.name, net.args...), args: m.args, lr: m.lr})
			})
		}
	}
}

// TestInteropRecords follows the records of the documentation, and methods with rows that are kept.
func TestInteropRecords(t *testing.T) {
	window := []string{"--set", "accumulate.kind=window", "--set", "accumulate.size=8", "--set", "accumulate.every=2", "--set", "solve.every=4"}
	args := map[string][]string{
		"seng, window":  append([]string{"-m", "seng", "--set", "representation.sketch=16"}, window...),
		"skfac, window": append([]string{"-m", "skfac"}, window...),
		"seng, rank":    {"-m", "seng", "--set", "representation.rank=4"},
		"psgd-kron":     {"-m", "psgd-kron", "--set", "solve.probability.flat=3", "--set", "solve.probability.decay=0.5"},
		"adahessian":    {"-m", "adahessian", "--set", "representation.block=4"},
	}
	files, err := filepath.Glob(filepath.Join("..", "..", "docs", "records", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatal("no records: ", err)
	}
	for _, f := range files {
		args[filepath.Base(f)] = []string{"-m", f}
		if strings.Contains(f, "ekfac") || strings.Contains(f, "kfe") {
			args[filepath.Base(f)] = append(args[filepath.Base(f)], "--set", "solve.iterations=2", "--set", "solve.tolerance=1e-12")
		}
	}
	for name, a := range args {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			follow(t, interopCase{model: newModel(t, "lenet"), args: a, lr: 0.001, steps: conformanceSteps, short: true})
		})
	}
}

// TestInteropConformance follows the pairs of the conformance suite that are not refused: by default a diagonal of the
// networks and the files, with ASDLC_FULL=1 all of them.
func TestInteropConformance(t *testing.T) {
	list := append(networks(t), files(t)...)
	for _, p := range pairs(list, method.Names()) {
		if refusal(p) != "" {
			continue
		}
		t.Run(p.name+"/"+p.method, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "model.onnx")
			if err := onnx.Write(path, p.load(t), onnx.WriteOptions{}); err != nil {
				t.Fatal(err)
			}
			rec, _ := method.Lookup(p.method)
			args := []string{"-m", p.method}
			switch p.method {
			case "ekfac", "soap", "kl-shampoo", "splus":
				args = append(args, fixedTrips...)
			case "unit-ng": // every state of every step is kept, several times
				args = append(args, "--set", "representation.max_bytes=2000000")
			}
			follow(t, interopCase{model: path, args: args, lr: learningRate(rec), steps: conformanceSteps, short: true})
		})
	}
}

// TestInteropOptions follows the forms of a step graph that options select.
func TestInteropOptions(t *testing.T) {
	kfac, shampoo := []string{"-m", "kfac"}, []string{"-m", "shampoo"}
	for _, tc := range []struct {
		name   string
		method []string
		args   []string
	}{
		{"inline", shampoo, []string{"--inline"}},
		{"inline", kfac, []string{"--inline"}},
		{"split", kfac, []string{"--split", "--set", "solve.every=4", "--set", "accumulate.every=2"}},
		{"split", shampoo, []string{"--split"}},
		{"split-inline", kfac, []string{"--split", "--inline"}},
		{"embed", kfac, []string{"--embed"}},
		{"noise", kfac, []string{"--noise", "input"}},
		{"noise-mse", kfac, []string{"--noise", "input", "--loss", "mse"}},
		{"gradient", kfac, []string{"--emit", "gradient"}},
		{"gradient", shampoo, []string{"--emit", "gradient"}},
		{"mse", []string{"-m", "sgd"}, []string{"--loss", "mse"}},
		{"mse", kfac, []string{"--loss", "mse"}},
		{"mse", shampoo, []string{"--loss", "mse"}},
		{"precond", kfac, []string{"--outputs", "precond"}},
		{"opset21", kfac, []string{"--opset", "21"}},
		{"opset21", shampoo, []string{"--opset", "21"}},
		{"asdl", kfac, []string{"--preset", "asdl", "--set", "damping=0.01"}},
		{"asdl", shampoo, []string{"--preset", "asdl"}},
		{"newton", shampoo, []string{"--set", "solve.kernel=newton"}},
		{"graft", shampoo, []string{"--set", "apply.graft=adam"}},
		{"ema", shampoo, []string{"--set", "accumulate.kind=ema", "--set", "accumulate.beta=0.9"}},
		{"samples", kfac, []string{"--set", "curvature.samples=3"}},
		{"rows", kfac, []string{"--batch", "2"}}, // the graph is for small batches, and gets others
		{"rows", []string{"-m", "kfac"}, []string{"--batch", "2", "--split", "--set", "every=3", "--emit", "gradient"}},
		{"duals", kfac, []string{"--batch", "2", "--set", "accumulate.kind=none", "--set", "every=1", "--set", "damping=0.1"}},
		{"kept-duals", kfac, []string{"--batch", "2", "--set", "accumulate.kind=none", "--set", "every=3", "--set", "damping=0.1"}},
		{"kept-duals-that-fit", kfac, []string{"--batch", "16", "--set", "accumulate.kind=none", "--set", "every=3", "--set", "damping=0.1"}},
		{"order", shampoo, []string{"--batch", "2", "--set", "every=2"}},
		{"order", []string{"-m", "psgd-kf"}, []string{"--batch", "2", "--set", "apply.beta=0", "--set", "solve.every=3"}},
		{"order", []string{"-m", "k-bfgs"}, []string{"--batch", "2", "--set", "apply.beta=0", "--set", "solve.every=3"}},
		{"layers", kfac, []string{"--layer", "fc1=shampoo:every=3", "--layer", "*.bias=adam"}},
		{"async", kfac, []string{"--async", "3", "--set", "solve.every=4", "--set", "accumulate.every=2"}},
		{"async", shampoo, []string{"--async", "4", "--stagger", "--set", "solve.every=4", "--set", "solve.warmup=3"}},
		{"layers-split", []string{"-m", "adam"}, []string{"--layer", "fc1=kfac:every=2", "--layer", "fc2=kfac:every=3,curvature.source=emp", "--split"}},
		{"mse", []string{"-m", "adahessian"}, []string{"--loss", "mse"}},
		{"bce", kfac, []string{"--loss", "bce-with-logits"}},
		{"bce", []string{"-m", "adahessian"}, []string{"--loss", "bce-with-logits"}},
		{"l1", kfac, []string{"--loss", "l1"}},
		{"huber", kfac, []string{"--loss", "huber", "--loss-delta", "0.5", "--set", "curvature.source=exact"}},
		{"weights", kfac, []string{"--loss-weights", "1,2,3,4,5,1,2,3,4,0.5", "--label-smoothing", "0.1"}},
		{"split", []string{"-m", "esgd"}, []string{"--split"}},
		{"difference", []string{"-m", "esgd"}, []string{"--hvp", "difference", "--noise", "input"}},
		{"split", []string{"-m", "psgd-kf"}, []string{"--split", "--set", "solve.every=3", "--set", "representation.max_side=20"}},
		{"inline", []string{"-m", "psgd-kf"}, []string{"--inline", "--set", "solve.damping.kind=noise", "--loss", "mse"}},
		{"split", []string{"-m", "k-bfgs"}, []string{"--split", "--set", "solve.every=3"}},
		{"inline", []string{"-m", "k-bfgs"}, []string{"--inline", "--loss", "mse", "--set", "solve.damping.kind=iso"}},
		{"noise", []string{"-m", "sophia-g"}, []string{"--noise", "input", "--set", "curvature.samples=2"}},
		{"plain", []string{"-m", "sfn"}, nil},
		{"nesterov", []string{"-m", "sgd"}, []string{"--set", "update.nesterov=true", "--set", "update.weight_decay=0.01", "--set", "update.clip_norm=1"}},
	} {
		t.Run(tc.name+"/"+tc.method[1], func(t *testing.T) {
			t.Parallel()
			args := append(slices.Clone(tc.method), tc.args...)
			follow(t, interopCase{model: newModel(t, "mlp", "--widths", "12,40,10"), args: args, lr: 0.001})
		})
	}
}

// interopCase is a model compiled one way.
type interopCase struct {
	model string
	args  []string // of asdlc instrument
	lr    float32
	steps int  // interopSteps if 0
	short bool // only the synchronised run, and small batches
}

// follow compiles the case and compares the runtimes.
func follow(t *testing.T, c interopCase) {
	t.Helper()
	if c.steps == 0 {
		c.steps = interopSteps
	}
	python := os.Getenv("ASDLC_PYTHON")
	if python == "" {
		t.Fatal("ASDLC_PYTHON is not set: use make interop")
	}
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	instrument := append([]string{"instrument", c.model, "--outputs", "grad", "-o"}, file("step.onnx"))
	asdlc(t, exitOK, append(instrument, c.args...)...)
	step := readStepFile(t, file("step.onnx"), c.steps)
	if c.short {
		step.batch = conformanceBatch
	}

	feeds := step.feeds(c.lr)
	writeArrays(t, file("feeds.npz"), feeds)
	// Go runs the graph without --split, onnxruntime the set of them
	whole := file("step.onnx")
	if slices.Contains(c.args, "--split") {
		whole = file("whole.onnx")
		instrument[len(instrument)-1] = whole
		asdlc(t, exitOK, append(instrument, slices.DeleteFunc(slices.Clone(c.args), func(a string) bool { return a == "--split" })...)...)
	}
	asdlc(t, exitOK, "run", whole, "--feeds", file("feeds.npz"), "--steps", fmt.Sprint(c.steps), "--every", "-o", file("go.npz"))
	got := readArrays(t, file("go.npz"))
	asdlc(t, exitOK, "run", whole, "--feeds", file("feeds.npz"), "--steps", "5", "--every", "--dtype", "float64", "-o", file("go64.npz"))
	still := noGradient(t, readArrays(t, file("go64.npz")))
	synced := step.withStates(feeds, got)
	writeArrays(t, file("sync.npz"), synced)

	args := []string{filepath.Join(moduleRoot(t), "testdata", "interop", "follow.py"), file("step.onnx")}
	if !slices.Contains(c.args, "--embed") {
		args = append(args, file("step.init.onnx"))
	}
	args = append(args, "--steps", fmt.Sprint(c.steps), "--check")
	synchronised := !slices.Contains(c.args, "--async") // what a step returns is not what the next one reads
	switch {
	case c.short:
		args = append(args, "--feeds", file("sync.npz"), "--out", file("ort_sync.npz"))
	case !synchronised:
		args = append(args, "--feeds", file("feeds.npz"), "--out", file("ort_free.npz"))
	default:
		args = append(args, "--feeds", file("feeds.npz"), file("sync.npz"), "--out", file("ort_free.npz"), file("ort_sync.npz"))
	}
	if out, err := exec.Command(python, args...).CombinedOutput(); err != nil {
		t.Fatalf("onnxruntime: %v\n%s", err, tail(out, 2000))
	}

	kinks, perturbed := countKinks(step.model), perturbedRuns
	if kinks > deepKinks {
		perturbed *= 3 // where rounding leads varies more
	}
	// near runs Go from perturbed parameters and inputs
	near := func(feeds map[string]*data.Array) func() []map[string]*data.Array {
		return sync.OnceValue(func() []map[string]*data.Array {
			start := initialArrays(t, whole)
			rng := rand.New(rand.NewPCG(3, 4))
			var runs []map[string]*data.Array
			for range perturbed {
				writeArrays(t, file("near.npz"), step.perturb(rng, start, feeds))
				asdlc(t, exitOK, "run", whole, "--feeds", file("near.npz"), "--steps", fmt.Sprint(c.steps), "--every", "-f", "-o", file("go_near.npz"))
				runs = append(runs, readArrays(t, file("go_near.npz")))
			}
			return runs
		})
	}
	kinked := countBases(step.model)
	if c.short {
		kinked += kinks
	}
	if synchronised {
		reference{step, got, still, near(synced), false, kinked}.compare(t, "synchronised", readArrays(t, file("ort_sync.npz")))
	}
	if !c.short {
		reference{step, got, still, near(feeds), kinks > 0, 0}.compare(t, "free", readArrays(t, file("ort_free.npz")))
	}
}

// initialArrays is the initial state of a step graph.
func initialArrays(t *testing.T, step string) map[string]*data.Array {
	t.Helper()
	init, out := strings.TrimSuffix(step, ".onnx")+".init.onnx", filepath.Join(t.TempDir(), "init.npz")
	asdlc(t, exitOK, "run", init, "-o", out)
	return readArrays(t, out)
}

// perturb multiplies the floating-point model inputs, and the parameters in start and in feeds, by 1 + perturbation times
// standard normals.
func (s *stepFile) perturb(rng *rand.Rand, start, feeds map[string]*data.Array) map[string]*data.Array {
	out := maps.Clone(feeds)
	for _, in := range s.inputs {
		if in.Role != "model" && in.Role != "param" {
			continue
		}
		for k := range s.steps {
			key := at(in.Name, k)
			a := feeds[key]
			if k == 0 && in.Role == "param" {
				a = start[in.Name]
			}
			if a == nil {
				continue
			}
			if d, ok := a.Data.([]float32); ok {
				near := make([]float32, len(d))
				for i, x := range d {
					near[i] = x * float32(1+perturbation*rng.NormFloat64())
				}
				out[key] = &data.Array{Shape: a.Shape, Data: near}
			}
		}
	}
	return out
}

func newModel(t *testing.T, name string, args ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name+".onnx")
	asdlc(t, exitOK, append([]string{"new", name, "-o", path}, args...)...)
	return path
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }
