package bench

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	goruntime "runtime"
	"runtime/debug"
	"time"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes"
	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/runtime"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// Rate is the learning rate of measured steps: so small that nothing converges or diverges while it is timed.
const Rate = 1e-7

// Config says how a worker runs.
type Config struct {
	Threads int    // 0 is one a processor
	Seed    uint64 // of the synthetic batch
	Idle    Usage  // what the process had before the model was read, see Wake
}

// Worker steps through windows of one cell, on one synthetic batch.
type Worker struct {
	Built   Built
	config  Config
	compile func() (*compiled, error)
	session *runtime.Session
	solves  *runtime.Background // delayed ones
	clocks  []passes.Clock
	chance  method.Probability // of a solve, where solves happen at random
	step    int64              // that comes next
}

// compiled is a step graph with what it takes to run it. It is large: nothing is to refer to it while the steps run.
type compiled struct {
	*passes.Result
	model   *graph.Model
	options runtime.Options
	sizes   map[string]int64
	seconds float64 // that compiling took
}

// NewWorker compiles the model that open gives, by a method for the batch size and the sizes of the options, and runs the
// first steps: until all clocks have warmed up, and a period more. Solves at random are measured where their probability has
// come to rest.
func NewWorker(open func() (*graph.Model, error), rec method.Record, o pass.Options, config Config) (*Worker, error) {
	w := &Worker{config: config, chance: rec.Solve.Probability}
	w.compile = func() (*compiled, error) {
		m, err := open()
		if err != nil {
			return nil, err
		}
		start := time.Now()
		r, err := passes.Instrument(m, rec, o, "")
		if err != nil {
			return nil, err
		}
		options := runtime.Options{Threads: config.Threads, Outputs: r.Fetches()}
		return &compiled{r, m, options, pass.Sizes(r.Step.Graph, o), time.Since(start).Seconds()}, nil
	}
	c, err := w.compile()
	if err != nil {
		return nil, err
	}
	w.clocks, w.Built.Compile = c.Clocks, c.seconds
	if err := w.start(c); err != nil {
		return nil, err
	}
	if err := w.warmUp(); err != nil {
		_ = w.Close()
		return nil, err
	}
	return w, nil
}

// start makes the session.
func (w *Worker) start(c *compiled) error {
	start := time.Now()
	var err error
	if w.session, err = runtime.NewSession(c.Step, c.options); err != nil {
		return err
	}
	if err := w.prepare(c); err != nil {
		_ = w.session.Close()
		return err
	}
	if w.solves, err = runtime.NewBackground(w.session, c.SolveGraphs()); err != nil {
		_ = w.session.Close()
		return err
	}
	w.Built.Session = time.Since(start).Seconds()
	return nil
}

// prepare loads the initial state and binds the batch and the learning rates.
func (w *Worker) prepare(c *compiled) error {
	if err := w.session.LoadInit(c.Init); err != nil {
		return err
	}
	feeds, err := synthetic(c.model, c.Step, c.sizes, w.config.Seed)
	if err != nil {
		return err
	}
	for name, t := range feeds {
		if err := w.session.Bind(name, t); err != nil {
			return err
		}
	}
	return nil
}

// warmUp runs the first steps. What was needed for compiling only is given back to the system at the end.
func (w *Worker) warmUp() error {
	w.Built.Threads = cmp.Or(w.config.Threads, goruntime.GOMAXPROCS(0))
	w.Built.Period = period(w.clocks, w.chance)
	start := time.Now()
	if err := w.advance(); err != nil {
		return err
	}
	w.Built.FirstStep = time.Since(start).Seconds()
	for w.step < warm(w.clocks)+w.Built.Period {
		if err := w.advance(); err != nil {
			return err
		}
	}
	if at := rest(w.chance); at > w.step { // a counter alone tells random solves how far the training is
		w.step = at
		if err := w.session.SetState("asdl/step", kernel.Of([]int64{at})); err != nil {
			return err
		}
	}
	w.Built.Idle, w.Built.IdleOwn, w.Built.Build = w.config.Idle.Resident, w.config.Idle.Own, peakResident()
	debug.FreeOSMemory()
	resetPeak()
	return nil
}

func (w *Worker) advance() error {
	w.step++
	return w.solves.Step()
}

// period is the number of steps after which all clocks have ticked together again; of solves at random, on how many there is
// one once their probability is at rest.
func period(clocks []passes.Clock, chance method.Probability) int64 {
	p := int64(1)
	if rest(chance) > 0 {
		p = int64(math.Round(1 / chance.Floor))
	}
	for _, c := range clocks {
		every := max(c.Every, 1)
		a, b := p, every
		for b != 0 {
			a, b = b, a%b
		}
		p = p / a * every
	}
	return p
}

// rest is the step from which on solves at random have their final probability; 0 where there are none, or it does not fall.
func rest(p method.Probability) int64 {
	if p.Floor == 0 || p.Decay == 0 {
		return 0
	}
	return int64(p.Flat) + int64(math.Ceil(-math.Log(p.Floor)/p.Decay))
}

// warm is the step from which on all clocks are periodic.
func warm(clocks []passes.Clock) int64 {
	start := int64(0)
	for _, c := range clocks {
		start = max(start, c.Warmup, int64(len(c.Schedule)))
	}
	return start
}

// refreshes reports whether a clock ticks at a step.
func (w *Worker) refreshes(step int64) bool {
	if w.Built.Period == 1 {
		return false // or all do
	}
	for _, c := range w.clocks {
		if c.Ticks(step) {
			return true
		}
	}
	return false
}

// Window runs whole periods until at least so many seconds have passed.
func (w *Worker) Window(seconds float64) (Window, error) {
	var win Window
	start := time.Now()
	last := start
	for done := false; !done; done = win.Seconds >= seconds {
		for range w.Built.Period {
			refresh := w.refreshes(w.step)
			if err := w.advance(); err != nil {
				return win, err
			}
			now := time.Now()
			if refresh {
				win.Refreshes++
				win.RefreshSeconds += now.Sub(last).Seconds()
			}
			last = now
		}
		win.Steps += w.Built.Period
		win.Seconds = last.Sub(start).Seconds()
	}
	return win, w.inspect(&win)
}

// inspect reads what tells whether the steps were sound, and the memory.
func (w *Worker) inspect(win *Window) error {
	loss, err := w.session.Output("loss")
	if err != nil {
		return err
	}
	values, _ := loss.Const().Float64s()
	win.Loss = values[0]
	if math.IsNaN(win.Loss) || math.IsInf(win.Loss, 0) {
		return fmt.Errorf("the loss is not finite (%g) after %d steps at learning rate %g", win.Loss, w.step, Rate)
	}
	if win.Failures, err = w.session.Failures(); err != nil {
		return err
	}
	win.Resident, win.Own = peakResident(), Used().Own
	win.Taken = w.session.Memory()
	return nil
}

// Plan compiles anew and predicts the memory of a step, as asdlc plan does.
func (w *Worker) Plan() (Plan, error) {
	c, err := w.compile()
	if err != nil {
		return Plan{}, err
	}
	m, err := runtime.PredictMemory(c.Step, c.sizes, c.options)
	return Plan{m, m.Total()}, err
}

// Close ends the worker.
func (w *Worker) Close() error { return errors.Join(w.solves.Close(), w.session.Close()) }
