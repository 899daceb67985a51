package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes"
	"github.com/asdlc/asdlc/runtime"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// exportWeights puts trained weights, by their names in the step graph, into the original model: under the names, in the
// layout and with the ties of the file.
func exportWeights(original *graph.Model, weights map[string]*kernel.Tensor) (*graph.Model, error) {
	m, places, err := passes.Restore(original, slices.Collect(maps.Keys(weights)))
	if err != nil {
		return nil, err
	}
	inFile, moved := map[string]*kernel.Tensor{}, map[string]bool{}
	for _, p := range places {
		w := weights[p.Param]
		if w == nil {
			return nil, fmt.Errorf("%w: no value for %q, which the file holds as %q; give all parameters of the training", runtime.ErrFeed, p.Param, p.File)
		}
		if p.Transposed {
			w = transposed(w)
		}
		if p.Holder != nil {
			p.Holder.Set(kernel.Data[float32](runtime.Narrow(w)))
		} else {
			inFile[p.File] = w
		}
		moved[p.Param] = m.Graph.Find(p.Param) == nil
	}
	for name, w := range weights {
		if !moved[name] {
			inFile[name] = w
		}
	}
	m.Source = original.Source
	return runtime.ExportWeights(m, inFile)
}

// transposed is the transpose of a matrix.
func transposed(w *kernel.Tensor) *kernel.Tensor {
	rows, columns, size := w.Shape[0], w.Shape[1], w.Elem.Size()
	t := kernel.New(w.Elem, columns, rows)
	for i := range rows {
		for j := range columns {
			copy(t.Raw[(j*rows+i)*size:][:size], w.Raw[(i*columns+j)*size:][:size])
		}
	}
	return t
}

// trainedNames lists the parameters and buffers of a step graph.
func trainedNames(step *graph.Model) ([]string, error) {
	var states []runtime.StateInfo
	if err := json.Unmarshal([]byte(step.Metadata["asdl.state"]), &states); err != nil {
		return nil, fmt.Errorf("%w: metadata property asdl.state: %w", graph.ErrInvalid, err)
	}
	var names []string
	for _, s := range states {
		if s.Kind == "param" || s.Kind == "buffer" {
			names = append(names, s.In)
		}
	}
	return names, nil
}
