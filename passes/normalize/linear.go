package normalize

import (
	"slices"

	"github.com/asdlc/asdlc/graph"
)

// linearModel is what a LinearClassifier or LinearRegressor computes: x W^T + b, and a transformation to probabilities.
type linearModel struct {
	weight, bias   []float32 // [rows, features], [rows] or empty
	rows, features int64
	// pair tells that there are two classes whose rows are the negatives of one another, so that one score is all there is
	// to be trained: that of the second class.
	pair      bool
	transform string
}

// readLinear reads the attributes; outputs is the number of classes or targets. ok is false for what they do not determine.
func readLinear(n *graph.Node, outputs int) (l linearModel, ok bool) {
	weight, _ := n.Attr("coefficients")
	bias, _ := n.Attr("intercepts")
	l.weight, l.bias, l.rows, l.transform = weight.Floats, bias.Floats, int64(outputs), n.Str("post_transform", "NONE")
	if outputs < 1 || len(l.weight) == 0 || len(l.weight)%outputs != 0 || len(l.bias) != 0 && len(l.bias) != outputs {
		return l, false
	}
	l.features = int64(len(l.weight) / outputs)
	if outputs == 2 && l.transform == "LOGISTIC" && mirrored(l.weight) && mirrored(l.bias) {
		l.weight, l.bias, l.rows, l.pair = l.weight[l.features:], l.bias[len(l.bias)/2:], 1, true
	}
	return l, l.transform == "NONE" || l.transform == "SOFTMAX" || l.transform == "LOGISTIC"
}

// mirrored reports whether the first half of x is the negative of the second.
func mirrored(x []float32) bool {
	half := len(x) / 2
	for i, v := range x[:half] {
		if v != -x[half+i] {
			return false
		}
	}
	return true
}

// classes is the number of labels of a LinearClassifier.
func classes(n *graph.Node) int {
	ints, _ := n.Attr("classlabels_ints")
	strings, _ := n.Attr("classlabels_strings")
	return max(len(ints.Ints), len(strings.Strings))
}

// linearOutputs is the number of classes or targets of n; 0 for other operators.
func linearOutputs(n *graph.Node) int {
	switch {
	case n.Is(domainML, "LinearClassifier"):
		return classes(n)
	case n.Is(domainML, "LinearRegressor"):
		return int(n.Int("targets", 1))
	}
	return 0
}

func linearClassifier(b *classic) bool {
	l, ok := readLinear(b.n, classes(b.n))
	return ok && len(b.n.Outputs()) == 2 && b.linear(l)
}

func linearRegressor(b *classic) bool {
	l, ok := readLinear(b.n, linearOutputs(b.n))
	return ok && b.linear(l)
}

// linear replaces the node by a product with parameters that are named after it, see held.
func (b *classic) linear(l linearModel) bool {
	if !b.x.Type.Ranked || b.x.Type.Rank() != 2 {
		return false
	}
	base := linearName(b.n)
	w := b.m.Graph.AddInitializer(base+".coefficients", graph.TensorOf(l.weight, l.rows, l.features))
	c := graph.TensorOf([]float32{0}, 1)
	cName := base + "/zero"
	if len(l.bias) > 0 {
		c, cName = graph.TensorOf(l.bias, l.rows), base+".intercepts"
	}
	y := b.node("Gemm", graph.I("transB", 1), b.x, w, b.m.Graph.AddInitializer(cName, c))
	switch {
	case l.transform == "SOFTMAX":
		y = b.node("Softmax", graph.I("axis", 1), y)
	case l.pair:
		p := b.node("Sigmoid", graph.Attr{}, y)
		one := b.m.Graph.AddInitializer(base+"/one", graph.Scalar(float32(1)))
		y = b.node("Concat", graph.I("axis", 1), b.node("Sub", graph.Attr{}, one, p), p)
	case l.transform == "LOGISTIC":
		y = b.node("Sigmoid", graph.Attr{}, y)
	}
	return b.done(y)
}

// linearName is what the parameters of a linear model are named after.
func linearName(n *graph.Node) string {
	if n.Name != "" {
		return n.Name
	}
	return lastOutput(n).Name
}

// Holder is an attribute of the file that holds a parameter.
type Holder struct {
	Node *graph.Node
	Attr string
	// Mirrored tells that the values in the attribute come after their negatives.
	Mirrored bool
}

// Set gives the attribute the values of the parameter.
func (h *Holder) Set(values []float32) {
	if h.Mirrored {
		negative := make([]float32, len(values), 2*len(values))
		for i, v := range values {
			negative[i] = -v
		}
		values = append(negative, values...)
	}
	h.Node.SetAttr(graph.Fs(h.Attr, slices.Clone(values)...))
}

// holders lists the parameters of a file's model that attributes hold, by their names in a step graph.
func holders(m *graph.Model) map[string]*Holder {
	all := map[string]*Holder{}
	for n := range m.Graph.Nodes() {
		outputs := linearOutputs(n)
		if outputs == 0 {
			continue
		}
		if l, ok := readLinear(n, outputs); ok {
			for _, attr := range []string{"coefficients", "intercepts"} {
				all[linearName(n)+"."+attr] = &Holder{n, attr, l.pair}
			}
		}
	}
	return all
}
