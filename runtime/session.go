package runtime

import (
	"errors"
	"fmt"

	"gorgonia.org/gorgonia"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel"
	"github.com/asdlc/asdlc/runtime/lower"
	"github.com/asdlc/asdlc/runtime/vm"
)

// Options of a session. The zero value is the default.
type Options struct {
	// Float64 runs a float32 graph in float64: the model is copied with every float32 made float64.
	Float64 bool
	// Threads is the number of workers; 0 is GOMAXPROCS.
	Threads int
	// MemoryLimit in bytes refuses a plan whose predicted peak is larger; 0 is the memory of the machine.
	MemoryLimit int64
	// Registry has the kernels; nil is all of this machine.
	Registry *kernel.Registry
	// Outputs lists the outputs to compute; nil is all. Next states are always computed.
	Outputs []string
	// Stateless treats the states of a step graph as ordinary inputs and outputs, which the caller carries.
	Stateless bool
}

// Session runs one model. It is not safe for concurrent use.
type Session struct {
	model  *graph.Model // without its graph, which the program has
	opts   Options
	prog   *lower.Program
	vm     *vm.VM
	pool   *kernel.Pool
	inputs []*input
	byName map[string]*input
	equal  []sameDim // dimensions of inputs that must agree
	labels []labels  // inputs of class numbers
	states []*state
	outs   map[string]int
	names  []string // of outputs, in order
}

// NewSession prepares m, which it does not change. Every operator that has no kernel is named in the error, which then
// is a graph.ErrUnsupported.
func NewSession(m *graph.Model, opts Options) (*Session, error) { return newSession(m, opts, false) }

// newSession is NewSession; owned is vm.Options.Owned.
func newSession(m *graph.Model, opts Options, owned bool) (s *Session, err error) {
	defer recoverBug(&err)
	if opts.Registry == nil {
		if opts.Registry, err = kernel.NewRegistry(kernel.Default()...); err != nil {
			return nil, err
		}
	}
	if opts.Float64 {
		m = Retype(m)
	} else {
		m = graph.Clone(m)
	}
	if opts.Outputs != nil {
		if err = keepOutputs(m, opts.Outputs); err != nil {
			return nil, err
		}
	}
	if opts.MemoryLimit == 0 {
		opts.MemoryLimit = machineMemory()
	}
	s = &Session{model: m, opts: opts, pool: kernel.NewPool(opts.Threads)}
	if err := s.prepare(owned); err != nil {
		s.pool.Close()
		return nil, located(m, err)
	}
	shell := *m
	shell.Graph, shell.Functions = nil, nil
	s.model = &shell
	return s, nil
}

func (s *Session) prepare(owned bool) error {
	var err error
	if s.prog, err = lower.Take(s.model, s.opts.Registry, s.pool); err != nil {
		return err
	}
	s.prog.MaxBytes = s.opts.MemoryLimit
	s.outs = map[string]int{}
	for i, name := range s.prog.Main.OutputNames {
		s.outs[name] = i
		s.names = append(s.names, name)
	}
	s.readInputs()
	if err = s.readLabels(); err != nil {
		return err
	}
	var pairs []vm.StatePair
	if !s.opts.Stateless {
		if pairs, err = s.readStates(); err != nil {
			return err
		}
	}
	s.vm, err = vm.New(s.prog, vm.Options{States: pairs, MemoryLimit: s.opts.MemoryLimit, Owned: owned})
	if err != nil {
		return err
	}
	return s.embedded()
}

// located adds the model's file to an error.
func located(m *graph.Model, err error) error {
	if err == nil || m.Source == "" {
		return err
	}
	return fmt.Errorf("%s: %w", m.Source, err)
}

// recoverBug turns a panic into an error.
func recoverBug(err *error) {
	switch r := recover().(type) {
	case nil:
	case error:
		*err = fmt.Errorf("BUG: %w", r)
	default:
		*err = fmt.Errorf("BUG: %v", r)
	}
}

// Close stops the workers. The session cannot be used afterwards.
func (s *Session) Close() error {
	s.pool.Close()
	return s.vm.Close()
}

// ExprGraph is the model as a Gorgonia graph, for inspection and drawing.
func (s *Session) ExprGraph() *gorgonia.ExprGraph { return s.prog.Main.ExprGraph() }

// PeakBytes is the predicted peak of the memory that the current plan needs: activations, scratch, states and
// constants; 0 before the first run. Tensors whose shapes depend on data are not in it.
func (s *Session) PeakBytes() int64 { return s.vm.Peak() }

// Run executes the model once. Feeds give inputs by name; a state keeps its value and a hyper-parameter its default if
// it is not fed. Fetch names the outputs to return; nil is all outputs but the next states. The results are copies.
//
// If the model is a step graph, the states advance.
func (s *Session) Run(feeds map[string]*kernel.Tensor, fetch []string) (map[string]*kernel.Tensor, error) {
	for name := range feeds {
		if s.byName[name] == nil {
			return nil, located(s.model, fmt.Errorf("%w: no input %q; the model has %s", ErrFeed, name, s.inputNames()))
		}
	}
	for _, name := range fetch {
		if _, ok := s.outs[name]; !ok {
			return nil, located(s.model, fmt.Errorf("%w: no output %q; the model has %q", ErrFeed, name, s.names))
		}
	}
	for _, in := range s.inputs {
		if t := feeds[in.Name]; t != nil {
			if err := s.Bind(in.Name, t); err != nil {
				return nil, err
			}
		}
	}
	if err := s.Step(); err != nil {
		return nil, err
	}
	if fetch == nil {
		fetch = s.defaultFetch()
	}
	out := make(map[string]*kernel.Tensor, len(fetch))
	for _, name := range fetch {
		t, err := s.Output(name)
		if err != nil {
			return nil, err
		}
		out[name] = lower.Copy(t)
	}
	s.unbind(feeds)
	return out, nil
}

// unbind forgets feeds, so that the next Run asks for them again, and takes up defaults that were overridden.
func (s *Session) unbind(feeds map[string]*kernel.Tensor) {
	for name := range feeds {
		if in := s.byName[name]; in.state < 0 {
			in.bound = in.fallback
		}
	}
}

// Bind gives an input a tensor that Step reads, without copying it: until another is bound, the caller may change its
// contents between steps, not its shape. A state is copied.
func (s *Session) Bind(name string, t *kernel.Tensor) error {
	in := s.byName[name]
	if in == nil {
		return located(s.model, fmt.Errorf("%w: no input %q; the model has %s", ErrFeed, name, s.inputNames()))
	}
	if err := in.check(t); err != nil {
		return located(s.model, err)
	}
	if in.state >= 0 {
		s.vm.SetState(in.state, t)
		return nil
	}
	in.bound = t
	return nil
}

// Step runs the model once on what is bound. After the first step with given shapes it allocates nothing.
func (s *Session) Step() (err error) {
	defer recoverBug(&err)
	if err := s.checkAll(); err != nil {
		return located(s.model, err)
	}
	for _, in := range s.inputs {
		if in.state < 0 {
			s.vm.Bind(in.index, in.bound)
		}
	}
	if err := s.vm.RunAll(); err != nil {
		return located(s.model, err)
	}
	return nil
}

// Output views an output of the last step. It is valid until the next one.
func (s *Session) Output(name string) (*kernel.Tensor, error) {
	i, ok := s.outs[name]
	if !ok {
		return nil, located(s.model, fmt.Errorf("%w: no output %q; the model has %q", ErrFeed, name, s.names))
	}
	t := s.vm.Output(i)
	if t == nil {
		return nil, located(s.model, fmt.Errorf("output %q has no value: no step has run", name))
	}
	return t, nil
}

// take gives away an output of the last step of a session whose machine has owned outputs.
func (s *Session) take(name string) (*kernel.Tensor, error) {
	if t := s.vm.Take(s.outs[name]); t != nil {
		return t, nil
	}
	t, err := s.Output(name)
	if err != nil {
		return nil, err
	}
	return lower.Copy(t), nil
}

func (s *Session) defaultFetch() []string {
	next := map[string]bool{}
	for _, st := range s.states {
		next[st.Out] = true
	}
	var names []string
	for _, name := range s.names {
		if !next[name] {
			names = append(names, name)
		}
	}
	return names
}

// keepOutputs leaves m the listed outputs and the next states only.
func keepOutputs(m *graph.Model, names []string) error {
	entries, err := stateEntries(m)
	if err != nil {
		return err
	}
	want := map[string]bool{}
	for _, e := range entries {
		want[e.Out] = true
	}
	found := map[string]bool{}
	for _, name := range names {
		want[name] = true
	}
	var outs []*graph.Value
	for _, v := range m.Graph.Outputs() {
		if want[v.Name] {
			outs = append(outs, v)
			found[v.Name] = true
		}
	}
	for _, name := range names {
		if !found[name] {
			return located(m, fmt.Errorf("%w: no output %q", ErrFeed, name))
		}
	}
	m.Graph.SetOutputs(outs...)
	return nil
}

// ErrFeed marks inputs or outputs that do not fit the model: unknown or missing names, wrong types or shapes.
var ErrFeed = errors.New("does not fit the model")
