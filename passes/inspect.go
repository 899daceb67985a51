package passes

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/loss"
	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
)

// Inspection is what a model looks like to the compiler.
type Inspection struct {
	Producer   string      `json:"producer,omitempty"`
	IRVersion  int64       `json:"ir_version"`
	Opset      int         `json:"opset"`
	Nodes      int         `json:"nodes"` // as in the file, nested graphs included
	Functions  int         `json:"functions,omitempty"`
	Inputs     []Port      `json:"inputs"`
	Outputs    []Port      `json:"outputs"`
	Parameters []Parameter `json:"parameters"`
	Layers     []Layer     `json:"layers"`
	Notes      []string    `json:"notes"`
	// Unsupported lists the nodes that keep the model from being trained; there are none in a model that can be.
	Unsupported []Unsupported `json:"unsupported"`
	// Plans tell what state the methods asked for would keep.
	Plans []Plan `json:"plans"`
}

// Port is an input or output.
type Port struct {
	Name string `json:"name"`
	Type string `json:"type"` // with symbolic dimensions: float[N,10]
}

// Parameter is a trained parameter or a buffer (running statistics).
type Parameter struct {
	Name  string  `json:"name"`
	Kind  string  `json:"kind"` // param, buffer, or constant: a buffer that is frozen
	Shape []int64 `json:"shape"`
	Count int     `json:"count"` // elements
	Bytes int     `json:"bytes"`
	// File is the name in the file, where that is made up; Transposed tells that the tensor is the transpose of what the
	// program had.
	File       string `json:"file,omitempty"`
	Transposed bool   `json:"transposed,omitempty"`
	// Merged names the parameter that stands for this one in the file, because the exporter found them equal.
	Merged string `json:"merged,omitempty"`
	// Folded tells that a BatchNormalization is folded into this weight of a convolution.
	Folded bool `json:"folded,omitempty"`
}

// Layer is a layer that the compiler recognises.
type Layer struct {
	Name   string   `json:"name"`
	Kind   string   `json:"kind"`
	Node   string   `json:"node"`
	Scope  string   `json:"scope,omitempty"`
	Params []string `json:"params"`
	Input  string   `json:"input"`
	Output string   `json:"output"`
	// Shared tells that the weights serve several positions of one example.
	Shared bool `json:"shared,omitempty"`
	// Tied lists the other layers that use the same weight.
	Tied []string `json:"tied,omitempty"`
}

// Unsupported is a node that something is missing for.
type Unsupported struct {
	Node  string `json:"node"`
	Op    string `json:"op"`
	Opset int    `json:"opset,omitempty"`
	Scope string `json:"scope,omitempty"`
	Why   string `json:"why"`
}

// Plan is the state that a method keeps for a model, apart from the parameters.
type Plan struct {
	Method string      `json:"method"`
	Error  string      `json:"error,omitempty"` // why the model cannot be compiled with the method
	Bytes  int         `json:"bytes"`
	Blocks []PlanBlock `json:"blocks"`
}

// PlanBlock is the state of a layer or parameter.
type PlanBlock struct {
	pass.LayerNote
	Factors []Factor `json:"factors"`
	Bytes   int      `json:"bytes"`
}

// Factor is a state tensor.
type Factor struct {
	Name  string  `json:"name"` // asdl/LAYER/SLOT
	Kind  string  `json:"kind"` // curvature or optimizer
	Shape []int64 `json:"shape"`
	Bytes int     `json:"bytes"`
}

// Inspect reads a model as Instrument would with these options, as far as that goes, and compiles it with each of the
// methods to see what state these keep. The model is not changed. What is unsupported is listed, not an error; the error is
// for a model that is invalid, or an option that the model cannot have.
func Inspect(m *graph.Model, o pass.Options, methods ...method.Record) (*Inspection, error) {
	o, err := withDefaults(o)
	if err != nil {
		return nil, err
	}
	r := &Inspection{
		Producer: m.Producer, IRVersion: m.IRVersion, Opset: m.Opset(), Functions: len(m.Functions),
		Parameters: []Parameter{}, Layers: []Layer{}, Notes: []string{}, Unsupported: []Unsupported{}, Plans: []Plan{},
	}
	for range m.Graph.All() {
		r.Nodes++
	}
	t := graph.Clone(m)
	err = op.InferGraph(t)
	r.Inputs, r.Outputs = ports(t.Graph.Inputs()), ports(t.Graph.Outputs())
	if err := r.collect(err); err != nil {
		return r, err
	}
	r.Unsupported = []Unsupported{} // what outputs need that are left out does not count
	c := &pass.Ctx{Options: o, Report: &pass.Report{}}
	err = pass.RunTable(c, t, Read)
	if err := r.collect(err); err != nil || len(r.Unsupported) > 0 {
		return r, err
	}
	if o.Logits != "" {
		if _, err := loss.Logits(t, o.Logits); err != nil {
			return r, err
		}
	}
	r.Notes = append(r.Notes, c.Report.Notes...)
	r.parameters(t.Graph, c.Report.Origins)
	r.layers(t.Graph)
	if len(r.Parameters) == 0 {
		r.Notes = append(r.Notes, "no parameter was found: there is nothing to train")
		return r, nil
	}
	for _, rec := range methods {
		r.Plans = append(r.Plans, r.plan(m, o, rec))
	}
	return r, nil
}

// ports lists values; initializers that are listed as inputs are none.
func ports(vs []*graph.Value) []Port {
	list := []Port{}
	for _, v := range vs {
		if v.Const() == nil {
			t := v.Type.String()
			if v.Foreign != "" {
				t = "no tensor"
			}
			list = append(list, Port{v.Name, t})
		}
	}
	return list
}

// collect moves what is unsupported from err to the list; the rest comes back.
func (r *Inspection) collect(err error) error {
	if err == nil {
		return nil
	}
	nodes := nodeErrors(err)
	for _, e := range nodes {
		if !errors.Is(e, graph.ErrUnsupported) {
			return err
		}
	}
	if len(nodes) == 0 {
		return err
	}
	for _, e := range nodes {
		u := Unsupported{e.Node, e.Op, e.Opset, e.Scope, e.Msg}
		if !slices.Contains(r.Unsupported, u) {
			r.Unsupported = append(r.Unsupported, u)
		}
	}
	return nil
}

// nodeErrors lists the node errors that err is made of.
func nodeErrors(err error) []*graph.NodeError {
	switch e := err.(type) {
	case *graph.NodeError:
		return []*graph.NodeError{e}
	case interface{ Unwrap() error }:
		return nodeErrors(e.Unwrap())
	case interface{ Unwrap() []error }:
		var all []*graph.NodeError
		for _, part := range e.Unwrap() {
			all = append(all, nodeErrors(part)...)
		}
		return all
	}
	return nil
}

func (r *Inspection) parameters(g *graph.Graph, origins []*pass.Origin) {
	of := map[string]*pass.Origin{}
	for _, o := range origins {
		of[o.Param] = o
	}
	for _, p := range pass.Params(g, "") {
		t := p.Init.Const()
		info := Parameter{Name: p.Name(), Kind: p.Kind, Shape: t.Shape, Count: t.Len(), Bytes: len(t.Raw)}
		if p.Kind == "buffer" && g.Find(p.Name()+"/next") == nil {
			info.Kind = "constant"
		}
		if o := of[p.Name()]; o != nil {
			info.File, info.Transposed, info.Merged, info.Folded = o.File, o.Transposed, o.Merged, o.Folded
		}
		r.Parameters = append(r.Parameters, info)
	}
}

func (r *Inspection) layers(g *graph.Graph) {
	all := pass.LayersOf(g)
	for _, l := range all {
		z := l.Node.In(0)
		info := Layer{Name: l.Name, Kind: l.Kind, Params: []string{}, Input: l.X.Type.String(), Output: l.Out.Type.String(), Shared: shared(l)}
		if z.Def() != nil {
			info.Node, info.Scope = z.Def().String(), z.Def().Scope
		}
		for _, v := range []*graph.Value{l.W, l.B} {
			if p, ok := pass.ParamOf(v); ok {
				info.Params = append(info.Params, p.Name())
			}
		}
		for _, other := range all {
			if other.Node != l.Node && l.W != nil && other.W == l.W {
				info.Tied = append(info.Tied, other.Name)
			}
		}
		r.Layers = append(r.Layers, info)
	}
}

// shared reports whether the weights of l meet several positions of one example.
func shared(l pass.Layer) bool {
	switch l.Kind {
	case graph.LayerLinear:
		return l.X.Type.Rank() > 2
	case graph.LayerEmbedding:
		return l.X.Type.Rank() > 1
	}
	return l.Kind == graph.LayerConv || l.Kind == graph.LayerConvT
}

// plan compiles the model with a method. The squared error serves: it takes any floating-point output, and state does not
// depend on the loss.
func (r *Inspection) plan(m *graph.Model, o pass.Options, rec method.Record) Plan {
	p := Plan{Method: rec.Name, Blocks: []PlanBlock{}}
	o.Loss = pass.LossOptions{Row: "mse"}
	res, err := Instrument(m, rec, o, "")
	if err != nil {
		if err := r.collect(err); err != nil {
			p.Error = err.Error()
		} else {
			p.Error = "some operators are not supported"
		}
		return p
	}
	blocks, err := StateBlocks(res)
	if err != nil {
		p.Error = err.Error()
		return p
	}
	for _, b := range blocks {
		p.Bytes += b.Bytes
		p.Blocks = append(p.Blocks, b)
	}
	return p
}

// StateBlocks lists the layers and parameters of a compiled step with the state that is kept for each.
func StateBlocks(r *Result) ([]PlanBlock, error) {
	factors, err := stateFactors(r.Step)
	if err != nil {
		return nil, err
	}
	var blocks []PlanBlock
	for _, note := range r.Report.Layers {
		b := PlanBlock{LayerNote: note, Factors: []Factor{}}
		for _, name := range append([]string{note.Layer}, note.Params...) {
			b.Factors = append(b.Factors, factors[name]...)
			delete(factors, name)
		}
		for _, f := range b.Factors {
			b.Bytes += f.Bytes
		}
		blocks = append(blocks, b)
	}
	if len(factors) > 0 {
		panic(fmt.Sprintf("BUG: state of what the report does not list: %v", slices.Sorted(maps.Keys(factors))))
	}
	return blocks, nil
}

// stateFactors lists the optimiser and curvature state of a step graph by the layer or parameter that it belongs to.
func stateFactors(step *graph.Model) (map[string][]Factor, error) {
	var entries []struct{ In, Kind, Of string }
	if err := json.Unmarshal([]byte(step.Metadata["asdl.state"]), &entries); err != nil {
		return nil, fmt.Errorf("BUG: metadata asdl.state: %w", err)
	}
	shapes := map[string]graph.Type{}
	for _, v := range step.Graph.Inputs() {
		shapes[v.Name] = v.Type
	}
	of := map[string][]Factor{}
	for _, e := range entries {
		if e.Kind != "curvature" && e.Kind != "optimizer" {
			continue
		}
		t := shapes[e.In]
		shape, _ := t.Static()
		n, err := graph.CountOf(shape, t.Elem.Size())
		if err != nil {
			return nil, err
		}
		of[e.Of] = append(of[e.Of], Factor{e.In, e.Kind, shape, int(n) * t.Elem.Size()})
	}
	return of, nil
}
