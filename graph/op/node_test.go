package op_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/graphtest"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/runtime/backendtest"
)

// nodeTestArchive has the ONNX backend node tests.
const nodeTestArchive = "onnx-node-tests-1.22.0.tar.gz"

// dataDependent are tests whose output shape depends on float data or on a condition that inference does not follow.
var dataDependent = map[string]string{
	"test_nonzero_example": "NonZero",
}

// TestNodeShapes infers every ONNX node test of known operators, with its inputs as constants, and compares element types
// and shapes with those of its expected outputs.
func TestNodeShapes(t *testing.T) {
	missing := map[string]int{}
	checked, unreadable, unknown := 0, 0, 0
	for test, err := range backendtest.Walk(graphtest.Shared(t, nodeTestArchive), nil) {
		if err != nil {
			t.Fatal(err)
		}
		name := test.Name
		m, want, err := loadNodeTest(test)
		if err != nil {
			unreadable++
			continue
		}
		if err := op.InferGraph(m); err != nil {
			var ne *graph.NodeError
			if errors.Is(err, graph.ErrUnsupported) && errors.As(err, &ne) {
				missing[ne.Op]++
				continue
			}
			t.Errorf("%s: %v", name, err)
			continue
		}
		checked++
		for i, v := range m.Graph.Outputs() {
			if want[i] == nil {
				continue
			}
			if v.Type.Elem != want[i].Elem {
				t.Errorf("%s: output %d is %s, want element type %s", name, i, v.Type, want[i].Elem)
			}
			shape, ok := v.Type.Static()
			switch {
			case !ok && dataDependent[name] == "":
				unknown++
				t.Errorf("%s: output %d is %s, want shape %v", name, i, v.Type, want[i].Shape)
			case ok && !slices.Equal(shape, want[i].Shape):
				t.Errorf("%s: output %d is %s, want shape %v", name, i, v.Type, want[i].Shape)
			}
		}
	}
	t.Logf("%d tests agree or are reported, %d of element types or values not read, %d outputs not fully known, operators not known: %v",
		checked, unreadable, unknown, missing)
}

// loadNodeTest reads a test with its inputs as constants and its outputs' declared types forgotten.
func loadNodeTest(test *backendtest.Case) (*graph.Model, []*graph.Tensor, error) {
	m, err := test.Model()
	if err != nil {
		return nil, nil, err
	}
	set := test.Sets()[0]
	inputs, err := test.Inputs(set, m)
	if err != nil {
		return nil, nil, err
	}
	outputs, err := test.Outputs(set, m)
	if err != nil {
		return nil, nil, err
	}
	for i, v := range m.Graph.Inputs() {
		if inputs[i] != nil {
			m.Graph.SetDefault(v, inputs[i].Const())
		}
	}
	m.IRVersion = 3 // so that the defaults are constants
	var want []*graph.Tensor
	for i, v := range m.Graph.Outputs() {
		v.Type = graph.Type{}
		want = append(want, outputs[i].Const())
	}
	return m, want, nil
}
