package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/onnx"
	"github.com/asdlc/asdlc/passes"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/passes/passtest"
	"github.com/asdlc/asdlc/runtime"
	"github.com/asdlc/asdlc/runtime/data"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// exportedNets are the files of testdata/interop/exported, which export_torch.py made: what is found in them. own counts the
// elements of all parameters, of which the network in PyTorch has torch; the difference is what exporters fold or drop.
var exportedNets = map[string]struct {
	layers     string
	own, torch int
}{
	"activations.dynamo20": {"bias:1 linear:9 scale:2", 666, 666},
	"activations.legacy11": {"bias:1 linear:9 scale:2", 666, 666},
	"cnn_bn.legacy17train": {"batchnorm:2 conv:2 linear:1", 876, 876},
	"convnext.dynamo20":    {"conv:3 layernorm:3 linear:5 scale:2", 2396, 2396},
	"encoder.dynamo18":     {"layernorm:4 linear:9", 4484, 4516}, // zero biases of products are dropped
	"encoder.legacy17":     {"layernorm:4 linear:9", 4516, 4516},
	"gpt.dynamo20":         {"bias:1 embedding:1 layernorm:5 linear:9", 4960, 5376}, // the rows of positions that occur are left
	"gpt.legacy17":         {"embedding:1 layernorm:5 linear:9", 5376, 5376},
	"gru.legacy17":         {"embedding:1 linear:1", 1812, 1812},
	"llama.dynamo18":       {"embedding:1 linear:8 scale:3", 3376, 3376},
	"llama.legacy17":       {"embedding:1 linear:8 scale:3", 3376, 3376},
	"lstm.dynamo18":        {"embedding:1 linear:1", 2484, 2484},
	"mha.legacy17":         {"linear:2", 1204, 1204},
	"mlp.legacy11":         {"linear:3", 380, 380},
	"mobilenet.dynamo18":   {"conv:16 linear:1", 2024, 2144}, // normalisations are folded
	"mobilenet.legacy11":   {"conv:16 linear:1", 2024, 2144},
	"resnet.dynamo18":      {"batchnorm:1 conv:7 linear:1", 4056, 4116},
	"resnet.legacy13":      {"batchnorm:1 conv:7 linear:1", 4056, 4116},
	"swin.dynamo18":        {"bias:2 conv:1 layernorm:4 linear:6", 1512, 1288}, // tables are written out for each pair
	"swin.legacy17":        {"bias:2 conv:1 layernorm:4 linear:6", 1512, 1288},
	"unet.legacy17train":   {"batchnorm:10 conv:11 convT:1", 14031, 14031},
	"vit.dynamo18":         {"bias:1 conv:1 layernorm:5 linear:9", 5428, 5428},
}

func exportedPath(t *testing.T, name string) string {
	t.Helper()
	return filepath.Join(moduleRoot(t), "testdata", "interop", "exported", name)
}

// The files compute what PyTorch computed, and their parameters are those of the networks.
func TestExportedNets(t *testing.T) {
	found, err := filepath.Glob(exportedPath(t, "*.onnx"))
	if err != nil || len(found) != len(exportedNets) {
		t.Errorf("%d files, %d in the table", len(found), len(exportedNets))
	}
	for name, want := range exportedNets {
		t.Run(name, func(t *testing.T) {
			m, err := onnx.Read(exportedPath(t, name+".onnx"))
			if err != nil {
				t.Fatal(err)
			}
			r, err := passes.Inspect(m, pass.Options{})
			if err != nil {
				t.Fatal(err)
			}
			kinds, own := map[string]int{}, 0
			for _, l := range r.Layers {
				kinds[l.Kind]++
			}
			for _, p := range r.Parameters {
				if p.Kind == "param" {
					own += p.Count
				}
			}
			var parts []string
			for kind, n := range kinds {
				parts = append(parts, fmt.Sprintf("%s:%d", kind, n))
			}
			slices.Sort(parts)
			if layers := strings.Join(parts, " "); layers != want.layers || own != want.own {
				t.Errorf("layers %s with %d parameter elements, want %s with %d", layers, own, want.layers, want.own)
			}
			arrays := readArrays(t, exportedPath(t, name+".npz"))
			x, err := runtime.FromArray(arrays["x"])
			if err != nil {
				t.Fatal(err)
			}
			s, err := runtime.NewSession(runtime.InferenceForm(m), runtime.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			out, err := s.Run(map[string]*kernel.Tensor{"x": x}, []string{"y"})
			if err != nil {
				t.Fatal(err)
			}
			y, err := runtime.FromArray(arrays["y"])
			if err != nil {
				t.Fatal(err)
			}
			passtest.Same(t, map[string]*kernel.Tensor{"y": y}, out, 2e-5)
		})
	}
}

// exportedBatches are the batch sizes of successive steps of one step graph.
var exportedBatches = []int{3, 5, 2}

// exportedFeeds are inputs and targets of other batch sizes on each step.
func exportedFeeds(t *testing.T, step string) map[string]*data.Array {
	t.Helper()
	m, err := onnx.Read(step)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	feeds := map[string]*data.Array{}
	for k, batch := range exportedBatches {
		for _, name := range []string{"x", "target"} {
			v := m.Graph.Find(name)
			shape, n := []int{}, 1
			for _, d := range v.Type.Dims {
				size, ok := d.Size()
				if !ok {
					size = int64(batch)
				}
				shape, n = append(shape, int(size)), n*int(size)
			}
			key := fmt.Sprintf("%s@%d", name, k)
			if v.Type.Elem == graph.Int64 {
				ids := make([]int64, n)
				for i := range ids {
					ids[i] = rng.Int64N(16)
				}
				feeds[key] = &data.Array{Shape: shape, Data: ids}
				continue
			}
			values := make([]float32, n)
			for i := range values {
				values[i] = float32(rng.NormFloat64())
			}
			feeds[key] = &data.Array{Shape: shape, Data: values}
		}
	}
	return feeds
}

// One step graph of each file serves every batch size, under K-FAC and Shampoo; its loss and gradients are finite, and every
// parameter has one that is not zero.
func TestExportedNetsTrain(t *testing.T) {
	for name := range exportedNets {
		for _, method := range []string{"kfac", "shampoo"} {
			t.Run(name+"/"+method, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				step, feeds, out := filepath.Join(dir, "step.onnx"), filepath.Join(dir, "feeds.npz"), filepath.Join(dir, "out.npz")
				asdlc(t, exitOK, "instrument", exportedPath(t, name+".onnx"), "-m", method, "--loss", "mse", "--outputs", "grad", "-o", step)
				writeArrays(t, feeds, exportedFeeds(t, step))
				asdlc(t, exitOK, "run", step, "--feeds", feeds, "--steps", fmt.Sprint(len(exportedBatches)), "--every", "-o", out)
				moved := map[string]bool{}
				for key, a := range readArrays(t, out) {
					param, isGrad := strings.CutPrefix(key, "grad/")
					if !isGrad && !strings.HasPrefix(key, "loss") {
						continue
					}
					param, _, _ = strings.Cut(param, "@")
					for _, v := range arrayFloats(a) {
						if math.IsNaN(v) || math.IsInf(v, 0) {
							t.Fatalf("%s is not finite", key)
						}
						moved[param] = moved[param] || v != 0
					}
					if isGrad && !moved[param] {
						moved[param] = false
					}
				}
				for param, does := range moved {
					if !does {
						t.Errorf("the gradient of %s is zero", param)
					}
				}
			})
		}
	}
}
