package autodiff

import (
	"github.com/asdlc/asdlc/graph"
)

// scatter puts updates into data where the node does, with a reduction.
func (c *Call) scatter(data, updates *graph.Value, reduction string) *graph.Value {
	attrs := []graph.Attr{graph.S("reduction", reduction)}
	if c.N.Op == "ScatterElements" {
		attrs = append(attrs, graph.I("axis", c.N.Int("axis", 0)))
	}
	return c.Op(c.N.Op, []*graph.Value{data, c.In(1), updates}, attrs...)
}

// pickUpdated takes from v, of the shape of the data, what lies where the node puts updates.
func (c *Call) pickUpdated(v *graph.Value) *graph.Value {
	if c.N.Op == "ScatterElements" {
		return c.Op("GatherElements", []*graph.Value{v, c.In(1)}, graph.I("axis", c.N.Int("axis", 0)))
	}
	return c.Op("GatherND", []*graph.Value{v, c.In(1)})
}

// scatterSlopes is the derivative of the outputs in the data and in the updates, as factors; nil is 1.
func (c *Call) scatterSlopes() (data, updates *graph.Value) {
	switch c.N.Str("reduction", "none") {
	case "mul":
		return c.scatteredFactors()
	case "max", "min":
		hit := func(v, y *graph.Value) *graph.Value { return c.Cast(c.Compare("Equal", v, y), v.Type.Elem) }
		data, updates = hit(c.In(0), c.Out(0)), hit(c.In(2), c.pickUpdated(c.Out(0)))
		ties := c.scatter(data, updates, "add")
		return c.Div(data, ties), c.Div(updates, c.pickUpdated(ties))
	}
	return nil, nil // add, none
}

// scatteredFactors is, for each factor of the products that reduction mul makes, the product of the others. With one
// zero among them that is the product of the rest at the zero, and 0 elsewhere; with more it is 0.
func (c *Call) scatteredFactors() (data, updates *graph.Value) {
	x, u := c.In(0), c.In(2)
	one, none := c.FloatLike(x, 1), c.FloatLike(x, 0)
	zero := func(v *graph.Value) *graph.Value { return c.Compare("Equal", v, none) }
	rest := func(v *graph.Value) *graph.Value { return c.Where(zero(v), one, v) }
	count := func(v *graph.Value) *graph.Value { return c.Cast(zero(v), x.Type.Elem) }
	product, zeros := c.scatter(rest(x), rest(u), "mul"), c.scatter(count(x), count(u), "add")
	others := func(v, product, zeros *graph.Value) *graph.Value {
		alone := c.Compare("Equal", zeros, count(v)) // no zero but v itself
		return c.selectIf(alone, c.Div(product, rest(v)))
	}
	return others(x, product, zeros), others(u, c.pickUpdated(product), c.pickUpdated(zeros))
}

// overwrites reports whether updates replace data.
func (c *Call) overwrites() bool { return c.N.Str("reduction", "none") == "none" }

// vjpScatter: with ties of a minimum or maximum, each gets an equal share.
func vjpScatter(c *Call) []*graph.Value {
	g := c.d(0)
	data, updates := c.scatterSlopes()
	ct := []*graph.Value{g, nil, nil}
	switch {
	case data != nil:
		ct[0] = c.Mul(g, data)
	case c.overwrites() && c.wants(0):
		ct[0] = c.scatter(g, c.ZerosLike(c.In(2)), "none")
	}
	if c.wants(2) {
		if ct[2] = c.pickUpdated(g); updates != nil {
			ct[2] = c.Mul(ct[2], updates)
		}
	}
	return ct
}

func jvpScatter(c *Call) []*graph.Value {
	if c.overwrites() {
		return c.jvpLinear()
	}
	t, u := c.d(0), c.d(2)
	data, updates := c.scatterSlopes()
	switch {
	case t == nil:
		t = c.ZerosLike(c.In(0))
	case data != nil:
		t = c.Mul(t, data)
	}
	if u == nil {
		return []*graph.Value{t}
	}
	if updates != nil {
		u = c.Mul(u, updates)
	}
	return []*graph.Value{c.scatter(t, u, "add")}
}
