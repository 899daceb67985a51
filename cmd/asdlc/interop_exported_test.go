//go:build interop

package main

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestInteropExported runs the step graphs of the exported files in onnxruntime, with another batch size on each step.
func TestInteropExported(t *testing.T) {
	python := os.Getenv("ASDLC_PYTHON")
	if python == "" {
		t.Fatal("ASDLC_PYTHON is not set: use make interop")
	}
	for name := range exportedNets {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			file := func(name string) string { return filepath.Join(dir, name) }
			steps := fmt.Sprint(len(exportedBatches))
			asdlc(t, exitOK, "instrument", exportedPath(t, name+".onnx"), "-m", "sgd", "--loss", "mse", "--outputs", "grad", "-o", file("step.onnx"))
			writeArrays(t, file("feeds.npz"), exportedFeeds(t, file("step.onnx")))
			asdlc(t, exitOK, "run", file("step.onnx"), "--feeds", file("feeds.npz"), "--steps", steps, "--every", "-o", file("go.npz"))
			out, err := exec.Command(python, filepath.Join(moduleRoot(t), "testdata", "interop", "follow.py"), file("step.onnx"), file("step.init.onnx"),
				"--steps", steps, "--check", "--feeds", file("feeds.npz"), "--out", file("ort.npz")).CombinedOutput()
			if err != nil {
				t.Fatalf("onnxruntime: %v\n%s", err, tail(out, 2000))
			}
			ort := readArrays(t, file("ort.npz"))
			for key, want := range readArrays(t, file("go.npz")) {
				got := ort[key]
				if got == nil {
					t.Errorf("%s is missing in onnxruntime", key)
					continue
				}
				largest := 0.0
				for _, v := range arrayFloats(want) {
					largest = max(largest, math.Abs(v))
				}
				if e := arrayError(got, want, nil); !(e <= 1e-3) && !(largest < 1e-5) { // gradients that are zero but for rounding
					t.Errorf("%s differs by %.2g of its largest entry %.2g", key, e, largest)
				}
			}
		})
	}
}
