package precondition

import (
	"math"
	"math/bits"
	"strconv"
	"strings"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// solverWork is a row of the table of what the solver functions cost: floating-point operations for a matrix of m rows and n
// columns, all but a few of which are in products of matrices. Where the number of iterations depends on the data, it is the
// usual one.
type solverWork struct {
	Function string // up to the number that instances of a template end with
	Flops    func(call *graph.Node, m, n float64) float64
}

var solverWorks = []solverWork{
	{"Cholesky", func(_ *graph.Node, n, _ float64) float64 { return 2 * cube(n) / 3 }}, // and the inverse of the factor
	{"CholeskyInverse", func(_ *graph.Node, n, _ float64) float64 { return cube(n) }},
	{"UpperInverse", func(_ *graph.Node, n, _ float64) float64 { return cube(n) / 3 }},
	{"NormBound", func(_ *graph.Node, n, _ float64) float64 { return 6 * n * n }},
	{"LieStep", func(_ *graph.Node, n, _ float64) float64 { return 2 * cube(n) }},
	{"InverseFreeStep", func(_ *graph.Node, n, _ float64) float64 { return 6 * cube(n) }},
	{"NormBound", func(_ *graph.Node, n, _ float64) float64 { return 2 * n * n }},
	{"BatchInverse", func(_ *graph.Node, n, _ float64) float64 { return cube(n) }},
	{"BFGS", func(_ *graph.Node, n, _ float64) float64 { return 9 * n * n }},
	{"PowerIteration", func(call *graph.Node, n, _ float64) float64 { return 2 * n * n * float64(call.Int("iterations", 1)) }},
	{"Polar", polarFlops},
	{"SymmetricEigen", func(_ *graph.Node, n, _ float64) float64 { return 9 * cube(n) }},
	{"BatchEigen", func(_ *graph.Node, n, _ float64) float64 { return 6 * 6 * cube(n) }}, // six sweeps of n^2/2 rotations of two matrices
	{"EigenRoot", func(_ *graph.Node, n, _ float64) float64 { return 11 * cube(n) }},
	{"InverseRoot", inverseRootFlops},
	{"EigenBasis", func(_ *graph.Node, n, _ float64) float64 { return 2 * cube(n) * 2 * 14 }}, // two trips
}

func cube(n float64) float64 { return n * n * n }

// inverseRootFlops are those of the runtime's ten inverses of shifted matrices, for even p up to 8; else, and for small sides, of
// M M, X T, T^p by squaring, and T^p M in each iteration, of which there are about 8. All products are symmetric: the kernel
// computes half of each.
func inverseRootFlops(call *graph.Node, n, _ float64) float64 {
	p := uint(max(1, call.Int("p", 2)))
	if n >= 48 && p <= 8 && p%2 == 0 {
		return 10 * cube(n)
	}
	products := 3 + bits.Len(p) - 1 + bits.OnesCount(p) - 1
	return cube(n) * float64(products) * math.Min(8, float64(call.Int("iterations", 8)))
}

// polarFlops are those of A = X X^T, A A and (b A + c A^2) X in each step, on the short side.
func polarFlops(call *graph.Node, m, n float64) float64 {
	steps, _ := strconv.ParseFloat(strings.TrimPrefix(call.Op, "Polar"), 64)
	return steps * 2 * m * m * (2*n + m)
}

// solverRow is the row of a function, or nil.
func solverRow(name string) *solverWork {
	for i := range solverWorks {
		if solverWorks[i].Function == strings.TrimRight(name, "0123456789") {
			return &solverWorks[i]
		}
	}
	return nil
}

// Counter counts the work of a training graph, before legalize, for given sizes of symbolic dimensions.
func Counter(sizes map[string]int64) op.Counter {
	c := op.Counter{Sizes: sizes, Share: ticking}
	c.Call = func(n *graph.Node) op.Work { return callWork(c, n) }
	return c
}

// callWork is the work of a call of a solver function; tags cost nothing.
func callWork(c op.Counter, n *graph.Node) op.Work {
	if n.IsTag() || pass.Declares(n) || len(n.Inputs()) == 0 {
		return op.Work{}
	}
	shape, ok := c.Shape(n.In(0))
	row := solverRow(n.Op)
	if !ok || row == nil || len(shape) < 2 {
		return op.Work{Unsized: 1}
	}
	batch := 1.0
	for _, d := range shape[:len(shape)-2] {
		batch *= float64(d)
	}
	m, cols := float64(shape[len(shape)-2]), float64(shape[len(shape)-1])
	f := batch * row.Flops(n, m, cols)
	return op.Work{Flops: f, Matmul: f, Bytes: 2 * batch * m * cols * float64(n.In(0).Type.Elem.Size())}
}

// ticking is the share of the steps on which the clock of an If ticks.
func ticking(n *graph.Node) float64 {
	tag := n.In(0).Def()
	if tag == nil || !tag.Is(graph.Asdl, graph.TagEvery) {
		return 1
	}
	if floor := tag.Float("floor", 0); floor > 0 { // where the probability comes to rest
		return float64(floor)
	}
	if s := tag.Str("schedule", ""); s != "" {
		return float64(strings.Count(s, "1")) / float64(len(s))
	}
	return 1 / float64(max(1, tag.Int("every", 1)))
}

// measured runs emit and adds the work of the nodes that it appends to b's graph to w, where a batch size is known.
func (s *shared) measured(b *op.Builder, w *op.Work, emit func()) {
	if s.sizes == nil {
		emit()
		return
	}
	last := b.Graph.Last()
	emit()
	n := b.Graph.First()
	if last != nil {
		n = last.Next()
	}
	for ; n != nil; n = n.Next() {
		*w = w.Plus(Counter(s.sizes).Node(n))
	}
}

// cost is what a block costs, for the report.
func (lv *live) cost() *pass.LayerCost {
	e := lv.e
	c := &pass.LayerCost{Statistics: lv.work.statistics, Solve: lv.work.solve, Apply: lv.work.apply, StatisticsEvery: 1, SolveEvery: 1, Ways: lv.ways}
	if lv.graft != nil {
		c.Apply = c.Apply.Plus(lv.graft.work.statistics)
	}
	if !lv.always {
		c.StatisticsEvery, c.SolveEvery = max(1, e.rec.Accumulate.Every), max(1, e.rec.Solve.Every)
		if p := e.rec.Solve.Probability.Floor; p > 0 {
			c.SolveEvery = int(math.Round(1 / p))
		}
		if e.rec.Accumulate.Kind == "none" {
			c.StatisticsEvery = c.SolveEvery
		}
	}
	return c
}

// works is the work of a block by phase.
type works struct{ statistics, solve, apply op.Work }
