package passes_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/passes"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/passes/passtest"
)

// unitCase is a loss that is a sum over outputs: its value for one output, and the diagonal of its Hessian or Fisher matrix.
type unitCase struct {
	row      string
	delta    float64
	chances  bool // outputs are probabilities
	binary   bool // targets are in [0, 1]
	noSample bool
	value    func(z, y float64) float64
	// information is the second moment of the slope under the loss's label distribution, or the second derivative.
	information func(z, y float64) float64
}

func sigmoid(z float64) float64 { return 1 / (1 + math.Exp(-z)) }

// huberUnit is the textbook form, in two pieces.
func huberUnit(delta float64) func(z, y float64) float64 {
	return func(z, y float64) float64 {
		if d := math.Abs(z - y); d > delta {
			return delta * (d - delta/2)
		}
		return (z - y) * (z - y) / 2
	}
}

func within(delta, slope float64) func(z, y float64) float64 {
	return func(z, y float64) float64 {
		if math.Abs(z-y) < delta {
			return slope
		}
		return 0
	}
}

// coin is the second moment of the slope of loss under labels that are 1 with probability p.
func coin(loss func(z, y float64) float64, p func(z float64) float64) func(z, y float64) float64 {
	return func(z, _ float64) float64 {
		const h = 1e-5
		slope := func(y float64) float64 { return (loss(z+h, y) - loss(z-h, y)) / (2 * h) }
		return p(z)*slope(1)*slope(1) + (1-p(z))*slope(0)*slope(0)
	}
}

func unitCases() []unitCase {
	binary := func(p, y float64) float64 { return -y*math.Log(p) - (1-y)*math.Log(1-p) }
	logits := func(z, y float64) float64 { return binary(sigmoid(z), y) }
	return []unitCase{
		{row: "bce-with-logits", binary: true, value: logits, information: coin(logits, sigmoid)},
		{row: "bce", chances: true, binary: true, value: binary, information: coin(binary, func(p float64) float64 { return p })},
		{row: "l1", value: func(z, y float64) float64 { return math.Abs(z - y) }, information: func(_, _ float64) float64 { return 1 }},
		{row: "huber", noSample: true, value: huberUnit(1), information: within(1, 1)},
		{row: "huber", delta: 0.4, noSample: true, value: huberUnit(0.4), information: within(0.4, 1)},
		{row: "smooth-l1", delta: 0.5, noSample: true, value: func(z, y float64) float64 { return huberUnit(0.5)(z, y) / 0.5 }, information: within(0.5, 2)},
	}
}

// draw gives targets, and outputs where they are probabilities, in (0, 1).
func (u unitCase) draw(rng *rand.Rand, chances bool, shape ...int) array {
	a := normals(rng, shape...)
	for i := range a.v {
		if chances {
			a.v[i] = 0.05 + 0.9*rng.Float64()
		}
	}
	return a
}

// TestUnitLosses: the value is the definition's, the gradient its finite difference; the root multiplies to the information,
// and so do gradients at sampled targets on average.
func TestUnitLosses(t *testing.T) {
	for _, u := range unitCases() {
		for _, reduction := range []string{"mean", "rows", "sum"} {
			for _, c := range []lossCase{{shape: []int{5, 4}, axis: 1}, {shape: []int{2, 4, 2, 3}, axis: 1}} {
				c.loss = pass.LossOptions{Row: u.row, Delta: u.delta, Reduction: reduction}
				c.name = fmt.Sprintf("%s %g, %s of %v", u.row, u.delta, reduction, c.shape)
				u.valueAndGradient(t, c)
				u.rootAndSamples(t, c)
			}
		}
	}
}

// weight is what the reduction multiplies the loss of an output by, within its row and in all.
func (c lossCase) weight() (row, total float64) {
	rows := float64(len(c.rowsOf()))
	switch c.loss.Reduction {
	case "mean":
		return 1 / float64(c.shape[c.axis]), 1 / rows / float64(c.shape[c.axis])
	case "rows":
		return 1, 1 / rows
	}
	return 1, 1
}

func (u unitCase) valueAndGradient(t *testing.T, c lossCase) {
	rng := rand.New(rand.NewPCG(4, 11))
	s := instrument(t, c.direct(), record(t, "sgd"), pass.Options{OutputGrad: true, Loss: c.loss})
	x, target := u.draw(rng, u.chances, c.shape...), u.draw(rng, u.binary, c.shape...)
	out := s.step(arrays{"x": x, "target": target, "lr": number(0)})
	_, weight := c.weight()
	value, grad := 0.0, make([]float64, len(x.v))
	for i, z := range x.v {
		y := target.v[i]
		value += weight * u.value(z, y)
		const h = 1e-5
		grad[i] = weight * (8*(u.value(z+h, y)-u.value(z-h, y)) - (u.value(z+2*h, y) - u.value(z-2*h, y))) / (12 * h)
	}
	near(t, c.name+": value", out["loss"].v, []float64{value}, 1e-13)
	near(t, c.name+": gradient", out["grad/w"].v, grad, 1e-8)
}

func (u unitCase) rootAndSamples(t *testing.T, c lossCase) {
	bias := []float64{0.3, 0.6, 0.15, 0.8}
	for source, tol := range map[string]float64{"exact": 1e-8, "mc": 0.1} {
		if source == "mc" && u.noSample {
			continue
		}
		large := c
		large.shape = slices.Clone(c.shape)
		if source == "mc" {
			large.shape[0] = 1500
		}
		in := slices.Clone(large.shape)
		in[c.axis] = 2
		rng := rand.New(rand.NewPCG(5, 11))
		target := u.draw(rng, u.binary, large.shape...)
		s := instrument(t, c.layered(bias), record(t, "kfac", "accumulate.beta=0", "accumulate.debias=false", "curvature.source="+source), pass.Options{Loss: c.loss})
		out := s.step(arrays{"x": normals(rng, in...), "target": target, "asdl/seed": number(3)})
		want := make([]float64, 16)
		weight, _ := c.weight()
		rows := large.rowsOf()
		for _, row := range rows {
			for k, i := range row {
				want[5*k] += weight * u.information(bias[k], target.v[i]) / float64(len(rows))
			}
		}
		near(t, c.name+", "+source, out["asdl/l/S/next"].v, want, tol)
	}
}

// TestLikelihood: nll of logarithms of probabilities. Its Fisher matrix is diag(p), times the weight of a row.
func TestLikelihood(t *testing.T) {
	ignore := int64(-100)
	weights := []float64{0.5, 2, 1.5, 1.25}
	p := []float64{0.1, 0.2, 0.3, 0.4}
	bias := []float64{math.Log(p[0]), math.Log(p[1]), math.Log(p[2]), math.Log(p[3])}
	for _, reduction := range []string{"mean", "sum"} {
		c := lossCase{shape: []int{6, 4}, axis: 1, labels: true}
		c.loss = pass.LossOptions{Row: "nll", Reduction: reduction, ClassWeights: weights, IgnoreIndex: &ignore}
		rng := rand.New(rand.NewPCG(6, 11))
		x, target := normals(rng, c.shape...), c.target(rng)
		out := instrument(t, c.direct(), record(t, "sgd"), pass.Options{OutputGrad: true, Loss: c.loss}).step(arrays{"x": x, "target": target, "lr": number(0)})
		value, total, grad := 0.0, 0.0, make([]float64, len(x.v))
		for r, label := range target.v {
			if label >= 0 {
				w := weights[int(label)]
				value, total = value-w*x.v[4*r+int(label)], total+w
				grad[4*r+int(label)] = -w
			}
		}
		if reduction == "mean" {
			value /= total
			for i := range grad {
				grad[i] /= total
			}
		}
		near(t, reduction+": value", out["loss"].v, []float64{value}, 1e-13)
		near(t, reduction+": gradient", out["grad/w"].v, grad, 1e-13)

		for source, tol := range map[string]float64{"exact": 1e-12, "mc": 0.1} {
			large := c
			large.shape = []int{3000, 4}
			target := large.target(rng)
			s := instrument(t, c.layered(bias), record(t, "kfac", "accumulate.beta=0", "accumulate.debias=false", "curvature.source="+source), pass.Options{Loss: c.loss})
			out := s.step(arrays{"x": normals(rng, 3000, 2), "target": target, "asdl/seed": number(3)})
			mean := 1.0
			if reduction == "sum" {
				sum := 0.0
				for _, label := range target.v {
					if label >= 0 {
						sum += weights[int(label)]
					}
				}
				mean = sum / large.counted(target)
			}
			want := make([]float64, 16)
			for k := range 4 {
				want[5*k] = mean * p[k]
			}
			near(t, reduction+", "+source, out["asdl/l/S/next"].v, want, tol)
		}
	}
}

// TestBinaryCut: logarithms of impossible probabilities count -100, as in PyTorch.
func TestBinaryCut(t *testing.T) {
	c := lossCase{shape: []int{2, 2}, axis: 1, loss: pass.LossOptions{Row: "bce", Reduction: "sum"}}
	s := instrument(t, c.direct(), record(t, "sgd"), pass.Options{OutputGrad: true, Loss: c.loss})
	out := s.step(arrays{"x": {[]int{2, 2}, []float64{0, 0, 1, 1}}, "target": {[]int{2, 2}, []float64{0, 1, 0.25, 1}}, "lr": number(0)})
	near(t, "loss", out["loss"].v, []float64{175}, 1e-13)
	near(t, "gradient", out["grad/w"].v, []float64{0, -1e12, 0.75e12, 0}, 1e-13)
}

// TestOwnLoss: a model that computes its squared error, as a mean, a sum or row by row, trains as under that loss; so do the
// factors of gradients of examples.
func TestOwnLoss(t *testing.T) {
	const body = `(double[N,3] x, double[N,2] y) => (double[N,2] z, %s) PARAMS {
		z = Gemm <transB: int = 1> (x, "l.weight", "l.bias")  d = Sub (z, y)  s = Mul (d, d)  %s }`
	rng := rand.New(rand.NewPCG(7, 11))
	params := arrays{"l.weight": normals(rng, 2, 3), "l.bias": normals(rng, 2)}
	x, y := normals(rng, 5, 3), normals(rng, 5, 2)
	for _, c := range []struct{ name, typ, end, reduction, row string }{
		{"mean", "double own", `m = ReduceMean <keepdims: int = 0> (s)  own = Identity (m)`, "mean", "mean"},
		{"sum", "double own", `own = ReduceSum <keepdims: int = 0> (s)`, "sum", "sum"},
		{"rows", "double[N] own", `axes = Constant <value: tensor = int64[1] {1}> ()  own = ReduceSum <keepdims: int = 0> (s, axes)`, "mean", "rows"},
		{"summed rows", "double[N,1] own", `axes = Constant <value: tensor = int64[1] {1}> ()  own = ReduceSum <keepdims: int = 1> (s, axes)`, "sum", "sum"},
	} {
		for _, method := range []string{"sgd", "kfac"} {
			rec := record(t, "sgd")
			if method == "kfac" {
				rec = record(t, "kfac", "curvature.source=emp")
			}
			o := pass.Options{OutputGrad: true, OutputPrecond: true, Loss: pass.LossOptions{Row: "output:own", Reduction: c.reduction}}
			got := instrument(t, source(fmt.Sprintf(body, c.typ, c.end), params), rec, o).step(arrays{"x": x, "y": y})
			plain := `(double[N,3] x) => (double[N,2] z) PARAMS { z = Gemm <transB: int = 1> (x, "l.weight", "l.bias") }`
			o.Loss = pass.LossOptions{Row: "mse", Reduction: c.row}
			want := instrument(t, source(plain, params), rec, o).step(arrays{"x": x, "target": y})
			for _, name := range []string{"loss", "grad/l.weight", "precond/l.weight", "precond/l.bias"} {
				near(t, c.name+", "+method+": "+name, got[name].v, want[name].v, 1e-10)
			}
		}
	}
}

// TestLossesTrain: every loss with methods of each kind of curvature, 20 steps.
func TestLossesTrain(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 11))
	params := arrays{"a.weight": normals(rng, 6, 3), "a.bias": normals(rng, 6), "b.weight": normals(rng, 4, 6), "b.bias": normals(rng, 4)}
	const hidden = ` PARAMS { p = Gemm <transB: int = 1> (x, "a.weight", "a.bias")  h = Tanh (p)  z = Gemm <transB: int = 1> (h, "b.weight", "b.bias")  `
	models := map[string]string{
		"":    `(double[N,3] x) => (double[N,4] z)` + hidden + `}`,
		"bce": `(double[N,3] x) => (double[N,4] y)` + hidden + ` s = Neg (z)  e = Exp (s)  one = Constant <value: tensor = double {1}> ()  f = Add (e, one)  y = Div (one, f) }`,
		"nll": `(double[N,3] x) => (double[N,4] y)` + hidden + ` l = LogSoftmax (z)  y = Identity (l) }`,
		"output:y": `(double[N,3] x) => (double[N,4] z, double y)` + hidden +
			` a = Abs (z)  y = ReduceMean <keepdims: int = 0> (a) }`,
	}
	for _, row := range []string{"cross-entropy", "nll", "bce-with-logits", "bce", "mse", "l1", "huber", "smooth-l1", "output:y"} {
		body := models[row]
		if body == "" {
			body = models[""]
		}
		c := lossCase{shape: []int{8, 4}, axis: 1, labels: row == "cross-entropy" || row == "nll"}
		target := c.target(rng)
		if strings.HasPrefix(row, "bce") {
			target = unitCase{}.draw(rng, true, 8, 4)
		}
		feeds := arrays{"x": normals(rng, 8, 3), "target": target}
		if row == "output:y" {
			delete(feeds, "target")
		}
		for _, m := range [][]string{{"sgd"}, {"adam"}, {"kfac", "curvature.source=mc"}, {"kfac", "curvature.source=exact"}, {"kfac", "curvature.source=emp"}} {
			o := pass.Options{Loss: pass.LossOptions{Row: row}}
			text, rec := source(body, params), record(t, m[0], m[1:]...)
			sampled, rooted := slices.Contains(m, "curvature.source=mc"), slices.Contains(m, "curvature.source=exact")
			if row == "output:y" && (sampled || rooted) || (row == "huber" || row == "smooth-l1") && sampled {
				_, err := passes.Instrument(passtest.Parse(t, text), rec, o, "")
				var option *pass.OptionError
				if !errors.As(err, &option) || !strings.Contains(err.Error(), "curvature.source=emp") {
					t.Errorf("%s with %v: error %v, want a refusal that names curvature.source=emp", row, m, err)
				}
				continue
			}
			s := instrument(t, text, rec, o)
			var first, last float64
			for step := range 20 {
				out := s.step(feeds)
				if !finiteArrays(out) {
					t.Fatalf("%s with %v: step %d is not finite", row, m, step)
				}
				if last = out["loss"].v[0]; step == 0 {
					first = last
				}
			}
			if !(last < first) {
				t.Errorf("%s with %v: the loss goes from %g to %g in 20 steps", row, m, first, last)
			}
		}
	}
}

// TestLossOptions: options that a loss does not take, or cannot have, are refused.
func TestLossOptions(t *testing.T) {
	text := source(`(double[N,3] x) => (double[N,2] y) PARAMS { y = MatMul (x, "w") }`, arrays{"w": normals(rand.New(rand.NewPCG(1, 1)), 3, 2)})
	ignore := int64(0)
	for want, o := range map[string]pass.LossOptions{
		"label-smoothing=0.1: want a loss that has it: cross-entropy":      {Row: "mse", LabelSmoothing: 0.1},
		"ignore-index=0: want a loss that has it: cross-entropy, nll":      {Row: "l1", IgnoreIndex: &ignore},
		"loss-weights=[1 2]: want a loss that has it: cross-entropy, nll":  {Row: "bce", ClassWeights: []float64{1, 2}},
		"loss-weights=[1 2 3]: want 2 numbers":                             {ClassWeights: []float64{1, 2, 3}},
		"loss-weights=-1: want numbers that are at least 0":                {ClassWeights: []float64{1, -1}},
		"loss-delta=1: want a loss that has it: huber, smooth-l1":          {Row: "mse", Delta: 1},
		"loss-delta=-1: want a positive number":                            {Row: "huber", Delta: -1},
		"loss=output:nothing: want an output of the model: y":              {Row: "output:nothing"},
		"loss=output: want output:NAME, with the name of an output":        {Row: "output"},
		"loss=guess: want one of cross-entropy, nll, bce-with-logits, bce": {Row: "guess"},
	} {
		_, err := passes.Instrument(passtest.Parse(t, text), record(t, "sgd"), pass.Options{Loss: o}, "")
		var option *pass.OptionError
		if !errors.As(err, &option) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}
