package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/onnx"
	"github.com/asdlc/asdlc/passes"
	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/runtime"
	"github.com/asdlc/asdlc/runtime/data"
	"github.com/asdlc/asdlc/runtime/kernel"
)

const smallDigits = "digits:train=640,test=200"

// asdlc runs one command line and returns what it prints.
func asdlc(t testing.TB, wantCode int, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	if code := run(args, &out, &errs); code != wantCode {
		t.Fatalf("asdlc %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), code, wantCode, out.String(), errs.String())
	}
	return out.String(), errs.String()
}

// smallMLP writes a small classifier of digits.
func smallMLP(t testing.TB, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "mlp.onnx")
	asdlc(t, exitOK, "new", "mlp", "--widths", "784,40,10", "-o", path)
	return path
}

// learning are what methods take beyond their defaults for a network of 784 inputs, and few steps.
var learning = map[string][]string{
	"shampoo":    {"--set", "representation.max_side=100"}, // roots of side 784 take seconds
	"adahessian": {"--lr", "0.02"},                         // the paper's rate is for long training
	"psgd-kron":  {"--lr", "0.003"},                        // likewise
}

// Every method learns, and the file it writes is as good as the last epoch said.
func TestTrainWritesTheTrainedModel(t *testing.T) {
	dir := t.TempDir()
	path := smallMLP(t, dir)
	for _, m := range method.Names() {
		out, log := filepath.Join(dir, m+".onnx"), filepath.Join(dir, m+".jsonl")
		args := []string{"train", path, "-m", m, "-d", smallDigits, "-b", "32", "-e", "3", "-o", out, "--log", log}
		args = append(args, learning[m]...)
		text, _ := asdlc(t, exitOK, args...)
		lines, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		var last runtime.EpochResult
		dec := json.NewDecoder(bytes.NewReader(lines))
		for dec.More() {
			if err := dec.Decode(&last); err != nil {
				t.Fatal(err)
			}
		}
		if last.Epoch != 3 || last.Steps != 60 || last.Test == nil || last.Test.Accuracy < 0.4 {
			t.Errorf("%s: last epoch %+v, test %+v", m, last, last.Test)
		}
		if !strings.Contains(text, "3/3") || !strings.Contains(text, "wrote "+out) {
			t.Errorf("%s prints\n%s", m, text)
		}
		text, _ = asdlc(t, exitOK, "eval", out, "-d", smallDigits, "--json")
		var score runtime.Score
		if err := json.Unmarshal([]byte(text), &score); err != nil || score.Accuracy != last.Test.Accuracy || score.Samples != 200 {
			t.Errorf("%s: eval of the file says %+v (%v), training %+v", m, score, err, *last.Test)
		}
	}
}

// Training goes on bit for bit where it stopped: with curvature, sampled labels and running statistics in the state, and with
// a solve under way.
func TestTrainResumes(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "net.onnx")
	writeConvNet(t, path)
	for m, flags := range map[string][]string{
		"kfac": {"--set", "solve.every=3"}, "shampoo": {"--set", "solve.every=3"}, "adam": nil, "kfac-async": {"--set", "solve.every=3", "--async", "3"},
	} {
		ck := filepath.Join(dir, m)
		name, _, _ := strings.Cut(m, "-")
		args := append([]string{"train", path, "-m", name, "-d", "digits:train=130,test=20", "-b", "16", "--schedule", "step:1,0.5", "--warmup", "0", "--seed", "9"}, flags...)
		with := func(more ...string) []string { return append(slices.Clone(args), more...) }
		asdlc(t, exitOK, with("-e", "4", "-o", ck+".whole.onnx")...)
		asdlc(t, exitOK, with("-e", "2", "-o", ck+".half.onnx", "--checkpoint", ck)...)
		asdlc(t, exitUsage, with("-e", "4", "-o", ck+".parts.onnx", "--checkpoint", ck)...)
		asdlc(t, exitOK, with("-e", "4", "-o", ck+".parts.onnx", "--checkpoint", ck, "--resume")...)
		whole, err := os.ReadFile(ck + ".whole.onnx")
		if err != nil {
			t.Fatal(err)
		}
		parts, err := os.ReadFile(ck + ".parts.onnx")
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(whole, parts) {
			t.Errorf("%s: resumed training gives another file", m)
		}
		asdlc(t, exitOK, "export", path, "--from", ck, "-o", ck+".export.onnx")
		if exported, err := os.ReadFile(ck + ".export.onnx"); err != nil || !bytes.Equal(exported, parts) {
			t.Errorf("%s: export from the checkpoint gives another file (%v)", m, err)
		}
		_, stderr := asdlc(t, exitFailed, with("-e", "4", "-o", ck+".other.onnx", "--checkpoint", ck, "--resume", "--lr", "0.123")...)
		if !strings.Contains(stderr, "method record") {
			t.Errorf("%s: resume with another method says %s", m, stderr)
		}
	}
}

// writeConvNet writes a small network with convolution and batch normalisation.
func writeConvNet(t testing.TB, path string) {
	t.Helper()
	m := graph.NewModel(17)
	g := m.Graph
	random := func(name string, shape ...int64) *graph.Value {
		v, err := graph.NewTensor(graph.Float32, shape...)
		if err != nil {
			t.Fatal(err)
		}
		seed := uint32(len(name))
		for i := range graph.Data[float32](v) {
			seed = seed*1664525 + 1013904223
			graph.Data[float32](v)[i] = (float32(seed>>8)/(1<<24) - 0.5) / 2
		}
		return g.AddInitializer(name, v)
	}
	full := func(name string, x float32) *graph.Value {
		return g.AddInitializer(name, graph.TensorOf([]float32{x, x, x, x}, 4))
	}
	x := g.AddInput("x", graph.TensorType(graph.Float32, graph.Sym("N"), graph.Known(1), graph.Known(28), graph.Known(28)))
	c := g.AddNode("", "Conv", []*graph.Value{x, random("conv.weight", 4, 1, 5, 5), random("conv.bias", 4)}, []string{"c"},
		graph.Is("kernel_shape", 5, 5), graph.Is("strides", 3, 3)).Out(0)
	b := g.AddNode("", "BatchNormalization", []*graph.Value{c, full("bn.weight", 1), full("bn.bias", 0), full("bn.running_mean", 0), full("bn.running_var", 1)}, []string{"b"}).Out(0)
	r := g.AddNode("", "Relu", []*graph.Value{b}, []string{"r"}).Out(0)
	f := g.AddNode("", "Flatten", []*graph.Value{r}, []string{"f"}).Out(0)
	y := g.AddNode("", "Gemm", []*graph.Value{f, random("fc.weight", 10, 256), random("fc.bias", 10)}, []string{"y"}, graph.I("transB", 1)).Out(0)
	y.Type = graph.TensorType(graph.Float32, graph.Sym("N"), graph.Known(10))
	g.AddOutput(y)
	if err := onnx.Write(path, m, onnx.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
}

// A step graph trains like the model that it was made from.
func TestTrainStepGraph(t *testing.T) {
	dir := t.TempDir()
	path := smallMLP(t, dir)
	step := filepath.Join(dir, "step.onnx")
	asdlc(t, exitOK, "instrument", path, "-m", "kfac", "-o", step)
	rest := []string{"-d", smallDigits, "-b", "64", "-e", "1", "--lr", "0.03", "--damping", "0.1"}
	asdlc(t, exitOK, append([]string{"train", path, "-m", "kfac", "-o", filepath.Join(dir, "a.onnx")}, rest...)...)
	asdlc(t, exitOK, append([]string{"train", step, "--model", path, "-o", filepath.Join(dir, "b.onnx")}, rest...)...)
	a, err := os.ReadFile(filepath.Join(dir, "a.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "b.onnx")); err != nil || !bytes.Equal(a, b) {
		t.Errorf("the step graph gives another file (%v)", err)
	}
	ck := filepath.Join(dir, "ck")
	text, _ := asdlc(t, exitOK, append([]string{"train", step, "--checkpoint", ck}, rest...)...)
	if !strings.Contains(text, " - ") {
		t.Errorf("test accuracy without the original file:\n%s", text)
	}
	asdlc(t, exitOK, "export", path, "--from", ck, "-o", filepath.Join(dir, "c.onnx"))
	if c, err := os.ReadFile(filepath.Join(dir, "c.onnx")); err != nil || !bytes.Equal(a, c) {
		t.Errorf("export from its checkpoint gives another file (%v)", err)
	}
	other := filepath.Join(dir, "other.onnx")
	asdlc(t, exitOK, "new", "mlp", "--widths", "784,40,10", "--seed", "5", "-o", other)
	asdlc(t, exitUsage, append([]string{"train", step, "--model", other, "-o", filepath.Join(dir, "d.onnx")}, rest...)...)
	asdlc(t, exitFailed, "export", other, "--from", ck, "-o", filepath.Join(dir, "d.onnx"))
	asdlc(t, exitUsage, append([]string{"train", step}, rest...)...)
	asdlc(t, exitUsage, append([]string{"train", step, "--model", path, "-m", "sgd"}, rest...)...)
}

// onLine calls then once, when a line with the text has been written.
type onLine struct {
	bytes.Buffer
	text string
	once sync.Once
	then func()
}

func (w *onLine) Write(b []byte) (int, error) {
	n, err := w.Buffer.Write(b)
	if strings.Contains(w.String(), w.text) {
		w.once.Do(w.then)
	}
	return n, err
}

// Ctrl-C keeps the state, says so, and exits with 1; --resume goes on.
func TestTrainInterrupted(t *testing.T) {
	dir := t.TempDir()
	path := smallMLP(t, dir)
	out, ck := filepath.Join(dir, "out.onnx"), filepath.Join(dir, "ck")
	stdout := &onLine{text: "2/500", then: func() { _ = syscall.Kill(os.Getpid(), syscall.SIGINT) }}
	var stderr bytes.Buffer
	args := []string{"train", path, "-m", "sgd", "-d", smallDigits, "-b", "32", "-e", "500", "--schedule", "constant", "--warmup", "0", "-o", out, "--checkpoint", ck}
	if code := run(args, stdout, &stderr); code != exitFailed {
		t.Fatalf("exit code %d\n%s%s", code, stdout.String(), stderr.String())
	}
	if !strings.Contains(stderr.String(), "interrupted after step") || !strings.Contains(stderr.String(), "--resume") {
		t.Errorf("says %s", stderr.String())
	}
	if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a trained model: %v", err)
	}
	c, err := runtime.ReadCheckpoint(ck)
	if err != nil || c.Manifest.Step < 40 {
		t.Fatalf("%+v %v", c, err)
	}
	args[9] = fmt.Sprint(c.Manifest.Epoch + 1)
	asdlc(t, exitOK, append(args, "--resume")...)
}

func TestTrainMistakes(t *testing.T) {
	dir := t.TempDir()
	path := smallMLP(t, dir)
	small := filepath.Join(dir, "five.onnx")
	asdlc(t, exitOK, "new", "mlp", "--widths", "784,5", "-o", small)
	narrow := filepath.Join(dir, "narrow.onnx")
	asdlc(t, exitOK, "new", "mlp", "--widths", "100,10", "-o", narrow)
	split := filepath.Join(dir, "split.onnx")
	asdlc(t, exitOK, "instrument", path, "-m", "kfac", "--split", "-o", split)
	npz := filepath.Join(dir, "bad.npz")
	if err := data.WriteNPZ(npz, map[string]*data.Array{"x": {Shape: []int{3, 784}, Data: make([]float32, 3*784)}, "y": {Shape: []int{2}, Data: []int64{1, 2}}}); err != nil {
		t.Fatal(err)
	}
	lr := []string{"--schedule", "constant", "--lr", "1e12", "--warmup", "0", "-b", "32"}
	for _, c := range []struct {
		code int
		says string
		args []string
	}{
		{exitUsage, "--data is required", []string{path, "-m", "sgd"}},
		{exitUsage, "--method is required", []string{path, "-d", smallDigits}},
		{exitUsage, "schedule", []string{path, "-m", "sgd", "-d", smallDigits, "--schedule", "sine"}},
		{exitUsage, "warm-up", []string{path, "-m", "sgd", "-d", smallDigits, "--warmup", "-1"}},
		{exitUsage, "--epochs 0", []string{path, "-m", "sgd", "-d", smallDigits, "-e", "0"}},
		{exitUsage, "normalisation", []string{path, "-m", "sgd", "-d", smallDigits, "--normalize", "much"}},
		{exitUsage, "--checkpoint", []string{path, "-m", "sgd", "-d", smallDigits, "--resume"}},
		{exitUsage, "input file", []string{path, "-m", "sgd", "-d", smallDigits, "-o", path}},
		{exitIO, "use -f", []string{path, "-m", "sgd", "-d", smallDigits, "-o", small}},
		{exitIO, "none.onnx", []string{filepath.Join(dir, "none.onnx"), "-m", "sgd", "-d", smallDigits}},
		{exitIO, "no.such", []string{path, "-m", "sgd", "-d", filepath.Join(dir, "no.such")}},
		{exitIO, "2 labels for the 3 samples", []string{path, "-m", "sgd", "-d", npz}},
		{exitFailed, "1000 is more than the 640", []string{path, "-m", "sgd", "-d", smallDigits, "-b", "1000"}},
		{exitFailed, "do not fit", []string{narrow, "-m", "sgd", "-d", smallDigits}},
		{exitIO, "5 classes", []string{small, "-m", "sgd", "-d", smallDigits}},
		{exitUnsupported, "--split", []string{split, "--model", path, "-d", smallDigits}},
		{exitFailed, "learning rate", append([]string{path, "-m", "sgd", "-d", smallDigits}, lr...)},
	} {
		args := c.args
		if !slices.Contains(args, "-o") {
			args = append(args, "-o", filepath.Join(dir, "out.onnx"))
		}
		var out, errs bytes.Buffer
		code := run(append([]string{"train"}, args...), &out, &errs)
		if code != c.code || !strings.Contains(errs.String(), c.says) || strings.Contains(errs.String(), "BUG") {
			t.Errorf("train %s: exit code %d, want %d, and %q in\n%s", strings.Join(c.args, " "), code, c.code, c.says, errs.String())
		}
		if _, err := os.Stat(filepath.Join(dir, "out.onnx")); err == nil {
			t.Fatalf("train %s: wrote a model", strings.Join(c.args, " "))
		}
	}
}

// Squared error against one-hot rows.
func TestTrainSquaredError(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "out.onnx")
	text, _ := asdlc(t, exitOK, "train", smallMLP(t, dir), "-m", "adam", "--loss", "mse", "-d", smallDigits, "-b", "32", "-e", "3", "--json", "-o", out)
	var last runtime.EpochResult
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		if err := json.Unmarshal([]byte(line), &last); err != nil {
			t.Fatal(err)
		}
	}
	if last.Test.Accuracy < 0.35 {
		t.Errorf("accuracy %+v", last.Test)
	}
}

// initialWeights are the parameters and buffers that the init model of a compilation gives.
func initialWeights(t *testing.T, r *passes.Result) map[string]*kernel.Tensor {
	t.Helper()
	var states []runtime.StateInfo
	if err := json.Unmarshal([]byte(r.Step.Metadata["asdl.state"]), &states); err != nil {
		t.Fatal(err)
	}
	s, err := runtime.NewSession(r.Init, runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	out, err := s.Run(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	weights := map[string]*kernel.Tensor{}
	for _, st := range states {
		if st.Kind == "param" || st.Kind == "buffer" {
			weights[st.In] = out[st.In]
		}
	}
	return weights
}

// The next states in the arrays of asdlc run go back into the file too.
func TestExportFromArrays(t *testing.T) {
	dir := t.TempDir()
	path := smallMLP(t, dir)
	step, feeds, out := filepath.Join(dir, "step.onnx"), filepath.Join(dir, "feeds.npz"), filepath.Join(dir, "out.npz")
	asdlc(t, exitOK, "instrument", path, "-m", "adam", "-o", step)
	split, err := data.Open("digits:train=32,test=0")
	if err != nil {
		t.Fatal(err)
	}
	x, y := make([]float32, 32*784), make([]int64, 32)
	split.Train.Batch(x, y, slices.Collect(func(yield func(int) bool) {
		for i := range 32 {
			if !yield(i) {
				return
			}
		}
	}))
	m, err := onnx.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	input := m.Graph.Inputs()[0].Name
	if err := data.WriteNPZ(feeds, map[string]*data.Array{input: {Shape: []int{32, 784}, Data: x}, "target": {Shape: []int{32}, Data: y}}); err != nil {
		t.Fatal(err)
	}
	asdlc(t, exitOK, "run", step, "--feeds", feeds, "--steps", "5", "-o", out)
	trained := filepath.Join(dir, "trained.onnx")
	asdlc(t, exitOK, "export", path, "--from", out, "-o", trained)
	arrays, err := data.ReadNPZ(out)
	if err != nil {
		t.Fatal(err)
	}
	got, err := onnx.Read(trained)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range got.Graph.Initializers() {
		want := arrays[v.Name+"/next"].Data.([]float32)
		if !slices.Equal(graph.Data[float32](v.Const()), want) {
			t.Errorf("%s is not the state after the last step", v.Name)
		}
	}
	asdlc(t, exitUsage, "export", path, "--from", path, "-o", filepath.Join(dir, "x.onnx"))
	asdlc(t, exitFailed, "export", path, "--from", feeds, "-o", filepath.Join(dir, "x.onnx"))
	asdlc(t, exitUsage, "export", path, "-o", filepath.Join(dir, "x.onnx"))
	asdlc(t, exitIO, "export", path, "--from", out, "-o", trained)
	asdlc(t, exitIO, "export", path, "--from", filepath.Join(dir, "none"), "-o", filepath.Join(dir, "x.onnx"))
}

// A batch normalisation net gets running statistics, which its test accuracy depends on.
func TestTrainRunningStatistics(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "net.onnx")
	writeConvNet(t, path)
	m, err := onnx.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	rec, _ := method.Lookup("sgd")
	r, err := passes.Instrument(m, rec, pass.Options{}, "")
	if err != nil {
		t.Fatal(err)
	}
	split, err := openData("digits:train=2000,test=300", "auto")
	if err != nil {
		t.Fatal(err)
	}
	var last runtime.EpochResult
	tr, err := runtime.NewTrainer(r.Step, r.Init, runtime.TrainerConfig{
		Data: split, Batch: 50, Epochs: 3, Original: m, OnEpoch: func(r runtime.EpochResult) error { last = r; return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	if err := tr.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	weights, err := tr.Weights()
	if err != nil {
		t.Fatal(err)
	}
	if mean := kernel.Data[float32](weights["bn.running_mean"]); mean[0] == 0 {
		t.Error("the running mean has not moved")
	}
	if last.Test.Accuracy < 0.4 || last.Test.Accuracy < last.Accuracy-0.1 {
		t.Errorf("test accuracy %v, training accuracy %v", last.Test.Accuracy, last.Accuracy)
	}
}
