package autodiff_test

import (
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/autodiff"
)

// TestEveryRuleHasASpec compares the keys of the rule table and of the spec table.
func TestEveryRuleHasASpec(t *testing.T) {
	tested := map[string]bool{}
	for _, s := range specs {
		tested[s.op] = true
	}
	known := map[string]bool{}
	for _, r := range autodiff.Rules() {
		known[r.Op] = true
		if r.Kind != autodiff.Zero && r.Domain == "" && !tested[r.Op] {
			t.Errorf("the rule of %s has no spec", r.Op)
		}
		if r.Kind != autodiff.Zero && r.VJP == nil {
			t.Errorf("the rule of %s has no VJP", r.Op)
		}
		if r.Kind == autodiff.Smooth && r.JVP == nil {
			t.Errorf("the rule of %s has no JVP", r.Op)
		}
		if r.Kind == autodiff.Zero && (r.Diff != 0 || r.VJP != nil || r.JVP != nil) {
			t.Errorf("the rule of %s is zero and has a derivative", r.Op)
		}
	}
	for name := range tested {
		if !known[name] {
			t.Errorf("spec of %s, which has no rule", name)
		}
	}
}

// TestRulesAreClosed checks that every operator that a rule emits has a rule, and is standard.
func TestRulesAreClosed(t *testing.T) {
	known := map[string]bool{}
	for _, r := range autodiff.Rules() {
		known[r.Domain+"."+r.Op] = true
	}
	for i := range specs {
		s := &specs[i]
		p := s.problem(t)
		for _, q := range []*problem{p.gradient("g"), p.tangent("g")} {
			for n := range q.model.Graph.All() {
				if n.Domain != "" {
					t.Errorf("%s: emits %s.%s", s.title(), n.Domain, n.Op)
				}
				if !known[n.Domain+"."+n.Op] {
					t.Errorf("%s: emits %s, which has no rule", s.title(), n.Op)
				}
				if _, ok := op.Lookup(n.Domain, n.Op, q.model.Opset()); !ok {
					t.Errorf("%s: emits %s, which opset %d does not have", s.title(), n.Op, q.model.Opset())
				}
			}
		}
	}
}

// withoutRule are the operators with a kernel and without a rule.
var withoutRule = map[string]string{
	"Scatter":  "of opset 9 and 10: normalize writes it as ScatterElements",
	"Upsample": "until opset 9: normalize writes it as Resize",
}

// TestEveryOperatorHasARule compares the operators and the rules: a loss may depend on its parameters through any of them.
func TestEveryOperatorHasARule(t *testing.T) {
	known := map[string]bool{}
	for _, r := range autodiff.Rules() {
		if r.Domain == "" {
			known[r.Op] = true
		}
	}
	for s := range op.Schemas() {
		if s.Domain != "" {
			continue
		}
		if !known[s.Name] && withoutRule[s.Name] == "" {
			t.Errorf("%s has no rule; give it one, of class zero if nothing flows back through it", s.Name)
		}
		if known[s.Name] && withoutRule[s.Name] != "" {
			t.Errorf("%s has a rule: it does not belong among those without", s.Name)
		}
	}
}

// TestRulesAreOfOperators checks the spelling of the rule table.
func TestRulesAreOfOperators(t *testing.T) {
	for _, r := range autodiff.Rules() {
		const newest = 27
		if _, ok := op.Lookup(r.Domain, r.Op, newest); !ok {
			t.Errorf("the rule of %s.%s is for no operator", r.Domain, r.Op)
		}
	}
}

// TestTagsHaveRules checks that no tag stops a derivative by an error.
func TestTagsHaveRules(t *testing.T) {
	known := map[string]bool{}
	for _, r := range autodiff.Rules() {
		if r.Domain == graph.Asdl {
			known[r.Op] = true
		}
	}
	for _, tag := range []string{
		graph.TagParam, graph.TagLayer, graph.TagLoss, graph.TagGrad, graph.TagCapture, graph.TagPrecond,
		graph.TagState, graph.TagHyper, graph.TagStep, graph.TagFinite, graph.TagEvery, graph.TagNoise,
	} {
		if !known[tag] {
			t.Errorf("tag %s has no rule", tag)
		}
	}
}
