package op

import (
	"cmp"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/asdlc/asdlc/graph"
)

// Schema is an operator from one opset version on, until a row of the same name with a higher version.
// Versions that differ only in admitted element types or wording may share a row, which then admits the types of all.
type Schema struct {
	Domain, Name string
	Since        int
	Inputs       []Param
	Outputs      []Param
	Attrs        []AttrSpec
	Infer        func(*Context) error // sets the shapes (and content) of the outputs; element types are set before, from the type variables
	Doc          string
}

// Option tells how often a parameter may occur.
type Option uint8

// Options.
const (
	Single   Option = iota // exactly once
	Optional               // may be missing
	Variadic               // the last parameter, any number of times, at least once
	AnyCount               // the last parameter, any number of times, also none
)

// Param is a formal input or output.
type Param struct {
	Name   string
	Option Option
	Var    string // type variable: parameters of the same variable have the same element type; "" for none
	Types  Elems  // element types admitted
}

// AttrSpec is a formal attribute. Default has Kind AttrUndefined where there is none.
type AttrSpec struct {
	Name     string
	Kind     graph.AttrKind
	Required bool
	Default  graph.Attr
}

// Elems is a set of element types: bit e is set for element type e.
type Elems uint32

// Has reports whether e is in the set.
func (s Elems) Has(e graph.Elem) bool { return e < 32 && s&(1<<e) != 0 }

// String lists the names, or says "any".
func (s Elems) String() string {
	if s == anyElem {
		return "any"
	}
	var names []string
	for e := graph.Elem(1); e <= graph.BFloat16; e++ {
		if s.Has(e) {
			names = append(names, e.String())
		}
	}
	return strings.Join(names, "|")
}

func (s Elems) only() (graph.Elem, bool) {
	for e := graph.Elem(1); e <= graph.BFloat16; e++ {
		if s == 1<<e {
			return e, true
		}
	}
	return graph.Undefined, false
}

// Sets of element types. bfloat16 is admitted in every version, though ONNX adds it with opset 13.
const (
	boolElem  Elems = 1 << graph.Bool
	int64Elem Elems = 1 << graph.Int64
	int32Elem Elems = 1 << graph.Int32
	indexElem       = int32Elem | int64Elem
	floatElem Elems = 1<<graph.Float16 | 1<<graph.Float32 | 1<<graph.Float64 | 1<<graph.BFloat16
	signed    Elems = 1<<graph.Int8 | 1<<graph.Int16 | 1<<graph.Int32 | 1<<graph.Int64
	unsigned  Elems = 1<<graph.Uint8 | 1<<graph.Uint16 | 1<<graph.Uint32 | 1<<graph.Uint64
	intElem         = signed | unsigned
	numElem         = intElem | floatElem
	byteElem  Elems = 1<<graph.Int8 | 1<<graph.Uint8
	fixedElem       = numElem | boolElem // all but strings
	wideElem        = floatElem | 1<<graph.Int32 | 1<<graph.Int64 | 1<<graph.Uint32 | 1<<graph.Uint64
	anyElem         = numElem | boolElem | 1<<graph.String
)

// Formal parameters, for the tables.

func one(name, typeVar string, types Elems) Param { return Param{name, Single, typeVar, types} }
func opt(name, typeVar string, types Elems) Param { return Param{name, Optional, typeVar, types} }
func many(name, typeVar string, types Elems) Param {
	return Param{name, Variadic, typeVar, types}
}

func anyCount(name, typeVar string, types Elems) Param {
	return Param{name, AnyCount, typeVar, types}
}

// Formal attributes, for the tables: with a default (int, float, str), required (need), without either (may).

func attrInt(name string, v int64) AttrSpec {
	return AttrSpec{Name: name, Kind: graph.AttrInt, Default: graph.I(name, v)}
}

func attrFloat(name string, v float32) AttrSpec {
	return AttrSpec{Name: name, Kind: graph.AttrFloat, Default: graph.F(name, v)}
}

func attrStr(name, v string) AttrSpec {
	return AttrSpec{Name: name, Kind: graph.AttrString, Default: graph.S(name, v)}
}

func need(name string, kind graph.AttrKind) AttrSpec {
	return AttrSpec{Name: name, Kind: kind, Required: true}
}

func may(name string, kind graph.AttrKind) AttrSpec { return AttrSpec{Name: name, Kind: kind} }

// index maps an operator to its rows, newest first.
type opID struct{ domain, name string }

var index = sync.OnceValue(func() map[opID][]*Schema {
	rows := map[opID][]*Schema{}
	for _, table := range tables {
		for i := range table {
			s := &table[i]
			id := opID{s.Domain, s.Name}
			rows[id] = append(rows[id], s)
		}
	}
	for _, forms := range rows {
		slices.SortFunc(forms, func(a, b *Schema) int { return cmp.Compare(b.Since, a.Since) })
	}
	return rows
})

// Lookup returns the newest row of the operator that is valid at the opset version. The domain "ai.onnx" is "".
func Lookup(domain, name string, opset int) (*Schema, bool) {
	for _, s := range index()[opID{standardDomain(domain), name}] {
		if s.Since <= opset {
			return s, true
		}
	}
	return nil, false
}

// Schemas walks all rows, ordered by domain, name and version.
func Schemas() iter.Seq[*Schema] {
	var all []*Schema
	for _, forms := range index() {
		all = append(all, forms...)
	}
	slices.SortFunc(all, func(a, b *Schema) int {
		return cmp.Or(cmp.Compare(a.Domain, b.Domain), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Since, b.Since))
	})
	return slices.Values(all)
}

func standardDomain(domain string) string {
	if domain == "ai.onnx" {
		return ""
	}
	return domain
}

// attr returns the formal attribute of that name.
func (s *Schema) attr(name string) (AttrSpec, bool) {
	for _, a := range s.Attrs {
		if a.Name == name {
			return a, true
		}
	}
	return AttrSpec{}, false
}

// param returns the formal parameter for position i; a variadic one stands for all further positions.
func param(formal []Param, i int) (Param, bool) {
	if i < len(formal) {
		return formal[i], true
	}
	if k := len(formal) - 1; k >= 0 && (formal[k].Option == Variadic || formal[k].Option == AnyCount) {
		return formal[k], true
	}
	return Param{}, false
}
