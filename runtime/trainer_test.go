package runtime_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/graphtest"
	"github.com/asdlc/asdlc/runtime"
	"github.com/asdlc/asdlc/runtime/data"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// softmaxStep is multinomial logistic regression by SGD, its gradient written by hand; softmaxOriginal is no step graph.
const (
	softmaxOriginal = `<ir_version: 8, opset_import: ["" : 17]> net (float[N,784] x, float[784,10] w) => (float[N,10] y) { y = MatMul(x, w) }`

	softmaxStep = `<ir_version: 8, opset_import: ["" : 17], metadata_props: ["asdl.contract" : "1", "asdl.method" : "{\"name\":\"sgd\"}",
	"asdl.state" : "[{\"in\":\"w\",\"out\":\"w/next\",\"kind\":\"param\",\"of\":\"w\"},{\"in\":\"asdl/step\",\"out\":\"asdl/step/next\",\"kind\":\"counter\"}]",
	"asdl.inputs" : "[{\"name\":\"x\",\"role\":\"model\"},{\"name\":\"target\",\"role\":\"target\",\"classes\":10},{\"name\":\"w\",\"role\":\"param\"},{\"name\":\"asdl/step\",\"role\":\"counter\"},{\"name\":\"lr\",\"role\":\"hyper\"}]",
	"asdl.outputs" : "[{\"name\":\"y\",\"role\":\"model\"},{\"name\":\"loss\",\"role\":\"loss\"},{\"name\":\"w/next\",\"role\":\"next\"},{\"name\":\"asdl/step/next\",\"role\":\"next\"}]"]>
step (float[N,784] x, int64[N] target, float[784,10] w, int64 "asdl/step", float lr)
	=> (float[N,10] y, float loss, float[784,10] "w/next", int64 "asdl/step/next")
	<int64 one = {1}, int64 depth = {10}, float[2] hot = {0, 1}, int64[1] first = {0}>
{
	y = MatMul(x, w)
	loss = SoftmaxCrossEntropyLoss <reduction: string = "mean"> (y, target)
	p = Softmax <axis: int = 1> (y)
	t = OneHot(target, depth, hot)
	d = Sub(p, t)
	shape = Shape(target)
	n64 = Squeeze(shape, first)
	n = Cast <to: int = 1> (n64)
	mean = Div(d, n)
	xt = Transpose <perm: ints = [1, 0]> (x)
	g = MatMul(xt, mean)
	s = Mul(g, lr)
	"w/next" = Sub(w, s)
	"asdl/step/next" = Add("asdl/step", one)
}`

	softmaxInit = `<ir_version: 8, opset_import: ["" : 17]> init () => (float[784,10] w, int64 "asdl/step", float lr) <int64[2] shape = {784, 10}>
{
	w = ConstantOfShape(shape)
	"asdl/step" = Constant <value: tensor = int64 {0}> ()
	lr = Constant <value: tensor = float {0.5}> ()
}`
)

// softmaxModel is the original with weights of 0.
func softmaxModel(t testing.TB) *graph.Model {
	t.Helper()
	m := graph.NewModel(17)
	x := m.Graph.AddInput("x", graph.TensorType(graph.Float32, graph.Sym("N"), graph.Known(784)))
	w := m.Graph.AddInitializer("w", kernel.New(graph.Float32, 784, 10).Const())
	y := m.Graph.AddNode("", "MatMul", []*graph.Value{x, w}, []string{"y"}).Out(0)
	y.Type = graph.TensorType(graph.Float32, graph.Sym("N"), graph.Known(10))
	m.Graph.AddOutput(y)
	return m
}

func digits(t testing.TB, train, test int) *data.Split {
	t.Helper()
	split, err := data.Digits(data.DigitsConfig{Train: train, Test: test})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := split.Normalize("auto"); err != nil {
		t.Fatal(err)
	}
	return split
}

func newTrainer(t testing.TB, config runtime.TrainerConfig) *runtime.Trainer {
	t.Helper()
	tr, err := runtime.NewTrainer(graphtest.MustParse(t, softmaxStep), graphtest.MustParse(t, softmaxInit), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tr.Close() })
	return tr
}

func weights(t testing.TB, tr *runtime.Trainer) []float32 {
	t.Helper()
	w, err := tr.Weights()
	if err != nil {
		t.Fatal(err)
	}
	return kernel.Data[float32](w["w"])
}

// replay does in float64 what the trainer should do: batches in the loader's order, the schedule's rates, the gradient.
func replay(t *testing.T, split *data.Split, c runtime.TrainerConfig, base float64) (w []float64, losses []float64) {
	t.Helper()
	loader, err := data.NewLoader(split.Train, data.LoaderConfig{Batch: c.Batch, Shuffle: true, Seed: c.Seed, DropLast: true, Epochs: c.Epochs})
	if err != nil {
		t.Fatal(err)
	}
	defer loader.Close()
	w = make([]float64, 7840)
	for {
		b, err := loader.Next(t.Context())
		if errors.Is(err, io.EOF) {
			return w, losses
		}
		if err != nil {
			t.Fatal(err)
		}
		grad := make([]float64, 7840)
		loss := 0.0
		for i, label := range b.Labels {
			x := b.Images[i*784 : (i+1)*784]
			p := make([]float64, 10)
			sum := 0.0
			for k := range p {
				for j, v := range x {
					p[k] += float64(v) * w[j*10+k]
				}
			}
			loss -= p[label] / float64(len(b.Labels))
			for k := range p {
				p[k] = math.Exp(p[k])
				sum += p[k]
			}
			loss += math.Log(sum) / float64(len(b.Labels))
			for k := range p {
				d := p[k] / sum
				if int64(k) == label {
					d--
				}
				for j, v := range x {
					grad[j*10+k] += d * float64(v) / float64(len(b.Labels))
				}
			}
		}
		losses = append(losses, loss)
		lr := base * c.Schedule.Factor(b.Step, loader.StepsPerEpoch(), c.Epochs)
		for i, g := range grad {
			w[i] -= lr * g
		}
	}
}

func TestTrainerFollowsDataAndSchedule(t *testing.T) {
	split := digits(t, 100, 35)
	c := runtime.TrainerConfig{
		Data: split, Batch: 16, Epochs: 3, Seed: 5, Original: softmaxModel(t),
		Schedule: runtime.Schedule{Kind: "cosine", Warmup: 0.5}, Hyper: map[string]float64{"lr": 0.02},
	}
	var losses []float64
	var epochs []runtime.EpochResult
	c.OnStep = func(r runtime.StepResult) { losses = append(losses, r.Loss) }
	c.OnEpoch = func(r runtime.EpochResult) error { epochs = append(epochs, r); return nil }
	tr := newTrainer(t, c)
	if err := tr.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	want, wantLosses := replay(t, split, c, 0.02)
	if len(losses) != 18 || len(epochs) != 3 { // 100/16 = 6 whole batches an epoch
		t.Fatalf("%d steps, %d epochs", len(losses), len(epochs))
	}
	for i, v := range losses {
		if math.Abs(v-wantLosses[i]) > 1e-4*(1+wantLosses[i]) {
			t.Errorf("step %d: loss %v, want %v", i, v, wantLosses[i])
		}
	}
	worst, scale := 0.0, 0.0
	for i, v := range weights(t, tr) {
		worst, scale = max(worst, math.Abs(float64(v)-want[i])), max(scale, math.Abs(want[i]))
	}
	if worst > 1e-4*scale {
		t.Errorf("weights differ by %g, largest %g", worst, scale)
	}
	mean := 0.0
	for _, v := range wantLosses[12:] {
		mean += v / 6
	}
	last := epochs[2]
	if math.Abs(last.Loss-mean) > 1e-4 || last.Epoch != 3 || last.Steps != 18 || last.Images != 96 {
		t.Errorf("last epoch %+v, mean loss %v", last, mean)
	}
	if got := testAccuracy(split.Test, want); last.Test == nil || last.Test.Accuracy != got || last.Test.Samples != 35 {
		t.Errorf("test %+v, want accuracy %v", last.Test, got)
	}
}

// testAccuracy classifies with weights [784,10].
func testAccuracy(d *data.Dataset, w []float64) float64 {
	hits := 0
	for i := range d.Len() {
		x, label := make([]float32, 784), make([]int64, 1)
		d.Batch(x, label, []int{i})
		best, top := 0, math.Inf(-1)
		for k := range 10 {
			s := 0.0
			for j, v := range x {
				s += float64(v) * w[j*10+k]
			}
			if s > top {
				best, top = k, s
			}
		}
		if int64(best) == label[0] {
			hits++
		}
	}
	return float64(hits) / float64(d.Len())
}

func TestTrainerLearns(t *testing.T) {
	c := runtime.TrainerConfig{Data: digits(t, 2000, 500), Batch: 50, Epochs: 4, Hyper: map[string]float64{"lr": 0.05}, Original: softmaxModel(t)}
	var last runtime.EpochResult
	c.OnEpoch = func(r runtime.EpochResult) error { last = r; return nil }
	tr := newTrainer(t, c)
	if err := tr.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if last.Test.Accuracy < 0.7 || last.Accuracy < 0.7 {
		t.Errorf("accuracy %+v after training, want more than 0.7", last)
	}
}

func TestTrainerStepsDoNotAllocate(t *testing.T) {
	var counts []uint64
	c := runtime.TrainerConfig{Data: digits(t, 1000, 0), Batch: 10, Epochs: 1, Threads: 1}
	counts = make([]uint64, 0, 128)
	c.OnStep = func(runtime.StepResult) {
		var m goruntime.MemStats
		goruntime.ReadMemStats(&m)
		counts = append(counts, m.Mallocs)
	}
	tr := newTrainer(t, c)
	if err := tr.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := counts[99] - counts[19]; n > 40 { // ReadMemStats itself, and what else runs in the process
		t.Errorf("%d allocations in 80 steps", n)
	}
}

func TestTrainerStopsAtLossThatIsNotFinite(t *testing.T) {
	dir := t.TempDir()
	c := runtime.TrainerConfig{Data: digits(t, 100, 0), Batch: 10, Epochs: 3, Hyper: map[string]float64{"lr": 3e38}, Checkpoint: dir}
	tr := newTrainer(t, c)
	var failure *runtime.NonFiniteError
	if err := tr.Run(t.Context()); !errors.As(err, &failure) {
		t.Fatalf("%v", err)
	}
	if failure.What != "loss" || failure.Step == 0 || !strings.Contains(failure.Error(), "learning rate") {
		t.Errorf("%v", failure)
	}
	if paths, err := runtime.Checkpoints(dir); err != nil || len(paths) != 0 {
		t.Errorf("checkpoints of a useless state: %v %v", paths, err)
	}
	if _, err := tr.Save(dir); !errors.As(err, &failure) || failure.What != "state w" {
		t.Errorf("save of a useless state: %v", err)
	}
}

func TestTrainerRefuses(t *testing.T) {
	edit := func(old, new string) string {
		if !strings.Contains(softmaxStep, old) {
			t.Fatalf("no %s", old)
		}
		return strings.ReplaceAll(softmaxStep, old, new)
	}
	split := digits(t, 100, 10)
	ok := runtime.TrainerConfig{Data: split, Batch: 10}
	with := func(change func(*runtime.TrainerConfig)) runtime.TrainerConfig {
		c := ok
		change(&c)
		return c
	}
	for _, c := range []struct {
		name   string
		step   string
		config runtime.TrainerConfig
		says   string
	}{
		{"an ordinary model", softmaxOriginal, ok, "asdlc instrument"},
		{"split graphs", edit(`"asdl.contract" : "1"`, `"asdl.contract" : "1", "asdl.clocks" : "[]"`), ok, "--split"},
		{"noise inputs", edit(`{\"name\":\"lr\",\"role\":\"hyper\"}`, `{\"name\":\"lr\",\"role\":\"noise\"}`), ok, "--noise input"},
		{"no updates", edit(`\"role\":\"next\"`, `\"role\":\"grad\"`), ok, "--emit gradient"},
		{"two inputs", edit(`{\"name\":\"lr\",\"role\":\"hyper\"}`, `{\"name\":\"lr\",\"role\":\"model\"}`), ok, `"x" and "lr"`},
		{"no loss", edit(`\"role\":\"loss\"`, `\"role\":\"grad\"`), ok, "no loss"},
		{"a batch larger than the data", softmaxStep, with(func(c *runtime.TrainerConfig) { c.Batch = 101 }), "101 is more than the 100"},
		{"a fixed batch size", edit("[N", "[7"), ok, "batch size is 7, not 10"},
		{"samples of another size", softmaxStep, with(func(c *runtime.TrainerConfig) { c.Data = constant(t, 5, 9) }), "[5] do not fit"},
		{"labels above the classes", softmaxStep, with(func(c *runtime.TrainerConfig) { c.Data = constant(t, 784, 10) }), "label 10 of sample 0 is out of range: the model has 10 classes"},
		{"an unknown hyper-parameter", softmaxStep, with(func(c *runtime.TrainerConfig) { c.Hyper = map[string]float64{"damping": 1} }), `no hyper-parameter "damping"`},
		{"an unknown output", softmaxStep, with(func(c *runtime.TrainerConfig) { c.Logits = "z" }), "no output of class scores"},
		{"a bad schedule", softmaxStep, with(func(c *runtime.TrainerConfig) { c.Schedule.Kind = "wave" }), "wave"},
		{"another original", softmaxStep, with(func(c *runtime.TrainerConfig) {
			c.Original = softmaxModel(t)
			c.Original.Graph.Initializers()[0].Rename("v")
		}), `no parameter "w"`},
	} {
		tr, err := runtime.NewTrainer(graphtest.MustParse(t, c.step), graphtest.MustParse(t, softmaxInit), c.config)
		if err == nil {
			_ = tr.Close()
			t.Errorf("%s: no error", c.name)
		} else if !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "BUG") {
			t.Errorf("%s: %q does not say %q", c.name, err, c.says)
		}
	}
}

// constant is a data set of 20 samples of zeros, all of one class.
func constant(t *testing.T, size int, class int64) *data.Split {
	t.Helper()
	path := filepath.Join(t.TempDir(), "constant.npz")
	err := data.WriteNPZ(path, map[string]*data.Array{
		"x": {Shape: []int{20, size}, Data: make([]float32, 20*size)},
		"y": {Shape: []int{20}, Data: slices.Repeat([]int64{class}, 20)},
	})
	if err != nil {
		t.Fatal(err)
	}
	split, err := data.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return split
}

func TestSchedule(t *testing.T) {
	for _, c := range []struct {
		text   string
		warmup float64
		want   []float64 // at the steps of 4 epochs of 2
	}{
		{"constant", 0, []float64{1, 1, 1, 1, 1, 1, 1, 1}},
		{"constant", 1.5, []float64{0.25, 0.5, 0.75, 1, 1, 1, 1, 1}},
		{"step:2,0.1", 0, []float64{1, 1, 1, 1, 0.1, 0.1, 0.1, 0.1}},
		{"cosine", 0, []float64{1, (1 + math.Cos(math.Pi/8)) / 2, (1 + math.Sqrt2/2) / 2, (1 + math.Cos(3*math.Pi/8)) / 2, 0.5}},
		{"cosine:0.2", 0, []float64{1, 0.6 + 0.4*math.Cos(math.Pi/8), 0.6 + 0.4*math.Sqrt2/2, 0.6 + 0.4*math.Cos(3*math.Pi/8), 0.6}},
		{"cosine", 2, []float64{0.2, 0.4, 0.6, 0.8, 1, (1 + math.Sqrt2/2) / 2, 0.5}},
	} {
		s, err := runtime.ParseSchedule(c.text)
		if err != nil {
			t.Fatal(err)
		}
		s.Warmup = c.warmup
		for step, want := range c.want {
			if got := s.Factor(step, 2, 4); math.Abs(got-want) > 1e-12 {
				t.Errorf("%s, warm-up %g: step %d has %v, want %v", c.text, c.warmup, step, got, want)
			}
		}
	}
	for _, text := range []string{"", "linear", "cosine:x", "cosine:2", "step", "step:0,0.1", "step:1", "step:1,-1", "constant:1", "cosine:1,2", "cosine:NaN"} {
		if _, err := runtime.ParseSchedule(text); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}

// A trainer whose context ends stops between steps, and may go on.
func TestTrainerStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := runtime.TrainerConfig{Data: digits(t, 100, 0), Batch: 10, Epochs: 2}
	c.OnStep = func(r runtime.StepResult) {
		if r.Step == 4 {
			cancel()
		}
	}
	tr := newTrainer(t, c)
	if err := tr.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if done, total := tr.Steps(); done != 5 || total != 20 {
		t.Errorf("stopped after %d of %d", done, total)
	}
	if err := tr.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	whole := newTrainer(t, runtime.TrainerConfig{Data: digits(t, 100, 0), Batch: 10, Epochs: 2})
	if err := whole.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(weights(t, tr)) != fmt.Sprint(weights(t, whole)) {
		t.Error("the interruption changed the result")
	}
}
