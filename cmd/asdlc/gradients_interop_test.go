//go:build interop

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph/graphtest"
)

// gradientTol is for gradients in float64 against PyTorch's, relative to the largest entry of a gradient tensor. Constants
// of a float32 graph stay rounded to float32.
const gradientTol = 1e-5

// TestInteropGradientsNew compares the gradients of reference networks with those of PyTorch.
func TestInteropGradientsNew(t *testing.T) {
	compareGradients(t, 2, newModel(t, "mlp", "--widths", "12,40,10"), newModel(t, "lenet"))
}

// TestInteropGradientsFiles does so for the exported networks of the data beside the repository.
func TestInteropGradientsFiles(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(graphtest.Shared(t, "onnx-models"), "*.onnx"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files (%v)", len(files), err)
	}
	compareGradients(t, len(files), files...)
}

// compareGradients rebuilds the models in PyTorch (testdata/interop/gradients.py) and compares the gradients of both losses
// with respect to parameters and inputs. Without PyTorch the test is skipped.
func compareGradients(t *testing.T, count int, files ...string) {
	t.Helper()
	python := os.Getenv("ASDLC_PYTHON")
	if python == "" {
		t.Fatal("ASDLC_PYTHON is not set: use make interop")
	}
	program := filepath.Join(t.TempDir(), "asdlc")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	var stderr bytes.Buffer
	script := filepath.Join(moduleRoot(t), "testdata", "interop", "gradients.py")
	cmd := exec.Command(python, append([]string{script, "--asdlc", program}, files...)...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 77 {
		t.Skip("PyTorch is not installed for ASDLC_PYTHON: make torch installs it")
	}
	if err != nil {
		t.Fatalf("gradients.py: %v\n%s", err, tail(stderr.Bytes(), 2000))
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != 2*count {
		t.Errorf("%d comparisons of %d models, want two of each", len(lines), count)
	}
	for _, line := range lines {
		var r struct {
			Model, Loss, At string
			Count           int
			Error           float64
			LossError       float64 `json:"loss_error"`
			Missing         []string
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("gradients.py prints %s (%v)", line, err)
		}
		t.Run(r.Model+"/"+r.Loss, func(t *testing.T) {
			t.Logf("%d gradients, the worst is off by %.1e", r.Count, r.Error)
			if r.Count == 0 || !(r.Error <= gradientTol) || !(r.LossError <= gradientTol) {
				t.Errorf("of %d gradients, that of %s is off by %g; the loss by %g", r.Count, r.At, r.Error, r.LossError)
			}
			if len(r.Missing) > 0 {
				t.Errorf("no gradients of %v", r.Missing)
			}
		})
	}
}
