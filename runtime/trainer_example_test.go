package runtime_test

import (
	"context"
	"fmt"
	"log"

	"github.com/asdlc/asdlc/models"
	"github.com/asdlc/asdlc/passes"
	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/runtime"
	"github.com/asdlc/asdlc/runtime/data"
)

// A model is compiled by K-FAC, trained on the built-in digits, and its file gets the trained weights.
func ExampleTrainer() {
	model, err := models.Build("mlp", models.Options{Widths: []int{784, 32, 10}})
	if err != nil {
		log.Fatal(err)
	}
	kfac, _ := method.Lookup("kfac")
	compiled, err := passes.Instrument(model, kfac, pass.Options{}, "")
	if err != nil {
		log.Fatal(err)
	}
	digits, err := data.Open("digits:train=1000,test=200")
	if err != nil {
		log.Fatal(err)
	}
	if _, err := digits.Normalize("auto"); err != nil {
		log.Fatal(err)
	}
	trainer, err := runtime.NewTrainer(compiled.Step, compiled.Init, runtime.TrainerConfig{
		Data: digits, Batch: 50, Epochs: 3, Schedule: runtime.Schedule{Kind: "cosine"}, Original: model,
		OnEpoch: func(e runtime.EpochResult) error {
			fmt.Println("epoch", e.Epoch, "steps", e.Steps, "better than half:", e.Test.Accuracy > 0.5)
			return nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer trainer.Close()
	if err := trainer.Run(context.Background()); err != nil {
		log.Fatal(err)
	}
	weights, err := trainer.Weights()
	if err != nil {
		log.Fatal(err)
	}
	trained, err := runtime.ExportWeights(model, weights)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(weights), "parameters,", trained.Graph.Len(), "nodes")
	// Output:
	// epoch 1 steps 20 better than half: true
	// epoch 2 steps 40 better than half: true
	// epoch 3 steps 60 better than half: true
	// 4 parameters, 3 nodes
}
