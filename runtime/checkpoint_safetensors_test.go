package runtime_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// safetensors joins a header and data as the format has it.
func safetensors(header string, data []byte) []byte {
	return append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...), data...)
}

func writeTemp(t testing.TB, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.safetensors")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// The example of the format's description: a file put together by hand.
func TestReadSafetensors(t *testing.T) {
	header := `{"__metadata__":{"k":"v"},"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},"n":{"dtype":"I64","shape":[],"data_offsets":[8,16]},"e":{"dtype":"F16","shape":[0,3],"data_offsets":[16,16]}}  `
	got, meta, err := runtime.ReadSafetensors(writeTemp(t, safetensors(header, []byte{
		0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0, // 1, -2
		7, 1, 0, 0, 0, 0, 0, 0, // 263
	})))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || meta["k"] != "v" || got["a"].String() != "float[2 1]" || got["e"].String() != "float16[0 3]" ||
		!slices.Equal(kernel.Data[float32](got["a"]), []float32{1, -2}) || kernel.Data[int64](got["n"])[0] != 263 {
		t.Errorf("%v %v", got, meta)
	}
}

func TestSafetensorsRoundTrip(t *testing.T) {
	all := map[string]*kernel.Tensor{"empty": kernel.New(graph.Float32, 3, 0), "a/b \"c\"": kernel.Of([]float64{1}, 1, 1)}
	for i, e := range []graph.Elem{
		graph.Float32, graph.Float64, graph.Float16, graph.BFloat16, graph.Int64, graph.Int32, graph.Int16, graph.Int8,
		graph.Uint64, graph.Uint32, graph.Uint16, graph.Uint8, graph.Bool,
	} {
		v := kernel.New(e, 3, 1)
		for k := range v.Raw {
			v.Raw[k] = byte(i + k)
		}
		all[e.String()] = v
	}
	var first, second bytes.Buffer
	for _, b := range []*bytes.Buffer{&first, &second} {
		if err := runtime.WriteSafetensors(b, all, map[string]string{"x": "y"}); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("two writings differ")
	}
	got, meta, err := runtime.ReadSafetensors(writeTemp(t, first.Bytes()))
	if err != nil || meta["x"] != "y" || len(got) != len(all) {
		t.Fatal(err, meta, len(got))
	}
	for name, want := range all {
		if g := got[name]; g.Elem != want.Elem || !slices.Equal(g.Shape, want.Shape) || !bytes.Equal(g.Raw, want.Raw) {
			t.Errorf("%s: %v %v, want %v", name, g, g.Raw, want.Raw)
		}
	}
}

func TestMalformedSafetensors(t *testing.T) {
	entry := func(dtype, shape, offsets string) string {
		return `{"a":{"dtype":"` + dtype + `","shape":` + shape + `,"data_offsets":` + offsets + `}}`
	}
	four := make([]byte, 4)
	for name, c := range map[string]struct {
		content []byte
		says    string
	}{
		"nothing":           {nil, "too few"},
		"header cut":        {safetensors(entry("F32", "[1]", "[0,4]"), nil)[:20], "cut short"},
		"huge header":       {[]byte{255, 255, 255, 255, 255, 255, 255, 255}, "header of"},
		"no json":           {safetensors("hello", nil), "header"},
		"data cut":          {safetensors(entry("F32", "[1]", "[0,4]"), four[:3]), "cut short"},
		"more data":         {safetensors(entry("F32", "[1]", "[0,4]"), make([]byte, 5)), "describes 4"},
		"wrong size":        {safetensors(entry("F32", "[2]", "[0,4]"), four), "needs 8 bytes"},
		"negative dim":      {safetensors(entry("F32", "[-1]", "[0,4]"), four), "negative"},
		"overflowing shape": {safetensors(entry("F32", "[4294967296,4294967296,4294967296]", "[0,4]"), four), "too many"},
		"unknown type":      {safetensors(entry("F8", "[4]", "[0,4]"), four), "F8"},
		"backwards":         {safetensors(entry("F32", "[1]", "[4,0]"), four), "no gap"},
		"gap":               {safetensors(entry("U8", "[2]", "[2,4]"), four), "no gap"},
		"overlap":           {safetensors(`{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}`, four), "no overlap"},
		"negative offset":   {safetensors(entry("U8", "[4]", "[-4,0]"), four), "no gap"},
	} {
		_, _, err := runtime.ReadSafetensors(writeTemp(t, c.content))
		if !errors.Is(err, graph.ErrInvalid) && !errors.Is(err, graph.ErrUnsupported) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v does not say %q", name, err, c.says)
		}
	}
	if _, _, err := runtime.ReadSafetensors(t.TempDir()); err == nil {
		t.Error("a folder was read")
	}
}

// FuzzSafetensors: any bytes give an error or tensors that are written back to an equal state.
func FuzzSafetensors(f *testing.F) {
	f.Add(safetensors(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, make([]byte, 4)))
	f.Add(safetensors(`{"__metadata__":{},"b":{"dtype":"BOOL","shape":[2,0],"data_offsets":[0,0]}}`, nil))
	f.Add([]byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, content []byte) {
		got, meta, err := runtime.DecodeSafetensors(bytes.NewReader(content), int64(len(content)))
		if err != nil {
			return
		}
		var b bytes.Buffer
		if err := runtime.WriteSafetensors(&b, got, meta); err != nil {
			t.Fatal(err)
		}
		again, metaAgain, err := runtime.DecodeSafetensors(bytes.NewReader(b.Bytes()), int64(b.Len()))
		if err != nil || len(again) != len(got) || len(meta) > 0 && !maps.Equal(meta, metaAgain) {
			t.Fatal(err)
		}
		for name, v := range got {
			if !bytes.Equal(again[name].Raw, v.Raw) || again[name].Elem != v.Elem {
				t.Errorf("%q changed", name)
			}
		}
	})
}
