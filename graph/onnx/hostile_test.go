package onnx

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/graphtest"
	"github.com/asdlc/asdlc/graph/onnx/internal/pb"
)

func ptr[T any](v T) *T { return &v }

func node(op string, in, out []string, attrs ...*pb.AttributeProto) *pb.NodeProto {
	return &pb.NodeProto{OpType: &op, Input: in, Output: out, Attribute: attrs}
}

func value(name string, dims ...int64) *pb.ValueInfoProto {
	shape := &pb.TensorShapeProto{}
	for _, d := range dims {
		shape.Dim = append(shape.Dim, &pb.TensorShapeProto_Dimension{Value: &pb.TensorShapeProto_Dimension_DimValue{DimValue: d}})
	}
	tensor := &pb.TypeProto_Tensor{ElemType: ptr(int32(1)), Shape: shape}
	return &pb.ValueInfoProto{Name: &name, Type: &pb.TypeProto{Value: &pb.TypeProto_TensorType{TensorType: tensor}}}
}

func floats(name string, dims []int64, raw []byte) *pb.TensorProto {
	return &pb.TensorProto{Name: &name, Dims: dims, DataType: ptr(int32(1)), RawData: raw}
}

// good is a small valid file, to be spoilt.
func good() *pb.ModelProto {
	return &pb.ModelProto{
		IrVersion: ptr(int64(8)), OpsetImport: []*pb.OperatorSetIdProto{{Version: ptr(int64(17))}},
		Graph: &pb.GraphProto{
			Name: ptr("g"), Input: []*pb.ValueInfoProto{value("x", 2)}, Output: []*pb.ValueInfoProto{value("y", 2)},
			Initializer: []*pb.TensorProto{floats("w", []int64{2}, make([]byte, 8))},
			Node:        []*pb.NodeProto{node("Add", []string{"x", "w"}, []string{"a"}), node("Relu", []string{"a"}, []string{"y"})},
		},
	}
}

func decodeProto(t *testing.T, p *pb.ModelProto) (*graph.Model, error) {
	t.Helper()
	data, err := proto.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return Decode(data, DecodeOptions{})
}

func TestDecodeErrors(t *testing.T) {
	if _, err := decodeProto(t, good()); err != nil {
		t.Fatal(err)
	}
	external := func(entries ...string) func(p *pb.ModelProto) {
		return func(p *pb.ModelProto) {
			w := p.Graph.Initializer[0]
			w.RawData, w.DataLocation = nil, ptr(pb.TensorProto_EXTERNAL)
			for i := 0; i < len(entries); i += 2 {
				w.ExternalData = append(w.ExternalData, entry(entries[i], entries[i+1]))
			}
		}
	}
	nestedAttr := func(g *pb.GraphProto) *pb.AttributeProto {
		return &pb.AttributeProto{Name: ptr("body"), Type: ptr(pb.AttributeProto_GRAPH), G: g}
	}
	cases := []struct {
		name  string
		kind  error
		want  string
		spoil func(p *pb.ModelProto)
	}{
		{"no graph", graph.ErrInvalid, "no graph", func(p *pb.ModelProto) { p.Graph = nil }},
		{"no IR version", graph.ErrInvalid, "no IR version", func(p *pb.ModelProto) { p.IrVersion = nil }},
		{"new IR version", graph.ErrUnsupported, "IR version 99", func(p *pb.ModelProto) { p.IrVersion = ptr(int64(99)) }},
		{"no opset", graph.ErrInvalid, "G11", func(p *pb.ModelProto) { p.OpsetImport = nil }},
		{"opset 0", graph.ErrInvalid, "opset version 0", func(p *pb.ModelProto) { p.OpsetImport[0].Version = nil }},
		{"two opsets", graph.ErrInvalid, "opset versions 17 and 18", func(p *pb.ModelProto) {
			p.OpsetImport = append(p.OpsetImport, &pb.OperatorSetIdProto{Domain: ptr("ai.onnx"), Version: ptr(int64(18))})
		}},
		{"cycle", graph.ErrInvalid, "cycle: Relu -> y -> Add -> a -> Relu -> y", func(p *pb.ModelProto) { p.Graph.Node[0].Input[1] = "y" }},
		{"undefined input", graph.ErrInvalid, `node Add -> a: input 1 is "nope"`, func(p *pb.ModelProto) { p.Graph.Node[0].Input[1] = "nope" }},
		{"undefined output", graph.ErrInvalid, `graph output "z" is not defined`, func(p *pb.ModelProto) { p.Graph.Output[0].Name = ptr("z") }},
		{"output twice", graph.ErrInvalid, `value "a" is defined twice`, func(p *pb.ModelProto) { p.Graph.Node[1].Output[0] = "a" }},
		{"input twice", graph.ErrInvalid, `value "x" is defined twice`, func(p *pb.ModelProto) { p.Graph.Input = append(p.Graph.Input, value("x", 2)) }},
		{"initializer twice", graph.ErrInvalid, `initializer "w" is defined twice`, func(p *pb.ModelProto) {
			p.Graph.Initializer = append(p.Graph.Initializer, p.Graph.Initializer[0])
		}},
		{"no operator", graph.ErrInvalid, "names no operator", func(p *pb.ModelProto) { p.Graph.Node[0].OpType = nil }},
		{"negative size", graph.ErrInvalid, "initializer w: negative dimension -2", func(p *pb.ModelProto) { p.Graph.Initializer[0].Dims[0] = -2 }},
		{"too large", graph.ErrInvalid, "too many elements", func(p *pb.ModelProto) { p.Graph.Initializer[0].Dims = []int64{1 << 40, 1 << 40} }},
		{"short data", graph.ErrInvalid, "initializer w: tensor of type float and shape [3] needs 12 bytes, has 8", func(p *pb.ModelProto) { p.Graph.Initializer[0].Dims[0] = 3 }},
		{"no data", graph.ErrInvalid, "needs 2 elements, has 0", func(p *pb.ModelProto) { p.Graph.Initializer[0].RawData = nil }},
		{"data that does not fit", graph.ErrInvalid, "element 0, 300, does not fit", func(p *pb.ModelProto) {
			w := p.Graph.Initializer[0]
			w.RawData, w.DataType, w.Int32Data = nil, ptr(int32(graph.Uint8)), []int32{300, 0}
		}},
		{"element type", graph.ErrInvalid, "unknown element type 99", func(p *pb.ModelProto) { p.Graph.Initializer[0].DataType = ptr(int32(99)) }},
		{"strings", graph.ErrUnsupported, "initializer w: string tensors", func(p *pb.ModelProto) { p.Graph.Initializer[0].DataType = ptr(int32(8)) }},
		{"float8", graph.ErrUnsupported, "float8e4m3fn", func(p *pb.ModelProto) { p.Graph.Initializer[0].DataType = ptr(int32(17)) }},
		{"segment", graph.ErrUnsupported, "segments", func(p *pb.ModelProto) { p.Graph.Initializer[0].Segment = &pb.TensorProto_Segment{} }},
		{"negative dimension", graph.ErrInvalid, "input x: dimension 0 is -5", func(p *pb.ModelProto) { p.Graph.Input[0] = value("x", -5) }},
		{"sequence", graph.ErrUnsupported, "input x: values of sequence type", func(p *pb.ModelProto) {
			p.Graph.Input[0].Type = &pb.TypeProto{Value: &pb.TypeProto_SequenceType{SequenceType: &pb.TypeProto_Sequence{}}}
		}},
		{"sparse", graph.ErrUnsupported, `sparse initializer "s"`, func(p *pb.ModelProto) {
			p.Graph.SparseInitializer = []*pb.SparseTensorProto{{Values: &pb.TensorProto{Name: ptr("s")}}}
		}},
		{"default of another type", graph.ErrInvalid, "G7", func(p *pb.ModelProto) { p.Graph.Input = append(p.Graph.Input, value("w", 3)) }},
		{"attribute twice", graph.ErrInvalid, `attribute "k" occurs twice`, func(p *pb.ModelProto) {
			a := &pb.AttributeProto{Name: ptr("k"), Type: ptr(pb.AttributeProto_INT), I: ptr(int64(1))}
			p.Graph.Node[0].Attribute = []*pb.AttributeProto{a, a}
		}},
		{"attribute without tensor", graph.ErrInvalid, "attribute k: the type says tensor", func(p *pb.ModelProto) {
			p.Graph.Node[0].Attribute = []*pb.AttributeProto{{Name: ptr("k"), Type: ptr(pb.AttributeProto_TENSOR)}}
		}},
		{"attribute of an unsupported type", graph.ErrUnsupported, "attributes of type SPARSE_TENSOR", func(p *pb.ModelProto) {
			p.Graph.Node[0].Attribute = []*pb.AttributeProto{{Name: ptr("k"), Type: ptr(pb.AttributeProto_SPARSE_TENSOR)}}
		}},
		{"attribute of no type", graph.ErrInvalid, "unknown attribute type 0", func(p *pb.ModelProto) {
			p.Graph.Node[0].Attribute = []*pb.AttributeProto{{Name: ptr("k")}}
		}},
		{"reference outside a function", graph.ErrInvalid, "G9", func(p *pb.ModelProto) {
			p.Graph.Node[0].Attribute = []*pb.AttributeProto{{Name: ptr("k"), Type: ptr(pb.AttributeProto_INT), RefAttrName: ptr("q")}}
		}},
		{"recursive function", graph.ErrInvalid, "G10", func(p *pb.ModelProto) {
			f := &pb.FunctionProto{Name: ptr("F"), Domain: ptr(""), Input: []string{"a"}, Output: []string{"b"}, OpsetImport: p.OpsetImport}
			f.Node = []*pb.NodeProto{node("F", []string{"a"}, []string{"b"})}
			p.Functions = []*pb.FunctionProto{f}
		}},
		{"function twice", graph.ErrInvalid, "two functions of the name", func(p *pb.ModelProto) {
			p.Functions = []*pb.FunctionProto{{Name: ptr("F")}, {Name: ptr("F")}}
		}},
		{"deep nesting", graph.ErrUnsupported, "nested more than", func(p *pb.ModelProto) {
			g := &pb.GraphProto{Name: ptr("leaf")}
			for range maxGraphDepth + 5 {
				g = &pb.GraphProto{Node: []*pb.NodeProto{node("Loop", nil, []string{"q"}, nestedAttr(g))}}
			}
			p.Graph.Node[0].Attribute = []*pb.AttributeProto{nestedAttr(g)}
		}},
		{"many empty nodes", graph.ErrUnsupported, "parts in a file", func(p *pb.ModelProto) {
			for range 3 << 20 / 2 {
				p.Graph.Node = append(p.Graph.Node, &pb.NodeProto{})
			}
		}},
		{"external without a folder", graph.ErrUnsupported, "data in another file (a.bin)", external("location", "a.bin")},
		{"external without a location", graph.ErrInvalid, "without a location", external("offset", "0")},
		{"external with a bad offset", graph.ErrInvalid, `offset "-1"`, external("location", "a.bin", "offset", "-1")},
		{"external of the wrong length", graph.ErrInvalid, "of 4 bytes where type and shape need 8", external("location", "a.bin", "length", "4")},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := good()
			c.spoil(p)
			_, err := decodeProto(t, p)
			if err == nil || !strings.Contains(err.Error(), c.want) || !errors.Is(err, c.kind) {
				t.Errorf("got %v\nwant %s (%v)", err, c.want, c.kind)
			}
		})
	}
}

// TestDecodeDamaged cuts and flips real files: no panic, and what is accepted is verified.
func TestDecodeDamaged(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, file := range sharedModels(t) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			bad := bytes.Clone(data)
			if i%2 == 0 {
				bad = bad[:r.IntN(len(bad))]
			} else {
				for range 1 + r.IntN(8) {
					bad[r.IntN(min(len(bad), 4096))] ^= byte(1 << r.IntN(8))
				}
			}
			m, err := Decode(bad, DecodeOptions{})
			if err == nil {
				err = graph.Verify(m)
			}
			if err != nil && !errors.Is(err, graph.ErrInvalid) && !errors.Is(err, graph.ErrUnsupported) {
				t.Errorf("%s: error of no kind: %v", file, err)
			}
		}
	}
}

func TestExternalData(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	models := filepath.Join(dir, "models")
	if err := os.Mkdir(models, 0o700); err != nil {
		t.Fatal(err)
	}
	for path, n := range map[string]int{secret: 100, filepath.Join(models, "ok.bin"): 16, filepath.Join(models, "big.bin"): 2 << 20} {
		data := make([]byte, n)
		data[n-8], data[n-1] = 1, 2
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for target, link := range map[string]string{"../secret": "escape", "ok.bin": "inside"} {
		if err := os.Symlink(target, filepath.Join(models, link)); err != nil {
			t.Fatal(err)
		}
	}
	cases := []struct{ location, offset, want string }{
		{"ok.bin", "8", ""},
		{"inside", "8", ""},
		{"big.bin", "2097144", ""},
		{"ok.bin", "9", "which has only 16"},
		{"ok.bin", "9000000000000000", "which has only 16"},
		{"big.bin", "2097145", "which has only 2097152"},
		{"../secret", "0", "model's own folder"},
		{secret, "0", "model's own folder"},
		{"escape", "0", "model's own folder"},
		{"missing", "0", "no such file"},
		{".", "0", "not a regular file"},
	}
	for _, c := range cases {
		p := good()
		w := p.Graph.Initializer[0]
		w.RawData, w.DataLocation = nil, ptr(pb.TensorProto_EXTERNAL)
		w.ExternalData = []*pb.StringStringEntryProto{entry("location", c.location), entry("offset", c.offset), entry("length", "8")}
		data, err := proto.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(models, "m.onnx")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := Read(path)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.location, err)
		case c.want == "":
			if raw := m.Graph.Initializers()[0].Const().Raw; raw[0] != 1 || raw[7] != 2 {
				t.Errorf("%s: read %v", c.location, raw)
			}
		case err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path):
			t.Errorf("%s: got %v, want %s", c.location, err, c.want)
		}
	}
}

func TestWriteExternal(t *testing.T) {
	m := graphtest.MustParse(t, `<ir_version: 8, opset_import: ["" : 17]> g (x) => (y) <float[2] small = {1, 2}> { y = Add (x, small) }`)
	big := make([]float32, 3000)
	for i := range big {
		big[i] = float32(i)
	}
	k := graph.TensorOf(big, 3000)
	m.Graph.AddInitializer("big", k)
	m.Graph.AddInitializer("shared", k)
	m.Graph.AddInitializer("other", graph.TensorOf(big[:2000], 2000))
	path := filepath.Join(t.TempDir(), "m.onnx")
	if err := Write(path, m, WriteOptions{External: true}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path + ".data")
	if err != nil || info.Size() != 3*4096+8000 {
		t.Errorf("data file: %v, %v; want 12000 bytes, padding to a multiple of 4096, 8000 bytes", info.Size(), err)
	}
	back, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	graphtest.Same(t, back, m)
}

// TestLargeModel: constants beyond the limit go to the data file unasked, and are not copied when they are read.
func TestLargeModel(t *testing.T) {
	m := graphtest.MustParse(t, `<ir_version: 8, opset_import: ["" : 17]> g (x) => (y) <float[2] small = {1, 2}> { y = Add (x, small) }`)
	const n = 4 << 20 // elements
	big, err := graph.NewTensor(graph.Float32, n)
	if err != nil {
		t.Fatal(err)
	}
	graph.Data[float32](big)[n-1] = 7
	m.Graph.AddInitializer("big", big)
	dir := t.TempDir()
	inside, outside := filepath.Join(dir, "inside.onnx"), filepath.Join(dir, "outside.onnx")
	if err := Write(inside, m, WriteOptions{Inside: 5 * n}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(inside + ".data"); err == nil {
		t.Error("a data file for constants below the limit")
	}
	if err := Write(outside, m, WriteOptions{Inside: 3 * n}); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(outside); err != nil || info.Size() > 1<<10 {
		t.Errorf("the model file beside the data: %v, %v", info.Size(), err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	back, err := Read(outside)
	runtime.ReadMemStats(&after)
	if err != nil {
		t.Fatal(err)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > n && runtime.GOOS == "linux" {
		t.Errorf("reading %d bytes of constants allocated %d", 4*n, used)
	}
	if !back.External || graph.Data[float32](back.Graph.Find("big").Const())[n-1] != 7 {
		t.Errorf("external %t, or the last element is lost", back.External)
	}
	if m, err := Read(inside); err != nil || m.External {
		t.Errorf("one file: external %t, %v", m.External, err)
	}
}

func TestWriteLeavesNothingOnFailure(t *testing.T) {
	m := graphtest.MustParse(t, `<ir_version: 8, opset_import: ["" : 17]> g (x) => (y) { y = Relu (x) }`)
	dir := t.TempDir()
	path := filepath.Join(dir, "m.onnx")
	if err := Write(path, m, WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(path)
	m.Doc = "other"
	for _, opts := range []WriteOptions{{}, {External: true}} {
		if err := Write(path, m, opts); !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), path) {
			t.Errorf("writing over a file: %v", err)
		}
	}
	m.Graph.Last().SetAttr(graph.Attr{Name: "bad", Kind: 99})
	if err := Write(path, m, WriteOptions{Overwrite: true, External: true}); !errors.Is(err, graph.ErrInvalid) {
		t.Errorf("writing an invalid model: %v", err)
	}
	if now, _ := os.ReadFile(path); !bytes.Equal(now, before) {
		t.Error("a failed write changed the file")
	}
	if names := list(t, dir); len(names) != 1 {
		t.Errorf("files left: %v", names)
	}
	m.Graph.Last().RemoveAttr("bad")
	if err := Write(path, m, WriteOptions{Overwrite: true}); err != nil {
		t.Error(err)
	}
	if names := list(t, dir); len(names) != 1 {
		t.Errorf("files left: %v", names)
	}
	if err := Write(filepath.Join(dir, "no", "m.onnx"), m, WriteOptions{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("writing into a missing folder: %v", err)
	}
}

func list(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// FuzzDecode looks for panics, and for models that do not survive being written.
func FuzzDecode(f *testing.F) {
	for _, p := range []*pb.ModelProto{good(), {}} {
		data, err := proto.Marshal(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Decode(data, DecodeOptions{})
		if err != nil {
			if !errors.Is(err, graph.ErrInvalid) && !errors.Is(err, graph.ErrUnsupported) {
				t.Fatalf("error of no kind: %v", err)
			}
			return
		}
		roundTripLoose(t, "fuzzed model", m)
	})
}
