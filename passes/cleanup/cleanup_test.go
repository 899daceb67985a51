package cleanup_test

import (
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/cleanup"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/passes/passtest"
)

const head = `<ir_version: 8, opset_import: ["" : 17, "asdl" : 1]>` + "\n"

// cases are golden, and run before and after.
var cases = []struct{ name, in, want string }{
	{"dead code and initializers", `
g (float[2] x) => (float[2] y)
<float[2] w = {1, 2}>
{
   a = Mul (x, w)
   b = Exp (a)
   y = Relu (x)
}`, `
g (float[2] x) => (float[2] y)
{
   y = Relu (x)
}`},
	{"common subexpressions", `
g (float[2] x) => (float[2] y, float[2] z)
<float one = {0.1}, float uno = {0.1}>
{
   a = Add (x, one)
   b = Add (x, uno)
   c = LeakyRelu <alpha: float = 0.5> (a)
   d = LeakyRelu <alpha: float = 0.5> (b)
   e = LeakyRelu <alpha: float = 0.25> (b)
   y = Mul (c, d)
   f = Mul (d, c)
   z = Add (f, e)
}`, `
g (float[2] x) => (float[2] y, float[2] z)
<
   float one = {0.1},
   float[2] a,
   float[2] c,
   float[2] e
>
{
   a = Add (x, one)
   c = LeakyRelu <alpha: float = 0.5> (a)
   e = LeakyRelu <alpha: float = 0.25> (a)
   y = Mul (c, c)
   z = Add (y, e)
}`},
	{"equal outputs keep their names", `
g (float[2] x) => (float[2] y, float[2] z, float[2] u)
{
   y = Exp (x)
   z = Exp (x)
   a = Exp (x)
   u = Neg (a)
}`, `
g (float[2] x) => (float[2] y, float[2] z, float[2] u)
{
   y = Exp (x)
   z = Exp (x)
   u = Neg (y)
}`},
	{"neutral numbers", `
g (float[2,2] x, float s) => (float[2,2] y, float[1,1] z)
<float zero = {0}, float one = {1}, float[1,1] wide = {1}>
{
   a = Add (zero, x)
   b = Mul (a, one)
   c = Div (b, one)
   d = Sub (c, zero)
   e = Pow (d, one)
   y = Relu (e)
   w = Mul (s, wide)
   z = Relu (w)
}`, `
g (float[2,2] x, float s) => (float[2,2] y, float[1,1] z)
<
   float[1,1] wide = {1},
   float[1,1] w
>
{
   y = Relu (x)
   w = Mul (s, wide)
   z = Relu (w)
}`},
	{"factors", `
g (float[2] x) => (float[2] y, float[2] z)
<float two = {2}, float three = {3}>
{
   a = Mul (x, two)
   b = Mul (three, a)
   y = Neg (b)
   c = Mul (x, three)
   d = Mul (c, two)
   z = Add (c, d)
}`, `
g (float[2] x) => (float[2] y, float[2] z)
<
   float two = {2},
   float three = {3},
   float "b/c" = {6},
   float[2] "b/Mul",
   float[2] c,
   float[2] d
>
{
   "b/Mul" = Mul (x, "b/c")
   y = Neg ("b/Mul")
   c = Mul (x, three)
   d = Mul (c, two)
   z = Add (c, d)
}`},
	{"movements that undo each other", `
g (float[2,3] x) => (float[2,3] y, float[3,2] z, float[3,2] u)
<int64[1] at = {0}, int64[1] too = {0}, int64[2] s = {3, 2}, int64[1] flat = {6}>
{
   a = Transpose (x)
   b = Transpose <perm: ints = [1, 0]> (a)
   c = Unsqueeze (b, at)
   d = Squeeze (c, too)
   e = Neg (d)
   f = Neg (e)
   h = Cast <to: int = 11> (f)
   i = Cast <to: int = 1> (h)
   y = Relu (i)
   j = Reshape (x, flat)
   z = Reshape (j, s)
   k = Transpose <perm: ints = [0, 1]> (x)
   u = Transpose (k)
}`, `
g (float[2,3] x) => (float[2,3] y, float[3,2] z, float[3,2] u)
<
   int64[2] s = {3, 2}
>
{
   u = Transpose (x)
   y = Relu (x)
   z = Reshape (x, s)
}`},
	{"three permutations", `
g (float[2,3,4] x) => (float[3,4,2] y)
{
   a = Transpose <perm: ints = [2, 0, 1]> (x)
   b = Transpose <perm: ints = [2, 0, 1]> (a)
   y = Relu (b)
}`, `
g (float[2,3,4] x) => (float[3,4,2] y)
<
   float[3,4,2] "b/Transpose"
>
{
   "b/Transpose" = Transpose <perm: ints = [1, 2, 0]> (x)
   y = Relu ("b/Transpose")
}`},
	{"a narrowing cast stays, so does a copied dimension", `
g (float[2,3] x) => (float[2,3] y, float[6,1] z, float[3,2,1] u)
<int64[2] flat = {6, 1}, int64[2] keep = {0, -1}, int64[2] six = {3, 2}, int64[3] half = {0, -1, 1}>
{
   a = Cast <to: int = 7> (x)
   h = Cast <to: int = 1> (a)
   y = Relu (h)
   b = Reshape (x, flat)
   c = Reshape (b, keep)
   z = Relu (c)
   d = Reshape (x, six)
   e = Reshape (d, half)
   u = Relu (e)
}`, `
g (float[2,3] x) => (float[2,3] y, float[6,1] z, float[3,2,1] u)
<
   int64[2] flat = {6, 1},
   int64[2] six = {3, 2},
   int64[3] half = {0, -1, 1},
   int64[2,3] a,
   float[2,3] h,
   float[6,1] b,
   float[3,2] d,
   float[3,2,1] e
>
{
   a = Cast <to: int = 7> (x)
   h = Cast <to: int = 1> (a)
   y = Relu (h)
   b = Reshape (x, flat)
   z = Relu (b)
   d = Reshape (x, six)
   e = Reshape (d, half)
   u = Relu (e)
}`},
	{"constant condition", `
g (float[2] x) => (float[2] y)
<bool on = {1}>
{
   a = Exp (x)
   y = If (on) <else_branch: graph = e () => (float[2] p) { p = Neg (a) }, then_branch: graph = t () => (float[2] q) { r = Relu (a)  q = Mul (r, x) }>
}`, `
g (float[2] x) => (float[2] y)
<
   float[2] a,
   float[2] r_1
>
{
   a = Exp (x)
   r_1 = Relu (a)
   y = Mul (r_1, x)
}`},
	{"sinking", `
g (float[2] x, bool c) => (float[2] y, float[2] z)
{
   a = Exp (x)
   b = Neg (a)
   d = Tanh (x)
   e = Sigmoid (x)
   y = If (c) <else_branch: graph = f () => (float[2] p) { p = Mul (d, e) }, then_branch: graph = t () => (float[2] q) { r = Relu (b)  q = Mul (r, d) }>
   z = Abs (e)
}`, `
g (float[2] x, bool c) => (float[2] y, float[2] z)
<
   float[2] d,
   float[2] e
>
{
   d = Tanh (x)
   e = Sigmoid (x)
   y = If (c) <else_branch: graph = f () => (float[2] p) {
      p = Mul (d, e)
   }, then_branch: graph = t () => (float[2] q)
   <
      float[2] a,
      float[2] b,
      float[2] r
   >
   {
      a = Exp (x)
      b = Neg (a)
      r = Relu (b)
      q = Mul (r, d)
   }>
   z = Abs (e)
}`},
	{"sinking twice, not into loops, not what is an output", `
g (float[2] x, bool c, bool d, int64 n) => (float[2] y, float[2] b, float[2] l)
{
   a = Exp (x)
   b = Tanh (x)
   h = Sin (x)
   y = If (c) <
      else_branch: graph = f () => (float[2] p) { p = Relu (b) },
      then_branch: graph = t () => (float[2] q) {
         q = If (d) <else_branch: graph = u () => (float[2] r) { r = Abs (x) }, then_branch: graph = v () => (float[2] s) { s = Neg (a) }>
      }>
   l = Loop (n, "", x) <body: graph = w (int64 i, bool k, float[2] m) => (bool go, float[2] o) { go = Identity (k)  o = Add (m, h) }>
}`, `
g (float[2] x, bool c, bool d, int64 n) => (float[2] y, float[2] b, float[2] l)
<
   float[2] h
>
{
   b = Tanh (x)
   h = Sin (x)
   y = If (c) <else_branch: graph = f () => (float[2] p) {
      p = Relu (b)
   }, then_branch: graph = t () => (float[2] q) {
      q = If (d) <else_branch: graph = u () => (float[2] r) {
         r = Abs (x)
      }, then_branch: graph = v () => (float[2] s)
      <
         float[2] a
      >
      {
         a = Exp (x)
         s = Neg (a)
      }>
   }>
   l = Loop (n, "", x) <body: graph = w (int64 i, bool k, float[2] m) => (bool go, float[2] o) {
      go = Identity (k)
      o = Add (m, h)
   }>
}`},
	{"unused outputs of an If", `
g (float[2] x, bool c) => (float[2] y)
{
   a, b = If (c) <else_branch: graph = f () => (float[2] p, float[2] q) { p = Exp (x)  q = Neg (x) }, then_branch: graph = t () => (float[2] r, float[2] s) { r = Sin (x)  s = Abs (x) }>
   y = Relu (b)
}`, `
g (float[2] x, bool c) => (float[2] y)
<
   float[2] b
>
{
   b = If (c) <else_branch: graph = f () => (float[2] q) {
      q = Neg (x)
   }, then_branch: graph = t () => (float[2] s) {
      s = Abs (x)
   }>
   y = Relu (b)
}`},
	{"tags do not hide what is equal", `
g (float[2] x) => (float[2] y)
<float[2] w = {1, 2}, float[2] v = {1, 2}>
{
   p = asdl.Param <kind: string = "param"> (w)
   q = asdl.Param <kind: string = "param"> (v)
   a = Mul (x, p)
   b = asdl.Layer <kind: string = "scale", name: string = "w"> (a, x, p)
   c = Exp (a)
   d = Exp (b)
   e = Mul (c, d)
   y = Mul (e, q)
}`, `
g (float[2] x) => (float[2] y)
<
   float[2] w = {1, 2},
   float[2] v = {1, 2},
   float[2] p,
   float[2] q,
   float[2] a,
   float[2] c,
   float[2] e
>
{
   p = asdl.Param <kind: string = "param"> (w)
   q = asdl.Param <kind: string = "param"> (v)
   a = Mul (x, p)
   c = Exp (a)
   e = Mul (c, c)
   y = Mul (e, q)
}`},
}

func TestCleanup(t *testing.T) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := passtest.Parse(t, head+strings.TrimSpace(c.in))
			got, _ := passtest.Apply(t, m, pass.Options{}, cleanup.Pass)
			passtest.Golden(t, got, head+strings.TrimSpace(c.want))
			again, _ := passtest.Apply(t, got, pass.Options{}, cleanup.Pass)
			if err := graph.Equal(got, again); err != nil {
				t.Errorf("a second cleanup changes something: %v", err)
			}
			for seed := range uint64(3) {
				feeds := passtest.Feeds(t, m, seed, nil)
				passtest.Same(t, passtest.Eval(t, m, feeds), passtest.Eval(t, got, feeds), 1e-6)
			}
		})
	}
}

// TestDeclarations: declarations are never merged or moved, and a state that is written but not read stays.
func TestDeclarations(t *testing.T) {
	m := passtest.Parse(t, head+`g (float[2] x, bool c) => (float[2] y, float[2] "m/next", float[2] "w/next")
<float[2] w = {1, 2}>
{
   p = asdl.Param <kind: string = "param"> (w)
   m = asdl.State <name: string = "m", dtype: int = 1, shape: ints = [2]> ()
   k = asdl.State <name: string = "k", dtype: int = 1, shape: ints = [2]> ()
   u = asdl.State <name: string = "u", dtype: int = 1, shape: ints = [2]> ()
   a = asdl.Hyper <name: string = "a", dtype: int = 1> ()
   b = asdl.Hyper <name: string = "a", dtype: int = 1> ()
   y = If (c) <else_branch: graph = f () => (float[2] r) { r = Mul (k, a) }, then_branch: graph = t () => (float[2] s) { s = Add (x, b) }>
   "m/next" = Exp (x)
   "w/next" = Neg (x)
}`)
	got, _ := passtest.Apply(t, m, pass.Options{}, cleanup.Pass)
	ops := map[string]int{}
	for n := range got.Graph.Nodes() {
		ops[n.Op]++
	}
	if ops["Param"] != 1 || ops["State"] != 2 || ops["Hyper"] != 2 {
		t.Errorf("got\n%s", graph.Print(got))
	}
}

// TestFunctions: what nothing calls goes, what a called function calls stays.
func TestFunctions(t *testing.T) {
	m := passtest.Parse(t, `<ir_version: 8, opset_import: ["" : 17, "f" : 1]>
g (float[2] x) => (float[2] y)
{
   y = f.A (x)
   z = f.C (x)
}

<opset_import: ["" : 17, "f" : 1], domain: "f">
A (u) => (r)
{
   r = f.B (u)
}

<opset_import: ["" : 17], domain: "f">
B (u) => (r)
{
   r = Relu (u)
}

<opset_import: ["" : 17], domain: "f">
C (u) => (r)
{
   r = Neg (u)
}
`)
	got, _ := passtest.Apply(t, m, pass.Options{}, cleanup.Pass)
	var names []string
	for _, f := range got.Functions {
		names = append(names, f.Name)
	}
	if strings.Join(names, " ") != "A B" || got.Graph.Len() != 1 {
		t.Errorf("got\n%s", graph.Print(got))
	}
}

// TestRandom: two draws are not one.
func TestRandom(t *testing.T) {
	m := passtest.Parse(t, head+`g () => (y)
{
   a = RandomNormal <shape: ints = [2]> ()
   b = RandomNormal <shape: ints = [2]> ()
   y = Sub (a, b)
}`)
	if got, _ := passtest.Apply(t, m, pass.Options{}, cleanup.Pass); got.Graph.Len() != 3 {
		t.Errorf("got\n%s", graph.Print(got))
	}
}
