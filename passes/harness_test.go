package passes_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes"
	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/passes/passtest"
	"github.com/asdlc/asdlc/runtime"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// array is a tensor of the tests: all arithmetic of the oracles is in float64.
type array struct {
	shape []int
	v     []float64
}

type arrays map[string]array

func newArray(shape ...int) array {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return array{shape, make([]float64, n)}
}

func normals(rng *rand.Rand, shape ...int) array {
	a := newArray(shape...)
	for i := range a.v {
		a.v[i] = rng.NormFloat64()
	}
	return a
}

func labels(rng *rand.Rand, classes int, shape ...int) array {
	a := newArray(shape...)
	for i := range a.v {
		a.v[i] = float64(rng.IntN(classes))
	}
	return a
}

func number(v float64) array { return array{nil, []float64{v}} }

func (a array) clone() array { return array{a.shape, slices.Clone(a.v)} }

func (a array) dense() *mat.Dense {
	return mat.NewDense(a.shape[0], len(a.v)/a.shape[0], slices.Clone(a.v))
}

func (as arrays) clone() arrays {
	out := arrays{}
	for k, a := range as {
		out[k] = a.clone()
	}
	return out
}

// tensorText is an initializer in the text form: double[2,3] "name" = {...}.
func tensorText(name string, a array) string {
	var dims, vals []string
	for _, d := range a.shape {
		dims = append(dims, strconv.Itoa(d))
	}
	for _, v := range a.v {
		vals = append(vals, strconv.FormatFloat(v, 'g', -1, 64))
	}
	return fmt.Sprintf("double[%s] %q = {%s}", strings.Join(dims, ","), name, strings.Join(vals, ","))
}

// source is a model in text form with the initial parameters put in: body is "(inputs) => (outputs) PARAMS { nodes }".
func source(body string, params arrays) string {
	var names, inits []string
	for name := range params {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		inits = append(inits, tensorText(name, params[name]))
	}
	return `<ir_version: 8, opset_import: ["" : 17]> net ` + strings.Replace(body, "PARAMS", "<"+strings.Join(inits, ", ")+">", 1)
}

// stepper runs a step graph.
type stepper struct {
	t       testing.TB
	session *runtime.Session
	ports   map[string]runtime.Port
	fetch   []string
	result  *passes.Result
}

// instrument compiles the step graph of a model in text form and starts it.
func instrument(t testing.TB, text string, rec method.Record, o pass.Options) *stepper {
	t.Helper()
	return begin(t, compile(t, text, rec, o))
}

func compile(t testing.TB, text string, rec method.Record, o pass.Options) *passes.Result {
	t.Helper()
	o.Verify = true
	r, err := passes.Instrument(passtest.Parse(t, text), rec, o, "")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func begin(t testing.TB, r *passes.Result) *stepper {
	t.Helper()
	s := start(t, r.Step)
	s.result = r
	if err := s.session.LoadInit(r.Init); err != nil {
		t.Fatal(err)
	}
	return s
}

// start makes a session for a step graph without loading initial values.
func start(t testing.TB, m *graph.Model) *stepper {
	t.Helper()
	session, err := runtime.NewSession(m, runtime.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close() })
	s := &stepper{t: t, session: session, ports: map[string]runtime.Port{}}
	for _, p := range session.Inputs() {
		s.ports[p.Name] = p
	}
	for _, p := range session.Outputs() {
		s.fetch = append(s.fetch, p.Name)
	}
	return s
}

// step runs the graph once. Feeds that the graph has no input for are left out.
func (s *stepper) step(feeds arrays) arrays {
	s.t.Helper()
	in := map[string]*kernel.Tensor{}
	for name, a := range feeds {
		if p, ok := s.ports[name]; ok {
			in[name] = a.tensor(p.Type.Elem)
		}
	}
	out, err := s.session.Run(in, s.fetch)
	if err != nil {
		s.t.Fatal(err)
	}
	got := arrays{}
	for name, x := range out {
		got[name] = fromTensor(x)
	}
	return got
}

// copyState gives the state to another step graph with the same states, and returns it.
func (s *stepper) copyState(to *stepper) arrays {
	s.t.Helper()
	state := arrays{}
	for _, st := range s.session.States() {
		x, err := s.session.State(st.In)
		must(err)
		state[st.In] = fromTensor(x)
		must(to.session.SetState(st.In, x))
	}
	return state
}

func fromTensor(x *kernel.Tensor) array { return array{x.Shape, passtest.Floats(x)} }

func (a array) tensor(e graph.Elem) *kernel.Tensor {
	x := kernel.New(e, a.shape...)
	for i, v := range a.v {
		switch e {
		case graph.Int64:
			kernel.Data[int64](x)[i] = int64(v)
		case graph.Float32:
			kernel.Data[float32](x)[i] = float32(v)
		default:
			kernel.Data[float64](x)[i] = v
		}
	}
	return x
}

// record is a method of the table with settings "path=value".
func record(t testing.TB, name string, settings ...string) method.Record {
	t.Helper()
	rec, ok := method.Lookup(name)
	if !ok {
		t.Fatalf("no method %s", name)
	}
	for _, s := range settings {
		path, value, _ := strings.Cut(s, "=")
		if err := method.Set(&rec, path, value); err != nil {
			t.Fatal(err)
		}
	}
	if err := method.Validate(rec); err != nil {
		t.Fatal(err)
	}
	return rec
}

// near fails unless got is want up to tol times want's largest entry.
func near(t testing.TB, what string, got, want []float64, tol float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d numbers, want %d", what, len(got), len(want))
		return
	}
	scale := 0.0
	for _, w := range want {
		scale = math.Max(scale, math.Abs(w))
	}
	worst, at := 0.0, 0
	for i := range want {
		if d := math.Abs(got[i] - want[i]); d > worst || math.IsNaN(d) {
			worst, at = d, i
			if math.IsNaN(d) {
				break
			}
		}
	}
	if !(worst <= tol*math.Max(scale, 1e-12)) {
		t.Errorf("%s: entry %d is %.12g, want %.12g (off by %.3g of %.3g, tolerance %g)", what, at, got[at], want[at], worst, scale, tol)
	}
}

// nearAll compares every array of want.
func nearAll(t testing.TB, what string, got, want arrays, tol float64) {
	t.Helper()
	for name, w := range want {
		g, ok := got[name]
		if !ok {
			t.Errorf("%s: no %s", what, name)
			continue
		}
		near(t, what+": "+name, g.v, w.v, tol)
	}
}

// outputsOf strips the prefix from the names of outputs that have it.
func outputsOf(out arrays, prefix, suffix string) arrays {
	got := arrays{}
	for name, a := range out {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			if rest, ok := strings.CutSuffix(rest, suffix); ok {
				got[rest] = a
			}
		}
	}
	return got
}

func finiteArrays(as arrays) bool {
	for _, a := range as {
		for _, v := range a.v {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return false
			}
		}
	}
	return true
}

// symPower is m^p for a symmetric positive definite m, by eigendecomposition.
func symPower(m *mat.Dense, p float64) *mat.Dense {
	n, _ := m.Dims()
	sym := mat.NewSymDense(n, nil)
	for i := range n {
		for j := range n {
			sym.SetSym(i, j, (m.At(i, j)+m.At(j, i))/2)
		}
	}
	var eig mat.EigenSym
	if !eig.Factorize(sym, true) {
		panic("no eigendecomposition")
	}
	var v mat.Dense
	eig.VectorsTo(&v)
	d := mat.NewDiagDense(n, nil)
	for i, w := range eig.Values(nil) {
		d.SetDiag(i, math.Pow(w, p))
	}
	var out mat.Dense
	out.Product(&v, d, v.T())
	return &out
}

func product(ms ...mat.Matrix) *mat.Dense {
	var out mat.Dense
	out.Product(ms...)
	return &out
}

// addEye is m + d I.
func addEye(m *mat.Dense, d float64) *mat.Dense {
	out := mat.DenseCopyOf(m)
	for i := range m.RawMatrix().Rows {
		out.Set(i, i, out.At(i, i)+d)
	}
	return out
}

func flat(m *mat.Dense) []float64 { return slices.Clone(m.RawMatrix().Data) }

// orthogonal is a random orthogonal matrix.
func orthogonal(rng *rand.Rand, n int) *mat.Dense {
	var qr mat.QR
	qr.Factorize(normals(rng, n, n).dense())
	var q mat.Dense
	qr.QTo(&q)
	return &q
}
