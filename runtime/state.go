package runtime

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel"
	"github.com/asdlc/asdlc/runtime/lower"
	"github.com/asdlc/asdlc/runtime/vm"
)

// StateInfo is one entry of the metadata property asdl.state of a step graph.
type StateInfo struct {
	In   string `json:"in"`   // the input that reads the state
	Out  string `json:"out"`  // the output with its next value
	Kind string `json:"kind"` // param, buffer, optimizer, curvature, counter, average
	Of   string `json:"of"`   // the parameter or layer that it belongs to
}

type state struct{ StateInfo }

// stateEntries reads the list of states of a step graph; a model without the property has none.
func stateEntries(m *graph.Model) ([]StateInfo, error) {
	text, ok := m.Metadata["asdl.state"]
	if !ok {
		return nil, nil
	}
	var entries []StateInfo
	if err := json.Unmarshal([]byte(text), &entries); err != nil {
		return nil, fmt.Errorf("%w: metadata property asdl.state: %w", graph.ErrInvalid, err)
	}
	return entries, nil
}

// readStates pairs state inputs with the outputs that hold their next values.
func (s *Session) readStates() ([]vm.StatePair, error) {
	entries, err := stateEntries(s.model)
	if err != nil {
		return nil, err
	}
	var pairs []vm.StatePair
	for i, e := range entries {
		in := s.byName[e.In]
		out, ok := s.outs[e.Out]
		if in == nil || !ok {
			return nil, fmt.Errorf("%w: metadata property asdl.state names %q and %q, which are not an input and an output of the model",
				graph.ErrInvalid, e.In, e.Out)
		}
		if in.state >= 0 {
			return nil, fmt.Errorf("%w: metadata property asdl.state lists %q twice", graph.ErrInvalid, e.In)
		}
		in.state = i
		s.states = append(s.states, &state{e})
		pairs = append(pairs, vm.StatePair{In: in.index, Out: out})
	}
	return pairs, nil
}

// States lists the states of a step graph.
func (s *Session) States() []StateInfo {
	infos := make([]StateInfo, len(s.states))
	for i, st := range s.states {
		infos[i] = st.StateInfo
	}
	return infos
}

// SetState copies t into the state of that name.
func (s *Session) SetState(name string, t *kernel.Tensor) error {
	in := s.byName[name]
	if in == nil || in.state < 0 {
		return located(s.model, fmt.Errorf("%w: no state %q", ErrFeed, name))
	}
	return s.Bind(name, t)
}

// State copies the current value of the state of that name, by its input's name.
func (s *Session) State(name string) (*kernel.Tensor, error) {
	t, err := s.viewState(name)
	if err != nil {
		return nil, err
	}
	return lower.Copy(t), nil
}

// viewState is State without the copy: it is valid until the next step.
func (s *Session) viewState(name string) (*kernel.Tensor, error) {
	in := s.byName[name]
	if in == nil || in.state < 0 {
		return nil, located(s.model, fmt.Errorf("%w: no state %q", ErrFeed, name))
	}
	t := s.vm.State(in.state)
	if t == nil {
		return nil, located(s.model, fmt.Errorf("%w: state %q has no value yet", ErrFeed, name))
	}
	return t, nil
}

// LoadInit runs an initialisation model (NAME.init.onnx), which has no inputs, and takes its outputs as the values of
// the states and the defaults of the other inputs of the same names. What the step graph has no input for is left out:
// the step graphs of one split compilation share an initialisation model.
func (s *Session) LoadInit(init *graph.Model) error {
	if n := len(init.Graph.Inputs()); n > 0 {
		return located(init, fmt.Errorf("%w: an initialisation model has no inputs, this one has %d", graph.ErrInvalid, n))
	}
	opts := s.opts
	opts.Outputs = nil
	run, err := newSession(init, opts, true)
	if err != nil {
		return err
	}
	return errors.Join(s.takeDefaults(init, run), run.Close())
}

// takeDefaults runs the session of an initialisation model and takes its outputs over.
func (s *Session) takeDefaults(init *graph.Model, run *Session) error {
	if err := run.Step(); err != nil {
		return err
	}
	taken := 0
	for _, name := range run.names {
		in := s.byName[name]
		if in == nil {
			continue
		}
		taken++
		value, err := run.take(name)
		if err != nil {
			return err
		}
		if err := in.check(value); err != nil {
			return located(init, err)
		}
		if in.state >= 0 { // not copied: the states may be most of the memory
			s.vm.GiveState(in.state, value)
			continue
		}
		in.setDefault(value)
	}
	if taken == 0 && len(run.names) > 0 {
		return located(init, fmt.Errorf("%w: gives values for %q, but the step graph has no such inputs; is it of another model?", ErrFeed, run.names))
	}
	return nil
}

// failuresState counts solves and gradients that were not finite.
const failuresState = "asdl/guards"

// Failures is the step graph's count of solves that gave no finite result and of gradients that were not finite, since the
// beginning; 0 if it does not count.
func (s *Session) Failures() (int64, error) {
	if in := s.byName[failuresState]; in == nil || in.state < 0 {
		return 0, nil
	}
	v, err := s.viewState(failuresState)
	if err != nil {
		return 0, err
	}
	return kernel.Data[int64](v)[0], nil
}
