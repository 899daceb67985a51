package onnx

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/graphtest"
)

// sharedModels lists the exported models among the shared test data.
func sharedModels(t testing.TB) []string {
	t.Helper()
	var all []string
	for _, dir := range []string{graphtest.Shared(t, "onnx-models"), graphtest.Shared(t, "golden", "models")} {
		files, err := filepath.Glob(filepath.Join(dir, "*.onnx"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no models in %s: %v", dir, err)
		}
		all = append(all, files...)
	}
	return all
}

// roundTrip writes and reads m and fails if the result is not the same, or the bytes are not the second time.
func roundTrip(t interface {
	Helper()
	Fatalf(string, ...any)
}, m *graph.Model,
) []byte {
	t.Helper()
	data, err := Encode(m)
	if err != nil {
		t.Fatalf("encode: %v", err)
	}
	back, err := Decode(bytes.Clone(data), DecodeOptions{})
	if err != nil {
		t.Fatalf("decode: %v\n%s", err, graph.Print(m))
	}
	if err := graph.Equal(back, m); err != nil {
		t.Fatalf("what was read differs from what was written: %v\n%s", err, graph.Print(m))
	}
	again, err := Encode(graph.Clone(back))
	if err != nil || !bytes.Equal(again, data) {
		t.Fatalf("the same model gave other bytes (%v)", err)
	}
	return data
}

func TestRoundTripRandom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { roundTrip(t, graphtest.Model().Draw(t, "model")) })
}

func TestRoundTripShared(t *testing.T) {
	for _, file := range sharedModels(t) {
		m, err := Read(file)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		if m.Source != file {
			t.Errorf("source is %q", m.Source)
		}
		roundTrip(t, m)
		src := graph.Print(m)
		back, err := graph.Parse(src)
		if err != nil {
			t.Errorf("%s: parse: %v", file, err)
			continue
		}
		if err := graph.Equal(back, m); err != nil {
			t.Errorf("%s: text form: %v", file, err)
		}
	}
}

// TestNodeTests reads every model of the ONNX backend tests: it must come out verified, or be refused as unsupported.
func TestNodeTests(t *testing.T) {
	f, err := os.Open(graphtest.Shared(t, "onnx-node-tests-1.22.0.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	read, refused := 0, 0
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Base(h.Name) != "model.onnx" {
			continue
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		m, err := Decode(data, DecodeOptions{})
		switch {
		case errors.Is(err, graph.ErrUnsupported):
			refused++
		case err != nil:
			t.Errorf("%s: %v", h.Name, err)
		default:
			read++
			roundTripLoose(t, h.Name, m)
		}
	}
	t.Logf("%d models read, %d refused as unsupported", read, refused)
	if read < 1400 {
		t.Errorf("only %d models of the node tests could be read (%d refused)", read, refused)
	}
}

// roundTripLoose is for models that Write changes, by Identity nodes or a new IR version: the second round must change nothing.
func roundTripLoose(t *testing.T, name string, m *graph.Model) {
	t.Helper()
	data, err := Encode(m)
	if err != nil {
		t.Errorf("%s: encode: %v", name, err)
		return
	}
	back, err := Decode(data, DecodeOptions{})
	if err != nil {
		t.Errorf("%s: decode: %v", name, err)
		return
	}
	roundTrip(t, back)
	parsed, err := graph.Parse(graph.Print(m))
	if err != nil {
		t.Errorf("%s: parse: %v", name, err)
		return
	}
	if err := graph.Equal(parsed, m); err != nil {
		t.Errorf("%s: text form: %v", name, err)
	}
}

// python runs a script in a Python that has the module onnx, or skips the test.
func python(t *testing.T, script string, args ...string) string {
	t.Helper()
	exe := os.Getenv("ASDLC_PYTHON")
	if exe == "" {
		exe = "python3"
	}
	if out, err := exec.Command(exe, "-c", "import onnx, onnx.parser").CombinedOutput(); err != nil {
		t.Skipf("left out: %s with the module onnx is not there (%v) %s", exe, err, bytes.TrimSpace(out))
	}
	out, err := exec.Command(exe, append([]string{"-c", script}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("python: %v\n%s", err, out)
	}
	return string(out)
}

// TestPythonAccepts gives what we write and print to ONNX's own checker and parser.
func TestPythonAccepts(t *testing.T) {
	dir := t.TempDir()
	for _, file := range sharedModels(t) {
		m, err := Read(file)
		if err != nil {
			t.Fatal(err)
		}
		base := filepath.Join(dir, filepath.Base(file))
		if err := Write(base, m, WriteOptions{External: strings.Contains(base, "resnet")}); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(base, "functions") {
			continue // its function names are no identifiers, which ONNX's parser wants
		}
		if err := os.WriteFile(base+".txt", []byte(graph.Print(m)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	python(t, `
import sys, glob, onnx, onnx.parser, onnx.checker
n = 0
for f in glob.glob(sys.argv[1] + "/*.onnx"):
    onnx.checker.check_model(f, full_check=True)
    n += 1
for f in glob.glob(sys.argv[1] + "/*.txt"):
    m = onnx.parser.parse_model(open(f).read())
    onnx.checker.check_model(m)
    onnx.save(m, f + ".back")
    n += 1
assert n > 50, n
`, dir)
	backs, _ := filepath.Glob(filepath.Join(dir, "*.back"))
	for _, back := range backs {
		got, err := Read(back)
		if err != nil {
			t.Error(err)
			continue
		}
		want, err := Read(strings.TrimSuffix(back, ".txt.back"))
		if err != nil {
			t.Error(err)
			continue
		}
		if err := graph.Equal(got, want); err != nil {
			t.Errorf("%s: our text read by ONNX's parser: %v", filepath.Base(back), err)
		}
	}
}

// TestPythonPrints reads text that ONNX's own printer wrote.
func TestPythonPrints(t *testing.T) {
	dir := t.TempDir()
	python(t, `
import sys, glob, os, onnx, onnx.printer
for f in glob.glob(sys.argv[1] + "/*.onnx"):
    if "functions" not in f:
        open(sys.argv[2] + "/" + os.path.basename(f), "w").write(onnx.printer.to_text(onnx.load(f)))
`, graphtest.Shared(t, "onnx-models"), dir)
	texts, _ := filepath.Glob(filepath.Join(dir, "*.onnx"))
	if len(texts) < 30 {
		t.Fatalf("only %d texts", len(texts))
	}
	for _, file := range texts {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := graph.Parse(string(src)); err != nil {
			t.Errorf("%s: %v", filepath.Base(file), err)
		}
	}
}

// TestTorchScope: the module that a node belongs to, as the dynamo exporter writes it.
func TestTorchScope(t *testing.T) {
	for in, want := range map[string]string{
		`['', 'blocks', 'blocks.0', 'blocks.0.fc', 'linear']`: "blocks.0.fc",
		`['', 'add_4']`: "", `['x']`: "", `[]`: "", "": "",
	} {
		if got := torchScope(in); got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}
