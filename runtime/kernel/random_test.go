package kernel

import (
	"bytes"
	"math"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// moments are mean and variance.
func moments[T amd64.Float](x []T) (mean, variance float64) {
	for _, v := range x {
		mean += float64(v) / float64(len(x))
	}
	for _, v := range x {
		variance += (float64(v) - mean) * (float64(v) - mean) / float64(len(x))
	}
	return mean, variance
}

// draw runs a random operator once. Twice the same call gives the same numbers, the next run others.
func draw(t *testing.T, o opCase) *Tensor {
	t.Helper()
	run, out, err := o.prepare(t)
	again, other, err2 := o.prepare(t)
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	if run(o.in, out) != nil || again(o.in, other) != nil {
		t.Fatalf("%s: run fails", o.op)
	}
	if !bytes.Equal(out[0].Raw, other[0].Raw) {
		t.Errorf("%s: two sessions differ", o.op)
	}
	if again(o.in, other) != nil || bytes.Equal(out[0].Raw, other[0].Raw) {
		t.Errorf("%s: the second run repeats the first", o.op)
	}
	return out[0]
}

func TestRandomDistributions(t *testing.T) {
	testRandomDistributions[float32](t)
	testRandomDistributions[float64](t)
}

// testRandomDistributions compares moments of 40,000 numbers, whose standard errors are below 0.005 deviations.
func testRandomDistributions[T amd64.Float](t *testing.T) {
	const n = 40000
	like := []*Tensor{New(graph.ElemOf[T](), n)}
	for _, c := range []struct {
		o              opCase
		mean, variance float64
	}{
		{opCase{op: "RandomUniform", attrs: []graph.Attr{graph.F("low", -1), graph.F("high", 3)}}, 1, 16.0 / 12},
		{opCase{op: "RandomUniformLike", in: like}, 0.5, 1.0 / 12},
		{opCase{op: "RandomNormal", attrs: []graph.Attr{graph.F("mean", 2), graph.F("scale", 3), graph.F("seed", 5)}}, 2, 9},
		{opCase{op: "RandomNormalLike", in: like}, 0, 1},
	} {
		c.o.out = []Spec{outLike[T](n)}
		y := Data[T](draw(t, c.o))
		mean, variance := moments(y)
		if sd := math.Sqrt(c.variance); math.Abs(mean-c.mean) > 0.02*sd || math.Abs(variance/c.variance-1) > 0.04 {
			t.Errorf("%s: mean %g and variance %g, want %g and %g", c.o.op, mean, variance, c.mean, c.variance)
		}
	}
	high := float32(1 + 0x1p-22) // two units above the lower end
	uniform := opCase{op: "RandomUniform", attrs: []graph.Attr{graph.F("low", 1), graph.F("high", high)}, out: []Spec{outLike[T](n)}}
	for _, v := range Data[T](draw(t, uniform)) {
		if v < 1 || v >= T(high) {
			t.Fatalf("RandomUniform gives %v, its upper end", v)
		}
	}
}

func TestBernoulli(t *testing.T) {
	p := New(graph.Float32, 3, 10000)
	for i := range 10000 {
		Data[float32](p)[i], Data[float32](p)[10000+i], Data[float32](p)[20000+i] = 0, 1, 0.3
	}
	for _, e := range []graph.Elem{graph.Float32, graph.Float64, graph.Bool, graph.Int64, graph.Float16} {
		y := draw(t, opCase{op: "Bernoulli", in: []*Tensor{p}, out: []Spec{{Present: true, Elem: e, Shape: p.Shape}}})
		wide := New(graph.Float64, 3, 10000)
		casterOf(e, graph.Float64)(wide.Raw, y.Raw)
		for row, want := range []float64{0, 1, 0.3} {
			mean, _ := moments(Data[float64](wide)[row*10000:][:10000])
			if math.Abs(mean-want) > 1e-9+0.1*want*(1-want) {
				t.Errorf("%s: %g of probability %g", e, mean, want)
			}
		}
	}
}

func TestMultinomial(t *testing.T) {
	inf := float32(math.Inf(-1))
	x := Of([]float32{0, float32(math.Log(3)), inf, -200, -200, inf}, 2, 3)
	y := draw(t, opCase{op: "Multinomial", in: []*Tensor{x}, out: []Spec{outLike[int32](2, 10000)}})
	var count [2][3]float64
	for i, class := range Data[int32](y) {
		count[i/10000][class] += 1e-4
	}
	for row, want := range [2][3]float64{{0.25, 0.75, 0}, {0.5, 0.5, 0}} {
		for class, p := range want {
			if math.Abs(count[row][class]-p) > 0.02*min(1, 50*p) {
				t.Errorf("row %d: class %d has frequency %g, want %g", row, class, count[row][class], p)
			}
		}
	}
	for _, bad := range [][]float32{{inf, inf}, {float32(math.NaN()), 0}, {float32(math.Inf(1)), 0}} {
		opCase{op: "Multinomial", in: []*Tensor{Of(bad, 1, 2)}, out: []Spec{outLike[int64](1, 1)}}.mustFail(t)
	}
}
