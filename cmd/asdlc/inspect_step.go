package main

import (
	"encoding/json"
	"fmt"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/onnx"
	"github.com/asdlc/asdlc/passes"
	"github.com/asdlc/asdlc/passes/method"
)

// stepInspection is what the metadata of a step graph or of its init model says.
type stepInspection struct {
	Contract string            `json:"contract"`
	Version  string            `json:"version"`
	Source   string            `json:"source,omitempty"` // SHA-256 of the file that it was made from
	Opset    int               `json:"opset"`
	Nodes    int               `json:"nodes"`
	Method   method.Record     `json:"method"`
	Layers   []method.Override `json:"overrides,omitempty"` // methods of some layers
	Init     string            `json:"init,omitempty"`      // the init model beside the file
	Inputs   []stepInput       `json:"inputs"`
	Outputs  []stepOutput      `json:"outputs"`
	State    []stepState       `json:"state"`
	Clocks   []passes.Clock    `json:"clocks,omitempty"`
	Variant  string            `json:"variant,omitempty"`
}

type stepInput struct {
	Name    string `json:"name"`
	Role    string `json:"role"`
	Type    string `json:"type"`
	Classes int64  `json:"classes,omitempty"`
	Ignore  *int64 `json:"ignore,omitempty"`
	// Default is the initial value of a hyper-parameter, where the init model is at hand or the value embedded.
	Default *float64 `json:"default,omitempty"`
}

type stepOutput struct {
	Name string `json:"name"`
	Role string `json:"role"`
	Type string `json:"type,omitempty"`
}

type stepState struct {
	In   string `json:"in"`
	Out  string `json:"out"`
	Kind string `json:"kind"`
	Of   string `json:"of,omitempty"`
}

func (e *env) inspectStep(path string, m *graph.Model, asJSON bool) error {
	s, err := readStep(path, m)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if asJSON {
		return printJSON(e.stdout, s)
	}
	what := "step graph"
	if len(s.Inputs) == 0 {
		what = "init model of a step graph"
	}
	fmt.Fprintf(e.stdout, "%s, contract %s, made by asdlc %s with %s (preset %s); opset %d, %d nodes\n\n", what, s.Contract, s.Version, s.Method.Name, s.Method.Preset, s.Opset, s.Nodes)
	for _, o := range s.Layers {
		fmt.Fprintf(e.stdout, "layers %s: %s\n", o.Pattern, o.Record.Name)
	}
	if len(s.Inputs) > 0 {
		t := newTable("input", "role", "type", "default")
		for _, in := range s.Inputs {
			def := "-"
			if in.Default != nil {
				def = fmt.Sprint(float32(*in.Default))
			}
			t.add(in.Name, in.Role, in.Type, def)
		}
		t.write(e.stdout)
		fmt.Fprintln(e.stdout)
	}
	t := newTable("output", "role", "type")
	for _, o := range s.Outputs {
		t.add(o.Name, o.Role, o.Type)
	}
	t.write(e.stdout)
	if len(s.State) == 0 {
		return nil
	}
	fmt.Fprintf(e.stdout, "%d states; each output NAME/next is fed to input NAME of the next step\n", len(s.State))
	return nil
}

// readStep reads the metadata of a model with a contract.
func readStep(path string, m *graph.Model) (*stepInspection, error) {
	s := &stepInspection{
		Contract: m.Metadata["asdl.contract"], Version: m.Metadata["asdl.version"], Source: m.Metadata["asdl.source"],
		Variant: m.Metadata["asdl.variant"], Opset: m.Opset(), Inputs: []stepInput{}, Outputs: []stepOutput{}, State: []stepState{},
	}
	for range m.Graph.All() {
		s.Nodes++
	}
	for key, field := range map[string]any{
		"asdl.inputs": &s.Inputs, "asdl.outputs": &s.Outputs, "asdl.state": &s.State, "asdl.clocks": &s.Clocks, "asdl.method": &s.Method, method.OverridesKey: &s.Layers,
	} {
		text, ok := m.Metadata[key]
		if !ok {
			continue // an init model has fewer
		}
		if err := json.Unmarshal([]byte(text), field); err != nil {
			return nil, fmt.Errorf("%w: metadata property %s: %w", graph.ErrInvalid, key, err)
		}
	}
	types := map[string]string{}
	for _, v := range m.Graph.Outputs() {
		types[v.Name] = v.Type.String()
	}
	for i := range s.Outputs {
		s.Outputs[i].Type = types[s.Outputs[i].Name]
	}
	if len(s.Outputs) == 0 {
		for _, v := range m.Graph.Outputs() {
			s.Outputs = append(s.Outputs, stepOutput{v.Name, "initial value", v.Type.String()})
		}
	}
	return s, s.defaults(path, m)
}

// defaults looks up the initial values of hyper-parameters: embedded, or in the init model beside the file.
func (s *stepInspection) defaults(path string, m *graph.Model) error {
	values := map[string]*graph.Tensor{}
	for _, v := range m.Graph.Inputs() {
		values[v.Name] = v.Const()
	}
	if s.Init = defaultInit(path); s.Init != "" && len(s.Inputs) > 0 {
		init, err := onnx.Read(s.Init)
		if err != nil {
			return err
		}
		for _, v := range init.Graph.Outputs() {
			if d := v.Def(); d != nil && d.Is("", "Identity") && d.In(0).IsInitializer() {
				values[v.Name] = d.In(0).Const()
			}
		}
	}
	for i := range s.Inputs {
		in := &s.Inputs[i]
		t := values[in.Name]
		if in.Role != "hyper" || t == nil {
			continue
		}
		if v, ok := t.Float64s(); ok && len(v) == 1 {
			in.Default = &v[0]
		}
	}
	return nil
}
