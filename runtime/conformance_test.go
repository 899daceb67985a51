package runtime_test

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/graphtest"
	"github.com/asdlc/asdlc/graph/onnx"
	"github.com/asdlc/asdlc/runtime"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// TestNodeTests runs the ONNX backend node tests (onnx 1.22) through sessions. A case that onnxruntime passes may fail
// only because of an unsupported operator or type, or if testdata/nodetests.txt says why; a case listed there must fail.
func TestNodeTests(t *testing.T) {
	cases := readNodeTests(t, graphtest.Shared(t, "onnx-node-tests-1.22.0.tar.gz"))
	reference := readStatus(t, graphtest.Shared(t, "onnx-node-tests.json"))
	excused := readExcuses(t)
	registry, err := kernel.NewRegistry(kernel.Default()...)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for name := range cases {
		names = append(names, name)
	}
	sort.Strings(names)
	passed, unsupported := 0, 0
	for _, name := range names {
		err := runNodeTest(cases[name], registry)
		reason, listed := excused[name]
		switch {
		case err == nil && listed:
			t.Errorf("%s passes, but testdata/nodetests.txt says: %s", name, reason)
		case err == nil:
			passed++
		case listed:
		case errors.Is(err, graph.ErrUnsupported):
			unsupported++
		case reference[name] == "ok":
			t.Errorf("%s: %v", name, err)
		default:
			t.Logf("%s (onnxruntime: %q): %v", name, reference[name], err)
		}
	}
	t.Logf("%d of %d node tests pass, %d need unsupported operators or types", passed, len(names), unsupported)
	if passed < 1460 {
		t.Errorf("only %d node tests pass", passed)
	}
}

type nodeTest map[string][]byte // file contents by name

func readNodeTests(t *testing.T, path string) map[string]nodeTest {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]nodeTest{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return cases
		}
		if err != nil {
			t.Fatal(err)
		}
		parts := strings.SplitN(h.Name, "/", 3)
		if h.Typeflag != tar.TypeReg || len(parts) < 3 {
			continue
		}
		if cases[parts[1]] == nil {
			cases[parts[1]] = nodeTest{}
		}
		if cases[parts[1]][parts[2]], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

func readStatus(t *testing.T, path string) map[string]string {
	t.Helper()
	raw, err := os.ReadFile(path)
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

// readExcuses reads lines "test_name reason".
func readExcuses(t *testing.T) map[string]string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "nodetests.txt"))
	if err != nil {
		t.Fatal(err)
	}
	excuses := map[string]string{}
	for line := range strings.Lines(string(raw)) {
		line = strings.TrimSpace(line)
		if name, reason, ok := strings.Cut(line, " "); ok && !strings.HasPrefix(line, "#") {
			excuses[name] = reason
		}
	}
	return excuses
}

func runNodeTest(test nodeTest, registry *kernel.Registry) error {
	m, err := onnx.Decode(test["model.onnx"], onnx.DecodeOptions{})
	if err != nil {
		return err
	}
	feeds := map[string]*kernel.Tensor{}
	for i, v := range m.Graph.Inputs() {
		raw, ok := test[fmt.Sprintf("test_data_set_0/input_%d.pb", i)]
		if !ok {
			continue
		}
		if feeds[v.Name], err = decodeTensor(raw); err != nil {
			return err
		}
	}
	s, err := runtime.NewSession(m, runtime.Options{Threads: 1, Registry: registry})
	if err != nil {
		return err
	}
	defer s.Close()
	out, err := s.Run(feeds, nil)
	if err != nil {
		return err
	}
	for i, v := range m.Graph.Outputs() {
		want, err := decodeTensor(test[fmt.Sprintf("test_data_set_0/output_%d.pb", i)])
		if err != nil {
			return err
		}
		if err := compare(out[v.Name], want, 1e-3, 1e-7); err != nil {
			return fmt.Errorf("output %s: %w", v.Name, err)
		}
	}
	return nil
}
