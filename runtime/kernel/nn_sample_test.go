package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/asdlc/asdlc/graph"
)

// naiveSample interpolates image [h, w] at a point, in grid coordinates (x, y), as a sum over all elements far around.
func naiveSample(image []float64, h, w int, x, y float64, mode, padding string, align bool) float64 {
	fold := func(v float64, n int) float64 { // one reflection at a time
		low, high := -0.5, float64(n)-0.5
		if align {
			low, high = 0, float64(n-1)
		}
		if high <= low {
			return low
		}
		for v < low || v > high {
			if v < low {
				v = 2*low - v
			} else {
				v = 2*high - v
			}
		}
		return v
	}
	place := func(g float64, n int) float64 {
		v, low, high := ((g+1)*float64(n)-1)/2, -0.5, float64(n)-0.5
		if align {
			v, low, high = (g+1)/2*float64(n-1), 0, float64(n-1)
		}
		if mode == "nearest" {
			v = math.RoundToEven(v)
		}
		switch {
		case v >= low && v <= high:
		case padding == "border":
			v = math.Max(0, math.Min(v, float64(n-1)))
		case padding == "reflection":
			v = fold(v, n)
		}
		return v
	}
	index := func(i, n int) int {
		switch {
		case padding == "border":
			return max(0, min(i, n-1))
		case padding == "reflection":
			return max(0, min(int(fold(float64(i), n)), n-1))
		case i < 0 || i >= n:
			return -1
		}
		return i
	}
	weigh := func(d float64) float64 {
		switch mode {
		case "nearest":
			return map[bool]float64{true: 1}[d > -0.5 && d <= 0.5]
		case "cubic":
			return cubicKernel(d, -0.75)
		}
		return math.Max(0, 1-math.Abs(d))
	}
	px, py, sum := place(x, w), place(y, h), 0.0
	for i := -20; i < h+20; i++ {
		for j := -20; j < w+20; j++ {
			if r, c := index(i, h), index(j, w); r >= 0 && c >= 0 {
				sum += weigh(py-float64(i)) * weigh(px-float64(j)) * image[r*w+c]
			}
		}
	}
	return sum
}

func TestGridSample(t *testing.T) {
	forPools(t, func(t *testing.T, p *Pool) {
		rng := rand.New(rand.NewPCG(71, 72))
		for range 200 {
			n, ch, h, w, rows, cols := 1+rng.IntN(2), 1+rng.IntN(2), 1+rng.IntN(4), 1+rng.IntN(4), 1+rng.IntN(3), 1+rng.IntN(3)
			mode := []string{"linear", "nearest", "cubic"}[rng.IntN(3)]
			padding := []string{"zeros", "border", "reflection"}[rng.IntN(3)]
			align := rng.IntN(2)
			x, grid := randomTensor[float64](rng, n, ch, h, w), randomTensor[float64](rng, n, rows, cols, 2)
			for i := range Data[float64](grid) {
				Data[float64](grid)[i] *= 2.5
			}
			o := opCase{
				op: "GridSample", pool: p, in: []*Tensor{x, grid}, out: []Spec{outLike[float64](n, ch, rows, cols)},
				attrs: []graph.Attr{graph.S("mode", mode), graph.S("padding_mode", padding), graph.I("align_corners", int64(align))},
			}
			var want []float64
			for plane := range n * ch {
				for at := range rows * cols {
					g := Data[float64](grid)[(plane/ch*rows*cols+at)*2:]
					want = append(want, naiveSample(Data[float64](x)[plane*h*w:(plane+1)*h*w], h, w, g[0], g[1], mode, padding, align == 1))
				}
			}
			wantClose[float64](t, mode+" "+padding, o.run(t)[0], want, 1e-12)
			if a := o.allocs(t); a != 0 {
				t.Fatalf("%g allocations per run", a)
			}
		}
	})
}

// TestGridSampleOfNothing: what is not a number gives none, and what is far away is outside.
func TestGridSampleOfNothing(t *testing.T) {
	x, nan := Of([]float64{1, 2, 3, 4}, 1, 1, 2, 2), math.NaN()
	grid := Of([]float64{nan, 0, 0, nan, 1e300, 0, math.Inf(-1), 0, 0, 0}, 1, 1, 5, 2)
	o := opCase{op: "GridSample", in: []*Tensor{x, grid}, out: []Spec{outLike[float64](1, 1, 1, 5)}}
	wantClose[float64](t, "GridSample", o.run(t)[0], []float64{nan, nan, 0, 0, 2.5}, 0)
	o.in[1] = New(graph.Float64, 1, 1, 5, 3)
	o.mustFail(t)
}

// TestAffineGrid maps the corners of a rotated square.
func TestAffineGrid(t *testing.T) {
	theta := Of([]float64{0, -1, 0.5, 1, 0, 0}, 1, 2, 3)
	size := Of([]int64{1, 1, 2, 3}, 4)
	for align, at := range []float64{2.0 / 3, 1} { // the outermost points along three
		o := opCase{op: "AffineGrid", in: []*Tensor{theta, size}, out: []Spec{outLike[float64](1, 2, 3, 2)}, attrs: []graph.Attr{graph.I("align_corners", int64(align))}}
		var want []float64
		for _, y := range []float64{-1, 1} {
			for _, x := range []float64{-at, 0, at} {
				if align == 0 {
					want = append(want, 0.5-0.5*y, x)
				} else {
					want = append(want, 0.5-y, x)
				}
			}
		}
		wantClose[float64](t, "AffineGrid", o.run(t)[0], want, 1e-15)
		if a := o.allocs(t); a != 0 {
			t.Fatalf("%g allocations per run", a)
		}
	}
}

// naiveLine is the line through x along an axis at a place of the others.
func naiveLine(x []float64, shape []int, axis, at int) (line []float64, index []int) {
	step := Count(shape[axis+1:])
	for i := range shape[axis] {
		k := at/step*step*shape[axis] + i*step + at%step
		line, index = append(line, x[k]), append(index, k)
	}
	return line, index
}

func TestLineNorms(t *testing.T) {
	rng := rand.New(rand.NewPCG(73, 74))
	for range 100 {
		shape := []int{1 + rng.IntN(3), 1 + rng.IntN(5), 1 + rng.IntN(3)}
		axis := rng.IntN(3)
		x := randomTensor[float64](rng, shape...)
		for _, c := range []struct {
			op    string
			axis  int
			attrs []graph.Attr
			f     func(line []float64, i int) float64
		}{
			{"LpNormalization", axis, []graph.Attr{graph.I("axis", int64(axis)), graph.I("p", 1)}, func(line []float64, i int) float64 {
				sum := 0.0
				for _, v := range line {
					sum += math.Abs(v)
				}
				return line[i] / sum
			}},
			{"LpNormalization", axis, []graph.Attr{graph.I("axis", int64(axis))}, func(line []float64, i int) float64 {
				sum := 0.0
				for _, v := range line {
					sum += v * v
				}
				return line[i] / math.Sqrt(sum)
			}},
			{"Hardmax", axis, []graph.Attr{graph.I("axis", int64(axis))}, func(line []float64, i int) float64 {
				return map[bool]float64{true: 1}[i == slices.Index(line, slices.Max(line))]
			}},
			{"LRN", 1, []graph.Attr{graph.I("size", 4), graph.F("alpha", 0.5), graph.F("beta", 0.5), graph.F("bias", 2)}, func(line []float64, i int) float64 {
				sum := 0.0
				for k, v := range line {
					if k >= i-1 && k <= i+2 {
						sum += v * v
					}
				}
				return line[i] / math.Sqrt(2+0.125*sum)
			}},
		} {
			want := make([]float64, x.Len())
			for at := range x.Len() / shape[c.axis] {
				line, index := naiveLine(Data[float64](x), shape, c.axis, at)
				for i, k := range index {
					want[k] = c.f(line, i)
				}
			}
			o := opCase{op: c.op, in: []*Tensor{x}, out: []Spec{outLike[float64](shape...)}, attrs: c.attrs}
			wantClose[float64](t, c.op, o.run(t)[0], want, 1e-13)
			if a := o.allocs(t); a != 0 {
				t.Fatalf("%s: %g allocations per run", c.op, a)
			}
		}
	}
	flat := opCase{op: "Hardmax", opset: 11, in: []*Tensor{Of([]float64{1, 3, 3, 2}, 1, 2, 2)}, out: []Spec{outLike[float64](1, 2, 2)}}
	wantClose[float64](t, "Hardmax of opset 11", flat.run(t)[0], []float64{0, 1, 0, 0}, 0)
	zero := opCase{op: "LpNormalization", in: []*Tensor{New(graph.Float64, 2)}, out: []Spec{outLike[float64](2)}}
	wantClose[float64](t, "LpNormalization of zeros", zero.run(t)[0], []float64{0, 0}, 0)
}

func TestMeanVarianceNormalization(t *testing.T) {
	x := Of([]float64{1, 5, 2, 2, 3, 9, 2, 2}, 2, 2, 2)
	o := opCase{op: "MeanVarianceNormalization", in: []*Tensor{x}, out: []Spec{outLike[float64](2, 2, 2)}, attrs: []graph.Attr{graph.Is("axes", 0, -1)}}
	d := math.Sqrt(35.0 / 4)
	wantClose[float64](t, o.op, o.run(t)[0], []float64{-3.5 / d, 0.5 / d, 0, 0, -1.5 / d, 4.5 / d, 0, 0}, 1e-8)
	if a := o.allocs(t); a != 0 {
		t.Fatalf("%g allocations per run", a)
	}
}

func TestGlobalLpPool(t *testing.T) {
	x := Of([]float64{3, -4, 0, 1, 2, -2}, 1, 2, 3)
	for p, want := range map[int64][]float64{1: {7, 5}, 2: {5, 3}, 3: {math.Cbrt(91), math.Cbrt(17)}} {
		o := opCase{op: "GlobalLpPool", in: []*Tensor{x}, out: []Spec{outLike[float64](1, 2, 1)}, attrs: []graph.Attr{graph.I("p", p)}}
		wantClose[float64](t, o.op, o.run(t)[0], want, 1e-14)
	}
}
