package normalize_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/normalize"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/passes/passtest"
)

// TestSequences: lists of tensors, and the model that means the same without them.
func TestSequences(t *testing.T) {
	const at = `int64 i0 = {0}, int64 i1 = {1}, int64 last = {-1}`
	for name, c := range map[string]struct{ constants, list, plain string }{
		"sizes": {
			at + `, int64[3] s = {1, 2, 3}`, `q = SplitToSequence <axis: int = 1> (x, s)  a = SequenceAt (q, i0)  b = SequenceAt (q, last)  y = Concat <axis: int = 1> (b, a)`,
			`a, m, b = Split <axis: int = 1> (x, s)  y = Concat <axis: int = 1> (b, a)`,
		},
		"chunks": {
			at + `, int64 n = {4}, int64[2] s = {4, 2}`, `q = SplitToSequence <axis: int = -1> (x, n)  y = SequenceAt (q, i1)`,
			`a, y = Split <axis: int = 1> (x, s)`,
		},
		"unbind and stack": {
			at + `, int64[1] ax = {1}`, `q = SplitToSequence <axis: int = 1, keepdims: int = 0> (x)  a = SequenceAt (q, i0)  b = SequenceAt (q, i1)
				r = SequenceConstruct (b, a)  y = ConcatFromSequence <axis: int = 1, new_axis: int = 1> (r)`,
			`a, b, c, d, e, f = Split <axis: int = 1> (x)  y = Concat <axis: int = 1> (b, a)`,
		},
		"built up": {
			at, `q = SequenceEmpty ()  r = SequenceInsert (q, x)  h = Neg (x)  s = SequenceInsert (r, h, i0)  k = Exp (x)  u = SequenceInsert (s, k)
				w = SequenceErase (u, i1)  y = ConcatFromSequence <axis: int = 1> (w)`,
			`h = Neg (x)  k = Exp (x)  y = Concat <axis: int = 1> (h, k)`,
		},
		"length": {
			at + `, int64 n = {4}`, `q = SplitToSequence <axis: int = 1> (x, n)  l = SequenceLength (q)  f = Cast <to: int = 1> (l)  y = Mul (x, f)`,
			`y = Add (x, x)`,
		},
		"of a sequence's element": {
			at + `, int64 n = {3}, int64 one = {1}`, `q = SplitToSequence <axis: int = 1> (x, n)  a = SequenceAt (q, i1)  r = SplitToSequence <axis: int = 1> (a, one)  y = SequenceAt (r, last)`,
			`a, b, c, d, e, y = Split <axis: int = 1> (x)`,
		},
	} {
		model := func(constants, nodes string) *graph.Model {
			return passtest.Parse(t, head("17")+`g (float[N,6] x) => (y) <`+constants+`> { `+nodes+` }`)
		}
		plain := model(c.constants, c.plain)
		got, _ := passtest.Apply(t, model(c.constants, c.list), pass.Options{}, normalize.Pass)
		if text := graph.Print(got); strings.Contains(text, "Sequence") {
			t.Errorf("%s: a sequence is left:\n%s", name, text)
		}
		feeds := passtest.Feeds(t, plain, 1, map[string]int64{"N": 3})
		passtest.Same(t, passtest.Eval(t, plain, feeds), passtest.Eval(t, got, feeds), 0)
	}
}

// TestSequencesRefused: lengths or places that are not known.
func TestSequencesRefused(t *testing.T) {
	for _, nodes := range []string{
		`q = SplitToSequence <axis: int = 0> (x)  y = SequenceAt (q, i)`,
		`q = SplitToSequence <axis: int = 1> (x)  y = SequenceAt (q, i)`,
		`q = SplitToSequence <axis: int = 1> (x, i)  y = ConcatFromSequence <axis: int = 1> (q)`,
		`q = SequenceConstruct (x, x)  y = SequenceAt (q, seven)`,
	} {
		m := passtest.Parse(t, head("17")+`g (float[N,6] x, int64 i) => (y) <int64 seven = {7}> { `+nodes+` }`)
		if err := normalize.Run(&pass.Ctx{Report: &pass.Report{}}, m); !errors.Is(err, graph.ErrUnsupported) || !strings.Contains(err.Error(), "sequence") {
			t.Errorf("%s: %v", nodes, err)
		}
	}
}
