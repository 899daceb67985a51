package main

import (
	"strings"

	"github.com/spf13/pflag"

	"github.com/asdlc/asdlc/passes/loss"
	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
)

// methodFlags choose a method record and how a model is compiled by it.
type methodFlags struct {
	method, preset string
	set            []string
	options        pass.Options
	ignoreIndex    int64
	flags          *pflag.FlagSet
}

func (f *methodFlags) register(fs *pflag.FlagSet) {
	f.flags = fs
	fs.StringVarP(&f.method, "method", "m", "", "preconditioning method: "+strings.Join(method.Names(), ", ")+" (see asdlc methods)")
	fs.StringVar(&f.preset, "preset", "paper", "conventions: paper, or asdl (those of the PyTorch library ASDL)")
	fs.StringArrayVar(&f.set, "set", nil, "set a field of the method record, as in solve.every=10; may be repeated")
	o := &f.options
	fs.StringVar(&o.Loss.Row, "loss", "cross-entropy", "training loss: "+strings.Join(loss.Names(), ", "))
	fs.StringVar(&o.Loss.Reduction, "reduction", "mean", "of the loss: mean, rows (mean over examples of the sum over outputs), sum")
	fs.Float64Var(&o.Loss.LabelSmoothing, "label-smoothing", 0, "label smoothing of the cross-entropy")
	fs.Int64Var(&f.ignoreIndex, "ignore-index", 0, "label that does not count")
	fs.StringVar(&o.Logits, "logits", "", "model output that the loss sees (default: the first floating-point one)")
	fs.StringVar(&o.Target, "target", "", `name of the target input (default "target")`)
	fs.StringVar(&o.BN, "bn", "train", "batch normalisation: train (batch statistics) or frozen")
	fs.IntVar(&o.Opset, "opset", 0, "operator set of the step graph (default: the model's, at least 17)")
}

// record resolves the method record.
func (f *methodFlags) record() (method.Record, error) {
	if f.method == "" {
		return method.Record{}, usagef("--method is required: one of %s", strings.Join(method.Names(), ", "))
	}
	rec, ok := method.Lookup(f.method)
	if !ok {
		return rec, usagef("no method %q: want one of %s", f.method, strings.Join(method.Names(), ", "))
	}
	rec, err := method.WithPreset(rec, f.preset)
	if err != nil {
		return rec, err
	}
	for _, s := range f.set {
		path, value, ok := strings.Cut(s, "=")
		if !ok {
			return rec, usagef("--set %s: want FIELD=VALUE", s)
		}
		if err := method.Set(&rec, path, value); err != nil {
			return rec, err
		}
	}
	if err := method.Validate(rec); err != nil {
		return rec, usagef("%v", err)
	}
	return rec, nil
}

// resolved returns the options with the flags that need a look at whether they were given.
func (f *methodFlags) resolved() pass.Options {
	o := f.options
	if f.flags.Changed("ignore-index") {
		v := f.ignoreIndex
		o.Loss.IgnoreIndex = &v
	}
	return o
}
