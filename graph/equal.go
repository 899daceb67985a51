package graph

import (
	"fmt"
	"maps"
	"math"
	"slices"
)

// Equal tells the first difference between two models, or nil. Names, order and positions count; what is not printed
// (Value.Content, Model.Source, Model.External) and the names of function bodies do not.
func Equal(a, b *Model) error {
	var d differ
	d.field("IR version", a.IRVersion, b.IRVersion)
	d.check(sameMap(a.Opsets, b.Opsets), "opset versions", a.Opsets, b.Opsets)
	d.check(sameMap(a.Metadata, b.Metadata), "metadata", a.Metadata, b.Metadata)
	d.field("doc", a.Doc, b.Doc)
	d.field("producer", a.Producer, b.Producer)
	d.field("producer version", a.Version, b.Version)
	d.field("name of the graph", a.Graph.Name, b.Graph.Name)
	d.field("doc of the graph", a.Graph.Doc, b.Graph.Doc)
	d.graph(a.Graph, b.Graph)
	d.field("number of functions", len(a.Functions), len(b.Functions))
	for i := 0; d.err == nil && i < len(a.Functions); i++ {
		d.function(a.Functions[i], b.Functions[i])
	}
	return d.err
}

// EqualGraph tells the first difference between two graphs, or nil, as Equal does.
func EqualGraph(a, b *Graph) error {
	var d differ
	d.field("name of the graph", a.Name, b.Name)
	d.field("doc of the graph", a.Doc, b.Doc)
	d.graph(a, b)
	return d.err
}

// sameMap is maps.Equal where nil is the same as empty.
func sameMap[V comparable](a, b map[string]V) bool { return maps.Equal(a, b) }

// differ keeps the first difference.
type differ struct {
	err   error
	where string
	twin  map[*Value]*Value // from values of a to those of b
}

func (d *differ) check(same bool, what string, a, b any) {
	if d.err == nil && !same {
		d.err = fmt.Errorf("%s%s: %v and %v", d.where, what, a, b)
	}
}

func (d *differ) field(what string, a, b any) { d.check(a == b, what, a, b) }

func (d *differ) function(f, g *Function) {
	d.where = "function " + f.label() + ": "
	d.field("name", f.label(), g.label())
	d.field("doc", f.Doc, g.Doc)
	d.check(sameMap(f.Opsets, g.Opsets), "opset versions", f.Opsets, g.Opsets)
	d.check(slices.Equal(f.Attrs, g.Attrs), "attributes", f.Attrs, g.Attrs)
	d.attrs(f.Defaults, g.Defaults)
	d.graph(f.Body, g.Body)
	d.where = ""
}

// graph compares all but name and doc.
func (d *differ) graph(a, b *Graph) {
	if d.twin == nil {
		d.twin = map[*Value]*Value{}
	}
	d.values("inputs", a.Inputs(), b.Inputs())
	d.values("initializers", a.Initializers(), b.Initializers())
	d.field("number of nodes", a.count, b.count)
	for n, m := a.first, b.first; n != nil && d.err == nil; n, m = n.next, m.next {
		d.node(n, m)
	}
	d.operands("output", a.outputs, b.outputs)
}

// values compares definitions.
func (d *differ) values(what string, as, bs []*Value) {
	d.field("number of "+what, len(as), len(bs))
	for i := 0; d.err == nil && i < len(as); i++ {
		d.value(fmt.Sprintf("%s, number %d", what, i), as[i], bs[i])
	}
}

func (d *differ) value(what string, a, b *Value) {
	if (a == nil) != (b == nil) {
		d.check(false, what, a, b)
	}
	if a == nil || d.err != nil {
		return
	}
	if a.Name != b.Name || !a.Type.Equal(b.Type) {
		d.check(false, what, a.Type.String()+" "+a.Name, b.Type.String()+" "+b.Name)
	}
	if !a.constant.Equal(b.constant) {
		d.check(false, "constant of "+a.Name, a.constant.summary(), b.constant.summary())
	}
	d.twin[a] = b
}

// summary describes a constant in a message.
func (t *Tensor) summary() string {
	if t == nil {
		return "none"
	}
	s := t.Type().String() + " {"
	for i := range min(t.Len(), 8) {
		if i > 0 {
			s += ", "
		}
		s += t.elementText(i)
	}
	if t.Len() > 8 {
		s += ", ..."
	}
	return s + "}"
}

// operands compares uses.
func (d *differ) operands(what string, as, bs []*Value) {
	d.field("number of "+what+"s", len(as), len(bs))
	for i := 0; d.err == nil && i < len(as); i++ {
		if d.twin[as[i]] != bs[i] {
			d.check(false, fmt.Sprintf("%s %d", what, i), as[i], bs[i])
		}
	}
}

func (d *differ) node(n, m *Node) {
	outer := d.where
	d.where += "node " + n.String() + ": "
	if n.Domain != m.Domain || n.Op != m.Op || n.Name != m.Name {
		d.check(false, "node", n, m)
	}
	d.field("scope", n.Scope, m.Scope)
	d.field("doc", n.Doc, m.Doc)
	d.operands("input", n.inputs, m.inputs)
	d.attrs(n.attrs, m.attrs)
	d.field("number of outputs", len(n.outputs), len(m.outputs))
	for i := 0; d.err == nil && i < len(n.outputs); i++ {
		if n.outputs[i] != nil || m.outputs[i] != nil {
			d.value(fmt.Sprintf("output %d", i), n.outputs[i], m.outputs[i])
		}
	}
	if d.err == nil {
		d.where = outer
	}
}

func (d *differ) attrs(as, bs []Attr) {
	d.field("number of attributes", len(as), len(bs))
	for i := 0; d.err == nil && i < len(as); i++ {
		a, b := &as[i], &bs[i]
		d.field(fmt.Sprintf("attribute %d", i), a.Name, b.Name)
		d.field("kind of attribute "+a.Name, a.Kind, b.Kind)
		d.field("reference of attribute "+a.Name, a.Ref, b.Ref)
		d.attr("attribute "+a.Name, a, b)
	}
}

func (d *differ) attr(what string, a, b *Attr) {
	if d.err != nil || a.Ref != "" {
		return
	}
	switch a.Kind {
	case AttrFloat:
		d.check(sameFloat(a.F, b.F), what, a.F, b.F)
	case AttrInt:
		d.field(what, a.I, b.I)
	case AttrString:
		d.field(what, a.S, b.S)
	case AttrTensor:
		d.check(a.T.Equal(b.T), what, a.T.summary(), b.T.summary())
	case AttrFloats:
		d.check(slices.EqualFunc(a.Floats, b.Floats, sameFloat), what, a.Floats, b.Floats)
	case AttrInts:
		d.check(slices.Equal(a.Ints, b.Ints), what, a.Ints, b.Ints)
	case AttrStrings:
		d.check(slices.Equal(a.Strings, b.Strings), what, a.Strings, b.Strings)
	case AttrGraph:
		d.nested(what, a.G, b.G)
	case AttrGraphs:
		d.field("number of graphs of "+what, len(a.Graphs), len(b.Graphs))
		for i := 0; d.err == nil && i < len(a.Graphs); i++ {
			d.nested(what, a.Graphs[i], b.Graphs[i])
		}
	}
}

// sameFloat compares bits, so that NaN is the same as itself.
func sameFloat(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }

func (d *differ) nested(what string, a, b *Graph) {
	outer := d.where
	d.where += what + ": "
	d.field("name of the graph", a.Name, b.Name)
	d.field("doc of the graph", a.Doc, b.Doc)
	d.graph(a, b)
	if d.err == nil {
		d.where = outer
	}
}
