package pass

import (
	"fmt"
	"maps"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
)

// Options are the settings of one compilation that are not part of the method record.
type Options struct {
	Loss   LossOptions
	Logits string // name of the model output that the loss sees; "" is the first
	Target string // name of the target input; "" is "target"

	Emit          string // "update" (parameters change) or "gradient" (preconditioned gradients only)
	OutputGrad    bool   // also output grad/PARAM
	OutputPrecond bool   // also output precond/PARAM
	Noise         string // "hash" (counter-based, from asdl/seed and the step) or "input"
	HVP           string // "tangent" (forward derivative of the gradient) or "difference" (of the gradients at two points)
	BN            string // "train" (batch statistics, running statistics updated) or "frozen"
	KeepTies      bool   // parameters that an exporter merged stay one
	Tie           string // "auto" (a copy of an embedding as last weight is tied to it again) or "none"
	Opset         int    // 0: the model's, raised to at least 17
	Inline        bool   // expand asdl functions in the exported file
	Split         bool   // separate step graphs for refresh steps instead of If
	Embed         bool   // initial state as overridable initializers of the step graph

	// Batch is the number of examples in a batch that the step graph is meant for; 0 is unknown. It decides how
	// preconditioners are applied, and makes the report tell costs; the graph takes any batch size nevertheless.
	Batch int64
	// Sizes are those of other symbolic dimensions, for the same purpose.
	Sizes map[string]int64

	Verify bool // check the invariants after each pass
}

// OptionError is an option with a value that it cannot have, by itself or for the model at hand.
type OptionError struct{ Option, Value, Want string }

// Error implements error.
func (e *OptionError) Error() string {
	return fmt.Sprintf("option %s=%s: want %s", e.Option, e.Value, e.Want)
}

// LossOptions choose and set a row of the loss table.
type LossOptions struct {
	Row            string // "cross-entropy", "mse", ..., or "output:NAME"
	Reduction      string // "mean", "rows" or "sum"
	LabelSmoothing float64
	IgnoreIndex    *int64
	ClassWeights   []float64 // one a class; nil: all 1
	Delta          float64   // of huber and smooth-l1; 0 is 1
}

// Report collects what a compilation tells its user.
type Report struct {
	Stats  []Stat
	Notes  []string    // things done that the user should know: un-merged parameters, raised opset, ...
	Layers []LayerNote // one per layer and per parameter outside layers
	Work   op.Work     // of a step, by Options.Batch: what happens on some steps alone counts for its share

	Origins []*Origin // parameters that are not in the file under their name
}

// Origin tells what a parameter is in the file.
type Origin struct {
	Param      string
	File       string // its name there, if that is another
	Transposed bool   // it is the transpose of what the program had, under a made-up name
	Merged     string // the parameter that stands for it in the file, because their values were equal
	Folded     bool   // the weight of a convolution with a BatchNormalization in it
}

// LayerNote tells how a layer or a bare parameter is treated.
type LayerNote struct {
	Layer     string   `json:"layer"`
	Kind      string   `json:"kind"` // layer kind, or "parameter" for one that no layer pattern covers
	Params    []string `json:"params"`
	Treatment string   `json:"treatment"`          // representation and solver, or the fall-back
	Fallback  bool     `json:"fallback,omitempty"` // not preconditioned by the method itself
	Reason    string   `json:"reason,omitempty"`
	Method    string   `json:"method,omitempty"` // that it follows, where layers have methods of their own
	// Cost is what the method does for the layer, by Options.Batch.
	Cost *LayerCost `json:"cost,omitempty"`
}

// LayerCost is the work of a method for one layer, apart from the passes that gradients come from.
type LayerCost struct {
	Statistics      op.Work `json:"statistics"` // on each step that looks at them
	StatisticsEvery int     `json:"statistics_every"`
	Solve           op.Work `json:"solve"` // on each step with a solve
	SolveEvery      int     `json:"solve_every"`
	Apply           op.Work `json:"apply"` // on every step
	// Ways are those of applying, the one that is taken first, where there are several.
	Ways []Way `json:"ways,omitempty"`
}

// Way is a way to apply a preconditioner.
type Way struct {
	Name  string  `json:"name"`
	Flops float64 `json:"flops"`
}

// Step is the work of a step on average.
func (c LayerCost) Step() op.Work {
	return c.Apply.Plus(c.Statistics.Times(1 / float64(c.StatisticsEvery))).Plus(c.Solve.Times(1 / float64(c.SolveEvery)))
}

// Sizes are those of the symbolic dimensions of a model for Options.Batch: the first dimension of each input is that of the
// batch. It is nil where the batch size is unknown.
func Sizes(g *graph.Graph, o Options) map[string]int64 {
	if o.Batch == 0 {
		return nil
	}
	sizes := map[string]int64{}
	maps.Copy(sizes, o.Sizes)
	for _, in := range g.Inputs() {
		if in.Const() == nil && in.Type.Ranked && in.Type.Rank() > 0 && in.Type.Dims[0].IsSymbolic() {
			sizes[in.Type.Dims[0].String()] = o.Batch
		}
	}
	return sizes
}

// Note adds a line to the report.
func (c *Ctx) Note(s string) {
	for _, n := range c.Report.Notes {
		if n == s {
			return
		}
	}
	c.Report.Notes = append(c.Report.Notes, s)
}
