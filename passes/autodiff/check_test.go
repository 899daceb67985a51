package autodiff_test

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/graphtest"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/autodiff"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// spec is a row of the test table: a function written with one operator, checked against finite differences.
type spec struct {
	op, name string // operator (with domain if not standard), and what is special about the case
	opset    int    // 0: 17
	// sig is the function's signature in the text form: inputs, outputs, constants. All double inputs vary.
	sig   string
	body  string            // nodes
	draw  map[string]string // range of an input: see draws; "" is wide
	fixed string            // inputs that keep their shape when dimensions are made symbolic, separated by spaces
	// open is what must be known before the run: "" nothing but ranks, "static" every shape.
	open  string
	order int // highest order checked; 0: 2
}

func (s *spec) title() string {
	if s.name == "" {
		return s.op
	}
	return s.op + "/" + s.name
}

func (s *spec) text() string {
	opset := s.opset
	if opset == 0 {
		opset = 17
	}
	return fmt.Sprintf("<ir_version: 10, opset_import: [\"\" : %d, \"asdl\" : 1]>\nf %s {\n%s\n}", opset, s.sig, s.body)
}

// direction is a tensor of random numbers from -1 to 1.
func direction(r *rand.Rand, shape ...int) *kernel.Tensor {
	data := make([]float64, kernel.Count(shape))
	for i := range data {
		data[i] = 2*r.Float64() - 1
	}
	return kernel.Of(data, shape...)
}

// problem is a spec with numbers: a model, the names of its inputs that vary, and values for all inputs.
type problem struct {
	t     testing.TB
	model *graph.Model
	xs    []string
	feeds map[string]*kernel.Tensor
	rand  *rand.Rand
}

func (s *spec) problem(t testing.TB) *problem {
	h := fnv.New64()
	h.Write([]byte(s.title()))
	p := &problem{t: t, model: graphtest.MustParse(t, s.text()), feeds: map[string]*kernel.Tensor{}, rand: rand.New(rand.NewPCG(h.Sum64(), 1))}
	if err := op.InferGraph(p.model); err != nil {
		t.Fatal(err)
	}
	for _, v := range p.model.Graph.Inputs() {
		shape, ok := v.Type.Static()
		if !ok || v.Type.Elem != graph.Float64 {
			t.Fatalf("input %s has type %s", v.Name, v.Type)
		}
		p.xs = append(p.xs, v.Name)
		p.feeds[v.Name] = fill(p.rand, s.draw[v.Name], ints(shape)...)
	}
	return p
}

// reals lists the floating-point outputs.
func reals(m *graph.Model) []*graph.Value {
	var ys []*graph.Value
	for _, v := range m.Graph.Outputs() {
		if v.Type.Elem.IsFloat() {
			ys = append(ys, v)
		}
	}
	return ys
}

func (p *problem) inputs() []*graph.Value {
	var xs []*graph.Value
	for _, name := range p.xs {
		xs = append(xs, p.model.Graph.Find(name))
	}
	return xs
}

func (p *problem) expand() {
	p.t.Helper()
	if err := autodiff.Expand(&pass.Ctx{Report: &pass.Report{}}, p.model); err != nil {
		p.t.Fatal(err)
	}
	graphtest.MustVerify(p.t, p.model)
}

// gradient is the problem whose function is the gradient of sum(seed * y); the seeds are further inputs that vary.
func (p *problem) gradient(tag string) *problem {
	q := p.copy()
	g := q.model.Graph
	ys, xs := reals(q.model), q.inputs()
	in := slices.Clone(ys)
	for i, y := range ys {
		name := fmt.Sprintf("%s_seed%d", tag, i)
		in = append(in, g.AddInput(name, y.Type))
		q.xs = append(q.xs, name)
		q.feeds[name] = like(direction(q.rand, p.output(y.Name).Shape...), y.Type)
	}
	in = append(in, xs...)
	names := make([]string, len(xs))
	for i, x := range xs {
		names[i] = tag + "_d" + x.Name
	}
	n := g.AddNode(graph.Asdl, graph.TagGradient, in, names, graph.I("ys", int64(len(ys))))
	for i, o := range n.Outputs() {
		o.Type = xs[i].Type
	}
	g.SetOutputs(n.Outputs()...)
	q.expand()
	return q
}

// tangent is the problem whose function is the tangent of the y's along random directions, further inputs that vary.
func (p *problem) tangent(tag string) *problem {
	q := p.copy()
	g := q.model.Graph
	ys, xs := reals(q.model), q.inputs()
	in := slices.Clone(ys)
	for i, x := range xs {
		name := fmt.Sprintf("%s_t%d", tag, i)
		in = append(in, g.AddInput(name, x.Type))
		q.xs = append(q.xs, name)
		q.feeds[name] = like(direction(q.rand, q.feeds[x.Name].Shape...), x.Type)
	}
	in = append(in, xs...)
	names := make([]string, len(ys))
	for i, y := range ys {
		names[i] = tag + "_d" + y.Name
	}
	n := g.AddNode(graph.Asdl, graph.TagTangent, in, names, graph.I("ys", int64(len(ys))))
	for i, o := range n.Outputs() {
		o.Type = ys[i].Type
	}
	g.SetOutputs(n.Outputs()...)
	q.expand()
	return q
}

func (p *problem) copy() *problem {
	q := *p
	q.model = graph.Clone(p.model)
	q.xs = slices.Clone(p.xs)
	q.feeds = map[string]*kernel.Tensor{}
	for k, v := range p.feeds {
		q.feeds[k] = v
	}
	return &q
}

func (p *problem) output(name string) *kernel.Tensor { return evaluate(p.t, p.model, p.feeds)[name] }

// along evaluates the outputs with the first n varying inputs moved by h times dir.
func (p *problem) along(dir map[string]*kernel.Tensor, h float64) map[string][]float64 {
	feeds := map[string]*kernel.Tensor{}
	for name, t := range p.feeds {
		feeds[name] = t
		if d := dir[name]; d != nil {
			moved := slices.Clone(kernel.Data[float64](t))
			for i, v := range kernel.Data[float64](d) {
				moved[i] += h * v
			}
			feeds[name] = kernel.Of(moved, t.Shape...)
		}
	}
	out := map[string][]float64{}
	for name, t := range evaluate(p.t, p.model, feeds) {
		if t.Elem == graph.Float64 {
			out[name] = kernel.Data[float64](t)
		}
	}
	return out
}

// slope is the derivative of the outputs along dir, by central differences of fourth order.
func (p *problem) slope(dir map[string]*kernel.Tensor) map[string][]float64 {
	const h = 2e-5 // small, so that kinks are rarely met
	a, b, c, d := p.along(dir, h), p.along(dir, -h), p.along(dir, 2*h), p.along(dir, -2*h)
	out := map[string][]float64{}
	for name := range a {
		out[name] = make([]float64, len(a[name]))
		for i := range a[name] {
			out[name][i] = (8*(a[name][i]-b[name][i]) - (c[name][i] - d[name][i])) / (12 * h)
		}
	}
	return out
}

// checkReverse compares the gradient of p with differences of p along a random direction.
func (p *problem) checkReverse(what string) {
	p.t.Helper()
	q := p.gradient(what)
	dir := map[string]*kernel.Tensor{}
	for _, x := range p.xs {
		dir[x] = direction(p.rand, p.feeds[x].Shape...)
	}
	want, scale := 0.0, 1.0
	slope := p.slope(dir)
	for i, y := range reals(p.model) {
		for k, s := range kernel.Data[float64](q.feeds[fmt.Sprintf("%s_seed%d", what, i)]) {
			want += s * slope[y.Name][k]
			scale = max(scale, math.Abs(slope[y.Name][k]))
		}
	}
	got, outs := 0.0, q.along(nil, 0)
	for _, x := range p.xs {
		for k, d := range kernel.Data[float64](dir[x]) {
			got += d * outs[what+"_d"+x][k]
		}
	}
	if !(math.Abs(got-want) <= tolerance*scale) {
		p.t.Errorf("%s: gradient along a direction is %.12g, differences give %.12g", what, got, want)
	}
}

// tolerance of derivatives against differences, relative to the largest entry or 1.
const tolerance = 1e-6

// checkForward compares the tangents of p with differences of p.
func (p *problem) checkForward(what string) {
	p.t.Helper()
	q := p.tangent(what)
	dir := map[string]*kernel.Tensor{}
	for i, x := range p.xs {
		dir[x] = q.feeds[fmt.Sprintf("%s_t%d", what, i)]
	}
	want, got := p.slope(dir), q.along(nil, 0)
	for _, y := range reals(p.model) {
		compare(p.t, what+" of "+y.Name, got[what+"_d"+y.Name], want[y.Name], tolerance)
	}
}

// compare checks got against want relative to the largest entry or 1.
func compare(t testing.TB, what string, got, want []float64, tol float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d elements, want %d", what, len(got), len(want))
		return
	}
	scale := 1.0
	for _, v := range want {
		scale = max(scale, math.Abs(v))
	}
	for i := range want {
		if !(math.Abs(got[i]-want[i]) <= tol*scale) {
			t.Errorf("%s: element %d is %.12g, want %.12g", what, i, got[i], want[i])
			return
		}
	}
}

// run checks both modes at first and second order.
func (s *spec) run(t *testing.T) {
	p := s.problem(t)
	p.checkReverse("r")
	p.checkForward("f")
	if s.order == 1 {
		return
	}
	p.gradient("g").checkReverse("rr")
	p.gradient("g").checkForward("fr")
	p.tangent("h").checkReverse("rf")
	p.tangent("h").checkForward("ff")
}

// open is the spec with every dimension of its inputs unknown but those that must be known.
func (p *problem) open(fixed string) {
	for _, v := range p.model.Graph.Inputs() {
		if slices.Contains(strings.Fields(fixed), v.Name) {
			continue
		}
		dims := make([]graph.Dim, len(v.Type.Dims))
		for i := range dims {
			dims[i] = graph.UnknownDim
		}
		v.Type.Dims = dims
	}
	for n := range p.model.Graph.All() {
		for _, o := range n.Outputs() {
			if o != nil {
				o.Type = graph.UnrankedType(o.Type.Elem)
			}
		}
	}
	if err := op.InferGraph(p.model); err != nil {
		p.t.Fatal(err)
	}
}

// runOpen checks that first-order derivatives come out the same where shapes are only known at run time.
func (s *spec) runOpen(t *testing.T) {
	closed, open := s.problem(t), s.problem(t)
	open.open(s.fixed)
	for what, f := range map[string]func(*problem) *problem{
		"gradient": func(p *problem) *problem { return p.gradient("g") },
		"tangent":  func(p *problem) *problem { return p.tangent("g") },
	} {
		c, o := f(closed), f(open)
		o.feeds = c.feeds
		want, got := c.along(nil, 0), o.along(nil, 0)
		for name := range want {
			compare(t, what+" "+name, got[name], want[name], 1e-12)
		}
	}
}

// runSingle checks the float32 form of the spec against the float64 one.
func (s *spec) runSingle(t *testing.T) {
	double := s.problem(t)
	narrow := double.copy()
	narrow.model = graphtest.MustParse(t, single(s.text()))
	if err := op.InferGraph(narrow.model); err != nil {
		t.Fatal(err)
	}
	for what, f := range map[string]func(*problem) *problem{
		"gradient":             func(p *problem) *problem { return p.gradient("g") },
		"tangent":              func(p *problem) *problem { return p.tangent("g") },
		"gradient of gradient": func(p *problem) *problem { return p.gradient("g").gradient("h") },
		"tangent of gradient":  func(p *problem) *problem { return p.gradient("g").tangent("h") },
	} {
		if s.order == 1 && strings.Contains(what, "of") {
			continue
		}
		d := f(double)
		want := d.along(nil, 0)
		narrow.feeds = toSingle(double.feeds)
		e := f(narrow)
		e.feeds = toSingle(d.feeds)
		for name, v := range evaluate(t, e.model, e.feeds) {
			if v.Elem == graph.Float32 && want[name] != nil {
				got, _ := v.Const().Float64s()
				compare(t, what+" "+name, got, want[name], 1e-4)
			}
		}
	}
}

// single is the text of a model in single precision.
func single(text string) string {
	return strings.NewReplacer("double", "float", "to: int = 11", "to: int = 1").Replace(text)
}

// like is t in the type's precision.
func like(t *kernel.Tensor, of graph.Type) *kernel.Tensor {
	if of.Elem == graph.Float32 {
		return toSingle(map[string]*kernel.Tensor{"": t})[""]
	}
	return t
}

func toSingle(feeds map[string]*kernel.Tensor) map[string]*kernel.Tensor {
	out := map[string]*kernel.Tensor{}
	for name, t := range feeds {
		out[name] = t
		if t.Elem == graph.Float64 {
			data := make([]float32, t.Len())
			for i, v := range kernel.Data[float64](t) {
				data[i] = float32(v)
			}
			out[name] = kernel.Of(data, t.Shape...)
		}
	}
	return out
}
