package normalize

import (
	"maps"
	"slices"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/pass"
)

// Place tells where a parameter goes in the file. A parameter that is in no place goes under its own name.
type Place struct {
	Param, File string
	Transposed  bool
}

// Restore makes a copy of a file's model that has room for trained parameters of the given names: what own separates is
// separate in it, and all else is as in the file. The places tell which tensors of the copy have other names than the parameters;
// a parameter that own tied has two.
func Restore(file *graph.Model, names []string) (*graph.Model, []Place, error) {
	o, _, err := readOptions(file, names)
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
			places = append(places, Place{name, t.copy.Name, t.transposed})
		}
	}
	for _, v := range m.Graph.Initializers() {
		if name, ok := param[v]; ok && !copies[v] && slices.Contains(names, name) {
			places = append(places, Place{Param: name, File: v.Name})
		}
	}
	return m, places, nil
}

// Named is a copy of a file's model in which parameters are separate, tied and named as in a step graph with parameters of
// the given names.
func Named(file *graph.Model, names []string) (*graph.Model, error) {
	_, m, err := readOptions(file, names)
	return m, err
}

// readOptions finds out from the names of parameters which options of own led to them, and applies these to a copy.
func readOptions(file *graph.Model, names []string) (best pass.Options, made *graph.Model, err error) {
	wanted := map[string]bool{}
	for _, n := range names {
		wanted[n] = true
	}
	least := -1
	for _, o := range []pass.Options{{Tie: "auto"}, {Tie: "none"}, {Tie: "auto", KeepTies: true}, {Tie: "none", KeepTies: true}} {
		m, c := graph.Clone(file), &pass.Ctx{Options: o, Report: &pass.Report{}}
		if err := own(c, m); err != nil {
			return best, nil, err
		}
		if misses := missing(m, c.Report, wanted); least < 0 || misses < least {
			least, best, made = misses, o, m
		}
		if least == 0 {
			break
		}
	}
	return best, made, nil
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
