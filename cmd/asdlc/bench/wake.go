package bench

import (
	"runtime/debug"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/onnx"
	"github.com/asdlc/asdlc/models"
	"github.com/asdlc/asdlc/passes"
	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/runtime"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// reread writes a model and reads it again, as if it were a file's.
func reread(m *graph.Model) (*graph.Model, error) {
	data, err := onnx.Encode(m)
	if err != nil {
		return nil, err
	}
	return onnx.Decode(data, onnx.DecodeOptions{})
}

// Wake trains a network of one number for one step and lets it go. The system loads a program page by page as it is first
// run: what any training needs of it is in memory afterwards, and is no memory of the model that is measured next.
// testdata/peers/torch_side.py does the same for PyTorch.
func Wake(threads int) error {
	m, err := models.Build("mlp", models.Options{Widths: []int{1, 1}})
	if err != nil {
		return err
	}
	if m, err = reread(m); err != nil {
		return err
	}
	sgd, _ := method.Lookup("sgd")
	r, err := passes.Instrument(m, sgd, pass.Options{Batch: 1}, "")
	if err != nil {
		return err
	}
	s, err := runtime.NewSession(r.Step, runtime.Options{Threads: threads})
	if err != nil {
		return err
	}
	defer debug.FreeOSMemory()
	defer func() { _ = s.Close() }()
	if err := s.LoadInit(r.Init); err != nil {
		return err
	}
	_, err = s.Run(map[string]*kernel.Tensor{
		m.Graph.Inputs()[0].Name: kernel.New(graph.Float32, 1, 1),
		"target":                 kernel.New(graph.Int64, 1),
		"lr":                     kernel.Of([]float32{Rate}),
	}, []string{"loss"})
	return err
}
