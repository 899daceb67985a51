package kernel_test

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
	"github.com/asdlc/asdlc/runtime/kernel"
)

// The ONNX backend node tests (onnx v1.22.0): one model with its inputs and expected outputs each.
const (
	nodeTestArchive = "onnx-node-tests-1.22.0.tar.gz"
	nodeTestStatus  = "onnx-node-tests.json"
)

// shared finds a file of the data folder beside the repository, or skips the test.
func shared(t testing.TB, name string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the test's folder")
		}
		dir = filepath.Dir(dir)
	}
	path := filepath.Join(dir, "..", "shared", name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("%s absent", name)
	}
	return path
}

// nodeTest is one case: file contents by name relative to its folder.
type nodeTest struct {
	name  string
	files map[string][]byte
}

func readNodeTests(t testing.TB) map[string]*nodeTest {
	t.Helper()
	f, err := os.Open(shared(t, nodeTestArchive))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]*nodeTest{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return cases
		}
		if err != nil {
			t.Fatal(err)
		}
		parts := strings.SplitN(h.Name, "/", 3)
		if h.Typeflag != tar.TypeReg || len(parts) < 3 || parts[0] != "node" {
			continue
		}
		c := cases[parts[1]]
		if c == nil {
			c = &nodeTest{name: parts[1], files: map[string][]byte{}}
			cases[parts[1]] = c
		}
		if c.files[parts[2]], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

// referenceStatus says what onnxruntime makes of each case: "ok" or something else.
func referenceStatus(t testing.TB) map[string]string {
	t.Helper()
	raw, err := os.ReadFile(shared(t, nodeTestStatus))
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

// TestNodes runs the ONNX node tests. A case that onnxruntime passes may fail only if testdata/nodetests.txt says why,
// and a case listed there must fail.
func TestNodes(t *testing.T) {
	cases, reference := readNodeTests(t), referenceStatus(t)
	excused := readExcuses(t)
	registry, err := kernel.NewRegistry(kernel.Portable()...)
	if err != nil {
		t.Fatal(err)
	}
	pool := kernel.NewPool(2)
	defer pool.Close()
	var names []string
	for name := range cases {
		names = append(names, name)
	}
	sort.Strings(names)
	passed, missing := 0, map[string]int{}
	for _, name := range names {
		err := runNodeTest(cases[name], registry, pool)
		reason, listed := excused[name]
		switch {
		case err == nil && listed:
			t.Errorf("%s passes, but testdata/nodetests.txt says: %s", name, reason)
		case err == nil:
			passed++
		case listed:
		case errors.Is(err, errNotCovered):
			missing[strings.TrimPrefix(err.Error(), errNotCovered.Error()+": ")]++
		case reference[name] == "ok":
			t.Errorf("%s: %v", name, err)
		default:
			t.Logf("%s (onnxruntime: %q): %v", name, reference[name], err)
		}
	}
	t.Logf("%d of %d node tests pass", passed, len(names))
	var lines []string
	for op, n := range missing {
		lines = append(lines, fmt.Sprintf("%s:%d", op, n))
	}
	sort.Strings(lines)
	t.Logf("not covered: %s", strings.Join(lines, " "))
}

// readExcuses reads lines "test_name reason".
func readExcuses(t testing.TB) map[string]string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "nodetests.txt"))
	if err != nil {
		t.Fatal(err)
	}
	excuses := map[string]string{}
	for _, line := range strings.Split(string(raw), "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, reason, ok := strings.Cut(line, " ")
		if !ok {
			t.Fatalf("testdata/nodetests.txt: no reason in line %q", line)
		}
		excuses[name] = strings.TrimSpace(reason)
	}
	return excuses
}

// errNotCovered marks a case that uses an operator or type that the registry does not have at all.
var errNotCovered = errors.New("not covered")

func runNodeTest(test *nodeTest, registry *kernel.Registry, pool *kernel.Pool) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	m, err := decodeModel(test.files["model.onnx"])
	if err != nil {
		return err
	}
	feeds := map[*graph.Value]*kernel.Tensor{}
	for i, v := range m.Graph.Inputs() {
		raw, ok := test.files[fmt.Sprintf("test_data_set_0/input_%d.pb", i)]
		if !ok {
			continue
		}
		if feeds[v], err = decodeTensor(raw); err != nil {
			return err
		}
	}
	want := make([]*kernel.Tensor, len(m.Graph.Outputs()))
	for i := range want {
		if want[i], err = decodeTensor(test.files[fmt.Sprintf("test_data_set_0/output_%d.pb", i)]); err != nil {
			return err
		}
	}
	got, err := evaluate(m, feeds, want, registry, pool)
	if err != nil {
		return err
	}
	for i := range want {
		if err := compareTensors(got[i], want[i]); err != nil {
			return fmt.Errorf("output %d: %w", i, err)
		}
	}
	return nil
}
