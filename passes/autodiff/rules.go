package autodiff

import (
	"cmp"
	"slices"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
)

// Kind is the class of an operator as a function of its differentiable inputs.
type Kind uint8

// Kinds of operators.
const (
	// Zero marks operators whose derivative is zero wherever it exists, or whose outputs are not real numbers.
	Zero Kind = iota
	// Linear operators are linear in their differentiable inputs together; a row without a JVP applies the operator to
	// the tangents.
	Linear
	// Bilinear operators are linear in input 0 and in input 1 (and input 2 is added on); a row without a JVP applies
	// the product rule.
	Bilinear
	// Smooth operators are differentiable almost everywhere.
	Smooth
)

// String is the kind's name, for tables.
func (k Kind) String() string {
	return [...]string{"zero", "linear", "bilinear", "smooth"}[k]
}

// Rule is a row of the rule table: how to differentiate an operator from an opset version on.
type Rule struct {
	Domain, Op string
	Since      int    // first opset version to which the row applies
	Kind       Kind   // class
	Diff       uint32 // bit i: input i is differentiable; inputs from 31 on share bit 31
	// VJP returns the cotangent of each input (of each dependency for operators with nested graphs); nil entries, and
	// those beyond the end, are zero. Those not in Call.Want need not be computed.
	VJP func(*Call) []*graph.Value
	// JVP returns the tangent of each output; nil entries are zero.
	JVP func(*Call) []*graph.Value
}

// Sets of differentiable inputs.
const (
	only0  uint32 = 1 << 0
	first2        = only0 | 1<<1
	first3        = first2 | 1<<2
	all           = ^uint32(0)
)

func (r *Rule) differentiable(i int) bool { return r.Diff>>min(i, 31)&1 == 1 }

// Call is one node under differentiation, as a rule sees it. It emits what the rule asks for where the request stands.
type Call struct {
	*op.Builder
	N *graph.Node
	// D holds the cotangents of the outputs (in a VJP) or the tangents of the dependencies (in a JVP); nil is zero.
	D []*graph.Value
	// Deps are the inputs of N, followed by the outer values that its nested graphs use.
	Deps []*graph.Value
	// Want tells for each dependency whether its cotangent is asked for (in a VJP).
	Want []bool

	rule *Rule
	walk *walk
}

// In is input i of the node, or nil.
func (c *Call) In(i int) *graph.Value { return c.N.In(i) }

// Out is output i of the node, or nil.
func (c *Call) Out(i int) *graph.Value { return c.N.Out(i) }

// wants reports whether the cotangent of dependency i is asked for.
func (c *Call) wants(i int) bool { return i < len(c.Want) && c.Want[i] }

// d is cotangent or tangent i, or nil.
func (c *Call) d(i int) *graph.Value {
	if i < len(c.D) {
		return c.D[i]
	}
	return nil
}

// unsupported records that the node cannot be differentiated in this form.
func (c *Call) unsupported(format string, args ...any) []*graph.Value {
	c.walk.fail(c.N, format, args...)
	return nil
}

// Rules lists the rule table, sorted by domain, operator and version.
func Rules() []Rule {
	rules := slices.Concat(mathRules(), trigRules(), nnRules(), rnnRules(), attentionRules(), sequenceRules(), samplingRules(), resizeRules(), normRules(), convRules(), tensorRules(), reduceRules(), controlRules(), lossRules(), tagRules())
	slices.SortFunc(rules, func(a, b Rule) int {
		return cmp.Or(cmp.Compare(a.Domain, b.Domain), cmp.Compare(a.Op, b.Op), cmp.Compare(a.Since, b.Since))
	})
	return rules
}

type opKey struct{ domain, op string }

// table is the rule table by operator, rows by rising version.
type table map[opKey][]*Rule

func newTable() table {
	t := table{}
	rules := Rules()
	for i := range rules {
		k := opKey{rules[i].Domain, rules[i].Op}
		t[k] = append(t[k], &rules[i])
	}
	return t
}

// lookup is the row that applies to an operator at an opset version, or nil.
func (t table) lookup(domain, name string, opset int) *Rule {
	var found *Rule
	for _, r := range t[opKey{domain, name}] {
		if r.Since <= opset {
			found = r
		}
	}
	return found
}

// zeroRows are rows of operators without a derivative.
func zeroRows(domain string, ops ...string) []Rule {
	rows := make([]Rule, len(ops))
	for i, name := range ops {
		rows[i] = Rule{Domain: domain, Op: name, Kind: Zero}
	}
	return rows
}

// tagRules are the rows of the tag operators: identities on input 0, and sources.
func tagRules() []Rule {
	pass := func(c *Call) []*graph.Value { return c.D[:1] }
	rows := zeroRows(graph.Asdl, graph.TagState, graph.TagHyper, graph.TagStep, graph.TagFinite, graph.TagEvery, graph.TagNoise,
		graph.TagSample, graph.TagLossRows)
	for _, tag := range []string{graph.TagParam, graph.TagLayer, graph.TagLoss, graph.TagGrad, graph.TagNext, graph.TagCapture, graph.TagPrecond} {
		rows = append(rows, Rule{Domain: graph.Asdl, Op: tag, Kind: Linear, Diff: only0, VJP: pass, JVP: pass})
	}
	return rows
}
