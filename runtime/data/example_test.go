package data_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"

	"github.com/asdlc/asdlc/runtime/data"
)

// A host opens a data set, fits it to its model and takes batches until the last epoch ends.
func Example() {
	split, err := data.Open("digits:train=1000,test=100,seed=1")
	if err != nil {
		log.Fatal(err)
	}
	norm, err := split.Normalize("auto")
	if err != nil {
		log.Fatal(err)
	}
	if err := split.FitInput([]int{-1, 784}); err != nil { // the shape of the model's input
		log.Fatal(err)
	}
	fmt.Printf("%d images of shape %v, mean %g, deviation %g\n", split.Train.Len(), split.Train.Shape(), norm.Mean, norm.Std)

	loader, err := data.NewLoader(split.Train, data.LoaderConfig{Batch: 256, Shuffle: true, Seed: 1, Epochs: 1})
	if err != nil {
		log.Fatal(err)
	}
	defer loader.Close()
	for {
		batch, err := loader.Next(context.Background())
		if err == io.EOF {
			break
		}
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("step", batch.Step, "images", len(batch.Labels), "values", len(batch.Images))
	}
	// Output:
	// 1000 images of shape [784], mean 0.1342, deviation 0.2533
	// step 0 images 256 values 200704
	// step 1 images 256 values 200704
	// step 2 images 256 values 200704
	// step 3 images 232 values 181888
}

func ExampleWriteNPZ() {
	dir, err := os.MkdirTemp("", "npz")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "feeds.npz")
	err = data.WriteNPZ(path, map[string]*data.Array{
		"lr":  {Data: []float32{0.1}},
		"x@0": {Shape: []int{2, 2}, Data: []int64{1, 2, 3, 4}},
	})
	if err != nil {
		log.Fatal(err)
	}
	arrays, err := data.ReadNPZ(path)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(arrays["lr"].Elem(), arrays["lr"].Shape, arrays["lr"].Data)
	fmt.Println(arrays["x@0"].Elem(), arrays["x@0"].Shape, arrays["x@0"].Data)
	// Output:
	// float [] [0.1]
	// int64 [2 2] [1 2 3 4]
}
