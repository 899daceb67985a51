package normalize

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// The operator set versions that are read and written.
const (
	oldest = 7
	lowest = 17 // what is written at least: LayerNormalization
	newest = 26
)

// raiseOpset rewrites every node of the main graph into its form at the target opset: Options.Opset, else the model's
// raised to 17 and to that of its functions. The IR version becomes 8 at least, so that the model may have functions.
func raiseOpset(c *pass.Ctx, m *graph.Model) error {
	from := m.Opset()
	if v, ok := m.Opsets["ai.onnx"]; ok && from == 0 {
		from = int(v)
	}
	to := c.Options.Opset
	if to == 0 {
		to = max(from, lowest)
		for _, f := range m.Functions {
			to = max(to, int(f.Opsets[""]))
		}
	}
	switch {
	case from < oldest || from > newest:
		return fmt.Errorf("%w: the model has opset %d; asdlc reads %d to %d: convert the model to one of these", graph.ErrUnsupported, from, oldest, newest)
	case to < lowest || to > newest:
		return &pass.OptionError{Option: "opset", Value: strconv.Itoa(to), Want: fmt.Sprintf("%d to %d", lowest, newest)}
	case to < from:
		return fmt.Errorf("%w: the model has opset %d, which cannot be lowered to %d; leave the opset out or raise it", graph.ErrUnsupported, from, to)
	}
	if from < 13 {
		// The old Softmax needs ranks. What is not known at this stage (operators that a row replaces) does not matter.
		_ = op.InferGraph(m)
	}
	delete(m.Opsets, "ai.onnx")
	m.Opsets[""] = int64(to)
	m.IRVersion = max(m.IRVersion, 8)
	for _, n := range slices.Collect(m.Graph.All()) { // what the rows add is in its final form
		if n.Domain == "ai.onnx" {
			n.Domain = ""
		}
		if err := upgrade(c, m, n, from); err != nil {
			return err
		}
	}
	if to != from {
		c.Note(fmt.Sprintf("opset raised from %d to %d", from, to))
	}
	return nil
}

// upgradeDeep upgrades n and what is nested in it.
func upgradeDeep(c *pass.Ctx, m *graph.Model, n *graph.Node, from int) error {
	for _, sub := range n.Graphs() {
		for inner := range sub.Nodes() {
			if err := upgradeDeep(c, m, inner, from); err != nil {
				return err
			}
		}
	}
	return upgrade(c, m, n, from)
}

// upgrade applies to n the rows for its operator between the opset from, in which it is written, and the model's.
func upgrade(c *pass.Ctx, m *graph.Model, n *graph.Node, from int) error {
	if n.Domain != "" {
		return nil
	}
	for _, r := range upgrades {
		if r.Op != n.Op || r.Since <= from || r.Since > m.Opset() {
			continue
		}
		if err := r.Apply(c, n); err != nil {
			return err
		}
	}
	return nil
}

// upgradeRow is a row: how an operator is rewritten into the form that it has from opset Since on.
type upgradeRow struct {
	Op    string
	Since int
	Apply func(*pass.Ctx, *graph.Node) error
}

// upgrades are ordered by version, so that a node goes through all of its forms.
var upgrades = []upgradeRow{
	{"Scan", 9, batchedScan},
	{"Upsample", 9, floatsToInput("scales", 1)},
	{"BatchNormalization", 9, perChannel},
	{"Upsample", 10, upsample},
	{"Dropout", 10, floatMask},
	{"Slice", 10, all(intsToInput("starts", 1), intsToInput("ends", 2), intsToInput("axes", 3))},
	{"TopK", 10, intToInput("k", 1)},
	{"Resize", 11, resize},
	{"Clip", 11, all(limitToInput("min", 1), limitToInput("max", 2))},
	{"Pad", 11, all(intsToInput("pads", 1), limitToInput("value", 2))},
	{"Scatter", 11, renamed("ScatterElements")},
	{"Dropout", 12, oldDropout},
	{"Erf", 13, noIntegers},
	{"Softmax", 13, flattened},
	{"LogSoftmax", 13, flattened},
	{"Hardmax", 13, flattened},
	{"Squeeze", 13, intsToInput("axes", 1)},
	{"Unsqueeze", 13, intsToInput("axes", 1)},
	{"Split", 13, intsToInput("split", 1)},
	{"ReduceSum", 13, intsToInput("axes", 1)},
	{"Resize", 13, framesOfTensorFlow},
	{"BatchNormalization", 14, oldTraining},
	{"ReduceMean", 18, intsToInput("axes", 1)},
	{"ReduceMax", 18, intsToInput("axes", 1)},
	{"ReduceMin", 18, intsToInput("axes", 1)},
	{"ReduceProd", 18, intsToInput("axes", 1)},
	{"ReduceL1", 18, intsToInput("axes", 1)},
	{"ReduceL2", 18, intsToInput("axes", 1)},
	{"ReduceLogSum", 18, intsToInput("axes", 1)},
	{"ReduceLogSumExp", 18, intsToInput("axes", 1)},
	{"ReduceSumSquare", 18, intsToInput("axes", 1)},
	{"Split", 18, equalParts},
	{"GridSample", 20, gridModes},
	{"GroupNormalization", 21, perChannelGroups},
}
