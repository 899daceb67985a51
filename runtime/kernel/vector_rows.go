package kernel

import (
	"math"

	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// vectorRank puts the rows on vector kernels above the portable ones.
const vectorRank = 10

// vectorTable are float32 operators on the vector kernels of the call's pool.
func vectorTable() []Row {
	rows := inPlace([]int{0, 1},
		row[float32]("Add", vectorBinary(addLoop[float32](), func(k vectors) vectorLoop { return k.Add }, nil)),
		row[float32]("Sub", vectorBinary(subLoop[float32](), func(k vectors) vectorLoop { return k.Sub }, nil)),
		row[float32]("Mul", vectorBinary(mulLoop[float32](), func(k vectors) vectorLoop { return k.Mul }, vectors.Scale)),
		row[float32]("Div", vectorBinary(divLoop[float32](), func(k vectors) vectorLoop { return k.Div }, nil)),
	)
	rows = append(rows, inPlace([]int{0},
		row[float32]("Relu", vectorUnary(vectors.Relu, grainCheap)),
		row[float32]("Exp", vectorUnary(vectors.Exp, grainCostly)),
		row[float32]("Tanh", vectorUnary(vectors.Tanh, grainCostly)),
		row[float32]("Sigmoid", vectorUnary(vectors.Sigmoid, grainCostly)),
		row[float32]("Erf", vectorUnary(vectors.Erf, grainCostly)),
		runtimeRow(row[float32]("ReluGrad", vectorReluGrad)),
	)...)
	rows = append(rows,
		row[float32]("ReduceSum", vectorSum(as[float32, float64])),
		row[float32]("ReduceMean", vectorSum(mean[float32, float64])),
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

type vectorLoop = func(dst, x, y []float32)

// vectorBinary replaces the loop over two vectors, and that of a vector and a scalar if scale is given.
func vectorBinary(loop binaryLoop[float32, float32, float32], vv func(vectors) vectorLoop,
	scale func(k vectors, dst, x []float32, a float32),
) func(*Call) (Run, error) {
	return func(c *Call) (Run, error) {
		k, loop := c.Pool.Kernels(), loop
		loop.vv = vv(k)
		if scale != nil {
			loop.vs = k.Scale
			loop.sv = func(dst []float32, a float32, x []float32) { k.Scale(dst, x, a) }
		}
		return binary(loop, grainCheap)(c)
	}
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
