package normalize_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/normalize"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/passes/passtest"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// rewriteCases are run before and after, and the result is compared with golden text.
var rewriteCases = []struct {
	name, in, want string
	o              pass.Options
}{
	{name: "defaults become initializers", in: `
g (float[2] x, float[2] w = {1, 2}) => (float[2] y)
{ y = Mul(x, w) }`, want: `
g (float[2] x) => (float[2] y)
<
   float[2] w = {1, 2}
>
{
   y = Mul (x, w)
}
`},
	{name: "constants", in: `
g (float[2] x) => (float[2] y, int64[2] k)
{
   a = Constant <value: tensor = float[2] {1, 2}> ()
   b = Constant <value_float: float = 0.5> ()
   c = Constant <value_floats: floats = [3.0, 4.0]> ()
   d = Constant <value_int: int = 1> ()
   k = Constant <value_ints: ints = [7, 8]> ()
   e = Gather (c, d)
   f = Mul (x, a)
   h = Mul (f, b)
   y = Add (h, e)
}`, want: `
g (float[2] x) => (float[2] y, int64[2] k)
<
   float[2] a = {1, 2},
   float b = {0.5},
   float[2] c = {3, 4},
   int64 d = {1},
   int64[2] k_1 = {7, 8},
   float[2] "a/constant",
   float[2] "c/constant",
   float e,
   float[2] f,
   float[2] h
>
{
   "a/constant" = asdl.Param <kind: string = "constant"> (a)
   "c/constant" = asdl.Param <kind: string = "constant"> (c)
   k = Identity (k_1)
   e = Gather ("c/constant", d)
   f = Mul (x, "a/constant")
   h = Mul (f, b)
   y = Add (h, e)
}
`},
	{name: "identities and casts", in: `
g (float[2] x) => (float[2] y, float[2] z)
{
   a = Identity (x)
   b = Cast <to: int = 1> (a)
   c = Relu (b)
   y = Identity (c)
   z = Identity (c)
}`, want: `
g (float[2] x) => (float[2] y, float[2] z)
{
   y = Relu (x)
   z = Identity (y)
}
`},
	{name: "merged parameters", in: `
g (float[2] x) => (float[2] y)
<float[2] "a.bias" = {0, 0}>
{
   "b.bias" = Identity ("a.bias")
   "/mod/Identity_output_0" = Identity ("a.bias")
   u = Add (x, "a.bias")
   v = Add (u, "b.bias")
   y = Add (v, "/mod/Identity_output_0")
}`, want: `
g (float[2] x) => (float[2] y)
<
   float[2] "a.bias" = {0, 0},
   float[2] "b.bias" = {0, 0},
   float[2] u,
   float[2] v
>
{
   u = Add (x, "a.bias")
   v = Add (u, "b.bias")
   y = Add (v, "a.bias")
}
`},
	{name: "shape arithmetic", in: `
g (float[N,2,3] x) => (float[N,6] y, float[M,3] z)
{
   s = Shape (x)
   one = Constant <value: tensor = int64 {1}> ()
   two = Constant <value: tensor = int64 {2}> ()
   zero = Constant <value: tensor = int64 {0}> ()
   at = Constant <value: tensor = int64[1] {0}> ()
   d1 = Gather (s, one)
   d2 = Gather (s, two)
   d = Mul (d1, d2)
   n = Gather (s, zero)
   dv = Unsqueeze (d, at)
   nv = Unsqueeze (n, at)
   shape = Concat <axis: int = 0> (nv, dv)
   y = Reshape (x, shape)
   minus = Constant <value: tensor = int64[1] {-1}> ()
   d2v = Unsqueeze (d2, at)
   rows = Concat <axis: int = 0> (minus, d2v)
   z = Reshape (x, rows)
}`, want: `
g (float[N,2,3] x) => (float[N,6] y, float["2*N",3] z)
<
   int64 zero = {0},
   int64[1] at = {0},
   int64[1] dv = {6},
   int64[2] rows = {-1, 3},
   int64[3] s,
   int64 n,
   int64[1] nv,
   int64[2] shape
>
{
   s = Shape (x)
   n = Gather (s, zero)
   nv = Unsqueeze (n, at)
   shape = Concat <axis: int = 0> (nv, dv)
   y = Reshape (x, shape)
   z = Reshape (x, rows)
}
`},
	{name: "dropout in evaluation mode", in: `
g (float[2] x) => (float[2] y, bool[2] mask)
<float r = {0.5}, float zero = {0}, bool off = {0}, bool on = {1}>
{
   a = Dropout (x, r)
   b = Dropout (a, r, off)
   c, mask = Dropout (b, zero, on)
   y = Relu (c)
}`, want: `
g (float[2] x) => (float[2] y, bool[2] mask)
<
   int64[1] "mask/shape" = {2}
>
{
   mask = ConstantOfShape <value: tensor = bool[1] {1}> ("mask/shape")
   y = Relu (x)
}
`},
	{name: "statistics frozen", o: pass.Options{BN: "frozen"}, in: `
g (float[N,2] x) => (y)
<float[2] s = {1, 2}, float[2] b = {0.5, 0}, float[2] m = {0.1, 0.2}, float[2] v = {1, 4}>
{ y = BatchNormalization <momentum: float = 0.5> (x, s, b, m, v) }`, want: `
g (float[N,2] x) => (float[N,2] y)
<
   float[2] s = {1, 2},
   float[2] b = {0.5, 0},
   float[2] m = {0.1, 0.2},
   float[2] v = {1, 4}
>
{
   y = BatchNormalization <momentum: float = 0.5> (x, s, b, m, v)
}
`},
}

func TestRewrite(t *testing.T) {
	for _, c := range rewriteCases {
		t.Run(c.name, func(t *testing.T) {
			m := passtest.Parse(t, head("17")+strings.TrimSpace(c.in))
			got, _ := passtest.Apply(t, m, c.o, normalize.Pass)
			passtest.Golden(t, got, `<ir_version: 8, opset_import: ["" : 17, "asdl" : 1]>`+c.want)
			feeds := passtest.Feeds(t, m, 1, map[string]int64{"N": 3})
			passtest.Same(t, passtest.Eval(t, m, feeds), passtest.Eval(t, got, feeds), 1e-6)
		})
	}
}

// TestDropoutStays: in training mode with a ratio.
func TestDropoutStays(t *testing.T) {
	m := passtest.Parse(t, head("17")+`g (float[2] x, bool training) => (y, z)
		<float r = {0.5}, bool on = {1}>
		{ y = Dropout (x, r, on)  z = Dropout (x, r, training) }`)
	got, _ := passtest.Apply(t, m, pass.Options{}, normalize.Pass)
	if got.Graph.Len() != 2 {
		t.Errorf("got\n%s", graph.Print(got))
	}
}

// TestBatchStatistics: the default is to train, with the running statistics as outputs.
func TestBatchStatistics(t *testing.T) {
	text := head("17") + `g (float[N,2] x) => (y)
		<float[2] s = {1, 2}, float[2] b = {0.5, 0}, float[2] m = {0.1, 0.2}, float[2] v = {1, 4}>
		{ y = BatchNormalization <momentum: float = 0.5> (x, s, b, m, v) }`
	got, c := passtest.Apply(t, passtest.Parse(t, text), pass.Options{}, normalize.Pass)
	n := got.Graph.First()
	if n.Int("training_mode", 0) != 1 || len(n.Outputs()) != 3 {
		t.Errorf("got\n%s", graph.Print(got))
	}
	if len(c.Report.Notes) != 1 || !strings.Contains(c.Report.Notes[0], "batch statistics") {
		t.Errorf("notes %q", c.Report.Notes)
	}
	// A file in training mode under frozen: the statistics are those of the file, wherever they were used.
	frozen, _ := passtest.Apply(t, passtest.Parse(t, head("17")+`g (float[N,2] x) => (y, m1)
		<float[2] s = {1, 2}, float[2] b = {0.5, 0}, float[2] m = {0.1, 0.2}, float[2] v = {1, 4}>
		{ y, m1, v1 = BatchNormalization <training_mode: int = 1> (x, s, b, m, v) }`), pass.Options{BN: "frozen"}, normalize.Pass)
	plain := passtest.Parse(t, head("17")+`g (float[N,2] x) => (y, m1)
		<float[2] s = {1, 2}, float[2] b = {0.5, 0}, float[2] m = {0.1, 0.2}, float[2] v = {1, 4}>
		{ y = BatchNormalization (x, s, b, m, v)  m1 = Identity (m) }`)
	feeds := passtest.Feeds(t, plain, 1, map[string]int64{"N": 3})
	passtest.Same(t, passtest.Eval(t, plain, feeds), passtest.Eval(t, frozen, feeds), 1e-6)
	if err := normalize.Run(&pass.Ctx{Report: &pass.Report{}, Options: pass.Options{BN: "x"}}, passtest.Parse(t, text)); !errors.Is(err, graph.ErrInvalid) {
		t.Errorf("mode x: %v", err)
	}
}

// TestNestedBatchNorm: inside of an If, statistics stay frozen, and initializers move out.
func TestNestedBatchNorm(t *testing.T) {
	m := passtest.Parse(t, head("17")+`g (float[N,2] x, bool c) => (float[N,2] y)
{
   y = If (c) <then_branch: graph = t () => (float[N,2] p)
      <float[2] s = {1, 2}, float[2] b = {0.5, 0}, float[2] mu = {0.1, 0.2}, float[2] v = {1, 4}>
      { p = BatchNormalization (x, s, b, mu, v) }, else_branch: graph = e () => (float[N,2] q) { q = Relu (x) }>
}`)
	got, _ := passtest.Apply(t, m, pass.Options{}, normalize.Pass)
	if len(got.Graph.Initializers()) != 4 {
		t.Errorf("got\n%s", graph.Print(got))
	}
	for _, c := range []bool{false, true} {
		feeds := passtest.Feeds(t, m, 1, map[string]int64{"N": 3})
		kernel.Data[bool](feeds["c"])[0] = c
		passtest.Same(t, passtest.Eval(t, m, feeds), passtest.Eval(t, got, feeds), 1e-6)
	}
}

// TestInline: nested calls, references to attributes with and without defaults, several calls of one function.
func TestInline(t *testing.T) {
	m := passtest.Parse(t, `<ir_version: 9, opset_import: ["" : 17, "f" : 1]>
g (float[N,3] x) => (float[N,3] y, float[N,3] z)
<float[3] w = {1, 2, 3}>
{
   [blk] a = f.Block <slope: float = 0.25> (x, w)
   [blk2] y = f.Block (a, w)
   z = f.Two (a)
}

<opset_import: ["" : 17, "f" : 1], domain: "f">
Block <slope: float = 0.5, unused: int = 3> (u, v) => (r)
{
   p = Mul (u, v)
   [act] r = f.Leaky <alpha: float = @slope> (p)
}

<opset_import: ["" : 17], domain: "f">
Leaky <alpha> (u) => (r)
{
   [relu] r = LeakyRelu <alpha: float = @alpha> (u)
}

<opset_import: ["" : 17], domain: "f">
Two (u) => (r)
{
   k = Constant <value: tensor = float {2}> ()
   r = Mul (u, k)
}
`)
	got, _ := passtest.Apply(t, m, pass.Options{}, normalize.Pass)
	if len(got.Functions) != 0 || got.Graph.Find("a") == nil {
		t.Errorf("got\n%s", graph.Print(got))
	}
	scopes := map[string]bool{}
	for n := range got.Graph.Nodes() {
		scopes[n.Scope+" "+n.Op] = true
	}
	for _, want := range []string{"blk Mul", "blk/act LeakyRelu", "blk2 Mul", "Two Mul"} {
		if !scopes[want] {
			t.Errorf("no node %q among %v", want, scopes)
		}
	}
	feeds := passtest.Feeds(t, m, 1, map[string]int64{"N": 2})
	passtest.Same(t, passtest.Eval(t, m, feeds), passtest.Eval(t, got, feeds), 1e-6)
}

// TestInlineOtherOpset: a body of another opset than the model's is brought to the model's.
func TestInlineOtherOpset(t *testing.T) {
	m := passtest.Parse(t, `<ir_version: 8, opset_import: ["" : 18, "f" : 1]>
g (float[N,3] x) => (y)
{
   y = f.Mean (x)
}

<opset_import: ["" : 17], domain: "f">
Mean (u) => (r)
{
   r = ReduceMean <axes: ints = [-1]> (u)
}
`)
	got, _ := passtest.Apply(t, m, pass.Options{}, normalize.Pass)
	if n := got.Graph.First(); n.Op != "ReduceMean" || n.In(1) == nil {
		t.Errorf("got\n%s", graph.Print(got))
	}
}

// TestFunctionsOpset: the model is raised to the opset of its functions.
func TestFunctionsOpset(t *testing.T) {
	m := passtest.Parse(t, `<ir_version: 8, opset_import: ["" : 17, "f" : 1]>
g (float[N,3] x) => (y)
{
   a = ReduceMean <axes: ints = [0]> (x)
   y = f.Mean (a)
}

<opset_import: ["" : 18], domain: "f">
Mean (u) => (r)
{
   k = Constant <value_ints: ints = [1]> ()
   r = ReduceMean (u, k)
}
`)
	got, _ := passtest.Apply(t, m, pass.Options{}, normalize.Pass)
	if got.Opset() != 18 {
		t.Errorf("got\n%s", graph.Print(got))
	}
}

// TestUnsupported names the operators that are not known, all at once.
func TestUnsupported(t *testing.T) {
	m, err := graph.Parse(head("17") + `g (float[2] x) => (y) { a = Foo (x)  b = Relu (a)  y = Bar (b) }`)
	if err != nil {
		t.Fatal(err)
	}
	err = normalize.Run(&pass.Ctx{Report: &pass.Report{}}, m)
	if !errors.Is(err, graph.ErrUnsupported) || !strings.Contains(err.Error(), "Foo") || !strings.Contains(err.Error(), "Bar") {
		t.Errorf("error %v", err)
	}
}
