package graph

import (
	"errors"
	"strings"
	"testing"
)

// sample is a model with an If, a function and one of everything to break.
const sample = `<ir_version: 9, opset_import: ["" : 17, "asdl" : 1]>
main (float[N,2] x, bool c, float[2] d = {0, 0}) => (float[N,2] y)
<float[2] w = {1, 2}>
{
   a = Add (x, w)
   b = Mul <k: int = 1> (a, w)
   y = If (c) <then_branch: graph = t () => (t1) { t1 = Add (b, w) }, else_branch: graph = e () => (e1) { e1 = asdl.F <s: float = 2> (b) }>
}
<domain: "asdl", opset_import: ["" : 17, "asdl" : 1]>
F <s, q: int = 3> (u) => (v) { v = Scale <by: float = @s> (u) }
`

func parsed(t *testing.T) *Model {
	t.Helper()
	m, err := Parse(sample)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestVerifyFindsViolations breaks each invariant in one or more ways, and wants its number and a name in the message.
func TestVerifyFindsViolations(t *testing.T) {
	node := func(m *Model, i int) *Node {
		n := m.Graph.First()
		for ; i > 0; i-- {
			n = n.Next()
		}
		return n
	}
	cases := []struct {
		name, number, mention string
		breakIt               func(m *Model)
	}{
		{"same name", "G1", "a", func(m *Model) { node(m, 1).Out(0).Name = "a" }},
		{"empty name", "G1", "main", func(m *Model) { node(m, 1).Out(0).Name = "" }},
		{"renamed by hand", "G1", "zz", func(m *Model) { node(m, 1).Out(0).Name = "zz" }},
		{"names of its own", "G1", "t", func(m *Model) { node(m, 2).Graphs()[1].names = newNamer() }},
		{"wrong definition", "G2", "a", func(m *Model) { node(m, 0).Out(0).index = 1 }},
		{"wrong graph", "G2", "b", func(m *Model) { node(m, 1).Out(0).graph = NewGraph("other") }},
		{"wrong owner", "G2", "If", func(m *Model) { node(m, 2).Graphs()[0].owner = nil }},
		{"unlisted input", "G2", "d", func(m *Model) { m.Graph.inputs = m.Graph.inputs[:2] }},
		{"listed twice", "G2", "x", func(m *Model) { m.Graph.inputs = append(m.Graph.inputs, m.Graph.inputs[0]) }},
		{"wrong count", "G2", "main", func(m *Model) { m.Graph.count++ }},
		{"value of a sibling", "G3", "t1", func(m *Model) {
			inner := m.Graph.Last().Graphs()[1].First().Out(0)
			m.Graph.Last().Graphs()[0].First().SetInput(0, inner)
		}},
		{"value of another model", "G3", "other", func(m *Model) {
			node(m, 1).SetInput(0, NewGraph("foreign").AddInput("other", Type{}))
		}},
		{"removed value", "G3", "gone", func(m *Model) {
			gone := m.Graph.AddInput("gone", Type{})
			m.Graph.RemoveValue(gone)
			node(m, 1).SetInput(0, gone)
		}},
		{"missing use", "G4", "w", func(m *Model) { w := m.Graph.Find("w"); w.uses = w.uses[1:] }},
		{"use twice", "G4", "w", func(m *Model) { w := m.Graph.Find("w"); w.uses[1] = w.uses[0] }},
		{"untrue use", "G4", "a", func(m *Model) { a := m.Graph.Find("a"); a.uses = append(a.uses, Use{m.Graph.First(), 0}) }},
		{"order", "G5", "a", func(m *Model) { m.Graph.First().MoveBefore(nil) }},
		{"order through a nested graph", "G5", "b", func(m *Model) { node(m, 1).MoveBefore(nil) }},
		{"inner output", "G6", "t1", func(m *Model) { m.Graph.AddOutput(m.Graph.Last().Graphs()[1].Outputs()[0]) }},
		{"output unmarked", "G6", "y", func(m *Model) { m.Graph.Outputs()[0].outputOf = nil }},
		{"no constant", "G7", "w", func(m *Model) { m.Graph.Find("w").constant = nil }},
		{"other shape", "G7", "w", func(m *Model) { m.Graph.Find("w").Type = StaticType(Float32, 3) }},
		{"other element type", "G7", "d", func(m *Model) { m.Graph.Find("d").Type = StaticType(Int32, 2) }},
		{"short constant", "G7", "w", func(m *Model) {
			m.Graph.Find("w").constant = &Tensor{Elem: Float32, Shape: []int64{2}, Raw: make([]byte, 4)}
		}},
		{"element type", "G8", "a", func(m *Model) { m.Graph.Find("a").Type = TensorType(String) }},
		{"negative", "G8", "a", func(m *Model) { m.Graph.Find("a").Type = TensorType(Float32, Known(-2)) }},
		{"attribute twice", "G9", "k", func(m *Model) { n := node(m, 1); n.attrs = append(n.attrs, n.attrs[0]) }},
		{"attribute without tensor", "G9", "k", func(m *Model) { node(m, 1).attrs[0].Kind = AttrTensor }},
		{"attribute kind", "G9", "k", func(m *Model) { node(m, 1).attrs[0].Kind = 77 }},
		{"two payloads", "G9", "k", func(m *Model) { node(m, 1).attrs[0].T = Scalar(1.0) }},
		{"reference outside a function", "G9", "r", func(m *Model) { node(m, 1).SetAttr(Ref("r", AttrInt, "s")) }},
		{"reference to nothing", "G9", "nope", func(m *Model) { m.Functions[0].Body.First().SetAttr(Ref("r", AttrInt, "nope")) }},
		{"recursion", "G10", "asdl.F -> asdl.F", func(m *Model) {
			b := m.Functions[0].Body
			b.InsertNode(nil, "asdl", "F", []*Value{b.Inputs()[0]}, []string{"again"})
		}},
		{"function twice", "G10", "asdl.F", func(m *Model) { m.Functions = append(m.Functions, m.Functions[0]) }},
		{"no body", "G10", "asdl.F", func(m *Model) { m.Functions[0].Body = nil }},
		{"no opset", "G11", "asdl", func(m *Model) { delete(m.Opsets, "asdl") }},
		{"no opset in a function", "G11", "new.domain", func(m *Model) { m.Functions[0].Body.First().Domain = "new.domain" }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := parsed(t)
			if err := Verify(m); err != nil {
				t.Fatal(err)
			}
			c.breakIt(m)
			err := Verify(m)
			if err == nil || !strings.Contains(err.Error(), c.number+": ") || !strings.Contains(err.Error(), c.mention) {
				t.Errorf("got %v, want %s about %s", err, c.number, c.mention)
			}
			if !errors.Is(err, ErrInvalid) {
				t.Error("the error is not of kind ErrInvalid")
			}
		})
	}
}

func TestVerifyLimitsItself(t *testing.T) {
	m := NewModel(17)
	for range 100 {
		m.Graph.AddInput("x", TensorType(Float32, Known(-1)))
	}
	if n := strings.Count(Verify(m).Error(), "G8"); n != maxViolations {
		t.Errorf("%d violations listed, want %d", n, maxViolations)
	}
}

func TestSortNamesTheCycle(t *testing.T) {
	m := parsed(t)
	first := m.Graph.First()
	first.SetInput(0, first.Next().Out(0)) // a needs b, which needs a
	err := Sort(m.Graph)
	if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "Add -> a -> Mul -> b -> Add -> a") &&
		!strings.Contains(err.Error(), "Mul -> b -> Add -> a -> Mul -> b") {
		t.Errorf("got %v", err)
	}
	n := m.Graph.Last()
	first.SetInput(0, nil)
	n.Graphs()[0].First().SetInput(0, n.Out(0)) // the If needs itself, from inside
	if err := Sort(m.Graph); err == nil || !strings.Contains(err.Error(), "If -> y -> If -> y") {
		t.Errorf("got %v", err)
	}
}

func TestRemovedAttributeTakesItsGraphAlong(t *testing.T) {
	m := parsed(t)
	n := m.Graph.Last()
	b := m.Graph.Find("b")
	n.RemoveAttr("then_branch")
	n.SetAttr(I("else_branch", 1))
	if err := Verify(m); err != nil {
		t.Error(err)
	}
	if len(b.Uses()) != 0 || m.Graph.NameTaken("t1") {
		t.Errorf("uses %v, t1 taken %v after the nested graphs are gone", b.Uses(), m.Graph.NameTaken("t1"))
	}
}

func TestMovedGraphSurvives(t *testing.T) {
	m := parsed(t)
	old := m.Graph.Last()
	attr, _ := old.Attr("then_branch")
	moved := m.Graph.InsertNode(nil, "", "If", old.Inputs(), []string{"z"}, attr)
	old.RemoveAttr("then_branch")
	if err := Verify(m); err != nil {
		t.Error(err)
	}
	if got := moved.Graphs()[0].Len(); got != 1 {
		t.Errorf("the moved graph has %d nodes", got)
	}
}
