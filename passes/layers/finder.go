package layers

import (
	"fmt"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// layer is what a row has recognised.
type layer struct {
	kind    string
	node    *graph.Node // the operator, which names the layer if its parameters do not
	z, x    *graph.Value
	w, b    *graph.Value // Param values or nil
	more    []*graph.Value
	attrs   []graph.Attr
	trouble string // why no statistic can be kept for it
}

// row is one form of layer. Match returns nil where the node is not of that form; it may rewrite the graph around the
// node into a form with explicit pieces.
type row struct {
	Op    string
	Kind  string
	Match func(f *finder, n *graph.Node) (*layer, error)
}

// finder walks the main graph once.
type finder struct {
	c    *pass.Ctx
	m    *graph.Model
	g    *graph.Graph
	data map[*graph.Value]bool // values that depend on the content of graph inputs
	used map[*graph.Node]bool  // nodes that belong to a layer already found
	name map[string]bool
	has  map[*graph.Value]bool // Param values in layers
}

func newFinder(c *pass.Ctx, m *graph.Model) *finder {
	return &finder{
		c: c, m: m, g: m.Graph, data: dataValues(m.Graph), used: map[*graph.Node]bool{}, name: map[string]bool{},
		has: map[*graph.Value]bool{},
	}
}

// dataValues marks the values that depend on more than the shapes of graph inputs.
func dataValues(g *graph.Graph) map[*graph.Value]bool {
	data := map[*graph.Value]bool{}
	for _, v := range g.Inputs() {
		data[v] = true
	}
	for n := range g.Nodes() {
		if n.Is("", "Shape") || n.Is("", "Size") || !readsData(n, data) {
			continue
		}
		for _, o := range n.Outputs() {
			data[o] = true
		}
	}
	return data
}

func readsData(n *graph.Node, data map[*graph.Value]bool) bool {
	for _, v := range n.Inputs() {
		if data[v] {
			return true
		}
	}
	for _, sub := range n.Graphs() {
		for inner := range sub.All() {
			for _, v := range inner.Inputs() {
				if data[v] {
					return true
				}
			}
		}
		for _, v := range sub.Outputs() {
			if data[v] {
				return true
			}
		}
	}
	return false
}

// find tags every layer of the main graph.
func (f *finder) find() error {
	for n := range f.g.Nodes() {
		if n.Domain != "" || f.used[n] {
			continue
		}
		for i := range rows {
			if rows[i].Op != n.Op {
				continue
			}
			l, err := rows[i].Match(f, n)
			if err != nil {
				return err
			}
			if l != nil {
				l.kind, l.node = rows[i].Kind, n
				f.tag(l)
				break
			}
		}
	}
	return nil
}

// tag puts a Layer tag behind z.
func (f *finder) tag(l *layer) {
	f.used[l.node], f.used[l.z.Def()] = true, true
	attrs := append([]graph.Attr{graph.S("name", f.nameOf(l)), graph.S("kind", l.kind)}, l.attrs...)
	if l.trouble != "" {
		attrs = append(attrs, graph.S("uncovered", l.trouble))
	}
	name, output := l.z.Name, l.z.IsOutput()
	tag := f.g.InsertNode(l.z.Def().Next(), graph.Asdl, graph.TagLayer, nil, []string{name + "/layer"}, attrs...)
	tag.Scope = l.node.Scope
	out := tag.Out(0)
	out.Type, out.Content = l.z.Type, l.z.Content
	l.z.ReplaceUses(out)
	for i, v := range append([]*graph.Value{l.z, l.x, l.w, l.b}, l.more...) {
		tag.SetInput(i, v)
	}
	if output { // the file's name stays with the output
		l.z.Rename(name + "/untagged")
		out.Rename(name)
	}
	f.data[out] = true
	f.has[l.w], f.has[l.b] = true, true
}

// param returns v if it is a trained parameter.
func param(v *graph.Value) (*graph.Value, bool) {
	p, ok := pass.ParamOf(v)
	return v, ok && p.Kind == "param"
}

// isParam reports whether v is a trained parameter of the given rank.
func isParam(v *graph.Value, rank int) bool {
	_, ok := param(v)
	return ok && v.Type.Rank() == rank
}

// before emits nodes before at, with the scope of n.
func (f *finder) before(at, n *graph.Node) *op.Builder {
	b := op.NewBuilder(f.m, f.g)
	b.At, b.Scope, b.Prefix = at, n.Scope, n.Out(0).Name+"/"
	return b
}

// nameOf names a layer after its weight, else its bias, else its node, and makes the name unique.
func (f *finder) nameOf(l *layer) string {
	base := ""
	for _, v := range []*graph.Value{l.w, l.b} {
		if p, ok := pass.ParamOf(v); ok && base == "" && !pass.MadeUp(p.Name()) {
			base = stem(p.Name())
		}
	}
	path := pass.ModulePath(l.node)
	if base == "" || f.name[base] && path != "" && !f.name[path] {
		base = path
	}
	if base == "" {
		base = fmt.Sprintf("layer%d", len(f.name))
	}
	name := base
	for i := 2; f.name[name]; i++ {
		name = fmt.Sprintf("%s_%d", base, i)
	}
	f.name[name] = true
	return name
}

// reportRest names the recurrent cells, whose parameters no layer covers.
func (f *finder) reportRest() {
	for n := range f.g.Nodes() {
		switch n.Op {
		case "RNN", "GRU", "LSTM":
			f.c.Note(fmt.Sprintf("recurrent cell %s: its parameters are not covered by a layer", n))
		}
	}
}
