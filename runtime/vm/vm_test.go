package vm_test

import (
	"math/rand/v2"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/graphtest"
	"github.com/asdlc/asdlc/runtime/kernel"
	"github.com/asdlc/asdlc/runtime/lower"
	"github.com/asdlc/asdlc/runtime/vm"
)

// machine lowers a model and makes a VM; states name inputs X whose next value is output X_next.
func machine(t testing.TB, src string, states ...string) (*vm.VM, *lower.Program) {
	t.Helper()
	m := graphtest.MustParse(t, src)
	reg, err := kernel.NewRegistry(kernel.Default()...)
	if err != nil {
		t.Fatal(err)
	}
	prog, err := lower.Lower(m, reg, nil)
	if err != nil {
		t.Fatal(err)
	}
	var pairs []vm.StatePair
	for _, name := range states {
		pairs = append(pairs, vm.StatePair{In: indexOf(t, m.Graph.Inputs(), name), Out: indexOf(t, m.Graph.Outputs(), name+"_next")})
	}
	v, err := vm.New(prog, vm.Options{States: pairs})
	if err != nil {
		t.Fatal(err)
	}
	return v, prog
}

func indexOf(t testing.TB, values []*graph.Value, name string) int {
	for i, v := range values {
		if v.Name == name {
			return i
		}
	}
	t.Fatalf("no value %s", name)
	return -1
}

// random fills tensors for the inputs: N is 3.
func random(t testing.TB, prog *lower.Program, seed uint64) []*kernel.Tensor {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	var in []*kernel.Tensor
	for _, v := range prog.Model.Graph.Inputs() {
		var shape []int
		for _, d := range v.Type.Dims {
			n, ok := d.Size()
			if !ok {
				n = 3
			}
			shape = append(shape, int(n))
		}
		x := kernel.New(v.Type.Elem, shape...)
		for i := range x.Len() {
			switch x.Elem {
			case graph.Float32:
				kernel.Data[float32](x)[i] = rng.Float32()*2 - 1
			case graph.Int64:
				kernel.Data[int64](x)[i] = rng.Int64N(4)
			case graph.Bool:
				kernel.Data[bool](x)[i] = rng.IntN(2) == 1
			}
		}
		in = append(in, x)
	}
	return in
}

const header = `<ir_version: 8, opset_import: ["" : 17]> `

// cases are models that the machine and the plain interpreter must agree on, with states carried over four runs.
var cases = []struct {
	name   string
	src    string
	states []string
}{
	{name: "chain", src: `g (float[N,4] x, float[4] b) => (float[N,4] y) { a = Add(x, b) c = Mul(a, a) y = Sub(c, x) }`},
	{name: "output is input", src: `g (float[N,4] x) => (float[N,4] y, float[4,N] z) { y = Identity(x) z = Transpose(x) }`},
	{name: "several outputs", src: `g (float[N,4] x) => (float[N,2] a, float[N,2] c) { a, b = Split <axis: int = 1> (x) c = Add(a, b) }`},
	{name: "reshape by shape", src: `g (float[N,4] x) => (float[M] y) {
		s = Shape(x) p = ReduceProd <keepdims: int = 1> (s) y0 = Reshape(x, p) y = Neg(y0) }`},
	{name: "one state", states: []string{"w"}, src: `g (float[3] w, float[3] x) => (float[3] w_next, float[3] y) {
		y = Mul(w, x) d = Neg(y) w_next = Add(w, d) }`},
	{name: "state read after it is written", states: []string{"w"}, src: `g (float[3] w, float[3] x) => (float[3] w_next, float[3] y) {
		w_next = Add(w, x) y = Mul(w, x) }`},
	{name: "old state is an output", states: []string{"w"}, src: `g (float[3] w, float[3] x) => (float[3] w_next, float[3] y) {
		y = Identity(w) w_next = Add(w, x) }`},
	{name: "states change places", states: []string{"u", "w"}, src: `g (float[3] u, float[3] w) => (float[3] u_next, float[3] w_next, float[3] y) {
		u_next = Identity(w) w_next = Identity(u) y = Add(u, w) }`},
	{name: "history", states: []string{"a", "b"}, src: `g (float[3] a, float[3] b, float[3] x) => (float[3] a_next, float[3] b_next) {
		b_next = Identity(a) a_next = Add(a, x) }`},
	{name: "state unchanged", states: []string{"w"}, src: `g (float[3] w, float[3] x) => (float[3] w_next, float[3] y) {
		w_next = Identity(w) y = Add(w, x) }`},
	{name: "two states of one value", states: []string{"u", "w"}, src: `g (float[3] u, float[3] w) => (float[3] u_next, float[3] w_next) {
		s = Add(u, w) u_next = Identity(s) w_next = Identity(s) }`},
	{name: "if", states: []string{"w"}, src: `g (float[3] w, float[3] x, bool c) => (float[3] w_next, float[3] y) {
		w_next = If (c) <then_branch: graph = t () => (float[3] t0) { tm = Mul(w, x) t0 = Add(tm, w) },
			else_branch: graph = e () => (float[3] e0) { e0 = Identity(w) }>
		y = Add(w_next, x) }`},
	{name: "if reads after writing", states: []string{"w"}, src: `g (float[3] w, float[3] x, bool c) => (float[3] w_next, float[3] y) {
		w_next, y = If (c) <then_branch: graph = t () => (float[3] t0, float[3] t1) { t0 = Add(x, w) t1 = Mul(w, t0) },
			else_branch: graph = e () => (float[3] e0, float[3] e1) { e0 = Identity(w) e1 = Neg(w) }> }`},
	{name: "if with states exchanged", states: []string{"u", "w"}, src: `g (float[3] u, float[3] w, bool c) => (float[3] u_next, float[3] w_next) {
		u_next, w_next = If (c) <then_branch: graph = t () => (float[3] t0, float[3] t1) { t0 = Identity(w) t1 = Identity(u) },
			else_branch: graph = e () => (float[3] e0, float[3] e1) { e0 = Identity(u) e1 = Add(u, w) }> }`},
	{name: "if of unequal shapes", src: `g (float[3] x, bool c) => (float[K] y) {
		y0 = If (c) <then_branch: graph = t () => (float[3] t0) { t0 = Neg(x) },
			else_branch: graph = e () => (float[6] e0) { e0 = Concat <axis: int = 0> (x, x) }>
		y = Abs(y0) }`},
	{name: "loop", src: `g (float[3] x, int64 n) => (float[3] y) <bool t = {1}> {
		y = Loop (n, t, x) <body: graph = b (int64 i, bool c, float[3] v) => (bool c2, float[3] v2) {
			c2 = Identity(c) f = Cast <to: int = 1> (i) w = Mul(v, v) v2 = Add(w, f) }> }`},
	{name: "loop with condition and captured value", src: `g (float[3] x, float s) => (float[3] y) <bool t = {1}, float lim = {100}, int64 n = {50}> {
		y = Loop (n, t, x) <body: graph = b (int64 i, bool c, float[3] v) => (bool c2, float[3] v2) {
			a = Abs(v) d = Add(a, s) v2 = Add(d, a) m = ReduceMax <keepdims: int = 0> (v2) c2 = Less(m, lim) }> }`},
	{name: "loop exchanging carried values", src: `g (float[3] x, float[3] z, int64 n) => (float[3] y, float[3] w) {
		y, w = Loop (n, , x, z) <body: graph = b (int64 i, bool c, float[3] u, float[3] v) => (bool c2, float[3] u2, float[3] v2) {
			c2 = Identity(c) u2 = Identity(v) v2 = Add(u, v) }> }`},
	{name: "loop with scan output", src: `g (float[3] x) => (float[5,3] y, float[3] last) <bool t = {1}, int64 n = {5}> {
		last, y = Loop (n, t, x) <body: graph = b (int64 i, bool c, float[3] v) => (bool c2, float[3] v2, float[3] o) {
			c2 = Identity(c) v2 = Add(v, x) o = Mul(v2, v) }> }`},
	{name: "loop of unknown length with scan output", src: `g (float[3] x, int64 n) => (float[K,3] y, float[3] last, float[3] z) <bool t = {1}, int64[1] ax = {0}> {
		last, y = Loop (n, t, x) <body: graph = b (int64 i, bool c, float[3] v) => (bool c2, float[3] v2, float[3] o) {
			c2 = Identity(c) v2 = Add(v, x) o = Mul(v2, v) }>
		z = ReduceSum <keepdims: int = 0> (y, ax) } `},
	{name: "growing loop", src: `g (float[2] x, int64 n) => (float[K] y) <bool t = {1}> {
		y = Loop (n, t, x) <body: graph = b (int64 i, bool c, float[M] v) => (bool c2, float[L] v2) {
			c2 = Identity(c) v2 = Concat <axis: int = 0> (v, x) }> }`},
	{name: "loop state", states: []string{"w"}, src: `g (float[3] w, float[3] x, int64 n) => (float[3] w_next) <bool t = {1}> {
		w_next = Loop (n, t, w) <body: graph = b (int64 i, bool c, float[3] v) => (bool c2, float[3] v2) {
			c2 = Identity(c) h = Mul(v, x) v2 = Add(h, x) }> }`},
	{name: "scan", src: `g (float[2] s, float[4,2] x) => (float[2] y, float[4,2] z) {
		y, z = Scan (s, x) <num_scan_inputs: int = 1, body: graph = b (float[2] a, float[2] e) => (float[2] a2, float[2] o) {
			a2 = Add(a, e) o = Mul(a2, a) }> }`},
	{name: "scan backward on axis 1", src: `g (float[2] s, float[2,4] x) => (float[2] y, float[2,4] z) {
		y, z = Scan (s, x) <num_scan_inputs: int = 1, scan_input_axes: ints = [1], scan_output_axes: ints = [1],
			scan_input_directions: ints = [1], scan_output_directions: ints = [1],
			body: graph = b (float[2] a, float[2] e) => (float[2] a2, float[2] o) { a2 = Add(a, e) o = Mul(a2, a) }> }`},
	{name: "non-zero", src: `g (float[N,4] x) => (int64[2,K] y, float z) {
		p = Relu(x) i = NonZero(p) y = Neg(i) f = Cast <to: int = 1> (y) z = ReduceSum <keepdims: int = 0> (f) }`},
	{name: "slice by input", src: `g (float[8] x, int64[1] a) => (float[K] y) <int64[1] e = {8}> { s = Slice(x, a, e) y = Neg(s) }`},
	{name: "slice by data", src: `g (float[8] x) => (float[K] y) <int64[1] e = {8}, int64[1] one = {1}> {
		p = Relu(x) m = ReduceMax <keepdims: int = 1> (p) q = Ceil(m) k = Cast <to: int = 7> (q) s = Slice(x, k, e) y = Neg(s) }`},
	{name: "if with constant condition", states: []string{"w"}, src: `g (float[3] w, float[3] x) => (float[3] w_next) <bool c = {0}> {
		w_next = If (c) <then_branch: graph = t () => (float[3] t0) { t0 = Identity(w) }, else_branch: graph = e () => (float[3] e0) { e0 = Add(w, x) }> }`},
	{name: "if that is dynamic inside", src: `g (float[3] x, bool c) => (float y) { y = If (c) <
		then_branch: graph = t () => (float t0) { r = Relu(x) i = NonZero(r) f = Cast <to: int = 1> (i) t0 = ReduceMean <keepdims: int = 0> (f) },
		else_branch: graph = e () => (float e0) { e0 = ReduceMax <keepdims: int = 0> (x) }> }`},
	{name: "if that captures a dynamic value", src: `g (float[3] x, bool c) => (int64[1,K] y) { r = Relu(x) i = NonZero(r) y = If (c) <
		then_branch: graph = t () => (int64[1,K] t0) { t0 = Neg(i) }, else_branch: graph = e () => (int64[1,K] e0) { e0 = Identity(i) }> }`},
	{name: "loop of no turns", src: `g (float[3] x) => (float[3] y, float[0,3] z) <int64 n = {0}> {
		y, z = Loop (n, , x) <body: graph = b (int64 i, bool c, float[3] v) => (bool c2, float[3] v2, float[3] o) {
			c2 = Identity(c) v2 = Add(v, x) o = Neg(v) }> }`},
	{name: "loop whose result is the captured state", states: []string{"w"}, src: `g (float[3] w, float[3] x, int64 n) => (float[3] w_next, float[3] y) {
		w_next = Loop (n, , x) <body: graph = b (int64 i, bool c, float[3] v) => (bool c2, float[3] v2) { c2 = Identity(c) v2 = Add(v, w) }>
		y = Neg(w_next) }`},
	{name: "scan of no turns", src: `g (float[2] s, float[0,2] x) => (float[2] y, float[0,2] z) {
		y, z = Scan (s, x) <num_scan_inputs: int = 1, body: graph = b (float[2] a, float[2] e) => (float[2] a2, float[2] o) { a2 = Add(a, e) o = Neg(a) }> }`},
	{name: "growing state", states: []string{"w"}, src: `g (float[K] w, float[2] x) => (float[L] w_next, float[2] y) {
		w_next = Concat <axis: int = 0> (w, x) y = Neg(x) }`},
	{name: "state that changes shape", states: []string{"u", "w"}, src: `g (float[K,J] u, float[L,I] w) => (float[K2,1] u_next, float[L2,1] w_next, float y) <int64[2] s = {-1, 1}> {
		u_next = Reshape(u, s) a = Neg(w) w_next = Reshape(a, s) y0 = ReduceMax <keepdims: int = 0> (u) z = ReduceMin <keepdims: int = 0> (w) y = Add(y0, z) }`},
	{name: "state of dynamic shape", states: []string{"w"}, src: `g (float[K] w, float[2] x) => (float[L] w_next) <int64[1] m = {-1}> {
		r = Relu(x) i = NonZero(r) k = Reshape(i, m) f = Cast <to: int = 1> (k) w_next = Concat <axis: int = 0> (w, f) }`},
	{name: "empty tensors", src: `g (float[0,4] x, float[4] b) => (float[0,4] y, float[4] s) <int64[1] ax = {0}> { y = Add(x, b) s = ReduceSum <keepdims: int = 0> (y, ax) }`},
	{name: "nested control", states: []string{"w"}, src: `g (float[3] w, float[3] x, int64 n, bool c) => (float[3] w_next) <bool t = {1}> {
		w_next = If (c) <then_branch: graph = tb () => (float[3] t0) {
			t0 = Loop (n, t, w) <body: graph = b (int64 i, bool c1, float[3] v) => (bool c2, float[3] v2) {
				c2 = Identity(c1) z = If (c) <then_branch: graph = tt () => (float[3] p) { p = Add(v, x) },
					else_branch: graph = ee () => (float[3] q) { q = Identity(v) }> v2 = Mul(z, x) }> },
			else_branch: graph = e () => (float[3] e0) { e0 = Identity(w) }> }`},
}

func TestAgreesWithInterpreter(t *testing.T) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			v, prog := machine(t, header+c.src, c.states...)
			outputs := prog.Main.OutputNames
			in := random(t, prog, 1)
			state := map[int]int{}
			for k, name := range c.states {
				i := indexOf(t, prog.Model.Graph.Inputs(), name)
				state[i] = k
				v.SetState(k, in[i])
			}
			for run := range 4 {
				for i, x := range random(t, prog, uint64(run+2)) {
					if _, ok := state[i]; !ok {
						in[i] = x
						v.Bind(i, x)
					}
				}
				want, err := prog.Run(in)
				if err != nil {
					t.Fatal(err)
				}
				if err := v.RunAll(); err != nil {
					t.Fatal(err)
				}
				for i, name := range outputs {
					sameTensor(t, name, run, v.Output(i), want[i])
				}
				for i, k := range state {
					for o, name := range outputs {
						if name == prog.Model.Graph.Inputs()[i].Name+"_next" {
							in[i] = lower.Copy(want[o])
							sameTensor(t, name, run, v.State(k), want[o])
						}
					}
				}
			}
		})
	}
}

func sameTensor(t *testing.T, name string, run int, got, want *kernel.Tensor) {
	t.Helper()
	if got.String() != want.String() || string(got.Raw) != string(want.Raw) {
		t.Errorf("run %d, %s: %v %v, want %v %v", run, name, got, values(got), want, values(want))
	}
}

func values(t *kernel.Tensor) any {
	switch t.Elem {
	case graph.Float32:
		return kernel.Data[float32](t)
	case graph.Int64:
		return kernel.Data[int64](t)
	}
	return t.Raw
}

// Control flow of known shapes runs without allocating, and so do states that change places.
func TestControlFlowDoesNotAllocate(t *testing.T) {
	still := map[string]bool{
		"if": true, "if with states exchanged": true, "states change places": true, "nested control": true, "loop": true, "loop with scan output": true,
		"loop with condition and captured value": true, "loop exchanging carried values": true, "scan backward on axis 1": true, "loop state": true,
	}
	for _, c := range cases {
		if !still[c.name] {
			continue
		}
		v, prog := machine(t, header+c.src, c.states...)
		for i, x := range random(t, prog, 1) {
			v.Bind(i, x)
		}
		for k, name := range c.states {
			v.SetState(k, random(t, prog, 1)[indexOf(t, prog.Model.Graph.Inputs(), name)])
		}
		if n := testing.AllocsPerRun(10, func() {
			if err := v.RunAll(); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations a run", c.name, n)
		}
		delete(still, c.name)
	}
	for name := range still {
		t.Errorf("no case %q", name)
	}
}
