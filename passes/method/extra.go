package method

import "fmt"

// extra is a row of the table of what a source of curvature computes beyond the training pass: forward, loss, backward.
type extra struct {
	Source string
	Passes func(r Record) string // "" is nothing
}

var extras = []extra{
	{"none", func(Record) string { return "" }},
	{"batch", func(Record) string { return "" }},
	{"emp", func(Record) string { return "" }}, // the training pass passes the layers' outputs
	{"mc", func(r Record) string {
		to := "layer outputs"
		if oneOf(r.Representation.Format, "diag", "kf_dim") {
			to = "parameters"
		}
		return fmt.Sprintf("%d backward, from sampled labels to %s", max(1, r.Curvature.Samples), to)
	}},
	{"hvp", func(r Record) string {
		return fmt.Sprintf("%d Hessian-vector product: the gradient's derivative along a probe, or two gradients (--hvp difference)", max(1, r.Curvature.Samples))
	}},
	{"ggnvp", func(r Record) string {
		return fmt.Sprintf("%d product of the Gauss-Newton matrix with a vector: the logits' derivative along a probe, and a backward", max(1, r.Curvature.Samples))
	}},
	{"secant", func(r Record) string {
		to := "layer outputs"
		if r.Solve.Kind == "lbfgs" {
			to = "parameters"
		}
		return "1 forward and backward to " + to + ", on the same batch at the next parameters"
	}},
	{"recursive", func(Record) string { return "slopes of the non-linearities" }},
	{"exact", func(Record) string { return "C backward, one a class, to layer outputs" }},
}

// ExtraPasses says what the method computes on a step with new statistics beyond the training pass; "" is nothing.
func (r Record) ExtraPasses() string {
	for _, e := range extras {
		if e.Source == r.Curvature.Source {
			return e.Passes(r)
		}
	}
	panic("BUG: no row of extra passes for curvature.source " + r.Curvature.Source)
}
