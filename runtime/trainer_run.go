package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/data"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// epochSums are the running sums of an epoch.
type epochSums struct {
	Loss    float64 `json:"loss"` // weighted by samples
	Correct int     `json:"correct"`
	Count   int     `json:"count"`

	images int           // since the start or resume
	time   time.Duration // likewise
}

// Run trains from the present step to the end of the last epoch. When the context is cancelled it stops between two steps
// with the context's error, after a checkpoint; Run may be called again to go on. A loss that is not finite is a *NonFiniteError; the state is
// that of the step before, if the step graph guards it (guards.finite), and useless otherwise.
func (t *Trainer) Run(ctx context.Context) error {
	loader, err := data.NewLoader(t.config.Data.Train, data.LoaderConfig{
		Batch: t.config.Batch, Shuffle: true, Seed: t.config.Seed, DropLast: true, Epochs: t.config.Epochs, Start: t.step,
	})
	if err != nil {
		return err
	}
	defer loader.Close()
	for {
		if t.epoch.Count > 0 && t.step%t.perEpoch == 0 {
			if err := t.endEpoch(ctx); err != nil {
				return t.stopped(err)
			}
		}
		start := time.Now()
		b, err := loader.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return t.stopped(err)
		}
		if err := t.train(b); err != nil {
			return err
		}
		t.epoch.time += time.Since(start)
		if every := t.config.CheckpointEvery; every > 0 && t.step%every == 0 && t.step%t.perEpoch != 0 {
			if err := t.checkpoint(); err != nil {
				return err
			}
		}
	}
}

// stopped writes a checkpoint if err is the end of the context.
func (t *Trainer) stopped(err error) error {
	if !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if failed := t.checkpoint(); failed != nil {
		return errors.Join(err, failed)
	}
	return err
}

// checkpoint writes one if the configuration names a folder.
func (t *Trainer) checkpoint() error {
	if t.config.Checkpoint == "" {
		return nil
	}
	_, err := t.Save(t.config.Checkpoint)
	return err
}

// train does one step. It allocates nothing, but for delayed solves.
func (t *Trainer) train(b *data.Batch) error {
	t.x.fill(b.Images)
	t.fillTarget(b.Labels)
	t.setRates(t.step)
	if err := t.solves.Step(); err != nil {
		return fmt.Errorf("step %d: %w", t.step, err)
	}
	loss, err := t.session.Output(t.contract.loss)
	if err != nil {
		return err
	}
	value := readScalar(loss)
	if value-value != 0 {
		return &NonFiniteError{Step: t.step, What: "loss", LR: t.lr()}
	}
	logits, err := t.session.Output(t.contract.logits)
	if err != nil {
		return err
	}
	hits, _ := judge(logits, b.Labels, t.contract.classes, t.contract.threshold)
	n := len(b.Labels)
	t.epoch.Loss += value * float64(n)
	t.epoch.Correct += hits
	t.epoch.Count += n
	t.epoch.images += n
	t.step++
	if t.config.OnStep != nil {
		t.config.OnStep(StepResult{Step: b.Step, Epoch: b.Epoch, StepsPerEpoch: t.perEpoch, Loss: value})
	}
	return nil
}

// setRates gives the scheduled hyper-parameters their values for a step.
func (t *Trainer) setRates(step int) {
	factor := t.config.Schedule.Factor(step, t.perEpoch, t.config.Epochs)
	for _, r := range t.rates {
		setScalar(r.tensor, r.base*factor)
	}
}

// fillTarget writes the labels as class numbers or one-hot rows.
func (t *Trainer) fillTarget(labels []int64) {
	if t.contract.targetIndex {
		copy(kernel.Data[int64](t.target), labels)
		return
	}
	clear(t.target.Raw)
	for i, label := range labels {
		at := i*t.contract.classes + int(label)
		if t.contract.threshold != nil { // the row is the label
			if at = i; label == 0 {
				continue
			}
		}
		if t.target.Elem == graph.Float64 {
			kernel.Data[float64](t.target)[at] = 1
		} else {
			kernel.Data[float32](t.target)[at] = 1
		}
	}
}

func readScalar(t *kernel.Tensor) float64 {
	switch t.Elem {
	case graph.Float32:
		return float64(kernel.Data[float32](t)[0])
	case graph.Float64:
		return kernel.Data[float64](t)[0]
	}
	return math.NaN()
}

// lr is the learning rate of the last step.
func (t *Trainer) lr() float64 {
	if len(t.rates) == 0 {
		return math.NaN()
	}
	return readScalar(t.rates[0].tensor)
}

// endEpoch evaluates, reports and writes a checkpoint.
func (t *Trainer) endEpoch(ctx context.Context) error {
	e := EpochResult{
		Epoch: t.step / t.perEpoch, Steps: t.step, LR: t.lr(),
		Loss: t.epoch.Loss / float64(t.epoch.Count), Accuracy: float64(t.epoch.Correct) / float64(t.epoch.Count),
		Seconds: t.epoch.time.Seconds(), Images: t.epoch.images,
	}
	score, err := t.Evaluate(ctx)
	if err != nil {
		return err
	}
	e.Test = score
	if e.Failures, err = t.session.Failures(); err != nil {
		return err
	}
	t.epoch = epochSums{}
	if t.config.OnEpoch != nil {
		if err := t.config.OnEpoch(e); err != nil {
			return err
		}
	}
	return t.checkpoint()
}

// Evaluate measures the present parameters on the test set; nil without a test set or an original model.
func (t *Trainer) Evaluate(ctx context.Context) (*Score, error) {
	if t.eval == nil {
		return nil, nil
	}
	weights, err := t.weights(t.session.viewState)
	if err != nil {
		return nil, err
	}
	if err := t.eval.SetWeights(weights); err != nil {
		return nil, err
	}
	score, err := t.eval.Evaluate(ctx, t.config.Data.Test)
	if err != nil {
		return nil, err
	}
	return &score, nil
}
