package data_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"math"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/asdlc/asdlc/runtime/data"
)

// idxFile builds an idx file of any slice of fixed-size elements.
func idxFile(t testing.TB, code byte, shape []int, elements any) []byte {
	t.Helper()
	b := []byte{0, 0, code, byte(len(shape))}
	for _, d := range shape {
		b = binary.BigEndian.AppendUint32(b, uint32(d))
	}
	b, err := binary.Append(b, binary.BigEndian, elements)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestReadIDXElements(t *testing.T) {
	for _, c := range []struct {
		code byte
		elem data.Elem
		data any
	}{
		{0x08, data.Uint8, []uint8{0, 1, 254, 255, 7, 9}},
		{0x09, data.Int8, []int8{0, 1, -128, 127, 7, 9}},
		{0x0B, data.Int16, []int16{0, 1, -2, 32767, 7, 9}},
		{0x0C, data.Int32, []int32{0, 1, -2, math.MaxInt32, 7, 9}},
		{0x0D, data.Float32, []float32{0, 1, -2.5, 1e30, 7, 9}},
		{0x0E, data.Float64, []float64{0, 1, -2.5, 1e300, 7, 9}},
	} {
		for _, shape := range [][]int{{6}, {2, 3}, {1, 2, 3, 1}} {
			plain := idxFile(t, c.code, shape, c.data)
			for name, content := range map[string][]byte{"x": plain, "x.gz": zipped(t, plain), "gzip-without-suffix": zipped(t, plain)} {
				got, err := data.ReadIDX(writeFile(t, name, content))
				if err != nil {
					t.Fatalf("%s %v %s: %v", c.elem, shape, name, err)
				}
				if got.Elem() != c.elem || !reflect.DeepEqual(got.Shape, shape) || !reflect.DeepEqual(got.Data, c.data) {
					t.Errorf("%s %v %s: got %+v", c.elem, shape, name, got)
				}
			}
		}
	}
}

func TestReadIDXScalarAndEmpty(t *testing.T) {
	a, err := data.ReadIDX(writeFile(t, "scalar", idxFile(t, 0x0C, nil, []int32{-5})))
	if err != nil || len(a.Shape) != 0 || !reflect.DeepEqual(a.Data, []int32{-5}) {
		t.Errorf("scalar: %+v, %v", a, err)
	}
	a, err = data.ReadIDX(writeFile(t, "empty", idxFile(t, 0x08, []int{0, 1 << 31, 1 << 31}, []uint8{})))
	if err != nil || a.Len() != 0 || a.Shape[0] != 0 {
		t.Errorf("empty: %+v, %v", a, err)
	}
}

func TestReadIDXBad(t *testing.T) {
	good := idxFile(t, 0x08, []int{4, 2, 2}, make([]uint8, 16))
	packed := zipped(t, good)
	flipped := bytes.Clone(packed)
	flipped[len(flipped)-5] ^= 1 // in the checksum
	huge := idxFile(t, 0x0E, []int{1 << 31, 1 << 31, 1 << 31}, []float64{})
	large := idxFile(t, 0x08, []int{1 << 31}, []uint8{1, 2, 3})
	for _, c := range []struct {
		name    string
		content []byte
		parts   []string
	}{
		{"empty", nil, []string{"not an idx file", "magic"}},
		{"text", []byte("hello, world"), []string{"magic number 68 65 6c 6c"}},
		{"element-code", idxFile(t, 0x0A, []int{1}, []uint8{1}), []string{"magic number 00 00 0a 01"}},
		{"header-short", good[:9], []string{"3 dimensions"}},
		{"short", good[:31], []string{"uint8[4 2 2]", "16 bytes", "the file has 15"}},
		{"long", append(bytes.Clone(good), 0), []string{"16 bytes", "the file has 17"}},
		{"overflow", huge, []string{"memory"}},
		{"huge", large, []string{"2147483648 bytes", "the file has 3"}},
		{"plain.gz", good, []string{"gzip"}},
		{"empty.gz", nil, []string{"gzip"}},
		{"header.gz", packed[:5], []string{"gzip header"}},
		{"cut.gz", packed[:len(packed)-12], []string{"unexpected EOF"}},
		{"checksum.gz", flipped, []string{"checksum"}},
		{"trailer-cut.gz", packed[:len(packed)-3], []string{"damaged after 16 bytes", "unexpected EOF"}},
		{"trailing-garbage.gz", append(bytes.Clone(packed), "garbage"...), []string{"damaged after 16 bytes"}},
		{"short.gz", zipped(t, good[:31]), []string{"16 bytes", "end after 15"}},
		{"long.gz", zipped(t, append(bytes.Clone(good), 0)), []string{"more data follow"}},
		{"huge.gz", zipped(t, large), []string{"2147483648 bytes", "compressed bytes can hold"}},
		{"overflow.gz", zipped(t, huge), []string{"memory"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := writeFile(t, c.name, c.content)
			a, err := data.ReadIDX(path)
			if err == nil {
				t.Fatalf("read as %+v", a)
			}
			wantFileError(t, err, path, c.parts...)
		})
	}
}

func TestReadIDXNoFile(t *testing.T) {
	dir := t.TempDir()
	if _, err := data.ReadIDX(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent file: %v", err)
	}
	_, err := data.ReadIDX(dir)
	wantFileError(t, err, dir, "not a regular file")
}

func FuzzReadIDX(f *testing.F) {
	good := idxFile(f, 0x0B, []int{2, 2}, []int16{1, -1, 2, -2})
	f.Add("x", good)
	f.Add("x.gz", zipped(f, good))
	f.Add("x", idxFile(f, 0x0E, []int{1 << 31, 1 << 31, 0}, []float64{}))
	f.Add("x.gz", zipped(f, idxFile(f, 0x08, []int{1 << 30}, []uint8{1})))
	f.Fuzz(func(t *testing.T, path string, content []byte) {
		a, err := data.DecodeIDX(path, content)
		if err != nil {
			if _, ok := errors.AsType[*data.FileError](err); !ok {
				t.Errorf("error %v is not a FileError", err)
			}
			return
		}
		if err := a.Check(); err != nil {
			t.Error(err)
		}
		if a.Len()*a.Elem().Size() > 1032*len(content) {
			t.Errorf("%d bytes of file give %d elements of %s", len(content), a.Len(), a.Elem())
		}
	})
}
