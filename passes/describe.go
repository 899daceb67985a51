package passes

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
)

// KindState is what a method keeps for a layer of one kind.
type KindState struct {
	Kind   string      `json:"kind"`  // layer kind, or "parameter"
	Layer  string      `json:"layer"` // the operator, in symbols: W o×i, b o
	Blocks []KindBlock `json:"blocks"`
	Error  string      `json:"error,omitempty"` // why the method cannot be compiled for it
}

// KindBlock is the state of parameters that are preconditioned together.
type KindBlock struct {
	Params    []string    `json:"params"`
	Treatment string      `json:"treatment"`
	Reason    string      `json:"reason,omitempty"` // of a fall-back
	State     []SlotState `json:"state"`
}

// SlotState is a state tensor.
type SlotState struct {
	Slot  string `json:"slot"`
	Shape string `json:"shape"` // in symbols: (i+1)×(i+1)
}

// sample is a row of the table of networks with one layer and a head, whose sizes no other size is equal to: what a method
// compiles them to tells the shapes of its state.
type sample struct {
	kind, layer string
	input       string // in the text form
	nodes       string // that make h, of this width, from x
	width       int64
	params      []sampleParam
	symbols     map[int64]string
}

type sampleParam struct {
	name  string
	shape []int64
}

// headParam is the weight of the layer that makes the logits, for which methods may have rules of its own.
const headParam = "head"

var samples = []sample{
	{
		graph.LayerLinear, "W o×i, b o", "float[N,19] x", `h = Gemm <transB: int = 1> (x, W, b)`, 29,
		[]sampleParam{{"W", []int64{29, 19}}, {"b", []int64{29}}},
		map[int64]string{19: "i", 20: "(i+1)", 29: "o", 19 * 29: "(o·i)"},
	},
	{
		graph.LayerConv, "W o×c×kh×kw, b o; i = c·kh·kw", "float[N,5,8,9] x",
		`z = Conv <kernel_shape: ints = [3,7]> (x, W, b)  h = ReduceMean <axes: ints = [2,3], keepdims: int = 0> (z)`, 29,
		[]sampleParam{{"W", []int64{29, 5, 3, 7}}, {"b", []int64{29}}},
		map[int64]string{5: "c", 3: "kh", 7: "kw", 105: "i", 106: "(i+1)", 29: "o", 29 * 105: "(o·i)"},
	},
	{
		graph.LayerLayerNorm, "W c, b c", "float[N,31] x", `h = LayerNormalization (x, W, b)`, 31,
		[]sampleParam{{"W", []int64{31}}, {"b", []int64{31}}},
		map[int64]string{31: "c"},
	},
	{
		graph.LayerEmbedding, "W V×d", "int64[N,6] x", `e = Gather (W, x)  h = ReduceMean <axes: ints = [1], keepdims: int = 0> (e)`, 41,
		[]sampleParam{{"W", []int64{37, 41}}},
		map[int64]string{37: "V", 41: "d", 37 * 41: "(V·d)"},
	},
	{
		"parameter", "W m×n, in no layer", "float[N,43] x", `g = Tanh (W)  h = MatMul (x, g)`, 47,
		[]sampleParam{{"W", []int64{43, 47}}},
		map[int64]string{43: "m", 47: "n", 43 * 47: "(m·n)"},
	},
}

// StateShapes tells what state a method keeps for a layer of each kind, by compiling a network of one such layer.
func StateShapes(rec method.Record) []KindState {
	var all []KindState
	for _, s := range samples {
		k := KindState{Kind: s.kind, Layer: s.layer, Blocks: []KindBlock{}}
		m, err := s.model()
		if err != nil {
			panic("BUG: sample of a layer of kind " + s.kind + ": " + err.Error())
		}
		if err := s.describe(&k, m, rec); err != nil {
			k.Error = err.Error()
		}
		all = append(all, k)
	}
	return all
}

func (s sample) describe(k *KindState, m *graph.Model, rec method.Record) error {
	r, err := Instrument(m, rec, pass.Options{Loss: pass.LossOptions{Row: "mse"}}, "")
	if err != nil {
		return err
	}
	factors, err := stateFactors(r.Step)
	if err != nil {
		return err
	}
	for _, note := range r.Report.Layers {
		if len(note.Params) == 1 && note.Params[0] == headParam {
			continue
		}
		b := KindBlock{Params: note.Params, Treatment: note.Treatment, Reason: note.Reason, State: []SlotState{}}
		if note.Fallback {
			b.Treatment = "fall-back: " + b.Treatment
		}
		for _, of := range append([]string{note.Layer}, note.Params...) {
			for _, f := range factors[of] {
				slot := f.Name[strings.LastIndexByte(f.Name, '/')+1:]
				if of != note.Layer && len(note.Params) > 1 {
					slot += " of " + of
				}
				b.State = append(b.State, SlotState{slot, s.symbolic(f.Shape)})
			}
			delete(factors, of)
		}
		k.Blocks = append(k.Blocks, b)
	}
	return nil
}

// all lists the parameters, that of the head included.
func (s sample) all() []sampleParam {
	return append(slices.Clone(s.params), sampleParam{headParam, []int64{2, s.width}})
}

// model is the network with distinct parameters, none of which looks like a constant.
func (s sample) model() (*graph.Model, error) {
	var inits []string
	for _, p := range s.all() {
		var dims []string
		for _, n := range p.shape {
			dims = append(dims, strconv.FormatInt(n, 10))
		}
		values := make([]string, p.count())
		for i := range values {
			values[i] = fmt.Sprintf("0.%d", 100+(i*7919+len(inits))%900)
		}
		inits = append(inits, fmt.Sprintf("float[%s] %s = {%s}", strings.Join(dims, ","), p.name, strings.Join(values, ",")))
	}
	return graph.Parse(fmt.Sprintf(`<ir_version: 8, opset_import: ["" : 17]> sample (%s) => (float[N,2] y) <%s> {
		%s  t = Tanh (h)  y = Gemm <transB: int = 1> (t, %s) }`, s.input, strings.Join(inits, ", "), s.nodes, headParam))
}

func (p sampleParam) count() int64 {
	n := int64(1)
	for _, d := range p.shape {
		n *= d
	}
	return n
}

// symbolic writes a shape in the symbols of the layer; P is the number of all parameters.
func (s sample) symbolic(shape []int64) string {
	if len(shape) == 0 {
		return "scalar"
	}
	total := int64(0)
	for _, p := range s.all() {
		total += p.count()
	}
	var parts []string
	for _, n := range shape {
		name, ok := s.symbols[n]
		switch {
		case n == total:
			name = "P"
		case !ok:
			name = strconv.FormatInt(n, 10)
		}
		parts = append(parts, name)
	}
	return strings.Join(parts, "×")
}
