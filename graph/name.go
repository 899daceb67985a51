package graph

import (
	"strconv"
)

// namer hands out unique names within a root graph and everything nested in it.
type namer struct{ names map[string]naming }

// naming is what is known of a name: whether a value has it, and the suffix tried last for values that wanted it.
type naming struct {
	taken bool
	last  int
}

func newNamer() *namer { return &namer{names: map[string]naming{}} }

// unique returns base if it is free, else base_1, base_2, ...; an empty base becomes "v".
func (n *namer) unique(base string) string {
	if base == "" {
		base = "v"
	}
	known := n.names[base]
	if !known.taken {
		known.taken = true
		n.names[base] = known
		return base
	}
	for {
		known.last++
		name := base + "_" + strconv.Itoa(known.last)
		if at := n.names[name]; !at.taken {
			at.taken = true
			n.names[name] = at
			n.names[base] = known
			return name
		}
	}
}

func (n *namer) release(name string) {
	known := n.names[name]
	if known.last == 0 {
		delete(n.names, name)
		return
	}
	known.taken = false
	n.names[name] = known
}

// counted is a namer without names that goes on with the suffixes where n is.
func (n *namer) counted() *namer {
	c := &namer{names: make(map[string]naming, len(n.names))}
	for name, known := range n.names {
		if known.last > 0 {
			c.names[name] = naming{last: known.last}
		}
	}
	return c
}

// NameTaken reports whether a value of that name exists in g's root graph or anything nested in it.
func (g *Graph) NameTaken(name string) bool { return g.names.names[name].taken }
