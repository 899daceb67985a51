package data

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

// ErrClosed is what [Loader.Next] returns after [Loader.Close].
var ErrClosed = errors.New("data: loader is closed")

// LoaderConfig says which batches a [Loader] deals. The order of the samples depends on Seed and the epoch alone, so a
// loader that starts at step k continues one that was stopped there.
type LoaderConfig struct {
	Batch    int    // samples per batch
	Shuffle  bool   // a new order each epoch, else the order of the data set
	Seed     uint64 // of the shuffling
	DropLast bool   // leave out a last batch that would be smaller
	Epochs   int    // the end, counted from epoch 0 whatever Start is; 0 means without end
	Start    int    // the first step, counted from the beginning of epoch 0
}

// Batch is a set of samples. Its slices belong to the loader and are overwritten after the next call of [Loader.Next].
type Batch struct {
	Step   int       // number of this batch, from the beginning of epoch 0
	Epoch  int       // Step divided by the steps of an epoch
	Images []float32 // normalised samples, row-major [len(Labels), ...]
	Labels []int64
	Index  []int // position of each sample in the data set
}

// Loader deals batches of a data set, prepared by one background goroutine in buffers that are used again.
type Loader struct {
	data    *Dataset
	config  LoaderConfig
	steps   int // per epoch
	free    chan *Batch
	ready   chan *Batch // closed after the last batch
	current *Batch      // the one that the caller holds
	quit    chan struct{}
	closing sync.Once
	worker  sync.WaitGroup
}

// loaderBuffers is one batch in the caller's hands, one ready, one in preparation.
const loaderBuffers = 3

// NewLoader starts a loader, which the caller must close. The data set must not be changed while it runs.
func NewLoader(d *Dataset, config LoaderConfig) (*Loader, error) {
	switch {
	case config.Batch < 1:
		return nil, fmt.Errorf("data: batch size %d; give at least 1", config.Batch)
	case config.DropLast && config.Batch > d.Len():
		return nil, fmt.Errorf("data: batch size %d is more than the %d samples; give a smaller one or keep the last batch", config.Batch, d.Len())
	case config.Start < 0 || config.Epochs < 0:
		return nil, fmt.Errorf("data: start step %d, %d epochs; neither can be negative", config.Start, config.Epochs)
	}
	config.Batch = min(config.Batch, d.Len())
	l := &Loader{
		data:   d,
		config: config,
		steps:  d.Len() / config.Batch,
		free:   make(chan *Batch, loaderBuffers),
		ready:  make(chan *Batch, loaderBuffers),
		quit:   make(chan struct{}),
	}
	if !config.DropLast && d.Len()%config.Batch != 0 {
		l.steps++
	}
	for range loaderBuffers {
		l.free <- &Batch{
			Images: make([]float32, config.Batch*d.SampleSize()),
			Labels: make([]int64, config.Batch),
			Index:  make([]int, config.Batch),
		}
	}
	l.worker.Go(l.prepare)
	return l, nil
}

// StepsPerEpoch is the number of batches of an epoch.
func (l *Loader) StepsPerEpoch() int { return l.steps }

// Next returns the next batch, io.EOF after the last epoch, ErrClosed after Close, or the context's error. The batch
// given before becomes invalid. Only one goroutine may call Next.
func (l *Loader) Next(ctx context.Context) (*Batch, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if l.current != nil {
		l.free <- l.current
		l.current = nil
	}
	select {
	case <-l.quit:
		return nil, ErrClosed
	default:
	}
	select {
	case b, ok := <-l.ready:
		if !ok {
			return nil, l.ended()
		}
		l.current = b
		return b, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// ended tells the two reasons for which the worker stops apart.
func (l *Loader) ended() error {
	select {
	case <-l.quit:
		return ErrClosed
	default:
		return io.EOF
	}
}

// Close stops the background goroutine and waits for its end. It may be called at any time, more than once.
func (l *Loader) Close() {
	l.closing.Do(func() { close(l.quit) })
	l.worker.Wait()
}

// prepare fills free buffers, step after step, until the last epoch or Close.
func (l *Loader) prepare() {
	defer close(l.ready)
	order := make([]int, l.data.Len())
	for i := range order {
		order[i] = i
	}
	shuffled := -1
	for step := l.config.Start; ; step++ {
		epoch := step / l.steps
		if l.config.Epochs > 0 && epoch >= l.config.Epochs {
			return
		}
		var b *Batch
		select {
		case b = <-l.free:
		case <-l.quit:
			return
		}
		if l.config.Shuffle && epoch != shuffled {
			p := stream(l.config.Seed, streamShuffle, uint64(epoch))
			permute(&p, order)
			shuffled = epoch
		}
		l.fill(b, step, order)
		l.ready <- b // never blocks: there are no more batches than places
	}
}

// fill deals the samples of a step into a buffer, all of whose capacity is one full batch.
func (l *Loader) fill(b *Batch, step int, order []int) {
	from := step % l.steps * l.config.Batch
	n := min(l.config.Batch, len(order)-from)
	b.Step, b.Epoch = step, step/l.steps
	b.Images, b.Labels, b.Index = b.Images[:n*l.data.SampleSize()], b.Labels[:n], b.Index[:n]
	copy(b.Index, order[from:])
	l.data.Batch(b.Images, b.Labels, b.Index)
}
