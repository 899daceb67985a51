package legalize_test

import (
	"slices"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/legalize"
)

func TestUniqueNames(t *testing.T) {
	m, err := graph.Parse(`<ir_version: 8, opset_import: ["" : 17]>
g (float[2] x, bool c) => (float[2] y)
{
   [a] p = Abs (x)
   [a] q = Neg (p)
   [a_1] r = Exp (q)
   s = Sqrt (r)
   [b] y = If (c) <then_branch: graph = t () => (float[2] u) { [a] u = Neg (s) }, else_branch: graph = e () => (float[2] v) { [b] v = Abs (s) }>
}`)
	if err != nil {
		t.Fatal(err)
	}
	legalize.UniqueNames(m)
	var names []string
	for n := range m.Graph.All() {
		names = append(names, n.Name)
	}
	slices.Sort(names)
	if want := []string{"", "a", "a_1", "a_2", "a_3", "b", "b_1"}; !slices.Equal(names, want) {
		t.Errorf("names %q, want %q", names, want)
	}
}
