package graph

// scope holds the names that the text of one graph has defined so far; outer is that of the graph around it.
type scope struct {
	graph  *Graph
	values map[string]*Value
	types  map[string]typeDecl // declared before the value
	outer  *scope
}

// typeDecl is the type given to a name, and where.
type typeDecl struct {
	typ Type
	pos int
}

func (s *scope) find(name string) *Value {
	for ; s != nil; s = s.outer {
		if v := s.values[name]; v != nil {
			return v
		}
	}
	return nil
}

// inside reports whether inner lies within g.
func (p *parser) inside(inner, g *Graph) bool {
	for inner = p.parents[inner]; inner != nil; inner = p.parents[inner] {
		if inner == g {
			return true
		}
	}
	return false
}

// graph reads the rest of a graph after its name: "(" inputs ")" "=>" "(" outputs ")" [ "<" values ">" ] "{" nodes "}".
func (p *parser) graph(g *Graph, outer *scope) {
	s := &scope{graph: g, values: map[string]*Value{}, types: map[string]typeDecl{}, outer: outer}
	p.expect("(")
	p.items(")", func() { p.input(s) })
	p.expect("=>")
	outputs := p.outputs(s)
	if p.accept("<") {
		p.items(">", func() { p.declared(s) })
	}
	p.expect("{")
	for p.err == nil && !p.accept("}") {
		p.node(s)
	}
	for _, o := range outputs {
		v := s.find(o.text)
		if v == nil {
			p.fail(o.pos, "output %s is not defined", quote(o.text))
			return
		}
		g.AddOutput(v)
	}
	p.unusedTypes(s)
}

// unusedTypes complains about a type declared for a name that the graph does not define, or for one that has another type.
func (p *parser) unusedTypes(s *scope) {
	first := typeDecl{pos: -1}
	var why string
	for name, d := range s.types {
		v := s.find(name)
		if v != nil && v.Type.Equal(d.typ) || first.pos >= 0 && first.pos < d.pos {
			continue
		}
		first, why = d, "value "+quote(name)+" is given a type, but not defined"
		if v != nil {
			why = "value " + quote(name) + " has type " + v.Type.String() + " already, not " + d.typ.String()
		}
	}
	if first.pos >= 0 {
		p.fail(first.pos, "%s", why)
	}
}

// claim makes sure that name can be defined in s. If a value in a graph within s has it, that one gets another.
func (p *parser) claim(s *scope, name string, pos int) {
	if name == "" {
		p.fail(pos, "expected a name that is not empty")
		return
	}
	if s.values[name] != nil {
		p.fail(pos, "value %s is defined twice", quote(name))
		return
	}
	if holder := p.holders[name]; holder != nil && p.inside(holder.graph, s.graph) {
		delete(p.holders, name)
		holder.Rename(name + "_1")
		p.holders[holder.Name] = holder
	}
}

// enter records v under its name in the text.
func (p *parser) enter(s *scope, name string, v *Value) {
	s.values[name] = v
	p.holders[v.Name] = v
	if d, ok := s.types[name]; ok {
		v.Type = d.typ
	}
}

// input = [ type ] name [ "=" tensor ]
func (p *parser) input(s *scope) {
	t := p.optionalType()
	pos, name := p.tok.pos, p.name("the name of an input")
	p.claim(s, name, pos)
	if p.err != nil {
		return
	}
	v := s.graph.AddInput(name, t)
	p.enter(s, name, v)
	if p.accept("=") {
		if k := p.elements(t, pos); k != nil {
			s.graph.SetDefault(v, k)
		}
	}
}

// outputs reads the output list. The values are defined later; the types are kept.
func (p *parser) outputs(s *scope) []token {
	var names []token
	p.expect("(")
	p.items(")", func() {
		pos, typed := p.tok.pos, p.atType()
		t := p.optionalType()
		name := p.tok
		p.name("the name of an output")
		names = append(names, name)
		if typed {
			p.declareType(s, name.text, t, pos)
		}
	})
	return names
}

func (p *parser) declareType(s *scope, name string, t Type, pos int) {
	if old, ok := s.types[name]; ok && !old.typ.Equal(t) {
		p.fail(pos, "value %s is given type %s and, before, %s", quote(name), t, old.typ)
	}
	s.types[name] = typeDecl{t, pos}
}

// declared = [ type ] name [ "=" tensor ]: an initializer, the default of an input, or the type of a node output.
func (p *parser) declared(s *scope) {
	typePos := p.tok.pos
	typed := p.atType()
	t := p.optionalType()
	pos, name := p.tok.pos, p.name("a value or its type")
	if !p.accept("=") {
		if typed {
			p.declareType(s, name, t, typePos)
		}
		return
	}
	k := p.elements(t, pos)
	if k == nil {
		return
	}
	if v := s.values[name]; v != nil && v.input && v.constant == nil {
		s.graph.SetDefault(v, k)
		return
	}
	p.claim(s, name, pos)
	if p.err == nil {
		v := s.graph.AddInitializer(name, k)
		s.values[name], p.holders[v.Name] = v, v
	}
}

// node = [ "[" label "]" ] outputs "=" operator [ attributes ] "(" inputs ")" [ attributes ]
func (p *parser) node(s *scope) {
	doc, label := p.tok.doc, ""
	if p.accept("[") {
		label = p.name("the name of the node")
		p.expect("]")
	}
	outputs := p.operands()
	p.expect("=")
	pos := p.tok.pos
	domain, op := p.operator()
	var attrs []Attr
	if p.is("<") {
		attrs = p.attrs(s)
	}
	p.expect("(")
	inputs := p.resolve(s, p.operands())
	p.expect(")")
	if attrs == nil && p.is("<") {
		attrs = p.attrs(s)
	}
	if p.err == nil && op == "" {
		p.fail(pos, "expected the name of an operator")
	}
	names := make([]string, len(outputs))
	for i, o := range outputs {
		if names[i] = o.text; o.text != "" {
			p.claim(s, o.text, o.pos)
		}
	}
	if p.err != nil {
		return
	}
	n := s.graph.AddNode(domain, op, inputs, names, attrs...)
	n.Name, n.Scope = splitLabel(label)
	n.Doc = doc
	for i, o := range outputs {
		if o.text == "" {
			continue
		}
		if s.values[o.text] != nil {
			p.fail(o.pos, "value %s is defined twice", quote(o.text))
			return
		}
		p.enter(s, o.text, n.outputs[i])
	}
}

// operands reads names separated by commas; "" or nothing stands for a missing one. The list may be empty.
func (p *parser) operands() []token {
	var names []token
	for p.err == nil {
		switch {
		case p.tok.kind == tokenIdent || p.tok.kind == tokenString:
			names = append(names, p.tok)
			p.advance()
		case p.is(","):
			names = append(names, token{pos: p.tok.pos})
		default:
			return names
		}
		if !p.accept(",") {
			return names
		}
	}
	return names
}

func (p *parser) resolve(s *scope, names []token) []*Value {
	inputs := make([]*Value, len(names))
	for i, t := range names {
		if t.text == "" {
			continue
		}
		if inputs[i] = s.find(t.text); inputs[i] == nil {
			p.fail(t.pos, "value %s is not defined here", quote(t.text))
		}
	}
	return inputs
}

// operator = { name "." } name: the domain, and the operator.
func (p *parser) operator() (domain, op string) {
	op = p.name("the name of an operator")
	for dot := ""; p.accept("."); dot = "." {
		domain += dot + op
		op = p.name("the name of an operator")
	}
	if domain == "ai.onnx" {
		domain = ""
	}
	return domain, op
}
