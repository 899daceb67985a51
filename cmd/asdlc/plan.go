package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/onnx"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes"
	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/runtime"
)

// planFlags are the flags of plan.
type planFlags struct {
	methodFlags
	machine machine
	limit   string
	threads int
	asJSON  bool
}

// machine is what times are estimated by: a node takes as long as its operations or its bytes, whatever is longer.
type machine struct {
	Gflops    float64 `json:"gflops"`    // of matrix products and convolutions, all threads together
	Bandwidth float64 `json:"bandwidth"` // of memory, GB/s
}

// elementRate is the speed of other operations, as a share of that of matrix products.
const elementRate = 0.1

// seconds estimates how long some work takes.
func (m machine) seconds(w op.Work) float64 {
	compute := w.Matmul/(m.Gflops*1e9) + (w.Flops-w.Matmul)/(elementRate*m.Gflops*1e9)
	return max(compute, w.Bytes/(m.Bandwidth*1e9))
}

func newPlan(e *env) *cobra.Command {
	f := &planFlags{}
	c := &cobra.Command{
		Use:   "plan MODEL.onnx --method M --batch N",
		Short: "Predict state, cost and memory of a training step",
		Long: `Compile a model by a method, run nothing, and tell what a training step will take: for each layer the state, the
operations of its statistics, of the solve and of the application, and how often each is done; and for the whole step
the operations beside those of stochastic gradient descent, the peak of the memory as this runtime will lay it out, and
which parameters the method does not cover.

Operations are counted in the compiled step; what is done on some steps alone counts for its share. Times are estimates
by a simple machine (--gflops, --bandwidth): compare them with each other.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return e.plan(f, args[0]) },
	}
	fs := c.Flags()
	f.register(fs)
	fs.Int64VarP(&f.options.Batch, "batch", "b", runtime.DefaultBatch, "batch size")
	fs.StringToInt64Var(&f.options.Sizes, "size", nil, "of other symbolic dimensions, as in T=128")
	fs.StringVar(&f.limit, "memory-limit", "", "fail if the step needs more memory: bytes, or as in 512MiB, 8GiB")
	fs.IntVar(&f.threads, "threads", 0, "number of threads (default: one a CPU)")
	fs.Float64Var(&f.machine.Gflops, "gflops", 50, "speed of matrix products, for time estimates")
	fs.Float64Var(&f.machine.Bandwidth, "bandwidth", 10, "of memory in GB/s, for time estimates")
	fs.BoolVar(&f.asJSON, "json", false, "print as JSON")
	return c
}

func (e *env) plan(f *planFlags, path string) error {
	limit, err := parseBytes(f.limit)
	if err != nil {
		return err
	}
	if f.options.Batch < 1 || !(f.machine.Gflops > 0) || !(f.machine.Bandwidth > 0) {
		return usagef("--batch %d, --gflops %g, --bandwidth %g: want more than 0", f.options.Batch, f.machine.Gflops, f.machine.Bandwidth)
	}
	mix, err := f.mix()
	if err != nil {
		return err
	}
	m, err := onnx.Read(path)
	if err != nil {
		return err
	}
	if err := f.fixedBatch(m); err != nil {
		return err
	}
	p, err := makePlan(m, mix, f)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if f.asJSON {
		err = printJSON(e.stdout, p)
	} else {
		p.print(e.stdout)
	}
	if limit > 0 && p.MemoryTotal > limit {
		return fmt.Errorf("%s: a step needs %s, the limit is %s; use a smaller batch, longer sides split (representation.max_side), or another method for the largest layers",
			path, byteSize(int(p.MemoryTotal)), byteSize(int(limit)))
	}
	return err
}

// fixedBatch takes over the batch size that a model fixes, and asks for the sizes of dimensions that are not the batch's.
func (f *planFlags) fixedBatch(m *graph.Model) error {
	if in, n := batchInput(m); in != nil {
		if f.flags.Changed("batch") && n != f.options.Batch {
			return usagef("--batch %d: the model's input %s fixes %d", f.options.Batch, in, n)
		}
		f.options.Batch = n
	}
	return checkSizes(m, f.options)
}

// batchInput is the input of a model that fixes the batch size, and that size; nil if none does.
func batchInput(m *graph.Model) (*graph.Value, int64) {
	for _, in := range m.Graph.Inputs() {
		if in.Const() != nil || !in.Type.Ranked || in.Type.Rank() == 0 {
			continue
		}
		if n, ok := in.Type.Dims[0].Size(); ok {
			return in, n
		}
	}
	return nil, 0
}

// checkSizes asks for the sizes of dimensions that are not the batch's.
func checkSizes(m *graph.Model, o pass.Options) error {
	sizes := pass.Sizes(m.Graph, o)
	for _, in := range m.Graph.Inputs() {
		if in.Const() != nil {
			continue
		}
		for _, d := range in.Type.Dims {
			if _, ok := d.At(sizes); !ok {
				return usagef("input %s of type %s: give the size of %s, as in --size %s=128", in, in.Type, d, d)
			}
		}
	}
	return nil
}

// stepPlan is the JSON form of a plan.
type stepPlan struct {
	Method string      `json:"method"`
	Batch  int64       `json:"batch"`
	Layers []planLayer `json:"layers"`

	StateBytes  int            `json:"state_bytes"` // of optimiser and curvature
	Memory      runtime.Memory `json:"memory"`
	MemoryTotal int64          `json:"memory_total"`

	Work     op.Work  `json:"work"` // of a step on average
	SGD      op.Work  `json:"sgd"`  // of a step of stochastic gradient descent
	Overhead float64  `json:"overhead"`
	Seconds  float64  `json:"seconds"`
	SGDTime  float64  `json:"sgd_seconds"`
	Machine  machine  `json:"machine"`
	Covered  coverage `json:"coverage"`
}

type planLayer struct {
	passes.PlanBlock
	Parameters int     `json:"parameters"` // numbers
	StepFlops  float64 `json:"step_flops"` // on average
	Seconds    float64 `json:"seconds"`
}

// coverage counts the numbers in parameters that the method covers, and those that got a fall-back, by fall-back and reason.
type coverage struct {
	Parameters int        `json:"parameters"`
	Covered    int        `json:"covered"`
	Fallbacks  []fallback `json:"fallbacks"`
}

type fallback struct {
	Treatment  string `json:"treatment"`
	Reason     string `json:"reason"`
	Parameters int    `json:"parameters"`
	Layers     int    `json:"layers"`
}

func makePlan(m *graph.Model, mix method.Mix, f *planFlags) (*stepPlan, error) {
	o, err := f.resolved()
	if err != nil {
		return nil, err
	}
	r, err := passes.InstrumentMix(m, mix, o, "")
	if err != nil {
		return nil, err
	}
	sgd, _ := method.Lookup("sgd")
	base, err := passes.Instrument(m, sgd, o, "")
	if err != nil {
		return nil, err
	}
	p := &stepPlan{
		Method: mix.Default.Name, Batch: f.options.Batch, Layers: []planLayer{}, Machine: f.machine,
		Work: r.Report.Work, SGD: base.Report.Work, Covered: coverage{Fallbacks: []fallback{}},
	}
	p.Overhead = p.Work.Flops/p.SGD.Flops - 1
	p.Seconds, p.SGDTime = f.machine.seconds(p.Work), f.machine.seconds(p.SGD)
	blocks, err := passes.StateBlocks(r)
	if err != nil {
		return nil, err
	}
	counts := map[string]int{}
	for _, in := range r.Step.Graph.Inputs() {
		if shape, ok := in.Type.Static(); ok {
			n, _ := graph.CountOf(shape, 1)
			counts[in.Name] = int(n)
		}
	}
	for _, b := range blocks {
		l := planLayer{PlanBlock: b}
		for _, name := range b.Params {
			l.Parameters += counts[name]
		}
		work := b.Cost.Step()
		l.StepFlops, l.Seconds = work.Flops, f.machine.seconds(work)
		p.StateBytes += b.Bytes
		p.Layers = append(p.Layers, l)
		p.Covered.add(l)
	}
	sizes := pass.Sizes(r.Step.Graph, f.options)
	p.Memory, err = runtime.PredictMemory(r.Step, sizes, runtime.Options{Threads: f.threads, Outputs: r.Fetches()})
	p.MemoryTotal = p.Memory.Total()
	return p, err
}

func (c *coverage) add(l planLayer) {
	c.Parameters += l.Parameters
	if !l.Fallback {
		c.Covered += l.Parameters
		return
	}
	i := slices.IndexFunc(c.Fallbacks, func(f fallback) bool { return f.Treatment == l.Treatment && f.Reason == l.Reason })
	if i < 0 {
		c.Fallbacks = append(c.Fallbacks, fallback{Treatment: l.Treatment, Reason: l.Reason})
		i = len(c.Fallbacks) - 1
	}
	c.Fallbacks[i].Parameters += l.Parameters
	c.Fallbacks[i].Layers++
}

func (p *stepPlan) print(w io.Writer) {
	t := newTable("layer", "kind", "method", "state", "bytes", "statistics", "solve", "apply", "a step", "way")
	for _, l := range p.Layers {
		treatment := cmp.Or(l.Method, p.Method)
		if l.Fallback {
			treatment = "fall-back: " + l.Treatment
		}
		c := l.Cost
		t.add(l.Layer, l.Kind, treatment, slots(l.Factors), byteSize(l.Bytes), often(c.Statistics, c.StatisticsEvery), often(c.Solve, c.SolveEvery),
			flops(c.Apply.Flops), flops(l.StepFlops), ways(c.Ways))
	}
	t.write(w)
	fmt.Fprintf(w, "\nbatch %d, %s\n", p.Batch, p.Method)
	t = newTable()
	t.add("state of optimiser and curvature", byteSize(p.StateBytes))
	t.add("peak memory", fmt.Sprintf("%s: activations and scratch %s, parameters and state %s, batch %s, constants %s, program %s", byteSize(int(p.MemoryTotal)),
		byteSize(int(p.Memory.Arena)), byteSize(int(p.Memory.States)), byteSize(int(p.Memory.Inputs)), byteSize(int(p.Memory.Constants)), byteSize(int(p.Memory.Program+p.Memory.Heap))))
	t.add("operations of a step", fmt.Sprintf("%s, sgd %s: %+.0f %%", flops(p.Work.Flops), flops(p.SGD.Flops), 100*p.Overhead))
	t.add("estimated time of a step", fmt.Sprintf("%s, sgd %s: x %.2f (%g GFLOP/s, %g GB/s)", duration(p.Seconds), duration(p.SGDTime), p.Seconds/p.SGDTime, p.Machine.Gflops, p.Machine.Bandwidth))
	t.add("parameters under the method", fmt.Sprintf("%.1f %% of %d", 100*float64(p.Covered.Covered)/float64(max(1, p.Covered.Parameters)), p.Covered.Parameters))
	for _, f := range p.Covered.Fallbacks {
		t.add("  fall-back "+f.Treatment, fmt.Sprintf("%d in %d: %s", f.Parameters, f.Layers, f.Reason))
	}
	if n := p.Work.Unsized; n > 0 {
		t.add("not counted", fmt.Sprintf("%d nodes of unknown size", n))
	}
	t.write(w)
}

// slots lists the curvature state of a layer, or sums it up where there is much.
func slots(factors []passes.Factor) string {
	var list []string
	largest := passes.Factor{}
	for _, f := range factors {
		if len(f.Shape) > 0 && f.Kind == "curvature" {
			list = append(list, f.Name[strings.LastIndexByte(f.Name, '/')+1:]+" "+shapeText(f.Shape))
			if f.Bytes > largest.Bytes {
				largest = f
			}
		}
	}
	if len(list) > 6 {
		return fmt.Sprintf("%d matrices up to %s", len(list), shapeText(largest.Shape))
	}
	return dash(strings.Join(list, ", "))
}

// often writes work that is done every so many steps.
func often(w op.Work, every int) string {
	if w.Flops == 0 {
		return "-"
	}
	if every > 1 {
		return fmt.Sprintf("%s /%d", flops(w.Flops), every)
	}
	return flops(w.Flops)
}

// ways names the way that is taken, and what the others would cost.
func ways(list []pass.Way) string {
	if len(list) == 0 {
		return "-"
	}
	var others []string
	for _, w := range list[1:] {
		others = append(others, w.Name+" "+flops(w.Flops))
	}
	text := fmt.Sprintf("%s %s", list[0].Name, flops(list[0].Flops))
	if len(others) > 0 {
		text += " (" + strings.Join(others, ", ") + ")"
	}
	return text
}

// flops writes a number of operations: 12.3M.
func flops(n float64) string {
	for _, unit := range []struct {
		size float64
		name string
	}{{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if n >= unit.size {
			return fmt.Sprintf("%.3g%s", n/unit.size, unit.name)
		}
	}
	return fmt.Sprintf("%.3g", n)
}

func duration(seconds float64) string {
	if seconds >= 1 {
		return fmt.Sprintf("%.3g s", seconds)
	}
	return fmt.Sprintf("%.3g ms", 1000*seconds)
}

// parseBytes reads a size: bytes, or with KiB, MiB, GiB. "" is 0.
func parseBytes(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	var n float64
	var unit string
	if _, err := fmt.Sscanf(text+" ", "%g%s", &n, &unit); err != nil && unit != "" || !(n > 0) {
		return 0, usagef("--memory-limit %s: want bytes, or as in 512MiB, 8GiB", text)
	}
	factor, ok := map[string]float64{"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}[unit]
	if !ok {
		return 0, usagef("--memory-limit %s: want bytes, or as in 512MiB, 8GiB", text)
	}
	return int64(n * factor), nil
}
