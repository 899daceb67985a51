// Package loss attaches a training loss to a model, and expands what later stages ask of it: its gradient in the
// logits, labels sampled from the model's own distribution, and columns of a square root of its Hessian.
//
// Rows. A loss is a sum over rows of a per-row loss l(z, y) of the logits z of that row; the reduction says what the
// sum is divided by. For "mean", a row's own loss includes every constant that the mean over rows does not: the mean
// squared error over C outputs has l = (1/C) sum (z-y)^2.
package loss

import (
	"fmt"
	"strings"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
)

// AttachPass adds the target input and the loss.
var AttachPass = pass.Pass{
	Name: "loss", Doc: "attach the training loss to the logits: inputs target, output loss",
	Needs: []pass.Prop{pass.Layers}, Gives: []pass.Prop{pass.Loss}, Run: Attach,
}

// ExpandPass replaces the requests about the loss.
var ExpandPass = pass.Pass{
	Name: "loss-seeds", Doc: "expand requests about the loss: its gradient in the logits, sampled labels, Hessian roots",
	Needs: []pass.Prop{pass.Loss, pass.Requests}, Gives: []pass.Prop{pass.Seeds}, Run: Expand,
}

// row is one loss. All methods work on logits of shape [R, C] and row weights of the loss's own scale.
type row struct {
	Name, Doc string
	// Input is what the loss takes the output for; "" is any number.
	Input string
	// Labels says that targets are class indices; otherwise they have the logits' shape.
	Labels bool
	// Options are those beyond the reduction that the loss takes, by the names of the command line.
	Options []string
	// Value is the per-row loss, shape [R], zero for rows that do not count.
	Value func(b *op.Builder, s site) *graph.Value
	// Grad is d(sum of Value)/d logits, shape [R, C]. At sampled targets it is that of the loss at weight 1, times the root
	// of the weight, so that its second moment is proportional to the weight, as the Hessian is.
	Grad func(b *op.Builder, s site) *graph.Value
	// Sample draws targets from the model's predictive distribution, whose Fisher matrix in the logits is what Root gives.
	Sample func(b *op.Builder, s site, draw noise) *graph.Value
	// Root is column j of S, shape [R, C], with S S^T the Hessian of a row's Value in its logits; its mean under the
	// predictive distribution (the Fisher matrix) where the Hessian is zero or depends on targets in another way than by
	// cutting them off.
	Root func(b *op.Builder, s site, j int64) *graph.Value
	// NoSample and NoRoot say why there is no Sample or no Root.
	NoSample, NoRoot string
}

// rows is the table of losses. Formulas are those of the PyTorch modules of the same names.
var rows = []row{
	{
		Name: "cross-entropy", Doc: "softmax cross-entropy with integer labels", Input: "logits", Labels: true,
		Options: []string{"label-smoothing", "ignore-index", "loss-weights"},
		Value:   crossEntropy, Grad: crossEntropyGrad, Sample: labelSample, Root: crossEntropyRoot,
	},
	{
		Name: "nll", Doc: "negative log-likelihood of integer labels", Input: logarithms, Labels: true,
		Options: []string{"ignore-index", "loss-weights"},
		Value:   likelihood, Grad: likelihoodGrad, Sample: labelSample, Root: likelihoodRoot,
	},
	element("bce-with-logits", "binary cross-entropy of each output's sigmoid, targets 0 to 1", "logits", unit{logistic, logisticSlope, logisticCurvature, logisticSample, ""}),
	element("bce", "binary cross-entropy, targets 0 to 1", probabilities, unit{binary, binarySlope, binaryCurvature, binarySample, ""}),
	{Name: "mse", Doc: "mean squared error", Value: squared, Grad: squaredGrad, Sample: squaredSample, Root: squaredRoot},
	element("l1", "mean absolute error", "", unit{absolute, absoluteSlope, absoluteCurvature, absoluteSample, ""}),
	element("huber", "squares up to a distance delta, then lines", "", unit{huber, huberSlope, huberCurvature, nil, noHuberSample}, "loss-delta"),
	element("smooth-l1", "the Huber loss divided by its delta", "", smooth, "loss-delta"),
	{Name: outputRow, Doc: "an output of the model is the loss: of the batch (a scalar), or of each row", Value: own, Grad: ownGrad, NoSample: noOwnSample, NoRoot: noOwnRoot},
}

// What outputs hold, and losses take.
const (
	probabilities = "probabilities"
	logarithms    = "logarithms of probabilities"
)

// Names lists the losses.
func Names() []string {
	names := make([]string, len(rows))
	for i, r := range rows {
		names[i] = r.Name
		if r.Name == outputRow {
			names[i] += ":NAME"
		}
	}
	return names
}

// Info is what users are told of a loss.
type Info struct {
	Name, Doc string
	Input     string // what it takes the output for; "" is any number
	Labels    bool   // targets are class indices, else they have the output's shape
	Options   []string
	// NoSample and NoRoot say why curvature.source mc, or exact, is refused; "" where it is not.
	NoSample, NoRoot string
}

// All describes the losses, in the order of Names.
func All() []Info {
	infos := make([]Info, len(rows))
	for i, name := range Names() {
		r := rows[i]
		infos[i] = Info{name, r.Doc, r.Input, r.Labels, r.Options, r.NoSample, r.NoRoot}
	}
	return infos
}

func rowNamed(name string) (*row, error) {
	for i := range rows {
		if rows[i].Name == name {
			return &rows[i], nil
		}
	}
	return nil, &pass.OptionError{Option: "loss", Value: name, Want: "one of " + strings.Join(Names(), ", ")}
}

// site is where a loss is computed: logits as rows, targets as rows, and the settings of the Loss tag.
type site struct {
	settings
	z        *graph.Value // [R, C]
	target   *graph.Value // labels [R], or values [R, C]; nil where not needed
	truth    *graph.Value // for sampled labels: those of the data, [R], which decide on weights
	examples *graph.Value // for a loss that is a scalar of the model: what has an example in each slice
	weight   float64      // of a row's loss: 1, or 1/C for the mean over elements
	asdl     bool         // sampling scale of ASDL for squared errors
	variance float64
}

// noise gives the random numbers of one draw.
type noise struct {
	input bool // labels, or normals, come from a graph input
	draw  int64
}

// Attach adds the loss to the model: input target, output loss and the Loss tag.
func Attach(c *pass.Ctx, m *graph.Model) error {
	set, logits, err := choose(c, m)
	if err != nil {
		return err
	}
	if err := serves(m, set.row, c.Options.Loss.Row); err != nil {
		return err
	}
	reportUnreached(c, m, logits)
	target, err := addTarget(m, set, logits, c.Options.Target)
	if err != nil {
		return err
	}
	b := op.NewBuilder(m, m.Graph)
	b.Prefix = "loss/"
	s, err := siteOf(b, set, logits, target)
	if err != nil {
		return err
	}
	total := logits
	if logits.Type.Rank() > 0 {
		total = b.Sum(set.row.Value(b, s))
		if set.averages() {
			total = b.Div(total, countRows(b, s))
		}
	}
	output := "loss"
	if m.Graph.NameTaken(output) {
		output = pass.Prefix + output
	}
	tag := b.Named(graph.Asdl, graph.TagLoss, []*graph.Value{total, logits, target}, []string{output}, set.attrs()...)
	m.Graph.AddOutput(tag.Out(0))
	return b.Err()
}

// choose finds the loss and what it sees, by the options and by the end of the model.
func choose(c *pass.Ctx, m *graph.Model) (settings, *graph.Value, error) {
	o := c.Options
	if name, ok := strings.CutPrefix(o.Loss.Row, outputRow+":"); ok {
		return chooseOutput(m, o, name)
	}
	r, err := rowNamed(o.Loss.Row)
	if err != nil {
		return settings{}, nil, err
	}
	if r.Name == outputRow {
		return settings{}, nil, &pass.OptionError{Option: "loss", Value: r.Name, Want: "output:NAME, with the name of an output of the model"}
	}
	logits, err := Logits(m, o.Logits)
	if err != nil {
		return settings{}, nil, err
	}
	axis, err := classAxis(logits)
	if err != nil {
		return settings{}, nil, err
	}
	if err := checkOptions(r, o.Loss, logits.Type.Dims[axis]); err != nil {
		return settings{}, nil, err
	}
	threshold := thresholdOf(r, logits)
	r, logits = beforeLink(c, m, r, logits, axis)
	s := newSettings(r, o.Loss, axis)
	s.threshold = threshold
	return s, logits, nil
}

// serves refuses methods that need what the loss does not have.
func serves(m *graph.Model, r *row, asked string) error {
	if _, ok := m.Metadata["asdl.method"]; !ok { // a model that no method is to train
		return nil
	}
	mix, err := method.ReadMix(m.Metadata)
	if err != nil {
		return err
	}
	for _, rec := range mix.Records() {
		reason := ""
		switch source := rec.Curvature.Source; source {
		case "mc":
			reason = r.NoSample
		case "exact", "recursive":
			reason = r.NoRoot
		}
		if reason != "" {
			return &pass.OptionError{Option: "loss", Value: asked, Want: fmt.Sprintf("a loss with which curvature.source=%s of %s works, or another source, as curvature.source=emp where the method has it: %s", rec.Curvature.Source, rec.Name, reason)}
		}
	}
	return nil
}

// addTarget adds the input of targets. A loss that is an output of the model has none; in its place are the examples.
func addTarget(m *graph.Model, set settings, logits *graph.Value, name string) (*graph.Value, error) {
	if set.row.Name == outputRow {
		return examples(m.Graph)
	}
	if name == "" {
		name = "target"
	}
	if m.Graph.NameTaken(name) {
		name = pass.Prefix + name
	}
	return m.Graph.AddInput(name, targetType(set.row, logits.Type, set.axis)), nil
}

// Logits is the output of a model that Options.Logits names; the error tells which ones there are.
func Logits(m *graph.Model, name string) (*graph.Value, error) {
	return findLogits(m, pass.OptionError{Option: "logits", Value: name}, name)
}

// findLogits is the output that the option asked for names, or the first that can be logits.
func findLogits(m *graph.Model, asked pass.OptionError, name string) (*graph.Value, error) {
	var names []string
	for _, v := range m.Graph.Outputs() {
		if (name == "" && v.Type.Elem.IsFloat()) || v.Name == name {
			return v, nil
		}
		names = append(names, v.Name)
	}
	if name == "" {
		return nil, fmt.Errorf("%w: no output of the model is a floating-point tensor that could be the logits (outputs: %v)", graph.ErrUnsupported, names)
	}
	asked.Want = "an output of the model: " + strings.Join(names, ", ")
	return nil, &asked
}

// classAxis is the axis of the classes: the last of [N, C] and [N, T, C], the second of images [N, C, H, W].
func classAxis(logits *graph.Value) (int, error) {
	switch rank := logits.Type.Rank(); {
	case rank >= 4:
		return 1, nil
	case rank >= 1:
		return rank - 1, nil
	}
	return 0, fmt.Errorf("%w: logits %s have type %s; a loss needs at least one dimension of known place", graph.ErrUnsupported, logits, logits.Type)
}

func targetType(r *row, logits graph.Type, axis int) graph.Type {
	if !r.Labels {
		return logits
	}
	dims := append([]graph.Dim{}, logits.Dims[:axis]...)
	return graph.TensorType(graph.Int64, append(dims, logits.Dims[axis+1:]...)...)
}

// Expand replaces LossGrad, Sample, LossRoot and LossRows requests.
func Expand(c *pass.Ctx, m *graph.Model) error {
	mix, err := method.ReadMix(m.Metadata)
	if err != nil {
		return err
	}
	records := mix.Records()
	for n := range m.Graph.All() {
		if n.Domain != graph.Asdl {
			continue
		}
		if err := expandOne(c, m, n, records[n.Int("record", 0)]); err != nil {
			return err
		}
	}
	return nil
}

func expandOne(c *pass.Ctx, m *graph.Model, n *graph.Node, rec method.Record) error {
	switch n.Op {
	case graph.TagLossGrad, graph.TagSample, graph.TagLossRoot, graph.TagLossRows:
	default:
		return nil
	}
	set, err := settingsOf(n)
	if err != nil {
		return err
	}
	r := set.row
	b := op.NewBuilder(m, n.Graph())
	b.At, b.Prefix, b.Scope = n, "loss/", n.Scope
	logits := n.In(0)
	s, err := siteOf(b, set, logits, n.In(1))
	if err != nil {
		return err
	}
	if len(n.Inputs()) > 2 && r.Labels {
		s.truth = flatLabels(b, n.In(2))
	}
	s.asdl, s.variance = rec.Preset == "asdl", rec.Curvature.Variance
	var out *graph.Value
	switch n.Op {
	case graph.TagLossGrad:
		out = unrows(b, n, r.Grad(b, s), logits)
	case graph.TagLossRoot:
		out = unrows(b, n, r.Root(b, s, n.Int("column", 0)), logits)
	case graph.TagLossRows:
		out = countRows(b, s)
	case graph.TagSample:
		out = r.Sample(b, s, noise{c.Options.Noise == "input", n.Int("draw", 0)})
		out = likeTarget(b, n, r, out, logits)
	}
	if err := b.Err(); err != nil {
		return err
	}
	n.Out(0).ReplaceUses(out)
	n.Remove()
	return nil
}
