package main

import (
	"encoding/json"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/runtime"
	"github.com/asdlc/asdlc/runtime/data"
)

// TestTrainSingle: a network with one output learns two classes, which training and evaluation tell by the threshold.
func TestTrainSingle(t *testing.T) {
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(1, 2))
	const n = 256
	x, y := make([]float32, 4*n), make([]int64, n)
	for i := range y {
		for k := range 4 {
			x[4*i+k] = float32(rng.NormFloat64())
		}
		if x[4*i]+x[4*i+1] > 0 {
			y[i] = 1
		}
	}
	set, model := filepath.Join(dir, "set.npz"), filepath.Join(dir, "m.onnx")
	arrays := map[string]*data.Array{"x_train": {Shape: []int{n, 4}, Data: x}, "y_train": {Shape: []int{n}, Data: y}}
	arrays["x_test"], arrays["y_test"] = arrays["x_train"], arrays["y_train"]
	if err := data.WriteNPZ(set, arrays); err != nil {
		t.Fatal(err)
	}
	asdlc(t, exitOK, "new", "mlp", "--widths", "4,16,1", "-o", model)
	out := filepath.Join(dir, "trained.onnx")
	text, _ := asdlc(t, exitOK, "train", model, "-m", "kfac", "--loss", "bce-with-logits", "-d", set, "-b", "32", "-e", "8", "--json", "-o", out)
	lines := strings.Split(strings.TrimSpace(text), "\n")
	var last runtime.EpochResult
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil {
		t.Fatal(err)
	}
	if last.Accuracy < 0.95 || last.Test == nil || last.Test.Accuracy < 0.95 || last.Test.Loss > 0.2 {
		t.Errorf("last epoch %s", lines[len(lines)-1])
	}
}
