package autodiff

import (
	"github.com/asdlc/asdlc/graph"
)

// trigRules are the rows of the circular and hyperbolic functions.
func trigRules() []Rule {
	return []Rule{
		pointwise("Sin", func(c *Call, g *graph.Value) *graph.Value { return c.Mul(g, c.Unary("Cos", c.In(0))) }),
		pointwise("Cos", func(c *Call, g *graph.Value) *graph.Value { return c.Neg(c.Mul(g, c.Unary("Sin", c.In(0)))) }),
		pointwise("Tan", func(c *Call, g *graph.Value) *graph.Value { return c.Mul(g, c.shifted(c.Square(c.Out(0)), 1)) }),
		pointwise("Asin", func(c *Call, g *graph.Value) *graph.Value { return c.Div(g, c.Sqrt(c.oneMinusSquare())) }),
		pointwise("Acos", func(c *Call, g *graph.Value) *graph.Value { return c.Neg(c.Div(g, c.Sqrt(c.oneMinusSquare()))) }),
		pointwise("Atan", func(c *Call, g *graph.Value) *graph.Value { return c.Div(g, c.shifted(c.Square(c.In(0)), 1)) }),
		pointwise("Sinh", func(c *Call, g *graph.Value) *graph.Value { return c.Mul(g, c.Unary("Cosh", c.In(0))) }),
		pointwise("Cosh", func(c *Call, g *graph.Value) *graph.Value { return c.Mul(g, c.Unary("Sinh", c.In(0))) }),
		pointwise("Asinh", func(c *Call, g *graph.Value) *graph.Value {
			return c.Div(g, c.Sqrt(c.shifted(c.Square(c.In(0)), 1)))
		}),
		pointwise("Acosh", func(c *Call, g *graph.Value) *graph.Value {
			below, above := c.Sqrt(c.shifted(c.In(0), -1)), c.Sqrt(c.shifted(c.In(0), 1))
			return c.Div(g, c.Mul(below, above))
		}),
		pointwise("Atanh", func(c *Call, g *graph.Value) *graph.Value { return c.Div(g, c.oneMinusSquare()) }),
	}
}

// shifted is v plus a number.
func (c *Call) shifted(v *graph.Value, by float64) *graph.Value { return c.Add(v, c.FloatLike(v, by)) }

// oneMinusSquare is 1 - x^2 as (1-x)(1+x), which is accurate near 1.
func (c *Call) oneMinusSquare() *graph.Value {
	x := c.In(0)
	return c.Mul(c.Sub(c.FloatLike(x, 1), x), c.shifted(x, 1))
}
