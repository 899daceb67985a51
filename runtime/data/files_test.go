package data_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/runtime/data"
)

// writeFile puts a file into a folder of the test's own.
func writeFile(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func zipped(t testing.TB, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// wantFileError checks that err names the file and contains every given part.
func wantFileError(t *testing.T, err error, path string, parts ...string) {
	t.Helper()
	fault, ok := errors.AsType[*data.FileError](err)
	if !ok {
		t.Fatalf("error %v, want a FileError", err)
	}
	if !strings.HasPrefix(fault.Path, path) || fault.Problem == "" || fault.Cure == "" {
		t.Errorf("error %+v, want path %s, a problem and a cure", fault, path)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not mention %q", err, part)
		}
	}
}

// sharedDir finds a folder of the shared test data beside the repository.
func sharedDir(t *testing.T, name string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if filepath.Dir(dir) == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
	path := filepath.Join(dir, "..", "shared", name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("../shared/%s absent", name)
	}
	return path
}
