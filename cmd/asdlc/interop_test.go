//go:build interop

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/onnx"
	"github.com/asdlc/asdlc/runtime/data"
)

// The interop suite: step graphs run in stock onnxruntime (testdata/interop/follow.py) and in Go, from the same initial
// state on the same batches, and every output of every step is compared. ASDLC_PYTHON is the Python that has what
// testdata/interop/requirements.txt lists; make interop sets it.
//
// Each graph runs twice. In the free run onnxruntime carries its own state, so that differences may add up. In the
// synchronised run it starts every step from the state that Go had, so that a step on which the two disagree is seen by
// itself. Both must hold for all steps, with one exception: where the network has a kink (ReLU, max pooling), an activation
// that rounding moves across it makes the gradient jump, and the free runs part. That is accepted only if Go, started on
// every step from the state that onnxruntime had, gives what onnxruntime gave on all of them.
//
// An inverse or root of an ill-conditioned factor is determined by float32 statistics only so far: there the tolerance is
// conditionSlack times what Go's own float32 step differs from the same step in float64, where that is more.
//
// Left out are the states of parameters whose gradient is zero in exact arithmetic, such as a bias right before a
// normalisation: it is rounding noise, and methods that divide by its size turn noise into steps of full length. Such
// parameters are found by a float64 run; the loss does not depend on them.
const (
	interopSteps = 50
	interopBatch = 16
	lossTol      = 1e-5 // relative
	stateTol     = 1e-4 // relative to the largest entry of the tensor

	conditionSlack = 10
)

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
	{"kfac-mc", []string{"-m", "kfac"}, 0.01},
	{"kfac-emp", []string{"-m", "kfac", "--set", "curvature.source=emp"}, 0.01},
	{"kfac-exact", []string{"-m", "kfac", "--set", "curvature.source=exact"}, 0.01},
}

// TestInteropFiles follows every method on the exported networks of the data beside the repository.
func TestInteropFiles(t *testing.T) {
	dir := interopShared(t, "onnx-models")
	for _, net := range []string{"mlp", "cnn_bn_dropout", "resnet8", "mlp_mixer"} {
		for _, form := range []string{"op13_eval", "op13_train", "op17_eval", "op17_train"} {
			for _, m := range interopMethods {
				t.Run(net+"/"+form+"/"+m.name, func(t *testing.T) {
					t.Parallel()
					follow(t, interopCase{model: filepath.Join(dir, net+"_"+form+".onnx"), args: m.args, lr: m.lr})
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
}

// follow compiles the case and compares the runtimes.
func follow(t *testing.T, c interopCase) {
	t.Helper()
	python := os.Getenv("ASDLC_PYTHON")
	if python == "" {
		t.Fatal("ASDLC_PYTHON is not set: use make interop")
	}
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	instrument := append([]string{"instrument", c.model, "--outputs", "grad", "-o"}, file("step.onnx"))
	asdlc(t, append(instrument, c.args...)...)
	step := readStepFile(t, file("step.onnx"))

	feeds := interopFeeds(step, c.lr)
	writeArrays(t, file("feeds.npz"), feeds)
	// Go runs the graph without --split, onnxruntime the set of them
	whole := file("step.onnx")
	if slices.Contains(c.args, "--split") {
		whole = file("whole.onnx")
		instrument[len(instrument)-1] = whole
		asdlc(t, append(instrument, slices.DeleteFunc(slices.Clone(c.args), func(a string) bool { return a == "--split" })...)...)
	}
	asdlc(t, "run", whole, "--feeds", file("feeds.npz"), "--steps", fmt.Sprint(interopSteps), "--every", "-o", file("go.npz"))
	got := readArrays(t, file("go.npz"))
	// the synchronised run starts each step from Go's state
	step.feedStates(feeds, got)
	writeArrays(t, file("sync.npz"), feeds)
	asdlc(t, "run", whole, "--feeds", file("sync.npz"), "--steps", fmt.Sprint(interopSteps), "--every", "--dtype", "float64", "-o", file("go64.npz"))
	wide := readArrays(t, file("go64.npz"))
	ref := reference{step, got, noGradient(t, wide), conditions(step, got, wide)}
	args := []string{filepath.Join(moduleRoot(t), "testdata", "interop", "follow.py"), file("step.onnx")}
	if !slices.Contains(c.args, "--embed") {
		args = append(args, file("step.init.onnx"))
	}
	args = append(args, "--steps", fmt.Sprint(interopSteps), "--check",
		"--feeds", file("feeds.npz"), file("sync.npz"), "--out", file("ort_free.npz"), file("ort_sync.npz"))
	if out, err := exec.Command(python, args...).CombinedOutput(); err != nil {
		t.Fatalf("onnxruntime: %v\n%s", err, tail(out, 2000))
	}
	ref.compare("synchronised", readArrays(t, file("ort_sync.npz"))).report(t)
	free := readArrays(t, file("ort_free.npz"))
	parted := ref.compare("free", free)
	if parted.messages == nil || !hasKinks(step.model) {
		parted.report(t)
		return
	}
	t.Logf("the free runs part at step %d, at a kink: %s", parted.step, parted.messages[0])
	step.feedStates(feeds, free)
	writeArrays(t, file("back.npz"), feeds)
	asdlc(t, "run", whole, "--feeds", file("back.npz"), "--steps", fmt.Sprint(interopSteps), "--every", "-o", file("go_back.npz"))
	ref.arrays = readArrays(t, file("go_back.npz"))
	ref.compare("onnxruntime's own", free).report(t)
}

// hasKinks reports whether a step graph has operators with a jump in their derivative.
func hasKinks(m *graph.Model) bool {
	for n := range m.Graph.All() {
		if slices.Contains([]string{"Relu", "MaxPool", "LeakyRelu", "PRelu", "ThresholdedRelu", "Clip", "HardSigmoid"}, n.Op) {
			return true
		}
	}
	return false
}

// reference is what the Go runtime computed, and how well it is determined.
type reference struct {
	step   *stepFile
	arrays map[string]*data.Array
	still  map[string]bool    // parameters without a gradient
	tol    map[string]float64 // of inverses and roots, by output
}

// conditions measures how far float32 determines each curvature state: conditionSlack times the largest difference
// between a float32 and a float64 step from the same state.
func conditions(step *stepFile, narrow, wide map[string]*data.Array) map[string]float64 {
	tol := map[string]float64{}
	for _, s := range step.state {
		if s.Kind != "curvature" {
			continue
		}
		for k := range interopSteps {
			key := fmt.Sprintf("%s@%d", s.Out, k)
			if a, b := narrow[key], wide[key]; a != nil && b != nil {
				tol[s.Out] = max(tol[s.Out], conditionSlack*arrayError(a, b))
			}
		}
	}
	return tol
}

// comparison is the first step of a run on which tensors are off, with a message for each of the first few of them.
type comparison struct {
	step     int
	messages []string
}

func (c comparison) report(t *testing.T) {
	t.Helper()
	for _, m := range c.messages {
		t.Error(m)
	}
}

// compare checks every output of every step of a run in onnxruntime.
func (r reference) compare(run string, ort map[string]*data.Array) comparison {
	of := map[string]string{}
	for _, s := range r.step.state {
		of[s.Out] = s.Of
	}
	c := comparison{}
	compared := 0
	for c.step = range interopSteps {
		for _, o := range r.step.outputs {
			_, param, _ := strings.Cut(o.Name, "/") // of grad/PARAM and precond/PARAM
			if r.still[of[o.Name]] || r.still[param] {
				continue
			}
			key := fmt.Sprintf("%s@%d", o.Name, c.step)
			a, b := ort[key], r.arrays[key]
			if a == nil && b != nil && o.Role == "next" { // a step graph of --split returns what it changed
				continue
			}
			compared++
			if m := r.difference(o.Name, o.Role, a, b); m != "" && len(c.messages) < 8 {
				c.messages = append(c.messages, fmt.Sprintf("%s run, step %d: %s %s", run, c.step, o.Name, m))
			}
		}
		if c.messages != nil {
			return c
		}
	}
	if compared < 2*interopSteps {
		c.messages = []string{fmt.Sprintf("%s run: only %d tensors compared", run, compared)}
	}
	return c
}

// difference says how an output of onnxruntime is off from Go's; "" if it is not.
func (r reference) difference(name, role string, got, want *data.Array) string {
	tol := max(stateTol, r.tol[name])
	if role == "loss" {
		tol = lossTol
	}
	switch {
	case got == nil || want == nil:
		return fmt.Sprintf("is missing (in onnxruntime %v, in Go %v)", got == nil, want == nil)
	case got.Elem() != want.Elem():
		return fmt.Sprintf("is %s, in Go %s", got.Elem(), want.Elem())
	}
	if e := arrayError(got, want); !(e <= tol) {
		return fmt.Sprintf("differs by %.2g of its largest entry, want at most %.2g", e, tol)
	}
	return ""
}

// arrayError is the largest difference over the largest entry of want; +Inf where shapes differ or a number is not finite.
func arrayError(got, want *data.Array) float64 {
	if !slices.Equal(got.Shape, want.Shape) {
		return math.Inf(1)
	}
	a, b := arrayFloats(got), arrayFloats(want)
	worst, largest := 0.0, 0.0
	for i := range b {
		d := math.Abs(a[i] - b[i])
		if math.IsNaN(d) || math.IsInf(b[i], 0) {
			return math.Inf(1)
		}
		worst, largest = max(worst, d), max(largest, math.Abs(b[i]))
	}
	if worst == 0 {
		return 0
	}
	return worst / largest
}

// noGradient finds the parameters whose gradient is zero in exact arithmetic: in float64 it is below 1e-12 of the largest
// gradient on every step.
func noGradient(t *testing.T, wide map[string]*data.Array) map[string]bool {
	t.Helper()
	largest, all := map[string]float64{}, 0.0
	for name, a := range wide {
		base, _, _ := stepName(name)
		if p, ok := strings.CutPrefix(base, "grad/"); ok {
			for _, x := range arrayFloats(a) {
				largest[p] = max(largest[p], math.Abs(x))
			}
			all = max(all, largest[p])
		}
	}
	still := map[string]bool{}
	for p, g := range largest {
		if g < 1e-12*all {
			still[p] = true
		}
	}
	if len(largest) == 0 || len(still) > len(largest)/2 {
		t.Fatalf("%d of %d gradients are zero", len(still), len(largest))
	}
	return still
}

// stepFile is what the metadata of a step graph says.
type stepFile struct {
	inputs []struct {
		Name, Role, Type string
		Classes          int64
	}
	outputs []struct{ Name, Role string }
	state   []struct{ In, Out, Kind, Of string }
	model   *graph.Model
}

func readStepFile(t *testing.T, path string) *stepFile {
	t.Helper()
	m, err := onnx.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	s := &stepFile{model: m}
	for key, into := range map[string]any{"asdl.inputs": &s.inputs, "asdl.outputs": &s.outputs, "asdl.state": &s.state} {
		if err := json.Unmarshal([]byte(m.Metadata[key]), into); err != nil {
			t.Fatalf("%s of %s: %v", key, path, err)
		}
	}
	return s
}

// feedStates adds to feeds the state that a run had before each step but the first.
func (s *stepFile) feedStates(feeds, run map[string]*data.Array) {
	for _, e := range s.state {
		for k := 1; k < interopSteps; k++ {
			if a := run[fmt.Sprintf("%s@%d", e.Out, k-1)]; a != nil {
				feeds[fmt.Sprintf("%s@%d", e.In, k)] = a
			}
		}
	}
}

// interopFeeds makes a batch and noise for every step, the learning rate and a seed.
func interopFeeds(s *stepFile, lr float32) map[string]*data.Array {
	rng := rand.New(rand.NewPCG(1, 2))
	feeds := map[string]*data.Array{}
	classes := int64(10)
	for _, in := range s.inputs {
		if in.Classes > 0 {
			classes = in.Classes
		}
	}
	for _, in := range s.inputs {
		v := s.model.Graph.Find(in.Name)
		switch in.Role {
		case "model", "target", "noise":
			for k := range interopSteps {
				feeds[fmt.Sprintf("%s@%d", in.Name, k)] = randomArray(rng, v.Type, classes)
			}
		case "seed":
			feeds[in.Name] = &data.Array{Data: []int64{7}}
		case "hyper":
			if in.Name == "lr" {
				feeds[in.Name] = &data.Array{Data: []float32{lr}}
			}
		}
	}
	return feeds
}

// randomArray draws standard normals, or labels; sizes that are not known are the batch.
func randomArray(rng *rand.Rand, typ graph.Type, classes int64) *data.Array {
	a := &data.Array{}
	n := 1
	for _, d := range typ.Dims {
		size, ok := d.Size()
		if !ok {
			size = interopBatch
		}
		a.Shape = append(a.Shape, int(size))
		n *= int(size)
	}
	if typ.Elem == graph.Int64 {
		labels := make([]int64, n)
		for i := range labels {
			labels[i] = rng.Int64N(classes)
		}
		a.Data = labels
		return a
	}
	normals := make([]float32, n)
	for i := range normals {
		normals[i] = float32(rng.NormFloat64())
	}
	a.Data = normals
	return a
}

func arrayFloats(a *data.Array) []float64 {
	var out []float64
	switch d := a.Data.(type) {
	case []float32:
		for _, x := range d {
			out = append(out, float64(x))
		}
	case []float64:
		out = d
	case []int64:
		for _, x := range d {
			out = append(out, float64(x))
		}
	default:
		panic(fmt.Sprintf("BUG: output of type %T", d))
	}
	return out
}

func newModel(t *testing.T, name string, args ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name+".onnx")
	asdlc(t, append([]string{"new", name, "-o", path}, args...)...)
	return path
}

// asdlc runs a command line that must succeed.
func asdlc(t *testing.T, args ...string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if code := run(args, &stdout, &stderr); code != exitOK {
		t.Fatalf("asdlc %s: exit code %d\n%s", strings.Join(args, " "), code, stderr.String())
	}
}

func readArrays(t *testing.T, path string) map[string]*data.Array {
	t.Helper()
	arrays, err := data.ReadNPZ(path)
	if err != nil {
		t.Fatal(err)
	}
	return arrays
}

func writeArrays(t *testing.T, path string, arrays map[string]*data.Array) {
	t.Helper()
	if err := data.WriteNPZ(path, arrays); err != nil {
		t.Fatal(err)
	}
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

// moduleRoot is the folder of go.mod above the test.
func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the test's folder")
		}
		dir = filepath.Dir(dir)
	}
}

// interopShared finds a folder of the data beside the repository, or skips the test.
func interopShared(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(moduleRoot(t), "..", "shared", name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("%s absent", name)
	}
	return path
}
