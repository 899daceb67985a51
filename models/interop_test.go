//go:build interop

package models_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/onnx"
	"github.com/asdlc/asdlc/models"
	"github.com/asdlc/asdlc/runtime"
	"github.com/asdlc/asdlc/runtime/data"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// torchTol is by how much outputs may differ from PyTorch's, relative to the largest entry.
const torchTol = 1e-5

// task is one for zoo.py.
type task struct {
	Name    string         `json:"name"`
	Options map[string]any `json:"options"`
	Model   string         `json:"model"`
	In      string         `json:"in"`
	Out     string         `json:"out"`
}

// TestInteropCounts compares the number of parameters with that of the modules in testdata/interop/zoo.py.
func TestInteropCounts(t *testing.T) {
	var tasks []task
	var want []int64
	for _, m := range models.All() {
		for _, o := range []models.Options{{}, {ImageNet: true}} {
			if o.ImageNet && m.ImageNet == 0 {
				continue
			}
			tasks = append(tasks, task{Name: m.Name, Options: optionsMap(m.Name, o)})
			count, err := models.Count(m.Name, o)
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, count)
		}
	}
	for i, got := range zoo(t, tasks) {
		if got != want[i] {
			t.Errorf("%s %v: %d parameters in PyTorch, %d here", tasks[i].Name, tasks[i].Options, got, want[i])
		}
	}
}

// TestInteropTorch runs every network on the same weights and inputs in PyTorch, in onnxruntime and in Go. With
// ASDLC_FULL=1 the networks have their published sizes.
func TestInteropTorch(t *testing.T) {
	dir := t.TempDir()
	cases := torchCases()
	var tasks []task
	for i, c := range cases {
		file := func(ext string) string { return filepath.Join(dir, fmt.Sprint(i)+ext) }
		m, feeds := torchCase(t, c)
		if err := onnx.Write(file(".onnx"), m, onnx.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := data.WriteNPZ(file(".in.npz"), feeds); err != nil {
			t.Fatal(err)
		}
		tasks = append(tasks, task{c.name, optionsMap(c.name, c.o), file(".onnx"), file(".in.npz"), file(".out.npz")})
	}
	zoo(t, tasks)
	for i, c := range cases {
		t.Run(fmt.Sprintf("%s/imagenet=%v", c.name, c.o.ImageNet), func(t *testing.T) {
			theirs, err := data.ReadNPZ(tasks[i].Out)
			if err != nil {
				t.Fatal(err)
			}
			want := theirs["torch"].Data.([]float32)
			compareTorch(t, "onnxruntime", theirs["onnxruntime"].Data.([]float32), want)
			m, feeds := torchCase(t, c)
			compareTorch(t, "Go", forward(t, m, feeds), want)
		})
	}
}

func torchCases() []sized {
	var cases []sized
	if os.Getenv("ASDLC_FULL") != "" {
		for _, m := range models.All() {
			cases = append(cases, sized{m.Name, models.Options{ImageNet: m.ImageNet != 0}})
		}
		return cases
	}
	return append(append(cases, small...), // and the stem and the patches of ImageNet
		sized{"resnet18", models.Options{ImageNet: true, Image: 64, Classes: 7, Width: 4}},
		sized{"resnet50", models.Options{ImageNet: true, Image: 64, Classes: 7, Width: 4}},
		sized{"vit-tiny", models.Options{ImageNet: true, Image: 64, Width: 24, Depth: 2}},
		sized{"mixer-base", models.Options{ImageNet: true, Image: 64, Width: 16, Depth: 2}})
}

// torchCase is a network, with values in which zeros and ones do not hide what is not computed, and inputs.
func torchCase(t *testing.T, c sized) (*graph.Model, map[string]*data.Array) {
	m := build(t, c.name, c.o)
	rng := rand.New(rand.NewPCG(5, 6))
	for _, v := range m.Graph.Initializers() {
		v.SetConst(blurred(rng, v))
	}
	return m, torchFeeds(rng, m, resolved(c.name, c.o).Vocab)
}

func compareTorch(t *testing.T, run string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d numbers in %s, %d in PyTorch", len(got), run, len(want))
	}
	worst, largest := 0.0, 0.0
	for i := range got {
		worst = max(worst, math.Abs(float64(got[i])-float64(want[i])))
		largest = max(largest, math.Abs(float64(want[i])))
	}
	t.Logf("%s differs by %.2g of the largest output %.3g", run, worst/largest, largest)
	if !(worst <= torchTol*largest) {
		t.Errorf("%s differs from PyTorch by %.2g of the largest output, want at most %.2g", run, worst/largest, torchTol)
	}
}

// blurred is an initializer plus noise of a tenth of the deviation of a layer's weights; running variances stay positive.
func blurred(rng *rand.Rand, v *graph.Value) *graph.Tensor {
	shape := v.Const().Shape
	std := 0.1
	if len(shape) > 1 {
		std = 0.1 / math.Sqrt(float64(v.Const().Len())/float64(shape[0]))
	}
	x := append([]float32{}, graph.Data[float32](v.Const())...)
	for i := range x {
		d := std * rng.NormFloat64()
		if strings.HasSuffix(v.Name, ".running_var") {
			d = 2 * math.Abs(d)
		}
		x[i] += float32(d)
	}
	return graph.TensorOf(x, shape...)
}

// torchFeeds is two examples: normals, or integers below the number of tokens, 2 for masks and segments.
func torchFeeds(rng *rand.Rand, m *graph.Model, vocab int) map[string]*data.Array {
	feeds := map[string]*data.Array{}
	for _, in := range m.Graph.Inputs() {
		a, n := &data.Array{}, 1
		for axis, d := range in.Type.Dims {
			size, ok := d.Size()
			if !ok {
				size = []int64{2, 7}[axis]
			}
			a.Shape, n = append(a.Shape, int(size)), n*int(size)
		}
		if in.Type.Elem == graph.Float32 {
			x := make([]float32, n)
			for i := range x {
				x[i] = float32(rng.NormFloat64())
			}
			a.Data = x
		} else {
			high := int64(2)
			if strings.HasPrefix(in.Name, "input") {
				high = int64(vocab)
			}
			x := make([]int64, n)
			for i := range x {
				x[i] = rng.Int64N(high)
			}
			a.Data = x
		}
		feeds[in.Name] = a
	}
	return feeds
}

func forward(t *testing.T, m *graph.Model, arrays map[string]*data.Array) []float32 {
	t.Helper()
	s, err := runtime.NewSession(m, runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	feeds := map[string]*kernel.Tensor{}
	for name, a := range arrays {
		if feeds[name], err = runtime.FromArray(a); err != nil {
			t.Fatal(err)
		}
	}
	out, err := s.Run(feeds, []string{"logits"})
	if err != nil {
		t.Fatal(err)
	}
	return kernel.Data[float32](out["logits"])
}

// resolved is all options of a network, those left out with their defaults.
func resolved(name string, o models.Options) models.Options {
	for _, m := range models.All() {
		if m.Name == name {
			o, _ = m.Resolve(o)
		}
	}
	return o
}

func optionsMap(name string, o models.Options) map[string]any {
	o = resolved(name, o)
	fields := map[string]any{"widths": o.Widths, "imagenet": o.ImageNet}
	for _, f := range models.Integers() {
		fields[f.Name] = *f.At(&o)
	}
	return fields
}

// zoo runs testdata/interop/zoo.py and returns the numbers of parameters. Without PyTorch the test is skipped.
func zoo(t *testing.T, tasks []task) []int64 {
	t.Helper()
	python := os.Getenv("ASDLC_PYTHON")
	if python == "" {
		t.Fatal("ASDLC_PYTHON is not set: use make interop")
	}
	list := filepath.Join(t.TempDir(), "tasks.json")
	text, err := json.Marshal(tasks)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(list, text, 0o644); err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd := exec.Command(python, filepath.Join("..", "testdata", "interop", "zoo.py"), list)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 77 {
		t.Skip("PyTorch is not installed for ASDLC_PYTHON")
	}
	if err != nil {
		t.Fatalf("zoo.py: %v\n%s", err, stderr.String())
	}
	var counts []int64
	if err := json.Unmarshal(out, &counts); err != nil || len(counts) != len(tasks) {
		t.Fatalf("zoo.py prints %s (%v)", out, err)
	}
	return counts
}
