package graph_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/graphtest"
)

const inlineSource = `<ir_version: 9, opset_import: ["" : 17, "asdl" : 1]>
main (float[2] x, bool c) => (float[2] y)
{
   ["call@top"] y = asdl.F <gain: float = 2> (x, "", c)
   last = asdl.F <gain: float = 2, mode: string = "m"> (y, x, c)
}
<domain: "asdl", opset_import: ["" : 17]>
F <gain, mode: string = "d", absent> (a, b, c) => (r)
<
   float[2] k = {1, 2}
>
{
   ["scaled"] s = Scale <alpha: float = @gain, how: string = @mode, no: int = @absent> (a, k)
   r = If (c) <else_branch: graph = e () => (e1)
   {
      e1 = Scale <alpha: float = @gain> (s)
   }, then_branch: graph = t () => (t1)
   {
      t1 = Join (s, b, x)
   }>
}
`

// TestInline inlines both calls and compares the result with what it should be.
func TestInline(t *testing.T) {
	m := graphtest.MustParse(t, strings.Replace(inlineSource, "(s, b, x)", "(s, b, a)", 1))
	var inferred []string
	for _, call := range []*graph.Node{m.Graph.First(), m.Graph.Last()} {
		b := &graph.Builder{
			Graph: m.Graph, Model: m, At: call, Prefix: "in/",
			Infer: func(n *graph.Node) error { inferred = append(inferred, n.Op); return nil },
		}
		outs, err := graph.Inline(b, m.Function("asdl", "F"), call)
		if err != nil {
			t.Fatal(err)
		}
		old := call.Out(0)
		outs[0].Type = old.Type
		old.ReplaceUses(outs[0])
		call.Remove()
		outs[0].Rename(old.Name)
	}
	m.Functions = nil
	want := graphtest.MustParse(t, `<ir_version: 9, opset_import: ["" : 17, "asdl" : 1]>
main (float[2] x, bool c) => (float[2] y)
<float[2] "in/k" = {1, 2}, float[2] "in/k_1" = {1, 2}>
{
   ["scaled@top/call"] "in/s" = Scale <alpha: float = 2, how: string = "d"> (x, "in/k")
   ["@top/call"] y = If (c) <else_branch: graph = e () => ("in/e1") { ["@top/call"] "in/e1" = Scale <alpha: float = 2> ("in/s") },
      then_branch: graph = t () => ("in/t1") { ["@top/call"] "in/t1" = Join ("in/s", "", x) }>
   ["scaled@F"] "in/s_1" = Scale <alpha: float = 2, how: string = "m"> (y, "in/k_1")
   ["@F"] last = If (c) <else_branch: graph = e () => ("in/e1_1") { ["@F"] "in/e1_1" = Scale <alpha: float = 2> ("in/s_1") },
      then_branch: graph = t () => ("in/t1_1") { ["@F"] "in/t1_1" = Join ("in/s_1", x, y) }>
}`)
	want.Producer = m.Producer
	graphtest.MustVerify(t, m)
	graphtest.Same(t, m, want)
	if fmt.Sprint(inferred) != "[Scale If Scale If]" {
		t.Errorf("inference was called on %v", inferred)
	}
}

func TestInlineErrors(t *testing.T) {
	const src = `<ir_version: 9, opset_import: ["" : 17, "asdl" : 1]>
	main (x) => (y) { y = asdl.F <k: int = 1> (%s) }
	<domain: "asdl", opset_import: ["" : 17]> F <k> (a, b) => (%s) { r = Foo <k: %s = @k> (a) }`
	cases := []struct{ inputs, output, kind, want string }{
		{"x, x, x", "r", "int", "takes 2 inputs"},
		{"x", "r", "float", "attribute k has kind int, but function asdl.F uses it as float"},
		{"x", "b", "int", "is its input b, which the call leaves out"},
		{"x", "r", "int", ""},
	}
	for _, c := range cases {
		m := graphtest.MustParse(t, fmt.Sprintf(src, c.inputs, c.output, c.kind))
		call := m.Graph.First()
		_, err := graph.Inline(&graph.Builder{Graph: m.Graph, Model: m, At: call}, m.Functions[0], call)
		if c.want == "" && err == nil {
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || !errors.Is(err, graph.ErrInvalid) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

// TestCopyNodesLowersIf copies a branch before its If.
func TestCopyNodesLowersIf(t *testing.T) {
	m := graphtest.MustParse(t, header+`g (bool c, float[2] x) => (y) { a = Neg (x)
		y = If (c) <then_branch: graph = t () => (r) <float[1] k = {1}> { p = Add (a, k)  r = Mul (p, x) }> }`)
	n := m.Graph.Last()
	branch := n.Graphs()[0]
	vals := map[*graph.Value]*graph.Value{}
	graph.CopyNodes(&graph.Builder{Graph: m.Graph, Model: m, At: n, Prefix: "then/", Scope: "if"}, branch, vals)
	n.Out(0).ReplaceUses(vals[branch.Outputs()[0]])
	n.Remove()
	want := graphtest.MustParse(t, header+`g (bool c, float[2] x) => ("then/r") <float[1] "then/k" = {1}> { a = Neg (x)
		["@if"] "then/p" = Add (a, "then/k")  ["@if"] "then/r" = Mul ("then/p", x) }`)
	graphtest.MustVerify(t, m)
	graphtest.Same(t, m, want)
}

func TestEqualTellsTheDifference(t *testing.T) {
	cases := []struct{ old, with, want string }{
		{"ir_version: 9", "ir_version: 10", "IR version"},
		{`"asdl" : 1]>` + "\nmain", `"asdl" : 2]>` + "\nmain", "opset versions"},
		{"main (float[2] x", "main (float[3] x", "float[2] x and float[3] x"},
		{"bool c)", "bool d)", "bool c and bool d"},
		{"call@top", "call@other", "scope: top and other"},
		{`"call@top"`, `"other@top"`, "node: call (asdl.F) and other (asdl.F)"},
		{"gain: float = 2> (x", "gain: float = 3> (x", "attribute gain: 2 and 3"},
		{`(x, "", c)`, `(x, x, c)`, "input 1: - and x"},
		{"float[2] k = {1, 2}", "float[2] k = {1, 3}", "constant of k"},
		{"@mode", "@gain2", ""},
		{`mode: string = "d"`, `mode: string = "e"`, "attribute mode: d and e"},
		{"t1 = Join", "t1 = Joint", "attribute then_branch: node Join -> t1"},
		{"=> (r)", "=> (s)", "output 0: r and s"},
	}
	src := strings.Replace(inlineSource, "(s, b, x)", "(s, b, a)", 1)
	a := graphtest.MustParse(t, src)
	for _, c := range cases {
		other := strings.Replace(strings.Replace(src, c.old, c.with, 1), "bool d) => (float[2] y)\n{\n   [\"call@top\"] y = asdl.F <gain: float = 2> (x, \"\", c)\n   last = asdl.F <gain: float = 2, mode: string = \"m\"> (y, x, c)",
			"bool d) => (float[2] y)\n{\n   [\"call@top\"] y = asdl.F <gain: float = 2> (x, \"\", d)\n   last = asdl.F <gain: float = 2, mode: string = \"m\"> (y, x, d)", 1)
		if other == src {
			t.Fatalf("%q is not in the text", c.old)
		}
		b, err := graph.Parse(other)
		if c.want == "" {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := graph.Equal(a, b); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", c.with, err, c.want)
		}
	}
	if err := graph.Equal(a, a); err != nil {
		t.Error(err)
	}
}
