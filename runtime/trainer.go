package runtime

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/data"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// DefaultBatch is the number of samples a step where neither the model nor its user says.
const DefaultBatch = 128

// TrainerConfig says how a Trainer trains.
type TrainerConfig struct {
	Data   *data.Split // samples are fitted to the model's input; normalise them before
	Batch  int         // samples a step; 0 is what the model fixes, or DefaultBatch
	Epochs int         // 0 is 1
	Seed   uint64      // of the order of the samples and of the step graph's random numbers

	// Schedule changes the inputs lr and fallback_lr from their base values.
	Schedule Schedule
	// Hyper sets hyper-parameter inputs of the step graph; others keep the default of the initial state.
	Hyper map[string]float64

	// Original is the model that the step graph was made from, to be evaluated on the test set after each epoch; nil, or no
	// test set, leaves that out. Its parameters have the names of the step graph's: where an exporter made names up, that is
	// what passes.Named gives.
	Original *graph.Model
	Logits   string // model output that predictions are read from; "" is the first of type float [N, classes]
	Threads  int    // as in Options
	// Solves are the graphs of a step graph's delayed solves, by name.
	Solves map[string]*graph.Model

	// Checkpoint is a folder for checkpoints: one after each epoch, one when the training is cancelled, and one every
	// CheckpointEvery steps if that is not 0. "" writes none.
	Checkpoint      string
	CheckpointEvery int

	// OnStep, if set, is called after each step, OnEpoch after each epoch; an error of OnEpoch ends the training.
	OnStep  func(StepResult)
	OnEpoch func(EpochResult) error
}

// StepResult is what one step gave.
type StepResult struct {
	Step          int // from 0
	Epoch         int // from 0
	StepsPerEpoch int
	Loss          float64
}

// EpochResult sums up an epoch.
type EpochResult struct {
	Epoch int     `json:"epoch"` // from 1
	Steps int     `json:"steps"` // so far, since the beginning
	LR    float64 `json:"lr"`    // of the last step
	// Loss and Accuracy are means over the samples of the epoch, each seen with the parameters of its time.
	Loss     float64 `json:"loss"`
	Accuracy float64 `json:"train_accuracy"`
	Test     *Score  `json:"test,omitempty"`
	// Seconds is the time of the steps without the evaluation, of Images samples; both count from a resume on.
	Seconds float64 `json:"seconds"`
	Images  int     `json:"images"`
	// Failures counts solves since the beginning that gave no finite result, so that the one before was kept.
	Failures int64 `json:"solver_failures"`
}

// NonFiniteError says that training has failed numerically.
type NonFiniteError struct {
	Step int
	What string  // "loss", or the name of a state
	LR   float64 // at that step
}

// Error says what to try.
func (e *NonFiniteError) Error() string {
	return fmt.Sprintf("step %d: the %s is not finite (NaN or infinite) at learning rate %g; try a lower learning rate, a warm-up, or more damping", e.Step, e.What, e.LR)
}

// Trainer trains a step graph on labelled samples. It is not safe for concurrent use.
type Trainer struct {
	config   TrainerConfig
	contract *stepContract
	session  *Session
	solves   *Background
	eval     *Evaluator // nil without a test set or original

	x         *batchInput
	target    *kernel.Tensor
	rates     []rate
	method    string // resolved record of the step graph
	overrides string // and those of some layers, or ""
	source    string // digest of the original file

	perEpoch int
	step     int // steps done
	epoch    epochSums
}

// rate is a hyper-parameter that follows the schedule.
type rate struct {
	name   string
	tensor *kernel.Tensor
	base   float64
}

// scheduled names the hyper-parameters that follow the schedule, and after "NAME/" those of methods for some layers.
var scheduled = []string{"lr", "fallback_lr"}

// scheduledOf lists the hyper-parameters among names that follow the schedule; those of the whole model come first.
func scheduledOf(names map[string]bool) []string {
	var found []string
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if base, _, _ := strings.Cut(name, "/"); slices.Contains(scheduled, base) {
			found = append(found, name)
		}
	}
	slices.SortStableFunc(found, func(a, b string) int {
		return cmp.Compare(rank(a), rank(b))
	})
	return found
}

func rank(name string) int {
	if i := slices.Index(scheduled, name); i >= 0 {
		return i
	}
	return len(scheduled)
}

// NewTrainer prepares the training of a step graph from the state that init, its initialisation model, gives. Whatever does
// not fit (shapes, labels, batch size, kinds of step graphs) is an error here, before anything runs.
func NewTrainer(step, init *graph.Model, config TrainerConfig) (*Trainer, error) {
	contract, err := readContract(step, config.Logits)
	if err != nil {
		return nil, located(step, err)
	}
	if config.Epochs == 0 {
		config.Epochs = 1
	}
	if config.Epochs < 0 || config.Batch < 0 {
		return nil, fmt.Errorf("%d epochs with batches of %d: neither can be negative", config.Epochs, config.Batch)
	}
	if err := config.Schedule.Validate(); err != nil {
		return nil, err
	}
	s, err := NewSession(step, Options{Threads: config.Threads, Outputs: []string{contract.loss, contract.logits}})
	if err != nil {
		return nil, err
	}
	t := &Trainer{config: config, contract: contract, session: s, method: step.Metadata["asdl.method"], overrides: step.Metadata["asdl.overrides"], source: step.Metadata["asdl.source"]}
	if err := t.prepare(init); err != nil {
		_ = t.Close()
		return nil, located(step, err)
	}
	return t, nil
}

func (t *Trainer) prepare(init *graph.Model) error {
	if err := t.session.LoadInit(init); err != nil {
		return err
	}
	var err error
	if t.solves, err = NewBackground(t.session, t.config.Solves); err != nil {
		return err
	}
	for _, f := range []func() error{t.bindBatch, t.bindHyper, t.openEvaluator} {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

// bindBatch makes the tensors through which the step graph reads samples and targets.
func (t *Trainer) bindBatch() error {
	x := t.session.byName[t.contract.x.Name]
	if err := fit(t.config.Data, x.Port, t.contract.labelCount()); err != nil {
		return err
	}
	if t.config.Batch == 0 {
		t.config.Batch = DefaultBatch
		if n, ok := x.Type.Dims[0].Size(); ok {
			t.config.Batch = int(n)
		}
	}
	train := t.config.Data.Train
	if t.config.Batch > train.Len() {
		return fmt.Errorf("%w: batch size %d is more than the %d training samples; give a smaller one", ErrFeed, t.config.Batch, train.Len())
	}
	t.perEpoch = train.Len() / t.config.Batch
	var err error
	if t.x, err = newBatchInput(x.Port, train, t.config.Batch); err != nil {
		return err
	}
	if t.contract.targetIndex {
		t.target = kernel.New(graph.Int64, t.config.Batch)
	} else {
		t.target = kernel.New(t.session.byName[t.contract.target.Name].Type.Elem, t.config.Batch, t.contract.classes)
	}
	if err := t.session.Bind(t.contract.x.Name, t.x.tensor); err != nil {
		return err
	}
	return t.session.Bind(t.contract.target.Name, t.target)
}

// bindHyper gives the hyper-parameters and the seed their values.
func (t *Trainer) bindHyper() error {
	for name, v := range t.config.Hyper {
		if !t.contract.hypers[name] {
			return fmt.Errorf("%w: no hyper-parameter %q; the step graph has %s", ErrFeed, name, t.session.inputNames())
		}
		if v-v != 0 {
			return fmt.Errorf("%w: %s = %g is not finite", ErrFeed, name, v)
		}
		if err := t.session.Bind(name, scalar(t.session.byName[name].Type.Elem, v)); err != nil {
			return err
		}
	}
	for _, name := range scheduledOf(t.contract.hypers) {
		in := t.session.byName[name]
		if in.bound == nil {
			return t.session.missing()
		}
		values, _ := in.bound.Const().Float64s()
		r := rate{name, scalar(in.Type.Elem, values[0]), values[0]}
		if err := t.session.Bind(name, r.tensor); err != nil {
			return err
		}
		t.rates = append(t.rates, r)
	}
	if t.contract.seeded {
		return t.session.Bind("asdl/seed", kernel.Of([]int64{int64(t.config.Seed)}))
	}
	return nil
}

// scalar is a floating-point scalar.
func scalar(e graph.Elem, v float64) *kernel.Tensor {
	t := kernel.New(e)
	setScalar(t, v)
	return t
}

func setScalar(t *kernel.Tensor, v float64) {
	if t.Elem == graph.Float64 {
		kernel.Data[float64](t)[0] = v
	} else {
		kernel.Data[float32](t)[0] = float32(v)
	}
}

// openEvaluator prepares the evaluation on the test set by the original model with the parameters of the step graph.
func (t *Trainer) openEvaluator() error {
	if t.config.Original == nil || t.config.Data.Test == nil {
		return nil
	}
	weights, err := t.weights(t.session.viewState)
	if err != nil {
		return err
	}
	m, err := ExportWeights(t.config.Original, weights)
	if err != nil {
		return err
	}
	names := make([]string, 0, len(weights))
	for name := range weights {
		names = append(names, name)
	}
	t.eval, err = NewEvaluator(m, t.config.Data, EvaluatorConfig{Batch: t.config.Batch, Logits: t.contract.logits, Threads: t.config.Threads, Weights: names, Threshold: t.contract.threshold})
	return err
}

// Close frees what the trainer holds.
func (t *Trainer) Close() error {
	if t.eval != nil {
		_ = t.eval.Close()
	}
	var err error
	if t.solves != nil {
		err = t.solves.Close()
	}
	return errors.Join(err, t.session.Close())
}

// Steps is the number of steps done, and the number after which training ends.
func (t *Trainer) Steps() (done, total int) { return t.step, t.perEpoch * t.config.Epochs }

// Session is the running step graph: for other states and outputs than a Trainer shows.
func (t *Trainer) Session() *Session { return t.session }

// Weights copies the parameters and buffers, under the names that they have in the original file. Parameters of which the
// method keeps an average are that average.
func (t *Trainer) Weights() (map[string]*kernel.Tensor, error) {
	return t.weights(t.session.State)
}

// weights are the parameters and buffers as get gives their states.
func (t *Trainer) weights(get func(string) (*kernel.Tensor, error)) (map[string]*kernel.Tensor, error) {
	weights := map[string]*kernel.Tensor{}
	for name, in := range weightStates(t.session.States(), t.step) {
		v, err := get(in)
		if err != nil {
			return nil, err
		}
		weights[name] = v
	}
	return weights, nil
}
