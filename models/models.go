// Package models builds the reference networks as ONNX, with the parameter names, the layout and the distribution of
// initial values that PyTorch gives them. Each is a row of a table; see Names and Build.
package models

import (
	"fmt"
	"slices"
	"strings"

	"github.com/asdlc/asdlc/graph"
)

// Opset is the operator set of the models.
const Opset = 17

// Options choose the size of a network. A zero field is the network's default; one that a network has no use for is an
// error (see Model.Takes).
type Options struct {
	Widths   []int  // features of the input, of each hidden layer and of the output (mlp)
	Classes  int    // size of the output
	ImageNet bool   // the stem for images of 224 x 224, and 1000 classes (resnet18)
	Seed     uint64 // of the initial values: the same seed gives the same bytes
}

// Model is a row of the table.
type Model struct {
	Name  string
	Doc   string
	Input string // its type
	Cite  string
	Takes []string // fields of Options that it uses besides Seed: widths, classes, imagenet
	build func(*net, Options) *graph.Value
}

var table = []Model{
	{
		Name: "mlp", Doc: "fully connected layers with ReLU between them", Input: "float[N,784], or the first of the widths",
		Takes: []string{"widths", "classes"}, build: mlp,
	},
	{
		Name: "lenet", Doc: "LeNet-5 with ReLU and max pooling", Input: "float[N,1,28,28]",
		Cite:  "LeCun, Bottou, Bengio & Haffner, Proc. IEEE 86, 1998",
		Takes: []string{"classes"}, build: lenet,
	},
	{
		Name: "resnet18", Doc: "ResNet-18, with the stem for small images unless imagenet is set", Input: "float[N,3,32,32], or float[N,3,224,224] with imagenet",
		Cite:  "He, Zhang, Ren & Sun, arXiv:1512.03385",
		Takes: []string{"classes", "imagenet"}, build: resnet18,
	},
}

// All lists the models in table order.
func All() []Model { return slices.Clone(table) }

// Names lists the names in table order.
func Names() []string {
	var names []string
	for _, m := range table {
		names = append(names, m.Name)
	}
	return names
}

// OptionError is an option that a model cannot be built with; Option names it, with its value.
type OptionError struct{ Model, Option, Want string }

// Error implements error.
func (e *OptionError) Error() string {
	return fmt.Sprintf("model %s: option %s: want %s", e.Model, e.Option, e.Want)
}

// Limits of sizes, so that a slip of the hand is an error and not a file that fills the disk.
const (
	maxWidth      = 1 << 20
	maxParameters = 1 << 30
)

// Build builds a network for inference: input "input" with the dynamic batch dimension N, output "logits". Batch
// normalisation has its running statistics (0 and 1), as a file for inference has. Options that do not fit are an
// *OptionError.
func Build(name string, o Options) (*graph.Model, error) {
	i := slices.IndexFunc(table, func(m Model) bool { return m.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("no model %q: want one of %s", name, strings.Join(Names(), ", "))
	}
	row := table[i]
	if err := row.check(o); err != nil {
		return nil, err
	}
	n := newNet(row, o.Seed)
	out := row.build(n, o)
	out.Rename("logits")
	n.g.AddOutput(out)
	return n.m, nil
}

// check refuses options that the row does not take and sizes that make no network.
func (m Model) check(o Options) error {
	given := []struct {
		field string
		is    bool
	}{{"widths", len(o.Widths) > 0}, {"classes", o.Classes != 0}, {"imagenet", o.ImageNet}}
	for _, f := range given {
		if f.is && !slices.Contains(m.Takes, f.field) {
			return &OptionError{m.Name, f.field, "it left out; this model takes " + strings.Join(m.Takes, ", ")}
		}
	}
	if o.Classes < 0 || o.Classes > maxWidth {
		return &OptionError{m.Name, fmt.Sprintf("classes %d", o.Classes), fmt.Sprintf("1 to %d", maxWidth)}
	}
	if o.Widths == nil {
		return nil
	}
	if len(o.Widths) < 2 {
		return &OptionError{m.Name, fmt.Sprintf("widths %v", o.Widths), "at least those of input and output"}
	}
	if o.Classes != 0 {
		return &OptionError{m.Name, "widths and classes", "one of them: the last width is the number of classes"}
	}
	total := 0
	for i, w := range o.Widths {
		if w < 1 || w > maxWidth {
			return &OptionError{m.Name, fmt.Sprintf("width %d", w), fmt.Sprintf("1 to %d", maxWidth)}
		}
		if i > 0 {
			total += o.Widths[i-1] * w
		}
		if total > maxParameters {
			return &OptionError{m.Name, fmt.Sprintf("widths %v", o.Widths), fmt.Sprintf("at most %d parameters", maxParameters)}
		}
	}
	return nil
}

// classes is the number of outputs.
func (o Options) classes(def int) int {
	if o.Classes != 0 {
		return o.Classes
	}
	return def
}
