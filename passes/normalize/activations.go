package normalize

import (
	"math"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
)

// Activations as exporters write them in primitives. One operator in their place has one kernel and one derivative; the logarithm of a
// softmax also has no overflow. Gelu exists from opset 20 on.

const opsetGelu = 20

// half, one and so on match constants.
func numeral(x float64) pat { return anyValue("").where(isNear(x)) }

// isNear holds for a constant of one element of that value, as far as float32 can tell.
func isNear(want float64) func(*graph.Node, *graph.Value) bool {
	return func(_ *graph.Node, v *graph.Value) bool {
		x, ok := number(v)
		return ok && math.Abs(x-want) <= 1e-6*math.Max(1, math.Abs(want))
	}
}

var actInput = anyValue("x")

func activations() []fusion {
	rows := []fusion{
		{"LogSoftmax", "Log", node("Log", node("Softmax", actInput).as("p")), emitLogSoftmax},
		{"HardSwish, by HardSigmoid", "Mul", node("Mul", actInput, node("HardSigmoid", actInput).where(isSixth)), emitHardSwish},
	}
	clip := node("Clip", node("Add", actInput, numeral(3)), numeral(0), numeral(6))
	for _, p := range []pat{
		node("Div", node("Mul", actInput, clip), numeral(6)),
		node("Mul", actInput, node("Div", clip, numeral(6))),
		node("Mul", actInput, node("Mul", clip, numeral(1.0/6))),
		node("Mul", node("Mul", actInput, clip), numeral(1.0/6)),
	} {
		rows = append(rows, fusion{"HardSwish", p.Op, p, emitHardSwish})
	}
	erf := []pat{
		node("Erf", node("Div", actInput, numeral(math.Sqrt2))),
		node("Erf", node("Mul", actInput, numeral(1/math.Sqrt2))),
	}
	cube := []pat{node("Pow", actInput, numeral(3)), node("Mul", actInput, node("Mul", actInput, actInput)), node("Mul", node("Mul", actInput, actInput), actInput)}
	var tanh []pat
	for _, c := range cube {
		tanh = append(tanh, node("Tanh", node("Mul", numeral(math.Sqrt(2/math.Pi)), node("Add", actInput, node("Mul", numeral(0.044715), c)))))
	}
	for _, kind := range []struct {
		approximate string
		inner       []pat
	}{{"none", erf}, {"tanh", tanh}} {
		for _, inner := range kind.inner {
			one := node("Add", inner, numeral(1))
			for _, p := range []pat{
				node("Mul", node("Mul", actInput, one), numeral(0.5)),
				node("Mul", actInput, node("Mul", one, numeral(0.5))),
				node("Mul", node("Mul", actInput, numeral(0.5)), one),
			} {
				rows = append(rows, fusion{"Gelu, " + kind.approximate, "Mul", p, emitGelu(kind.approximate)})
			}
		}
	}
	return rows
}

// isSixth holds for the HardSigmoid of HardSwish: max(0, min(1, x/6 + 1/2)).
func isSixth(n *graph.Node, _ *graph.Value) bool {
	return math.Abs(float64(n.Float("alpha", 0.2))-1.0/6) < 1e-6 && n.Float("beta", 0.5) == 0.5
}

func emitLogSoftmax(b *op.Builder, m bindings) *graph.Value {
	return b.Op("LogSoftmax", []*graph.Value{m["x"]}, graph.I("axis", m["p"].Def().Int("axis", -1)))
}

func emitHardSwish(b *op.Builder, m bindings) *graph.Value {
	return b.Op("HardSwish", []*graph.Value{m["x"]})
}

func emitGelu(approximate string) func(*op.Builder, bindings) *graph.Value {
	return func(b *op.Builder, m bindings) *graph.Value {
		if b.Model.Opset() < opsetGelu {
			return nil
		}
		return b.Op("Gelu", []*graph.Value{m["x"]}, graph.S("approximate", approximate))
	}
}
