package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// momentsOf are mean and population variance of the elements of x for which keep holds.
func momentsOf[T amd64.Float](x []T, keep func(i int) bool) (mean, variance float64) {
	count := 0.0
	for i, v := range x {
		if keep(i) {
			mean += float64(v)
			count++
		}
	}
	mean /= count
	for i, v := range x {
		if keep(i) {
			variance += (float64(v) - mean) * (float64(v) - mean) / count
		}
	}
	return mean, variance
}

func TestBatchNorm(t *testing.T) {
	forPools(t, func(t *testing.T, p *Pool) {
		testBatchNorm[float32](t, p)
		testBatchNorm[float64](t, p)
	})
}

func testBatchNorm[T amd64.Float](t *testing.T, p *Pool) {
	rng := rand.New(rand.NewPCG(5, 6))
	for _, shape := range [][]int{{4, 3, 5, 7}, {6, 3}, {2, 1, 9}, {3, 17, 2, 2, 2}} {
		channels, space := shape[1], Count(shape[2:])
		x := randomTensor[T](rng, shape...)
		in := []*Tensor{x}
		for range 4 {
			in = append(in, randomTensor[T](rng, channels))
		}
		for i, v := range Data[T](in[4]) {
			Data[T](in[4])[i] = v*v + 0.1
		}
		for _, form := range []struct{ opset, training, outputs int }{
			{7, 0, 1}, {9, 0, 1}, {9, 0, 5}, {14, 0, 1}, {14, 1, 3}, {15, 1, 1},
		} {
			o := opCase{op: "BatchNormalization", opset: form.opset, in: in, pool: p}
			o.attrs = []graph.Attr{graph.F("epsilon", 0.01), graph.F("momentum", 0.75)}
			if form.opset >= 14 {
				o.attrs = append(o.attrs, graph.I("training_mode", int64(form.training)))
			}
			o.out = []Spec{outLike[T](shape...)}
			for len(o.out) < form.outputs {
				o.out = append(o.out, outLike[T](channels))
			}
			want := make([][]float64, 5)
			want[0] = make([]float64, x.Len())
			for c := range channels {
				mean, variance := float64(Data[T](in[3])[c]), float64(Data[T](in[4])[c])
				if form.outputs > 1 || form.training == 1 {
					m, v := momentsOf(Data[T](x), func(i int) bool { return i/space%channels == c })
					want[1] = append(want[1], 0.75*mean+0.25*m)
					want[2] = append(want[2], 0.75*variance+0.25*v)
					want[3], want[4] = append(want[3], m), append(want[4], v)
					mean, variance = m, v
				}
				for i, v := range Data[T](x) {
					if i/space%channels == c {
						scale, bias := float64(Data[T](in[1])[c]), float64(Data[T](in[2])[c])
						want[0][i] = (float64(v)-mean)/math.Sqrt(variance+float64(float32(0.01)))*scale + bias
					}
				}
			}
			for i, y := range o.run(t) {
				wantClose[T](t, fmt.Sprint(shape, form, " output ", i), y, want[i], tolerance[T](40))
			}
			if n := o.allocs(t); n != 0 {
				t.Errorf("%v allocations per run", n)
			}
		}
	}
}

// TestBatchNormPerElement is opset 7 with spatial=0: statistics for each element of [C, S].
func TestBatchNormPerElement(t *testing.T) {
	x := Of([]float32{1, 2, 3, 4}, 1, 2, 2)
	o := opCase{
		op: "BatchNormalization", opset: 7, attrs: []graph.Attr{graph.I("spatial", 0), graph.F("epsilon", 0)},
		in:  []*Tensor{x, Of([]float32{1, 1, 1, 2}, 2, 2), Of([]float32{0, 0, 0, 1}, 2, 2), Of([]float32{1, 1, 1, 1}, 2, 2), Of([]float32{1, 4, 1, 1}, 2, 2)},
		out: []Spec{outLike[float32](1, 2, 2)},
	}
	wantClose[float32](t, "Y", o.run(t)[0], []float64{0, 0.5, 2, 7}, 1e-6)
}

func TestRowNorms(t *testing.T) {
	forPools(t, func(t *testing.T, p *Pool) {
		testRowNorms[float32](t, p)
		testRowNorms[float64](t, p)
	})
}

func testRowNorms[T amd64.Float](t *testing.T, p *Pool) {
	rng := rand.New(rand.NewPCG(7, 8))
	shape := []int{3, 6, 5, 4}
	x := randomTensor[T](rng, shape...)
	const eps = 0.03125
	for _, c := range []struct {
		op    string
		opset int
		attrs []graph.Attr
		scale []int
		bias  bool
		row   func(i int) int // the row of element i of x
		at    func(i int) int // the element of scale that it takes
		stats []int
		width int
	}{
		{op: "LayerNormalization", attrs: []graph.Attr{graph.I("axis", -1)}, scale: []int{4}, bias: true, row: func(i int) int { return i / 4 }, at: func(i int) int { return i % 4 }, stats: []int{3, 6, 5, 1}},
		{op: "LayerNormalization", attrs: []graph.Attr{graph.I("axis", 1)}, scale: []int{6, 5, 4}, row: func(i int) int { return i / 120 }, at: func(i int) int { return i % 120 }, stats: []int{3, 1, 1, 1}},
		{op: "LayerNormalization", attrs: []graph.Attr{graph.I("axis", 2)}, scale: []int{5, 1}, bias: true, row: func(i int) int { return i / 20 }, at: func(i int) int { return i % 20 / 4 }, stats: []int{3, 6, 1, 1}},
		{op: "LayerNormalization", attrs: []graph.Attr{graph.I("axis", 0)}, scale: []int{1}, bias: true, row: func(int) int { return 0 }, at: func(int) int { return 0 }, stats: []int{1, 1, 1, 1}},
		{op: "RMSNormalization", attrs: []graph.Attr{graph.I("axis", -2)}, scale: []int{5, 4}, row: func(i int) int { return i / 20 }, at: func(i int) int { return i % 20 }},
		{op: "InstanceNormalization", scale: []int{6}, bias: true, row: func(i int) int { return i / 20 }, at: func(i int) int { return i / 20 % 6 }},
		{op: "GroupNormalization", opset: 18, attrs: []graph.Attr{graph.I("num_groups", 2)}, scale: []int{2}, bias: true, row: func(i int) int { return i / 60 }, at: func(i int) int { return i / 60 % 2 }},
		{op: "GroupNormalization", opset: 21, attrs: []graph.Attr{graph.I("num_groups", 3)}, scale: []int{6}, bias: true, row: func(i int) int { return i / 40 }, at: func(i int) int { return i / 20 % 6 }},
	} {
		o := opCase{op: c.op, opset: c.opset, attrs: append(c.attrs, graph.F("epsilon", eps)), pool: p}
		o.in = []*Tensor{x, randomTensor[T](rng, c.scale...)}
		if c.bias {
			o.in = append(o.in, randomTensor[T](rng, c.scale...))
		}
		o.out = []Spec{outLike[T](shape...)}
		if c.stats != nil {
			o.out = append(o.out, outLike[T](c.stats...), outLike[T](c.stats...))
		}
		var y, means, invs []float64
		for i, v := range Data[T](x) {
			r := c.row(i)
			mean, variance := momentsOf(Data[T](x), func(k int) bool { return c.row(k) == r })
			if c.op == "RMSNormalization" {
				mean, variance = 0, variance+mean*mean
			}
			inv := 1 / math.Sqrt(variance+eps)
			w := (float64(v) - mean) * inv * float64(Data[T](o.in[1])[c.at(i)])
			if c.bias {
				w += float64(Data[T](o.in[2])[c.at(i)])
			}
			y = append(y, w)
			if r == len(means) {
				means, invs = append(means, mean), append(invs, inv)
			}
		}
		got := o.run(t)
		wantClose[T](t, fmt.Sprint(c.op, c.attrs), got[0], y, tolerance[T](20))
		if c.stats != nil {
			wantClose[T](t, "Mean", got[1], means, tolerance[T](4))
			wantClose[T](t, "InvStdDev", got[2], invs, tolerance[T](4))
		}
		if n := o.allocs(t); n != 0 {
			t.Errorf("%s: %v allocations per run", c.op, n)
		}
	}
}

// TestNormsOfConstantRows: a variance of zero must not give NaN, nor a large common offset lose everything.
func TestNormsOfConstantRows(t *testing.T) {
	x := New(graph.Float32, 2, 4, 8)
	for i := range Data[float32](x) {
		Data[float32](x)[i] = 1e18
	}
	one, zero := Of([]float32{1, 1, 1, 1}, 4), Of([]float32{0, 0, 0, 0}, 4)
	for _, o := range []opCase{
		{op: "InstanceNormalization", in: []*Tensor{x, one, zero}},
		{op: "GroupNormalization", in: []*Tensor{x, one, zero}, attrs: []graph.Attr{graph.I("num_groups", 2)}},
		{op: "BatchNormalization", in: []*Tensor{x, one, zero, zero, one}, attrs: []graph.Attr{graph.I("training_mode", 1)}},
	} {
		o.out = []Spec{outLike[float32](2, 4, 8)}
		wantClose[float32](t, o.op, o.run(t)[0], make([]float64, 64), 0)
	}
}

func TestSoftmax(t *testing.T) {
	forPools(t, func(t *testing.T, p *Pool) {
		testSoftmax[float32](t, p)
		testSoftmax[float64](t, p)
	})
}

func testSoftmax[T amd64.Float](t *testing.T, p *Pool) {
	rng := rand.New(rand.NewPCG(9, 10))
	shape := []int{3, 4, 5}
	for _, c := range []struct {
		opset    int
		axis     int64
		n, inner int
	}{{13, 2, 5, 1}, {13, -1, 5, 1}, {13, 1, 4, 5}, {13, 0, 3, 20}, {11, 1, 20, 1}, {11, 2, 5, 1}, {11, 0, 60, 1}, {11, -1, 5, 1}} {
		x := randomTensor[T](rng, shape...)
		data := Data[T](x)
		for i := range data {
			data[i] *= 100
		}
		data[7] = T(math.Inf(-1))
		data[8] = T(math.Inf(-1))
		soft, log := make([]float64, len(data)), make([]float64, len(data))
		for i := range data {
			group := func(k int) bool { return k/(c.n*c.inner) == i/(c.n*c.inner) && k%c.inner == i%c.inner }
			m, sum := math.Inf(-1), 0.0
			for k, v := range data {
				if group(k) {
					m = max(m, float64(v))
				}
			}
			for k, v := range data {
				if group(k) {
					sum += math.Exp(float64(v) - m)
				}
			}
			log[i] = float64(data[i]) - m - math.Log(sum)
			soft[i] = math.Exp(float64(data[i])-m) / sum
		}
		for op, want := range map[string][]float64{"Softmax": soft, "LogSoftmax": log} {
			o := opCase{op: op, opset: c.opset, attrs: []graph.Attr{graph.I("axis", c.axis)}, in: []*Tensor{x}, out: []Spec{outLike[T](shape...)}, pool: p}
			wantClose[T](t, fmt.Sprint(op, c), o.run(t)[0], want, tolerance[T](4))
			if n := o.allocs(t); n != 0 {
				t.Errorf("%s: %v allocations per run", op, n)
			}
		}
	}
}

func TestSoftmaxExtremes(t *testing.T) {
	inf := float32(math.Inf(1))
	x := Of([]float32{3e38, -3e38, 3e38, -inf, -inf, -inf}, 2, 3)
	nan := math.NaN()
	got := opCase{op: "Softmax", in: []*Tensor{x}, out: []Spec{outLike[float32](2, 3)}}.run(t)[0]
	wantClose[float32](t, "Softmax", got, []float64{0.5, 0, 0.5, nan, nan, nan}, 1e-6)
	got = opCase{op: "LogSoftmax", in: []*Tensor{Of([]float32{3e38, -3e38, -inf}, 1, 3)}, out: []Spec{outLike[float32](1, 3)}}.run(t)[0]
	wantClose[float32](t, "LogSoftmax", got, []float64{0, math.Inf(-1), math.Inf(-1)}, 1e-6)
}

// The vector kernel of Softmax agrees with the portable one, whatever the length of rows.
func TestSoftmaxVector(t *testing.T) {
	forPools(t, func(t *testing.T, p *Pool) {
		rng := rand.New(rand.NewPCG(5, 5))
		for _, n := range []int{1, 2, 10, 65, 1000, 3000} {
			x := randomTensor[float32](rng, 3, n)
			for i := range Data[float32](x) {
				Data[float32](x)[i] *= 20
			}
			c := &Call{
				Node: graph.NewGraph("g").AddNode("", "Softmax", nil, []string{"y"}), Opset: 13, Pool: p,
				In: []Spec{{Present: true, Elem: graph.Float32, Shape: x.Shape}}, Out: []Spec{outLike[float32](3, n)},
			}
			run, err := vectorSoftmax(c)
			if err != nil {
				t.Fatal(err)
			}
			got, want := New(graph.Float32, 3, n), make([]float64, 3*n)
			if err := run([]*Tensor{x}, []*Tensor{got}); err != nil {
				t.Fatal(err)
			}
			for r := range 3 {
				row, sum := Data[float32](x)[r*n:(r+1)*n], 0.0
				for _, v := range row {
					sum += math.Exp(float64(v))
				}
				for i, v := range row {
					want[r*n+i] = math.Exp(float64(v)) / sum
				}
			}
			for i, v := range Data[float32](got) {
				if math.Abs(float64(v)-want[i]) > 4e-6*want[i]+1e-38 { // rounding of the exponent
					t.Fatalf("n=%d: element %d is %v, want %v", n, i, v, want[i])
				}
			}
		}
	})
}
