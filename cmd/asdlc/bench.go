package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/asdlc/asdlc/cmd/asdlc/bench"
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/onnx"
	"github.com/asdlc/asdlc/models"
	"github.com/asdlc/asdlc/passes/loss"
	"github.com/asdlc/asdlc/passes/method"
)

// benchFlags are the flags of bench.
type benchFlags struct {
	methodFlags
	models, methods []string
	batches         []int64
	every           []int
	group           bench.Group
	limit           string
	config          bench.Config
	json            string
	plots           []string
	force, serve    bool
}

// cellFlags are passed on to the process of a cell, as they are given.
var cellFlags = []string{"preset", "loss", "bn", "size", "threads", "seed"}

func newBench(e *env) *cobra.Command {
	f := &benchFlags{}
	c := &cobra.Command{
		Use:   "bench [--models M,...] [--methods M,...] [--batch N,...] [--every T,...]",
		Short: "Measure methods beside stochastic gradient descent",
		Long: `Measure methods on models at batch sizes and intervals: time and memory of a training step, and both relative to
stochastic gradient descent, which is always measured as well.

Each cell is compiled and run in a process of its own, on a synthetic batch. The processes of one model and batch size are
up at the same time and take turns: each runs a window of steps, whole periods of its interval, then it waits. Numbers are
medians of windows; throughput relative to SGD is the median over rounds of the ratio within a round, with the extremes.
Memory is what was resident of the process's own while the steps ran, less what that was when the process had trained a
network of one number and let it go; beside it stands what asdlc plan says. Pages of the program's file do not count.

A model is a name of asdlc new, in its default size, or a file. Without --every each method has the interval of its record;
a method without an interval is measured once.

With --serve the command is one such process: it prints a line of JSON when it is ready, then answers each line of standard
input by one: a number by a window of at least that many seconds, plan by the prediction of the memory.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := f.check(); err != nil {
				return err
			}
			if f.serve {
				return e.serveBench(f)
			}
			return e.bench(f)
		},
	}
	fs := c.Flags()
	f.flags = fs
	fs.StringSliceVar(&f.models, "models", []string{"mlp"}, "models: names of asdlc new, or files")
	fs.StringSliceVar(&f.methods, "methods", []string{"kfac", "shampoo"}, "methods: names of asdlc methods, or records of your own, FILE.yaml or FILE.json")
	fs.Int64SliceVarP(&f.batches, "batch", "b", []int64{32, 128}, "batch sizes")
	fs.IntSliceVar(&f.every, "every", nil, "intervals: steps between new statistics and solves (default: those of the records)")
	fs.IntVar(&f.group.Rounds, "windows", 7, "windows of each cell")
	fs.Float64Var(&f.group.Seconds, "seconds", 0.5, "length of a window, at least")
	fs.StringVar(&f.limit, "memory-limit", "", "of the processes that take turns, together: bytes, or as in 512MiB, 8GiB (default: half the machine's)")
	fs.StringVar(&f.preset, "preset", "paper", "conventions: paper, or asdl (those of the PyTorch library ASDL)")
	fs.StringVar(&f.options.Loss.Row, "loss", "cross-entropy", "training loss: "+strings.Join(loss.Names(), ", "))
	fs.StringVar(&f.options.BN, "bn", "train", "batch normalisation: train (batch statistics) or frozen")
	fs.StringToInt64Var(&f.options.Sizes, "size", nil, "of symbolic dimensions other than the batch, as in T=128")
	fs.IntVar(&f.config.Threads, "threads", 0, "number of threads (default: one a CPU)")
	fs.Uint64Var(&f.config.Seed, "seed", 0, "of the synthetic batch")
	fs.StringVar(&f.json, "json", "", "write all numbers to this file")
	fs.StringSliceVar(&f.plots, "plot", nil, "draw throughput and memory relative to SGD into these files: .png, .svg, .html")
	fs.BoolVar(&f.serve, "serve", false, "measure one cell at the command of another program")
	fs.BoolVarP(&f.force, "force", "f", false, "overwrite existing files")
	return c
}

// check refuses values that cannot be, before anything runs.
func (f *benchFlags) check() error {
	if len(f.models) == 0 || len(f.methods) == 0 || len(f.batches) == 0 {
		return usagef("--models, --methods and --batch: want at least one of each")
	}
	for _, n := range f.batches {
		if n < 1 {
			return usagef("--batch %d: want at least 1", n)
		}
	}
	for _, n := range f.every {
		if n < 1 {
			return usagef("--every %d: want at least 1", n)
		}
	}
	if f.group.Rounds < 1 || !(f.group.Seconds >= 0) || f.config.Threads < 0 {
		return usagef("--windows %d, --seconds %g, --threads %d: want at least 1 window, and nothing negative", f.group.Rounds, f.group.Seconds, f.config.Threads)
	}
	if f.serve && (len(f.models) > 1 || len(f.methods) > 1 || len(f.batches) > 1 || len(f.every) > 1) {
		return usagef("--serve is for one cell: one model, method, batch size and interval")
	}
	for _, path := range f.plots {
		if !slices.Contains(bench.Formats(), strings.ToLower(filepath.Ext(path))) {
			return usagef("--plot %s: want a name that ends in %s", path, strings.Join(bench.Formats(), ", "))
		}
	}
	for _, path := range append([]string{f.json}, f.plots...) {
		if path == "" {
			continue
		}
		if err := checkAbsent(path, f.force); err != nil {
			return err
		}
	}
	var err error
	f.group.Limit, err = parseBytes(f.limit)
	return err
}

// serveBench is the process of one cell.
func (e *env) serveBench(f *benchFlags) error {
	if err := bench.Wake(f.config.Threads); err != nil {
		return err
	}
	f.config.Idle = bench.Used()
	every := 0
	if len(f.every) > 0 {
		every = f.every[0]
	}
	rec, err := f.recordEvery(f.methods[0], every)
	if err != nil {
		return err
	}
	m, batches, err := f.openModel(f.models[0])
	if err != nil {
		return err
	}
	f.options.Batch = batches[0]
	open := func() (*graph.Model, error) {
		if first := m; first != nil {
			m = nil // to be let go of once it is compiled
			return first, nil
		}
		again, _, err := f.openModel(f.models[0])
		return again, err
	}
	w, err := bench.NewWorker(open, rec, f.options, f.config)
	if err != nil {
		return err
	}
	defer func() { _ = w.Close() }()
	return bench.Serve(w, os.Stdin, e.stdout)
}

// recordEvery is the record of a method with an interval, also in place of solves at random; 0 is its own.
func (f *benchFlags) recordEvery(name string, every int) (method.Record, error) {
	if every == 0 || name == "sgd" {
		return f.lookup(name, nil)
	}
	return f.lookup(name, []string{
		"solve.probability.floor=0", "solve.probability.decay=0", "solve.probability.flat=0", "every=" + strconv.Itoa(every),
	})
}

// openModel reads or builds a model, and tells at which batch sizes it is measured.
func (f *benchFlags) openModel(name string) (*graph.Model, []int64, error) {
	var m *graph.Model
	var err error
	if slices.Contains(models.Names(), name) {
		m, err = models.Build(name, models.Options{})
	} else if m, err = onnx.Read(name); errors.Is(err, os.ErrNotExist) && filepath.Ext(name) == "" {
		return nil, nil, usagef("--models %s: neither a file nor one of %s", name, strings.Join(models.Names(), ", "))
	}
	if err != nil {
		return nil, nil, err
	}
	batches := f.batches
	if in, n := batchInput(m); in != nil {
		if f.flags.Changed("batch") && !slices.Equal(batches, []int64{n}) {
			return nil, nil, usagef("--batch: the input %s of %s fixes %d", in, name, n)
		}
		batches = []int64{n}
	}
	o := f.options
	o.Batch = batches[0]
	return m, batches, checkSizes(m, o)
}

// cells lists what is measured on one model at one batch size, stochastic gradient descent first.
func (f *benchFlags) cells(model string, batch int64) ([]bench.Cell, error) {
	cells := []bench.Cell{{Model: model, Batch: batch, Method: "sgd"}}
	every := f.every
	if len(every) == 0 {
		every = []int{0}
	}
	for _, name := range f.methods {
		if name == "sgd" {
			continue
		}
		if _, err := f.recordEvery(name, 0); err != nil {
			return nil, err
		}
		some := false
		for _, t := range every {
			if _, err := f.recordEvery(name, t); err == nil {
				cells = append(cells, bench.Cell{Model: model, Batch: batch, Method: name, Every: t})
				some = true
			}
		}
		if !some { // the method refuses all of them
			cells = append(cells, bench.Cell{Model: model, Batch: batch, Method: name})
		}
	}
	return cells, nil
}

// command is the process of a cell.
func (f *benchFlags) command(c bench.Cell) *exec.Cmd {
	args := []string{"bench", "--serve", "--models", c.Model, "--methods", c.Method, "--batch", strconv.FormatInt(c.Batch, 10)}
	if c.Every > 0 {
		args = append(args, "--every", strconv.Itoa(c.Every))
	}
	f.flags.Visit(func(flag *pflag.Flag) {
		if slices.Contains(cellFlags, flag.Name) {
			args = append(args, "--"+flag.Name, strings.Trim(flag.Value.String(), "[]"))
		}
	})
	program, err := os.Executable()
	if err != nil {
		program = os.Args[0]
	}
	return exec.Command(program, args...)
}

// benchReport is the JSON form of a bench.
type benchReport struct {
	buildVersion
	CPU     string          `json:"cpu,omitempty"`
	Cores   int             `json:"cores"`
	Preset  string          `json:"preset"`
	Windows int             `json:"windows"`
	Seconds float64         `json:"seconds"`
	Seed    uint64          `json:"seed"`
	Rate    float64         `json:"learning_rate"`
	Results []*bench.Result `json:"results"`
}

// bench measures all cells, group by group, and prints and writes what it has after each. Where some fail, the others go on.
func (e *env) bench(f *benchFlags) error {
	groups, err := f.groups()
	if err != nil {
		return err
	}
	progress := newProgress(e.stderr)
	f.group.Command, f.group.Progress = f.command, progress.say
	if f.limit == "" {
		f.group.Limit = machineMemory() / 2
	}
	r := benchReport{
		buildVersion: thisVersion(), CPU: procField("/proc/cpuinfo", "model name"), Cores: runtime.NumCPU(), Preset: f.preset,
		Windows: f.group.Rounds, Seconds: f.group.Seconds, Seed: f.config.Seed, Rate: bench.Rate,
	}
	fmt.Fprintf(e.stdout, "asdlc %s, %s, %s, %d CPUs; %d windows of at least %g s\n", r.Version, r.Go, r.CPU, r.Cores, r.Windows, r.Seconds)
	var failed error
	for _, cells := range groups {
		results, err := f.group.Measure(cells)
		progress.clear()
		printResults(e.stdout, results)
		r.Results = append(r.Results, results...)
		if err := f.write(&r); err != nil {
			return err
		}
		if failed == nil { // the table has the others
			failed = err
		}
	}
	return failed
}

// groups lists the cells, one list for each model and batch size. What the command line has wrong shows here.
func (f *benchFlags) groups() ([][]bench.Cell, error) {
	var groups [][]bench.Cell
	for _, name := range f.models {
		_, batches, err := f.openModel(name)
		if err != nil {
			return nil, err
		}
		for _, n := range batches {
			cells, err := f.cells(name, n)
			if err != nil {
				return nil, err
			}
			groups = append(groups, cells)
		}
	}
	return groups, nil
}

// write writes the files that are asked for, each to a temporary file first.
func (f *benchFlags) write(r *benchReport) error {
	if f.json != "" {
		var b bytes.Buffer
		if err := printJSON(&b, r); err != nil {
			return err
		}
		if err := writeFile(f.json, b.Bytes()); err != nil {
			return err
		}
	}
	for _, path := range f.plots {
		var b bytes.Buffer
		if err := bench.Figure(&b, strings.ToLower(filepath.Ext(path)), r.Results); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if err := writeFile(path, b.Bytes()); err != nil {
			return err
		}
	}
	return nil
}
