package layers

import (
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/pass"
)

// look is a row: how an initializer that is an operand of arithmetic looks when it is no parameter.
type look struct {
	Reason string
	Is     func(v *graph.Value) bool
}

var looks = []look{
	{"a single number without the name of a parameter", func(v *graph.Value) bool {
		return v.Const().Len() <= 1 && !parameterName.MatchString(v.Name)
	}},
	{"cosines or sines of the angles that another table has the sines or cosines of", isRotation},
	{"its name is that of a buffer", func(v *graph.Value) bool { return bufferName.MatchString(v.Name) }},
	{"a mask of large numbers", func(v *graph.Value) bool {
		return holds(v, func(x float64) bool { return math.IsNaN(x) || math.Abs(x) >= 1e4 })
	}},
	{"a mask of zeros and ones", func(v *graph.Value) bool {
		zero, one := func(x float64) bool { return x == 0 }, func(x float64) bool { return x == 1 }
		return len(v.Const().Shape) >= 2 && holds(v, zero) && holds(v, one) && !holds(v, func(x float64) bool { return x != 0 && x != 1 })
	}},
}

// parameterName matches what exporters call parameters: the last part of a path of names.
var parameterName = regexp.MustCompile(`(?i)(^|[._/])(weight|bias|gamma|beta|kernel|logit_scale|logit_bias)(:0)?$|[._/](scale|alpha|slope|temperature|[wb])(:0)?$`)

// topName matches names of parameters of the outermost module that would be too common in files of other origin.
var topName = regexp.MustCompile(`^(scale|alpha|slope|temperature)$`)

// bufferName matches what libraries call tensors that they keep but do not train.
var bufferName = regexp.MustCompile(`(?i)(^|[._/])(mean|std|running_mean|running_var|moving_mean|moving_variance|inv_freq|(\w+_)?mask)(:0)?$`)

// isRotation reports whether v is one of two tables of the graph with a^2 + b^2 = 1 in each element: rotary positions, computed
// before the export.
func isRotation(v *graph.Value) bool {
	a := v.Const()
	if len(a.Shape) < 2 || !holds(v, func(x float64) bool { return x != 0 && x != 1 }) || holds(v, func(x float64) bool { return !(math.Abs(x) <= 1.001) }) {
		return false
	}
	x, _ := a.Float64s()
	for _, w := range v.Graph().Initializers() {
		b := w.Const()
		if w == v || b.Elem != a.Elem || !slices.Equal(a.Shape, b.Shape) {
			continue
		}
		y, _ := b.Float64s()
		one := true
		for i := range x {
			one = one && math.Abs(x[i]*x[i]+y[i]*y[i]-1) < 1e-4
		}
		if one {
			return true
		}
	}
	return false
}

// looksConstant is the reason why v, an operand, is no parameter, or "".
func looksConstant(v *graph.Value) string {
	for _, l := range looks {
		if l.Is(v) {
			return l.Reason
		}
	}
	return ""
}

// neutral reports whether v is all ones or all zeros, under a name that an exporter made up: scale and shift of a
// normalisation that has none.
func neutral(v *graph.Value) bool {
	if !pass.MadeUp(v.Name) {
		return false
	}
	return !holds(v, func(x float64) bool { return x != 0 }) || !holds(v, func(x float64) bool { return x != 1 })
}

func holds(v *graph.Value, is func(float64) bool) bool {
	data, _ := v.Const().Float64s()
	for _, x := range data {
		if is(x) {
			return true
		}
	}
	return false
}

// suffixes of parameter names that layer names do not have.
var suffixes = []string{".weight", "_weight", "/weight", ".kernel", "/kernel", ".W", "_W", ".bias", "_bias", "/bias", ".gamma", "/gamma", ".beta", "/beta", ".scale"}

// stem is the layer's part of a parameter's name, without what TensorFlow appends.
func stem(name string) string {
	name = strings.TrimSuffix(strings.TrimSuffix(name, ":0"), "/ReadVariableOp")
	for _, s := range suffixes {
		if t, ok := strings.CutSuffix(name, s); ok && t != "" {
			return t
		}
	}
	return name
}
