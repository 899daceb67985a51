package runtime

import (
	"fmt"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/data"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// batchInput is the tensor through which a session reads samples.
type batchInput struct {
	tensor *kernel.Tensor
	size   int // elements of a sample
}

// newBatchInput makes the tensor of an input for batches of samples of d, whose shape must fit it already.
func newBatchInput(p Port, d *data.Dataset, batch int) (*batchInput, error) {
	if p.Type.Elem != graph.Float32 && p.Type.Elem != graph.Float64 {
		return nil, fmt.Errorf("%w: input %q is %s, but samples are floating-point numbers", ErrFeed, p.Name, p.Type)
	}
	if n, ok := p.Type.Dims[0].Size(); ok && int(n) != batch {
		return nil, fmt.Errorf("%w: input %q is %s: its batch size is %d, not %d; use that batch size, or export the model with a free batch dimension",
			ErrFeed, p.Name, p.Type, n, batch)
	}
	return &batchInput{kernel.New(p.Type.Elem, append([]int{batch}, d.Shape()...)...), d.SampleSize()}, nil
}

// fill copies samples to the front of the tensor; what lies behind is left as it is.
func (b *batchInput) fill(samples []float32) {
	if b.tensor.Elem == graph.Float32 {
		copy(kernel.Data[float32](b.tensor), samples)
		return
	}
	wide := kernel.Data[float64](b.tensor)
	for i, v := range samples {
		wide[i] = float64(v)
	}
}

// inputShape is the shape of a port for data.FitInput: -1 for dimensions that are not fixed.
func inputShape(p Port) ([]int, error) {
	if !p.Type.Ranked {
		return nil, fmt.Errorf("%w: input %q has no known rank; export the model with shapes", ErrFeed, p.Name)
	}
	shape := make([]int, len(p.Type.Dims))
	for i, d := range p.Type.Dims {
		shape[i] = -1
		if n, ok := d.Size(); ok {
			shape[i] = int(n)
		}
	}
	return shape, nil
}

// fit gives the samples of a split the shape that a model's input asks for, and checks the labels against its classes.
func fit(split *data.Split, p Port, classes int) error {
	shape, err := inputShape(p)
	if err != nil {
		return err
	}
	if err := split.FitInput(shape); err != nil {
		return err
	}
	return split.CheckLabels(classes)
}
