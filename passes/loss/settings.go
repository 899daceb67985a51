package loss

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/pass"
)

// settings are what a Loss tag and the requests about it say of the loss.
type settings struct {
	row       *row
	reduction string
	axis      int  // of the classes in the logits; -1 where the loss is an output of the model
	scalar    bool // the loss is a scalar that the model computes
	sampled   bool // the targets are drawn from the model
	smoothing float64
	ignore    *int64
	classes   []float64 // weights of the classes; nil: all 1
	delta     float64
	// threshold is the value of the model's output from which on a label is rather 1 than 0; nil: targets are not such.
	threshold *float64
}

func newSettings(r *row, o pass.LossOptions, axis int) settings {
	s := settings{row: r, reduction: o.Reduction, axis: axis, smoothing: o.LabelSmoothing, ignore: o.IgnoreIndex, classes: o.ClassWeights}
	if slices.Contains(r.Options, "loss-delta") {
		s.delta = 1
		if o.Delta != 0 {
			s.delta = o.Delta
		}
	}
	return s
}

// thresholdOf is the threshold of output y under the loss r.
func thresholdOf(r *row, y *graph.Value) *float64 {
	t := 0.0
	switch {
	case r.Labels || r.Input == "":
		return nil
	case r.Input == probabilities || y.Def() != nil && y.Def().Is("", "Sigmoid"):
		t = 0.5
	}
	return &t
}

// averages reports whether the loss is a mean over rows.
func (s settings) averages() bool { return s.reduction != "sum" }

// attrs writes the settings for a tag.
func (s settings) attrs() []graph.Attr {
	attrs := []graph.Attr{graph.S("row", s.row.Name), graph.S("reduction", s.reduction), graph.I("axis", int64(s.axis))}
	if s.scalar {
		attrs = append(attrs, graph.I("scalar", 1))
	}
	if s.smoothing != 0 {
		attrs = append(attrs, graph.T("label_smoothing", graph.Scalar(s.smoothing)))
	}
	if s.ignore != nil {
		attrs = append(attrs, graph.I("ignore_index", *s.ignore))
	}
	if s.classes != nil {
		attrs = append(attrs, graph.T("class_weights", graph.TensorOf(s.classes, int64(len(s.classes)))))
	}
	if s.threshold != nil {
		attrs = append(attrs, graph.T("threshold", graph.Scalar(*s.threshold)))
	}
	if s.delta != 0 {
		attrs = append(attrs, graph.T("delta", graph.Scalar(s.delta)))
	}
	return attrs
}

// settingsOf reads the settings of a tag.
func settingsOf(n *graph.Node) (settings, error) {
	r, err := rowNamed(n.Str("row", ""))
	s := settings{
		row: r, reduction: n.Str("reduction", "mean"), axis: int(n.Int("axis", 1)),
		scalar: n.Int("scalar", 0) != 0, sampled: n.Int("sampled", 0) != 0,
	}
	if a, ok := n.Attr("label_smoothing"); ok {
		s.smoothing = graph.Data[float64](a.T)[0]
	}
	if a, ok := n.Attr("ignore_index"); ok {
		v := a.I
		s.ignore = &v
	}
	if a, ok := n.Attr("class_weights"); ok {
		s.classes = graph.Data[float64](a.T)
	}
	if a, ok := n.Attr("delta"); ok {
		s.delta = graph.Data[float64](a.T)[0]
	}
	return s, err
}

// checkOptions refuses options that the loss does not take, and values that make no sense for so many classes.
func checkOptions(r *row, o pass.LossOptions, classes graph.Dim) error {
	for _, f := range []struct {
		option, value string
		given         bool
	}{
		{"label-smoothing", fmt.Sprint(o.LabelSmoothing), o.LabelSmoothing != 0},
		{"ignore-index", text(o.IgnoreIndex), o.IgnoreIndex != nil},
		{"loss-weights", fmt.Sprint(o.ClassWeights), o.ClassWeights != nil},
		{"loss-delta", fmt.Sprint(o.Delta), o.Delta != 0},
	} {
		if f.given && !slices.Contains(r.Options, f.option) {
			return &pass.OptionError{Option: f.option, Value: f.value, Want: "a loss that has it: " + strings.Join(taking(f.option), ", ")}
		}
	}
	if o.Delta != 0 && !(o.Delta > 0 && o.Delta <= math.MaxFloat32) {
		return &pass.OptionError{Option: "loss-delta", Value: fmt.Sprint(o.Delta), Want: "a positive number"}
	}
	if n, ok := classes.Size(); o.ClassWeights != nil && ok && n != int64(len(o.ClassWeights)) {
		return &pass.OptionError{Option: "loss-weights", Value: fmt.Sprint(o.ClassWeights), Want: fmt.Sprintf("%d numbers, one a class", n)}
	}
	for _, w := range o.ClassWeights {
		if !(w >= 0 && w <= math.MaxFloat32) {
			return &pass.OptionError{Option: "loss-weights", Value: fmt.Sprint(w), Want: "numbers that are at least 0"}
		}
	}
	return nil
}

// taking lists the losses that take an option.
func taking(option string) []string {
	var names []string
	for _, r := range rows {
		if slices.Contains(r.Options, option) {
			names = append(names, r.Name)
		}
	}
	return names
}

func text(v *int64) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(*v)
}
