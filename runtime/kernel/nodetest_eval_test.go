package kernel_test

import (
	"fmt"
	"math"
	"slices"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// evaluate runs the nodes of a model in order. Shapes of a single node's outputs are those of the expected outputs.
func evaluate(m *graph.Model, feeds map[*graph.Value]*kernel.Tensor, want []*kernel.Tensor, registry *kernel.Registry, pool *kernel.Pool) ([]*kernel.Tensor, error) {
	if m.Graph.Len() != 1 {
		return nil, fmt.Errorf("%w: graphs", errNotCovered)
	}
	values := map[*graph.Value]*kernel.Tensor{}
	for v, t := range feeds {
		values[v] = t
	}
	for i, v := range m.Graph.Outputs() {
		values[v] = kernel.New(want[i].Elem, want[i].Shape...)
	}
	n := m.Graph.First()
	if !registry.Has(n.Domain, n.Op) {
		return nil, fmt.Errorf("%w: %s", errNotCovered, n.Op)
	}
	call := &kernel.Call{Node: n, Opset: m.Opset(), Pool: pool}
	in, out := make([]*kernel.Tensor, len(n.Inputs())), make([]*kernel.Tensor, len(n.Outputs()))
	for i, v := range n.Inputs() {
		if v != nil {
			in[i] = values[v]
		}
		call.In = append(call.In, specOf(in[i]))
	}
	for i, v := range n.Outputs() {
		if v != nil {
			out[i] = values[v]
		}
		call.Out = append(call.Out, specOf(out[i]))
	}
	_, run, err := registry.Make(call)
	if err != nil {
		return nil, err
	}
	for _, s := range call.Scratches {
		s.Raw = kernel.Aligned(s.Size)
	}
	if err := run(in, out); err != nil {
		return nil, err
	}
	var got []*kernel.Tensor
	for _, v := range m.Graph.Outputs() {
		got = append(got, values[v])
	}
	return got, nil
}

func specOf(t *kernel.Tensor) kernel.Spec {
	if t == nil {
		return kernel.Spec{}
	}
	return kernel.Spec{Present: true, Elem: t.Elem, Shape: t.Shape}
}

// Tolerances of the official runner.
const (
	relTol = 1e-3
	absTol = 1e-7
)

// compareTensors checks type, shape and values; NaN equals NaN.
func compareTensors(got, want *kernel.Tensor) error {
	if got.Elem != want.Elem || !slices.Equal(got.Shape, want.Shape) {
		return fmt.Errorf("got %s, want %s", got, want)
	}
	g, w := floatsOf(got), floatsOf(want)
	for i := range w {
		if g[i] == w[i] || g[i] != g[i] && w[i] != w[i] {
			continue
		}
		if !(math.Abs(g[i]-w[i]) <= absTol+relTol*math.Abs(w[i])) || math.IsInf(w[i], 0) {
			return fmt.Errorf("element %d is %v, want %v", i, g[i], w[i])
		}
	}
	return nil
}

func floatsOf(t *kernel.Tensor) []float64 {
	c := t.Const()
	if v, ok := c.Float64s(); ok {
		return v
	}
	ints, _ := c.Int64s()
	v := make([]float64, len(ints))
	for i, n := range ints {
		v[i] = float64(n)
	}
	return v
}
