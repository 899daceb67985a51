package data_test

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/runtime/data"
)

// npyFile builds an npy stream of any version from the text of its header.
func npyFile(t testing.TB, version byte, header string, order binary.ByteOrder, elements any) []byte {
	t.Helper()
	b := append([]byte("\x93NUMPY"), version, 0)
	if version == 1 {
		b = binary.LittleEndian.AppendUint16(b, uint16(len(header)))
	} else {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(header)))
	}
	b = append(b, header...)
	b, err := binary.Append(b, order, elements)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func header(descr string, fortran bool, shape string) string {
	return fmt.Sprintf("{'descr': '%s', 'fortran_order': %s, 'shape': %s, }\n", descr, map[bool]string{true: "True", false: "False"}[fortran], shape)
}

// zipFile builds an archive of one entry.
func zipFile(t testing.TB, name string, method uint16, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: method})
	if err == nil {
		_, err = w.Write(content)
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func sampleArrays() map[string]*data.Array {
	arrays := map[string]*data.Array{
		"asdl/fc1.W/L@12": {Shape: []int{1, 2}, Data: []float64{1e-300, -1}},
		"größe":           {Shape: []int{1}, Data: []float32{3}},
		"scalar":          {Shape: []int{}, Data: []int64{-7}},
		"empty":           {Shape: []int{2, 0, 3}, Data: []float32{}},
		"name.npy":        {Shape: []int{2}, Data: []uint64{1 << 63, 1}},
	}
	for e, a := range everyElem() {
		arrays["elem/"+e.String()] = a
	}
	return arrays
}

func TestNPZRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.npz")
	want := sampleArrays()
	if err := data.WriteNPZ(path, want); err != nil {
		t.Fatal(err)
	}
	got, err := data.ReadNPZ(path)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	first, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 { // map order varies
		if err := data.WriteNPZ(path, sampleArrays()); err != nil {
			t.Fatal(err)
		}
		again, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first, again) {
			t.Fatal("equal arrays give different bytes")
		}
	}
}

func TestReadNPZForms(t *testing.T) {
	const le, be = "<", ">"
	little, big := binary.ByteOrder(binary.LittleEndian), binary.ByteOrder(binary.BigEndian)
	for _, c := range []struct {
		name    string
		version byte
		header  string
		order   binary.ByteOrder
		stored  any
		shape   []int
		want    any
	}{
		{"big endian", 1, header(be+"f4", false, "(2,)"), big, []float32{1, 2}, []int{2}, []float32{1, 2}},
		{"big endian half", 1, header(be+"f2", false, "(1,)"), big, []uint16{0x3c01}, []int{1}, []data.Half{0x3c01}},
		{"native", 1, header("=i8", false, "()"), little, []int64{-3}, []int{}, []int64{-3}},
		{"version 2", 2, header(le+"i2", false, "(2,)"), little, []int16{1, -2}, []int{2}, []int16{1, -2}},
		{"version 3", 3, header("|i1", false, "(2,)"), little, []int8{1, -2}, []int{2}, []int8{1, -2}},
		{"bool by any bit", 1, header("|b1", false, "(3,)"), little, []uint8{0, 1, 2}, []int{3}, []bool{false, true, true}},
		{"python 2", 1, `{"shape":(2L,1L),"descr":"<u4","fortran_order":False}`, little, []uint32{4, 5}, []int{2, 1}, []uint32{4, 5}},
		{"fortran", 1, header(le+"i4", true, "(2, 3)"), little, []int32{0, 10, 1, 11, 2, 12}, []int{2, 3}, []int32{0, 1, 2, 10, 11, 12}},
		{
			"fortran cube", 1, header(be+"i2", true, "(2, 3, 2)"), big,
			[]int16{0, 100, 10, 110, 20, 120, 1, 101, 11, 111, 21, 121},
			[]int{2, 3, 2},
			[]int16{0, 1, 10, 11, 20, 21, 100, 101, 110, 111, 120, 121},
		},
		{"fortran empty", 1, header(le+"i4", true, "(2, 0)"), little, []int32{}, []int{2, 0}, []int32{}},
	} {
		for _, method := range []uint16{zip.Store, zip.Deflate} {
			content := zipFile(t, "a.npy", method, npyFile(t, c.version, c.header, c.order, c.stored))
			got, err := data.ReadNPZ(writeFile(t, "f.npz", content))
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
				continue
			}
			if want := (&data.Array{Shape: c.shape, Data: c.want}); !reflect.DeepEqual(got["a"], want) {
				t.Errorf("%s: got %+v, want %+v", c.name, got["a"], want)
			}
		}
	}
}

func TestReadNPZBad(t *testing.T) {
	little := binary.LittleEndian
	good := npyFile(t, 1, header("<f4", false, "(2,)"), little, []float32{1, 2})
	store := func(npy []byte) []byte { return zipFile(t, "a.npy", zip.Store, npy) }
	withHeader := func(text string) []byte { return store(npyFile(t, 1, text, little, []float32{1, 2})) }
	damaged := store(good)
	damaged[bytes.Index(damaged, []byte("shape"))+30] ^= 1
	liar := zipFile(t, "a.npy", zip.Deflate, good)
	central := bytes.LastIndex(liar, []byte("PK\x01\x02"))
	binary.LittleEndian.PutUint32(liar[central+24:], 1<<31) // uncompressed size
	var twice bytes.Buffer
	z := zip.NewWriter(&twice)
	for range 2 {
		if w, err := z.Create("a.npy"); err != nil {
			t.Fatal(err)
		} else if _, err := w.Write(good); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}

	for _, c := range []struct {
		name    string
		content []byte
		parts   []string
	}{
		{"empty", nil, []string{"not an .npz archive"}},
		{"text", []byte("hello, world"), []string{"not an .npz archive"}},
		{"cut", store(good)[:60], []string{"not an .npz archive"}},
		{"other entry", zipFile(t, "readme.txt", zip.Store, good), []string{"readme.txt"}},
		{"same name", twice.Bytes(), []string{"(a)", "two arrays"}},
		{"checksum", damaged, []string{"checksum"}},
		{"claimed size", liar, []string{"claims 2147483648 bytes"}},
		{"not npy", store([]byte("hello, world")), []string{"magic string"}},
		{"no npy", store(nil), []string{"no npy header"}},
		{"version", store(npyFile(t, 4, header("<f4", false, "(2,)"), little, []float32{1, 2})), []string{"version 4"}},
		{"header cut", store(good[:30]), []string{"cut short"}},
		{"header huge", store([]byte("\x93NUMPY\x02\x00\xff\xff\xff\x7f")), []string{"header of 2147483647 bytes, want at most"}},
		{"short", store(good[:len(good)-1]), []string{"8 bytes", "there are 7"}},
		{"long", store(append(bytes.Clone(good), 1)), []string{"8 bytes", "there are 9"}},
		{"overflow", withHeader(header("<f8", false, "(4294967296, 4294967296)")), []string{"memory"}},
		{"dimension", withHeader(header("<f8", false, "(99999999999999999999,)")), []string{"fits an integer"}},
		{"negative", withHeader(header("<f4", false, "(-2,)")), []string{"dimension"}},
		{"objects", withHeader(header("|O", false, "(1,)")), []string{"Python objects"}},
		{"text elements", withHeader(header("<U2", false, "(1,)")), []string{`"<U2"`, "store it as"}},
		{"complex", withHeader(header("<c8", false, "(1,)")), []string{`"<c8"`}},
		{"structured", withHeader("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }"), []string{"structured"}},
		{"no shape", withHeader("{'descr': '<f4', 'fortran_order': False, }"), []string{"descr, fortran_order and shape"}},
		{"key twice", withHeader("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2,), }"), []string{"twice"}},
		{"unknown key", withHeader("{'descr': '<f4', 'x': 1, 'fortran_order': False, 'shape': (2,), }"), []string{"descr, fortran_order and shape"}},
		{"not a dict", withHeader("import os"), []string{`want "{"`}},
		{"dict without end", withHeader("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)"), []string{`"," or "}"`}},
		{"after the dict", withHeader(header("<f4", false, "(2,)") + "x"), []string{"want the end"}},
		{"no comma", withHeader("{'descr': '<f4' 'fortran_order': False, 'shape': (2,)}"), []string{`"," or "}"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := writeFile(t, "f.npz", c.content)
			a, err := data.ReadNPZ(path)
			if err == nil {
				t.Fatalf("read as %+v", a)
			}
			wantFileError(t, err, path, c.parts...)
		})
	}
}

// Entries that share their bytes would let a small file become a large one, once for each entry.
func TestReadNPZOverlap(t *testing.T) {
	npy := npyFile(t, 1, header("|u1", false, "(4096,)"), binary.LittleEndian, make([]uint8, 4096))
	one := zipFile(t, "a.npy", zip.Store, npy)
	start := bytes.LastIndex(one, []byte("PK\x01\x02"))
	end := bytes.LastIndex(one, []byte("PK\x05\x06"))
	record, tail := one[start:end], bytes.Clone(one[end:])
	const copies = 3
	content := bytes.Clone(one[:start])
	for i := range copies {
		r := bytes.Clone(record)
		r[46] = byte('a' + i) // the name, which the directory record alone decides
		content = append(content, r...)
	}
	binary.LittleEndian.PutUint16(tail[8:], copies)
	binary.LittleEndian.PutUint16(tail[10:], copies)
	binary.LittleEndian.PutUint32(tail[12:], uint32(copies*len(record)))
	path := writeFile(t, "f.npz", append(content, tail...))
	_, err := data.ReadNPZ(path)
	wantFileError(t, err, path, "more than the file holds")
}

func TestWriteNPZBad(t *testing.T) {
	one := &data.Array{Shape: []int{1}, Data: []float32{1}}
	for name, arrays := range map[string]map[string]*data.Array{
		"empty name":    {"": one},
		"zero byte":     {"a\x00b": one},
		"not UTF-8":     {"a\xff": one},
		"long name":     {strings.Repeat("a", 65535): one},
		"nil":           {"a": nil},
		"too few":       {"a": {Shape: []int{2}, Data: []float32{1}}},
		"foreign":       {"a": {Shape: []int{1}, Data: []string{"x"}}},
		"header length": {"a": {Shape: slices.Repeat([]int{1}, 30000), Data: []float32{1}}},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "f.npz")
		if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
			t.Fatal(err)
		}
		err := data.WriteNPZ(path, arrays)
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v", name, err)
		}
		if content, _ := os.ReadFile(path); string(content) != "old" {
			t.Errorf("%s: the file that was there has become %q", name, content)
		}
		if entries, _ := os.ReadDir(dir); len(entries) != 1 {
			t.Errorf("%s: a temporary file is left: %v", name, entries)
		}
	}
	if err := data.WriteNPZ(filepath.Join(t.TempDir(), "none", "f.npz"), map[string]*data.Array{"a": one}); err == nil {
		t.Error("wrote into an absent folder")
	}
}

// Arrays may be most of the memory: writing takes none of their size.
func TestWriteNPZMemory(t *testing.T) {
	const size = 32 << 20
	arrays := map[string]*data.Array{"a": {Shape: []int{size / 4}, Data: make([]float32, size/4)}}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := data.WriteNPZ(filepath.Join(t.TempDir(), "a.npz"), arrays); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > size/8 {
		t.Errorf("%d bytes allocated to write %d", took, size)
	}
}

func FuzzReadNPZ(f *testing.F) {
	dir := f.TempDir()
	path := filepath.Join(dir, "seed.npz")
	if err := data.WriteNPZ(path, sampleArrays()); err != nil {
		f.Fatal(err)
	}
	seed, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	npy := npyFile(f, 2, header(">f8", true, "(2, 1)"), binary.BigEndian, []float64{1, 2})
	f.Add(zipFile(f, "a.npy", zip.Store, npy))
	f.Add(zipFile(f, "a.npy", zip.Deflate, npy))
	f.Fuzz(func(t *testing.T, content []byte) {
		arrays, err := data.DecodeNPZ("f.npz", content)
		if err != nil {
			if _, ok := errors.AsType[*data.FileError](err); !ok {
				t.Errorf("error %v is not a FileError", err)
			}
			return
		}
		total := 0
		for _, name := range slices.Sorted(maps.Keys(arrays)) {
			a := arrays[name]
			if err := a.Check(); err != nil {
				t.Error(err)
			}
			total += a.Len() * a.Elem().Size()
		}
		if total > 1032*len(content) {
			t.Errorf("%d bytes of file give %d bytes of arrays", len(content), total)
		}
	})
}

// FuzzReadNPY aims at the header of the arrays, which random changes of an archive seldom reach past its checksum.
func FuzzReadNPY(f *testing.F) {
	f.Add(npyFile(f, 1, header("<f4", false, "(2,)"), binary.LittleEndian, []float32{1, 2}))
	f.Add(npyFile(f, 3, header(">i2", true, "(2, 1, 1)"), binary.BigEndian, []int16{1, 2}))
	f.Add(npyFile(f, 1, header("|b1", false, "()"), binary.BigEndian, []uint8{1}))
	f.Fuzz(func(t *testing.T, npy []byte) {
		arrays, err := data.DecodeNPZ("f.npz", zipFile(t, "a.npy", zip.Store, npy))
		if err != nil {
			return
		}
		if err := arrays["a"].Check(); err != nil {
			t.Error(err)
		}
	})
}
