package onnx

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Limits on the structure of a file. No sensible model comes near them.
const (
	maxMessageDepth = 400 // protobuf messages within one another
	maxGraphDepth   = 100 // graphs nested in graphs; each is three messages deep
)

// maxMessages is how many messages a file of n bytes may hold. An empty one takes 2 bytes in the file and some 200 in memory.
func maxMessages(n int) int { return 1<<20 + n/32 }

// checkWire counts the messages in a file that holds a message like m, before memory is spent on them. Other damage is left to the real decoder.
func checkWire(data []byte, m proto.Message) error {
	w := wire{budget: maxMessages(len(data)), ids: map[protoreflect.FullName]int{}}
	root := w.table(m.ProtoReflect().Descriptor())
	w.walk(data, root, 0)
	if w.budget < 0 {
		return unsupported("more than %d parts in a file of %d bytes; it is damaged, or made to exhaust memory",
			maxMessages(len(data)), len(data))
	}
	if w.deep {
		return unsupported("graphs or types nested more than %d messages deep", maxMessageDepth)
	}
	return nil
}

// wire walks the encoded fields of messages.
type wire struct {
	ids    map[protoreflect.FullName]int
	tables []wireTable
	budget int
	deep   bool
}

// wireTable gives, by field number, the table of the message that the field holds; 0 if it holds none. Table 0 is unused.
type wireTable [32]int

// table makes the table of a message and of those in it, and returns its number.
func (w *wire) table(d protoreflect.MessageDescriptor) int {
	if id, ok := w.ids[d.FullName()]; ok {
		return id
	}
	if len(w.tables) == 0 {
		w.tables = append(w.tables, wireTable{})
	}
	id := len(w.tables)
	w.ids[d.FullName()] = id
	w.tables = append(w.tables, wireTable{})
	for i := range d.Fields().Len() {
		if f := d.Fields().Get(i); f.Message() != nil {
			sub := w.table(f.Message())
			w.tables[id][f.Number()] = sub
		}
	}
	return id
}

func (w *wire) walk(b []byte, table, depth int) {
	if depth > maxMessageDepth {
		w.deep = true
		return
	}
	for len(b) > 0 && w.budget >= 0 && !w.deep {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return
		}
		b = b[n:]
		if typ == protowire.BytesType && int(num) < len(wireTable{}) && w.tables[table][num] > 0 {
			v, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return
			}
			w.budget--
			w.walk(v, w.tables[table][num], depth+1)
			b = b[n:]
			continue
		}
		if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
			return
		}
		b = b[n:]
	}
}
