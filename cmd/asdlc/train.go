package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/onnx"
	"github.com/asdlc/asdlc/passes"
	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/runtime"
	"github.com/asdlc/asdlc/runtime/data"
)

// trainFlags are the flags of train.
type trainFlags struct {
	methodFlags
	source, normalize string
	schedule          string
	warmup            float64
	rates             map[string]*float64 // by flag
	out, original     string
	log               string
	force, asJSON     bool
	resume            bool
	config            runtime.TrainerConfig
}

// rateFlags are the flags that set a number of the method: the field of the record and the input of the step graph.
var rateFlags = []struct{ flag, field, input, usage string }{
	{"lr", "update.lr", "lr", "learning rate (default: the method's)"},
	{"momentum", "update.momentum", "momentum", "momentum (default: the method's)"},
	{"weight-decay", "update.weight_decay", "weight_decay", "weight decay (default: the method's)"},
	{"damping", "solve.damping.value", "damping", "damping (default: the method's)"},
}

func newTrain(e *env) *cobra.Command {
	f := &trainFlags{rates: map[string]*float64{}}
	c := &cobra.Command{
		Use:   "train MODEL.onnx --method M --data SOURCE [-o TRAINED.onnx]",
		Short: "Train a classifier in Go",
		Long: `Compile a model by a method and train it in Go; write the file with trained weights.

SOURCE is a folder of idx files as MNIST has them (plain or .gz), an .npz file with x_train, y_train, x_test, y_test, or
digits, a built-in set drawn from fonts. MODEL.onnx may also be a step graph made by asdlc instrument, with STEP.init.onnx
beside it; then --model names the file it was made from, which is needed for test accuracy and TRAINED.onnx.

Each epoch prints mean loss and accuracy on the training samples, as they were seen, and accuracy on the test set of the
model in inference form. With --checkpoint, Ctrl-C leaves a checkpoint; the same command with --resume goes on from there
and gives, bit for bit, what the training without interruption gives.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return e.train(f, args[0]) },
	}
	fs := c.Flags()
	f.register(fs)
	fs.StringVarP(&f.source, "data", "d", "", "data set: a folder of idx files, FILE.npz, digits, or digits:train=N,test=N,seed=N")
	fs.StringVar(&f.normalize, "normalize", "auto", "of the samples: auto (mean 0, deviation 1 on the training set), scale (bytes to 0..1), none, or MEAN,STD")
	fs.IntVarP(&f.config.Epochs, "epochs", "e", 5, "epochs")
	fs.IntVarP(&f.config.Batch, "batch", "b", 0, fmt.Sprintf("batch size (default %d, or what the model fixes)", runtime.DefaultBatch))
	fs.Uint64Var(&f.config.Seed, "seed", 0, "of the order of the samples and of the method's random numbers")
	fs.StringVar(&f.schedule, "schedule", "cosine", "of the learning rate: constant, cosine, cosine:FLOOR, step:EPOCHS,FACTOR")
	fs.Float64Var(&f.warmup, "warmup", 0, "epochs in which the learning rate first rises linearly")
	for _, r := range rateFlags {
		f.rates[r.flag] = fs.Float64(r.flag, 0, r.usage)
	}
	fs.IntVar(&f.config.Threads, "threads", 0, "number of threads (default: one a CPU)")
	fs.StringVarP(&f.out, "output", "o", "", "trained model to write (default MODEL.trained.onnx)")
	fs.StringVar(&f.original, "model", "", "with a step graph: the file that it was made from")
	fs.StringVar(&f.config.Checkpoint, "checkpoint", "", "folder for checkpoints: after each epoch, and on Ctrl-C")
	fs.IntVar(&f.config.CheckpointEvery, "checkpoint-every", 0, "also every so many steps")
	fs.BoolVar(&f.resume, "resume", false, "continue from the newest checkpoint, where there is one")
	fs.StringVar(&f.log, "log", "", "write a line of JSON for each epoch to this file")
	fs.BoolVar(&f.asJSON, "json", false, "print a line of JSON for each epoch instead of the table")
	fs.BoolVarP(&f.force, "force", "f", false, "overwrite existing files")
	return c
}

// train compiles, trains and writes.
func (e *env) train(f *trainFlags, path string) error {
	var err error
	if f.config.Schedule, err = runtime.ParseSchedule(f.schedule); err != nil {
		return usagef("--schedule: %v", err)
	}
	f.config.Schedule.Warmup = f.warmup
	if err := f.config.Schedule.Validate(); err != nil {
		return usagef("%v", err)
	}
	if f.source == "" {
		return usagef("--data is required: a folder of idx files, FILE.npz, or digits")
	}
	if f.config.Epochs < 1 || f.config.Batch < 0 {
		return usagef("--epochs %d, --batch %d: want at least 1", f.config.Epochs, f.config.Batch)
	}
	if f.config.Checkpoint == "" && (f.resume || f.config.CheckpointEvery != 0) || f.config.CheckpointEvery < 0 {
		return usagef("--resume and --checkpoint-every N need --checkpoint FOLDER")
	}
	p, err := f.compile(path)
	if err != nil {
		return err
	}
	if p.original == nil && f.config.Checkpoint == "" {
		return usagef("training %s would write nothing: name the file that it was made from with --model, or give --checkpoint FOLDER", path)
	}
	if err := f.checkOutputs(path); err != nil {
		return err
	}
	if f.config.Data, err = openData(f.source, f.normalize); err != nil {
		return err
	}
	log, err := newTrainLog(e, f)
	if err != nil {
		return err
	}
	defer log.close()
	if p.original != nil {
		names, err := trainedNames(p.step)
		if err != nil {
			return err
		}
		if f.config.Original, err = passes.Named(p.original, names, f.config.Logits); err != nil {
			return err
		}
	}
	f.config.Solves = p.solves
	f.config.OnStep, f.config.OnEpoch = log.step, log.epoch
	t, err := runtime.NewTrainer(p.step, p.init, f.config)
	if err != nil {
		return err
	}
	defer func() { _ = t.Close() }()
	p.step, p.init = nil, nil // their memory is to be that of the steps
	if err := f.openCheckpoints(t); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	log.begin(t)
	if err := t.Run(ctx); err != nil {
		log.interrupt()
		if errors.Is(err, context.Canceled) {
			return f.interrupted(t)
		}
		return err
	}
	return log.finish(writeTrained(f, t, p.original))
}

// openCheckpoints resumes, or makes sure that the folder has no checkpoints of another run.
func (f *trainFlags) openCheckpoints(t *runtime.Trainer) error {
	dir := f.config.Checkpoint
	if dir == "" {
		return nil
	}
	old, err := runtime.Checkpoints(dir)
	switch {
	case err != nil:
		return err
	case len(old) == 0:
		return nil
	case f.resume:
		c, err := runtime.ReadCheckpoint(dir)
		if err != nil {
			return err
		}
		return t.Resume(c)
	case f.force:
		return runtime.ClearCheckpoints(dir)
	}
	return usagef("%s holds checkpoints: continue with --resume, or start anew with -f", dir)
}

// interrupted says how far the training came and how to go on.
func (f *trainFlags) interrupted(t *runtime.Trainer) error {
	done, total := t.Steps()
	if f.config.Checkpoint == "" {
		return fmt.Errorf("interrupted after step %d of %d; nothing was written (--checkpoint FOLDER keeps the state)", done, total)
	}
	return fmt.Errorf("interrupted after step %d of %d; the state is in %s, --resume goes on", done, total, f.config.Checkpoint)
}

// openData opens a data set and normalises it.
func openData(source, how string) (*data.Split, error) {
	split, err := data.Open(source)
	if err != nil {
		return nil, err
	}
	if _, err := split.Normalize(how); err != nil {
		return nil, usagef("--normalize: %v", err)
	}
	return split, nil
}

// program is what is trained.
type program struct {
	step, init *graph.Model
	solves     map[string]*graph.Model
	original   *graph.Model // nil where a step graph is trained without it
}

// compile reads MODEL.onnx and instruments it, or reads a step graph and its initial state.
func (f *trainFlags) compile(path string) (*program, error) {
	m, err := onnx.Read(path)
	if err != nil {
		return nil, err
	}
	if m.Metadata["asdl.contract"] != "" {
		return f.openStep(path, m)
	}
	if f.original != "" {
		return nil, usagef("--model is for step graphs; %s is a model itself", path)
	}
	mix, err := f.mix()
	if err != nil {
		return nil, err
	}
	for _, r := range rateFlags {
		if f.flags.Changed(r.flag) {
			if err := method.Set(&mix.Default, r.field, fmt.Sprint(*f.rates[r.flag])); err != nil {
				return nil, err
			}
		}
	}
	if err := mix.Validate(); err != nil {
		return nil, usagef("%v", err)
	}
	digest, err := onnx.Digest(path)
	if err != nil {
		return nil, err
	}
	o, err := f.forBatch()
	if err != nil {
		return nil, err
	}
	r, err := passes.InstrumentMix(m, mix, o, digest)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	f.config.Logits = f.options.Logits
	return &program{r.Step, r.Init, r.SolveGraphs(), m}, nil
}

// forBatch are the options of a compilation for the batch size of the training.
func (f *trainFlags) forBatch() (pass.Options, error) {
	o, err := f.resolved()
	o.Batch = int64(cmp.Or(f.config.Batch, runtime.DefaultBatch))
	return o, err
}

// openStep reads what goes with a step graph; numbers of the method are set at its inputs.
func (f *trainFlags) openStep(path string, step *graph.Model) (*program, error) {
	for _, name := range []string{"method", "preset", "set", "stagger", "async", "layer", "loss", "reduction", "label-smoothing", "ignore-index", "target", "bn", "opset", "keep-ties", "tie"} {
		if f.flags.Changed(name) {
			return nil, usagef("--%s cannot change a step graph; give it the model that %s was made from", name, path)
		}
	}
	f.config.Hyper = map[string]float64{}
	for _, r := range rateFlags {
		if f.flags.Changed(r.flag) {
			f.config.Hyper[r.input] = *f.rates[r.flag]
		}
	}
	f.config.Logits = f.options.Logits
	initPath := defaultInit(path)
	if initPath == "" {
		return nil, usagef("%s is a step graph, but its initial state %s is not there", path, strings.TrimSuffix(path, ".onnx")+".init.onnx")
	}
	init, err := onnx.Read(initPath)
	if err != nil {
		return nil, err
	}
	solves, err := openSolves(path, step)
	if err != nil {
		return nil, err
	}
	p := &program{step: step, init: init, solves: solves}
	if f.original == "" {
		return p, nil
	}
	if p.original, err = onnx.Read(f.original); err != nil {
		return nil, err
	}
	digest, err := onnx.Digest(f.original)
	if err != nil {
		return nil, err
	}
	if source := step.Metadata["asdl.source"]; source != "" && source != digest {
		return nil, usagef("%s was not made from %s: the digests differ (asdl.source %.12s, file %.12s)", path, f.original, source, digest)
	}
	return p, nil
}

// checkOutputs settles where results go, and refuses to overwrite.
func (f *trainFlags) checkOutputs(path string) error {
	input := path
	if f.original != "" {
		input = f.original
	}
	if f.out == "" {
		f.out = strings.TrimSuffix(input, ".onnx") + ".trained.onnx"
	}
	if same(f.out, path) || same(f.out, input) {
		return usagef("%s is the input file; choose another name with -o", f.out)
	}
	for _, file := range []string{f.out, f.log} {
		if file == "" {
			continue
		}
		if err := checkAbsent(file, f.force); err != nil {
			return err
		}
	}
	return nil
}

// writeTrained writes the original file with the trained weights and names it.
func writeTrained(f *trainFlags, t *runtime.Trainer, original *graph.Model) (string, error) {
	if original == nil {
		return "", nil
	}
	weights, err := t.Weights()
	if err != nil {
		return "", err
	}
	m, err := exportWeights(original, weights)
	if err != nil {
		return "", err
	}
	return f.out, onnx.Write(f.out, m, onnx.WriteOptions{Overwrite: f.force, External: original.External})
}
