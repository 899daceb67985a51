package graph

import (
	"encoding/binary"
	"math"
	"slices"
	"strconv"
	"strings"
)

// atType reports whether a type comes next. Names that look like types are in quotes.
func (p *parser) atType() bool {
	return p.tok.kind == tokenIdent && isTypeWord(p.tok.text) && !isFloatWord(p.tok.text)
}

// optionalType = [ element-type [ "[" dims "]" ] ]. Without brackets it is a scalar, with empty ones of unknown shape.
func (p *parser) optionalType() Type {
	if !p.atType() {
		return Type{}
	}
	e, ok := ParseElem(p.tok.text)
	if !ok && p.tok.text != Undefined.String() || ok && !e.Valid() {
		p.fail(p.tok.pos, "values of type %s are not supported", p.tok.text)
		return Type{}
	}
	p.advance()
	t := Type{Elem: e, Ranked: true}
	if !p.accept("[") {
		return t
	}
	if p.accept("]") {
		return UnrankedType(e)
	}
	p.items("]", func() { t.Dims = append(t.Dims, p.dim()) })
	return t
}

// dim = size | name | "?"
func (p *parser) dim() Dim {
	switch {
	case p.accept("?"):
		return UnknownDim
	case p.tok.kind == tokenIdent || p.tok.kind == tokenString:
		return Sym(p.name("a dimension"))
	}
	pos, n := p.tok.pos, p.integer()
	if n < 0 {
		p.fail(pos, "negative dimension %d", n)
	}
	return Known(n)
}

// attrs = "<" attribute, ... ">"
func (p *parser) attrs(s *scope) []Attr {
	attrs := []Attr{}
	seen := map[string]bool{}
	p.expect("<")
	p.items(">", func() {
		pos, name := p.tok.pos, p.name("the name of an attribute")
		if seen[name] {
			p.fail(pos, "attribute %s occurs twice", name)
		}
		seen[name] = true
		attrs = append(attrs, p.attrValue(name, s))
	})
	return attrs
}

// attrValue = [ ":" kind ] "=" ( "@" name | value | "[" value, ... "]" ), after the attribute's name. Without a kind the
// value tells it.
func (p *parser) attrValue(name string, s *scope) Attr {
	a := Attr{Name: name}
	if p.accept(":") {
		k := slices.Index(attrKinds[:], p.tok.text)
		if p.tok.kind != tokenIdent || k < 1 {
			p.expected("the kind of an attribute (" + strings.Join(nonEmpty(attrKinds[:]), ", ") + ")")
			return a
		}
		a.Kind = AttrKind(k)
		p.advance()
	}
	p.expect("=")
	switch pos := p.tok.pos; {
	case p.accept("@"):
		a.Ref = p.name("the name of an attribute of the function")
		if a.Kind == AttrUndefined {
			p.fail(pos, "attribute %s needs its kind: %s: int = @%s", name, name, a.Ref)
		}
	case p.accept("["):
		if a.Kind != AttrUndefined && a.Kind.item() == AttrUndefined {
			p.fail(pos, "attribute %s is a list, but its kind is %s", name, a.Kind)
		}
		p.items("]", func() { p.listItem(&a, s) })
		if a.Kind == AttrUndefined {
			p.fail(pos, "an empty list needs its kind: %s: ints = []", name)
		}
	default:
		if a.Kind == AttrUndefined {
			a.Kind = p.valueKind()
		}
		p.single(&a, s)
	}
	return a
}

func nonEmpty(all []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return s == "" })
}

// listKinds maps the kind of an item to that of a list.
var listKinds = map[AttrKind]AttrKind{
	AttrFloat: AttrFloats, AttrInt: AttrInts, AttrString: AttrStrings, AttrGraph: AttrGraphs,
}

// item is the kind of a list's items; AttrUndefined if k is no list.
func (k AttrKind) item() AttrKind {
	for item, list := range listKinds {
		if list == k {
			return item
		}
	}
	return AttrUndefined
}

// valueKind guesses the kind of the value that comes next.
func (p *parser) valueKind() AttrKind {
	switch {
	case p.tok.kind == tokenString:
		return AttrString
	case p.tok.kind == tokenNumber:
		if _, err := strconv.ParseInt(p.tok.text, 10, 64); err == nil {
			return AttrInt
		}
		return AttrFloat
	case p.atType():
		return AttrTensor
	case p.tok.kind == tokenIdent && isFloatWord(p.tok.text):
		return AttrFloat
	case p.tok.kind == tokenIdent:
		return AttrGraph
	}
	return AttrUndefined
}

// listItem reads one value and appends it to a.
func (p *parser) listItem(a *Attr, s *scope) {
	kind := a.Kind.item()
	if a.Kind == AttrUndefined {
		kind = p.valueKind()
		a.Kind = listKinds[kind]
	}
	if listKinds[kind] == AttrUndefined {
		p.expected("an item of a list of floats, ints, strings or graphs")
		return
	}
	one := Attr{Kind: kind}
	p.single(&one, s)
	switch kind {
	case AttrFloat:
		a.Floats = append(a.Floats, one.F)
	case AttrInt:
		a.Ints = append(a.Ints, one.I)
	case AttrString:
		a.Strings = append(a.Strings, one.S)
	case AttrGraph:
		if one.G != nil {
			a.Graphs = append(a.Graphs, one.G)
		}
	}
}

// single reads a value of kind a.Kind into a.
func (p *parser) single(a *Attr, s *scope) {
	switch a.Kind {
	case AttrFloat:
		a.F = math.Float32frombits(uint32(p.floatBits(32)))
	case AttrInt:
		a.I = p.integer()
	case AttrString:
		a.S = p.quotedString()
	case AttrTensor:
		pos := p.tok.pos
		t := p.optionalType()
		if p.tok.kind == tokenIdent || p.tok.kind == tokenString {
			p.advance() // a tensor's name means nothing here
		}
		p.accept("=")
		a.T = p.elements(t, pos)
	case AttrGraph:
		a.G = p.nested(s)
	default:
		p.expected("the value of an attribute")
	}
}

func (p *parser) nested(s *scope) *Graph {
	if p.depth++; p.depth > maxNesting {
		p.fail(p.tok.pos, "graphs nested more than %d deep", maxNesting)
		return nil
	}
	doc := p.tok.doc
	sub := s.graph.NewNested(p.name("the name of a graph"))
	sub.Doc = doc
	p.parents[sub] = s.graph
	p.graph(sub, s)
	p.depth--
	return sub
}

// elements = "{" number, ... "}" | "[" key ":" value, ... "]": the content of a tensor of type t, which stands at pos.
func (p *parser) elements(t Type, pos int) *Tensor {
	shape, ok := t.Static()
	if p.err != nil || !ok || !t.Elem.Valid() {
		p.fail(pos, "expected a type with known dimensions before the elements, found %s", t)
		return nil
	}
	want, err := CountOf(shape, t.Elem.Size())
	if err != nil {
		p.fail(pos, "%v", err)
		return nil
	}
	if p.accept("[") {
		return p.stored(t, pos)
	}
	size := t.Elem.Size()
	raw := make([]byte, 0, min(want, int64(len(p.scan.src)))*int64(size)) // each element takes a byte of text at least
	p.expect("{")
	p.items("}", func() { raw = p.element(raw, t.Elem) })
	if p.err == nil && int64(len(raw)/size) != want {
		p.fail(pos, "a tensor of type %s needs %d elements, not %d", t, want, len(raw)/size)
	}
	if p.err != nil {
		return nil
	}
	k, err := RawTensor(t.Elem, shape, raw)
	if err != nil {
		p.fail(pos, "%v", err)
	}
	return k
}

// stored reads a reference to the store, after "[".
func (p *parser) stored(t Type, pos int) *Tensor {
	location := ""
	p.items("]", func() {
		key := p.quotedString()
		p.expect(":")
		if value := p.quotedString(); key == "location" {
			location = value
		}
	})
	k := p.opts.Store[location]
	if p.err == nil && (k == nil || !k.Type().Equal(t)) {
		p.fail(pos, "the store has no tensor of type %s at %s", t, quote(location))
	}
	return k
}

// element appends one number to raw.
func (p *parser) element(raw []byte, e Elem) []byte {
	bits := 8 * e.Size()
	var u uint64
	switch {
	case e == Float32 || e == Float64:
		u = p.floatBits(bits)
	case e == Bool:
		u = p.uint(1)
	case e == Int8 || e == Int16 || e == Int32 || e == Int64:
		n, err := strconv.ParseInt(p.tok.text, 10, bits)
		if p.tok.kind != tokenNumber || err != nil {
			p.expected("an element of type " + e.String())
		}
		u = uint64(n)
		p.advance()
	default:
		u = p.uint(bits)
	}
	switch e.Size() {
	case 1:
		return append(raw, byte(u))
	case 2:
		return binary.LittleEndian.AppendUint16(raw, uint16(u))
	case 4:
		return binary.LittleEndian.AppendUint32(raw, uint32(u))
	}
	return binary.LittleEndian.AppendUint64(raw, u)
}

func (p *parser) uint(bits int) uint64 {
	u, err := strconv.ParseUint(p.tok.text, 10, bits)
	if p.tok.kind != tokenNumber || err != nil {
		p.expected("an unsigned integer of " + strconv.Itoa(bits) + " bits")
	}
	p.advance()
	return u
}

// floatBits reads a number of 32 or 64 bits.
func (p *parser) floatBits(bits int) uint64 {
	word := p.tok.kind == tokenIdent && isFloatWord(p.tok.text)
	if p.tok.kind != tokenNumber && !word {
		p.expected("a number")
		return 0
	}
	text := p.tok.text
	if hex, ok := strings.CutPrefix(text, "nan(0x"); ok {
		u, err := strconv.ParseUint(strings.TrimSuffix(hex, ")"), 16, bits)
		if err != nil || !isNaN(u, bits) {
			p.expected("the bits of a NaN")
		}
		p.advance()
		return u
	}
	unsigned, negative := strings.CutPrefix(text, "-")
	if strings.EqualFold(unsigned, "nan") {
		p.advance()
		return plainNaN(negative, bits)
	}
	f, err := strconv.ParseFloat(text, bits)
	if err != nil || strings.ContainsAny(text, "xX_pP") {
		p.expected("a number of " + strconv.Itoa(bits) + " bits")
	}
	p.advance()
	if bits == 32 {
		return uint64(math.Float32bits(float32(f)))
	}
	return math.Float64bits(f)
}

func isNaN(u uint64, bits int) bool {
	if bits == 32 {
		return math.IsNaN(float64(math.Float32frombits(uint32(u))))
	}
	return math.IsNaN(math.Float64frombits(u))
}

func plainNaN(negative bool, bits int) uint64 {
	u, sign := uint64(nan64), uint64(1)<<63
	if bits == 32 {
		u, sign = nan32, 1<<31
	}
	if negative {
		u |= sign
	}
	return u
}
