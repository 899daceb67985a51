package backendtest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/graphtest"
	"github.com/asdlc/asdlc/graph/onnx"
	"github.com/asdlc/asdlc/runtime/kernel"
)

const doubler = `<ir_version: 8, opset_import: ["" : 17]> g (float[2] x) => (float[2] y) { y = Add(x, x) }`

func modelOf(t testing.TB, text string) []byte {
	t.Helper()
	raw, err := onnx.Encode(graphtest.MustParse(t, text))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func tensorOf(t testing.TB, x *kernel.Tensor) []byte {
	t.Helper()
	raw, err := onnx.EncodeTensor("x", x.Const())
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// file is a file of a case.
type file struct {
	name string
	data []byte
}

// caseOf is a case with one data set: the model doubles, the output is what is given.
func caseOf(t testing.TB, name, text string, out ...float32) []file {
	t.Helper()
	return []file{
		{name + "/model.onnx", modelOf(t, text)},
		{name + "/test_data_set_0/input_0.pb", tensorOf(t, kernel.Of([]float32{1, 2}, 2))},
		{name + "/test_data_set_0/output_0.pb", tensorOf(t, kernel.Of(out, len(out)))},
	}
}

func writeFiles(t testing.TB, dir string, files []file) {
	t.Helper()
	for _, f := range files {
		path := filepath.Join(dir, filepath.FromSlash(f.name))
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f.data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

func archiveOf(t testing.TB, zip bool, files []file) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: 0o666, Size: int64(len(f.data))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(f.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if !zip {
		return out.Bytes()
	}
	var small bytes.Buffer
	z := gzip.NewWriter(&small)
	if _, err := z.Write(out.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return small.Bytes()
}

// outcomes runs what is at path: "NAME STATUS" a case, or "NAME STATUS OPERATOR".
func outcomes(t testing.TB, path string, keep func(string) bool) ([]string, error) {
	t.Helper()
	var got []string
	for c, err := range Walk(path, keep) {
		if err != nil {
			return got, err
		}
		r := Run(c, Options{RTol: DefaultRTol, ATol: DefaultATol})
		got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s %s", r.Name, r.Status, r.Operator)))
		if (r.Err == nil) != (r.Status == Passed) || (r.Reason == "") != (r.Status == Passed) {
			t.Errorf("%s: error %v, reason %q", r.Name, r.Err, r.Reason)
		}
	}
	return got, nil
}

func TestWalk(t *testing.T) {
	files := slices.Concat(
		caseOf(t, "node/test_a", doubler, 2, 4),
		caseOf(t, "node/test_b", doubler, 2, 5),
		caseOf(t, "node/test_c", strings.Replace(doubler, "Add(x, x)", "DeformConv(x, x, x)", 1), 2, 4),
		[]file{{"node/README", []byte("not a case")}},
	)
	want := []string{"test_a passed", "test_b failed", "test_c unsupported DeformConv"}
	dir := t.TempDir()
	writeFiles(t, dir, append(files, file{"all.tar", archiveOf(t, false, files)}, file{"all.tar.gz", archiveOf(t, true, files)}))
	for _, c := range []struct {
		path string
		want []string
	}{
		{"", want},
		{"node", want},
		{"node/test_b", want[1:2]},
		{"all.tar", want},
		{"all.tar.gz", want},
	} {
		got, err := outcomes(t, filepath.Join(dir, c.path), nil)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%q: %v, %v, want %v", c.path, got, err, c.want)
		}
	}
	for _, path := range []string{"", "all.tar"} {
		got, err := outcomes(t, filepath.Join(dir, path), func(name string) bool { return name == "test_b" })
		if err != nil || !slices.Equal(got, want[1:2]) {
			t.Errorf("%q, test_b alone: %v, %v", path, got, err)
		}
	}
	for range Walk(dir, nil) {
		break // the walk must end
	}
}

// TestOneCaseArchive: the archive holds the files of a case, without its folder.
func TestOneCaseArchive(t *testing.T) {
	var files []file
	for _, f := range caseOf(t, "x", doubler, 2, 4) {
		files = append(files, file{strings.TrimPrefix(f.name, "x/"), f.data})
	}
	path := filepath.Join(t.TempDir(), "test_one.tar.gz")
	writeFiles(t, filepath.Dir(path), []file{{"test_one.tar.gz", archiveOf(t, true, files)}})
	if got, err := outcomes(t, path, nil); err != nil || !slices.Equal(got, []string{"test_one passed"}) {
		t.Errorf("%v, %v", got, err)
	}
}

// TestBadCases spoils a case: the error is that of the case, and says what is wrong.
func TestBadCases(t *testing.T) {
	good := caseOf(t, "test_a", doubler, 2, 4)
	for _, c := range []struct {
		name, says string
		files      []file
	}{
		{"no model", "no model.onnx", good[1:]},
		{"no data", "no data in it", good[:1]},
		{"no outputs", "no expected outputs", good[:2]},
		{"no inputs", "x", []file{good[0], good[2]}},
		{"too many inputs", "the model has 1 inputs", append(slices.Clone(good), file{"test_a/test_data_set_0/input_1.pb", good[1].data})},
		{"damaged model", "model.onnx", []file{{"test_a/model.onnx", []byte("garbage")}, good[1], good[2]}},
		{"damaged tensor", "input_0.pb", []file{good[0], {good[1].name, []byte("garbage")}, good[2]}},
		{"cut tensor", "input_0.pb", []file{good[0], {good[1].name, good[1].data[:9]}, good[2]}},
		{"scattered", "pack it again", slices.Concat(good[:2], caseOf(t, "test_b", doubler, 2, 4), good[2:])},
	} {
		path := filepath.Join(t.TempDir(), "a.tar")
		writeFiles(t, filepath.Dir(path), []file{{"a.tar", archiveOf(t, false, c.files)}})
		bad := false
		for test, err := range Walk(path, nil) {
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
				break
			}
			r := Run(test, Options{})
			bad = bad || r.Status == Failed && strings.Contains(r.Reason, c.says)
		}
		if !bad {
			t.Errorf("%s: no failure says %q", c.name, c.says)
		}
	}
}

// TestBadArchives: the walk ends with an error that names the file.
func TestBadArchives(t *testing.T) {
	dir := t.TempDir()
	whole := archiveOf(t, true, caseOf(t, "test_a", doubler, 2, 4))
	plain := archiveOf(t, false, caseOf(t, "test_a", doubler, 2, 4))
	for name, data := range map[string][]byte{
		"garbage": []byte("this is no archive, whatever its name"), "cut.gz": whole[:len(whole)/2], "cut.tar": plain[:1100],
		"none.tar": archiveOf(t, false, []file{{"README", []byte("x")}}), "empty": nil,
	} {
		writeFiles(t, dir, []file{{name, data}})
		_, err := outcomes(t, filepath.Join(dir, name), nil)
		var pe *fs.PathError
		if !errors.As(err, &pe) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := outcomes(t, filepath.Join(dir, "absent"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
}

// TestSizeLimit: a case that is too large fails, the next one is read.
func TestSizeLimit(t *testing.T) {
	big := caseOf(t, "test_a", doubler, 2, 4)
	big[1].data = make([]byte, 5000)
	files := append(big, caseOf(t, "test_b", doubler, 2, 4)...)
	dir := t.TempDir()
	writeFiles(t, dir, append(files, file{"all.tar.gz", archiveOf(t, true, files)}))
	for _, archive := range []bool{true, false} {
		var errs []error
		w := &walker{root: dir, max: 2000, yield: func(c *Case, _ error) bool {
			errs = append(errs, c.Err())
			return true
		}}
		err := w.folder()
		if archive {
			w.root, errs = filepath.Join(dir, "all.tar.gz"), nil
			err = w.archive()
		}
		if err != nil || len(errs) != 2 || !errors.Is(errs[0], graph.ErrInvalid) || errs[1] != nil {
			t.Errorf("archive %t: %v, %v", archive, errs, err)
		}
	}
}

func TestCompare(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, c := range []struct {
		got, want float64
		ok        bool
	}{
		{1, 1, true},
		{1.0009, 1, true},
		{1.0011, 1, false},
		{1e-8, 0, true},
		{1e-6, 0, false},
		{nan, nan, true},
		{nan, 1, false},
		{1, nan, false},
		{inf, inf, true},
		{-inf, inf, false},
		{1, inf, false},
		{inf, 1, false},
	} {
		err := Compare(kernel.Of([]float64{7, c.got}, 2), kernel.Of([]float64{7, c.want}, 2), DefaultRTol, DefaultATol)
		if (err == nil) != c.ok {
			t.Errorf("%g for %g: %v", c.got, c.want, err)
		}
	}
	big := int64(1) << 60
	if Compare(kernel.Of([]int64{big}), kernel.Of([]int64{big + 1}), 0, 0) == nil {
		t.Error("integers that differ in the last digit pass as equal")
	}
	if Compare(kernel.Of([]int64{1}), kernel.Of([]int32{1}), 1, 1) == nil || Compare(kernel.Of([]int64{1}, 1), kernel.Of([]int64{1}), 1, 1) == nil {
		t.Error("other types or shapes pass as equal")
	}
}

// FuzzArchive reads hostile archives.
func FuzzArchive(f *testing.F) {
	files := caseOf(f, "test_a", doubler, 2, 4)
	f.Add(archiveOf(f, false, files))
	f.Add(archiveOf(f, true, files))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "a.tar")
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
		for c, err := range Walk(path, nil) {
			if err == nil {
				Run(c, Options{})
			}
		}
	})
}
