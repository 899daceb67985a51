package graph_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/graphtest"
)

const header = `<ir_version: 8, opset_import: ["" : 17, "asdl" : 1]>
`

// canonical is text that Print gives back byte by byte.
const canonical = `<ir_version: 9, opset_import: ["" : 17, "asdl" : 1], producer_name: "asdlc", doc_string: "say \"hi\"",
   metadata_props: ["a": "1",
      "b": "two
lines"]>
#| what the graph does
step (float[N,4] x, float s, int64[] any, "float") => (float[N,"2*M",?] y, r)
<
   float[2,2] "fc1.W" = {1, -2.5e-07, inf, -nan},
   float16[1] h = {15360},
   double e = {1e+300},
   bool[2] m = {1, 0},
   uint64[1] u = {18446744073709551615},
   int8[0] none = {},
   float[] t
>
{
   #| doc
   #|
   #| of the node
   ["fc1/mm@net/fc1"] t, "", r = asdl.Layer <f: float = nan, fs: floats = [1, 0.1], i: int = -1, is: ints = [], k: tensor = int64 {3}, s: string = "a\\b"> (x, "", "fc1.W")
   y = If (m) <else_branch: graph = e1 () => (v)
   {
      v = Identity (t)
   }>
}
`

func TestPrintGivesCanonicalTextBack(t *testing.T) {
	if got := graph.Print(graphtest.MustParse(t, canonical)); got != canonical {
		t.Errorf("got\n%s\nwant\n%s", got, canonical)
	}
}

// TestParseForms reads forms that Print does not write.
func TestParseForms(t *testing.T) {
	m := graphtest.MustParse(t, header+`g (float[2] x = {1, 2}, y) => (a) # a comment
		{ ["n"] a, , b = ai.onnx.Foo (x, , y) <i = 3, f = 2.0, s = "x", t = float[1] nm = {1}, l = [1, 2], n = inf,
		  gs: graphs = [ g1 () => (a1) { a1 = One () }, g2 () => (a1) { a1 = Two () } ]> }`)
	n := m.Graph.First()
	if n.Domain != "" || n.Name != "n" || len(n.Outputs()) != 3 || n.Out(1) != nil || n.In(1) != nil || n.In(2).Name != "y" {
		t.Errorf("node %v", n)
	}
	if n.Int("i", 0) != 3 || n.Float("f", 0) != 2 || n.Str("s", "") != "x" || len(n.IntList("l")) != 2 || n.Float("n", 0) < 1e38 {
		t.Errorf("attributes %v", n.Attrs())
	}
	if m.Graph.Inputs()[0].Const() == nil {
		t.Error("the default of x is lost")
	}
	if subs := n.Graphs(); subs[0].Outputs()[0].Name != "a1" || subs[1].Outputs()[0].Name != "a1_1" {
		t.Error("the second a1 should be called a1_1")
	}
}

// TestOuterNamesHavePrecedence defines a name inside before it is defined outside.
func TestOuterNamesHavePrecedence(t *testing.T) {
	m := graphtest.MustParse(t, header+`g (bool c) => (y) { q = If (c) <then_branch: graph = t () => (y) { y = One () }>  y = Neg (q) }`)
	if got := m.Graph.Outputs()[0].Name; got != "y" {
		t.Errorf("the output is called %s", got)
	}
}

func TestParseErrors(t *testing.T) {
	deep := strings.Repeat("a = If () <g: graph = g () => () { ", 200)
	cases := []struct{ src, want string }{
		{``, `1:1: expected "<"`},
		{`<ir_version: x>`, `1:14: expected an integer, found "x"`},
		{`<colour: 1>`, `unknown header key colour`},
		{`<opset_import: ["" : 0]>`, `opset version 0`},
		{header + `g (x => (y) {}`, `2:6: expected ")", found "=>"`},
		{header + `g (x) => (y) {}`, `2:11: output "y" is not defined`},
		{header + `g (x, x) => () {}`, `2:8: value "x" is defined twice`},
		{header + `g (x) => () { x = Foo () }`, `value "x" is defined twice`},
		{header + `g (x) => () { a, a = Foo () }`, `value "a" is defined twice`},
		{header + `g (x) => () { a = Foo (b) }`, `2:24: value "b" is not defined here`},
		{header + `g (x) => () { a = Foo (a) }`, `value "a" is not defined here`},
		{header + `g (x) => () { = Foo (x) }`, ``},
		{header + `g (x) => () { a = Foo (x }`, `expected ")", found "}"`},
		{header + `g (x) => () { a = Foo <k: colour = 1> (x) }`, `expected the kind of an attribute (float, int,`},
		{header + `g (x) => () { a = Foo <k: int = 1.5> (x) }`, `expected an integer, found "1.5"`},
		{header + `g (x) => () { a = Foo <k: int = [1]> (x) }`, `attribute k is a list, but its kind is int`},
		{header + `g (x) => () { a = Foo <k = []> (x) }`, `an empty list needs its kind`},
		{header + `g (x) => () { a = Foo <k = 1, k = 2> (x) }`, `attribute k occurs twice`},
		{header + `g (x) => () { a = Foo <k: int = @s> (x) }`, `G9`},
		{header + `g (x) => () { a = Foo <k: float = 1e99> (x) }`, `expected a number of 32 bits`},
		{header + `g (x) => () { a = Foo <k: float = 0x1p3> (x) }`, `expected a number`},
		{header + `g (x) => () { a = other.Foo (x) }`, `G11`},
		{header + `g (string x) => () {}`, `values of type string are not supported`},
		{header + `g (seq(float) x) => () {}`, `values of type seq are not supported`},
		{header + `g (float[-1] x) => () {}`, `negative dimension -1`},
		{header + `g (x) => () <float[2] w = {1}> {}`, `2:25: a tensor of type float[2] needs 2 elements, not 1`},
		{header + `g (x) => () <float[N] w = {1}> {}`, `expected a type with known dimensions`},
		{header + `g (x) => () <float[99999999999,99999999999] w = {1}> {}`, `too many elements`},
		{header + `g (x) => () <int8[1] w = {128}> {}`, `expected an element of type int8`},
		{header + `g (x) => () <bool[1] w = {2}> {}`, `expected an unsigned integer of 1 bits`},
		{header + `g (x) => () <float[1] w = ["location": "f"]> {}`, `the store has no tensor`},
		{header + `g (x) => () <float[1] q> {}`, `value "q" is given a type, but not defined`},
		{header + `g (float[2] x) => (int64[2] x) {}`, `value "x" has type float[2] already, not int64[2]`},
		{header + `g () => () { a = Foo <s = "x> () }`, `a string without closing quote`},
		{header + `g () => () { a = Foo () } ;`, `2:27: unexpected character ';'`},
		{header + `g () => () { ` + deep, `nested more than 100 deep`},
	}
	for _, c := range cases {
		_, err := graph.Parse(c.src)
		if c.want == "" {
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || !errors.Is(err, graph.ErrInvalid) {
			t.Errorf("%.120s\ngot %v\nwant %s", strings.TrimPrefix(c.src, header), err, c.want)
		}
	}
}

// FuzzParse looks for panics and for models that do not survive printing.
func FuzzParse(f *testing.F) {
	f.Add(header + `g (float[2] x = {1, nan}) => (a) { ["n@s"] a = Foo (x) <i = 3, t = float[1] {1}, g = g1 () => (a1) { a1 = One () }> }`)
	f.Add(header + "g () => () {}\n<domain: \"asdl\", opset_import: [\"\" : 1]> F <a, b: int = 1> (x) => (y) { y = G <k: int = @a> (x) }")
	f.Fuzz(func(t *testing.T, src string) {
		m, err := graph.Parse(src)
		if err != nil {
			return
		}
		text := graph.Print(m)
		back, err := graph.Parse(text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if err := graph.Equal(back, m); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
	})
}
