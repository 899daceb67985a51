package normalize

import "github.com/asdlc/asdlc/graph"

// pat is a pattern of a value: the first output of a node of operator Op with inputs that match In, or, with Op empty,
// any value. Bind names the value; a name that occurs again must stand for the same value.
type pat struct {
	Op   string
	In   []pat
	Bind string
	// Check, if set, must hold for the node (nil if the value is none of a node) and the value.
	Check func(n *graph.Node, v *graph.Value) bool
}

// anyValue matches every value, and binds it.
func anyValue(bind string) pat { return pat{Bind: bind} }

// node matches the result of an operator.
func node(op string, in ...pat) pat { return pat{Op: op, In: in} }

// as binds a name to the value that p matches.
func (p pat) as(bind string) pat {
	p.Bind = bind
	return p
}

// where adds a condition.
func (p pat) where(check func(*graph.Node, *graph.Value) bool) pat {
	p.Check = check
	return p
}

// commutes lists operators whose two operands match in either order.
var commutes = map[string]bool{"Add": true, "Mul": true}

// bindings are the values that names stand for.
type bindings map[string]*graph.Value

// match reports whether v matches p, and binds names in b. On failure, b is as before.
func (p pat) match(v *graph.Value, b bindings) bool {
	if v == nil {
		return false
	}
	if p.Bind != "" && b[p.Bind] != nil {
		return b[p.Bind] == v
	}
	n := v.Def()
	if p.Op != "" && (n == nil || !n.Is("", p.Op) || v.DefIndex() != 0 || len(n.Inputs()) < len(p.In)) {
		return false
	}
	if p.Check != nil && !p.Check(n, v) {
		return false
	}
	if p.Op != "" && !p.inputs(n, b) {
		return false
	}
	if p.Bind != "" {
		b[p.Bind] = v
	}
	return true
}

// inputs matches the inputs of n, in either order where the operator commutes.
func (p pat) inputs(n *graph.Node, b bindings) bool {
	orders := [][]int{{0, 1}, {1, 0}}
	if !commutes[p.Op] || len(p.In) != 2 {
		orders = [][]int{nil}
	}
	for _, order := range orders {
		trial := bindings{}
		for name, v := range b {
			trial[name] = v
		}
		ok := true
		for i := range p.In {
			at := i
			if order != nil {
				at = order[i]
			}
			if ok = p.In[i].match(n.In(at), trial); !ok {
				break
			}
		}
		if ok {
			for name, v := range trial {
				b[name] = v
			}
			return true
		}
	}
	return false
}
