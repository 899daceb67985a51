package normalize_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/graphtest"
	"github.com/asdlc/asdlc/passes/normalize"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/passes/passtest"
	"github.com/asdlc/asdlc/runtime"
	"github.com/asdlc/asdlc/runtime/backendtest"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// TestNodeTestsNormalized: the ONNX backend node tests pass after normalization as well, at the lowest opset that is written and
// at the newest. Each is of the opset in which its operator changed last, so that those of older ones are cases of the
// conversion.
func TestNodeTestsNormalized(t *testing.T) {
	if testing.Short() {
		t.Skip("some 1200 models, each at two opsets")
	}
	passed, raised := 0, map[int]int{}
	for c, err := range backendtest.Walk(graphtest.Shared(t, "onnx-node-tests-1.22.0.tar.gz"), nil) {
		if err != nil {
			t.Fatal(err)
		}
		m, err := c.Model()
		if err != nil || m.Opset() < 7 || m.Opset() > 26 || random(m) || backendtest.Run(c, testOptions()).Status != backendtest.Passed {
			continue
		}
		for _, opset := range []int{0, 26} {
			n := graph.Clone(m)
			o := pass.Options{Opset: opset, BN: "train"}
			if !trains(m) {
				o.BN = "frozen"
			}
			if err := pass.RunTable(&pass.Ctx{Options: o, Report: &pass.Report{}}, n, []pass.Pass{normalize.Pass}); err != nil {
				if !errors.Is(err, graph.ErrUnsupported) {
					t.Errorf("%s at opset %d: %v", c.Name, opset, err)
				}
				continue
			}
			if err := nodeTest(c, m, passtest.Untag(n)); err != nil {
				t.Errorf("%s, of opset %d, at %d: %v\n%s", c.Name, m.Opset(), n.Opset(), err, graph.Print(n))
				continue
			}
			passed++
			if n.Opset() > m.Opset() {
				raised[m.Opset()]++
			}
		}
	}
	t.Logf("%d passed; raised from opset: %v", passed, raised)
	if passed < 2000 {
		t.Errorf("only %d passed", passed)
	}
}

func testOptions() backendtest.Options {
	return backendtest.Options{RTol: backendtest.DefaultRTol, ATol: backendtest.DefaultATol, Runtime: runtime.Options{Threads: 1}}
}

func random(m *graph.Model) bool {
	for n := range m.Graph.All() {
		if n.Op == "Dropout" || n.Op == "Bernoulli" {
			return true
		}
	}
	return false
}

// trains reports whether the test is one of BatchNormalization in training mode.
func trains(m *graph.Model) bool {
	for n := range m.Graph.All() {
		if n.Op == "BatchNormalization" && n.Int("training_mode", 0) != 0 {
			return true
		}
	}
	return false
}

// nodeTest runs the data sets of a test, of the model m, with n.
func nodeTest(c *backendtest.Case, m, n *graph.Model) error {
	s, err := runtime.NewSession(n, runtime.Options{Threads: 1})
	if err != nil {
		return err
	}
	defer s.Close()
	for _, set := range c.Sets() {
		in, err := c.Inputs(set, m)
		if err != nil {
			return err
		}
		want, err := c.Outputs(set, m)
		if err != nil {
			return err
		}
		feeds := map[string]*kernel.Tensor{}
		for i, v := range m.Graph.Inputs() {
			feeds[v.Name] = in[i]
		}
		names := make([]string, len(want))
		for i := range names {
			names[i] = m.Graph.Outputs()[i].Name
		}
		got, err := s.Run(feeds, names)
		if err != nil {
			return err
		}
		for i, name := range names {
			if err := backendtest.Compare(got[name], want[i], backendtest.DefaultRTol, backendtest.DefaultATol); err != nil {
				return fmt.Errorf("output %s: %w", name, err)
			}
		}
	}
	return nil
}
