package cleanup

import (
	"hash/maphash"
	"slices"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/pass"
)

// hoistConstants moves initializers of nested graphs to the main graph, where they can be merged.
func hoistConstants(g *graph.Graph) bool {
	changed := false
	for n := range g.All() {
		for _, sub := range n.Graphs() {
			for _, v := range slices.Clone(sub.Initializers()) {
				if !v.IsInitializer() {
					continue
				}
				w := g.AddInitializer(v.Name, v.Const())
				w.Content = v.Content
				v.ReplaceUses(w)
				pass.TakeName(v, w)
				sub.RemoveValue(v)
				changed = true
			}
		}
	}
	return changed
}

// mergeConstants makes one of all equal initializers of g. Parameters stay apart: they will differ.
func mergeConstants(g *graph.Graph) bool {
	first := map[uint64][]*graph.Value{}
	seed, changed := maphash.MakeSeed(), false
	for _, v := range slices.Clone(g.Initializers()) {
		if !v.IsInitializer() || v.IsOutput() || isParameter(v) {
			continue
		}
		t := v.Const()
		key := maphash.Bytes(seed, t.Raw)
		twin := slices.IndexFunc(first[key], func(w *graph.Value) bool { return t.Equal(w.Const()) })
		if twin < 0 {
			first[key] = append(first[key], v)
			continue
		}
		v.ReplaceUses(first[key][twin])
		g.RemoveValue(v)
		changed = true
	}
	return changed
}

// isParameter reports whether a Param tag makes v a parameter or buffer.
func isParameter(v *graph.Value) bool {
	return slices.ContainsFunc(v.Uses(), func(u graph.Use) bool { return u.Node.Is(graph.Asdl, graph.TagParam) })
}
