package runtime_test

import (
	"errors"
	"fmt"
	memory "runtime"
	"strings"
	"testing"

	"gorgonia.org/tensor"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/graphtest"
	"github.com/asdlc/asdlc/runtime"
	"github.com/asdlc/asdlc/runtime/backendtest"
	"github.com/asdlc/asdlc/runtime/kernel"
)

const stepModel = `<ir_version: 8, opset_import: ["" : 17], metadata_props: ["asdl.state" :
	"[{\"in\":\"w\",\"out\":\"w/next\",\"kind\":\"param\",\"of\":\"w\"},{\"in\":\"asdl/step\",\"out\":\"asdl/step/next\",\"kind\":\"counter\",\"of\":\"\"}]"]>
step (float[N,3] x, float[N] target, float[3] w, int64 "asdl/step", float lr)
	=> (float loss, float[3] "w/next", int64 "asdl/step/next") <int64 one = {1}, int64[1] ax = {1}, int64[1] ax0 = {0}>
{
	m = Mul(x, w)
	p = ReduceSum <keepdims: int = 0> (m, ax)
	d = Sub(p, target)
	sq = Mul(d, d)
	loss = ReduceMean <keepdims: int = 0> (sq)
	d1 = Unsqueeze(d, ax)
	xd = Mul(x, d1)
	g = ReduceMean <keepdims: int = 0, axes: ints = [0]> (xd)
	s = Mul(g, lr)
	"w/next" = Sub(w, s)
	"asdl/step/next" = Add("asdl/step", one)
}`

const initModel = `<ir_version: 8, opset_import: ["" : 17]> init () => (float[3] w, int64 "asdl/step", float lr)
{
	w = Constant <value: tensor = float[3] {0, 0, 0}> ()
	"asdl/step" = Constant <value: tensor = int64 {0}> ()
	lr = Constant <value: tensor = float {0.5}> ()
}`

func session(t testing.TB, src string, opts runtime.Options) *runtime.Session {
	t.Helper()
	s, err := runtime.NewSession(graphtest.MustParse(t, src), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func batch(n int) (x, target *kernel.Tensor) {
	x, target = kernel.New(graph.Float32, n, 3), kernel.New(graph.Float32, n)
	xs, ts := kernel.Data[float32](x), kernel.Data[float32](target)
	for i := range n {
		for k := range 3 {
			xs[3*i+k] = float32((i*5+k*3)%7-3) / 3
			ts[i] += xs[3*i+k] * float32(k+1)
		}
	}
	return x, target
}

// hostStep computes what stepModel does, in float64.
func hostStep(x, target *kernel.Tensor, w [3]float64) (loss float64, next [3]float64) {
	xs, ts := kernel.Data[float32](x), kernel.Data[float32](target)
	n := len(ts)
	next = w
	for i := range n {
		d := -float64(ts[i])
		for k := range 3 {
			d += float64(xs[3*i+k]) * w[k]
		}
		loss += d * d / float64(n)
		for k := range 3 {
			next[k] -= 0.5 * d * float64(xs[3*i+k]) / float64(n)
		}
	}
	return loss, next
}

func TestStateIsCarried(t *testing.T) {
	for _, double := range []bool{false, true} {
		s := session(t, stepModel, runtime.Options{Float64: double})
		if err := s.LoadInit(graphtest.MustParse(t, initModel)); err != nil {
			t.Fatal(err)
		}
		var w [3]float64
		tol := 1e-5
		if double {
			tol = 1e-14
		}
		for step, n := range []int{4, 7, 4, 7, 2} {
			x, target := batch(n)
			feeds := map[string]*kernel.Tensor{"x": x, "target": target}
			if double {
				feeds["x"], feeds["target"] = runtime.Widen(x), runtime.Widen(target)
			}
			out, err := s.Run(feeds, nil)
			if err != nil {
				t.Fatal(err)
			}
			if len(out) != 1 {
				t.Errorf("%d outputs by default, want the loss alone", len(out))
			}
			var loss float64
			loss, w = hostStep(x, target, w)
			if got := floatsOf(out["loss"])[0]; !near(got, loss, tol) {
				t.Errorf("step %d: loss %v, want %v", step, got, loss)
			}
			got, err := s.State("w")
			if err != nil {
				t.Fatal(err)
			}
			for k, v := range floatsOf(got) {
				if !near(v, w[k], tol) {
					t.Errorf("step %d: w[%d] = %v, want %v", step, k, v, w[k])
				}
			}
			count, err := s.State("asdl/step")
			if err != nil || kernel.Data[int64](count)[0] != int64(step+1) {
				t.Errorf("step counter %v, %v", count, err)
			}
		}
	}
}

func near(a, b, tol float64) bool { return a-b <= tol*(1+b*b) && b-a <= tol*(1+b*b) }

// The host of another language carries the state itself: it feeds states and fetches the next ones.
func TestHostCarriesState(t *testing.T) {
	x, target := batch(4)
	carried := session(t, stepModel, runtime.Options{Stateless: true})
	own := session(t, stepModel, runtime.Options{})
	if err := own.LoadInit(graphtest.MustParse(t, initModel)); err != nil {
		t.Fatal(err)
	}
	w, step := kernel.New(graph.Float32, 3), kernel.Of([]int64{0})
	lr := kernel.Of([]float32{0.5})
	for range 3 {
		out, err := carried.Run(map[string]*kernel.Tensor{"x": x, "target": target, "w": w, "asdl/step": step, "lr": lr}, nil)
		if err != nil {
			t.Fatal(err)
		}
		w, step = out["w/next"], out["asdl/step/next"]
		if _, err := own.Run(map[string]*kernel.Tensor{"x": x, "target": target}, nil); err != nil {
			t.Fatal(err)
		}
	}
	got, err := own.State("w")
	if err != nil {
		t.Fatal(err)
	}
	if err := backendtest.Compare(got, w, 0, 0); err != nil {
		t.Error(err)
	}
}

func TestStepsDoNotAllocate(t *testing.T) {
	s := session(t, stepModel, runtime.Options{Threads: 1})
	if err := s.LoadInit(graphtest.MustParse(t, initModel)); err != nil {
		t.Fatal(err)
	}
	x, target := batch(64)
	for name, v := range map[string]*kernel.Tensor{"x": x, "target": target} {
		if err := s.Bind(name, v); err != nil {
			t.Fatal(err)
		}
	}
	step := func() {
		if err := s.Step(); err != nil {
			t.Fatal(err)
		}
	}
	step()
	if n := testing.AllocsPerRun(20, step); n != 0 {
		t.Errorf("%v allocations a step", n)
	}
	if s.PeakBytes() == 0 {
		t.Error("no peak")
	}
}

func TestFeedsAreChecked(t *testing.T) {
	s := session(t, stepModel, runtime.Options{})
	x, target := batch(4)
	feeds := func(change map[string]*kernel.Tensor) map[string]*kernel.Tensor {
		f := map[string]*kernel.Tensor{
			"x": x, "target": target, "w": kernel.New(graph.Float32, 3), "asdl/step": kernel.New(graph.Int64), "lr": kernel.New(graph.Float32),
		}
		for name, v := range change {
			if f[name] = v; v == nil {
				delete(f, name)
			}
		}
		return f
	}
	for _, c := range []struct {
		name   string
		change map[string]*kernel.Tensor
		says   []string
	}{
		{"missing state", map[string]*kernel.Tensor{"w": nil}, []string{`"w"`, "init"}},
		{"missing input", map[string]*kernel.Tensor{"x": nil}, []string{`"x"`, "float[N,3]"}},
		{"unknown name", map[string]*kernel.Tensor{"X": x}, []string{`no input "X"`, `"x"`}},
		{"wrong type", map[string]*kernel.Tensor{"x": kernel.New(graph.Float64, 4, 3)}, []string{`"x"`, "double[4 3]", "float[N,3]"}},
		{"wrong rank", map[string]*kernel.Tensor{"x": kernel.New(graph.Float32, 12)}, []string{`"x"`, "float[12]"}},
		{"wrong size", map[string]*kernel.Tensor{"x": kernel.New(graph.Float32, 4, 2)}, []string{`"x"`, "float[4 2]"}},
		{"batches differ", map[string]*kernel.Tensor{"target": kernel.New(graph.Float32, 5)}, []string{`"target"`, "N = 5", `"x"`, "N = 4"}},
	} {
		_, err := session(t, stepModel, runtime.Options{}).Run(feeds(c.change), nil)
		if !errors.Is(err, runtime.ErrFeed) {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		for _, part := range c.says {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %q does not say %s", c.name, err, part)
			}
		}
	}
	if _, err := s.Run(feeds(nil), []string{"nothing"}); !errors.Is(err, runtime.ErrFeed) {
		t.Errorf("unknown output: %v", err)
	}
	if _, err := s.Run(feeds(nil), []string{"w/next"}); err != nil {
		t.Error(err)
	}
}

// A feed counts for one run, a default stays.
func TestFeedsAreForgotten(t *testing.T) {
	s := session(t, stepModel, runtime.Options{})
	if err := s.LoadInit(graphtest.MustParse(t, initModel)); err != nil {
		t.Fatal(err)
	}
	x, target := batch(4)
	if _, err := s.Run(map[string]*kernel.Tensor{"x": x, "target": target, "lr": kernel.Of([]float32{0})}, nil); err != nil {
		t.Fatal(err)
	}
	if w, _ := s.State("w"); largest(w) != 0 {
		t.Error("a learning rate of 0 moved w")
	}
	if _, err := s.Run(map[string]*kernel.Tensor{"x": x}, nil); !errors.Is(err, runtime.ErrFeed) {
		t.Errorf("target is remembered: %v", err)
	}
	if _, err := s.Run(map[string]*kernel.Tensor{"x": x, "target": target}, nil); err != nil {
		t.Fatal(err)
	}
	if w, _ := s.State("w"); largest(w) == 0 {
		t.Error("the default learning rate is gone")
	}
}

func TestUnsupportedOperatorsAreListed(t *testing.T) {
	_, err := runtime.NewSession(graphtest.MustParse(t, `<ir_version: 8, opset_import: ["" : 17]> g (float[3] x) => (float[3] y) {
		[first] a = Foo(x) [second] b = Bar(a) y = Neg(b) }`), runtime.Options{})
	if !errors.Is(err, graph.ErrUnsupported) || !strings.Contains(err.Error(), "first (Foo)") || !strings.Contains(err.Error(), "second (Bar)") {
		t.Error(err)
	}
}

func TestMemoryLimit(t *testing.T) {
	const src = `<ir_version: 8, opset_import: ["" : 17]> g (float[N,1000] x) => (float[N,1000] y) { a = Exp(x) y = Add(a, x) }`
	s := session(t, src, runtime.Options{MemoryLimit: 1 << 20})
	if _, err := s.Run(map[string]*kernel.Tensor{"x": kernel.New(graph.Float32, 10, 1000)}, nil); err != nil {
		t.Error(err)
	}
	if _, err := s.Run(map[string]*kernel.Tensor{"x": kernel.New(graph.Float32, 10000, 1000)}, nil); err == nil || !strings.Contains(err.Error(), "limit") {
		t.Errorf("limit: %v", err)
	}
}

// Shapes that multiply past memory are refused before anything is allocated.
func TestHugeShapes(t *testing.T) {
	for _, src := range []string{
		`g (int64[3] n) => (float[A,B,C] y) { [big] y = ConstantOfShape(n) }`,
		`g (int64[3] n) => (float[A,B,C] y) { m = Neg(n) k = Abs(m) [big] y = ConstantOfShape(k) }`,
		`g (float[3] x) => (float[A,B,C] y) { f = Abs(x) n = Cast <to: int = 7> (f) [big] y = ConstantOfShape(n) }`,
	} {
		s := session(t, `<ir_version: 8, opset_import: ["" : 17]> `+src, runtime.Options{})
		_, err := s.Run(map[string]*kernel.Tensor{s.Inputs()[0].Name: huge(s.Inputs()[0].Type.Elem)}, nil)
		if err == nil || !strings.Contains(err.Error(), "big (ConstantOfShape)") || strings.Contains(err.Error(), "BUG") {
			t.Errorf("%s: %v", src, err)
		}
	}
}

func huge(e graph.Elem) *kernel.Tensor {
	if e == graph.Int64 {
		return kernel.Of([]int64{1 << 30, 1 << 30, 1 << 30}, 3)
	}
	return kernel.Of([]float32{1 << 30, 1 << 30, 1 << 30}, 3)
}

// An initialisation model of another step graph is refused.
func TestForeignInit(t *testing.T) {
	s := session(t, stepModel, runtime.Options{})
	err := s.LoadInit(graphtest.MustParse(t, `<ir_version: 8, opset_import: ["" : 17]> init () => (float v) { v = Constant <value_float: float = 1.0> () }`))
	if !errors.Is(err, runtime.ErrFeed) {
		t.Error(err)
	}
}

// The initial state is taken over with one copy, beside what its model computes.
func TestInitMemory(t *testing.T) {
	const size = 32 << 20
	s := session(t, `<ir_version: 8, opset_import: ["" : 17], metadata_props: ["asdl.state" : "[{\"in\":\"w\",\"out\":\"w/next\",\"kind\":\"param\",\"of\":\"w\"}]"]>
step (float[8388608] w) => (float[8388608] "w/next") { "w/next" = Neg(w) }`, runtime.Options{})
	init := graphtest.MustParse(t, `<ir_version: 8, opset_import: ["" : 17]> init () => (float[8388608] w) <int64[1] n = {8388608}> { w = ConstantOfShape(n) }`)
	var before, after memory.MemStats
	memory.ReadMemStats(&before)
	if err := s.LoadInit(init); err != nil {
		t.Fatal(err)
	}
	memory.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > size*9/4 {
		t.Errorf("%d bytes allocated for a state of %d", took, size)
	}
}

// A bug in a kernel is an error that names the node.
func TestPanicsAreErrors(t *testing.T) {
	for name, fail := range map[string]func(*kernel.Call) (kernel.Run, error){
		"running": func(*kernel.Call) (kernel.Run, error) {
			return func(_, _ []*kernel.Tensor) error { panic("boom") }, nil
		},
		"planning": func(*kernel.Call) (kernel.Run, error) { panic("boom") },
	} {
		boom, err := kernel.NewRegistry([]kernel.Row{{Op: "Neg", Make: fail}})
		if err != nil {
			t.Fatal(err)
		}
		s := session(t, `<ir_version: 8, opset_import: ["" : 17]> g (float[3] x) => (float[3] y) { [culprit] y = Neg(x) }`, runtime.Options{Registry: boom})
		_, err = s.Run(map[string]*kernel.Tensor{"x": kernel.New(graph.Float32, 3)}, nil)
		if err == nil || !strings.Contains(err.Error(), "BUG: ") || !strings.Contains(err.Error(), "culprit (Neg)") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An index out of range is found by the kernel, whose error names the node.
func TestKernelErrorsNameTheNode(t *testing.T) {
	s := session(t, `<ir_version: 8, opset_import: ["" : 17]> g (float[3] x, int64[2] i) => (float[2] y) { [pick] y = Gather(x, i) }`, runtime.Options{})
	_, err := s.Run(map[string]*kernel.Tensor{"x": kernel.New(graph.Float32, 3), "i": kernel.Of([]int64{0, 3}, 2)}, nil)
	if err == nil || !strings.Contains(err.Error(), "pick (Gather)") {
		t.Error(err)
	}
}

func TestDense(t *testing.T) {
	d := tensor.New(tensor.WithShape(2, 3), tensor.WithBacking([]float32{1, 2, 3, 4, 5, 6}))
	if err := d.T(); err != nil {
		t.Fatal(err)
	}
	x, err := runtime.FromDense(d)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(x.Shape, kernel.Data[float32](x)); got != "[3 2] [1 4 2 5 3 6]" {
		t.Errorf("transposed view: %s", got)
	}
	col := tensor.New(tensor.WithShape(2, 3), tensor.AsFortran([]float32{1, 2, 3, 4, 5, 6}))
	if x, err = runtime.FromDense(col); err != nil || fmt.Sprint(kernel.Data[float32](x)) != "[1 2 3 4 5 6]" {
		t.Errorf("column-major: %v %v", kernel.Data[float32](x), err)
	}
	back, err := runtime.ToDense(x)
	if err != nil || fmt.Sprint(back.Data()) != "[1 2 3 4 5 6]" || !back.Shape().Eq(tensor.Shape{2, 3}) {
		t.Errorf("%v %v", back, err)
	}
	if scalar, err := runtime.ToDense(kernel.Of([]int64{7})); err != nil || scalar.ScalarValue() != int64(7) {
		t.Errorf("%v %v", scalar, err)
	}
	if _, err := runtime.ToDense(kernel.New(graph.Float32, 0, 2)); err == nil {
		t.Error("an empty tensor has no Dense")
	}
}
