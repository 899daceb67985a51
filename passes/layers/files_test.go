package layers_test

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/graphtest"
	"github.com/asdlc/asdlc/passes/cleanup"
	"github.com/asdlc/asdlc/passes/layers"
	"github.com/asdlc/asdlc/passes/normalize"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/passes/passtest"
	"github.com/asdlc/asdlc/runtime/data"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// exported says what is in the exported models: layers by kind, and parameters in no layer. Evaluation exports have
// BatchNormalization folded into convolutions.
var exported = map[string]struct{ train, eval string }{
	"mlp":                    {"linear:3", "linear:3"},
	"cnn_bn_dropout":         {"batchnorm:2 conv:2 linear:1", "conv:2 linear:1"},
	"resnet8":                {"batchnorm:9 conv:9 linear:1", "conv:9 linear:1"},
	"mlp_mixer":              {"conv:1 layernorm:5 linear:9", "conv:1 layernorm:5 linear:9"},
	"vit_tiny":               {"bias:1 conv:1 layernorm:5 linear:9 cls", "bias:1 conv:1 layernorm:5 linear:9 cls"},
	"gpt2_tiny":              {"embedding:1 layernorm:5 linear:9 wpe.weight", "embedding:1 layernorm:5 linear:9 wpe.weight"},
	"nn_transformer_encoder": {"layernorm:4 linear:8", "layernorm:4 linear:8"},
	"unet":                   {"batchnorm:10 conv:11 convT:1", "conv:11 convT:1"},
	"lstm": {
		"embedding:1 linear:1 l.weight_ih_l0 l.weight_hh_l0 l.bias_ih_l0 l.bias_hh_l0 l.weight_ih_l1 l.weight_hh_l1 l.bias_ih_l1 l.bias_hh_l1",
		"embedding:1 linear:1 l.W l.R l.B l.W_2 l.R_2 l.B_2",
	},
}

// summary counts layers by kind, and lists the parameters that are in none.
func summary(m *graph.Model) string {
	kinds := map[string]int{}
	covered := map[*graph.Value]bool{}
	for _, l := range pass.LayersOf(m.Graph) {
		kinds[l.Kind]++
		covered[l.W], covered[l.B] = true, true
	}
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(kinds)) {
		parts = append(parts, fmt.Sprintf("%s:%d", k, kinds[k]))
	}
	for _, p := range pass.Params(m.Graph, "param") {
		if !covered[p.Value] {
			parts = append(parts, p.Name())
		}
	}
	return strings.Join(parts, " ")
}

func TestExportedModels(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(graphtest.Shared(t, "onnx-models"), "*.onnx"))
	if err != nil || len(paths) == 0 {
		t.Fatal("no models", err)
	}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".onnx")
		t.Run(name, func(t *testing.T) {
			base, form, _ := strings.Cut(name, "_op")
			want := exported[base].eval
			if strings.HasSuffix(form, "train") {
				want = exported[base].train
			}
			m := passtest.Read(t, path)
			got, _ := passtest.Apply(t, m, pass.Options{}, normalize.Pass, layers.Pass, cleanup.Pass)
			if s := summary(got); s != want {
				t.Errorf("got %s, want %s", s, want)
			}
			if form == "13_train" { // the same network; before opset 14, a runtime may drop the outputs that mean training
				m = passtest.Read(t, filepath.Join(filepath.Dir(path), base+"_op17_train.onnx"))
			}
			checkModel(t, m, got)
			if strings.HasSuffix(form, "eval") || strings.HasSuffix(form, "functions") {
				checkRecorded(t, got, filepath.Join(filepath.Dir(path), base+"_testdata.npz"))
			}
		})
	}
}

// checkModel checks what holds for every exported model: names are unique, batches stay symbolic, and the result computes
// the same, at another batch size than that of the export.
func checkModel(t *testing.T, before, after *graph.Model) {
	t.Helper()
	names := map[string]bool{}
	for _, l := range pass.LayersOf(after.Graph) {
		if names[l.Name] || l.Name == "" || strings.HasPrefix(l.Name, "onnx") || strings.HasPrefix(l.Name, "layer0") {
			t.Errorf("layer name %q", l.Name)
		}
		names[l.Name] = true
		for _, v := range []*graph.Value{l.X, l.Out} {
			if !slices.ContainsFunc(v.Type.Dims, func(d graph.Dim) bool { return strings.Contains(d.String(), "batch") }) {
				t.Errorf("layer %s: %s has type %s, without the batch", l.Name, v, v.Type)
			}
		}
	}
	for n := range after.Graph.All() {
		if n.Op == "Constant" || n.Op == "Identity" || n.Op == "Dropout" && n.In(2) == nil {
			t.Errorf("node %s is left", n)
		}
	}
	if !passtest.Runs(before) || random(before) {
		return
	}
	feeds := passtest.Feeds(t, before, 1, map[string]int64{"batch": 3})
	passtest.Same(t, passtest.Eval(t, before, feeds), passtest.Eval(t, after, feeds), 2e-5)
}

func random(m *graph.Model) bool {
	for n := range m.Graph.All() {
		if n.Op == "Dropout" {
			return true
		}
	}
	return false
}

// checkRecorded compares with what PyTorch computed.
func checkRecorded(t *testing.T, m *graph.Model, path string) {
	t.Helper()
	if !passtest.Runs(m) {
		return
	}
	arrays, err := data.ReadNPZ(path)
	if err != nil {
		t.Fatal(err)
	}
	feeds, want := map[string]*kernel.Tensor{}, map[string]*kernel.Tensor{}
	for name, a := range arrays {
		var x *kernel.Tensor
		switch d := a.Data.(type) {
		case []float32:
			x = kernel.Of(d, a.Shape...)
		case []int64:
			x = kernel.Of(d, a.Shape...)
		default:
			t.Fatalf("array %s of type %s", name, a.Elem())
		}
		if input, ok := strings.CutPrefix(name, "in_"); ok {
			feeds[input] = x
		} else {
			want[m.Graph.Outputs()[0].Name] = x
		}
	}
	if len(m.Graph.Inputs()) != len(feeds) {
		t.Fatalf("%d feeds for %d inputs", len(feeds), len(m.Graph.Inputs()))
	}
	passtest.Same(t, want, passtest.Eval(t, m, feeds), 2e-5)
}

func TestGoldenModels(t *testing.T) {
	want := map[string]string{
		"mlp": "linear:2", "mlp1": "linear:2", "mlpbn": "batchnorm:1 linear:2", "cnnnb": "conv:2 linear:1", "emb": "embedding:1 layernorm:1 linear:2",
	}
	dir := graphtest.Shared(t, "golden/models")
	for name, layersWanted := range want {
		for _, elem := range []string{"f32", "f64"} {
			m := passtest.Read(t, filepath.Join(dir, name+"."+elem+".onnx"))
			got, _ := passtest.Apply(t, m, pass.Options{}, normalize.Pass, layers.Pass, cleanup.Pass)
			if s := summary(got); s != layersWanted {
				t.Errorf("%s: got %s, want %s", name, s, layersWanted)
			}
			feeds := passtest.Feeds(t, m, 1, map[string]int64{"N": 4})
			passtest.Same(t, passtest.Eval(t, m, feeds), passtest.Eval(t, got, feeds), 1e-5)
		}
	}
}
