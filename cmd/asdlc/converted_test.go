package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/onnx"
	"github.com/asdlc/asdlc/passes"
	"github.com/asdlc/asdlc/passes/normalize"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/passes/passtest"
	"github.com/asdlc/asdlc/runtime/data"
)

// Files of scikit-learn's converter (testdata/interop/classical, by export_sklearn.py): labels and dictionaries behind the
// probabilities are left out, training sees the logits, and the trained file has all outputs again.
func TestClassical(t *testing.T) {
	for name, c := range map[string]struct {
		loss    string
		outputs int
	}{
		"mlp2": {"cross-entropy", 2}, "mlp3": {"cross-entropy", 2}, "mlp3nozipmap": {"cross-entropy", 2}, "scaled": {"cross-entropy", 2}, "regressor": {"mse", 1},
		"logistic": {"cross-entropy", 2}, "logistic2": {"cross-entropy", 2}, "letters": {"cross-entropy", 2}, "linear": {"mse", 1},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := func(name string) string { return filepath.Join(dir, name) }
			path := filepath.Join(moduleRoot(t), "testdata", "interop", "classical", name+".onnx")
			said, _ := asdlc(t, exitOK, "instrument", path, "-m", "kfac", "--loss", c.loss, "-o", file("step.onnx"))
			if logits := strings.Contains(said, "the cross-entropy is computed from the logits"); logits != (c.loss == "cross-entropy") {
				t.Errorf("instrument says\n%s", said)
			}
			rng := rand.New(rand.NewPCG(1, 2))
			x, label, value := make([]float32, 40), make([]int64, 10), make([]float32, 20)
			for i := range x {
				x[i] = float32(rng.NormFloat64())
			}
			for i := range label {
				label[i] = rng.Int64N(2)
			}
			feeds := map[string]*data.Array{"X": {Shape: []int{10, 4}, Data: x}, "target": {Shape: []int{10}, Data: label}}
			if c.loss == "mse" {
				width := map[string]int{"regressor": 1, "linear": 2}[name]
				feeds["target"] = &data.Array{Shape: []int{10, width}, Data: value[:10*width]}
			}
			writeArrays(t, file("feeds.npz"), feeds)
			asdlc(t, exitOK, "run", file("step.onnx"), "--feeds", file("feeds.npz"), "--steps", "5", "--every", "-o", file("out.npz"))
			out := readArrays(t, file("out.npz"))
			first, last := arrayFloats(out["loss@0"])[0], arrayFloats(out["loss@4"])[0]
			if !(last < first) || math.IsNaN(last) {
				t.Errorf("the loss goes from %g to %g", first, last)
			}
			asdlc(t, exitOK, "run", file("step.onnx"), "--feeds", file("feeds.npz"), "--steps", "5", "-o", file("end.npz"))
			asdlc(t, exitOK, "export", path, "--from", file("end.npz"), "-o", file("trained.onnx"))
			before, after := readModelFile(t, path), readModelFile(t, file("trained.onnx"))
			if len(after.Graph.Outputs()) != c.outputs {
				t.Errorf("%d outputs in the trained file", len(after.Graph.Outputs()))
			}
			for i, v := range before.Graph.Outputs() {
				if w := after.Graph.Outputs()[i]; v.Name != w.Name || v.Foreign != w.Foreign || !v.Type.Equal(w.Type) {
					t.Errorf("output %s became %s", v, w)
				}
			}
			if before.Graph.Len() != after.Graph.Len() {
				t.Errorf("%d nodes became %d", before.Graph.Len(), after.Graph.Len())
			}
		})
	}
}

// A classifier of the converter trains, is evaluated after each epoch, and so is the trained file.
func TestClassicalTrain(t *testing.T) {
	x, y := make([]float32, 240), make([]int64, 60)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	for i := range y {
		if x[4*i] > 0 {
			y[i] = 1
		}
	}
	path := filepath.Join(t.TempDir(), "data.npz")
	samples, labels := &data.Array{Shape: []int{60, 4}, Data: x}, &data.Array{Shape: []int{60}, Data: y}
	writeArrays(t, path, map[string]*data.Array{"x_train": samples, "y_train": labels, "x_test": samples, "y_test": labels})
	for _, name := range []string{"mlp3", "scaled", "letters", "logistic2"} {
		out := filepath.Join(t.TempDir(), "trained.onnx")
		said, _ := asdlc(t, exitOK, "train", filepath.Join(moduleRoot(t), "testdata", "interop", "classical", name+".onnx"), "-m", "adam", "--lr", "0.1", "-d", path, "-b", "20", "-e", "20", "-o", out)
		eval, _ := asdlc(t, exitOK, "eval", out, "-d", path)
		accuracy := strings.TrimPrefix(said[strings.Index(said, "test accuracy"):], "test ")
		if accuracy, _, _ = strings.Cut(accuracy, "\n"); !strings.HasPrefix(eval, accuracy) || !strings.Contains(accuracy, "accuracy 9") && !strings.Contains(accuracy, "accuracy 100") {
			t.Errorf("%s: training says %q, the trained file %q", name, accuracy, eval)
		}
	}
}

func readModelFile(t *testing.T, path string) *graph.Model {
	t.Helper()
	m, err := onnx.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// A network in the style of tf2onnx: NHWC around the convolution, names with :0, a layer normalisation in nine primitives,
// probabilities at the end.
func TestTensorFlowStyle(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(moduleRoot(t), "testdata", "interop", "tf2onnx_style.onnxtxt"))
	if err != nil {
		t.Fatal(err)
	}
	m := passtest.Parse(t, string(text))
	r, err := passes.Inspect(m, pass.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var layers []string
	for _, l := range r.Layers {
		layers = append(layers, fmt.Sprint(l.Kind, len(l.Params)))
	}
	if want := []string{"conv2", "layernorm2", "linear2"}; !slices.Equal(layers, want) {
		t.Errorf("layers %v, want %v", layers, want)
	}
	got, _ := passtest.Apply(t, m, pass.Options{}, normalize.Pass)
	feeds := passtest.Feeds(t, m, 1, map[string]int64{"unk__6": 3})
	passtest.Same(t, passtest.Eval(t, m, feeds), passtest.Eval(t, got, feeds), 1e-5)
	path := filepath.Join(t.TempDir(), "m.onnx")
	if err := onnx.Write(path, m, onnx.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{"kfac", "shampoo"} {
		said, _ := asdlc(t, exitOK, "instrument", path, "-m", method, "--dry-run")
		if !strings.Contains(said, "computed from the logits before it, logits:0") {
			t.Errorf("%s says\n%s", method, said)
		}
	}
}
