package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/onnx"
	"github.com/asdlc/asdlc/models"
	"github.com/asdlc/asdlc/passes"
	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/runtime"
	"github.com/asdlc/asdlc/runtime/kernel"
	"github.com/asdlc/asdlc/runtime/vm"
)

// The conformance suite: every model trains with every method. Both lists are read from where they are kept, so that new
// methods, networks and files join by themselves. By default a part of the pairs is tested in which every network and
// every method occurs; ASDLC_FULL=1 (make conformance sets it) tests all of them, files of ../shared/onnx-models too.
const (
	conformanceSteps = 20
	conformanceBatch = 8
	// conformanceMemory leaves out pairs whose curvature is too large for a test: the square of all parameters, say.
	conformanceMemory = 2 << 30
	// exportTol is relative to the largest output.
	exportTol = 1e-5
)

// smallSteps is the part of a method's learning rate with which any loss falls on one batch; 0.1 where it is not listed.
var smallSteps = map[string]float32{
	"esgd": 1e-3, // a scale of one probe has entries near zero
}

// learningRate is that of a method in the suite.
func learningRate(rec method.Record) float32 {
	return cmp.Or(smallSteps[rec.Name], 0.1) * float32(rec.Update.LR)
}

// tiny are the sizes of the reference networks in the suite.
var tiny = map[string]models.Options{
	"mlp":         {Widths: []int{12, 20, 10}},
	"lenet":       {},
	"resnet18":    {Width: 4, Image: 16},
	"resnet50":    {Width: 4, Image: 32},
	"wideresnet":  {Depth: 10, Widen: 1, Image: 8},
	"vit-tiny":    {Width: 12, Depth: 1, Image: 8},
	"mixer-base":  {Width: 12, Depth: 1, Image: 8},
	"mixer-small": {Width: 8, Depth: 2, Image: 8},
	"gpt2":        {Width: 12, Depth: 1, Heads: 2, Vocab: 11, Context: 8},
	"gpt-nano":    {Width: 6, Vocab: 7, Context: 8},
	"bert-tiny":   {Width: 12, Depth: 1, Vocab: 11, Context: 8},
}

// refused are the pairs that a method cannot train, by patterns of path.Match, and what the error says.
var refused = []struct{ method, model, says string }{}

// refusal is what the error of a refused pair says; "" for a pair that trains.
func refusal(p pair) string {
	for _, r := range refused {
		isMethod, _ := path.Match(r.method, p.method)
		isModel, _ := path.Match(r.model, p.name)
		if isMethod && isModel {
			return r.says
		}
	}
	return ""
}

// subject is a model of the suite.
type subject struct {
	name string
	load func(*testing.T) *graph.Model
}

// networks are the reference networks in tiny sizes.
func networks(t *testing.T) []subject {
	t.Helper()
	var list []subject
	for _, name := range models.Names() {
		o, ok := tiny[name]
		if !ok {
			t.Errorf("network %s has no tiny size: give it one", name)
			continue
		}
		list = append(list, subject{name, func(t *testing.T) *graph.Model {
			m, err := models.Build(name, o)
			if err != nil {
				t.Fatal(err)
			}
			return m
		}})
	}
	return list
}

// files are the exported models beside the repository; none where they are absent.
func files(t *testing.T) []subject {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("..", "..", "..", "shared", "onnx-models", "*.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) == 0 {
		t.Run("files", func(t *testing.T) { t.Skip("../shared/onnx-models absent") })
	}
	var list []subject
	for _, path := range paths {
		list = append(list, subject{strings.TrimSuffix(filepath.Base(path), ".onnx"), func(t *testing.T) *graph.Model {
			m, err := onnx.Read(path)
			if err != nil {
				t.Fatal(err)
			}
			return m
		}})
	}
	return list
}

// pair is a case of the suite.
type pair struct {
	subject
	method string
}

// pairs are all pairs of models and methods, or a diagonal of them, in which each model and each method occurs.
func pairs(list []subject, methods []string) []pair {
	var out []pair
	if os.Getenv("ASDLC_FULL") != "" {
		for _, s := range list {
			for _, m := range methods {
				out = append(out, pair{s, m})
			}
		}
		return out
	}
	if len(list) == 0 {
		return nil
	}
	for i := range max(len(list), len(methods)) {
		out = append(out, pair{list[i%len(list)], methods[i%len(methods)]})
	}
	return out
}

// TestConformance trains every network with every method.
func TestConformance(t *testing.T) {
	list := networks(t)
	if os.Getenv("ASDLC_FULL") != "" {
		list = append(list, files(t)...)
	}
	for _, p := range pairs(list, method.Names()) {
		t.Run(p.name+"/"+p.method, func(t *testing.T) {
			t.Parallel()
			conform(t, p)
		})
	}
}

func conform(t *testing.T, p pair) {
	rec, _ := method.Lookup(p.method)
	model := p.load(t)
	r, err := passes.Instrument(model, rec, pass.Options{Verify: true}, "")
	if says := refusal(p); says != "" {
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("error %v, want one with %q", err, says)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	step := stepOf(t, r.Step, 1)
	step.batch = conformanceBatch
	lr := learningRate(rec)
	run := trainPair(t, r, step, lr)
	if again := trainPair(t, r, step, lr); !run.same(again) {
		t.Error("twice the same training gives different numbers")
	}
	run.check(t, !drops(model))
	checkExport(t, model, run, step)
}

// training is what a pair's training left.
type training struct {
	losses []float64
	state  map[string]*kernel.Tensor
	kinds  map[string]string // of the states
}

// trainPair runs the steps on one batch. The pair is left out if it needs too much memory.
func trainPair(t *testing.T, r *passes.Result, step *stepFile, lr float32) training {
	t.Helper()
	s := openSession(t, r)
	defer s.Close()
	feeds := tensors(t, step, lr)
	run := training{state: map[string]*kernel.Tensor{}, kinds: map[string]string{}}
	for range conformanceSteps {
		out, err := s.Run(feeds, []string{"loss"})
		if errors.Is(err, vm.ErrMemory) {
			t.Skipf("more than %d MiB", conformanceMemory>>20)
		}
		if err != nil {
			t.Fatal(err)
		}
		run.losses = append(run.losses, float64(kernel.Data[float32](out["loss"])[0]))
	}
	for _, st := range s.States() {
		v, err := s.State(st.In)
		if err != nil {
			t.Fatal(err)
		}
		run.state[st.In], run.kinds[st.In] = v, st.Kind
	}
	return run
}

func openSession(t *testing.T, r *passes.Result) *runtime.Session {
	t.Helper()
	s, err := runtime.NewSession(r.Step, runtime.Options{MemoryLimit: conformanceMemory})
	if err == nil {
		err = s.LoadInit(r.Init)
	}
	if errors.Is(err, vm.ErrMemory) {
		t.Skipf("more than %d MiB", conformanceMemory>>20)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// tensors are the inputs of the first step.
func tensors(t *testing.T, step *stepFile, lr float32) map[string]*kernel.Tensor {
	t.Helper()
	feeds := map[string]*kernel.Tensor{}
	for name, a := range step.feeds(lr) {
		v, err := runtime.FromArray(a)
		if err != nil {
			t.Fatal(err)
		}
		feeds[strings.TrimSuffix(name, "@0")] = v
	}
	return feeds
}

func (r training) same(o training) bool {
	if !slices.Equal(r.losses, o.losses) {
		return false
	}
	for name, v := range r.state {
		if !bytes.Equal(v.Raw, o.state[name].Raw) {
			return false
		}
	}
	return true
}

// drops tells whether a model has a Dropout in training mode: its loss is noise, which the small steps of the suite do not
// rise above.
func drops(m *graph.Model) bool {
	for n := range m.Graph.All() {
		if n.Op == "Dropout" && n.In(2) != nil {
			return true
		}
	}
	return false
}

// check finds numbers that are not finite, and a loss that does not fall where it should.
func (r training) check(t *testing.T, falls bool) {
	t.Helper()
	for name, v := range r.state {
		if v.Elem != graph.Float32 {
			continue
		}
		for _, x := range kernel.Data[float32](v) {
			if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
				t.Errorf("%s has the entry %g", name, x)
				break
			}
		}
	}
	last := slices.Min(r.losses[len(r.losses)-5:])
	if falls && !(last < r.losses[0]) || math.IsNaN(last) {
		t.Errorf("the loss does not fall on one batch: %.4g", r.losses)
	}
}

// checkExport puts the trained weights into the original file. Its outputs are those of the step graph that is compiled
// from the original in its inference form, with the trained parameters as state.
func checkExport(t *testing.T, model *graph.Model, run training, step *stepFile) {
	t.Helper()
	trained, params, buffers := map[string]*kernel.Tensor{}, map[string]*kernel.Tensor{}, map[string]*kernel.Tensor{}
	for name, kind := range run.kinds {
		switch kind {
		case "param":
			params[name], trained[name] = run.state[name], run.state[name]
		case "buffer":
			buffers[name], trained[name] = run.state[name], run.state[name]
		}
	}
	exported, err := exportWeights(model, trained)
	if err != nil {
		t.Fatal(err)
	}
	still, err := runtime.ExportWeights(model, buffers) // frozen statistics are constants of a step graph
	if err != nil {
		t.Fatal(err)
	}
	rec, _ := method.Lookup("sgd")
	r, err := passes.Instrument(runtime.InferenceForm(still), rec, pass.Options{BN: "frozen"}, "")
	if err != nil {
		t.Fatal(err)
	}
	outputs := outputNames(model)
	evaluation := openSession(t, r)
	defer evaluation.Close()
	for name, v := range params {
		if err := evaluation.SetState(name, v); err != nil {
			t.Fatal(err)
		}
	}
	frozen := stepOf(t, r.Step, 1)
	frozen.batch = step.batch
	want, err := evaluation.Run(tensors(t, frozen, 0), outputs)
	if err != nil {
		t.Fatal(err)
	}
	file, err := runtime.NewSession(runtime.InferenceForm(exported), runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	feeds := map[string]*kernel.Tensor{}
	for name, v := range tensors(t, step, 0) {
		if in := model.Graph.Find(name); in != nil && in.IsInput() {
			feeds[name] = v
		}
	}
	got, err := file.Run(feeds, outputs)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range outputs {
		if e := tensorError(got[name], want[name]); !(e <= exportTol) {
			t.Errorf("output %s of the exported file differs by %.2g of its largest entry from that of the step graph", name, e)
		}
	}
}

func outputNames(m *graph.Model) []string {
	var names []string
	for _, v := range m.Graph.Outputs() {
		names = append(names, v.Name)
	}
	return names
}

// tensorError is the largest difference over the largest entry of want.
func tensorError(got, want *kernel.Tensor) float64 {
	a, b := kernel.Data[float32](got), kernel.Data[float32](want)
	if len(a) != len(b) {
		return math.Inf(1)
	}
	worst, largest := 0.0, 0.0
	for i := range b {
		worst = max(worst, math.Abs(float64(a[i])-float64(b[i])))
		largest = max(largest, math.Abs(float64(b[i])))
	}
	return worst / largest
}

// A diagonal has every model and every method.
func TestPairs(t *testing.T) {
	t.Setenv("ASDLC_FULL", "")
	list := []subject{{name: "a"}, {name: "b"}, {name: "c"}}
	for _, methods := range [][]string{{"x"}, {"x", "y"}, {"x", "y", "z", "u", "v"}} {
		seen := map[string]bool{}
		for _, p := range pairs(list, methods) {
			seen[p.name], seen[p.method] = true, true
		}
		if len(seen) != len(list)+len(methods) {
			t.Errorf("%d methods: only %v", len(methods), fmt.Sprint(seen))
		}
	}
}
