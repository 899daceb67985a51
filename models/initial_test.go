package models_test

import (
	"math"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/models"
)

// Weights and biases are uniform between ±1/sqrt(fan-in): the mean is 0, the variance bound²/3, and the extremes come
// close to the bound.
func TestInitialDistribution(t *testing.T) {
	m := build(t, "lenet", models.Options{Seed: 3})
	fanIn := map[string]float64{"conv1": 25, "conv2": 150, "fc1": 400, "fc2": 120, "fc3": 84}
	for _, v := range m.Graph.Initializers() {
		layer, _, _ := strings.Cut(v.Name, ".")
		bound := 1 / math.Sqrt(fanIn[layer])
		data, _ := v.Const().Float64s()
		n := float64(len(data))
		var sum, squares, largest float64
		for _, x := range data {
			sum += x
			squares += x * x
			largest = max(largest, math.Abs(x))
		}
		if largest > bound {
			t.Errorf("%s: %g is outside of ±%g", v.Name, largest, bound)
		}
		if n < 100 {
			continue // too few for the statistics
		}
		if largest < 0.9*bound {
			t.Errorf("%s: largest of %g numbers is %g, of the bound %g", v.Name, n, largest, bound)
		}
		// Five standard deviations: of the mean bound/sqrt(3n), of the mean square bound² sqrt(4/45/n).
		if mean := sum / n; math.Abs(mean) > 5*bound/math.Sqrt(3*n) {
			t.Errorf("%s: mean %g", v.Name, mean)
		}
		if got, want := squares/n, bound*bound/3; math.Abs(got-want) > 5*bound*bound*math.Sqrt(4.0/45/n) {
			t.Errorf("%s: mean square %g, want %g", v.Name, got, want)
		}
	}
}

func TestBatchNormStartsAsIdentity(t *testing.T) {
	start := map[string]float32{"weight": 1, "bias": 0, "running_mean": 0, "running_var": 1}
	seen := 0
	for n := range build(t, "resnet18", models.Options{}).Graph.Nodes() {
		if n.Op != "BatchNormalization" {
			continue
		}
		for _, v := range n.Inputs()[1:] {
			want := start[v.Name[strings.LastIndexByte(v.Name, '.')+1:]]
			for _, x := range graph.Data[float32](v.Const()) {
				if x != want {
					t.Fatalf("%s starts at %g, want %g", v.Name, x, want)
				}
			}
			seen++
		}
	}
	if seen != 20*4 {
		t.Errorf("%d parameters and buffers of batch normalisation, want 80", seen)
	}
}

// The first two moments of what the other networks start from, with the formulas of the modules that they are known by.
func TestInitialMoments(t *testing.T) {
	const lecunFanIn = 3 * 4 * 4
	for _, c := range []struct {
		model, param string
		o            models.Options
		std          float64 // 0: all zero
	}{
		{"resnet18", "layer1.0.conv1.weight", models.Options{Width: 16}, math.Sqrt(2.0 / (16 * 9))},
		{"resnet50", "layer4.0.downsample.0.weight", models.Options{Width: 4}, math.Sqrt(2.0 / 128)},
		{"wideresnet", "block3.layer.0.conv1.weight", models.Options{Depth: 10, Widen: 1}, math.Sqrt(2.0 / (64 * 9))},
		{"wideresnet", "fc.bias", models.Options{Depth: 10, Widen: 1}, 0},
		{"vit-tiny", "pos_embed", models.Options{Depth: 1}, 0.02},
		{"vit-tiny", "cls_token", models.Options{Depth: 1}, 1e-6},
		{"vit-tiny", "blocks.0.attn.qkv.weight", models.Options{Depth: 1}, 0.02},
		{"vit-tiny", "head.bias", models.Options{Depth: 1}, 0},
		{"vit-tiny", "patch_embed.proj.weight", models.Options{Depth: 1}, 1 / math.Sqrt(3*3*16)},
		{"mixer-base", "stem.proj.weight", models.Options{Depth: 1, Width: 64}, 1 / math.Sqrt(lecunFanIn)},
		{"mixer-base", "blocks.0.mlp_tokens.fc1.weight", models.Options{Depth: 1, Width: 64}, math.Sqrt(2.0 / (64 + 32))},
		{"mixer-base", "blocks.0.mlp_channels.fc1.bias", models.Options{Depth: 1, Width: 64}, 1e-6},
		{"mixer-base", "head.weight", models.Options{Depth: 1, Width: 64}, 0},
		{"gpt-nano", "transformer.wte.weight", models.Options{}, 0.02},
		{"gpt-nano", "transformer.wpe.weight", models.Options{}, 0.02},
		{"gpt-nano", "transformer.h.2.attn.c_attn.weight", models.Options{}, 0.02},
		{"gpt-nano", "transformer.h.2.attn.c_proj.weight", models.Options{}, 0.02 / math.Sqrt(6)},
		{"gpt-nano", "transformer.h.0.mlp.c_proj.weight", models.Options{}, 0.02 / math.Sqrt(6)},
		{"gpt-nano", "transformer.h.0.mlp.c_fc.bias", models.Options{}, 0},
		{"bert-tiny", "bert.encoder.layer.1.attention.self.query.weight", models.Options{Vocab: 3}, 0.02},
		{"bert-tiny", "bert.pooler.dense.bias", models.Options{Vocab: 3}, 0},
	} {
		x, _ := build(t, c.model, c.o).Graph.Find(c.param).Const().Float64s()
		var sum, squares float64
		for _, v := range x {
			sum += v
			squares += v * v
		}
		n := float64(len(x))
		// Five standard deviations: of the mean std/sqrt(n), of the mean square at most that of normals, std² sqrt(2/n).
		if mean, square := sum/n, squares/n; math.Abs(mean) > 5*c.std/math.Sqrt(n) || math.Abs(square-c.std*c.std) > 5*c.std*c.std*math.Sqrt(2/n) {
			t.Errorf("%s: %s has mean %g and deviation %g, want 0 and %g", c.model, c.param, mean, math.Sqrt(square), c.std)
		}
	}
}

// The LeCun initialisation is cut off at two deviations; the embedding of BERT's padding token is zero, the next is not.
func TestInitialShapes(t *testing.T) {
	bound := 2 / math.Sqrt(3*4*4) / 0.8796
	x, _ := build(t, "mixer-base", models.Options{Depth: 1, Width: 64}).Graph.Find("stem.proj.weight").Const().Float64s()
	largest := 0.0
	for _, v := range x {
		largest = max(largest, math.Abs(v))
	}
	if largest > bound || largest < 0.95*bound {
		t.Errorf("the largest of %d numbers is %g, want it close to the bound %g", len(x), largest, bound)
	}
	rows := graph.Data[float32](build(t, "bert-tiny", models.Options{Vocab: 3}).Graph.Find("bert.embeddings.word_embeddings.weight").Const())
	for i, v := range rows[:256] {
		if (v == 0) != (i < 128) {
			t.Fatalf("entry %d of the table of tokens is %g", i, v)
		}
	}
}
