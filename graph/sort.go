package graph

import (
	"container/heap"
	"strings"
)

// Sort puts the nodes of g, and of every graph nested in it, into a legal order (G5). It is stable: among the nodes that may
// come next, the one that came first before comes first, so a legal order stays as it is. The error, of kind ErrInvalid,
// names the nodes of a cycle; the graph is then unchanged up to nested graphs.
func Sort(g *Graph) error {
	for n := range g.Nodes() {
		for _, sub := range n.Graphs() {
			if err := Sort(sub); err != nil {
				return err
			}
		}
	}
	s := newSorter(g)
	if s.legal() {
		return nil
	}
	order := s.order()
	if len(order) < len(s.nodes) {
		return s.cycle(order)
	}
	for _, i := range order {
		s.nodes[i].MoveBefore(nil)
	}
	return nil
}

// sorter holds the dependencies among the nodes of one graph, by position.
type sorter struct {
	nodes []*Node
	deps  [][]int // positions of the nodes that each node needs; may repeat
}

func newSorter(g *Graph) *sorter {
	s := &sorter{nodes: make([]*Node, 0, g.count), deps: make([][]int, g.count)}
	pos := make(map[*Node]int, g.count)
	for n := range g.Nodes() {
		pos[n] = len(s.nodes)
		s.nodes = append(s.nodes, n)
	}
	for i, n := range s.nodes {
		eachOperand(n, func(v *Value) {
			if v.def != nil && v.graph == g {
				s.deps[i] = append(s.deps[i], pos[v.def])
			}
		})
	}
	return s
}

// eachOperand calls f on every value that n uses, in nested graphs too.
func eachOperand(n *Node, f func(*Value)) {
	for _, v := range n.inputs {
		if v != nil {
			f(v)
		}
	}
	for _, sub := range n.Graphs() {
		for inner := range sub.Nodes() {
			eachOperand(inner, f)
		}
		for _, v := range sub.outputs {
			f(v)
		}
	}
}

// legal reports whether the present order is.
func (s *sorter) legal() bool {
	for i, deps := range s.deps {
		for _, d := range deps {
			if d >= i {
				return false
			}
		}
	}
	return true
}

// order is Kahn's algorithm with a queue ordered by position. Nodes on or after a cycle are left out.
func (s *sorter) order() []int {
	users := make([][]int, len(s.nodes))
	missing := make([]int, len(s.nodes))
	for i, deps := range s.deps {
		missing[i] = len(deps)
		for _, d := range deps {
			users[d] = append(users[d], i)
		}
	}
	var ready intHeap
	for i, n := range missing {
		if n == 0 {
			ready = append(ready, i) // ascending, so a heap already
		}
	}
	order := make([]int, 0, len(s.nodes))
	for len(ready) > 0 {
		i := heap.Pop(&ready).(int)
		order = append(order, i)
		for _, u := range users[i] {
			if missing[u]--; missing[u] == 0 {
				heap.Push(&ready, u)
			}
		}
	}
	return order
}

// cycle names the nodes of one cycle among those that are not in order.
func (s *sorter) cycle(order []int) error {
	stuck := make([]bool, len(s.nodes))
	for i := range stuck {
		stuck[i] = true
	}
	for _, i := range order {
		stuck[i] = false
	}
	at := 0
	for !stuck[at] {
		at++
	}
	var path []int
	step := map[int]int{} // position on path
	for {
		if first, again := step[at]; again {
			path = path[first:]
			break
		}
		step[at] = len(path)
		path = append(path, at)
		for _, d := range s.deps[at] {
			if stuck[d] {
				at = d
				break
			}
		}
	}
	const most = 8
	var names []string
	for k := len(path) - 1; k >= 0 && len(names) < most; k-- {
		names = append(names, s.nodes[path[k]].String())
	}
	if len(path) > most {
		names = append(names, "...")
	}
	return s.nodes[path[len(path)-1]].Errorf(ErrInvalid, "G5: the nodes form a cycle: %s -> %s",
		strings.Join(names, " -> "), names[0])
}

type intHeap []int

func (h intHeap) Len() int           { return len(h) }
func (h intHeap) Less(i, j int) bool { return h[i] < h[j] }
func (h intHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *intHeap) Push(x any)        { *h = append(*h, x.(int)) }
func (h *intHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
