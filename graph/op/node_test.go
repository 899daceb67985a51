package op_test

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"sort"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/graphtest"
	"github.com/asdlc/asdlc/graph/onnx"
	"github.com/asdlc/asdlc/graph/op"
)

// nodeTests reads the archive of ONNX backend node tests: the files of each test by their names in it.
func nodeTests(t *testing.T) map[string]map[string][]byte {
	t.Helper()
	f, err := os.Open(graphtest.Shared(t, "onnx-node-tests-1.22.0.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zip, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]map[string][]byte{}
	for r := tar.NewReader(zip); ; {
		h, err := r.Next()
		if err == io.EOF {
			return tests
		}
		if err != nil {
			t.Fatal(err)
		}
		dir, file, ok := strings.Cut(strings.TrimPrefix(path.Clean(h.Name), "node/"), "/")
		if !ok || h.Typeflag != tar.TypeReg {
			continue
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if tests[dir] == nil {
			tests[dir] = map[string][]byte{}
		}
		tests[dir][file] = data
	}
}

// readTensor decodes a serialized TensorProto, as the initializer of a model around it.
func readTensor(pb []byte) (*graph.Tensor, error) {
	const modelIR, modelGraph, modelOpset, graphName, graphInit = 1, 7, 8, 2, 5
	bytesField := func(b []byte, field protowire.Number, v []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), v)
	}
	init := bytesField(slices.Clone(pb), 8, []byte("value")) // TensorProto.name; the last one counts
	g := bytesField(bytesField(nil, graphName, []byte("g")), graphInit, init)
	m := protowire.AppendVarint(protowire.AppendTag(nil, modelIR, protowire.VarintType), 8)
	m = bytesField(m, modelGraph, g)
	m = bytesField(m, modelOpset, protowire.AppendVarint(protowire.AppendTag(nil, 2, protowire.VarintType), 17))
	model, err := onnx.Decode(m, onnx.DecodeOptions{})
	if err != nil {
		return nil, err
	}
	return model.Graph.Initializers()[0].Const(), nil
}

// dataDependent are tests whose output shape depends on float data or on a condition that inference does not follow.
var dataDependent = map[string]string{
	"test_nonzero_example": "NonZero",
}

// TestNodeShapes infers every ONNX node test of known operators, with its inputs as constants, and compares element types
// and shapes with those of its expected outputs.
func TestNodeShapes(t *testing.T) {
	tests := nodeTests(t)
	names := make([]string, 0, len(tests))
	for name := range tests {
		names = append(names, name)
	}
	sort.Strings(names)
	missing := map[string]int{}
	checked, unreadable, unknown := 0, 0, 0
	for _, name := range names {
		m, want, err := loadNodeTest(tests[name])
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
func loadNodeTest(files map[string][]byte) (*graph.Model, []*graph.Tensor, error) {
	m, err := onnx.Decode(files["model.onnx"], onnx.DecodeOptions{})
	if err != nil {
		return nil, nil, err
	}
	for i, v := range m.Graph.Inputs() {
		pb, ok := files[fmt.Sprintf("test_data_set_0/input_%d.pb", i)]
		if !ok {
			continue
		}
		value, err := readTensor(pb)
		if err != nil {
			return nil, nil, err
		}
		m.Graph.SetDefault(v, value)
	}
	m.IRVersion = 3 // so that the defaults are constants
	var want []*graph.Tensor
	for i, v := range m.Graph.Outputs() {
		v.Type = graph.Type{}
		out, err := readTensor(files[fmt.Sprintf("test_data_set_0/output_%d.pb", i)])
		if err != nil {
			return nil, nil, err
		}
		want = append(want, out)
	}
	return m, want, nil
}
