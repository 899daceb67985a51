package passes_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/asdlc/asdlc/passes/pass"
)

// lossCase is a loss with its settings on logits of some shape.
type lossCase struct {
	name   string
	shape  []int // of the logits
	axis   int   // of the classes
	labels bool
	loss   pass.LossOptions
}

func lossCases() []lossCase {
	ignore := int64(-100)
	weights := []float64{0.5, 2, 0, 1.25}
	var cases []lossCase
	for _, s := range []struct {
		shape []int
		axis  int
	}{{[]int{5, 4}, 1}, {[]int{2, 3, 4}, 2}, {[]int{2, 4, 2, 3}, 1}} {
		for _, reduction := range []string{"mean", "sum"} {
			for _, c := range []lossCase{
				{name: "cross-entropy", labels: true},
				{name: "smoothed", labels: true, loss: pass.LossOptions{LabelSmoothing: 0.3}},
				{name: "ignoring", labels: true, loss: pass.LossOptions{IgnoreIndex: &ignore}},
				{name: "smoothed, ignoring", labels: true, loss: pass.LossOptions{LabelSmoothing: 0.3, IgnoreIndex: &ignore}},
				{name: "weighted", labels: true, loss: pass.LossOptions{ClassWeights: weights}},
				{name: "weighted, smoothed, ignoring", labels: true, loss: pass.LossOptions{ClassWeights: weights, LabelSmoothing: 0.3, IgnoreIndex: &ignore}},
				{name: "squared", loss: pass.LossOptions{Row: "mse"}},
			} {
				c.shape, c.axis, c.loss.Reduction = s.shape, s.axis, reduction
				c.name = fmt.Sprintf("%s, %s of %v", c.name, reduction, s.shape)
				cases = append(cases, c)
			}
		}
	}
	rows := lossCase{name: "squared, rows", shape: []int{2, 3, 4}, axis: 2, loss: pass.LossOptions{Row: "mse", Reduction: "rows"}}
	return append(cases, rows)
}

// rowsOf lists the indices of the logits of each row.
func (c lossCase) rowsOf() [][]int {
	st := strides(c.shape)
	var rows [][]int
	size := newArray(c.shape...)
	for i := range size.v {
		if i/st[c.axis]%c.shape[c.axis] != 0 {
			continue
		}
		var row []int
		for k := range c.shape[c.axis] {
			row = append(row, i+k*st[c.axis])
		}
		rows = append(rows, row)
	}
	return rows
}

// target draws targets; with an ignored label, every third is ignored.
func (c lossCase) target(rng *rand.Rand) array {
	if !c.labels {
		return normals(rng, c.shape...)
	}
	shape := append(append([]int{}, c.shape[:c.axis]...), c.shape[c.axis+1:]...)
	target := labels(rng, c.shape[c.axis], shape...)
	for i := range target.v {
		if c.loss.IgnoreIndex != nil && i%3 == 1 {
			target.v[i] = float64(*c.loss.IgnoreIndex)
		}
	}
	return target
}

// value is the loss by its definition.
func (c lossCase) value(z []float64, target array) float64 {
	sum, count := 0.0, 0.0
	for r, row := range c.rowsOf() {
		if !c.labels {
			count++
			for _, i := range row {
				d := z[i] - target.v[i]
				if c.loss.Reduction == "mean" {
					d /= math.Sqrt(float64(len(row)))
				}
				sum += d * d
			}
			continue
		}
		if c.loss.IgnoreIndex != nil && target.v[r] == float64(*c.loss.IgnoreIndex) {
			continue
		}
		weight := func(class int) float64 {
			if c.loss.ClassWeights == nil {
				return 1
			}
			return c.loss.ClassWeights[class]
		}
		label, e := int(target.v[r]), c.loss.LabelSmoothing
		count += weight(label)
		logits := make([]complex128, len(row))
		for k, i := range row {
			logits[k] = complex(z[i], 0)
		}
		for class := range row {
			q := e / float64(len(row))
			if class == label {
				q += 1 - e
			}
			sum += q * weight(class) * real(crossEntropyLoss(logits, class, 0))
		}
	}
	if c.loss.Reduction == "sum" {
		return sum
	}
	return sum / count
}

func dims(shape []int) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(shape), " ", ","), "[]")
}

// direct is a model whose logits are x + w: the gradient in w is that in the logits.
func (c lossCase) direct() string {
	w := newArray(c.shape...)
	for i := range w.v {
		w.v[i] = 1e-300 * float64(i+1)
	}
	return source(fmt.Sprintf(`(double[%[1]s] x) => (double[%[1]s] y) PARAMS { y = Add (x, "w") }`, dims(c.shape)), arrays{"w": w})
}

// TestLossValueAndGradient: the value is the definition's, and the gradient the finite difference of the value.
func TestLossValueAndGradient(t *testing.T) {
	for _, c := range lossCases() {
		rng := rand.New(rand.NewPCG(1, 11))
		s := instrument(t, c.direct(), record(t, "sgd"), pass.Options{OutputGrad: true, Loss: c.loss})
		x, target := normals(rng, c.shape...), c.target(rng)
		feeds := func(x array) arrays { return arrays{"x": x, "target": target, "lr": number(0)} }
		out := s.step(feeds(x))
		near(t, c.name+": value", out["loss"].v, []float64{c.value(x.v, target)}, 1e-13)
		want := make([]float64, len(x.v))
		for i := range want {
			const h = 1e-4
			at := func(step float64) float64 {
				moved := x.clone()
				moved.v[i] += step
				return s.step(feeds(moved))["loss"].v[0]
			}
			want[i] = (8*(at(h)-at(-h)) - (at(2*h) - at(-2*h))) / (12 * h)
		}
		near(t, c.name+": gradient", out["grad/w"].v, want, 1e-9)
	}
}

// layered is a model whose logits come from a layer with a bias, so that K-FAC keeps their second moment; the weight is
// all but zero, so that the logits of every row are the bias.
func (c lossCase) layered(bias []float64) string {
	k := c.shape[c.axis]
	params := arrays{"l.weight": normals(rand.New(rand.NewPCG(9, 9)), k, 2), "l.bias": {[]int{k}, bias}}
	for i := range params["l.weight"].v {
		params["l.weight"].v[i] *= 1e-200
	}
	in := append([]int{}, c.shape...)
	in[c.axis] = 2
	switch len(c.shape) {
	case 2:
		return source(fmt.Sprintf(`(double[N,2] x) => (double[N,%d] y) PARAMS { y = Gemm <transB: int = 1> (x, "l.weight", "l.bias") }`, k), params)
	case 3:
		return source(fmt.Sprintf(`(double[N,%d,2] x) => (double[N,%d,%d] y) PARAMS {
			t = Transpose ("l.weight")  m = MatMul (x, t)  y = Add (m, "l.bias") }`, c.shape[1], c.shape[1], k), params)
	}
	params["l.weight"] = array{[]int{k, 2, 1, 1}, params["l.weight"].v}
	return source(fmt.Sprintf(`(double[N,2,%[2]d,%[3]d] x) => (double[N,%[1]d,%[2]d,%[3]d] y) PARAMS { y = Conv <kernel_shape: ints = [1,1]> (x, "l.weight", "l.bias") }`,
		k, c.shape[2], c.shape[3]), params)
}

// hessian is the mean over rows of the Hessians of their losses in their logits, which are z in each, by finite differences of
// the definition's value.
func (c lossCase) hessian(z []float64, target array) *mat.Dense {
	h := mat.NewDense(len(z), len(z), nil)
	const e = 1e-3
	all := newArray(c.shape...)
	at := func(i, j int, di, dj float64) float64 {
		for _, row := range c.rowsOf() {
			for k, index := range row {
				all.v[index] = z[k]
			}
			all.v[row[i]] += di
			all.v[row[j]] += dj
		}
		return c.value(all.v, target)
	}
	scale := 4 * e * e
	if c.loss.Reduction == "sum" {
		scale *= c.counted(target)
	}
	for i := range z {
		for j := range z {
			h.Set(i, j, (at(i, j, e, e)-at(i, j, e, -e)-at(i, j, -e, e)+at(i, j, -e, -e))/scale)
		}
	}
	return h
}

// counted is the number of rows that count.
func (c lossCase) counted(target array) float64 {
	n := 0.0
	for r := range c.rowsOf() {
		if c.loss.IgnoreIndex == nil || !c.labels || target.v[r] != float64(*c.loss.IgnoreIndex) {
			n++
		}
	}
	return n
}

// TestLossRootAndSamples: the columns of the root multiply to the Hessian of a row's loss; the second moment of the
// gradient at sampled labels approaches it.
func TestLossRootAndSamples(t *testing.T) {
	for _, c := range lossCases() {
		bias := []float64{0.3, -0.8, 1.1, 0.2}
		for source, tol := range map[string]float64{"exact": 1e-5, "mc": 0.08} {
			batch := 2
			if source == "mc" {
				batch = 1000
			}
			shape := append([]int{batch}, c.shape[1:]...)
			in := append([]int{}, shape...)
			in[c.axis] = 2
			rng := rand.New(rand.NewPCG(2, 11))
			large := c
			large.shape = shape
			target := large.target(rng)
			s := instrument(t, c.layered(bias), record(t, "kfac", "accumulate.beta=0", "accumulate.debias=false", "curvature.source="+source), pass.Options{Loss: c.loss})
			out := s.step(arrays{"x": normals(rng, in...), "target": target, "asdl/seed": number(3)})
			want := large.hessian(bias, target)
			near(t, c.name+", "+source, out["asdl/l/S/next"].v, flat(want), tol)
		}
	}
}
