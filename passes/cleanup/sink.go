package cleanup

import (
	"slices"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/pass"
)

// sink moves nodes all of whose uses are inside of one branch of one If into that branch, users first, so that chains
// follow. Branches are treated in turn, so that nodes come to lie as deep as they can. Nothing is moved into a loop. It reports whether anything moved.
func sink(g *graph.Graph) bool {
	s := &sinker{lists: map[*graph.Value][]*graph.Graph{}}
	s.collect(g)
	s.graph(g)
	return s.moved
}

// sinker knows which graphs list a value as an output.
type sinker struct {
	lists map[*graph.Value][]*graph.Graph
	moved bool
}

func (s *sinker) collect(g *graph.Graph) {
	for _, v := range g.Outputs() {
		s.lists[v] = append(s.lists[v], g)
	}
	for n := range g.Nodes() {
		for _, sub := range n.Graphs() {
			s.collect(sub)
		}
	}
}

func (s *sinker) graph(g *graph.Graph) {
	for n := range g.Backward() {
		if pass.Declares(n) {
			continue
		}
		if to := s.onlyBranch(g, n); to != nil {
			s.move(n, to)
		}
	}
	for n := range g.Nodes() {
		for _, sub := range n.Graphs() {
			s.graph(sub)
		}
	}
}

// onlyBranch is the branch of an If of g that has all uses of n, or nil.
func (s *sinker) onlyBranch(g *graph.Graph, n *graph.Node) *graph.Graph {
	var only *graph.Graph
	in := func(user *graph.Graph) bool {
		to := branchOf(g, user)
		if to == nil || only != nil && only != to {
			return false
		}
		only = to
		return true
	}
	for _, v := range n.Outputs() {
		if v == nil {
			continue
		}
		for _, u := range v.Uses() {
			if !in(u.Node.Graph()) {
				return nil
			}
		}
		for _, list := range s.lists[v] {
			if !in(list) {
				return nil
			}
		}
	}
	return only
}

// branchOf is the branch of an If of g that is or holds the graph user; nil if user is g itself, or in a loop.
func branchOf(g, user *graph.Graph) *graph.Graph {
	for user != nil && user != g {
		owner := user.Owner()
		if owner == nil {
			return nil
		}
		if owner.Graph() == g {
			if owner.Is("", "If") {
				return user
			}
			return nil
		}
		user = owner.Graph()
	}
	return nil
}

// move makes n the first node of branch to.
func (s *sinker) move(n *graph.Node, to *graph.Graph) {
	names := make([]string, len(n.Outputs()))
	for i, v := range n.Outputs() {
		if v != nil {
			names[i] = v.Name
		}
	}
	w := to.InsertNode(to.First(), n.Domain, n.Op, slices.Clone(n.Inputs()), names, n.Attrs()...) // nested graphs move on
	w.Name, w.Scope, w.Doc = n.Name, n.Scope, n.Doc
	for i, v := range n.Outputs() {
		if v == nil {
			continue
		}
		u := w.Out(i)
		u.Type, u.Content = v.Type, v.Content
		v.ReplaceUses(u)
		pass.TakeName(v, u)
		s.lists[u] = s.lists[v]
		delete(s.lists, v)
	}
	n.Remove()
	s.moved = true
}
