package legalize

import (
	"strconv"

	"github.com/asdlc/asdlc/graph"
)

// UniqueNames gives nodes of equal names, as inlined functions leave them, names of their own: onnxruntime refuses a
// model with two. Nodes without a name stay so.
func UniqueNames(m *graph.Model) {
	taken := map[string]bool{}
	for n := range m.Graph.All() {
		taken[n.Name] = true
	}
	seen := map[string]bool{}
	next := map[string]int{}
	for n := range m.Graph.All() {
		if n.Name == "" {
			continue
		}
		base := n.Name
		for seen[n.Name] {
			next[base]++
			if name := base + "_" + strconv.Itoa(next[base]); !taken[name] {
				n.Name = name
				taken[name] = true
			}
		}
		seen[n.Name] = true
	}
}
