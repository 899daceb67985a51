package data_test

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/asdlc/asdlc/runtime/data"
)

// TestReadNPY: a file of its own, whole and cut short.
func TestReadNPY(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.npy")
	content := npyFile(t, 1, header("<f8", false, "(3,)"), binary.LittleEndian, []float64{0.5, 2, 1})
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	a, err := data.ReadNPY(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := a.Data.([]float64); !ok || !slices.Equal(got, []float64{0.5, 2, 1}) || !slices.Equal(a.Shape, []int{3}) {
		t.Errorf("%v %v", a.Shape, a.Data)
	}
	for _, n := range []int{0, 20, len(content) - 1} {
		if err := os.WriteFile(path, content[:n], 0o644); err != nil {
			t.Fatal(err)
		}
		var fault *data.FileError
		if _, err := data.ReadNPY(path); !errors.As(err, &fault) || fault.Path != path {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}
