package kernel_test

import (
	"math"
	"slices"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel"
)

func castTo(t *testing.T, x *kernel.Tensor, e graph.Elem) *kernel.Tensor {
	t.Helper()
	return callOp(t, kernel.Default(), nil, "Cast", []*kernel.Tensor{x}, e, x.Shape, graph.I("to", int64(e)))
}

// TestHalf checks all 65536 halves: there and back, and the rounding of the number midway to the next one.
func TestHalf(t *testing.T) {
	for e, infinity := range map[graph.Elem]uint16{graph.Float16: 0x7c00, graph.BFloat16: 0x7f80} {
		half := kernel.New(e, 1<<16)
		bits := kernel.Data[uint16](half)
		for i := range bits {
			bits[i] = uint16(i)
		}
		wide := castTo(t, half, graph.Float64)
		back := kernel.Data[uint16](castTo(t, castTo(t, half, graph.Float32), e))
		values := kernel.Data[float64](wide)
		mids := make([]float32, infinity-1)
		for i := range mids {
			mids[i] = float32((values[i] + values[i+1]) / 2)
		}
		rounded := kernel.Data[uint16](castTo(t, kernel.Of(mids, len(mids)), e))
		for i, b := range bits {
			if b&0x7fff > infinity {
				if !math.IsNaN(values[i]) || back[i]&0x7fff <= infinity {
					t.Fatalf("%s %#x: NaN becomes %v, %#x", e, b, values[i], back[i])
				}
			} else if back[i] != b {
				t.Fatalf("%s %#x comes back as %#x", e, b, back[i])
			}
		}
		for i, h := range rounded {
			if even := uint16(i) + uint16(i)&1; h != even {
				t.Fatalf("%s: midway after %#x becomes %#x, want %#x", e, i, h, even)
			}
		}
	}
	if h := kernel.Data[uint16](castTo(t, kernel.Of([]float32{65519, 65520, -1e30}, 3), graph.Float16)); !slices.Equal(h, []uint16{0x7bff, 0x7c00, 0xfc00}) {
		t.Errorf("overflow gives %#x", h)
	}
}

func TestCastSaturates(t *testing.T) {
	x := kernel.Of([]float64{-1e30, -129, -128.9, -1.5, 1.5, 127.9, 128, 1e30, math.NaN(), math.Inf(1)}, 10)
	if got := kernel.Data[int8](castTo(t, x, graph.Int8)); !slices.Equal(got, []int8{-128, -128, -128, -1, 1, 127, 127, 127, 0, 127}) {
		t.Errorf("int8: %v", got)
	}
	if got := kernel.Data[uint64](castTo(t, x, graph.Uint64)); !slices.Equal(got, []uint64{0, 0, 0, 0, 1, 127, 128, math.MaxUint64, 0, math.MaxUint64}) {
		t.Errorf("uint64: %v", got)
	}
	if got := kernel.Data[int64](castTo(t, x, graph.Int64)); got[0] != math.MinInt64 || got[7] != math.MaxInt64 || got[1] != -129 {
		t.Errorf("int64: %v", got)
	}
	edge := castTo(t, kernel.Of([]float32{0x1p63, -0x1p63}, 2), graph.Int64)
	if got := kernel.Data[int64](edge); got[0] != math.MaxInt64 || got[1] != math.MinInt64 {
		t.Errorf("edges of int64: %v", got)
	}
	y := kernel.Of([]int64{-1, 256, 300, 1 << 40}, 4)
	if got := kernel.Data[uint8](castTo(t, y, graph.Uint8)); !slices.Equal(got, []uint8{255, 0, 44, 0}) {
		t.Errorf("integers keep their low bits: %v", got)
	}
	if got := kernel.Data[bool](castTo(t, x, graph.Bool)); !got[0] || !got[8] {
		t.Errorf("bool: %v", got)
	}
}

// TestCastPairs converts small numbers between all types.
func TestCastPairs(t *testing.T) {
	elems := []graph.Elem{
		graph.Float32, graph.Float64, graph.Float16, graph.BFloat16, graph.Int8, graph.Int16, graph.Int32, graph.Int64,
		graph.Uint8, graph.Uint16, graph.Uint32, graph.Uint64, graph.Bool,
	}
	x := make([]float32, 700)
	for i := range x {
		x[i] = float32(i % 2)
	}
	for _, a := range elems {
		for _, b := range elems {
			y := castTo(t, castTo(t, castTo(t, kernel.Of(x, len(x)), a), b), graph.Float32)
			if !slices.Equal(kernel.Data[float32](y), x) {
				t.Errorf("%s to %s: %v", a, b, kernel.Data[float32](y)[:4])
			}
		}
	}
}
