package runtime_test

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/asdlc/asdlc/models"
	"github.com/asdlc/asdlc/passes"
	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/runtime"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// A method that averages its parameters is evaluated and exported at the averages, by the trainer and from a checkpoint;
// before the first step these are the parameters.
func TestAveragedWeights(t *testing.T) {
	model, err := models.Build("mlp", models.Options{Widths: []int{784, 8, 10}})
	if err != nil {
		t.Fatal(err)
	}
	rec, _ := method.Lookup("sgd")
	rec.Update.Average = 0.9
	compiled, err := passes.Instrument(model, rec, pass.Options{}, "")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "checkpoints")
	tr, err := runtime.NewTrainer(compiled.Step, compiled.Init, runtime.TrainerConfig{
		Data: digits(t, 100, 20), Original: model, Batch: 10, Epochs: 1, Checkpoint: dir, Schedule: runtime.Schedule{Kind: "constant"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	state := func(name string) []float32 {
		v, err := tr.Session().State(name)
		if err != nil {
			t.Fatal(err)
		}
		return kernel.Data[float32](v)
	}
	check := func(weights map[string]*kernel.Tensor, want string) {
		t.Helper()
		if got := kernel.Data[float32](weights["fc1.weight"]); !slices.Equal(got, state(want)) {
			t.Errorf("the weights are not the state %s", want)
		}
	}
	w, err := tr.Weights()
	if err != nil {
		t.Fatal(err)
	}
	check(w, "fc1.weight")
	if err := tr.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if slices.Equal(state("fc1.weight"), state("asdl/fc1.weight/average")) {
		t.Error("the average is the parameter")
	}
	if w, err = tr.Weights(); err != nil {
		t.Fatal(err)
	}
	check(w, "asdl/fc1.weight/average")
	ck, err := runtime.ReadCheckpoint(dir)
	if err != nil {
		t.Fatal(err)
	}
	check(ck.Weights(), "asdl/fc1.weight/average")
}
