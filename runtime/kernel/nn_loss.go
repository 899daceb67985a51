package kernel

import (
	"math"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// classLoss is SoftmaxCrossEntropyLoss (x are scores) or NegativeLogLikelihoodLoss (x are log-probabilities) over
// x[N, C, D...] and labels[N, D...]:
//
//	l = -weight[label] * logp[label], 0 where label is ignore_index
//	mean: sum l / sum weight[label] over labels not ignored (0 when that is 0, as in onnxruntime)
//
// A label outside [0, C) that is not ignore_index is an error.
type classLoss[T amd64.Float] struct {
	n, c, d   int
	scores    bool
	reduction string
	ignore    int
	ignores   bool

	x, weight, logProb []T
	labels             *Tensor
	rows               []float64 // the loss of each label
	body               func(lo, hi int)
}

func makeClassLoss[T amd64.Float](scores bool) func(*Call) (Run, error) {
	return func(c *Call) (Run, error) {
		if err := c.needs(2); err != nil {
			return nil, err
		}
		if err := c.indices(1); err != nil {
			return nil, err
		}
		l := &classLoss[T]{scores: scores, reduction: c.Node.Str("reduction", "mean")}
		if a, ok := c.Node.Attr("ignore_index"); ok {
			l.ignores, l.ignore = true, int(a.I)
		}
		if err := l.size(c); err != nil {
			return nil, err
		}
		rows := c.Scratch(8 * l.n * l.d)
		l.body = l.span
		pool := c.Pool
		return func(in, out []*Tensor) error {
			l.x, l.labels, l.weight = Data[T](in[0]), in[1], optional[T](in, 2)
			l.logProb, l.rows = optional[T](out, 1), ScratchOf[float64](rows)
			if err := l.check(c); err != nil {
				return err
			}
			pool.For(l.n*l.d, grainFor(8*l.c), l.body)
			if out[0] != nil {
				l.reduce(Data[T](out[0]))
			}
			return nil
		}, nil
	}
}

func (l *classLoss[T]) size(c *Call) error {
	x, labels := c.In[0].Shape, c.In[1].Shape
	if len(x) == 1 { // one sample: x[C], a scalar label
		x = []int{1, x[0]}
		labels = append([]int{1}, labels...)
	}
	if len(x) < 2 || len(labels) != len(x)-1 || Count(labels) != Count(x[:1])*Count(x[2:]) {
		return c.Errorf(graph.ErrInvalid, "scores %v and labels %v, want [N, C, ...] and [N, ...]", c.In[0].Shape, c.In[1].Shape)
	}
	l.n, l.c, l.d = x[0], x[1], Count(x[2:])
	if c.has(2) && c.In[2].Elem != c.In[0].Elem {
		return c.Errorf(graph.ErrInvalid, "weights are %s and scores %s; insert a Cast", c.In[2].Elem, c.In[0].Elem)
	}
	if err := c.vector(l.c, 2); err != nil {
		return err
	}
	switch l.reduction {
	case "none", "sum", "mean":
		return nil
	}
	return c.Errorf(graph.ErrInvalid, "unknown reduction %q", l.reduction)
}

func (l *classLoss[T]) ignored(label int) bool { return l.ignores && label == l.ignore }

// check refuses labels that are no class.
func (l *classLoss[T]) check(c *Call) error {
	for i := range l.n * l.d {
		if label := indexAt(l.labels, i); (label < 0 || label >= l.c) && !l.ignored(label) {
			return c.Errorf(graph.ErrInvalid, "label %d at index %d is not in [0, %d); give ignore_index if it is to be left out", label, i, l.c)
		}
	}
	return nil
}

// span computes the losses of labels lo..hi, and their log-probabilities.
func (l *classLoss[T]) span(lo, hi int) {
	for i := lo; i < hi; i++ {
		at := i/l.d*l.c*l.d + i%l.d
		shift := 0.0
		if l.scores {
			shift = l.logSum(at)
			for k := 0; l.logProb != nil && k < l.c; k++ {
				l.logProb[at+k*l.d] = T(float64(l.x[at+k*l.d]) - shift)
			}
		}
		label := indexAt(l.labels, i)
		l.rows[i] = 0
		if !l.ignored(label) {
			l.rows[i] = l.weightOf(label) * (shift - float64(l.x[at+label*l.d]))
		}
	}
}

// logSum is log sum exp of the scores of the label whose first score is at.
func (l *classLoss[T]) logSum(at int) float64 {
	top := math.Inf(-1)
	for k := range l.c {
		if v := float64(l.x[at+k*l.d]); v > top || v != v {
			top = v
		}
	}
	sum := 0.0
	for k := range l.c {
		sum += math.Exp(float64(l.x[at+k*l.d]) - top)
	}
	return top + math.Log(sum)
}

func (l *classLoss[T]) weightOf(label int) float64 {
	if l.weight == nil {
		return 1
	}
	return float64(l.weight[label])
}

func (l *classLoss[T]) reduce(y []T) {
	if l.reduction == "none" {
		for i, v := range l.rows {
			y[i] = T(v)
		}
		return
	}
	sum, count := 0.0, 0.0
	for i, v := range l.rows {
		sum += v
		if label := indexAt(l.labels, i); !l.ignored(label) {
			count += l.weightOf(label)
		}
	}
	if l.reduction == "mean" && count != 0 {
		sum /= count
	}
	y[0] = T(sum)
}
