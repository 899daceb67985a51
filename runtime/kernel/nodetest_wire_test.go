package kernel_test

import (
	"encoding/binary"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// fields walks the fields of a protobuf message; varints come as num, the rest as bytes.
func fields(raw []byte, visit func(field protowire.Number, num uint64, data []byte) error) error {
	for len(raw) > 0 {
		field, kind, n := protowire.ConsumeTag(raw)
		if n < 0 {
			return protowire.ParseError(n)
		}
		raw = raw[n:]
		var num uint64
		var data []byte
		switch kind {
		case protowire.VarintType:
			num, n = protowire.ConsumeVarint(raw)
		case protowire.Fixed32Type:
			var v uint32
			v, n = protowire.ConsumeFixed32(raw)
			data = binary.LittleEndian.AppendUint32(nil, v)
		case protowire.BytesType:
			data, n = protowire.ConsumeBytes(raw)
		default:
			n = protowire.ConsumeFieldValue(field, kind, raw)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		raw = raw[n:]
		if err := visit(field, num, data); err != nil {
			return err
		}
	}
	return nil
}

func appendVarints(list []uint64, num uint64, data []byte) []uint64 {
	if data == nil {
		return append(list, num)
	}
	for len(data) > 0 {
		v, n := protowire.ConsumeVarint(data)
		if n < 0 {
			return list
		}
		list, data = append(list, v), data[n:]
	}
	return list
}

// decodeTensor reads a TensorProto.
func decodeTensor(raw []byte) (*kernel.Tensor, error) {
	var elem graph.Elem
	var shape []int
	var bytes, typed []byte
	var ints []uint64
	err := fields(raw, func(field protowire.Number, num uint64, data []byte) error {
		switch field {
		case 1:
			for _, d := range appendVarints(nil, num, data) {
				shape = append(shape, int(d))
			}
		case 2:
			elem = graph.Elem(num)
		case 4, 10: // float_data, double_data
			typed = append(typed, data...)
		case 5, 7, 11: // int32_data, int64_data, uint64_data
			ints = appendVarints(ints, num, data)
		case 9:
			bytes = data
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if !elem.Valid() {
		return nil, fmt.Errorf("%w: tensors of type %s", errNotCovered, elem)
	}
	if bytes != nil {
		typed = bytes
	}
	for _, v := range ints {
		typed = append(typed, binary.LittleEndian.AppendUint64(nil, v)[:elem.Size()]...)
	}
	if len(typed) != kernel.Count(shape)*elem.Size() { // a sequence or an optional
		return nil, fmt.Errorf("%w: encoding of %s%v with %d bytes", errNotCovered, elem, shape, len(typed))
	}
	t := kernel.New(elem, shape...)
	copy(t.Raw, typed)
	return t, nil
}

// decodeModel reads a ModelProto whose nodes have no nested graphs.
func decodeModel(raw []byte) (*graph.Model, error) {
	m := graph.NewModel(0)
	return m, fields(raw, func(field protowire.Number, _ uint64, data []byte) error {
		switch field {
		case 7:
			return decodeGraph(m, data)
		case 8:
			domain, version := "", int64(0)
			err := fields(data, func(field protowire.Number, num uint64, data []byte) error {
				if field == 1 {
					domain = string(data)
				} else {
					version = int64(num)
				}
				return nil
			})
			m.Opsets[domain] = version
			return err
		}
		return nil
	})
}

func decodeGraph(m *graph.Model, raw []byte) error {
	var nodes [][]byte
	var outputs []string
	known := map[string]*graph.Value{}
	err := fields(raw, func(field protowire.Number, _ uint64, data []byte) error {
		switch field {
		case 1:
			nodes = append(nodes, data)
		case 11, 12:
			return fields(data, func(f protowire.Number, _ uint64, name []byte) error {
				switch {
				case f == 1 && field == 11:
					known[string(name)] = m.Graph.AddInput(string(name), graph.Type{})
				case f == 1:
					outputs = append(outputs, string(name))
				}
				return nil
			})
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, node := range nodes {
		if err := decodeNode(m, node, known); err != nil {
			return err
		}
	}
	for _, name := range outputs {
		m.Graph.AddOutput(known[name])
	}
	return nil
}

func decodeNode(m *graph.Model, raw []byte, known map[string]*graph.Value) error {
	var inputs []*graph.Value
	var outputs []string
	var attrs []graph.Attr
	op, domain := "", ""
	err := fields(raw, func(field protowire.Number, _ uint64, data []byte) error {
		switch field {
		case 1:
			inputs = append(inputs, known[string(data)])
		case 2:
			outputs = append(outputs, string(data))
		case 4:
			op = string(data)
		case 5:
			a, err := decodeAttr(data)
			attrs = append(attrs, a)
			return err
		case 7:
			domain = string(data)
		}
		return nil
	})
	if err != nil {
		return err
	}
	n := m.Graph.InsertNode(nil, domain, op, inputs, outputs, attrs...)
	for i, name := range outputs {
		known[name] = n.Out(i)
	}
	return nil
}

func decodeAttr(raw []byte) (graph.Attr, error) {
	var a graph.Attr
	err := fields(raw, func(field protowire.Number, num uint64, data []byte) error {
		switch field {
		case 1:
			a.Name = string(data)
		case 2:
			a.F = math.Float32frombits(binary.LittleEndian.Uint32(data))
		case 3:
			a.I = int64(num)
		case 4:
			a.S = string(data)
		case 5:
			t, err := decodeTensor(data)
			if err != nil {
				return err
			}
			a.T = t.Const()
		case 6:
			return fmt.Errorf("%w: graphs", errNotCovered)
		case 7:
			for ; len(data) >= 4; data = data[4:] {
				a.Floats = append(a.Floats, math.Float32frombits(binary.LittleEndian.Uint32(data)))
			}
		case 8:
			for _, v := range appendVarints(nil, num, data) {
				a.Ints = append(a.Ints, int64(v))
			}
		case 9:
			a.Strings = append(a.Strings, string(data))
		case 20:
			a.Kind = graph.AttrKind(num)
		}
		return nil
	})
	return a, err
}
