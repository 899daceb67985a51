// Package backendtest reads and runs ONNX backend tests: folders that hold a model and, in test_data_set_N, the inputs that
// it is run on and the outputs that it should give, as the onnx package and its node tests lay them out.
package backendtest

import (
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/onnx"
	"github.com/asdlc/asdlc/runtime/kernel"
)

const (
	modelFile = "model.onnx"
	setPrefix = "test_data_set_"
)

// Case is one test.
type Case struct {
	Name string // of its folder
	Path string // the folder, in an archive behind the archive's own path

	dir   string            // the folder, "" for cases in archives
	files map[string][]byte // by path in the folder; the model of a folder is not among them
	err   error             // why the case cannot be read
}

// Err says why the case could not be read; nil if it was.
func (c *Case) Err() error { return c.err }

// Model reads the model. In archives it must not have external data.
func (c *Case) Model() (*graph.Model, error) {
	if c.err != nil {
		return nil, c.err
	}
	if c.dir != "" {
		return onnx.Read(filepath.Join(c.dir, modelFile))
	}
	raw, ok := c.files[modelFile]
	if !ok {
		return nil, fmt.Errorf("%w: %s: no %s in it", graph.ErrInvalid, c.Path, modelFile)
	}
	m, err := onnx.Decode(raw, onnx.DecodeOptions{})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path.Join(c.Path, modelFile), err)
	}
	return m, nil
}

// Sets lists the folders of data sets, by number.
func (c *Case) Sets() []string {
	number := func(set string) int {
		n, err := strconv.Atoi(strings.TrimPrefix(set, setPrefix))
		if err != nil {
			return -1
		}
		return n
	}
	found := map[string]bool{}
	for name := range c.files {
		if set, _, ok := strings.Cut(name, "/"); ok {
			found[set] = true
		}
	}
	return slices.SortedFunc(maps.Keys(found), func(a, b string) int {
		return 2*(number(a)-number(b)) + strings.Compare(a, b)
	})
}

// Inputs reads the inputs of a data set, one for each of the model's; nil for those that have no file.
func (c *Case) Inputs(set string, m *graph.Model) ([]*kernel.Tensor, error) {
	return c.tensors(set, "input", len(m.Graph.Inputs()))
}

// Outputs reads the expected outputs of a data set, as Inputs does.
func (c *Case) Outputs(set string, m *graph.Model) ([]*kernel.Tensor, error) {
	return c.tensors(set, "output", len(m.Graph.Outputs()))
}

func (c *Case) tensors(set, kind string, n int) ([]*kernel.Tensor, error) {
	ts := make([]*kernel.Tensor, n)
	for _, name := range slices.Sorted(maps.Keys(c.files)) {
		folder, file, _ := strings.Cut(name, "/")
		number, ok := strings.CutPrefix(strings.TrimSuffix(file, ".pb"), kind+"_")
		if folder != set || !ok {
			continue
		}
		i, err := strconv.Atoi(number)
		if err != nil || i < 0 || i >= n {
			return nil, fmt.Errorf("%w: %s: the model has %d %ss, numbered from 0", graph.ErrInvalid, path.Join(c.Path, name), n, kind)
		}
		t, err := onnx.DecodeTensor(c.files[name])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path.Join(c.Path, name), err)
		}
		ts[i] = kernel.FromConst(t)
	}
	return ts, nil
}
