package kernel

import (
	"math"

	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// vectorRank puts the rows on vector kernels above the portable ones.
const vectorRank = 10

// vectorTable are float32 operators on the vector kernels of the call's pool.
func vectorTable() []Row {
	var rows []Row
	for _, op := range []string{"Add", "Sub", "Mul", "Div"} {
		rows = append(rows, inPlace([]int{0, 1}, row[float32](op, vectorBinary(op)))...)
	}
	for op, v := range vectorUnaries {
		rows = append(rows, inPlace([]int{0}, row[float32](op, vectorUnary(v.f, v.grain)))...)
	}
	rows = append(rows, inPlace([]int{0}, runtimeRow(row[float32]("ReluGrad", vectorReluGrad)))...)
	rows = append(rows,
		row[float32]("ReduceSum", vectorSum(as[float32, float64])),
		row[float32]("ReduceMean", vectorSum(mean[float32, float64])),
		row[float32]("ReduceL1", vectorSizes),
		row[float32]("ReduceSumSquare", vectorSquares(as[float32, float64])),
		row[float32]("ReduceL2", vectorSquares(func(s float64, _ int) float32 { return float32(math.Sqrt(s)) })),
		row[float32]("ReduceMax", vectorMax),
		row[float32]("Softmax", vectorSoftmax),
	)
	for i := range rows {
		rows[i].Rank, rows[i].Note = vectorRank, "vector"
	}
	return rows
}

// vectors are the element-wise kernels of a pool.
type vectors = *amd64.Kernels

// vectorUnaries are the operators of one argument that have vector kernels.
var vectorUnaries = map[string]struct {
	f     func(k vectors, dst, x []float32)
	grain int
}{
	"Relu":       {vectors.Relu, grainCheap},
	"Neg":        {vectors.Neg, grainCheap},
	"Sqrt":       {vectors.Sqrt, grainCheap},
	"Reciprocal": {func(k vectors, dst, x []float32) { k.DivInto(dst, x, 1) }, grainCheap},
	"Exp":        {vectors.Exp, grainCostly},
	"Tanh":       {vectors.Tanh, grainCostly},
	"Sigmoid":    {vectors.Sigmoid, grainCostly},
	"Erf":        {vectors.Erf, grainCostly},
}

// vectorLoops are the loops of the operators of two arguments.
func vectorLoops(k vectors) map[string]binaryLoop[float32, float32, float32] {
	swapped := func(f func(dst, x []float32, a float32)) func(dst []float32, a float32, x []float32) {
		return func(dst []float32, a float32, x []float32) { f(dst, x, a) }
	}
	return map[string]binaryLoop[float32, float32, float32]{
		"Add": {vv: k.Add, vs: k.Shift, sv: swapped(k.Shift)},
		"Sub": {vv: k.Sub, vs: func(dst, x []float32, a float32) { k.Shift(dst, x, -a) }, sv: swapped(k.SubFrom)},
		"Mul": {vv: k.Mul, vs: k.Scale, sv: swapped(k.Scale)},
		"Div": {vv: k.Div, vs: k.DivBy, sv: swapped(k.DivInto)},
	}
}

// vectorBinary replaces the loops of an operator of two arguments.
func vectorBinary(op string) func(*Call) (Run, error) {
	return func(c *Call) (Run, error) { return binary(vectorLoops(c.Pool.Kernels())[op], grainCheap)(c) }
}

func vectorUnary(f func(k vectors, dst, x []float32), grain int) func(*Call) (Run, error) {
	return func(c *Call) (Run, error) {
		k := c.Pool.Kernels()
		return unary(func(dst, x []float32) { f(k, dst, x) }, grain)(c)
	}
}

// shortSum is the number of float32 additions of one chain; longer sums go on in float64.
const shortSum = 64

// shortRun is the length of a run that is summed in float32, in many chains.
const shortRun = 1024

func vectorSum(finish func(float64, int) float32) func(*Call) (Run, error) {
	return func(c *Call) (Run, error) {
		k := c.Pool.Kernels()
		f := summed(finish)
		f.row = byRuns(k.Sum)
		f.short = func(acc, x []float32) { k.Add(acc, acc, x) }
		return f.prepare(c)
	}
}

func vectorSquares(finish func(float64, int) float32) func(*Call) (Run, error) {
	return func(c *Call) (Run, error) {
		k := c.Pool.Kernels()
		f := folded(0, func(acc float64, x float32) float64 { return acc + float64(x)*float64(x) }, plus[float64], finish)
		f.row = byRuns(func(x []float32) float32 { return k.Dot(x, x) })
		return f.prepare(c)
	}
}

// vectorSizes sums absolute values.
func vectorSizes(c *Call) (Run, error) {
	k := c.Pool.Kernels()
	f := folded(0, func(acc float64, x float32) float64 { return acc + math.Abs(float64(x)) }, plus[float64], as[float32, float64])
	f.row = byRuns(k.SumAbs)
	return f.prepare(c)
}

func vectorMax(c *Call) (Run, error) {
	k := c.Pool.Kernels()
	least, _ := limits[float32]()
	f := extreme(least, func(a, b float32) float32 { return max(a, b) })
	f.row = func(acc float32, x []float32) float32 { return max(acc, k.Max(x)) }
	return f.prepare(c)
}

// byRuns adds the float32 sums of short runs in float64.
func byRuns(sum func(x []float32) float32) func(acc float64, x []float32) float64 {
	return func(acc float64, x []float32) float64 {
		for ; len(x) > shortRun; x = x[shortRun:] {
			acc += float64(sum(x[:shortRun]))
		}
		return acc + float64(sum(x))
	}
}

// vectorReluGrad is asdl.ReluGrad.
func vectorReluGrad(c *Call) (Run, error) {
	k := c.Pool.Kernels()
	return reluGrad(c, k.ReluGrad)
}

// vectorSoftmax is Softmax along the last dimension.
func vectorSoftmax(c *Call) (Run, error) {
	s, err := newSoftmax[float32](c, false)
	if err != nil {
		return nil, err
	}
	if s.inner > 1 {
		return nil, ErrDecline
	}
	k := c.Pool.Kernels()
	sum := byRuns(k.Sum)
	s.row = func(y, x []float32) {
		k.ExpSub(y, x, k.Max(x))
		k.Scale(y, y, float32(1/sum(0, y)))
	}
	return s.run(c.Pool), nil
}
