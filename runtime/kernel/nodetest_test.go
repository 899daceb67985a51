package kernel_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/graphtest"
	"github.com/asdlc/asdlc/runtime/backendtest"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// The ONNX backend node tests (onnx v1.22.0): one model with its inputs and expected outputs each.
const (
	nodeTestArchive = "onnx-node-tests-1.22.0.tar.gz"
	nodeTestStatus  = "onnx-node-tests.json"
)

// referenceStatus says what onnxruntime makes of each case: "ok" or something else.
func referenceStatus(t testing.TB) map[string]string {
	t.Helper()
	raw, err := os.ReadFile(graphtest.Shared(t, nodeTestStatus))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Status map[string]string `json:"stock_onnxruntime_1.30"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	return file.Status
}

// TestNodes runs the ONNX node tests with the portable kernels and with the default ones. A case that onnxruntime
// passes may fail only if testdata/nodetests.txt says why, and a case listed there must fail.
func TestNodes(t *testing.T) {
	reference := referenceStatus(t)
	excused := readExcuses(t)
	pool := kernel.NewPool(2)
	defer pool.Close()
	for _, set := range []struct {
		name   string
		tables [][]kernel.Row
	}{{"portable", kernel.Portable()}, {"default", kernel.Default()}} {
		t.Run(set.name, func(t *testing.T) {
			registry, err := kernel.NewRegistry(set.tables...)
			if err != nil {
				t.Fatal(err)
			}
			run := nodeRun{registry: registry, pool: pool, reference: reference, excused: excused, missing: map[string]int{}}
			for test, err := range backendtest.Walk(graphtest.Shared(t, nodeTestArchive), nil) {
				if err != nil {
					t.Fatal(err)
				}
				run.check(t, test)
			}
			t.Logf("%d of %d node tests pass; of %d that onnxruntime passes, %d", run.passed, run.all, run.expected, run.both)
			for _, what := range slices.Sorted(maps.Keys(run.missing)) {
				t.Logf("not covered: %s (%d)", what, run.missing[what])
			}
		})
	}
}

// nodeRun is the state of one pass over the cases.
type nodeRun struct {
	registry                    *kernel.Registry
	pool                        *kernel.Pool
	reference                   map[string]string
	excused                     map[string]excuse
	all, passed, expected, both int
	missing                     map[string]int // cases that are not covered, by operator or reason
}

func (r *nodeRun) check(t *testing.T, test *backendtest.Case) {
	name := test.Name
	r.all++
	why, listed := r.excused[name]
	tol := tight
	if why.loose {
		tol = official
	}
	reference := r.reference[name] == "ok"
	if reference {
		r.expected++
	}
	switch err := runNodeTest(test, r.registry, r.pool, tol); {
	case err == nil && listed && !why.loose:
		t.Errorf("%s passes, but testdata/nodetests.txt says: %s", name, why.reason)
	case err == nil:
		r.passed++
		if reference {
			r.both++
		}
	case listed && !why.loose:
	case errors.Is(err, errNotCovered):
		r.missing[strings.TrimPrefix(err.Error(), errNotCovered.Error()+": ")]++
	case reference:
		t.Errorf("%s: %v", name, err)
	default:
		t.Logf("%s (onnxruntime: %q): %v", name, r.reference[name], err)
	}
}

// excuse is a line of testdata/nodetests.txt.
type excuse struct {
	loose  bool // passes, but only with the official tolerance
	reason string
}

// readExcuses reads lines "fails NAME REASON" and "loose NAME REASON".
func readExcuses(t testing.TB) map[string]excuse {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "nodetests.txt"))
	if err != nil {
		t.Fatal(err)
	}
	excuses := map[string]excuse{}
	for _, line := range strings.Split(string(raw), "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.SplitN(line, " ", 3)
		if len(f) < 3 || f[0] != "fails" && f[0] != "loose" {
			t.Fatalf("testdata/nodetests.txt: line %q is not \"fails NAME REASON\" or \"loose NAME REASON\"", line)
		}
		excuses[f[1]] = excuse{loose: f[0] == "loose", reason: f[2]}
	}
	return excuses
}

// errNotCovered marks a case that uses an operator, type or kind of value that does not exist here at all.
var errNotCovered = errors.New("not covered")

// runNodeTest evaluates a case twice: with inputs that the kernels know beforehand, and with inputs that they do not.
func runNodeTest(test *backendtest.Case, registry *kernel.Registry, pool *kernel.Pool, tol tolerance) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	m, err := test.Model()
	if err != nil {
		return fmt.Errorf("%w: %w", errNotCovered, err)
	}
	set := test.Sets()[0]
	inputs, err := test.Inputs(set, m)
	if err != nil {
		return fmt.Errorf("%w: %w", errNotCovered, err)
	}
	want, err := test.Outputs(set, m)
	if err != nil {
		return fmt.Errorf("%w: %w", errNotCovered, err)
	}
	feeds := map[*graph.Value]*kernel.Tensor{}
	for i, v := range m.Graph.Inputs() {
		if inputs[i] != nil {
			feeds[v] = inputs[i]
		}
	}
	types := map[*graph.Value]graph.Type{}
	for i, v := range m.Graph.Outputs() {
		types[v] = want[i].Const().Type()
	}
	for _, known := range []bool{false, true} {
		e := &evaluator{model: m, registry: registry, pool: pool, values: maps.Clone(feeds), known: known, want: types}
		if err := e.graph(m.Graph); err != nil {
			return err
		}
		for i, v := range m.Graph.Outputs() {
			if err := compareTensors(e.values[v], want[i], tol); err != nil {
				return fmt.Errorf("output %d, inputs as constants %t: %w", i, known, err)
			}
		}
	}
	return nil
}
