package graph

import (
	"fmt"
	"math"
	"strconv"
)

// maxNesting bounds graphs within graphs, against hostile text.
const maxNesting = 100

// ParseOptions tells how to read text.
type ParseOptions struct {
	// Store holds the constants that the text refers to by location.
	Store Store
}

// Parse reads the text form of a model (see [Print]). Values must be defined before they are used. A name that is used again
// in a nested graph gets a suffix there. The model passes [Verify]. Errors are of type *SyntaxError or come from Verify.
func Parse(src string) (*Model, error) { return ParseWith(src, ParseOptions{}) }

// ParseWith is Parse with options.
func ParseWith(src string, opts ParseOptions) (*Model, error) {
	p := &parser{scan: scanner{src: src}, opts: opts, parents: map[*Graph]*Graph{}}
	p.advance()
	m := p.model()
	if p.err != nil {
		return nil, p.err
	}
	if err := Verify(m); err != nil {
		return nil, err
	}
	return m, nil
}

// parser is a recursive-descent parser with one token of lookahead. After the first error every token is the end of the
// text, so that the functions need not check.
type parser struct {
	scan    scanner
	tok     token
	opts    ParseOptions
	err     error
	depth   int
	holders map[string]*Value // of the root graph being read: who has which name
	parents map[*Graph]*Graph // the graph around each nested one; the owner is known only later
}

func (p *parser) advance() {
	if p.err != nil {
		return
	}
	t, problem := p.scan.next()
	p.tok = t
	if problem != "" {
		p.fail(t.pos, "%s", problem)
	}
}

func (p *parser) fail(pos int, format string, args ...any) {
	if p.err == nil {
		p.err = newSyntaxError(p.scan.src, pos, fmt.Sprintf(format, args...))
		p.tok = token{pos: pos}
	}
}

func (p *parser) expected(what string) {
	p.fail(p.tok.pos, "expected %s, found %s", what, p.tok)
}

// is reports whether the token is the punctuation s.
func (p *parser) is(s string) bool { return p.tok.kind == tokenPunct && p.tok.text == s }

// accept skips the punctuation s, if it is next.
func (p *parser) accept(s string) bool {
	if p.is(s) {
		p.advance()
		return true
	}
	return false
}

func (p *parser) expect(s string) {
	if !p.accept(s) {
		p.expected(quote(s))
	}
}

// items reads a list, separated by commas and possibly empty, up to and with the closing punctuation.
func (p *parser) items(closing string, item func()) {
	if p.accept(closing) {
		return
	}
	for p.err == nil {
		item()
		if !p.accept(",") {
			break
		}
	}
	p.expect(closing)
}

func (p *parser) quotedString() string {
	if p.tok.kind != tokenString {
		p.expected("a string in quotes")
		return ""
	}
	s := p.tok.text
	p.advance()
	return s
}

// name reads an identifier or a quoted name.
func (p *parser) name(what string) string {
	if p.tok.kind != tokenIdent && p.tok.kind != tokenString {
		p.expected(what)
		return ""
	}
	s := p.tok.text
	p.advance()
	return s
}

func (p *parser) integer() int64 {
	n, err := strconv.ParseInt(p.tok.text, 10, 64)
	if p.tok.kind != tokenNumber || err != nil {
		p.expected("an integer")
		return 0
	}
	p.advance()
	return n
}

// model = header graph function*
func (p *parser) model() *Model {
	m := &Model{IRVersion: 8, Opsets: map[string]int64{}, Metadata: map[string]string{}}
	p.header(map[string]func(){
		"ir_version":       func() { m.IRVersion = p.integer() },
		"opset_import":     func() { m.Opsets = p.opsets() },
		"producer_name":    func() { m.Producer = p.quotedString() },
		"producer_version": func() { m.Version = p.quotedString() },
		"doc_string":       func() { m.Doc = p.quotedString() },
		"metadata_props":   func() { p.metadata(m) },
		"domain":           func() { p.quotedString() },
		"model_version":    func() { p.integer() },
	})
	doc := p.tok.doc
	m.Graph = NewGraph(p.name("the name of the graph"))
	m.Graph.Doc = doc
	p.holders = map[string]*Value{}
	p.graph(m.Graph, nil)
	for p.err == nil && p.tok.kind != tokenEOF {
		m.Functions = append(m.Functions, p.function())
	}
	return m
}

// header = "<" key ":" value, ... ">"
func (p *parser) header(keys map[string]func()) {
	p.expect("<")
	p.items(">", func() {
		pos, key := p.tok.pos, p.name("a header key")
		p.expect(":")
		read := keys[key]
		if read == nil {
			p.fail(pos, "unknown header key %s", key)
			return
		}
		read()
	})
}

func (p *parser) opsets() map[string]int64 {
	opsets := map[string]int64{}
	p.expect("[")
	p.items("]", func() {
		pos, domain := p.tok.pos, p.quotedString()
		p.expect(":")
		version := p.integer()
		if version < 1 || version > math.MaxInt32 {
			p.fail(pos, "opset version %d", version)
		}
		if domain == "ai.onnx" {
			domain = ""
		}
		if _, dup := opsets[domain]; dup {
			p.fail(pos, "domain %q occurs twice", domain)
		}
		opsets[domain] = version
	})
	return opsets
}

func (p *parser) metadata(m *Model) {
	p.expect("[")
	p.items("]", func() {
		pos, key := p.tok.pos, p.quotedString()
		p.expect(":")
		if _, dup := m.Metadata[key]; dup {
			p.fail(pos, "metadata key %q occurs twice", key)
		}
		m.Metadata[key] = p.quotedString()
	})
}

// function = header name [ "<" attribute, ... ">" ] body
func (p *parser) function() *Function {
	f := &Function{}
	p.header(map[string]func(){
		"domain":       func() { f.Domain = p.quotedString() },
		"opset_import": func() { f.Opsets = p.opsets() },
		"doc_string":   func() { f.Doc = p.quotedString() },
	})
	f.Name = p.name("the name of the function")
	f.Body = NewGraph(f.Name)
	p.holders = map[string]*Value{}
	if p.accept("<") {
		p.items(">", func() {
			pos, name := p.tok.pos, p.name("the name of an attribute")
			if f.hasAttr(name) {
				p.fail(pos, "attribute %s is declared twice", name)
			}
			if p.is(":") || p.is("=") {
				f.Defaults = append(f.Defaults, p.attrValue(name, &scope{graph: f.Body}))
			} else {
				f.Attrs = append(f.Attrs, name)
			}
		})
	}
	p.graph(f.Body, nil)
	return f
}
