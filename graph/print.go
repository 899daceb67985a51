package graph

import (
	"bufio"
	"io"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// Store holds constants outside the text, by location: "sha256:" and the hash of type, shape and bytes in hex.
type Store map[string]*Tensor

// PrintOptions tells how to print constants. The zero value prints every element.
type PrintOptions struct {
	// Store, if not nil, receives constants of more than 64 elements; the text refers to them as external data.
	Store Store
	// MaxElements, if above 0, cuts longer constants off with "...": for reading, not for Parse.
	MaxElements int
}

// storeAbove is the number of elements above which constants go to the store.
const storeAbove = 64

// Print is the text form of m in ONNX's textual syntax (onnx.parser). [Parse] gives the model back, [Equal] to m. What the
// syntax has no words for is said so that ONNX's own parser skips it or, where it cannot be skipped, refuses it:
// doc strings of nodes and graphs are comments that start with #|, the scope of a node follows its name in the label after
// an "@", and NaNs with a payload are nan(0x7fc00001).
func Print(m *Model) string {
	var sb strings.Builder
	if err := Fprint(&sb, m, PrintOptions{}); err != nil {
		panic("BUG: " + err.Error()) // a strings.Builder does not fail
	}
	return sb.String()
}

// Fprint prints m to w. Errors are those of w.
func Fprint(w io.Writer, m *Model, opts PrintOptions) error {
	p := &printer{opts: opts, w: bufio.NewWriter(w)}
	p.model(m)
	return p.w.Flush()
}

// PrintGraph is the text form of one graph, without the model around it.
func PrintGraph(g *Graph) string {
	var sb strings.Builder
	p := &printer{w: bufio.NewWriter(&sb)}
	p.graph(g, "")
	p.w.Flush()
	return sb.String()
}

// String is the name of ONNX's textual syntax.
func (k AttrKind) String() string {
	if int(k) < len(attrKinds) && attrKinds[k] != "" {
		return attrKinds[k]
	}
	return "undefined"
}

var attrKinds = [...]string{
	AttrFloat: "float", AttrInt: "int", AttrString: "string", AttrTensor: "tensor", AttrGraph: "graph",
	AttrFloats: "floats", AttrInts: "ints", AttrStrings: "strings", AttrGraphs: "graphs",
}

const indentStep = "   "

type printer struct {
	opts PrintOptions
	w    *bufio.Writer
}

func (p *printer) put(parts ...string) {
	for _, s := range parts {
		p.w.WriteString(s)
	}
}

func (p *printer) model(m *Model) {
	p.put("<ir_version: ", strconv.FormatInt(m.IRVersion, 10), ", ")
	p.opsets(m.Opsets)
	p.key("producer_name", m.Producer)
	p.key("producer_version", m.Version)
	p.key("doc_string", m.Doc)
	if len(m.Metadata) > 0 {
		p.put(",\n", indentStep, "metadata_props: [")
		for i, k := range sortedKeys(m.Metadata) {
			if i > 0 {
				p.put(",\n", indentStep, indentStep)
			}
			p.put(quote(k), ": ", quote(m.Metadata[k]))
		}
		p.put("]")
	}
	p.put(">\n")
	p.graph(m.Graph, "")
	p.put("\n")
	for _, f := range m.Functions {
		p.put("\n")
		p.function(f)
	}
}

func (p *printer) opsets(opsets map[string]int64) {
	p.put("opset_import: [")
	for i, domain := range sortedKeys(opsets) {
		if i > 0 {
			p.put(", ")
		}
		p.put(quote(domain), " : ", strconv.FormatInt(opsets[domain], 10))
	}
	p.put("]")
}

// key prints a header entry, unless it is empty.
func (p *printer) key(name, value string) {
	if value != "" {
		p.put(", ", name, ": ", quote(value))
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

func (p *printer) function(f *Function) {
	p.put("<domain: ", quote(f.Domain), ", ")
	p.opsets(f.Opsets)
	p.key("doc_string", f.Doc)
	p.put(">\n", identifier(f.Name), " ")
	sep := "<"
	for _, a := range f.Attrs {
		p.put(sep, identifier(a))
		sep = ", "
	}
	for _, a := range f.Defaults {
		p.put(sep)
		p.attr(a, "")
		sep = ", "
	}
	if sep == ", " {
		p.put("> ")
	}
	p.body(f.Body, "")
	p.put("\n")
}

// graph prints a graph from its name on, without a line break at the end.
func (p *printer) graph(g *Graph, indent string) {
	if g.Doc != "" {
		p.doc(g.Doc, indent)
		p.put(indent)
	}
	p.put(identifier(g.Name), " ")
	p.body(g, indent)
}

// body prints inputs, outputs, values and nodes.
func (p *printer) body(g *Graph, indent string) {
	p.signature(g.Inputs(), func(v *Value) bool { return true })
	p.put(" => ")
	p.signature(g.outputs, func(v *Value) bool { return v.def != nil && v.graph == g })
	p.values(g, indent)
	p.put("\n", indent, "{\n")
	for n := range g.Nodes() {
		p.node(n, indent+indentStep)
	}
	p.put(indent, "}")
}

// signature prints a list of values in parentheses, with their types where typed says so.
func (p *printer) signature(vs []*Value, typed func(*Value) bool) {
	p.put("(")
	for i, v := range vs {
		if i > 0 {
			p.put(", ")
		}
		p.value(v, typed(v))
	}
	p.put(")")
}

func (p *printer) value(v *Value, typed bool) {
	if typed && (v.Type.Elem != Undefined || v.Type.Ranked) {
		p.put(typeText(v.Type), " ")
	}
	p.put(identifier(v.Name))
}

// typeText is Type.String with quotes where the syntax needs them.
func typeText(t Type) string {
	if len(t.Dims) == 0 {
		return t.String()
	}
	var sb strings.Builder
	sb.WriteString(t.Elem.String())
	sep := byte('[')
	for _, d := range t.Dims {
		sb.WriteByte(sep)
		if d.IsSymbolic() {
			sb.WriteString(dimName(d.expr))
		} else {
			sb.WriteString(d.String())
		}
		sep = ','
	}
	sb.WriteByte(']')
	return sb.String()
}

func dimName(expr string) string {
	if isIdentifier(expr) {
		return expr
	}
	return quote(expr)
}

// values prints the list of initializers and of types of node outputs.
func (p *printer) values(g *Graph, indent string) {
	sep := "\n" + indent + "<\n"
	open := sep
	for _, v := range g.Initializers() {
		p.put(sep, indent, indentStep)
		p.tensor(v.constant, identifier(v.Name)+" = ")
		sep = ",\n"
	}
	isOutput := map[*Value]bool{}
	for _, v := range g.outputs {
		isOutput[v] = true
	}
	for n := range g.Nodes() {
		for _, v := range n.outputs {
			if v == nil || isOutput[v] || (v.Type.Elem == Undefined && !v.Type.Ranked) {
				continue
			}
			p.put(sep, indent, indentStep)
			p.value(v, true)
			sep = ",\n"
		}
	}
	if sep != open {
		p.put("\n", indent, ">")
	}
}

func (p *printer) node(n *Node, indent string) {
	if n.Doc != "" {
		p.doc(n.Doc, indent)
	}
	p.put(indent)
	if label := nodeLabel(n.Name, n.Scope); label != "" {
		p.put("[", identifier(label), "] ")
	}
	p.operands(n.outputs)
	p.put(" = ")
	if n.Domain != "" {
		p.put(domainText(n.Domain), ".")
	}
	p.put(identifier(n.Op), " ")
	nested := len(n.Graphs()) > 0
	if !nested {
		p.attrs(n.attrs, indent)
	}
	p.put("(")
	p.operands(n.inputs)
	p.put(")")
	if nested {
		p.put(" ")
		p.attrs(n.attrs, indent)
	}
	p.put("\n")
}

// nodeLabel is name@scope, or just the name if there is no scope and no doubt. Percent signs keep "@" out of the scope.
func nodeLabel(name, scope string) string {
	if scope == "" && !strings.Contains(name, "@") {
		return name
	}
	return name + "@" + strings.NewReplacer("%", "%25", "@", "%40").Replace(scope)
}

// splitLabel is the inverse of nodeLabel.
func splitLabel(label string) (name, scope string) {
	i := strings.LastIndexByte(label, '@')
	if i < 0 {
		return label, ""
	}
	return label[:i], strings.NewReplacer("%25", "%", "%40", "@").Replace(label[i+1:])
}

// domainText prints a dotted name if the parts are identifiers, else a quoted one.
func domainText(domain string) string {
	for _, part := range strings.Split(domain, ".") {
		if !isIdentifier(part) {
			return quote(domain)
		}
	}
	return domain
}

func (p *printer) operands(vs []*Value) {
	for i, v := range vs {
		if i > 0 {
			p.put(", ")
		}
		if v == nil {
			p.put(`""`)
		} else {
			p.put(identifier(v.Name))
		}
	}
}

func (p *printer) attrs(attrs []Attr, indent string) {
	for i, a := range attrs {
		if i == 0 {
			p.put("<")
		} else {
			p.put(", ")
		}
		p.attr(a, indent)
	}
	if len(attrs) == 0 {
		return
	}
	p.put(">")
	if !slices.ContainsFunc(attrs, func(a Attr) bool { return a.G != nil || len(a.Graphs) > 0 }) {
		p.put(" ")
	}
}

func (p *printer) attr(a Attr, indent string) {
	p.put(identifier(a.Name), ": ", a.Kind.String(), " = ")
	if a.Ref != "" {
		p.put("@", identifier(a.Ref))
		return
	}
	switch a.Kind {
	case AttrFloat:
		p.put(float32Text(a.F))
	case AttrInt:
		p.put(strconv.FormatInt(a.I, 10))
	case AttrString:
		p.put(quote(a.S))
	case AttrTensor:
		p.tensor(a.T, "")
	case AttrGraph:
		p.nested(a.G, indent)
	case AttrFloats:
		list(p, a.Floats, func(f float32) { p.put(float32Text(f)) })
	case AttrInts:
		list(p, a.Ints, func(i int64) { p.put(strconv.FormatInt(i, 10)) })
	case AttrStrings:
		list(p, a.Strings, func(s string) { p.put(quote(s)) })
	case AttrGraphs:
		list(p, a.Graphs, func(g *Graph) { p.nested(g, indent) })
	}
}

func list[T any](p *printer, items []T, item func(T)) {
	p.put("[")
	for i, x := range items {
		if i > 0 {
			p.put(", ")
		}
		item(x)
	}
	p.put("]")
}

// nested prints a graph attribute; a doc string needs a line of its own.
func (p *printer) nested(g *Graph, indent string) {
	if g.Doc != "" {
		p.put("\n")
	}
	p.graph(g, indent)
}

// doc prints text as comment lines.
func (p *printer) doc(text, indent string) {
	for _, line := range strings.Split(text, "\n") {
		p.put(indent, "#|")
		if line != "" {
			p.put(" ", line)
		}
		p.put("\n")
	}
}
