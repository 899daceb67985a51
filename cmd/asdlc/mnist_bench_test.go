package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph/graphtest"
	"github.com/asdlc/asdlc/runtime"
)

// BenchmarkMNIST trains an MLP 784-512-512-10 for 5 epochs with batches of 512 and the flags given, and reports test
// accuracy and seconds an epoch of one thread. An accuracy below the bar fails:
//
//	go test ./cmd/asdlc -run '^$' -bench MNIST -benchtime 1x
func BenchmarkMNIST(b *testing.B) {
	source := graphtest.Shared(b, "data", "mnist")
	for _, c := range []struct {
		method string
		flags  []string
		bar    float64
	}{
		{"sgd", nil, 0.975},
		{"adagrad", nil, 0.975},
		{"adam", nil, 0.975},
		{"kfac", nil, 0.98},
		{"shampoo", nil, 0.978},
		{"kfac-reduce", nil, 0.98},
		{"kflr", nil, 0.98},
		{"kfra", nil, 0.975},
		{"ekfac", nil, 0.975},
		{"skfac", nil, 0.98},
		{"foof", []string{"--lr", "0.3"}, 0.978},
		{"eva", nil, 0.978},
		{"unit-ng", nil, 0.978},
		{"muon", nil, 0.98},
		{"tnt", nil, 0.98},
		{"kl-tnt", nil, 0.98},
		{"soap", nil, 0.98},
		{"kl-shampoo", nil, 0.98},
		{"splus", []string{"--lr", "0.2"}, 0.978},
		{"psgd-kron", []string{"--lr", "0.001"}, 0.975},
		{"adahessian", []string{"--lr", "0.08"}, 0.978},
		{"sfn", nil, 0.975},
		{"esgd", []string{"--lr", "0.1"}, 0.978},
		{"psgd-kf", nil, 0.978},
		{"k-bfgs", []string{"--lr", "1"}, 0.975},
		{"sophia-g", nil, 0.978},
		{"seng", []string{"--lr", "0.15"}, 0.975},
		{"tonga-unit", nil, 0.978},
	} {
		b.Run(c.method, func(b *testing.B) {
			dir := b.TempDir()
			model := filepath.Join(dir, "mlp.onnx")
			asdlc(b, exitOK, "new", "mlp", "-o", model)
			args := append([]string{"train", model, "-m", c.method, "-d", source, "-b", "512", "-e", "5", "--json", "-f", "--threads", "1"}, c.flags...)
			for b.Loop() {
				text, _ := asdlc(b, exitOK, args...)
				var last runtime.EpochResult
				seconds := 0.0
				for line := range strings.Lines(text) {
					last = runtime.EpochResult{}
					if err := json.Unmarshal([]byte(line), &last); err != nil {
						b.Fatal(err)
					}
					seconds += last.Seconds
				}
				b.ReportMetric(100*last.Test.Accuracy, "%accuracy")
				b.ReportMetric(seconds/float64(last.Epoch), "s/epoch")
				if last.Test.Accuracy < c.bar {
					b.Errorf("test accuracy %.4f, want %.4f", last.Test.Accuracy, c.bar)
				}
			}
		})
	}
}
