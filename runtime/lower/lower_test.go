package lower_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"gorgonia.org/gorgonia"
	"gorgonia.org/gorgonia/encoding/dot"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/graphtest"
	"github.com/asdlc/asdlc/runtime/kernel"
	"github.com/asdlc/asdlc/runtime/lower"
	"github.com/asdlc/asdlc/runtime/vm"
)

func lowered(t testing.TB, src string, extra ...kernel.Row) *lower.Program {
	t.Helper()
	reg, err := kernel.NewRegistry(append(kernel.Default(), extra)...)
	if err != nil {
		t.Fatal(err)
	}
	p, err := lower.Lower(graphtest.MustParse(t, `<ir_version: 8, opset_import: ["" : 17, "my" : 1, "asdl" : 1]> `+src), reg, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// bind gives the inputs of the Gorgonia graph values: 1, 2, 3, ...; true; 3.
func bind(t testing.TB, p *lower.Program) []*kernel.Tensor {
	t.Helper()
	var in []*kernel.Tensor
	for i, v := range p.Model.Graph.Inputs() {
		shape, ok := v.Type.Static()
		if !ok {
			t.Fatalf("%s has no static shape", v.Name)
		}
		x := kernel.New(v.Type.Elem)
		for _, n := range shape {
			x.Shape = append(x.Shape, int(n))
		}
		x.Raw = kernel.Aligned(x.Len() * x.Elem.Size())
		switch x.Elem {
		case graph.Float32:
			for k := range kernel.Data[float32](x) {
				kernel.Data[float32](x)[k] = float32(k + i + 1)
			}
		case graph.Float64:
			for k := range kernel.Data[float64](x) {
				kernel.Data[float64](x)[k] = float64(k + i + 1)
			}
		case graph.Bool:
			x.Raw[0] = 1
		case graph.Int64:
			kernel.Data[int64](x)[0] = 3
		}
		if err := gorgonia.Let(p.Main.Inputs[i], lower.Value{T: x}); err != nil {
			t.Fatal(err)
		}
		in = append(in, x)
	}
	return in
}

// Gorgonia's own machine runs lowered graphs of static shape, to the same result as ours, which takes the values of
// the same nodes.
func TestTapeMachineAgrees(t *testing.T) {
	for name, src := range map[string]string{
		"mlp": `g (float[4,3] x, float[3,5] w, float[5] b) => (float[4,5] y, float[5] s) {
			m = MatMul(x, w) a = Add(m, b) y = Tanh(a) s = ReduceMean <keepdims: int = 0, axes: ints = [0]> (y) }`,
		"equal inputs and initializers": `g (float[2] x) => (float[2] y) <float[2] p = {1, 2}, float[2] q = {1, 2}> {
			a = Add(x, p) b = Add(x, q) y = Mul(a, b) }`,
		"several outputs":  `g (float[4,2] x) => (float[4,1] y) { a, b = Split <axis: int = 1> (x) c = Sub(a, b) y = Mul(c, b) }`,
		"empty and scalar": `g (float[0,3] x, float s) => (float[0,3] y, float z) { y = Add(x, s) z = Neg(s) }`,
		"if": `g (float[3] x, bool c) => (float[3] y) { y = If (c) <
			then_branch: graph = t () => (float[3] p) { p = Neg(x) }, else_branch: graph = e () => (float[3] q) { q = Abs(x) }> }`,
		"loop": `g (float[3] x, int64 n) => (float[3] y) { y = Loop (n, , x) <body: graph = b (int64 i, bool c, float[3] v) => (bool d, float[3] w) {
			d = Identity(c) w = Add(v, x) }> }`,
	} {
		t.Run(name, func(t *testing.T) {
			p := lowered(t, src)
			want, err := p.Run(bind(t, p))
			if err != nil {
				t.Fatal(err)
			}
			tape := gorgonia.NewTapeMachine(p.Main.ExprGraph())
			defer tape.Close()
			own, err := vm.New(p, vm.Options{})
			if err != nil {
				t.Fatal(err)
			}
			for what, m := range map[string]gorgonia.VM{"tape": tape, "ours": own} {
				for range 2 {
					m.Reset()
					if err := m.RunAll(); err != nil {
						t.Fatal(what, err)
					}
					for i, n := range p.Main.Outputs {
						got, ok := n.Value().(lower.Value)
						if !ok || got.T.String() != want[i].String() || string(got.T.Raw) != string(want[i].Raw) {
							t.Errorf("%s: output %d is %v, want %v", what, i, n.Value(), want[i])
						}
					}
				}
			}
		})
	}
}

func TestOneNodeEach(t *testing.T) {
	p := lowered(t, `g (float[4,3] x, float[3,5] w) => (float[4,5] y) { m = MatMul(x, w) a = Softmax(m) y = Mul(a, a) }`)
	var ops []string
	for _, n := range p.Main.ExprGraph().AllNodes() {
		if o, ok := n.Op().(*lower.Op); ok {
			ops = append(ops, o.String()+fmt.Sprint(n.Shape()))
		}
	}
	if got := strings.Join(ops, " "); got != "MatMul(4, 5) Softmax(4, 5) Mul(4, 5)" {
		t.Error(got)
	}
	drawn, err := dot.Marshal(p.Main.ExprGraph())
	if err != nil || !strings.Contains(string(drawn), "MatMul") {
		t.Errorf("dot: %v\n%s", err, drawn)
	}
}

const twice = `g (float[3] x) => (float[3] y) { [a] z = my.Twice(x) [b] y = my.Four <by: float = 3.0> (z) }
	<domain: "my", opset_import: ["" : 17]> Twice (p) => (q) { q = Sum(p, p) }
	<domain: "my", opset_import: ["" : 17, "my" : 1]> Four <by> (p) => (q) { t = my.Twice(p) c = Constant <value_float: float = @by> () u = Mul(t, c) q = my.Twice(u) }`

func TestFunctionsAreInlined(t *testing.T) {
	p := lowered(t, twice)
	out, err := p.Run(bind(t, p))
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(kernel.Data[float32](out[0])); got != "[24 48 72]" {
		t.Error(got)
	}
	scopes := map[string]bool{}
	for n := range p.Model.Graph.Nodes() {
		scopes[n.Scope] = true
	}
	if !scopes["a"] || !scopes["b"] || p.Main.OutputNames[0] != "y" {
		t.Errorf("scopes %v, outputs %v", scopes, p.Main.OutputNames)
	}
}

// A function that the registry has a kernel for is called, not expanded.
func TestNativeFunctions(t *testing.T) {
	called := 0
	native := kernel.Row{Domain: "my", Op: "Twice", Note: "native", Make: func(*kernel.Call) (kernel.Run, error) {
		return func(in, out []*kernel.Tensor) error {
			called++
			for i, v := range kernel.Data[float32](in[0]) {
				kernel.Data[float32](out[0])[i] = 2 * v
			}
			return nil
		}, nil
	}}
	p := lowered(t, twice, native)
	in := bind(t, p)
	out, err := p.Run(in)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(kernel.Data[float32](out[0])); got != "[24 48 72]" || called != 3 {
		t.Errorf("%s after %d calls", got, called)
	}
	v, err := vm.New(p, vm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	v.Bind(0, in[0])
	if err := v.RunAll(); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(kernel.Data[float32](v.Output(0))); got != "[24 48 72]" || called != 6 {
		t.Errorf("%s after %d calls", got, called)
	}
}

func TestFunctionOfAnotherOpsetIsRefused(t *testing.T) {
	m := graphtest.MustParse(t, `<ir_version: 8, opset_import: ["" : 17, "my" : 1]> g (float[3] x) => (float[3] y) { y = my.F(x) }
		<domain: "my", opset_import: ["" : 12]> F (p) => (q) { q = Softmax(p) }`)
	reg, err := kernel.NewRegistry(kernel.Default()...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = lower.Lower(m, reg, nil); !errors.Is(err, graph.ErrUnsupported) || !strings.Contains(err.Error(), "12") {
		t.Error(err)
	}
}

// Outer values that nested graphs use are children of the node, so that Gorgonia sees the dependence.
func TestCapturesAreChildren(t *testing.T) {
	p := lowered(t, `g (float[3] x, float[3] z, bool c) => (float[3] y) { y = If (c) <
		then_branch: graph = t () => (float[3] p) { p = Add(x, x) },
		else_branch: graph = e () => (float[3] q) { r = If (c) <
			then_branch: graph = tt () => (float[3] s) { s = Neg(z) }, else_branch: graph = ee () => (float[3] u) { u = Identity(x) }> q = Abs(r) }> }`)
	n := p.Main.Outputs[0]
	var names []string
	for children := p.Main.ExprGraph().From(n.ID()); children.Next(); {
		names = append(names, children.Node().(*gorgonia.Node).Name())
	}
	slices.Sort(names)
	if got := strings.Join(names, " "); got != "c c x z" { // the condition, and what the branches use
		t.Errorf("children: %s", got)
	}
}
