package runtime

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// A safetensors file is an 8-byte little-endian length, a JSON header of that length, and the tensors' bytes, row-major
// and little-endian, one after the other without gaps. The header maps names to type, shape and place.

// maxSafetensorsHeader is the format's own limit.
const maxSafetensorsHeader = 100 << 20

// safetensorsMeta is the header's key of string metadata.
const safetensorsMeta = "__metadata__"

// tensorPlace is an entry of the header; offsets count from the end of the header.
type tensorPlace struct {
	DType   string   `json:"dtype"`
	Shape   []int64  `json:"shape"`
	Offsets [2]int64 `json:"data_offsets"`
}

// safetensorsTypes are the format's names of element types.
var safetensorsTypes = []struct {
	name string
	elem graph.Elem
}{
	{"F64", graph.Float64},
	{"F32", graph.Float32},
	{"F16", graph.Float16},
	{"BF16", graph.BFloat16},
	{"I64", graph.Int64},
	{"I32", graph.Int32},
	{"I16", graph.Int16},
	{"I8", graph.Int8},
	{"U64", graph.Uint64},
	{"U32", graph.Uint32},
	{"U16", graph.Uint16},
	{"U8", graph.Uint8},
	{"BOOL", graph.Bool},
}

// WriteSafetensors writes tensors in the safetensors format. Equal tensors and metadata give equal bytes.
func WriteSafetensors(w io.Writer, tensors map[string]*kernel.Tensor, metadata map[string]string) error {
	names := make([]string, 0, len(tensors))
	for name := range tensors {
		names = append(names, name)
	}
	// Wide elements first, so that every tensor is aligned in the file.
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(tensors[b].Elem.Size(), tensors[a].Elem.Size()), cmp.Compare(a, b))
	})
	header := map[string]any{}
	if len(metadata) > 0 {
		header[safetensorsMeta] = metadata
	}
	var end int64
	for _, name := range names {
		t := tensors[name]
		p := tensorPlace{Shape: make([]int64, len(t.Shape)), Offsets: [2]int64{end, end + int64(len(t.Raw))}}
		for i, n := range t.Shape {
			p.Shape[i] = int64(n)
		}
		for _, row := range safetensorsTypes {
			if row.elem == t.Elem {
				p.DType = row.name
			}
		}
		if p.DType == "" || name == safetensorsMeta {
			return fmt.Errorf("tensor %q of type %s has no place in a safetensors file", name, t.Elem)
		}
		header[name] = p
		end = p.Offsets[1]
	}
	text, err := json.Marshal(header)
	if err != nil {
		return err
	}
	text = append(text, bytes.Repeat([]byte{' '}, (8-len(text)%8)%8)...)
	if _, err := w.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(text)))); err != nil {
		return err
	}
	if _, err := w.Write(text); err != nil {
		return err
	}
	for _, name := range names {
		if _, err := w.Write(tensors[name].Raw); err != nil {
			return err
		}
	}
	return nil
}

// ReadSafetensors reads a safetensors file. Nothing is allocated on the word of the header alone: what it promises is
// first compared with the size of the file. Malformed files are errors of kind graph.ErrInvalid.
func ReadSafetensors(path string) (tensors map[string]*kernel.Tensor, metadata map[string]string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s: %w: not a regular file", path, graph.ErrInvalid)
	}
	if tensors, metadata, err = DecodeSafetensors(f, info.Size()); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return tensors, metadata, nil
}

// DecodeSafetensors reads the safetensors format from size bytes; see ReadSafetensors.
func DecodeSafetensors(r io.ReaderAt, size int64) (map[string]*kernel.Tensor, map[string]string, error) {
	places, metadata, start, err := readHeader(r, size)
	if err != nil {
		return nil, nil, err
	}
	names := make([]string, 0, len(places))
	for name := range places {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		x, y := places[a].Offsets, places[b].Offsets
		return cmp.Or(cmp.Compare(x[0], y[0]), cmp.Compare(x[1], y[1]), cmp.Compare(a, b))
	})
	tensors := make(map[string]*kernel.Tensor, len(names))
	var end int64
	for _, name := range names {
		p := places[name]
		if p.Offsets[0] != end || p.Offsets[1] < end || p.Offsets[1] > size-start {
			return nil, nil, fmt.Errorf("%w: tensor %q lies at bytes %v: want no gap, no overlap, and an end within the %d bytes of data; the file is cut short or damaged",
				graph.ErrInvalid, name, p.Offsets, size-start)
		}
		t, err := readTensor(r, start, p)
		if err != nil {
			return nil, nil, fmt.Errorf("tensor %q: %w", name, err)
		}
		tensors[name] = t
		end = p.Offsets[1]
	}
	if end != size-start {
		return nil, nil, fmt.Errorf("%w: %d bytes of data, the header describes %d", graph.ErrInvalid, size-start, end)
	}
	return tensors, metadata, nil
}

// readHeader reads the places of the tensors; start is where the data begin.
func readHeader(r io.ReaderAt, size int64) (places map[string]tensorPlace, metadata map[string]string, start int64, err error) {
	var length [8]byte
	if _, err := r.ReadAt(length[:], 0); err != nil {
		return nil, nil, 0, fmt.Errorf("%w: %d bytes are too few for a safetensors file", graph.ErrInvalid, size)
	}
	n := binary.LittleEndian.Uint64(length[:])
	if n > maxSafetensorsHeader || int64(n) > size-8 {
		return nil, nil, 0, fmt.Errorf("%w: no safetensors file, or one cut short: a header of %d bytes in a file of %d", graph.ErrInvalid, n, size)
	}
	text := make([]byte, n)
	if _, err := r.ReadAt(text, 8); err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, 0, err
	}
	var entries map[string]json.RawMessage
	if err := json.Unmarshal(text, &entries); err != nil {
		return nil, nil, 0, fmt.Errorf("%w: header: %w", graph.ErrInvalid, err)
	}
	places = map[string]tensorPlace{}
	for name, entry := range entries {
		if name == safetensorsMeta {
			err = json.Unmarshal(entry, &metadata)
		} else {
			var p tensorPlace
			err = json.Unmarshal(entry, &p)
			places[name] = p
		}
		if err != nil {
			return nil, nil, 0, fmt.Errorf("%w: header entry %q: %w", graph.ErrInvalid, name, err)
		}
	}
	return places, metadata, 8 + int64(n), nil
}

// readTensor reads one tensor, whose offsets are within the file.
func readTensor(r io.ReaderAt, start int64, p tensorPlace) (*kernel.Tensor, error) {
	elem := graph.Undefined
	for _, row := range safetensorsTypes {
		if row.name == p.DType {
			elem = row.elem
		}
	}
	if elem == graph.Undefined {
		return nil, fmt.Errorf("%w: element type %q", graph.ErrUnsupported, p.DType)
	}
	n, err := graph.CountOf(p.Shape, elem.Size())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", graph.ErrInvalid, err)
	}
	if n*int64(elem.Size()) != p.Offsets[1]-p.Offsets[0] {
		return nil, fmt.Errorf("%w: %s%v needs %d bytes, has %d", graph.ErrInvalid, elem, p.Shape, n*int64(elem.Size()), p.Offsets[1]-p.Offsets[0])
	}
	shape := make([]int, len(p.Shape))
	for i, d := range p.Shape {
		shape[i] = int(d)
	}
	t := kernel.New(elem, shape...)
	if m, err := r.ReadAt(t.Raw, start+p.Offsets[0]); m < len(t.Raw) {
		return nil, fmt.Errorf("%w: %w", graph.ErrInvalid, err)
	}
	return t, nil
}
