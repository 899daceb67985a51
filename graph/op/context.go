package op

import (
	"fmt"
	"math"

	"github.com/asdlc/asdlc/graph"
)

// Arg is what is known of one input or output of a call.
type Arg struct {
	Present bool
	Type    graph.Type
	Const   *graph.Tensor // the value, if it is constant; only for inputs
	Content []graph.Dim   // symbolic content of a tensor of rank 0 or 1; nil when unknown
}

// Context is one call of an operator: what a row's Infer function sees. The runtime fills Node, Opset and In with the
// concrete arguments, calls InferCall and reads Out; graph inference does the same with symbolic ones.
type Context struct {
	Node  *graph.Node
	Opset int          // version of the node's domain
	Model *graph.Model // for calls of functions and nested graphs; may be nil if there are none
	In    []Arg
	Out   []Arg

	schema *Schema
	env    *env
}

// fail is an ErrInvalid about the call.
func (c *Context) fail(format string, args ...any) error {
	return c.errorf(graph.ErrInvalid, format, args...)
}

func (c *Context) errorf(kind error, format string, args ...any) error {
	return nodeError(c.Node, c.Opset, kind, format, args...)
}

func nodeError(n *graph.Node, opset int, kind error, format string, args ...any) error {
	name := n.Op
	if n.Domain != "" {
		name = n.Domain + "." + n.Op
	}
	return &graph.NodeError{
		Kind: kind, Node: n.String(), Op: name, Opset: opset, Scope: n.Scope, Msg: fmt.Sprintf(format, args...),
	}
}

// Attr is the attribute of that name: the node's, that of the calling function, or the row's default.
func (c *Context) Attr(name string) (graph.Attr, bool) {
	if a, ok := c.Node.Attr(name); ok {
		if a.Ref == "" {
			return a, true
		}
		if v, ok := c.env.frame[a.Ref]; ok {
			v.Name = name
			return v, true
		}
	}
	if c.schema != nil {
		if s, ok := c.schema.attr(name); ok && s.Default.Kind != graph.AttrUndefined {
			return s.Default, true
		}
	}
	return graph.Attr{}, false
}

// Int is an int attribute; 0 if it has no value.
func (c *Context) Int(name string) int64 {
	a, _ := c.Attr(name)
	return a.I
}

// Str is a string attribute; "" if it has no value.
func (c *Context) Str(name string) string {
	a, _ := c.Attr(name)
	return a.S
}

// Ints is an ints attribute; ok tells whether it has a value.
func (c *Context) Ints(name string) (v []int64, ok bool) {
	a, ok := c.Attr(name)
	return a.Ints, ok
}

// Has reports whether input i is given.
func (c *Context) Has(i int) bool { return i < len(c.In) && c.In[i].Present }

// Type is the type of input i; the zero type, of which nothing is known, if it is missing.
func (c *Context) Type(i int) graph.Type {
	if i < len(c.In) {
		return c.In[i].Type
	}
	return graph.Type{}
}

// Dims is the shape of input i; ok is false if its rank is not known.
func (c *Context) Dims(i int) (dims []graph.Dim, ok bool) {
	t := c.Type(i)
	return t.Dims, t.Ranked
}

// inputName is the formal name of input i, for messages.
func (c *Context) inputName(i int) string {
	if c.schema != nil {
		if p, ok := param(c.schema.Inputs, i); ok {
			return fmt.Sprintf("input %d (%s)", i, p.Name)
		}
	}
	return fmt.Sprintf("input %d", i)
}

// wantRank fails if the rank of input i is known and not want.
func (c *Context) wantRank(i, want int) error {
	if t := c.Type(i); t.Ranked && len(t.Dims) != want {
		return c.fail("%s has type %s, want rank %d", c.inputName(i), t, want)
	}
	return nil
}

// wantOne fails if input i is known not to have one element.
func (c *Context) wantOne(i int) error {
	if shape, ok := c.Type(i).Static(); ok && c.Has(i) && (len(shape) > 1 || len(shape) == 1 && shape[0] != 1) {
		return c.fail("%s has type %s, want one element", c.inputName(i), c.Type(i))
	}
	return nil
}

// Set gives output i a shape. Outputs that the node does not have are ignored.
func (c *Context) Set(i int, dims ...graph.Dim) {
	if i < len(c.Out) {
		c.Out[i].Type.Ranked = true
		c.Out[i].Type.Dims = dims
	}
}

// setElem gives output i an element type.
func (c *Context) setElem(i int, e graph.Elem) {
	if i < len(c.Out) {
		c.Out[i].Type.Elem = e
	}
}

// setContent gives output i a content.
func (c *Context) setContent(i int, content []graph.Dim) {
	if i < len(c.Out) {
		c.Out[i].Content = content
	}
}

// like gives output i the shape of input j.
func (c *Context) like(i, j int) {
	if dims, ok := c.Dims(j); ok {
		c.Set(i, dims...)
	}
}

// Content is the symbolic content of input i: nil if nothing is known of it or if it is long.
func (c *Context) Content(i int) []graph.Dim {
	if !c.Has(i) {
		return nil
	}
	a := &c.In[i]
	if a.Content != nil {
		return a.Content
	}
	if a.Const == nil || len(a.Const.Shape) > 1 || a.Const.Len() > maxContent {
		return nil
	}
	a.Content = tensorContent(a.Const)
	return a.Content
}

// ints is the content of input i if it is an integer tensor wholly known, whatever its length.
func (c *Context) ints(i int) (v []int64, ok bool) {
	if !c.Has(i) {
		return nil, false
	}
	if t := c.In[i].Const; t != nil && (t.Elem.IsInt() || t.Elem == graph.Bool) {
		return t.Int64s()
	}
	content := c.In[i].Content
	if content == nil {
		return nil, false
	}
	v = make([]int64, len(content))
	for k, d := range content {
		if v[k], ok = d.Int(); !ok {
			return nil, false
		}
	}
	return v, true
}

// floats is the content of input i if it is a constant floating-point tensor, or small and computed from constants.
func (c *Context) floats(i int) (v []float64, ok bool) {
	if !c.Has(i) {
		return nil, false
	}
	if t := c.In[i].Const; t != nil {
		return t.Float64s()
	}
	budget := floatBudget
	v = c.env.floatConst(c.Node.In(i), &budget)
	return v, v != nil
}

// intsOrAttr is the list of ints that older versions have as an attribute and newer ones as input i. known is false
// if it is given but its value is not known; given is false if it is left out.
func (c *Context) intsOrAttr(i int, attr string) (v []int64, given, known bool) {
	if v, ok := c.Ints(attr); ok {
		return v, true, true
	}
	if !c.Has(i) {
		return nil, false, true
	}
	v, known = c.ints(i)
	return v, true, known
}

// axis returns attribute name as an index into rank dimensions.
func (c *Context) axis(name string, rank int) (int, error) {
	return c.normAxis(name, c.Int(name), rank)
}

func (c *Context) normAxis(name string, a int64, rank int) (int, error) {
	if a < -int64(rank) || a >= int64(rank) {
		return 0, c.fail("%s is %d, want %d..%d for rank %d", name, a, -rank, rank-1, rank)
	}
	if a < 0 {
		a += int64(rank)
	}
	return int(a), nil
}

// axisSet marks the axes of a list; an axis given twice is an error.
func (c *Context) axisSet(name string, axes []int64, rank int) ([]bool, error) {
	set := make([]bool, rank)
	for _, a := range axes {
		k, err := c.normAxis(name, a, rank)
		if err != nil {
			return nil, err
		}
		if set[k] {
			return nil, c.fail("%s %v name axis %d twice", name, axes, k)
		}
		set[k] = true
	}
	return set, nil
}

// product multiplies dimensions; a known product that overflows is an error.
func (c *Context) product(dims []graph.Dim) (graph.Dim, error) {
	p := graph.Known(1)
	for _, d := range dims {
		if d == graph.Known(0) {
			return d, nil
		}
	}
	for _, d := range dims {
		q, ok := mulDim(p, d)
		if !ok {
			return p, c.fail("the number of elements of shape %v overflows", dims)
		}
		p = q
	}
	return p, nil
}

// mulDim is a*b; ok is false if both are known and the product overflows.
func mulDim(a, b graph.Dim) (graph.Dim, bool) {
	x, okx := a.Int()
	y, oky := b.Int()
	if okx && oky && x != 0 && y != 0 {
		if p := x * y; p/y != x || (x == -1 && y == math.MinInt64) || (y == -1 && x == math.MinInt64) {
			return graph.UnknownDim, false
		}
	}
	return a.Mul(b), true
}

// addDim is a+b; unknown if both are known and the sum overflows.
func addDim(a, b graph.Dim) graph.Dim {
	x, okx := a.Int()
	y, oky := b.Int()
	if okx && oky {
		if s := x + y; (s > x) != (y > 0) && y != 0 {
			return graph.UnknownDim
		}
	}
	return a.Add(b)
}
