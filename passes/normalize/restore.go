package normalize

import (
	"maps"
	"slices"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/pass"
)

// Place tells where a parameter goes in the file: a tensor of that name, or an attribute. A parameter that is in no place
// goes under its own name.
type Place struct {
	Param, File string
	Transposed  bool
	Holder      *Holder // or nil
}

// Restore makes a copy of a file's model that has room for trained parameters of the given names: what own separates is
// separate in it, and all else is as in the file. The places tell which tensors of the copy have other names than the parameters;
// a parameter that own tied has two.
func Restore(file *graph.Model, names []string) (*graph.Model, []Place, error) {
	o, err := readOptions(file, names)
	if err != nil {
		return nil, nil, err
	}
	m := graph.Clone(file)
	w, err := newOwner(o, m)
	if err != nil {
		return nil, nil, err
	}
	if !o.KeepTies {
		w.separate()
	}
	var places []Place
	param := map[*graph.Value]string{}
	for _, r := range w.renames() {
		param[r.value] = r.name
	}
	copies := map[*graph.Value]bool{}
	if o.Tie != "none" {
		for _, t := range w.ties() {
			name, ok := param[t.table]
			if !ok {
				name = t.table.Name
			}
			copies[t.copy] = true
			places = append(places, Place{Param: name, File: t.copy.Name, Transposed: t.transposed})
		}
	}
	for _, v := range m.Graph.Initializers() {
		if name, ok := param[v]; ok && !copies[v] && slices.Contains(names, name) {
			places = append(places, Place{Param: name, File: v.Name})
		}
	}
	held := holders(m)
	for _, name := range slices.Sorted(maps.Keys(held)) {
		if slices.Contains(names, name) {
			places = append(places, Place{Param: name, File: name, Holder: held[name]})
		}
	}
	return m, places, nil
}

// Named is a copy of a file's model in which parameters are separate, tied and named as in a step graph with parameters of
// the given names, and in the form that Computable gives it.
func Named(file *graph.Model, names []string, logits string) (*graph.Model, error) {
	o, err := readOptions(file, names)
	if err != nil {
		return nil, err
	}
	m, err := Computable(file, logits)
	if err != nil {
		return nil, err
	}
	return m, own(&pass.Ctx{Options: o, Report: &pass.Report{}}, m)
}

// Computable is a copy of a file's model of standard operators alone, as far as training needs it: without outputs that
// cannot be computed, and with the tensor that logits names, if any, as an output.
func Computable(file *graph.Model, logits string) (*graph.Model, error) {
	m, c := graph.Clone(file), &pass.Ctx{Options: pass.Options{Logits: logits}, Report: &pass.Report{}}
	for _, f := range []func(*pass.Ctx, *graph.Model) error{classical, cut, unmark} {
		if err := f(c, m); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// unmark removes the marks of constants.
func unmark(_ *pass.Ctx, m *graph.Model) error {
	for n := range m.Graph.Nodes() {
		if n.Is(graph.Asdl, graph.TagParam) {
			pass.Replace(n.Out(0), n.In(0))
			n.Remove()
		}
	}
	delete(m.Opsets, graph.Asdl)
	return nil
}

// readOptions finds out from the names of parameters which options of own led to them, on a copy.
func readOptions(file *graph.Model, names []string) (best pass.Options, err error) {
	wanted := map[string]bool{}
	for _, n := range names {
		wanted[n] = true
	}
	least := -1
	for _, o := range []pass.Options{{Tie: "auto"}, {Tie: "none"}, {Tie: "auto", KeepTies: true}, {Tie: "none", KeepTies: true}} {
		m, c := graph.Clone(file), &pass.Ctx{Options: o, Report: &pass.Report{}}
		if err := own(c, m); err != nil {
			return best, err
		}
		if misses := missing(m, c.Report, wanted); least < 0 || misses < least {
			least, best = misses, o
		}
		if least == 0 {
			break
		}
	}
	return best, nil
}

// missing counts the names that m does not have, and those that it has only because own separated them but that are not wanted.
func missing(m *graph.Model, r *pass.Report, wanted map[string]bool) int {
	have := map[string]bool{}
	constantNames(m.Graph, have)
	n := 0
	for name := range maps.Keys(wanted) {
		if !have[name] {
			n++
		}
	}
	for _, o := range r.Origins {
		if o.Merged != "" && !wanted[o.Param] {
			n++
		}
	}
	return n
}

// constantNames collects the names of initializers in use and of Constant nodes, in nested graphs too.
func constantNames(g *graph.Graph, names map[string]bool) {
	for v := range g.Values() {
		if n := v.Def(); n == nil && v.Const() != nil && (len(v.Uses()) > 0 || v.IsOutput()) || n != nil && n.Is("", "Constant") {
			names[v.Name] = true
		}
	}
	for n := range g.Nodes() {
		for _, sub := range n.Graphs() {
			constantNames(sub, names)
		}
	}
}
