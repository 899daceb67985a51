package op

import (
	"math"
	"strings"

	"github.com/asdlc/asdlc/graph"
)

// check compares the call with the row: arity, attributes, element types of the inputs. It sets the element types of
// the outputs as far as they follow.
func (c *Context) check() error {
	if err := c.checkArity(); err != nil {
		return err
	}
	if err := c.checkAttrs(); err != nil {
		return err
	}
	bound := map[string]graph.Elem{}
	for i, a := range c.In {
		if !a.Present || a.Type.Elem == graph.Undefined {
			continue
		}
		p, _ := param(c.schema.Inputs, i)
		if !p.Types.Has(a.Type.Elem) {
			return c.fail("%s has element type %s, want %s", c.inputName(i), a.Type.Elem, p.Types)
		}
		if p.Var == "" {
			continue
		}
		if e, ok := bound[p.Var]; ok && e != a.Type.Elem {
			return c.fail("%s has element type %s, want %s as an input before it; insert a Cast", c.inputName(i), a.Type.Elem, e)
		}
		bound[p.Var] = a.Type.Elem
	}
	for i := range c.Out {
		p, _ := param(c.schema.Outputs, i)
		if e, ok := p.Types.only(); ok {
			c.Out[i].Type.Elem = e
		}
		if e, ok := bound[p.Var]; ok && p.Var != "" {
			c.Out[i].Type.Elem = e
		}
	}
	return nil
}

func (c *Context) checkArity() error {
	for i, p := range c.schema.Inputs {
		if (p.Option == Single || p.Option == Variadic) && !c.Has(i) {
			return c.fail("input %d (%s) is missing; the inputs are %s", i, p.Name, paramNames(c.schema.Inputs))
		}
	}
	if n := len(c.In); n > 0 {
		if _, ok := param(c.schema.Inputs, n-1); !ok {
			return c.fail("%d inputs, want at most %d: %s", n, len(c.schema.Inputs), paramNames(c.schema.Inputs))
		}
	}
	if k := c.schema.Outputs; len(c.Out) == 0 && len(k) > 0 && k[0].Option != AnyCount {
		return c.fail("no outputs, want %s", paramNames(k))
	}
	if n := len(c.Out); n > 0 {
		if _, ok := param(c.schema.Outputs, n-1); !ok {
			return c.fail("%d outputs, want at most %d: %s", n, len(c.schema.Outputs), paramNames(c.schema.Outputs))
		}
	}
	return nil
}

func paramNames(params []Param) string {
	names := make([]string, len(params))
	for i, p := range params {
		names[i] = p.Name
		switch p.Option {
		case Optional:
			names[i] += "?"
		case Variadic, AnyCount:
			names[i] += "..."
		}
	}
	return "(" + strings.Join(names, ", ") + ")"
}

// checkAttrs compares the attributes with the row. Tags of the domain asdl may have further ones.
func (c *Context) checkAttrs() error {
	for _, a := range c.Node.Attrs() {
		spec, ok := c.schema.attr(a.Name)
		switch {
		case !ok && c.schema.Domain == graph.Asdl:
		case !ok:
			return c.fail("attribute %q is not known since version %d of the operator; want one of %s",
				a.Name, c.schema.Since, attrNames(c.schema.Attrs))
		case a.Kind != spec.Kind:
			return c.fail("attribute %q has kind %s, want %s", a.Name, a.Kind, spec.Kind)
		}
	}
	for _, spec := range c.schema.Attrs {
		if _, ok := c.Node.Attr(spec.Name); spec.Required && !ok {
			return c.fail("attribute %q (%s) is missing", spec.Name, spec.Kind)
		}
	}
	return nil
}

func attrNames(specs []AttrSpec) string {
	names := make([]string, len(specs))
	for i, s := range specs {
		names[i] = s.Name
	}
	return "(" + strings.Join(names, ", ") + ")"
}

// maxExpr bounds the length of a symbolic dimension; longer ones become unknown, so that hostile graphs cannot
// grow them without end.
const maxExpr = 200

// finish checks and bounds what the row's function has set.
func (c *Context) finish() error {
	for i := range c.Out {
		o := &c.Out[i]
		dims := make([]graph.Dim, len(o.Type.Dims))
		for k, d := range o.Type.Dims {
			if n, ok := d.Int(); ok && n < 0 {
				return c.fail("output %d would have the negative size %d in dimension %d, from inputs %s", i, n, k, c.inputTypes())
			}
			dims[k] = boundExpr(d)
		}
		o.Type.Dims = dims
		if s, ok := o.Type.Static(); ok {
			if _, err := graph.CountOf(s, o.Type.Elem.Size()); err != nil {
				return c.fail("output %d: %v", i, err)
			}
		}
		o.Content = boundContent(o.Content, o.Type)
	}
	return nil
}

func boundExpr(d graph.Dim) graph.Dim {
	if d.IsSymbolic() && len(d.String()) > maxExpr {
		return graph.UnknownDim
	}
	return d
}

// exactUpTo are the element types of which content is known, which symbolic sizes have in practice, and the integers that they
// hold without wrapping around or rounding.
var exactUpTo = map[graph.Elem]int64{
	graph.Bool: 1, graph.Int32: math.MaxInt32, graph.Int64: math.MaxInt64, graph.Float32: 1 << 24, graph.Float64: 1 << 53,
}

// boundContent drops content that says nothing, is too long, or is of a tensor of rank above 1.
func boundContent(content []graph.Dim, t graph.Type) []graph.Dim {
	if content == nil || len(content) > maxContent || !t.Ranked || len(t.Dims) > 1 {
		return nil
	}
	if len(t.Dims) == 0 && len(content) != 1 || len(t.Dims) == 1 && t.Dims[0] != graph.Known(int64(len(content))) {
		return nil
	}
	limit, ok := exactUpTo[t.Elem]
	if !ok {
		return nil
	}
	out := make([]graph.Dim, len(content))
	says := len(content) == 0
	for i, d := range content {
		if n, ok := d.Int(); ok && (n > limit || n < -limit) {
			return nil // it wraps around or is rounded
		}
		out[i] = boundExpr(d)
		says = says || !out[i].IsUnknown()
	}
	if !says {
		return nil
	}
	return out
}
