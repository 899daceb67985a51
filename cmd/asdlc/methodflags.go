package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/asdlc/asdlc/passes/loss"
	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/runtime/data"
)

// methodFlags choose a method record and how a model is compiled by it.
type methodFlags struct {
	method, preset string
	set, layers    []string
	stagger        bool
	async          int
	options        pass.Options
	ignoreIndex    int64
	lossWeights    string
	flags          *pflag.FlagSet
}

func (f *methodFlags) register(fs *pflag.FlagSet) {
	f.flags = fs
	fs.StringVarP(&f.method, "method", "m", "", "preconditioning method: "+strings.Join(method.Names(), ", ")+" (see asdlc methods), or a record of your own, FILE.yaml or FILE.json")
	fs.StringVar(&f.preset, "preset", "paper", "conventions: paper, or asdl (those of the PyTorch library ASDL)")
	fs.StringArrayVar(&f.set, "set", nil, "set a field of the method record, as in solve.every=10; may be repeated")
	fs.StringArrayVar(&f.layers, "layer", nil, "a method for some layers, GLOB=METHOD or kind:KIND=METHOD, where METHOD is as for --method, with settings as in 'blocks.*=shampoo:damping=1e-4,every=20'; may be repeated, the last match counts")
	fs.BoolVar(&f.stagger, "stagger", false, "spread the solves of different layers over the interval, as --set solve.stagger=true")
	fs.IntVar(&f.async, "async", 0, "solve beside the steps: solutions are used so many steps later, those before meanwhile; as --set solve.delay=N")
	o := &f.options
	fs.StringVar(&o.Loss.Row, "loss", "cross-entropy", "training loss: "+strings.Join(loss.Names(), ", "))
	fs.StringVar(&o.Loss.Reduction, "reduction", "mean", "of the loss: mean, rows (mean over examples of the sum over outputs), sum")
	fs.Float64Var(&o.Loss.LabelSmoothing, "label-smoothing", 0, "label smoothing of the cross-entropy")
	fs.Int64Var(&f.ignoreIndex, "ignore-index", 0, "label that does not count, of cross-entropy and nll")
	fs.StringVar(&f.lossWeights, "loss-weights", "", "weights of the classes, of cross-entropy and nll: FILE.npy or numbers separated by commas; a mean is over the labels' weights")
	fs.Float64Var(&o.Loss.Delta, "loss-delta", 0, "of huber and smooth-l1: the distance from which the loss is linear (default 1)")
	fs.StringVar(&o.Target, "target", "", `name of the target input (default "target")`)
	fs.StringVar(&o.HVP, "hvp", "tangent", "Hessian-vector products: tangent (forward derivative of the gradient), or difference (of two gradients)")
	readFlags(fs, o)
}

// readFlags are those that decide how a model is read: its parameters, their ties, its layers.
func readFlags(fs *pflag.FlagSet, o *pass.Options) {
	fs.StringVar(&o.Logits, "logits", "", "model output that the loss sees (default: the first floating-point one)")
	fs.StringVar(&o.BN, "bn", "train", "batch normalisation: train (batch statistics) or frozen")
	fs.BoolVar(&o.KeepTies, "keep-ties", false, "parameters that the exporter merged because they were equal stay one")
	fs.StringVar(&o.Tie, "tie", "auto", "last layer with the values of the embedding: auto (one parameter, as before the export) or none")
	fs.IntVar(&o.Opset, "opset", 0, "operator set of the step graph (default: the model's, at least 17)")
}

// mix resolves the method record and those of --layer.
func (f *methodFlags) mix() (method.Mix, error) {
	rec, err := f.record()
	if err != nil {
		return method.Mix{}, err
	}
	m := method.Mix{Default: rec}
	for _, text := range f.layers {
		o, err := f.override(text)
		if err != nil {
			return m, err
		}
		m.Overrides = append(m.Overrides, o)
	}
	return m, usage(m.Validate())
}

// override parses PATTERN=METHOD[:FIELD=VALUE,...].
func (f *methodFlags) override(text string) (method.Override, error) {
	pattern, spec, ok := strings.Cut(text, "=")
	name, list, some := strings.Cut(spec, ":")
	if !ok || pattern == "" || name == "" {
		return method.Override{}, usagef("--layer %s: want GLOB=METHOD or kind:KIND=METHOD, with settings METHOD:FIELD=VALUE,...", text)
	}
	var set []string
	if some {
		set = strings.Split(list, ",")
	}
	rec, err := f.lookup(name, set)
	if err != nil {
		return method.Override{}, fmt.Errorf("--layer %s: %w", text, err)
	}
	return method.Override{Pattern: pattern, Record: rec}, nil
}

// record resolves the method record of the whole model.
func (f *methodFlags) record() (method.Record, error) {
	if f.method == "" {
		return method.Record{}, usagef("--method is required: one of %s", strings.Join(method.Names(), ", "))
	}
	set := slices.Clone(f.set)
	if f.stagger {
		set = append(set, "solve.stagger=true")
	}
	if f.async != 0 {
		set = append(set, fmt.Sprint("solve.delay=", f.async))
	}
	return f.lookup(f.method, set)
}

// lookup is the record of a method with settings FIELD=VALUE.
func (f *methodFlags) lookup(name string, set []string) (method.Record, error) {
	rec, err := lookupMethod(name, f.preset)
	if err != nil {
		return rec, err
	}
	for _, s := range set {
		path, value, ok := strings.Cut(s, "=")
		if !ok {
			return rec, usagef("--set %s: want FIELD=VALUE", s)
		}
		if err := method.Set(&rec, path, value); err != nil {
			return rec, err
		}
	}
	return rec, usage(method.Validate(rec))
}

// usage makes an error one of the command line.
func usage(err error) error {
	if err == nil {
		return nil
	}
	return usagef("%v", err)
}

// resolved returns the options with the flags that need a look at whether they were given.
func (f *methodFlags) resolved() (pass.Options, error) {
	o := f.options
	if f.flags.Changed("ignore-index") {
		v := f.ignoreIndex
		o.Loss.IgnoreIndex = &v
	}
	var err error
	if f.lossWeights != "" {
		o.Loss.ClassWeights, err = parseWeights(f.lossWeights)
	}
	return o, err
}

// parseWeights reads the weights of classes: a file, or numbers separated by commas.
func parseWeights(text string) ([]float64, error) {
	if strings.HasSuffix(text, ".npy") {
		a, err := data.ReadNPY(text)
		if err != nil {
			return nil, err
		}
		weights, err := data.As[float64](a)
		if err != nil || len(a.Shape) != 1 {
			return nil, fmt.Errorf("--loss-weights %s: want an array of one dimension of numbers, got shape %v", text, a.Shape)
		}
		return weights, nil
	}
	var weights []float64
	for _, field := range strings.Split(text, ",") {
		w, err := strconv.ParseFloat(strings.TrimSpace(field), 64)
		if err != nil {
			return nil, usagef("--loss-weights %s: want FILE.npy or numbers separated by commas", text)
		}
		weights = append(weights, w)
	}
	return weights, nil
}
