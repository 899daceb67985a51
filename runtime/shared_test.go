package runtime_test

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/asdlc/asdlc/graph/onnx"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// decodeTensor reads a serialized TensorProto, as the initializer of a model around it.
func decodeTensor(pb []byte) (*kernel.Tensor, error) {
	const modelIR, modelGraph, modelOpset, graphName, graphInit, tensorName = 1, 7, 8, 2, 5, 8
	message := func(b []byte, field protowire.Number, v []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), v)
	}
	init := message(slices.Clone(pb), tensorName, []byte("value")) // the last name counts
	m := protowire.AppendVarint(protowire.AppendTag(nil, modelIR, protowire.VarintType), 8)
	m = message(m, modelGraph, message(message(nil, graphName, []byte("g")), graphInit, init))
	m = message(m, modelOpset, protowire.AppendVarint(protowire.AppendTag(nil, 2, protowire.VarintType), 17))
	model, err := onnx.Decode(m, onnx.DecodeOptions{})
	if err != nil {
		return nil, err
	}
	inits := model.Graph.Initializers()
	if len(inits) != 1 {
		return nil, errors.New("no tensor")
	}
	return kernel.FromConst(inits[0].Const()), nil
}

// compare checks type, shape and values against |got-want| <= abs + rel*|want|; NaN equals NaN.
func compare(got, want *kernel.Tensor, rel, abs float64) error {
	if got.Elem != want.Elem || !slices.Equal(got.Shape, want.Shape) {
		return fmt.Errorf("got %v, want %v", got, want)
	}
	g, w := floatsOf(got), floatsOf(want)
	for i := range w {
		if g[i] == w[i] || g[i] != g[i] && w[i] != w[i] {
			continue
		}
		if !(math.Abs(g[i]-w[i]) <= abs+rel*math.Abs(w[i])) || math.IsInf(w[i], 0) {
			return fmt.Errorf("element %d is %v, want %v", i, g[i], w[i])
		}
	}
	return nil
}

// largest is the largest magnitude among the elements.
func largest(t *kernel.Tensor) float64 {
	m := 0.0
	for _, x := range floatsOf(t) {
		m = max(m, math.Abs(x))
	}
	return m
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
