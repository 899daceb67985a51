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
	// Labels says that targets are class indices; otherwise they have the logits' shape.
	Labels bool
	// Value is the per-row loss, shape [R], zero for rows that do not count.
	Value func(b *op.Builder, s site) *graph.Value
	// Grad is d(sum of Value)/d logits, shape [R, C].
	Grad func(b *op.Builder, s site) *graph.Value
	// Sample draws targets from the model's predictive distribution, whose Fisher matrix in the logits is the
	// Hessian of Value in them.
	Sample func(b *op.Builder, s site, draw noise) *graph.Value
	// Root is column j of S with S S^T the Hessian of a row's Value in its logits, shape [R, C].
	Root func(b *op.Builder, s site, j int64) *graph.Value
}

// rows is the table of losses.
var rows = []row{
	{"cross-entropy", "softmax cross-entropy with integer labels", true, crossEntropy, crossEntropyGrad, crossEntropySample, crossEntropyRoot},
	{"mse", "mean squared error", false, squared, squaredGrad, squaredSample, squaredRoot},
}

// Names lists the losses.
func Names() []string {
	names := make([]string, len(rows))
	for i, r := range rows {
		names[i] = r.Name
	}
	return names
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
	z         *graph.Value // [R, C]
	target    *graph.Value // labels [R], or values [R, C]; nil where not needed
	smoothing float64
	ignore    *int64
	weight    float64 // of a row's loss: 1, or 1/C for the mean over elements
	asdl      bool    // sampling scale of ASDL for squared errors
	variance  float64
}

// noise gives the random numbers of one draw.
type noise struct {
	input bool // labels, or normals, come from a graph input
	draw  int64
}

// Attach adds the loss to the model: input target, output loss and the Loss tag.
func Attach(c *pass.Ctx, m *graph.Model) error {
	o := c.Options
	r, err := rowNamed(o.Loss.Row)
	if err != nil {
		return err
	}
	logits, err := findLogits(m, o.Logits)
	if err != nil {
		return err
	}
	axis, err := classAxis(logits)
	if err != nil {
		return err
	}
	logits = beforeLink(c, m, r, logits, axis)
	reportUnreached(c, m, logits)
	name := o.Target
	if name == "" {
		name = "target"
	}
	if m.Graph.NameTaken(name) {
		name = pass.Prefix + name
	}
	target := m.Graph.AddInput(name, targetType(r, logits.Type, axis))
	b := op.NewBuilder(m, m.Graph)
	b.Prefix = "loss/"
	set := settings{row: r, reduction: o.Loss.Reduction, axis: axis, smoothing: o.Loss.LabelSmoothing, ignore: o.Loss.IgnoreIndex}
	s, err := siteOf(b, set, logits, target)
	if err != nil {
		return err
	}
	total := b.Sum(r.Value(b, s))
	if o.Loss.Reduction == "mean" || o.Loss.Reduction == "rows" {
		total = b.Div(total, countRows(b, s))
	}
	output := "loss"
	if m.Graph.NameTaken(output) {
		output = pass.Prefix + output
	}
	tag := b.Named(graph.Asdl, graph.TagLoss, []*graph.Value{total, logits, target}, []string{output}, set.attrs()...)
	m.Graph.AddOutput(tag.Out(0))
	return b.Err()
}

// settings are what a Loss tag and the requests about it say of the loss.
type settings struct {
	row       *row
	reduction string
	axis      int // of the classes in the logits
	smoothing float64
	ignore    *int64
}

// attrs writes the settings for a tag.
func (s settings) attrs() []graph.Attr {
	attrs := []graph.Attr{graph.S("row", s.row.Name), graph.S("reduction", s.reduction), graph.I("axis", int64(s.axis))}
	if s.smoothing != 0 {
		attrs = append(attrs, graph.T("label_smoothing", graph.Scalar(s.smoothing)))
	}
	if s.ignore != nil {
		attrs = append(attrs, graph.I("ignore_index", *s.ignore))
	}
	return attrs
}

// settingsOf reads the settings of a tag.
func settingsOf(n *graph.Node) (settings, error) {
	r, err := rowNamed(n.Str("row", ""))
	s := settings{row: r, reduction: n.Str("reduction", "mean"), axis: int(n.Int("axis", 1))}
	if a, ok := n.Attr("label_smoothing"); ok {
		s.smoothing = graph.Data[float64](a.T)[0]
	}
	if a, ok := n.Attr("ignore_index"); ok {
		v := a.I
		s.ignore = &v
	}
	return s, err
}

func findLogits(m *graph.Model, name string) (*graph.Value, error) {
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
	return nil, &pass.OptionError{Option: "logits", Value: name, Want: "an output of the model: " + strings.Join(names, ", ")}
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

// siteOf brings logits and target to rows.
func siteOf(b *op.Builder, set settings, logits, target *graph.Value) (site, error) {
	s := site{smoothing: set.smoothing, ignore: set.ignore, weight: 1}
	axis, r := set.axis, set.row
	count, ok := logits.Type.Dims[axis].Size()
	if !ok {
		return s, fmt.Errorf("%w: the number of classes of logits %s (type %s) is not known; fix it in the model", graph.ErrUnsupported, logits, logits.Type)
	}
	s.z = rowsOf(b, logits, axis, count)
	if !r.Labels && set.reduction == "mean" {
		s.weight = 1 / float64(count)
	}
	switch {
	case target == nil:
	case r.Labels:
		s.target = target
		if target.Type.Rank() != 1 {
			s.target = b.Reshape(target, -1)
		}
	default:
		s.target = rowsOf(b, target, axis, count)
	}
	return s, nil
}

// rowsOf brings v to [R, C].
func rowsOf(b *op.Builder, v *graph.Value, axis int, classes int64) *graph.Value {
	rank := v.Type.Rank()
	if axis != rank-1 {
		v = b.Transpose(v, toLast(rank, axis)...)
	}
	if rank == 2 {
		return v
	}
	return b.Reshape(v, -1, classes)
}

// unrows is the inverse of rowsOf.
func unrows(b *op.Builder, tag *graph.Node, v, logits *graph.Value) *graph.Value {
	rank, axis := logits.Type.Rank(), int(tag.Int("axis", 1))
	if axis == rank-1 {
		if rank == 2 {
			return v
		}
		return b.ReshapeTo(v, b.ShapeOf(logits))
	}
	perm := toLast(rank, axis)
	back := make([]int64, rank)
	for i, p := range perm {
		back[p] = int64(i)
	}
	moved := b.Gather(b.ShapeOf(logits), b.Ints(perm...), 0)
	return b.Transpose(b.ReshapeTo(v, moved), back...)
}

// likeTarget gives sampled targets the shape that the loss's target has.
func likeTarget(b *op.Builder, tag *graph.Node, r *row, v, logits *graph.Value) *graph.Value {
	if !r.Labels {
		return unrows(b, tag, v, logits)
	}
	if logits.Type.Rank() == 2 {
		return v
	}
	return b.ReshapeLike(v, tag.In(1))
}

func toLast(rank, axis int) []int64 {
	var perm []int64
	for i := range rank {
		if i != axis {
			perm = append(perm, int64(i))
		}
	}
	return append(perm, int64(axis))
}

// countRows is the number of rows that count, a float scalar; at least 1, so that a batch of ignored labels gives a
// loss of zero.
func countRows(b *op.Builder, s site) *graph.Value {
	e := s.z.Type.Elem
	if s.ignore == nil {
		return b.CountOf(s.z, e, 0)
	}
	n := b.Sum(b.Cast(counted(b, s), e))
	return b.Op("Max", []*graph.Value{n, b.Float(e, 1)})
}

// counted is a bool [R]: whether a row's label is not ignore_index.
func counted(b *op.Builder, s site) *graph.Value {
	return b.Unary("Not", b.Compare("Equal", s.target, b.Int(*s.ignore)))
}
