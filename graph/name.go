package graph

import "strconv"

// namer hands out unique names within a root graph and everything nested in it.
type namer struct {
	taken map[string]bool
	next  map[string]int // next suffix to try for a base name
}

func newNamer() *namer { return &namer{taken: map[string]bool{}, next: map[string]int{}} }

// unique returns base if it is free, else base_1, base_2, ...; an empty base becomes "v".
func (n *namer) unique(base string) string {
	if base == "" {
		base = "v"
	}
	name := base
	for n.taken[name] {
		n.next[base]++
		name = base + "_" + strconv.Itoa(n.next[base])
	}
	n.taken[name] = true
	return name
}

func (n *namer) release(name string) { delete(n.taken, name) }

// NameTaken reports whether a value of that name exists in g's root graph or anything nested in it.
func (g *Graph) NameTaken(name string) bool { return g.names.taken[name] }
