package kernel

import (
	"math"
	"slices"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// folded makes a reducer of the fold of one element.
func folded[T numeric, A any](zero A, f func(A, T) A, merge func(a, b A) A, finish func(A, int) T) reducer[T, A] {
	return reducer[T, A]{
		zero: zero, merge: merge, finish: finish,
		row: func(acc A, x []T) A {
			for _, v := range x {
				acc = f(acc, v)
			}
			return acc
		},
		cols: func(acc []A, x []T) {
			for i, v := range x {
				acc[i] = f(acc[i], v)
			}
		},
	}
}

func plus[A numeric](a, b A) A { return a + b }

func as[T, A numeric](acc A, _ int) T { return T(acc) }

func mean[T, A numeric](acc A, count int) T {
	if count == 0 && graph.ElemOf[T]().IsInt() {
		return 0
	}
	return T(acc / A(count))
}

// summed is a sum with the accumulator A: float64 for floats, T itself for integers.
func summed[T, A numeric](finish func(A, int) T) reducer[T, A] {
	return reducer[T, A]{
		merge: plus[A], finish: finish,
		row: func(acc A, x []T) A {
			var s0, s1, s2, s3 A // four chains of additions run side by side, and round less than one
			for ; len(x) >= 4; x = x[4:] {
				s0 += A(x[0])
				s1 += A(x[1])
				s2 += A(x[2])
				s3 += A(x[3])
			}
			for _, v := range x {
				s0 += A(v)
			}
			return acc + ((s0 + s1) + (s2 + s3))
		},
		cols: func(acc []A, x []T) {
			acc = acc[:len(x)]
			for i, v := range x {
				acc[i] += A(v)
			}
		},
	}
}

// extreme is ReduceMax or ReduceMin; NaN wins.
func extreme[T numeric](zero T, pick func(a, b T) T) reducer[T, T] {
	return folded(zero, pick, pick, as[T, T])
}

// makeMaxAbs is asdl.MaxAbs: the largest absolute value; NaN if any number is.
func makeMaxAbs[T amd64.Float](c *Call) (Run, error) {
	f := extreme(0, func(a, b T) T { return max(a, T(math.Abs(float64(b)))) })
	f.row = func(acc T, x []T) T {
		for _, v := range x {
			acc = max(acc, T(math.Abs(float64(v))))
		}
		return acc
	}
	if f, ok := any(&f).(*reducer[float32, float32]); ok {
		f.row = maxAbs32
	}
	return f.prepare(c)
}

// maxAbs32 compares numbers by their bits, in the order of which NaN comes last.
func maxAbs32(acc float32, x []float32) float32 {
	const magnitude = 1<<31 - 1
	most := [4]uint32{math.Float32bits(acc) & magnitude}
	for ; len(x) >= 4; x = x[4:] {
		for i := range most {
			most[i] = max(most[i], math.Float32bits(x[i])&magnitude)
		}
	}
	for _, v := range x {
		most[0] = max(most[0], math.Float32bits(v)&magnitude)
	}
	return math.Float32frombits(max(most[0], most[1], most[2], most[3]))
}

// logSum is log(Σ e^x) so far, as max + log(sum): no exponential overflows.
type logSum struct{ max, sum float64 }

func (l logSum) add(x float64) logSum {
	switch {
	case x > l.max:
		return logSum{x, l.sum*math.Exp(l.max-x) + 1}
	case x == l.max: // also where both are infinite
		l.sum++
	default:
		l.sum += math.Exp(x - l.max)
	}
	return l
}

func (l logSum) merge(o logSum) logSum {
	switch {
	case o.max > l.max:
		return logSum{o.max, o.sum + l.sum*math.Exp(l.max-o.max)}
	case o.max == l.max:
		l.sum += o.sum
	default:
		l.sum += o.sum * math.Exp(o.max-l.max)
	}
	return l
}

// reductions are the reductions of T with sums in A and real-valued ones in float64.
func reductions[T, A numeric]() []Row {
	least, greatest := limits[T]()
	square := func(acc A, x T) A { return acc + A(x)*A(x) }
	real := func(acc float64, x T) float64 { return acc + float64(x)*float64(x) }
	add := plus[float64]
	rows := []Row{
		row[T]("ReduceSum", summed(as[T, A]).prepare),
		row[T]("ReduceMean", summed(mean[T, A]).prepare),
		row[T]("ReduceProd", folded(1, func(acc A, x T) A { return acc * A(x) }, func(a, b A) A { return a * b }, as[T, A]).prepare),
		row[T]("ReduceMax", extreme(least, func(a, b T) T { return max(a, b) }).prepare),
		row[T]("ReduceMin", extreme(greatest, func(a, b T) T { return min(a, b) }).prepare),
		row[T]("ReduceSumSquare", folded(0, square, plus[A], as[T, A]).prepare),
		row[T]("ReduceL1", folded(0, func(acc A, x T) A { return acc + absolute(A(x)) }, plus[A], as[T, A]).prepare),
		row[T]("ReduceL2", folded(0, real, add, func(s float64, _ int) T { return T(math.Sqrt(s)) }).prepare),
		row[T]("ReduceLogSum", folded(0, func(acc float64, x T) float64 { return acc + float64(x) }, add,
			func(s float64, _ int) T { return T(math.Log(s)) }).prepare),
		row[T]("ReduceLogSumExp", folded(logSum{max: math.Inf(-1)}, func(l logSum, x T) logSum { return l.add(float64(x)) },
			logSum.merge, func(l logSum, _ int) T { return T(l.max + math.Log(l.sum)) }).prepare),
	}
	return rows
}

// reduceTable are the reductions along axes, and what looks for or orders elements along one.
func reduceTable() []Row {
	rows := slices.Concat(
		reductions[float32, float64](), reductions[float64, float64](),
		reductions[int32, int32](), reductions[int64, int64](), reductions[uint32, uint32](), reductions[uint64, uint64](),
		reductions[int8, int32](), reductions[uint8, int32](), reductions[int16, int32](), reductions[uint16, int32](),
	)
	for i := range rows { // false and true are the bytes 0 and 1
		if op := rows[i].Op; (op == "ReduceMax" || op == "ReduceMin") && rows[i].Elems[0] == graph.Uint8 {
			rows[i].Elems = append(rows[i].Elems, graph.Bool)
		}
	}
	return rows
}
