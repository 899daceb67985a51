// Package graphtest has what tests of packages around graph share: models from text, comparison, random models, and shuffling
// of nodes among the legal orders.
package graphtest

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/asdlc/asdlc/graph"
)

// MustParse is graph.Parse that fails the test on an error.
func MustParse(t testing.TB, src string) *graph.Model {
	t.Helper()
	m, err := graph.Parse(src)
	if err != nil {
		t.Fatalf("parse: %v\n%s", err, src)
	}
	return m
}

// MustVerify fails the test if m breaks an invariant.
func MustVerify(t testing.TB, m *graph.Model) {
	t.Helper()
	if err := graph.Verify(m); err != nil {
		t.Fatalf("verify: %v\n%s", err, short(m))
	}
}

// Same fails the test if two models are not equal, and shows both.
func Same(t testing.TB, got, want *graph.Model) {
	t.Helper()
	if err := graph.Equal(got, want); err != nil {
		t.Fatalf("models differ, got and want: %v\ngot:\n%s\nwant:\n%s", err, short(got), short(want))
	}
}

// short prints a model with long constants cut off.
func short(m *graph.Model) string {
	var sb writer
	if err := graph.Fprint(&sb, m, graph.PrintOptions{MaxElements: 8}); err != nil {
		return err.Error()
	}
	return string(sb)
}

type writer []byte

func (w *writer) Write(b []byte) (int, error) {
	*w = append(*w, b...)
	return len(b), nil
}

// Shared is a path in the folder of test data beside the repository (../shared). The test is skipped if it is not there.
func Shared(t testing.TB, path ...string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod above the test's folder")
		}
		dir = parent
	}
	full := filepath.Join(append([]string{dir, "..", "shared"}, path...)...)
	if _, err := os.Stat(full); err != nil {
		t.Skipf("%s absent", filepath.Join(append([]string{"../shared"}, path...)...))
	}
	return full
}

// Shuffle brings the nodes of g, and of every graph nested in it, into another legal order.
func Shuffle(g *graph.Graph, r *rand.Rand) {
	missing := map[*graph.Node]int{} // operands that are not placed yet
	users := map[*graph.Node][]*graph.Node{}
	var ready []*graph.Node
	for n := range g.Nodes() {
		for _, sub := range n.Graphs() {
			Shuffle(sub, r)
		}
		operands(n, func(v *graph.Value) {
			if d := v.Def(); d != nil && d.Graph() == g {
				missing[n]++
				users[d] = append(users[d], n)
			}
		})
		if missing[n] == 0 {
			ready = append(ready, n)
		}
	}
	for len(ready) > 0 {
		i := r.IntN(len(ready))
		n := ready[i]
		ready[i] = ready[len(ready)-1]
		ready = ready[:len(ready)-1]
		n.MoveBefore(nil)
		for _, u := range users[n] {
			if missing[u]--; missing[u] == 0 {
				ready = append(ready, u)
			}
		}
	}
}

// operands calls f on every value that n uses, in nested graphs too.
func operands(n *graph.Node, f func(*graph.Value)) {
	for _, v := range n.Inputs() {
		if v != nil {
			f(v)
		}
	}
	for _, sub := range n.Graphs() {
		for inner := range sub.Nodes() {
			operands(inner, f)
		}
		for _, v := range sub.Outputs() {
			f(v)
		}
	}
}
