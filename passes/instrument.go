package passes

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/cleanup"
	"github.com/asdlc/asdlc/passes/legalize"
	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/passes/precondition"
)

// Version is written into the metadata of step graphs.
const Version = "0.1.0"

// Result is a compiled training step.
type Result struct {
	Step     *graph.Model // the step graph; under Split the one of steps on which no clock ticks
	Init     *graph.Model // initial values of its non-data inputs
	Variants []Variant    // under Split: the other step graphs
	Clocks   []Clock      // the intervals longer than one step; none if all steps are alike
	Solves   []Variant    // of methods with solve.delay: what a host computes beside its steps, by clock
	Report   *pass.Report
}

// SolveGraphs are the graphs of delayed solves by name, as the runtime takes them.
func (r *Result) SolveGraphs() map[string]*graph.Model {
	graphs := map[string]*graph.Model{}
	for _, v := range r.Solves {
		graphs[v.Name] = v.Model
	}
	return graphs
}

// Variant is the step graph for steps on which certain clocks tick.
type Variant struct {
	Name  string // for the file name: "refresh", or the ticking clocks joined by "-"
	Model *graph.Model
}

// Clock is an interval on which a step graph depends; metadata "asdl.clocks" of split step graphs lists them.
type Clock struct {
	Name     string `json:"name"`
	Every    int64  `json:"every"`
	Warmup   int64  `json:"warmup,omitempty"`
	Phase    int64  `json:"phase,omitempty"`
	Schedule string `json:"schedule,omitempty"`
}

// Ticks reports whether the clock ticks at a step.
func (c Clock) Ticks(step int64) bool {
	return legalize.Tick(c.Every, c.Warmup, c.Phase, c.Schedule, step)
}

// Fetches names the outputs that a training asks for beside the next states, which a session always computes: the model's, and
// the loss.
func (r *Result) Fetches() []string {
	var names []string
	for _, v := range r.Step.Graph.Outputs() {
		if !strings.HasSuffix(v.Name, "/next") {
			names = append(names, v.Name)
		}
	}
	return names
}

// Instrument compiles the training step of a model by a method. The model is not changed. source is the digest of the
// file it came from, for the metadata; it may be empty.
func Instrument(m *graph.Model, rec method.Record, o pass.Options, source string) (*Result, error) {
	return InstrumentMix(m, method.Mix{Default: rec}, o, source)
}

// InstrumentMix is Instrument with methods of their own for some layers.
func InstrumentMix(m *graph.Model, mix method.Mix, o pass.Options, source string) (*Result, error) {
	if err := mix.Validate(); err != nil {
		return nil, err
	}
	o, err := withDefaults(o)
	if err != nil {
		return nil, err
	}
	for v := range m.Graph.Values() {
		if strings.HasPrefix(v.Name, pass.Prefix) {
			return nil, fmt.Errorf("%w: the model has a value %s; names with %s are those of step graphs: instrument the model that this one was made from, or rename the value",
				graph.ErrUnsupported, v, pass.Prefix)
		}
	}
	c := &pass.Ctx{Options: o, Report: &pass.Report{}}
	t := graph.Clone(m)
	t.Metadata = map[string]string{"asdl.version": Version}
	mix.Write(t.Metadata)
	if source != "" {
		t.Metadata["asdl.source"] = source
	}
	t.Producer, t.Version = "asdlc", Version
	for _, table := range [][]pass.Pass{Read, Train} {
		if err := pass.RunTable(c, t, table); err != nil {
			return nil, err
		}
	}
	r := &Result{Report: c.Report, Clocks: clocksOf(t)}
	if sizes := pass.Sizes(t.Graph, o); sizes != nil {
		c.Report.Work = precondition.Counter(sizes).Graph(t.Graph)
	}
	if r.Init, err = legalize.Initial(c, t); err != nil {
		return nil, err
	}
	if err := delayed(c, t, r); err != nil {
		return nil, err
	}
	if o.Split {
		return r, split(c, t, r)
	}
	r.Step = t
	return r, export(c, t)
}

// export legalizes one tagged step graph.
func export(c *pass.Ctx, m *graph.Model) error {
	var defaults map[string]*graph.Tensor
	if c.Options.Embed {
		defaults = legalize.InitialTensors(c, m)
	}
	if err := pass.RunTable(c, m, Export); err != nil {
		return err
	}
	if c.Options.Inline {
		if err := legalize.InlineFunctions(m); err != nil {
			return err
		}
	}
	legalize.UniqueNames(m)
	for _, in := range m.Graph.Inputs() {
		if t := defaults[in.Name]; t != nil {
			m.Graph.SetDefault(in, t)
		}
	}
	return graph.Verify(m)
}

// split makes one step graph for each combination of ticking clocks that occurs.
func split(c *pass.Ctx, t *graph.Model, r *Result) error {
	text, err := json.Marshal(r.Clocks)
	if err != nil {
		return err
	}
	for _, ticking := range combinations(r.Clocks) {
		v := graph.Clone(t)
		name := variantName(r.Clocks, ticking)
		v.Metadata["asdl.clocks"] = string(text)
		v.Metadata["asdl.variant"] = name
		legalize.FixClocks(v, ticking)
		if err := pass.RunTable(c, v, []pass.Pass{cleanup.Pass}); err != nil {
			return err
		}
		legalize.DropUnchanged(v)
		if err := export(c, v); err != nil {
			return err
		}
		if name == "" {
			r.Step = v
		} else {
			r.Variants = append(r.Variants, Variant{name, v})
		}
	}
	if r.Step == nil { // some clock ticks on every step
		r.Step, r.Variants = r.Variants[0].Model, r.Variants[1:]
	}
	return nil
}

func clocksOf(m *graph.Model) []Clock {
	var clocks []Clock
	seen := map[string]bool{}
	for _, n := range pass.Clocks(m.Graph) {
		if c := clockOf(n); !seen[c.Name] {
			seen[c.Name] = true
			clocks = append(clocks, c)
		}
	}
	return clocks
}

func clockOf(n *graph.Node) Clock {
	return Clock{n.Str("clock", ""), n.Int("every", 1), n.Int("warmup", 0), n.Int("phase", 0), n.Str("schedule", "")}
}

// combinations lists the sets of clocks that tick together on some step, as bits by clock name. A set is looked for up to
// the first step after which everything repeats, or 100,000 steps.
func combinations(clocks []Clock) []map[string]bool {
	period, start := int64(1), int64(0)
	for _, c := range clocks {
		every := max(c.Every, 1)
		period = period / gcd(period, every) * every
		start = max(start, c.Warmup+1, int64(len(c.Schedule)))
		period = min(period, 100000)
	}
	seen := map[string]bool{}
	var sets []map[string]bool
	for step := range start + period + 1 {
		set := map[string]bool{}
		for _, c := range clocks {
			set[c.Name] = c.Ticks(step)
		}
		if key := variantName(clocks, set) + "."; !seen[key] {
			seen[key] = true
			sets = append(sets, set)
		}
	}
	return sets
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// variantName names a set of ticking clocks; "" is the empty set.
func variantName(clocks []Clock, ticking map[string]bool) string {
	var names []string
	for _, c := range clocks {
		if ticking[c.Name] {
			names = append(names, c.Name)
		}
	}
	if len(names) == len(clocks) && len(names) > 0 {
		return "refresh"
	}
	return strings.Join(names, "-")
}

// VariantAt names the variant of split step graphs that is due at a step.
func VariantAt(clocks []Clock, step int64) string {
	ticking := map[string]bool{}
	for _, c := range clocks {
		ticking[c.Name] = c.Ticks(step)
	}
	return variantName(clocks, ticking)
}

func withDefaults(o pass.Options) (pass.Options, error) {
	set := func(field *string, name, def string, values ...string) error {
		if *field == "" {
			*field = def
		}
		for _, v := range values {
			if *field == v {
				return nil
			}
		}
		return &pass.OptionError{Option: name, Value: *field, Want: "one of " + strings.Join(values, ", ")}
	}
	for _, f := range []struct {
		field     *string
		name, def string
		values    []string
	}{
		{&o.Loss.Reduction, "reduction", "mean", []string{"mean", "sum", "rows"}},
		{&o.Emit, "emit", "update", []string{"update", "gradient"}},
		{&o.Noise, "noise", "hash", []string{"hash", "input"}},
		{&o.HVP, "hvp", "tangent", []string{"tangent", "difference"}},
		{&o.BN, "bn", "train", []string{"train", "frozen"}},
	} {
		if err := set(f.field, f.name, f.def, f.values...); err != nil {
			return o, err
		}
	}
	if o.Loss.Row == "" {
		o.Loss.Row = "cross-entropy"
	}
	return o, nil
}
