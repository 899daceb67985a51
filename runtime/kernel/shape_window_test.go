package kernel_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// checkMove runs an operator that moves elements: from tells, for each index of the output, which element of the first
// input (or of the second, if beyond it) is there; -1 is zero.
func checkMove(t *testing.T, op string, in []*kernel.Tensor, shape []int, from func(index []int) int, attrs ...graph.Attr) {
	t.Helper()
	e := in[0].Elem
	c, err := prepareCall(t, kernel.Portable(), nil, op, in, []tensorSpec{{e, shape}}, attrs...)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.run(c.in, c.out); err != nil {
		t.Fatal(err)
	}
	source := append(append([]byte{}, in[0].Raw...), in[1].Raw...)
	size, index := e.Size(), make([]int, len(shape))
	for k := range c.out[0].Len() {
		rest := k
		for i := len(shape) - 1; i >= 0; i-- {
			index[i], rest = rest%shape[i], rest/shape[i]
		}
		want := make([]byte, size)
		if at := from(index); at >= 0 {
			want = source[at*size : (at+1)*size]
		}
		if got := c.out[0].Raw[k*size : (k+1)*size]; !bytes.Equal(got, want) {
			t.Fatalf("%s of %s: element %v is %v, want %v", op, in[0], index, got, want)
		}
	}
	if n := testing.AllocsPerRun(3, func() {
		if err := c.run(c.in, c.out); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%s: %g allocations per run", op, n)
	}
}

func TestCenterCropPad(t *testing.T) {
	rng := rand.New(rand.NewPCG(81, 82))
	for _, e := range sizes {
		for range 60 {
			x, y := make([]int, 1+rng.IntN(4)), []int{}
			for i := range x {
				x[i] = 1 + rng.IntN(6)
				y = append(y, 1+rng.IntN(6))
			}
			checkMove(t, "CenterCropPad", []*kernel.Tensor{counting(e, x...), kernel.Of(int64s(y), len(y))}, y, func(index []int) int {
				at := 0
				for i, k := range index {
					if x[i] >= y[i] {
						k += (x[i] - y[i]) / 2
					} else {
						k -= (y[i] - x[i]) / 2
					}
					if k < 0 || k >= x[i] {
						return -1
					}
					at = at*x[i] + k
				}
				return at
			})
		}
	}
}

func TestTensorScatter(t *testing.T) {
	rng := rand.New(rand.NewPCG(83, 84))
	for _, e := range sizes {
		for range 40 {
			batch, heads, length, size := 1+rng.IntN(3), 1+rng.IntN(2), 1+rng.IntN(5), 1+rng.IntN(3)
			count := 1 + rng.IntN(length)
			mode, first := "linear", make([]int64, batch)
			if rng.IntN(2) == 0 {
				mode = "circular"
			}
			for b := range first {
				first[b] = rng.Int64N(int64(length - count + 1))
				if mode == "circular" {
					first[b] = rng.Int64N(9)
				}
			}
			cache := counting(e, batch, heads, length, size)
			in := []*kernel.Tensor{cache, counting(e, batch, heads, count, size), kernel.Of(first, batch)}
			checkMove(t, "TensorScatter", in, cache.Shape, func(x []int) int {
				b, h, at, i := x[0], x[1], x[2], x[3]
				for k := range count {
					if (int(first[b])+k)%length == at {
						return cache.Len() + ((b*heads+h)*count+k)*size + i
					}
				}
				return ((b*heads+h)*length+at)*size + i
			}, graph.S("mode", mode))
		}
	}
	x, u := counting(graph.Int32, 1, 3, 1), counting(graph.Int32, 1, 2, 1)
	c, err := prepareCall(t, kernel.Portable(), nil, "TensorScatter", []*kernel.Tensor{x, u, kernel.Of([]int64{2}, 1)}, []tensorSpec{{graph.Int32, x.Shape}})
	if err != nil {
		t.Fatal(err)
	}
	if c.run(c.in, c.out) == nil {
		t.Error("no error for positions beyond the cache")
	}
}

func TestReverseSequence(t *testing.T) {
	rng := rand.New(rand.NewPCG(85, 86))
	for _, e := range sizes {
		for batchAxis := range 2 {
			shape := []int{1 + rng.IntN(5), 1 + rng.IntN(5), 2}
			lengths := make([]int64, shape[batchAxis])
			for i := range lengths {
				lengths[i] = rng.Int64N(int64(shape[1-batchAxis] + 1))
			}
			checkMove(t, "ReverseSequence", []*kernel.Tensor{counting(e, shape...), kernel.Of(lengths, len(lengths))}, shape, func(x []int) int {
				from := append([]int{}, x...)
				if n := int(lengths[x[batchAxis]]); x[1-batchAxis] < n {
					from[1-batchAxis] = n - 1 - x[1-batchAxis]
				}
				return (from[0]*shape[1]+from[1])*2 + from[2]
			}, graph.I("batch_axis", int64(batchAxis)), graph.I("time_axis", int64(1-batchAxis)))
		}
	}
	in := []*kernel.Tensor{counting(graph.Int32, 2, 1), kernel.Of([]int64{3}, 1)}
	c, err := prepareCall(t, kernel.Portable(), nil, "ReverseSequence", in, []tensorSpec{{graph.Int32, []int{2, 1}}})
	if err != nil {
		t.Fatal(err)
	}
	if c.run(c.in, c.out) == nil {
		t.Error("no error for a length beyond the sequence")
	}
}
