package runtime

import (
	"fmt"
	"strings"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// Port describes an input or output of a model.
type Port struct {
	Name string
	Type graph.Type // dimensions may be symbolic or unknown
	// Kind is that of the state that an input holds (param, buffer, optimizer, curvature, counter), or "".
	Kind string
	// Optional tells that an input has a default.
	Optional bool
}

type input struct {
	Port
	index    int            // in the graph's inputs
	state    int            // index of the state, or -1
	bound    *kernel.Tensor // what the next step reads; nil for states
	fallback *kernel.Tensor // the default, or nil
}

// Inputs describes the inputs, in order.
func (s *Session) Inputs() []Port {
	ports := make([]Port, len(s.inputs))
	for i, in := range s.inputs {
		ports[i] = in.Port
		ports[i].Optional = in.fallback != nil
		if in.state >= 0 {
			ports[i].Kind = s.states[in.state].Kind
			ports[i].Optional = s.vm.State(in.state) != nil
		}
	}
	return ports
}

// Outputs describes the outputs, in order.
func (s *Session) Outputs() []Port {
	ports := make([]Port, len(s.names))
	for i, v := range s.prog.Model.Graph.Outputs() {
		ports[i] = Port{Name: s.names[i], Type: v.Type}
	}
	for _, st := range s.states {
		ports[s.outs[st.Out]].Kind = st.Kind
	}
	return ports
}

func (s *Session) readInputs() {
	s.byName = map[string]*input{}
	for i, v := range s.prog.Model.Graph.Inputs() {
		in := &input{Port: Port{Name: v.Name, Type: v.Type}, index: i, state: -1}
		s.inputs = append(s.inputs, in)
		s.byName[v.Name] = in
	}
	s.symbolic()
}

// embedded takes over the defaults that the model has for its inputs.
func (s *Session) embedded() error {
	for i, v := range s.prog.Model.Graph.Inputs() {
		if v.Const() == nil {
			continue
		}
		in, t := s.inputs[i], kernel.FromConst(v.Const())
		if err := in.check(t); err != nil {
			return err
		}
		if in.state >= 0 {
			s.vm.SetState(in.state, t)
			continue
		}
		in.setDefault(t)
	}
	return nil
}

// setDefault makes t what an input is that is no state, as long as nothing else is bound to it.
func (in *input) setDefault(t *kernel.Tensor) {
	if in.bound == in.fallback {
		in.bound = t
	}
	in.fallback = t
}

func (s *Session) inputNames() string {
	names := make([]string, 0, len(s.inputs))
	for i, in := range s.inputs {
		if i == 20 {
			names = append(names, fmt.Sprintf("... (%d in all)", len(s.inputs)))
			break
		}
		names = append(names, fmt.Sprintf("%s %q", in.Type, in.Name))
	}
	return strings.Join(names, ", ")
}

// check compares a tensor with what is declared of the input.
func (in *input) check(t *kernel.Tensor) error {
	if t == nil {
		return fmt.Errorf("%w: input %q is nil, want %s", ErrFeed, in.Name, in.Type)
	}
	ok := in.Type.Elem == graph.Undefined || in.Type.Elem == t.Elem
	if in.Type.Ranked && ok {
		ok = len(t.Shape) == len(in.Type.Dims)
		for i := 0; ok && i < len(t.Shape); i++ {
			n, known := in.Type.Dims[i].Size()
			ok = !known || n == int64(t.Shape[i])
		}
	}
	if !ok {
		return fmt.Errorf("%w: input %q is %v, want %s", ErrFeed, in.Name, t, in.Type)
	}
	if len(t.Raw) != t.Len()*t.Elem.Size() {
		return fmt.Errorf("%w: input %q is %v but has %d bytes", ErrFeed, in.Name, t, len(t.Raw))
	}
	return nil
}

// value is what the next step will read, or nil.
func (s *Session) value(in *input) *kernel.Tensor {
	if in.state >= 0 {
		return s.vm.State(in.state)
	}
	return in.bound
}

// checkAll verifies that every input has a value and that a symbolic dimension has one size everywhere.
func (s *Session) checkAll() error {
	for _, in := range s.inputs {
		if s.value(in) == nil {
			return s.missing()
		}
	}
	for _, e := range s.equal {
		a, b := s.value(e.in).Shape[e.dim], s.value(e.other).Shape[e.otherDim]
		if a != b {
			return fmt.Errorf("%w: input %q has %s = %d (shape %v), input %q has %s = %d", ErrFeed,
				e.in.Name, e.in.Type.Dims[e.dim], a, s.value(e.in).Shape, e.other.Name, e.in.Type.Dims[e.dim], b)
		}
	}
	for _, l := range s.labels {
		if err := l.check(s.value(l.in)); err != nil {
			return err
		}
	}
	return nil
}

// sameDim says that two dimensions of inputs have one symbolic size.
type sameDim struct {
	in       *input
	dim      int
	other    *input
	otherDim int
}

// symbolic collects the dimensions that must agree: each with the first of its kind.
func (s *Session) symbolic() {
	first := map[graph.Dim]sameDim{}
	for _, in := range s.inputs {
		for d, dim := range in.Type.Dims {
			if !dim.IsSymbolic() {
				continue
			}
			if f, ok := first[dim]; ok {
				s.equal = append(s.equal, sameDim{in, d, f.in, f.dim})
			} else {
				first[dim] = sameDim{in: in, dim: d}
			}
		}
	}
}

// missing names every input without a value.
func (s *Session) missing() error {
	var names []string
	states := false
	for _, in := range s.inputs {
		if s.value(in) == nil {
			names = append(names, fmt.Sprintf("%s %q", in.Type, in.Name))
			states = states || in.state >= 0
		}
	}
	cure := "feed it"
	if states {
		cure = "load the initial state (NAME.init.onnx), set or feed it"
	}
	return fmt.Errorf("%w: no value for input %s: %s", ErrFeed, strings.Join(names, ", "), cure)
}
