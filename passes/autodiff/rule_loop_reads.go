package autodiff

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
)

// read is a node of a loop's body that takes a part, of the same shape in each iteration, of an outer value.
type read struct {
	node *graph.Node
	dep  int // position of the outer value among the dependencies of the loop
	kind *readKind
}

// readKind is a row: an operator that takes a part of input 0 at positions that it is told.
type readKind struct {
	op string
	// fits reports whether the node reads parts of one shape.
	fits func(n *graph.Node) bool
	// positions is what place needs of one iteration.
	positions func(c *Call) *graph.Value
	// fill gives the cotangent of a part that may be cut short the shape of a whole one; nil: it always has it.
	fill func(c *Call, g *graph.Value) *graph.Value
	// place adds the cotangents of the parts of all iterations up to that of x; positions and g have one more axis in front.
	place func(c *Call, n *graph.Node, x, positions, g *graph.Value) *graph.Value
}

var readKinds = []readKind{
	{
		op: "Gather", fits: func(n *graph.Node) bool { return isStatic(n.In(1)) && n.In(0).Type.Ranked },
		positions: func(c *Call) *graph.Value { return c.In(1) },
		place: func(c *Call, n *graph.Node, x, positions, g *graph.Value) *graph.Value {
			return c.placeParts(x, positions, g, axis(n.Int("axis", 0), x.Type.Rank()))
		},
	},
	{
		op: "GatherND", fits: func(n *graph.Node) bool { return isStatic(n.In(1)) && n.Int("batch_dims", 0) == 0 },
		positions: func(c *Call) *graph.Value { return c.In(1) },
		place: func(c *Call, _ *graph.Node, x, positions, g *graph.Value) *graph.Value {
			last := positions.Type.Rank() - 1
			taken, _ := positions.Type.Dims[last].Size()
			return c.scatterND(c.ZerosLike(x), positions, c.shapedParts(g, positions, last, c.otherAxes(x, 0, int(taken))))
		},
	},
	{
		op: "Slice", fits: isWindow,
		positions: func(c *Call) *graph.Value {
			cut := c.cuts(c.In(0))[0]
			length, _ := windowLength(c.N)
			size := c.dimPiece(c.In(0), cut.axis)
			ids := make([]int64, length)
			for i := range ids {
				ids[i] = int64(i)
			}
			at := c.Add(c.tensor(c.clampStart(cut.start, size)), c.Ints(ids...))
			return c.Op("Min", []*graph.Value{at, c.Sub(c.tensor(size), c.Ints(1))}) // what lies behind the end gets zeros
		},
		fill: func(c *Call, g *graph.Value) *graph.Value {
			cut := c.cuts(c.In(0))[0]
			length, _ := windowLength(c.N)
			pads := make([]piece, 2*g.Type.Rank())
			pads[g.Type.Rank()+cut.axis].v = c.Sub(c.Ints(length), c.DimOf(c.Out(0), cut.axis))
			return c.Op("Pad", []*graph.Value{g, c.shape(pads...)})
		},
		place: func(c *Call, n *graph.Node, x, positions, g *graph.Value) *graph.Value {
			axes, _ := constInts(n.In(3))
			return c.placeParts(x, positions, g, axis(axes[0], x.Type.Rank()))
		},
	},
}

// isWindow reports whether a Slice takes a part of known length along one axis.
func isWindow(n *graph.Node) bool {
	axes, ok := constInts(n.In(3))
	steps, stepped := constInts(n.In(4))
	if !n.In(0).Type.Ranked || !ok || len(axes) != 1 || n.In(4) != nil && (!stepped || steps[0] != 1) || !isStatic(n.In(1)) {
		return false
	}
	_, ok = windowLength(n)
	return ok
}

// windowLength is the length of the part that a Slice from i to i+length takes, unless the end of the axis cuts it.
func windowLength(n *graph.Node) (int64, bool) {
	end := unwrapped(n.In(2)).Def()
	if end == nil || !end.Is("", "Add") {
		return 0, false
	}
	for i := range 2 {
		length, ok := constInts(end.In(1 - i))
		if ok && len(length) == 1 && length[0] > 0 && unwrapped(end.In(i)) == unwrapped(n.In(1)) {
			return length[0], true
		}
	}
	return 0, false
}

// unwrapped is the value that v is another form of.
func unwrapped(v *graph.Value) *graph.Value {
	for d := v.Def(); d != nil; d = v.Def() {
		switch {
		case d.Domain != "":
			return v
		case d.Op == "Unsqueeze", d.Op == "Squeeze", d.Op == "Reshape", d.Op == "Cast", d.Op == "Identity":
			v = d.In(0)
		default:
			return v
		}
	}
	return v
}

func isStatic(v *graph.Value) bool {
	_, ok := v.Type.Static()
	return ok
}

// reads lists the nodes of the body that read parts of dependency i; rest tells whether the body uses it in other ways.
func (c *Call) reads(body *graph.Graph, i int) (list []read, rest bool) {
	x := c.Deps[i]
	inside := map[*graph.Graph]bool{body: true}
	for n := range body.All() {
		for _, sub := range n.Graphs() {
			inside[sub] = true
		}
	}
	for _, u := range x.Uses() {
		if !inside[u.Node.Graph()] {
			continue
		}
		if kind := readBy(u.Node); kind != nil && u.Index == 0 && u.Node.Graph() == body {
			list = append(list, read{node: u.Node, dep: i, kind: kind})
		} else {
			rest = true
		}
	}
	for g := range inside {
		for _, o := range g.Outputs() {
			rest = rest || o == x
		}
	}
	return list, rest
}

func readBy(n *graph.Node) *readKind {
	for k := range readKinds {
		if n.Is("", readKinds[k].op) && readKinds[k].fits(n) {
			return &readKinds[k]
		}
	}
	return nil
}

// positions emits, in the loop's body, where copy, a copy of the node, reads.
func (r read) positions(c *Call, b *op.Builder, copy *graph.Node) *graph.Value {
	return r.kind.positions(c.walk.call(b, step{node: copy, deps: copy.Inputs()}, nil))
}

// filled is the cotangent of a part in the shape of a whole one.
func (r read) filled(c *Call, b *op.Builder, copy *graph.Node, g *graph.Value) *graph.Value {
	if r.kind.fill == nil {
		return g
	}
	return r.kind.fill(c.walk.call(b, step{node: copy, deps: copy.Inputs()}, nil), g)
}

// place adds up the cotangents of the parts that all iterations read.
func (r read) place(c *Call, x, positions, g *graph.Value) *graph.Value {
	return r.kind.place(c, r.node, x, positions, g)
}

// placeParts is scatterAlong of parts whose axes of positions stand in the place of axis a: positions [T, ...] and
// g [T, axes before a, ..., axes after a].
func (c *Call) placeParts(x, positions, g *graph.Value, a int64) *graph.Value {
	if a != 0 {
		q := positions.Type.Rank() - 1
		perm := append([]int64{0}, spanAxes(1+a, q)...)
		perm = append(perm, spanAxes(1, int(a))...)
		g = c.Transpose(g, append(perm, axesFrom(1+a+int64(q), x.Type.Rank()+q)...)...)
	}
	g = c.shapedParts(g, positions, positions.Type.Rank(), c.otherAxes(x, int(a), int(a)+1))
	return c.scatterAlong(x, positions, g, a)
}

// otherAxes lists the dimensions of x but first..end-1.
func (c *Call) otherAxes(x *graph.Value, first, end int) []piece {
	var dims []piece
	for i := range x.Type.Rank() {
		if i < first || i >= end {
			dims = append(dims, c.dimPiece(x, i))
		}
	}
	return dims
}

// shapedParts gives g the first n dimensions of positions and those of each part, which a loop that makes no iteration
// may not know.
func (c *Call) shapedParts(g, positions *graph.Value, n int, part []piece) *graph.Value {
	open := false
	for _, d := range g.Type.Dims[1:] {
		_, known := d.Size()
		open = open || !known
	}
	if !open {
		return g
	}
	var shape []piece
	for i := range n {
		shape = append(shape, c.dimPiece(positions, i))
	}
	return c.reshapeZero(g, c.shape(append(shape, part...)...))
}
