package onnx

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/onnx/internal/pb"
)

// tensor reads a constant.
func (d *decoder) tensor(p *pb.TensorProto) (*graph.Tensor, error) {
	e, err := decodeElem(p.GetDataType())
	if err != nil {
		return nil, err
	}
	if p.Segment != nil {
		return nil, unsupported("a tensor in segments; export it in one piece")
	}
	n, err := graph.CountOf(p.Dims, e.Size())
	if err != nil {
		return nil, invalid("%v", err)
	}
	if p.GetDataLocation() == pb.TensorProto_EXTERNAL {
		raw, err := d.external.load(p.ExternalData, n*int64(e.Size()))
		if err != nil {
			return nil, err
		}
		return wrapRaw(e, p.Dims, raw)
	}
	if p.RawData != nil {
		return wrapRaw(e, p.Dims, p.RawData)
	}
	return typedTensor(p, e, n)
}

func wrapRaw(e graph.Elem, dims []int64, raw []byte) (*graph.Tensor, error) {
	if e == graph.Bool {
		raw = cleanBools(raw)
	}
	t, err := graph.RawTensor(e, dims, raw)
	if err != nil {
		return nil, invalid("%v; the file is damaged", err)
	}
	return t, nil
}

// cleanBools makes every byte 0 or 1, as Go's bool demands. It copies only if it must.
func cleanBools(raw []byte) []byte {
	for i, b := range raw {
		if b > 1 {
			clean := append([]byte{}, raw...)
			for k := i; k < len(clean); k++ {
				clean[k] = min(clean[k], 1)
			}
			return clean
		}
	}
	return raw
}

// typedTensor reads the elements from the typed field that suits e.
func typedTensor(p *pb.TensorProto, e graph.Elem, n int64) (*graph.Tensor, error) {
	have := map[graph.Elem]int{
		graph.Float32: len(p.FloatData), graph.Float64: len(p.DoubleData), graph.Int64: len(p.Int64Data),
		graph.Uint32: len(p.Uint64Data), graph.Uint64: len(p.Uint64Data),
	}
	count, ok := have[e]
	if !ok {
		count = len(p.Int32Data)
	}
	if int64(count) != n {
		return nil, invalid("a tensor of type %s and shape %v needs %d elements, has %d; the file is damaged", e, p.Dims, n, count)
	}
	t, err := graph.NewTensor(e, p.Dims...)
	if err != nil {
		return nil, invalid("%v", err)
	}
	switch e {
	case graph.Float32:
		copy(graph.Data[float32](t), p.FloatData)
	case graph.Float64:
		copy(graph.Data[float64](t), p.DoubleData)
	case graph.Int64:
		copy(graph.Data[int64](t), p.Int64Data)
	case graph.Uint64:
		copy(graph.Data[uint64](t), p.Uint64Data)
	case graph.Uint32:
		err = narrow(graph.Data[uint32](t), p.Uint64Data)
	case graph.Int32:
		copy(graph.Data[int32](t), p.Int32Data)
	case graph.Int16:
		err = narrow(graph.Data[int16](t), p.Int32Data)
	case graph.Int8:
		err = narrow(graph.Data[int8](t), p.Int32Data)
	case graph.Uint8:
		err = narrow(graph.Data[uint8](t), p.Int32Data)
	case graph.Bool:
		for i, v := range p.Int32Data {
			graph.Data[bool](t)[i] = v != 0
		}
	default: // uint16, and 16-bit floats as their bits
		err = narrow(graph.Data[uint16](t), p.Int32Data)
	}
	return t, err
}

// narrow converts numbers to a smaller type, if they fit.
func narrow[D uint8 | int8 | uint16 | int16 | uint32, S int32 | uint64](dst []D, src []S) error {
	for i, v := range src {
		dst[i] = D(v)
		if S(dst[i]) != v {
			return invalid("element %d, %d, does not fit its type", i, v)
		}
	}
	return nil
}
