package passes_test

import (
	"fmt"

	"github.com/asdlc/asdlc/models"
	"github.com/asdlc/asdlc/passes"
	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/runtime"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// A K-FAC step is compiled for a small network and trained on the exclusive or. onnx.Read reads models from files.
func ExampleInstrument() {
	if err := trainXor(); err != nil {
		fmt.Println(err)
	}
	// Output: loss below 0.05: true
}

func trainXor() error {
	model, err := models.Build("mlp", models.Options{Widths: []int{2, 16, 2}})
	if err != nil {
		return err
	}
	record, _ := method.Lookup("kfac")
	compiled, err := passes.Instrument(model, record, pass.Options{}, "")
	if err != nil {
		return err
	}
	session, err := runtime.NewSession(compiled.Step, runtime.Options{})
	if err != nil {
		return err
	}
	defer session.Close()
	if err := session.LoadInit(compiled.Init); err != nil {
		return err
	}
	feeds := map[string]*kernel.Tensor{
		"input":  kernel.Of([]float32{0, 0, 0, 1, 1, 0, 1, 1}, 4, 2),
		"target": kernel.Of([]int64{0, 1, 1, 0}, 4),
	}
	var loss float32
	for range 200 { // state is carried from run to run
		out, err := session.Run(feeds, []string{"loss"})
		if err != nil {
			return err
		}
		loss = kernel.Data[float32](out["loss"])[0]
	}
	fmt.Println("loss below 0.05:", loss < 0.05)
	return nil
}
