package backendtest

import (
	"errors"
	"fmt"
	"strings"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// Options of a run.
type Options struct {
	RTol, ATol float64 // an output may differ by ATol + RTol*|expected|; the ONNX runner has DefaultRTol and DefaultATol
	Runtime    runtime.Options
}

// Status is the outcome of a case.
type Status string

// Outcomes.
const (
	Passed      Status = "passed"
	Failed      Status = "failed"
	Unsupported Status = "unsupported"
)

// Result is the outcome of a case, with the reason if it did not pass.
type Result struct {
	Name     string `json:"name"`
	Path     string `json:"path"`
	Status   Status `json:"status"`
	Operator string `json:"operator,omitempty"` // that is at fault, where it is known
	Reason   string `json:"reason,omitempty"`
	Err      error  `json:"-"`
}

// Run runs a case on all of its data sets. A case that uses an operator, element type or kind of value that does not exist here is
// unsupported; one that cannot be read, does not run or gives other outputs has failed.
func Run(c *Case, o Options) Result {
	r := Result{Name: c.Name, Path: c.Path, Status: Passed}
	err := run(c, o)
	if err == nil {
		return r
	}
	r.Status, r.Err = Failed, err
	r.Reason = strings.ReplaceAll(err.Error(), c.Path+"/", "")
	if errors.Is(err, graph.ErrUnsupported) {
		r.Status = Unsupported
	}
	var ne *graph.NodeError
	if errors.As(err, &ne) {
		r.Operator = ne.Op
	}
	return r
}

func run(c *Case, o Options) error {
	m, err := c.Model()
	if err != nil {
		return err
	}
	sets := c.Sets()
	if len(sets) == 0 {
		return fmt.Errorf("%w: %s: no data in it: a folder %s0 with input_0.pb and so on", graph.ErrInvalid, c.Path, setPrefix)
	}
	o.Runtime.Stateless = true // the data sets do not depend on each other
	s, err := runtime.NewSession(m, o.Runtime)
	if err != nil {
		return err
	}
	defer s.Close()
	for _, set := range sets {
		if err := runSet(c, set, m, s, o); err != nil {
			return fmt.Errorf("%s: %w", set, err)
		}
	}
	return nil
}

// runSet runs one data set.
func runSet(c *Case, set string, m *graph.Model, s *runtime.Session, o Options) error {
	inputs, err := c.Inputs(set, m)
	if err != nil {
		return err
	}
	want, err := c.Outputs(set, m)
	if err != nil {
		return err
	}
	feeds := map[string]*kernel.Tensor{}
	for i, v := range m.Graph.Inputs() {
		if inputs[i] != nil {
			feeds[v.Name] = inputs[i]
		}
	}
	var fetch []string
	for i, v := range m.Graph.Outputs() {
		if want[i] != nil {
			fetch = append(fetch, v.Name)
		}
	}
	if len(fetch) == 0 {
		return fmt.Errorf("%w: no expected outputs", graph.ErrInvalid)
	}
	got, err := s.Run(feeds, fetch)
	if err != nil {
		return err
	}
	for i, v := range m.Graph.Outputs() {
		if want[i] == nil {
			continue
		}
		if err := Compare(got[v.Name], want[i], o.RTol, o.ATol); err != nil {
			return fmt.Errorf("output %s: %w", v.Name, err)
		}
	}
	return nil
}
