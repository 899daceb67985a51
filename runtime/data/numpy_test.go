package data_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/asdlc/asdlc/runtime/data"
)

// numpyScript checks what Go wrote, writes it again as numpy does, and adds arrays that only numpy would write.
const numpyScript = `
import sys, numpy as np
given = dict(np.load(sys.argv[1]))
assert given["scalar"].shape == () and given["scalar"] == -7, given["scalar"]
assert given["empty"].shape == (2, 0, 3) and given["empty"].dtype == np.float32
assert given["asdl/fc1.W/L@12"].tolist() == [[1e-300, -1.0]]
assert given["größe"].tolist() == [3]
assert given["name.npy"].tolist() == [2**63, 1]
for name, dtype in dict(bool="?", uint8="u1", uint16="u2", uint32="u4", uint64="u8", int8="i1", int16="i2", int32="i4",
                        int64="i8", float16="f2", float="f4", double="f8").items():
    a = given["elem/" + name]
    assert a.dtype == np.dtype(dtype) and a.tolist() == [[0, 1, 1], [0, 1, 0]], (name, a)
np.savez(sys.argv[2], **given)
cube = np.arange(24).reshape(2, 3, 4)
np.savez_compressed(sys.argv[3], fortran=np.asfortranarray(cube), big=cube.astype(">f4"), half=np.array(0.5, "f2"))
`

func TestNumpyAgrees(t *testing.T) {
	python := os.Getenv("ASDLC_PYTHON")
	if python == "" {
		python = "python3"
	}
	if err := exec.Command(python, "-c", "import numpy").Run(); err != nil {
		t.Skipf("%s with numpy absent", python)
	}
	dir := t.TempDir()
	in, out, extra := filepath.Join(dir, "in.npz"), filepath.Join(dir, "out.npz"), filepath.Join(dir, "extra.npz")
	want := sampleArrays()
	if err := data.WriteNPZ(in, want); err != nil {
		t.Fatal(err)
	}
	if text, err := exec.Command(python, "-c", numpyScript, in, out, extra).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	got, err := data.ReadNPZ(out)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("numpy gave back %v, want %v", got, want)
	}

	more, err := data.ReadNPZ(extra)
	if err != nil {
		t.Fatal(err)
	}
	cube := make([]int64, 24)
	floats := make([]float32, 24)
	for i := range cube {
		cube[i], floats[i] = int64(i), float32(i)
	}
	wantMore := map[string]*data.Array{
		"fortran": {Shape: []int{2, 3, 4}, Data: cube},
		"big":     {Shape: []int{2, 3, 4}, Data: floats},
		"half":    {Shape: []int{}, Data: []data.Half{0x3800}},
	}
	if !reflect.DeepEqual(more, wantMore) {
		t.Errorf("from numpy: %v, want %v", more, wantMore)
	}
}
