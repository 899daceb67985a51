package op

import (
	"math"

	"github.com/asdlc/asdlc/graph"
)

// Exporters compute sizes in floating point: Floor(Mul(Cast(Shape), scale)). Content holds integers only, so the
// rounding operators look through the arithmetic below them, where all of it is constant.

// floatBudget is the number of nodes looked at for one value.
const floatBudget = 64

// roundedConst is the content of rounding applied to v, or nil.
func (e *env) roundedConst(v *graph.Value, rounding string) []graph.Dim {
	budget := floatBudget
	f := e.floatConst(v, &budget)
	if f == nil {
		return nil
	}
	round := map[string]func(float64) float64{"Floor": math.Floor, "Ceil": math.Ceil, "Round": math.RoundToEven, "Cast": math.Trunc}[rounding]
	out := make([]graph.Dim, len(f))
	for i, x := range f {
		if math.IsNaN(x) || math.Abs(x) >= 1<<24 {
			return nil
		}
		out[i] = graph.Known(int64(round(x)))
	}
	return out
}

// floatConst evaluates arithmetic on small constants, in v's precision; nil if v is not one. budget bounds the nodes
// visited.
func (e *env) floatConst(v *graph.Value, budget *int) []float64 {
	*budget--
	if v == nil || *budget < 0 {
		return nil
	}
	if c := e.knownFloats(v); c != nil {
		return c
	}
	n := v.Def()
	if n == nil || n.Domain != "" || v.Type.Rank() > 1 || v.Type.Rank() < 0 {
		return nil
	}
	var out []float64
	switch n.Op {
	case "Cast", "Identity", "Squeeze", "Unsqueeze":
		out = e.floatConst(n.In(0), budget)
		if n.Op == "Cast" && v.Type.Elem.IsInt() {
			return nil
		}
	case "Concat":
		for _, in := range n.Inputs() {
			part := e.floatConst(in, budget)
			if part == nil || len(out)+len(part) > maxContent {
				return nil
			}
			out = append(out, part...)
		}
	case "Add", "Sub", "Mul", "Div":
		if !v.Type.Elem.IsFloat() {
			return nil
		}
		out = floatZip(e.floatConst(n.In(0), budget), e.floatConst(n.In(1), budget), n.Op)
	case "Sqrt":
		for _, x := range e.floatConst(n.In(0), budget) {
			out = append(out, math.Sqrt(x))
		}
	}
	return roundTo(out, v.Type.Elem)
}

// roundTo rounds to the precision of e; nil where that is a 16-bit type that cannot hold the values.
func roundTo(v []float64, e graph.Elem) []float64 {
	bits := map[graph.Elem]float64{graph.Float16: 1 << 11, graph.BFloat16: 1 << 8}[e]
	for i, x := range v {
		if e == graph.Float32 {
			v[i] = float64(float32(x))
		}
		if mantissa, _ := math.Frexp(x); bits > 0 && mantissa*bits != math.Trunc(mantissa*bits) {
			return nil
		}
	}
	return v
}

// knownFloats is the value of an initializer or of known content.
func (e *env) knownFloats(v *graph.Value) []float64 {
	if t := e.constOf(v); t != nil && len(t.Shape) <= 1 && t.Len() <= maxContent {
		if f, ok := t.Float64s(); ok {
			return f
		}
	}
	if len(v.Content) == 0 {
		return nil
	}
	out := make([]float64, len(v.Content))
	for i, d := range v.Content {
		n, ok := d.Int()
		if !ok {
			return nil
		}
		out[i] = float64(n)
	}
	return out
}

func floatZip(a, b []float64, op string) []float64 {
	if len(a) == 0 || len(b) == 0 || len(a) != len(b) && len(a) != 1 && len(b) != 1 {
		return nil
	}
	out := make([]float64, max(len(a), len(b)))
	for i := range out {
		x, y := a[min(i, len(a)-1)], b[min(i, len(b)-1)]
		switch op {
		case "Add":
			out[i] = x + y
		case "Sub":
			out[i] = x - y
		case "Mul":
			out[i] = x * y
		case "Div":
			out[i] = x / y
		}
	}
	return out
}
