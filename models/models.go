// Package models builds the reference networks as ONNX, with the parameter names, the layout and the distribution of
// initial values of the PyTorch modules that they are known by. Each is a row of a table; see Names and Build.
package models

import (
	"fmt"
	"slices"
	"strings"

	"github.com/asdlc/asdlc/graph"
)

// Opset is the operator set of the models.
const Opset = 17

// Model is a row of the table.
type Model struct {
	Name  string
	Doc   string
	Input string // its type
	Cite  string

	Parameters int64 // with the defaults
	ImageNet   int64 // with the option imagenet; 0 if there is none
	Defaults   Options
	build      func(*net, Options) *graph.Value
}

var table = []Model{
	{
		Name: "mlp", Doc: "fully connected layers with ReLU between them", Input: "float[N,784]",
		Parameters: 669706, Defaults: Options{Widths: []int{784, 512, 512, 10}, Classes: 10}, build: mlp,
	},
	{
		Name: "lenet", Doc: "LeNet-5 with ReLU and max pooling", Input: "float[N,1,28,28]",
		Cite:       "LeCun, Bottou, Bengio & Haffner, Proc. IEEE 86, 1998",
		Parameters: 61706, Defaults: Options{Classes: 10}, build: lenet,
	},
	{
		Name: "resnet18", Doc: "ResNet-18", Input: "float[N,3,32,32]",
		Cite:       "He, Zhang, Ren & Sun, arXiv:1512.03385",
		Parameters: 11173962, ImageNet: 11689512,
		Defaults: Options{Classes: 10, Width: 64, Image: 32}, build: resnet(basicBlock, [4]int{2, 2, 2, 2}),
	},
	{
		Name: "resnet50", Doc: "ResNet-50", Input: "float[N,3,32,32]",
		Cite:       "He, Zhang, Ren & Sun, arXiv:1512.03385",
		Parameters: 23520842, ImageNet: 25557032,
		Defaults: Options{Classes: 10, Width: 64, Image: 32}, build: resnet(bottleneck, [4]int{3, 4, 6, 3}),
	},
	{
		Name: "wideresnet", Doc: "Wide ResNet, by default WRN-28-10", Input: "float[N,3,32,32]",
		Cite:       "Zagoruyko & Komodakis, arXiv:1605.07146",
		Parameters: 36479194,
		Defaults:   Options{Classes: 10, Depth: 28, Widen: 10, Image: 32}, build: wideResNet,
	},
	{
		Name: "vit-tiny", Doc: "Vision Transformer, DeiT's tiny size", Input: "float[N,3,32,32]",
		Cite:       "Dosovitskiy et al., arXiv:2010.11929; Touvron et al., arXiv:2012.12877",
		Parameters: 5362762, ImageNet: 5717416,
		Defaults: Options{Classes: 10, Width: 192, Depth: 12, Heads: 3, Image: 32, Patch: 4}, build: vit,
	},
	{
		Name: "mixer-base", Doc: "MLP-Mixer, base size", Input: "float[N,3,32,32]",
		Cite:       "Tolstikhin et al., arXiv:2105.01601",
		Parameters: 57348106, ImageNet: 59880472,
		Defaults: Options{Classes: 10, Width: 768, Depth: 12, Image: 32, Patch: 4}, build: mixer,
	},
	{
		Name: "mixer-small", Doc: "MLP-Mixer, small size", Input: "float[N,3,32,32]",
		Cite:       "Tolstikhin et al., arXiv:2105.01601",
		Parameters: 17110026, ImageNet: 18528264,
		Defaults: Options{Classes: 10, Width: 512, Depth: 8, Image: 32, Patch: 4}, build: mixer,
	},
	{
		Name: "gpt2", Doc: "GPT-2 small, the last layer tied to the table of tokens", Input: "int64[N,T]",
		Cite:       "Radford et al., 2019",
		Parameters: 124439808,
		Defaults:   Options{Width: 768, Depth: 12, Heads: 12, Vocab: 50257, Context: 1024}, build: gpt,
	},
	{
		Name: "gpt-nano", Doc: "GPT-2 of three layers over bytes", Input: "int64[N,T]",
		Cite:       "Radford et al., 2019; sizes of minGPT's gpt-nano",
		Parameters: 109488,
		Defaults:   Options{Width: 48, Depth: 3, Heads: 3, Vocab: 256, Context: 256}, build: gpt,
	},
	{
		Name: "bert-tiny", Doc: "BERT of two layers with a classifier", Input: "int64[N,T]: input_ids, attention_mask, token_type_ids",
		Cite:       "Devlin et al., arXiv:1810.04805; Turc et al., arXiv:1908.08962",
		Parameters: 4386178,
		Defaults:   Options{Classes: 2, Width: 128, Depth: 2, Heads: 2, Vocab: 30522, Context: 512}, build: bert,
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

// Build builds a network for inference: inputs with the dynamic batch dimension N and, of token sequences, the dynamic
// length T; output "logits". Dropout, which inference leaves out, is not in it. Batch normalisation has its running
// statistics (0 and 1), as a file for inference has. Options that do not fit are an *OptionError.
func Build(name string, o Options) (*graph.Model, error) {
	if _, err := Count(name, o); err != nil { // of what is too large nothing is allocated
		return nil, err
	}
	n, err := assemble(name, o, false)
	if err != nil {
		return nil, err
	}
	return n.m, nil
}

// Skeleton is Build without values: parameters and running statistics are graph inputs. It costs no memory to speak of.
func Skeleton(name string, o Options) (*graph.Model, error) {
	n, err := assemble(name, o, true)
	if err != nil {
		return nil, err
	}
	return n.m, nil
}

// Count is the number of parameters: tied ones count once, running statistics do not.
func Count(name string, o Options) (int64, error) {
	n, err := assemble(name, o, true)
	if err != nil {
		return 0, err
	}
	if n.count > maxParameters {
		return 0, &OptionError{name, "sizes", fmt.Sprintf("at most %d parameters", maxParameters)}
	}
	return n.count, nil
}

func assemble(name string, o Options, bare bool) (*net, error) {
	i := slices.IndexFunc(table, func(m Model) bool { return m.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("no model %q: want one of %s", name, strings.Join(Names(), ", "))
	}
	o, err := table[i].Resolve(o)
	if err != nil {
		return nil, err
	}
	n := newNet(table[i], o.Seed, bare)
	out := table[i].build(n, o)
	out.Rename("logits")
	n.g.AddOutput(out)
	return n, nil
}
