package runtime

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel"
	"github.com/asdlc/asdlc/runtime/lower"
)

// failuresOutput is of a solve graph: the number of solutions that were not finite.
const failuresOutput = "asdl/failures"

// Background makes the delayed solves of a step graph (metadata asdl.solves) beside its steps, each on a goroutine of its own. The
// step after which a solve begins, and the one before which its solutions become states, are fixed: results do not
// depend on how fast anything is. It is used between the steps of a session, by one goroutine.
type Background struct {
	step   *Session
	solves []*solve
	at     int // the number of the step that Before has prepared
}

// counterState counts the steps that were made: one that is held back is made again, as far as clocks are concerned.
const counterState = "asdl/step"

// solve is one delayed solve.
type solve struct {
	Graph  string `json:"name"`
	Every  int    `json:"every"`
	Warmup int    `json:"warmup"`
	Phase  int    `json:"phase"`
	Delay  int    `json:"delay"`

	session *Session
	running chan solution // what is under way, or nil
	ready   *solution     // what waits for its step, or nil
	began   int           // the step after which it did
}

type solution struct {
	values map[string]*kernel.Tensor
	err    error
}

// DelayedSolves names the graphs that a step graph's delayed solves are in; none if it has no such solves.
func DelayedSolves(step *graph.Model) ([]string, error) {
	solves, err := readSolves(step)
	var names []string
	for _, s := range solves {
		names = append(names, s.Graph)
	}
	return names, err
}

func readSolves(step *graph.Model) ([]*solve, error) {
	text, ok := step.Metadata["asdl.solves"]
	if !ok {
		return nil, nil
	}
	var solves []*solve
	if err := json.Unmarshal([]byte(text), &solves); err != nil {
		return nil, fmt.Errorf("%w: metadata property asdl.solves: %w", graph.ErrInvalid, err)
	}
	for _, s := range solves {
		if s.Every < 1 || s.Delay < 1 || s.Delay > s.Every {
			return nil, fmt.Errorf("%w: metadata property asdl.solves: %s every %d steps with a delay of %d", graph.ErrInvalid, s.Graph, s.Every, s.Delay)
		}
	}
	return solves, nil
}

// NewBackground prepares the delayed solves of a session's step graph; graphs has the model of each by name. A step graph
// without delayed solves has a Background that does nothing.
func NewBackground(step *Session, graphs map[string]*graph.Model) (*Background, error) {
	b := &Background{step: step}
	solves, err := readSolves(step.model)
	if err != nil {
		return nil, located(step.model, err)
	}
	for _, s := range solves {
		m := graphs[s.Graph]
		if m == nil {
			return nil, errors.Join(located(step.model, fmt.Errorf("%w: its solves are computed by a graph of their own, %q, which is not given", ErrFeed, s.Graph)), b.Close())
		}
		opts := step.opts
		opts.Outputs, opts.Threads = nil, 1 // beside the step's
		if s.session, err = NewSession(m, opts); err != nil {
			return nil, errors.Join(err, b.Close())
		}
		b.solves = append(b.solves, s)
		if err := s.fits(step); err != nil {
			return nil, errors.Join(located(m, err), b.Close())
		}
	}
	return b, nil
}

// fits makes sure that the step graph has all that the solve reads and writes.
func (s *solve) fits(step *Session) error {
	for _, in := range s.session.inputs {
		if step.byName[in.Name] == nil {
			return fmt.Errorf("%w: input %q is none of the step graph's; is it of another model?", ErrFeed, in.Name)
		}
	}
	for _, out := range s.session.names {
		if in := step.byName[stateOf(out)]; in == nil || in.state < 0 {
			return fmt.Errorf("%w: output %q is of no state of the step graph; is it of another model?", ErrFeed, out)
		}
	}
	return nil
}

// stateOf is the state that an output changes.
func stateOf(output string) string {
	if output == failuresOutput {
		return failuresState
	}
	return strings.TrimSuffix(output, "/next")
}

// Before comes before each step: it brings in the solutions that are to be used from it on, and waits for them if need be.
func (b *Background) Before() error {
	var err error
	if b.at, err = b.count(); err != nil {
		return err
	}
	for _, s := range b.solves {
		if s.waiting() && s.began+s.Delay <= b.at {
			if err := s.finish(); err != nil {
				return err
			}
			if err := b.take(s.ready.values); err != nil {
				return err
			}
			s.ready = nil
		}
	}
	return nil
}

// Step runs the session's step graph once, on what is bound to its inputs, with Before and After around it.
func (b *Background) Step() error {
	if err := b.Before(); err != nil {
		return err
	}
	if err := b.step.Step(); err != nil {
		return err
	}
	return b.After()
}

// count is the number of steps that were made.
func (b *Background) count() (int, error) {
	if len(b.solves) == 0 {
		return 0, nil
	}
	t, err := b.step.viewState(counterState)
	if err != nil {
		return 0, err
	}
	return int(kernel.Data[int64](t)[0]), nil
}

// After comes after each step: it begins the solves that are due once the step is made.
func (b *Background) After() error {
	if made, err := b.count(); err != nil || made == b.at {
		return err
	}
	for _, s := range b.solves {
		if k := b.at; k <= s.Warmup || (k-s.Warmup)%s.Every != s.Phase {
			continue
		}
		feeds, err := b.snapshot(s)
		if err != nil {
			return err
		}
		s.began, s.running = b.at, make(chan solution, 1)
		go func(done chan<- solution) {
			values, err := s.session.Run(feeds, nil)
			done <- solution{values, err}
		}(s.running)
	}
	return nil
}

func (s *solve) waiting() bool { return s.running != nil || s.ready != nil }

// finish waits for what is under way.
func (s *solve) finish() error {
	if s.running == nil {
		return nil
	}
	r := <-s.running
	s.running = nil
	if r.err != nil {
		return fmt.Errorf("solve %s after step %d: %w", s.Graph, s.began, r.err)
	}
	s.ready = &r
	return nil
}

// snapshot copies what a solve reads.
func (b *Background) snapshot(s *solve) (map[string]*kernel.Tensor, error) {
	feeds := map[string]*kernel.Tensor{}
	for _, in := range s.session.inputs {
		of := b.step.byName[in.Name]
		t := b.step.value(of)
		if t == nil {
			return nil, located(b.step.model, fmt.Errorf("%w: %q has no value yet", ErrFeed, in.Name))
		}
		feeds[in.Name] = lower.Copy(t)
	}
	return feeds, nil
}

// take makes solutions the session's states.
func (b *Background) take(values map[string]*kernel.Tensor) error {
	for _, output := range slices.Sorted(maps.Keys(values)) {
		t, name := values[output], stateOf(output)
		if output == failuresOutput {
			sum, err := b.step.State(name)
			if err != nil {
				return err
			}
			kernel.Data[int64](sum)[0] += kernel.Data[int64](t)[0]
			t = sum
		}
		if err := b.step.SetState(name, t); err != nil {
			return err
		}
	}
	return nil
}

// Pending copies the solutions that are not in use yet, by solve and output as SOLVE:OUTPUT; it waits for those under way.
func (b *Background) Pending() (map[string]*kernel.Tensor, error) {
	pending := map[string]*kernel.Tensor{}
	for _, s := range b.solves {
		if err := s.finish(); err != nil {
			return nil, err
		}
		if s.ready == nil {
			continue
		}
		for output, t := range s.ready.values {
			pending[s.Graph+":"+output] = t
		}
	}
	return pending, nil
}

// Restore takes up what Pending gave, once the session has the states of then.
func (b *Background) Restore(pending map[string]*kernel.Tensor) error {
	steps, err := b.count()
	if err != nil {
		return err
	}
	taken := 0
	for _, s := range b.solves {
		if s.running != nil {
			<-s.running
		}
		s.running, s.ready = nil, nil
		values := map[string]*kernel.Tensor{}
		for _, output := range s.session.names {
			if t := pending[s.Graph+":"+output]; t != nil {
				values[output] = t
			}
		}
		if len(values) == 0 {
			continue
		}
		if len(values) != len(s.session.names) {
			return fmt.Errorf("%w: only %d of the %d outputs of solve %s", ErrFeed, len(values), len(s.session.names), s.Graph)
		}
		taken += len(values)
		s.ready = &solution{values: values}
		s.began = steps - 1 - (steps-1-s.Warmup-s.Phase)%s.Every
	}
	if taken != len(pending) {
		return fmt.Errorf("%w: solutions of solves that the step graph does not have", ErrFeed)
	}
	return nil
}

// Close waits for what is under way and stops the workers.
func (b *Background) Close() error {
	var errs []error
	for _, s := range b.solves {
		errs = append(errs, s.finish(), s.session.Close())
	}
	b.solves = nil
	return errors.Join(errs...)
}
