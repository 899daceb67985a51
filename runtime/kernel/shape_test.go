package kernel_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel"
)

func int64s(list []int) []int64 {
	out := make([]int64, len(list))
	for i, n := range list {
		out[i] = int64(n)
	}
	return out
}

// counting is a tensor of an element type whose elements are 0, 1, 2, ... (modulo 256 for bytes).
func counting(e graph.Elem, shape ...int) *kernel.Tensor {
	x := kernel.New(graph.Int32, shape...)
	for i := range kernel.Data[int32](x) {
		kernel.Data[int32](x)[i] = int32(i) % 251
	}
	if e == graph.Int32 {
		return x
	}
	m := kernel.New(e, shape...)
	switch e {
	case graph.Uint8:
		for i, v := range kernel.Data[int32](x) {
			m.Raw[i] = byte(v)
		}
	case graph.Int16:
		for i, v := range kernel.Data[int32](x) {
			kernel.Data[int16](m)[i] = int16(v)
		}
	case graph.Float64:
		for i, v := range kernel.Data[int32](x) {
			kernel.Data[float64](m)[i] = float64(v)
		}
	}
	return m
}

var sizes = []graph.Elem{graph.Uint8, graph.Int16, graph.Int32, graph.Float64}

// TestTranspose permutes random shapes, and matrices around the tile size.
func TestTranspose(t *testing.T) {
	pool := kernel.NewPool(2)
	defer pool.Close()
	rng := rand.New(rand.NewPCG(2, 2))
	shapes := [][]int{{1, 1}, {31, 33}, {64, 65}, {200, 301}, {3, 40, 50}, {40, 3, 50}, {4, 0, 3}}
	for range 60 {
		shape := make([]int, 1+rng.IntN(5))
		for i := range shape {
			shape[i] = 1 + rng.IntN(9)
		}
		shapes = append(shapes, shape)
	}
	for n, shape := range shapes {
		perm := rng.Perm(len(shape))
		if n < 4 {
			perm = []int{1, 0}
		}
		x := counting(sizes[n%4], shape...)
		out := make([]int, len(shape))
		for i, p := range perm {
			out[i] = shape[p]
		}
		got := floatsOf(callOp(t, kernel.Default(), pool, "Transpose", []*kernel.Tensor{x}, x.Elem, out, graph.Is("perm", int64s(perm)...)))
		flat := floatsOf(x)
		places(out, func(i int, index []int) {
			from := make([]int, len(index))
			for k, p := range perm {
				from[p] = index[k]
			}
			if want := at(flat, shape, from); got[i] != want {
				t.Fatalf("%s permuted by %v: element %v is %v, want %v", x, perm, index, got[i], want)
			}
		})
	}
}

// TestSlice takes random slices with steps of both signs, and ends beyond the axis.
func TestSlice(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	for n := range 300 {
		shape := make([]int, 1+rng.IntN(3))
		starts, ends, steps, out := make([]int, len(shape)), make([]int, len(shape)), make([]int, len(shape)), make([]int, len(shape))
		picks := make([][]int, len(shape))
		for i := range shape {
			d := 1 + rng.IntN(7)
			shape[i] = d
			starts[i], ends[i] = rng.IntN(3*d)-d-d/2, rng.IntN(3*d)-d-d/2
			steps[i] = []int{1, 2, 3, -1, -2, 9}[rng.IntN(6)]
			picks[i] = pythonSlice(d, starts[i], ends[i], steps[i])
			out[i] = len(picks[i])
		}
		x := counting(sizes[n%4], shape...)
		axes := rng.Perm(len(shape))
		in := []*kernel.Tensor{x}
		for _, list := range [][]int{starts, ends, nil, steps} {
			v := make([]int64, len(axes))
			for i, a := range axes {
				if list == nil {
					v[i] = int64(a)
				} else {
					v[i] = int64(list[a])
				}
			}
			in = append(in, kernel.Of(v, len(v)))
		}
		got := floatsOf(callOp(t, kernel.Default(), nil, "Slice", in, x.Elem, out))
		flat := floatsOf(x)
		places(out, func(i int, index []int) {
			from := make([]int, len(index))
			for k, p := range index {
				from[k] = picks[k][p]
			}
			if want := at(flat, shape, from); got[i] != want {
				t.Fatalf("%s[%v:%v:%v]: element %v is %v, want %v", x, starts, ends, steps, index, got[i], want)
			}
		})
	}
}

// pythonSlice lists the positions of x[start:end:step] for len(x) = d.
func pythonSlice(d, start, end, step int) (picks []int) {
	low, high := 0, d
	if step < 0 {
		low, high = -1, d-1
	}
	for _, p := range []*int{&start, &end} {
		if *p < 0 {
			*p += d
		}
		*p = min(max(*p, low), high)
	}
	for i := start; step > 0 && i < end || step < 0 && i > end; i += step {
		picks = append(picks, i)
	}
	return picks
}

// TestPad pads and crops random shapes in all modes.
func TestPad(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	for n := range 300 {
		mode := []string{"constant", "edge", "reflect", "wrap"}[n%4]
		shape := make([]int, rng.IntN(4))
		pads, out := make([]int64, 2*len(shape)), make([]int, len(shape))
		for i := range shape {
			d := 2 + rng.IntN(5)
			shape[i] = d
			begin, end := rng.IntN(2*d)-d/2, rng.IntN(2*d)-d/2
			if d+begin+end < 0 {
				begin = 0
			}
			pads[i], pads[len(shape)+i] = int64(begin), int64(end)
			out[i] = d + begin + end
		}
		x := counting(graph.Int32, shape...)
		in := []*kernel.Tensor{x, kernel.Of(pads, len(pads)), kernel.Of([]int32{-7})}
		got := floatsOf(callOp(t, kernel.Default(), nil, "Pad", in, x.Elem, out, graph.S("mode", mode)))
		flat := floatsOf(x)
		places(out, func(i int, index []int) {
			from, inside := make([]int, len(index)), true
			for k, p := range index {
				from[k] = reflected(p-int(pads[k]), shape[k], mode)
				inside = inside && from[k] >= 0
			}
			want := -7.0
			if inside {
				want = at(flat, shape, from)
			}
			if got[i] != want {
				t.Fatalf("%s padded %s by %v: element %v is %v, want %v", x, mode, pads, index, got[i], want)
			}
		})
	}
}

// reflected walks step by step to the position that position p of the padded axis shows; -1 is padding.
func reflected(p, d int, mode string) int {
	for p < 0 || p >= d {
		switch mode {
		case "constant":
			return -1
		case "edge":
			p = min(max(p, 0), d-1)
		case "wrap":
			if p < 0 {
				p += d
			} else {
				p -= d
			}
		default:
			if p < 0 {
				p = -p
			} else {
				p = 2*(d-1) - p
			}
		}
	}
	return p
}

// TestConcatSplit joins pieces along each axis, and cuts the result again; one piece is not wanted.
func TestConcatSplit(t *testing.T) {
	pool := kernel.NewPool(2)
	defer pool.Close()
	rng := rand.New(rand.NewPCG(7, 7))
	for axis := range 3 {
		var parts []*kernel.Tensor
		var specs []tensorSpec
		var split []int64
		whole := []int{4, 50, 60}
		whole[axis] = 0
		for _, n := range []int{3, 0, 5, 1} {
			shape := slices.Clone(whole)
			shape[axis] = n
			parts = append(parts, normal[float32](rng, shape...))
			specs = append(specs, tensorSpec{graph.Float32, shape})
			split = append(split, int64(n))
		}
		whole[axis] = 9
		y := callOp(t, kernel.Default(), pool, "Concat", parts, graph.Float32, whole, graph.I("axis", int64(axis)))
		flat, part := floatsOf(y), floatsOf(parts[2])
		places(parts[2].Shape, func(i int, index []int) {
			to := slices.Clone(index)
			to[axis] += 3
			if got, want := at(flat, whole, to), part[i]; got != want {
				t.Fatalf("axis %d: element %v is %v, want %v", axis, to, got, want)
			}
		})
		c, err := prepareCall(t, kernel.Default(), pool, "Split", []*kernel.Tensor{y, kernel.Of(split, 4)}, specs, graph.I("axis", int64(axis)))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.run(c.in, c.out); err != nil {
			t.Fatal(err)
		}
		for i, p := range parts {
			if err := compareTensors(c.out[i], p, tolerance{}); err != nil {
				t.Errorf("axis %d: part %d: %v", axis, i, err)
			}
		}
	}
}

// TestGatherScatter takes elements apart and puts them back.
func TestGatherScatter(t *testing.T) {
	pool := kernel.NewPool(2)
	defer pool.Close()
	rng := rand.New(rand.NewPCG(9, 9))
	x := normal[float32](rng, 40, 30, 20)
	for axis, d := range x.Shape {
		perm := make([]int32, d)
		for i, p := range rng.Perm(d) {
			perm[i] = int32(p - d*(p%2)) // odd ones counted from the end
		}
		y := callOp(t, kernel.Default(), pool, "Gather", []*kernel.Tensor{x, kernel.Of(perm, d)}, graph.Float32, x.Shape, graph.I("axis", int64(axis)))
		index := kernel.New(graph.Int64, x.Shape...)
		places(x.Shape, func(i int, at []int) { kernel.Data[int64](index)[i] = int64(perm[at[axis]]) })
		z := callOp(t, kernel.Default(), pool, "GatherElements", []*kernel.Tensor{x, index}, graph.Float32, x.Shape, graph.I("axis", int64(axis)))
		if err := compareTensors(z, y, tolerance{}); err != nil {
			t.Errorf("axis %d: Gather and GatherElements: %v", axis, err)
		}
		back := callOp(t, kernel.Default(), pool, "ScatterElements", []*kernel.Tensor{kernel.New(graph.Float32, x.Shape...), index, y},
			graph.Float32, x.Shape, graph.I("axis", int64(axis)), graph.S("reduction", "add"))
		if err := compareTensors(back, x, tolerance{}); err != nil {
			t.Errorf("axis %d: ScatterElements: %v", axis, err)
		}
	}
}

// TestHash computes a counter-based hash with the integer operators, as a generated graph does, and in Go.
func TestHash(t *testing.T) {
	n := 1000
	x := kernel.New(graph.Uint32, n)
	want := make([]uint32, n)
	for i := range want {
		kernel.Data[uint32](x)[i] = uint32(i)
		h := uint32(i)
		h ^= h >> 16
		h *= 0x85ebca6b
		h ^= h >> 13
		want[i] = h
	}
	u := func(v uint32) *kernel.Tensor { return kernel.Of([]uint32{v}) }
	do := func(op string, a, b *kernel.Tensor, attrs ...graph.Attr) *kernel.Tensor {
		return callOp(t, kernel.Default(), nil, op, []*kernel.Tensor{a, b}, graph.Uint32, []int{n}, attrs...)
	}
	right := graph.S("direction", "RIGHT")
	x = do("BitwiseXor", x, do("BitShift", x, u(16), right))
	x = do("Mul", x, u(0x85ebca6b))
	x = do("BitwiseXor", x, do("BitShift", x, u(13), right))
	if !slices.Equal(kernel.Data[uint32](x), want) {
		t.Error("the hash differs")
	}
}

// TestAllocatesNothing runs the fast paths, alone and on a pool.
func TestAllocatesNothing(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 3))
	x, row, scalar := normal[float32](rng, 256, 300), normal[float32](rng, 300), normal[float32](rng)
	mask := callOp(t, kernel.Default(), nil, "Less", []*kernel.Tensor{x, row}, graph.Bool, x.Shape)
	same := tensorSpec{graph.Float32, x.Shape}
	index := kernel.New(graph.Int64, 256)
	axis := kernel.Of([]int64{0}, 1)
	cases := []struct {
		op    string
		in    []*kernel.Tensor
		out   tensorSpec
		attrs []graph.Attr
	}{
		{"Add", []*kernel.Tensor{x, x}, same, nil},
		{"Mul", []*kernel.Tensor{x, row}, same, nil},
		{"Sub", []*kernel.Tensor{scalar, x}, same, nil},
		{"Max", []*kernel.Tensor{x, row, scalar}, same, nil},
		{"Sum", []*kernel.Tensor{x, x, x}, same, nil},
		{"Pow", []*kernel.Tensor{x, scalar}, same, nil},
		{"Exp", []*kernel.Tensor{x}, same, nil},
		{"Erf", []*kernel.Tensor{x}, same, nil},
		{"Gelu", []*kernel.Tensor{x}, same, nil},
		{"Clip", []*kernel.Tensor{x, scalar}, same, nil},
		{"Where", []*kernel.Tensor{mask, x, row}, same, nil},
		{"Less", []*kernel.Tensor{x, row}, tensorSpec{graph.Bool, x.Shape}, nil},
		{"Cast", []*kernel.Tensor{x}, tensorSpec{graph.Float64, x.Shape}, nil},
		{"Cast", []*kernel.Tensor{mask}, same, nil},
		{"ReduceSum", []*kernel.Tensor{x, axis}, tensorSpec{graph.Float32, []int{1, 300}}, nil},
		{"ReduceMean", []*kernel.Tensor{x, kernel.Of([]int64{1}, 1)}, tensorSpec{graph.Float32, []int{256, 1}}, nil},
		{"ReduceLogSumExp", []*kernel.Tensor{x}, tensorSpec{graph.Float32, []int{1, 1}}, nil},
		{"ArgMax", []*kernel.Tensor{x}, tensorSpec{graph.Int64, []int{256, 1}}, []graph.Attr{graph.I("axis", 1)}},
		{"Transpose", []*kernel.Tensor{x}, tensorSpec{graph.Float32, []int{300, 256}}, nil},
		{"Reshape", []*kernel.Tensor{x, axis}, tensorSpec{graph.Float32, []int{300, 256}}, nil},
		{"Concat", []*kernel.Tensor{x, x}, tensorSpec{graph.Float32, []int{512, 300}}, []graph.Attr{graph.I("axis", 0)}},
		{"Split", []*kernel.Tensor{x}, same, nil},
		{"Slice", []*kernel.Tensor{x, axis, kernel.Of([]int64{9}, 1)}, tensorSpec{graph.Float32, []int{9, 300}}, nil},
		{"Expand", []*kernel.Tensor{row, axis}, same, nil},
		{"Tile", []*kernel.Tensor{row, axis}, tensorSpec{graph.Float32, []int{900}}, nil},
		{"Pad", []*kernel.Tensor{row, kernel.Of([]int64{2, 3}, 2)}, tensorSpec{graph.Float32, []int{305}}, nil},
		{"Gather", []*kernel.Tensor{x, index}, same, nil},
		{"GatherElements", []*kernel.Tensor{x, kernel.New(graph.Int64, 256, 300)}, same, nil},
		{"ScatterElements", []*kernel.Tensor{x, kernel.New(graph.Int64, 256, 300), x}, same, nil},
		{"ScatterND", []*kernel.Tensor{x, kernel.New(graph.Int64, 256, 1), x}, same, []graph.Attr{graph.S("reduction", "add")}},
		{"OneHot", []*kernel.Tensor{index, axis, kernel.Of([]float32{0, 1}, 2)}, tensorSpec{graph.Float32, []int{256, 10}}, nil},
		{"CumSum", []*kernel.Tensor{x, axis}, same, nil},
		{"Trilu", []*kernel.Tensor{x}, same, nil},
		{"TopK", []*kernel.Tensor{x, axis}, tensorSpec{graph.Float32, []int{256, 5}}, nil},
		{"Shape", []*kernel.Tensor{x}, tensorSpec{graph.Int64, []int{2}}, nil},
	}
	pool := kernel.NewPool(2)
	defer pool.Close()
	for _, p := range []*kernel.Pool{nil, pool} {
		for _, tc := range cases {
			c, err := prepareCall(t, kernel.Default(), p, tc.op, tc.in, []tensorSpec{tc.out}, tc.attrs...)
			if err != nil {
				t.Errorf("%s: %v", tc.op, err)
				continue
			}
			allocs := testing.AllocsPerRun(5, func() {
				if err := c.run(c.in, c.out); err != nil {
					t.Fatalf("%s: %v", tc.op, err)
				}
			})
			if allocs > 0 {
				t.Errorf("%s, %d workers: %v allocations a run", tc.op, p.Size(), allocs)
			}
		}
	}
}

// TestEmpty runs operators on tensors without elements.
func TestEmpty(t *testing.T) {
	x := kernel.New(graph.Float32, 0, 3)
	axis, none := kernel.Of([]int64{0}, 1), kernel.New(graph.Int64, 0)
	for _, tc := range []struct {
		op    string
		in    []*kernel.Tensor
		shape []int
	}{
		{"Add", []*kernel.Tensor{x, x}, []int{0, 3}},
		{"Exp", []*kernel.Tensor{x}, []int{0, 3}},
		{"Sum", []*kernel.Tensor{x, x, x}, []int{0, 3}},
		{"Transpose", []*kernel.Tensor{x}, []int{3, 0}},
		{"Reshape", []*kernel.Tensor{x, axis}, []int{3, 0}},
		{"Expand", []*kernel.Tensor{x, axis}, []int{2, 0, 3}},
		{"Tile", []*kernel.Tensor{x, axis}, []int{0, 6}},
		{"Gather", []*kernel.Tensor{kernel.New(graph.Float32, 5, 3), none}, []int{0, 3}},
		{"Slice", []*kernel.Tensor{x, axis, axis}, []int{0, 3}},
		{"CumSum", []*kernel.Tensor{x, axis}, []int{0, 3}},
		{"Trilu", []*kernel.Tensor{x}, []int{0, 3}},
		{"ArgMax", []*kernel.Tensor{kernel.New(graph.Float32, 2, 0, 3)}, []int{1, 0, 3}},
	} {
		e := graph.Float32
		if tc.op == "ArgMax" {
			e = graph.Int64
		}
		callOp(t, kernel.Default(), nil, tc.op, tc.in, e, tc.shape)
	}
	padded := callOp(t, kernel.Default(), nil, "Pad", []*kernel.Tensor{x, kernel.Of([]int64{1, 0, 0, 0}, 4)}, graph.Float32, []int{1, 3})
	if !slices.Equal(kernel.Data[float32](padded), []float32{0, 0, 0}) {
		t.Errorf("padding of an empty tensor: %v", floatsOf(padded))
	}
}
