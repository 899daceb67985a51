package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/asdlc/asdlc/runtime/data"
)

func arrayFloats(a *data.Array) []float64 {
	var out []float64
	switch d := a.Data.(type) {
	case []float32:
		for _, x := range d {
			out = append(out, float64(x))
		}
	case []float64:
		out = d
	case []int64:
		for _, x := range d {
			out = append(out, float64(x))
		}
	default:
		panic(fmt.Sprintf("BUG: output of type %T", d))
	}
	return out
}

func readArrays(t *testing.T, path string) map[string]*data.Array {
	t.Helper()
	arrays, err := data.ReadNPZ(path)
	if err != nil {
		t.Fatal(err)
	}
	return arrays
}

func writeArrays(t *testing.T, path string, arrays map[string]*data.Array) {
	t.Helper()
	if err := data.WriteNPZ(path, arrays); err != nil {
		t.Fatal(err)
	}
}

// moduleRoot is the folder of go.mod above the test.
func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the test's folder")
		}
		dir = filepath.Dir(dir)
	}
}
