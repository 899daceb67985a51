package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

func TestClassLosses(t *testing.T) {
	forPools(t, func(t *testing.T, p *Pool) {
		testClassLosses[float32](t, p)
		testClassLosses[float64](t, p)
	})
}

func testClassLosses[T amd64.Float](t *testing.T, p *Pool) {
	rng := rand.New(rand.NewPCG(31, 32))
	for _, shape := range [][]int{{5, 7}, {3, 4, 6}, {2, 5, 3, 2}} {
		for _, reduction := range []string{"none", "sum", "mean"} {
			for form := range 4 {
				weighted, ignoring := form&1 != 0, form&2 != 0
				checkClassLosses[T](t, rng, p, shape, reduction, weighted, ignoring)
			}
		}
	}
}

func checkClassLosses[T amd64.Float](t *testing.T, rng *rand.Rand, p *Pool, shape []int, reduction string, weighted, ignoring bool) {
	t.Helper()
	classes, d := shape[1], Count(shape[2:])
	labelShape := append([]int{shape[0]}, shape[2:]...)
	x, labels, weights := randomTensor[T](rng, shape...), New(graph.Int64, labelShape...), randomTensor[T](rng, classes)
	for i := range Data[T](x) {
		Data[T](x)[i] *= 5
	}
	in := []*Tensor{x, labels}
	attrs := []graph.Attr{graph.S("reduction", reduction)}
	if weighted {
		in = append(in, weights)
	}
	if ignoring {
		attrs = append(attrs, graph.I("ignore_index", -1))
	}
	logProb, rows := make([]float64, x.Len()), make([]float64, labels.Len())
	nllRows := make([]float64, labels.Len())
	count := 0.0
	for i := range labels.Len() {
		label := rng.IntN(classes)
		if ignoring && i%3 == 0 {
			label = -1
		}
		Data[int64](labels)[i] = int64(label)
		at, sum := i/d*classes*d+i%d, 0.0
		for c := range classes {
			sum += math.Exp(float64(Data[T](x)[at+c*d]))
		}
		for c := range classes {
			logProb[at+c*d] = float64(Data[T](x)[at+c*d]) - math.Log(sum)
		}
		if label >= 0 {
			w := 1.0
			if weighted {
				w = float64(Data[T](weights)[label])
			}
			count += w
			rows[i], nllRows[i] = -w*logProb[at+label*d], -w*float64(Data[T](x)[at+label*d])
		}
	}
	reduce := func(rows []float64) []float64 {
		sum := 0.0
		for _, v := range rows {
			sum += v
		}
		switch reduction {
		case "none":
			return rows
		case "mean":
			sum /= count
		}
		return []float64{sum}
	}
	outShape := labelShape
	if reduction != "none" {
		outShape = nil
	}
	what := fmt.Sprint(shape, reduction, weighted, ignoring)
	o := opCase{op: "SoftmaxCrossEntropyLoss", in: in, attrs: attrs, pool: p, out: []Spec{outLike[T](outShape...), outLike[T](shape...)}}
	got := o.run(t)
	wantClose[T](t, what, got[0], reduce(rows), tolerance[T](1000))
	wantClose[T](t, what, got[1], logProb, tolerance[T](30))
	if n := o.allocs(t); n != 0 {
		t.Errorf("%v allocations per run", n)
	}
	o.op, o.out = "NegativeLogLikelihoodLoss", o.out[:1]
	wantClose[T](t, what, o.run(t)[0], reduce(nllRows), tolerance[T](1000))
}

func TestClassLossLabels(t *testing.T) {
	x := New(graph.Float32, 2, 3)
	o := opCase{op: "SoftmaxCrossEntropyLoss", in: []*Tensor{x, Of([]int32{1, 3}, 2)}, out: []Spec{outLike[float32]()}}
	if err := o.mustFail(t); !strings.Contains(err.Error(), "label 3 at index 1") {
		t.Error(err)
	}
	o.attrs = []graph.Attr{graph.I("ignore_index", 3)}
	wantClose[float32](t, "ignored", o.run(t)[0], []float64{math.Log(3)}, 1e-6)
	o.in[1] = Of([]int32{3, 3}, 2)
	wantClose[float32](t, "all ignored", o.run(t)[0], []float64{0}, 0)
}

func TestDropout(t *testing.T) {
	rng := rand.New(rand.NewPCG(33, 34))
	const n = 100_000
	x := randomTensor[float32](rng, n)
	for i := range n {
		Data[float32](x)[i] += 2
	}
	pool := NewPool(3)
	defer pool.Close()
	o := opCase{op: "Dropout", in: []*Tensor{x, Of([]float32{0.25}), Of([]bool{true})}, pool: pool}
	o.out = []Spec{outLike[float32](n), outLike[bool](n)}
	o.attrs = []graph.Attr{graph.I("seed", 7)}
	run, out, err := o.prepare(t)
	if err != nil {
		t.Fatal(err)
	}
	step := func() (mask []bool) {
		if err := run(o.in, out); err != nil {
			t.Fatal(err)
		}
		kept := 0
		for i, keep := range Data[bool](out[1]) {
			want := float32(0)
			if keep {
				want = Data[float32](x)[i] * fourThirds
				kept++
			}
			if got := Data[float32](out[0])[i]; got != want {
				t.Fatalf("element %d is %g, want %g", i, got, want)
			}
		}
		if f := float64(kept) / n; math.Abs(f-0.75) > 0.006 { // 4 standard deviations
			t.Errorf("kept %g, want 0.75", f)
		}
		return append([]bool{}, Data[bool](out[1])...)
	}
	first, second := step(), step()
	if same := agreement(first, second); math.Abs(same-0.625) > 0.007 {
		t.Errorf("masks of two runs agree at %g of the elements, want 0.625", same)
	}
	if run, out, err = o.prepare(t); err != nil {
		t.Fatal(err)
	}
	if agreement(first, step()) != 1 {
		t.Error("the first mask of a call prepared again differs")
	}
	o.attrs = []graph.Attr{graph.I("seed", 8)}
	if run, out, err = o.prepare(t); err != nil {
		t.Fatal(err)
	}
	if same := agreement(first, step()); math.Abs(same-0.625) > 0.007 {
		t.Errorf("masks of two seeds agree at %g of the elements, want 0.625", same)
	}
	if n := o.allocs(t); n != 0 {
		t.Errorf("%v allocations per run", n)
	}
}

// fourThirds is 1/(1-0.25).
const fourThirds = float32(4.0 / 3)

func agreement(a, b []bool) float64 {
	same := 0
	for i := range a {
		if a[i] == b[i] {
			same++
		}
	}
	return float64(same) / float64(len(a))
}

func TestDropoutForms(t *testing.T) {
	x := Of([]float64{1, -2, 3}, 3)
	ones := []float64{1, 1, 1}
	old := opCase{op: "Dropout", opset: 7, in: []*Tensor{x}, attrs: []graph.Attr{graph.F("ratio", 0.5)}, out: []Spec{outLike[float64](3), outLike[float64](3)}}
	got := old.run(t)
	wantClose[float64](t, "opset 7", got[0], []float64{1, -2, 3}, 0)
	wantClose[float64](t, "opset 7 mask", got[1], ones, 0)
	inference := opCase{op: "Dropout", opset: 13, in: []*Tensor{x, Of([]float32{0.9})}, out: []Spec{outLike[float64](3), outLike[bool](3)}}
	got = inference.run(t)
	wantClose[float64](t, "inference", got[0], []float64{1, -2, 3}, 0)
	if fmt.Sprint(Data[bool](got[1])) != "[true true true]" {
		t.Error(Data[bool](got[1]))
	}
	all := opCase{op: "Dropout", in: []*Tensor{x, Of([]float64{1}), Of([]bool{true})}, out: []Spec{outLike[float64](3)}}
	wantClose[float64](t, "ratio 1", all.run(t)[0], []float64{0, 0, 0}, 0)
	all.in[1] = Of([]float32{1.5})
	all.mustFail(t)
}
