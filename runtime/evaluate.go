package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/data"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// Score is how well a model classifies a data set.
type Score struct {
	Loss     float64 `json:"loss"` // mean cross-entropy of the softmax of the scores
	Accuracy float64 `json:"accuracy"`
	Samples  int     `json:"samples"`
}

// Evaluator measures a classifier in its inference form: BatchNormalization by running statistics, no Dropout.
type Evaluator struct {
	session   *Session
	x         *batchInput
	scores    string
	classes   int
	batch     int
	weights   []string
	threshold *float64 // with one score of two classes
}

// EvaluatorConfig says how an Evaluator runs. The zero value is usable.
type EvaluatorConfig struct {
	Batch   int    // samples at a time; 0 is 512, or what the model fixes
	Logits  string // output of class scores; "" is the first of type float [N, classes]
	Threads int    // as in Options
	// Threshold is for models with one score of two classes: class 1 is predicted above it. 0, which nil stands for, says
	// that scores are logits, anything else that they are probabilities. It is not asked of a model that ends in Sigmoid.
	Threshold *float64
	// Weights lists initializers that are given later, and again, by SetWeights.
	Weights []string
}

// logitsOf is what is before a Softmax over the classes, scores [N, classes], so that the loss of a model that returns
// probabilities is theirs.
func logitsOf(scores *graph.Value) *graph.Value {
	v := scores
	for n := v.Def(); n != nil; n = v.Def() {
		switch axis := n.Int("axis", -1); {
		case n.Is("", "Identity"):
			v = n.In(0)
		case n.Is("", "Sigmoid") && isSingle(scores):
			return n.In(0)
		case (n.Is("", "Softmax") || n.Is("", "LogSoftmax")) && (axis == 1 || axis == -1):
			if !n.In(0).Type.Ranked {
				return scores
			}
			return n.In(0)
		default:
			return scores
		}
	}
	return scores
}

func isSingle(scores *graph.Value) bool {
	n, ok := lastDim(scores.Type)
	return ok && n == 1
}

// NewEvaluator prepares m, which is not changed, for samples like those of the split; it fits the samples to the input
// of m and checks the labels.
func NewEvaluator(m *graph.Model, split *data.Split, config EvaluatorConfig) (*Evaluator, error) {
	c := InferenceForm(m)
	scores, classes, err := findScores(c, config.Logits)
	if err != nil {
		return nil, located(m, err)
	}
	var threshold *float64
	if logits := logitsOf(scores); classes == 1 {
		threshold = new(float64)
		if logits == scores && config.Threshold != nil {
			threshold = config.Threshold
		}
	}
	scores = logitsOf(scores)
	c.Graph.SetOutputs(scores)
	if err := weightsAsInputs(c.Graph, config.Weights); err != nil {
		return nil, located(m, err)
	}
	s, err := NewSession(c, Options{Threads: config.Threads})
	if err != nil {
		return nil, err
	}
	e := &Evaluator{session: s, scores: scores.Name, classes: classes, batch: config.Batch, weights: config.Weights, threshold: threshold}
	if err := e.prepare(split); err != nil {
		_ = s.Close()
		return nil, located(m, err)
	}
	return e, nil
}

// findScores is the output of that name, or the first that looks like class scores.
func findScores(m *graph.Model, name string) (*graph.Value, int, error) {
	for _, v := range m.Graph.Outputs() {
		if name != "" && v.Name != name {
			continue
		}
		if n, ok := lastDim(v.Type); ok && v.Type.Elem.IsFloat() {
			return v, n, nil
		}
		if name != "" {
			return nil, 0, fmt.Errorf("%w: output %q is %s, want class scores, float [N, classes]", ErrFeed, name, v.Type)
		}
	}
	if name != "" {
		return nil, 0, fmt.Errorf("%w: no output %q", ErrFeed, name)
	}
	return nil, 0, fmt.Errorf("%w: no output of class scores, float [N, classes]", ErrFeed)
}

// weightsAsInputs makes the named initializers inputs.
func weightsAsInputs(g *graph.Graph, names []string) error {
	byName := map[string]*graph.Value{}
	for _, v := range g.Initializers() {
		byName[v.Name] = v
	}
	for _, name := range names {
		v := byName[name]
		if v == nil {
			return fmt.Errorf("%w: no initializer %q", ErrFeed, name)
		}
		if v.IsInitializer() {
			g.MakeInput(v)
		}
	}
	return nil
}

func (e *Evaluator) prepare(split *data.Split) error {
	weight := map[string]bool{}
	for _, name := range e.weights {
		weight[name] = true
	}
	var x *Port
	for _, p := range e.session.Inputs() {
		if weight[p.Name] || p.Optional {
			continue
		}
		if x != nil {
			return fmt.Errorf("%w: two inputs, %q and %q: evaluation feeds one", ErrFeed, x.Name, p.Name)
		}
		x = &p
	}
	if x == nil {
		return fmt.Errorf("%w: no input for the samples", ErrFeed)
	}
	if err := fit(split, *x, max(e.classes, 2)); err != nil {
		return err
	}
	if n, ok := x.Type.Dims[0].Size(); ok {
		e.batch = int(n)
	} else if e.batch == 0 {
		e.batch = 512
	}
	var err error
	if e.x, err = newBatchInput(*x, split.Train, e.batch); err != nil {
		return err
	}
	return e.session.Bind(x.Name, e.x.tensor)
}

// Close frees what the evaluator holds.
func (e *Evaluator) Close() error { return e.session.Close() }

// SetWeights gives the initializers listed in the configuration; they are read, not copied, until they are set again.
func (e *Evaluator) SetWeights(weights map[string]*kernel.Tensor) error {
	for _, name := range e.weights {
		if err := e.session.Bind(name, weights[name]); err != nil {
			return err
		}
	}
	return nil
}

// Evaluate runs the model over a data set. A last batch that is not full is filled up with samples that do not count.
func (e *Evaluator) Evaluate(ctx context.Context, d *data.Dataset) (Score, error) {
	loader, err := data.NewLoader(d, data.LoaderConfig{Batch: e.batch, Epochs: 1})
	if err != nil {
		return Score{}, err
	}
	defer loader.Close()
	var s Score
	correct := 0
	for {
		b, err := loader.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return Score{}, err
		}
		e.x.fill(b.Images)
		if err := e.session.Step(); err != nil {
			return Score{}, err
		}
		scores, err := e.session.Output(e.scores)
		if err != nil {
			return Score{}, err
		}
		hits, loss := judge(scores, b.Labels, e.classes, e.threshold)
		correct += hits
		s.Loss += loss
		s.Samples += len(b.Labels)
	}
	s.Loss /= float64(s.Samples)
	s.Accuracy = float64(correct) / float64(s.Samples)
	return s, nil
}

// judge counts the rows whose largest score is that of the label, and sums the cross-entropies of the softmax. With a
// threshold, rows have one score of two classes.
func judge(scores *kernel.Tensor, labels []int64, classes int, threshold *float64) (correct int, loss float64) {
	switch scores.Elem {
	case graph.Float32:
		return judgeRows(kernel.Data[float32](scores), labels, classes, threshold)
	case graph.Float64:
		return judgeRows(kernel.Data[float64](scores), labels, classes, threshold)
	}
	wide, _ := scores.Const().Float64s()
	return judgeRows(wide, labels, classes, threshold)
}

func judgeRows[T ~float32 | ~float64](scores []T, labels []int64, classes int, threshold *float64) (correct int, loss float64) {
	if threshold != nil {
		return judgeSingle(scores, labels, *threshold)
	}
	for i, label := range labels {
		row := scores[i*classes : (i+1)*classes]
		best, top := 0, row[0]
		for k, v := range row {
			if v > top {
				best, top = k, v
			}
		}
		var sum float64
		for _, v := range row {
			sum += math.Exp(float64(v - top))
		}
		loss += math.Log(sum) - float64(row[label]-top)
		// A row of NaN is never right: its best is class 0 for want of a larger one.
		if int64(best) == label && sum-sum == 0 {
			correct++
		}
	}
	return correct, loss
}

// judgeSingle is judge for scores of class 1: logits if the threshold is 0, else probabilities, with logarithms cut off at -100.
func judgeSingle[T ~float32 | ~float64](scores []T, labels []int64, threshold float64) (correct int, loss float64) {
	for i, label := range labels {
		z := float64(scores[i])
		if z-z == 0 && (z > threshold) == (label == 1) {
			correct++
		}
		switch {
		case threshold == 0:
			loss += max(z, 0) - z*float64(label) + math.Log1p(math.Exp(-math.Abs(z)))
		case label == 1:
			loss -= max(math.Log(z), -100)
		default:
			loss -= max(math.Log1p(-z), -100)
		}
	}
	return correct, loss
}
