package graph

// AttrKind tells which payload of an Attr is in use. The numbers are those of ONNX AttributeProto.AttributeType.
type AttrKind uint8

// Attribute kinds.
const (
	AttrUndefined AttrKind = 0
	AttrFloat     AttrKind = 1
	AttrInt       AttrKind = 2
	AttrString    AttrKind = 3
	AttrTensor    AttrKind = 4
	AttrGraph     AttrKind = 5
	AttrFloats    AttrKind = 6
	AttrInts      AttrKind = 7
	AttrStrings   AttrKind = 8
	AttrGraphs    AttrKind = 10
)

// Attr is a named attribute of a node. In a function body, Ref names an attribute of the function whose value is used.
type Attr struct {
	Name    string
	Kind    AttrKind
	Ref     string
	F       float32
	I       int64
	S       string
	T       *Tensor
	G       *Graph
	Floats  []float32
	Ints    []int64
	Strings []string
	Graphs  []*Graph
}

// F is a float attribute.
func F(name string, v float32) Attr { return Attr{Name: name, Kind: AttrFloat, F: v} }

// I is an int attribute.
func I(name string, v int64) Attr { return Attr{Name: name, Kind: AttrInt, I: v} }

// S is a string attribute.
func S(name, v string) Attr { return Attr{Name: name, Kind: AttrString, S: v} }

// T is a tensor attribute.
func T(name string, v *Tensor) Attr { return Attr{Name: name, Kind: AttrTensor, T: v} }

// G is a graph attribute. The graph becomes nested in the node that gets the attribute.
func G(name string, v *Graph) Attr { return Attr{Name: name, Kind: AttrGraph, G: v} }

// Is is a list-of-ints attribute.
func Is(name string, v ...int64) Attr { return Attr{Name: name, Kind: AttrInts, Ints: v} }

// Fs is a list-of-floats attribute.
func Fs(name string, v ...float32) Attr { return Attr{Name: name, Kind: AttrFloats, Floats: v} }

// Ss is a list-of-strings attribute.
func Ss(name string, v ...string) Attr { return Attr{Name: name, Kind: AttrStrings, Strings: v} }

// Ref is an attribute of a node in a function body that takes the value of the function's attribute from.
func Ref(name string, kind AttrKind, from string) Attr {
	return Attr{Name: name, Kind: kind, Ref: from}
}
