package passes_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/graphtest"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes"
	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/runtime"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// network makes a small model of random operators on one to two inputs and parameters, which ends in a layer.
func network(t *rapid.T) *graph.Model {
	opset := rapid.IntRange(7, 26).Draw(t, "opset")
	m := graph.NewModel(int64(opset))
	rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "data"), 3))
	elem := rapid.SampledFrom([]graph.Elem{graph.Float32, graph.Float64}).Draw(t, "elem")
	c := &graphtest.Caller{T: t, Model: m, Schemas: graphtest.Callable(opset), Elems: []graph.Elem{elem, elem, elem, graph.Int64, graph.Bool}}
	c.Sizes = []graph.Dim{graph.Known(4), graph.Known(2), graph.Known(3), graph.Known(1), graph.Sym("N")}
	c.Leaf = func(name string, typ graph.Type) *graph.Value {
		if shape, static := typ.Static(); static && rapid.IntRange(0, 3).Draw(t, "constant") > 0 {
			return m.Graph.AddInitializer(name+".weight", drawn(rng, typ.Elem, shape))
		}
		return m.Graph.AddInput(name, typ)
	}
	x := m.Graph.AddInput("input", graph.TensorType(elem, graph.Sym("N"), graph.Known(4)))
	c.Values = append(c.Values, x)
	for range rapid.IntRange(0, 6).Draw(t, "calls") {
		c.Call()
	}
	// Of what came out, something that a layer takes.
	y := x
	for _, v := range slices.Backward(c.Values) {
		if v.Type.Elem == elem && v.Type.Rank() == 2 && !v.IsInput() && !slices.Contains(v.Type.Dims, graph.Known(0)) {
			y = v
			break
		}
	}
	if cols, ok := y.Type.Dims[1].Size(); ok && cols > 0 && rapid.IntRange(0, 3).Draw(t, "layer") > 0 {
		w := m.Graph.AddInitializer("head.weight", drawn(rng, elem, []int64{cols, 3}))
		b := m.Graph.AddInitializer("head.bias", drawn(rng, elem, []int64{3}))
		y = m.Graph.AddNode("", "Gemm", []*graph.Value{y, w, b}, []string{"y"}).Out(0)
	}
	if y.IsInput() {
		y = m.Graph.AddNode("", "Relu", []*graph.Value{y}, []string{"y"}).Out(0)
	}
	m.Graph.AddOutput(y)
	if err := op.InferGraph(m); err != nil {
		t.Skip(err)
	}
	return m
}

func drawn(rng *rand.Rand, e graph.Elem, shape []int64) *graph.Tensor {
	x, err := graph.NewTensor(e, shape...)
	if err != nil {
		panic(err)
	}
	switch e {
	case graph.Float32:
		for i := range graph.Data[float32](x) {
			graph.Data[float32](x)[i] = float32(rng.NormFloat64())
		}
	case graph.Float64:
		for i := range graph.Data[float64](x) {
			graph.Data[float64](x)[i] = rng.NormFloat64()
		}
	case graph.Int64:
		for i := range graph.Data[int64](x) {
			graph.Data[int64](x)[i] = rng.Int64N(3)
		}
	}
	return x
}

// settings are values that fields of a record may take, or not.
var settings = []string{
	"none", "mc", "emp", "exact", "batch", "hvp", "ema", "sum", "adam", "sgd", "grad", "unit", "kron", "expand", "reduce", "joint", "output",
	"newton", "eigen", "auto", "rel", "iso", "clip", "eps", "matrix", "modes", "diag", "split", "identity", "coupled", "decoupled", "asdl",
	"0", "1", "2", "3", "0.1", "0.9", "1e-3", "true", "false",
}

// randomMethod is a row of the table with up to three fields changed, as far as that is legal.
func randomMethod(t *rapid.T) method.Record {
	rec, _ := method.Lookup(rapid.SampledFrom(method.Names()).Draw(t, "method"))
	for range rapid.IntRange(0, 3).Draw(t, "settings") {
		changed := rec
		for range 8 { // most values are not for most fields
			field, value := rapid.SampledFrom(method.Fields()).Draw(t, "field"), rapid.SampledFrom(settings).Draw(t, "value")
			if method.Set(&changed, field, value) == nil {
				break
			}
			changed = rec
		}
		if method.Validate(changed) == nil {
			rec = changed
		}
	}
	return rec
}

func randomOptions(t *rapid.T) pass.Options {
	pick := func(what string, from ...string) string { return rapid.SampledFrom(from).Draw(t, what) }
	o := pass.Options{
		Verify: true, Loss: pass.LossOptions{Row: pick("loss", "mse", "cross-entropy", "bce-with-logits", "l1", "huber", "nll"), Reduction: pick("reduction", "mean", "sum")},
		Emit: pick("emit", "update", "gradient"), Noise: pick("noise", "hash", "input"), BN: pick("bn", "train", "frozen"),
		OutputGrad: rapid.Bool().Draw(t, "grad"), OutputPrecond: rapid.Bool().Draw(t, "precond"), Inline: rapid.Bool().Draw(t, "inline"),
		Split: rapid.Bool().Draw(t, "split"), Embed: rapid.Bool().Draw(t, "embed"),
	}
	if rapid.IntRange(0, 3).Draw(t, "raise") == 0 {
		o.Opset = rapid.IntRange(17, 26).Draw(t, "opset")
	}
	return o
}

// documented reports whether an error is of a kind that Instrument promises.
func documented(err error) bool {
	var option *pass.OptionError
	var setting *method.SettingError
	return !strings.Contains(err.Error(), "BUG") && (errors.Is(err, graph.ErrUnsupported) || errors.As(err, &option) || errors.As(err, &setting))
}

// compileRandom takes a random network through all passes: the result is a legal model that runs, or an error of a
// documented kind.
func compileRandom(t *rapid.T, outcome map[string]int) {
	m, rec, o := network(t), randomMethod(t), randomOptions(t)
	text := func() string { return fmt.Sprintf("%s\n%+v\n%s", rec.Encode(), o, graph.Print(m)) }
	defer func() {
		if r := recover(); r != nil && strings.HasPrefix(fmt.Sprintf("%T", r), "runtime.") {
			t.Fatalf("panic: %v\n%s", r, text())
		} else if r != nil {
			panic(r)
		}
	}()
	before := graph.Print(m)
	r, err := passes.Instrument(m, rec, o, "")
	if graph.Print(m) != before {
		t.Fatalf("the model was changed:\n%s", text())
	}
	if err != nil {
		outcome["error"]++
		if !documented(err) {
			t.Fatalf("%v\n%s", err, text())
		}
		return
	}
	outcome["compiled"]++
	models := []*graph.Model{r.Step, r.Init}
	for _, v := range r.Variants {
		models = append(models, v.Model)
	}
	for _, m := range models {
		if err := legal(m, o); err != nil {
			t.Fatalf("%v\n%s", err, text())
		}
	}
	if err := runsOnce(m, r, o); err != nil {
		t.Fatalf("%v\n%s", err, text())
	}
}

// legal checks what a step graph or its init model must be.
func legal(m *graph.Model, o pass.Options) error {
	if err := graph.Verify(m); err != nil {
		return err
	}
	c := graph.Clone(m)
	if err := op.InferGraph(c); err != nil {
		return err
	}
	for n := range c.Graph.All() {
		switch {
		case n.IsTag():
			return fmt.Errorf("tag %s is left", n)
		case n.Domain != "" && (n.Domain != graph.Asdl || o.Inline):
			return fmt.Errorf("node %s of domain %s", n, n.Domain)
		case strings.HasPrefix(n.Op, "Random"), n.Op == "Multinomial", n.Op == "Bernoulli":
			return fmt.Errorf("random node %s", n)
		}
	}
	return nil
}

// runsOnce runs one step, if the model itself runs on the same inputs.
func runsOnce(m *graph.Model, r *passes.Result, o pass.Options) error {
	feeds := map[string]*kernel.Tensor{}
	rng := rand.New(rand.NewPCG(9, 9))
	for _, v := range m.Graph.Inputs() {
		feeds[v.Name] = feed(rng, v.Type)
	}
	model, err := runtime.NewSession(m, runtime.Options{Threads: 1})
	if err != nil {
		return nil // element types without a kernel
	}
	defer model.Close()
	out, err := model.Run(feeds, nil)
	if err != nil || o.Noise == "input" { // whose sizes are harder to tell
		return nil
	}
	step, err := runtime.NewSession(r.Step, runtime.Options{Threads: 1})
	if err != nil {
		return err
	}
	defer step.Close()
	if err := step.LoadInit(r.Init); err != nil {
		return err
	}
	for _, p := range step.Inputs() {
		if feeds[p.Name] == nil && p.Kind == "" && !p.Optional {
			y := out[m.Graph.Outputs()[0].Name]
			feeds[p.Name] = kernel.New(p.Type.Elem, y.Shape...)
			if !p.Type.Elem.IsFloat() {
				feeds[p.Name] = kernel.New(p.Type.Elem, y.Shape[0]) // label 0 there always is
			}
		}
	}
	for _, v := range m.Graph.Inputs() {
		if !slices.ContainsFunc(step.Inputs(), func(p runtime.Port) bool { return p.Name == v.Name }) {
			delete(feeds, v.Name) // nothing uses it
		}
	}
	_, err = step.Run(feeds, nil)
	return err
}

// feed is a tensor of a type, with 2 for what is not known.
func feed(rng *rand.Rand, typ graph.Type) *kernel.Tensor {
	shape := make([]int64, len(typ.Dims))
	for i, d := range typ.Dims {
		if n, ok := d.Size(); ok {
			shape[i] = n
		} else {
			shape[i] = 2
		}
	}
	return kernel.FromConst(drawn(rng, typ.Elem, shape))
}

// TestRandomNetworks compiles random networks by random methods.
func TestRandomNetworks(t *testing.T) {
	outcome := map[string]int{}
	rapid.Check(t, func(t *rapid.T) { compileRandom(t, outcome) })
	t.Log(outcome)
}

// FuzzInstrument is TestRandomNetworks for the fuzzer.
func FuzzInstrument(f *testing.F) {
	outcome := map[string]int{}
	f.Fuzz(rapid.MakeFuzz(func(t *rapid.T) { compileRandom(t, outcome) }))
}
