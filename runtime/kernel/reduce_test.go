package kernel_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// reductions are written out as folds over the elements of one output.
var reductions = map[string]func(x []float64) float64{
	"ReduceSum":       sum,
	"ReduceMean":      func(x []float64) float64 { return sum(x) / float64(len(x)) },
	"ReduceMax":       func(x []float64) float64 { return fold(x, math.Inf(-1), math.Max) },
	"ReduceMin":       func(x []float64) float64 { return fold(x, math.Inf(1), math.Min) },
	"ReduceProd":      func(x []float64) float64 { return fold(x, 1, func(a, b float64) float64 { return a * b }) },
	"ReduceSumSquare": func(x []float64) float64 { return fold(x, 0, func(a, b float64) float64 { return a + b*b }) },
	"ReduceL1":        func(x []float64) float64 { return fold(x, 0, func(a, b float64) float64 { return a + math.Abs(b) }) },
	"ReduceL2": func(x []float64) float64 {
		return math.Sqrt(fold(x, 0, func(a, b float64) float64 { return a + b*b }))
	},
	"ReduceLogSumExp": func(x []float64) float64 {
		m := fold(x, math.Inf(-1), math.Max)
		if math.IsInf(m, -1) {
			return m
		}
		return m + math.Log(fold(x, 0, func(a, b float64) float64 { return a + math.Exp(b-m) }))
	},
}

func sum(x []float64) float64 {
	return fold(x, 0, func(a, b float64) float64 { return a + b })
}

func fold(x []float64, acc float64, f func(a, b float64) float64) float64 {
	for _, v := range x {
		acc = f(acc, v)
	}
	return acc
}

// TestReduce compares all ways to reduce some shapes with the folds.
func TestReduce(t *testing.T) {
	pool := kernel.NewPool(2)
	defer pool.Close()
	shapes := [][]int{{}, {1}, {9}, {5, 7}, {0, 3}, {3, 0}, {2, 1, 3}, {3, 4, 5, 6}, {200, 300}, {3, 130, 4}}
	rng := rand.New(rand.NewPCG(1, 1))
	for _, shape := range shapes {
		for mask := range 1 << len(shape) {
			testReduce(t, normal[float32](rng, shape...), mask, pool, 2e-6)
			testReduce(t, normal[float64](rng, shape...), mask, pool, 1e-12)
		}
	}
}

func testReduce(t *testing.T, x *kernel.Tensor, mask int, pool *kernel.Pool, rel float64) {
	t.Helper()
	var axes []int64
	out := slices.Clone(x.Shape)
	for i := range out {
		if mask>>i&1 == 1 {
			axes = append(axes, int64(i-len(out)*(i%2))) // odd ones counted from the end
			out[i] = 1
		}
	}
	groups := make([][]float64, kernel.Count(out))
	flat := floatsOf(x)
	cells := make([]float64, len(groups))
	for i := range cells {
		cells[i] = float64(i)
	}
	places(x.Shape, func(i int, index []int) {
		g := int(at(cells, out, index))
		groups[g] = append(groups[g], flat[i])
	})
	list := kernel.Of(axes, len(axes))
	for op, f := range reductions {
		got := floatsOf(callOp(t, kernel.Default(), pool, op, []*kernel.Tensor{x, list}, x.Elem, out,
			graph.I("noop_with_empty_axes", 1)))
		for i, g := range groups {
			if want := f(g); !near(got[i], want, rel, fold(g, 0, func(a, b float64) float64 { return a + math.Abs(b) })) {
				t.Errorf("%s of %s, axes %v: element %d is %v, want %v", op, x, axes, i, got[i], want)
				break
			}
		}
	}
}

// TestReduceLong sums many float32 numbers that do not cancel: the error must stay near the rounding of the result,
// and the result must not depend on the number of workers.
func TestReduceLong(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, shape := range [][]int{{1 << 20}, {1 << 18, 3}, {1 << 13, 130}} {
		x := kernel.New(graph.Float32, shape...)
		for i := range kernel.Data[float32](x) {
			kernel.Data[float32](x)[i] = rng.Float32()
		}
		out := []int{1}
		if len(shape) == 2 {
			out = []int{1, shape[1]}
		}
		exact := make([]float64, kernel.Count(out))
		for i, v := range floatsOf(x) {
			exact[i%len(exact)] += v
		}
		for name, tables := range map[string][][]kernel.Row{"portable": kernel.Portable(), "default": kernel.Default()} {
			var first []float64
			for _, workers := range []int{1, 2, 3} {
				pool := kernel.NewPool(workers)
				got := floatsOf(callOp(t, tables, pool, "ReduceSum", []*kernel.Tensor{x}, graph.Float32, out, graph.Is("axes", 0)))
				pool.Close()
				if first == nil {
					first = got
				}
				if !slices.Equal(got, first) {
					t.Errorf("%s %v: the sum depends on the number of workers", name, shape)
				}
			}
			for i, want := range exact {
				if !near(first[i], want, 3e-7, 0) {
					t.Errorf("%s %v: sum %d is %v, want %v", name, shape, i, first[i], want)
				}
			}
		}
	}
}

// TestReduceRuntimeAxes changes the axes from run to run.
func TestReduceRuntimeAxes(t *testing.T) {
	x := kernel.Of([]float64{1, 2, 3, 4}, 2, 2)
	axes := kernel.Of([]int64{0}, 1)
	c, err := prepareCall(t, kernel.Portable(), nil, "ReduceSum", []*kernel.Tensor{x, axes}, []tensorSpec{{graph.Float64, []int{2}}})
	if err != nil {
		t.Fatal(err)
	}
	for axis, want := range [][]float64{{4, 6}, {3, 7}} {
		kernel.Data[int64](axes)[0] = int64(axis)
		if err := c.run(c.in, c.out); err != nil {
			t.Fatal(err)
		}
		if got := floatsOf(c.out[0]); !slices.Equal(got, want) {
			t.Errorf("axis %d: %v, want %v", axis, got, want)
		}
	}
}

// TestOrder compares ArgMax, ArgMin, TopK and CumSum with sorting and adding, along every axis.
func TestOrder(t *testing.T) {
	pool := kernel.NewPool(2)
	defer pool.Close()
	rng := rand.New(rand.NewPCG(8, 8))
	for _, shape := range [][]int{{1}, {50}, {3, 40, 2}, {40, 5}, {2, 100}} {
		x := normal[int32](rng, shape...) // with equal elements
		for axis := range shape {
			for _, k := range []int{1, 3, 37} {
				testTopK(t, pool, x, axis, min(k, shape[axis]))
			}
			testCumSum(t, pool, x, axis)
		}
	}
}

// alongAxis collects the lines of x along an axis, by the index with the axis at 0.
func alongAxis(x *kernel.Tensor, axis int) map[string][]float64 {
	lines := map[string][]float64{}
	flat := floatsOf(x)
	places(x.Shape, func(i int, index []int) {
		key := lineKey(index, axis)
		lines[key] = append(lines[key], flat[i])
	})
	return lines
}

func lineKey(index []int, axis int) string {
	at := slices.Clone(index)
	at[axis] = 0
	return fmt.Sprint(at)
}

func testTopK(t *testing.T, pool *kernel.Pool, x *kernel.Tensor, axis, k int) {
	t.Helper()
	lines := alongAxis(x, axis)
	out := slices.Clone(x.Shape)
	out[axis] = k
	for largest := range 2 {
		c, err := prepareCall(t, kernel.Portable(), pool, "TopK", []*kernel.Tensor{x, kernel.Of([]int64{int64(k)}, 1)},
			[]tensorSpec{{x.Elem, out}, {graph.Int64, out}}, graph.I("axis", int64(axis)), graph.I("largest", int64(largest)))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.run(c.in, c.out); err != nil {
			t.Fatal(err)
		}
		values, index := floatsOf(c.out[0]), floatsOf(c.out[1])
		places(out, func(i int, at []int) {
			line := lines[lineKey(at, axis)]
			order := make([]int, len(line))
			for p := range order {
				order[p] = p
			}
			slices.SortStableFunc(order, func(a, b int) int {
				if largest == 1 {
					a, b = b, a
				}
				return int(line[a] - line[b])
			})
			if want := order[at[axis]]; int(index[i]) != want || values[i] != line[want] {
				t.Errorf("TopK %d of %s along %d: place %v is %v (%v), want %d (%v)", k, x, axis, at, index[i], values[i], want, line[want])
			}
		})
		if k == 1 {
			op := []string{"ArgMin", "ArgMax"}[largest]
			got := callOp(t, kernel.Portable(), pool, op, []*kernel.Tensor{x}, graph.Int64, out, graph.I("axis", int64(axis)))
			if !slices.Equal(floatsOf(got), index) {
				t.Errorf("%s of %s along %d: %v, want %v", op, x, axis, floatsOf(got), index)
			}
		}
	}
}

func testCumSum(t *testing.T, pool *kernel.Pool, x *kernel.Tensor, axis int) {
	t.Helper()
	lines := alongAxis(x, axis)
	for mode := range 4 {
		exclusive, reverse := mode&1, mode>>1
		got := floatsOf(callOp(t, kernel.Portable(), pool, "CumSum", []*kernel.Tensor{x, kernel.Of([]int64{int64(axis)})}, x.Elem, x.Shape,
			graph.I("exclusive", int64(exclusive)), graph.I("reverse", int64(reverse))))
		places(x.Shape, func(i int, at []int) {
			line := lines[lineKey(at, axis)]
			part := line[:at[axis]+1-exclusive]
			if reverse == 1 {
				part = line[at[axis]+exclusive:]
			}
			if want := sum(part); got[i] != want {
				t.Errorf("CumSum of %s along %d, mode %d: place %v is %v, want %v", x, axis, mode, at, got[i], want)
			}
		})
	}
}

func TestExtremesOfNaN(t *testing.T) {
	nan := float32(math.NaN())
	x := kernel.Of([]float32{1, nan, 3, nan}, 4)
	for _, op := range []string{"ArgMax", "ArgMin"} {
		for last, want := range []int64{1, 3} {
			got := callOp(t, kernel.Default(), nil, op, []*kernel.Tensor{x}, graph.Int64, []int{1}, graph.I("select_last_index", int64(last)))
			if kernel.Data[int64](got)[0] != want {
				t.Errorf("%s, last %d: %v, want %d", op, last, kernel.Data[int64](got), want)
			}
		}
	}
	for _, op := range []string{"ReduceMax", "ReduceMin", "ReduceSum", "ReduceLogSumExp"} {
		got := callOp(t, kernel.Default(), nil, op, []*kernel.Tensor{x}, graph.Float32, []int{1})
		if v := kernel.Data[float32](got)[0]; v == v {
			t.Errorf("%s of a NaN is %v", op, v)
		}
	}
}
