package data_test

import (
	"math"
	"reflect"
	"testing"

	"github.com/asdlc/asdlc/runtime/data"
)

func TestHalfFloat32(t *testing.T) {
	for _, c := range []struct {
		bits data.Half
		want float32
	}{
		{0x0000, 0},
		{0x3c00, 1},
		{0xc000, -2},
		{0x3555, 0.333251953125},
		{0x7bff, 65504},
		{0x0400, 0x1p-14},
		{0x0001, 0x1p-24},
		{0x83ff, -1023 * 0x1p-24},
		{0x7c00, float32(math.Inf(1))},
		{0xfc00, float32(math.Inf(-1))},
	} {
		if got := c.bits.Float32(); got != c.want {
			t.Errorf("%#04x is %v, want %v", uint16(c.bits), got, c.want)
		}
	}
	if got := data.Half(0x8000).Float32(); got != 0 || !math.Signbit(float64(got)) {
		t.Errorf("0x8000 is %v, want -0", got)
	}
	if got := data.Half(0x7e00).Float32(); got == got {
		t.Errorf("0x7e00 is %v, want NaN", got)
	}
}

// everyElem has an array of each element type, all of shape [2,3] with the numbers 0 and 1.
func everyElem() map[data.Elem]*data.Array {
	array := func(d any) *data.Array { return &data.Array{Shape: []int{2, 3}, Data: d} }
	return map[data.Elem]*data.Array{
		data.Bool:    array([]bool{false, true, true, false, true, false}),
		data.Uint8:   array([]uint8{0, 1, 1, 0, 1, 0}),
		data.Uint16:  array([]uint16{0, 1, 1, 0, 1, 0}),
		data.Uint32:  array([]uint32{0, 1, 1, 0, 1, 0}),
		data.Uint64:  array([]uint64{0, 1, 1, 0, 1, 0}),
		data.Int8:    array([]int8{0, 1, 1, 0, 1, 0}),
		data.Int16:   array([]int16{0, 1, 1, 0, 1, 0}),
		data.Int32:   array([]int32{0, 1, 1, 0, 1, 0}),
		data.Int64:   array([]int64{0, 1, 1, 0, 1, 0}),
		data.Float16: array([]data.Half{0, 0x3c00, 0x3c00, 0, 0x3c00, 0}),
		data.Float32: array([]float32{0, 1, 1, 0, 1, 0}),
		data.Float64: array([]float64{0, 1, 1, 0, 1, 0}),
	}
}

func TestAsConvertsEveryElem(t *testing.T) {
	want := []float64{0, 1, 1, 0, 1, 0}
	arrays := everyElem()
	for e := data.Bool; e <= data.Float64; e++ {
		a := arrays[e]
		if a == nil || a.Elem() != e || a.Len() != 6 {
			t.Fatalf("%s: array %+v", e, a)
		}
		got, err := data.As[float64](a)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: As gives %v, %v; want %v", e, got, err, want)
		}
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name string
		a    data.Array
		ok   bool
	}{
		{"scalar", data.Array{Data: []float32{1}}, true},
		{"empty", data.Array{Shape: []int{3, 0}, Data: []int64{}}, true},
		{"no data", data.Array{Shape: []int{2}}, false},
		{"foreign type", data.Array{Shape: []int{1}, Data: []string{"x"}}, false},
		{"too few", data.Array{Shape: []int{2, 2}, Data: []int8{1, 2, 3}}, false},
		{"negative", data.Array{Shape: []int{-1, -1}, Data: []int8{1}}, false},
		{"overflow to zero", data.Array{Shape: []int{1 << 16, 1 << 16, 1 << 16, 1 << 16}, Data: []int8{}}, false},
	} {
		if err := c.a.Check(); (err == nil) != c.ok {
			t.Errorf("%s: Check gives %v", c.name, err)
		}
	}
}
