package kernel

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// resizeCase is a Resize of random geometry.
type resizeCase struct {
	in, out                  []int
	scales                   []float32
	roi                      []float64
	mode, transform, nearest string
	sizes, antialias         bool
	exclude                  bool
	opset                    int
}

func randomResize(rng *rand.Rand) *resizeCase {
	pick := func(s ...string) string { return s[rng.IntN(len(s))] }
	r := &resizeCase{
		mode: pick("nearest", "linear", "cubic"), nearest: pick("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"),
		transform: pick("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_crop_and_resize"),
		sizes:     rng.IntN(2) == 0, antialias: rng.IntN(3) == 0, exclude: rng.IntN(3) == 0, opset: 19,
	}
	for range 1 + rng.IntN(4) {
		d := 1 + rng.IntN(6)
		s := float32(1)
		if rng.IntN(3) > 0 {
			s = float32(0.3 + 3*rng.Float64())
		}
		if math.Floor(float64(d)*float64(s)) < 1 {
			s = 1
		}
		r.in, r.out, r.scales = append(r.in, d), append(r.out, int(float64(d)*float64(s))), append(r.scales, s)
	}
	for range r.in {
		r.roi = append(r.roi, 0.4*rng.Float64()-0.1)
	}
	for range r.in {
		r.roi = append(r.roi, 0.7+0.4*rng.Float64())
	}
	return r
}

func (r *resizeCase) call(x *Tensor, p *Pool) opCase {
	o := opCase{
		op: "Resize", opset: r.opset, pool: p, in: []*Tensor{x, Of(r.roi, len(r.roi)), Of(r.scales, len(r.scales)), nil},
		out: []Spec{{Present: true, Elem: x.Elem, Shape: r.out}},
		attrs: []graph.Attr{
			graph.S("mode", r.mode), graph.S("nearest_mode", r.nearest), graph.S("coordinate_transformation_mode", r.transform),
			graph.F("extrapolation_value", 7), graph.F("cubic_coeff_a", -0.5),
		},
	}
	if r.sizes {
		sizes := New(graph.Int64, len(r.out))
		for i, n := range r.out {
			Data[int64](sizes)[i] = int64(n)
		}
		o.in[2], o.in[3] = nil, sizes
	}
	if r.antialias {
		o.attrs = append(o.attrs, graph.I("antialias", 1))
	}
	if r.exclude {
		o.attrs = append(o.attrs, graph.I("exclude_outside", 1))
	}
	return o
}

// naive resizes axis by axis with the definition of ONNX's reference: coefficients of the nearest elements of the line
// with its ends repeated.
func (r *resizeCase) naive(x []float64) []float64 {
	shape := slices.Clone(r.in)
	for a := range r.in {
		inner, outer := Count(shape[a+1:]), Count(shape[:a])
		y := make([]float64, outer*r.out[a]*inner)
		for i := range outer {
			for j := range inner {
				line := make([]float64, shape[a])
				for k := range line {
					line[k] = x[(i*shape[a]+k)*inner+j]
				}
				for o := range r.out[a] {
					y[(i*r.out[a]+o)*inner+j] = r.naivePoint(a, line, o)
				}
			}
		}
		x, shape[a] = y, r.out[a]
	}
	return x
}

func (r *resizeCase) naivePoint(a int, line []float64, o int) float64 {
	n, scale, pos := float64(len(line)), float64(r.scales[a]), float64(o)
	if r.sizes {
		scale = float64(r.out[a]) / n
	}
	wide := scale * n
	var x float64
	switch r.transform {
	case "half_pixel":
		x = (pos+0.5)/scale - 0.5
	case "half_pixel_symmetric":
		adjust := float64(r.out[a]) / wide
		x = n/2*(1-adjust) + (pos+0.5)/scale - 0.5
	case "pytorch_half_pixel":
		if x = -0.5; wide != 1 {
			x = (pos+0.5)/scale - 0.5
		}
	case "align_corners":
		if wide != 1 {
			x = pos * (n - 1) / (wide - 1)
		}
	case "asymmetric":
		x = pos / scale
	case "tf_crop_and_resize":
		start, end := r.roi[a], r.roi[len(r.in)+a]
		if x = (start + end) * (n - 1) / 2; wide != 1 {
			x = start*(n-1) + pos*(end-start)*(n-1)/(wide-1)
		}
		if x < 0 || x > n-1 {
			return 7
		}
	}
	ratio := x - math.Floor(x)
	if ratio == 0 {
		ratio = 1 // the element left of x is the first of two
	}
	coeffs := r.naiveCoeffs(ratio, scale)
	return r.weighted(line, x, coeffs)
}

func (r *resizeCase) naiveCoeffs(ratio, scale float64) []float64 {
	one := map[bool]float64{true: 1}
	cubic := func(d float64) float64 {
		const a = -0.5
		switch d = math.Abs(d); {
		case d <= 1:
			return (a+2)*d*d*d - (a+3)*d*d + 1
		case d < 2:
			return a*d*d*d - 5*a*d*d + 8*a*d - 4*a
		}
		return 0
	}
	if r.mode == "nearest" {
		if ratio == 1 {
			return []float64{0, 1}
		}
		up := map[string]bool{"round_prefer_floor": ratio > 0.5, "round_prefer_ceil": ratio >= 0.5, "floor": false, "ceil": true}[r.nearest]
		return []float64{one[!up], one[up]}
	}
	support, f := 1.0, func(d float64) float64 { return math.Max(0, 1-math.Abs(d)) }
	if r.mode == "cubic" {
		support, f = 2, cubic
	}
	if !r.antialias {
		scale = 1
	}
	scale = math.Min(scale, 1)
	first := int(math.Floor(-support/scale)) + 1
	var c []float64
	sum := 0.0
	for i := first; i < 2-first; i++ {
		c = append(c, f((float64(i)-ratio)*scale))
		sum += c[len(c)-1]
	}
	if r.antialias {
		for i := range c {
			c[i] /= sum
		}
	}
	return c
}

// weighted is the sum over the len(c) positions nearest to x, the lower one first where two are equally near.
func (r *resizeCase) weighted(line []float64, x float64, c []float64) float64 {
	var at []int
	for i := int(math.Floor(x)) - len(c) - 1; i <= int(math.Floor(x))+len(c)+1; i++ {
		at = append(at, i)
	}
	slices.SortStableFunc(at, func(i, j int) int { return cmp.Compare(math.Abs(x-float64(i)), math.Abs(x-float64(j))) })
	at = at[:len(c)]
	slices.Sort(at)
	sum, weights := 0.0, 0.0
	for k, i := range at {
		w := c[k]
		if r.exclude && r.mode != "nearest" && (i < 0 || i >= len(line)) {
			w = 0
		}
		weights += w
		sum += w * line[min(max(i, 0), len(line)-1)]
	}
	if r.exclude && r.mode != "nearest" {
		sum /= weights
	}
	return sum
}

func checkResize[T amd64.Float](t *testing.T, r *resizeCase, rng *rand.Rand, p *Pool) {
	t.Helper()
	x := randomTensor[T](rng, r.in...)
	in, _ := x.Const().Float64s()
	want := r.naive(in)
	for _, constant := range [][]int{nil, {1, 2}} {
		o := r.call(x, p)
		o.constant = constant
		if constant != nil && r.sizes {
			o.constant = []int{1, 3}
		}
		got := o.run(t)[0]
		wantClose[T](t, "Resize "+r.mode+" "+r.transform, got, want, tolerance[T](64))
	}
}

func TestResize(t *testing.T) {
	forPools(t, func(t *testing.T, p *Pool) {
		rng := rand.New(rand.NewPCG(51, 52))
		for range 400 {
			r := randomResize(rng)
			if r.mode == "nearest" && r.transform != "asymmetric" && r.transform != "half_pixel" {
				r.nearest = "floor" // rounding errors decide halves elsewhere
			}
			checkResize[float32](t, r, rng, p)
			checkResize[float64](t, r, rng, p)
		}
	})
}

// TestResizeMovesAnyType resizes bytes by nearest neighbours, and by interpolation in float64, cut to a byte.
func TestResizeMovesAnyType(t *testing.T) {
	x := Of([]uint8{1, 2, 3, 4}, 2, 2)
	r := &resizeCase{in: []int{2, 2}, out: []int{2, 5}, scales: []float32{1, 2.5}, mode: "nearest", nearest: "floor", transform: "asymmetric", opset: 19}
	got := r.call(x, nil).run(t)[0]
	if want := []uint8{1, 1, 1, 2, 2, 3, 3, 3, 4, 4}; !slices.Equal(Data[uint8](got), want) {
		t.Errorf("got %v, want %v", Data[uint8](got), want)
	}
	r.mode = "linear"
	got = r.call(x, nil).run(t)[0]
	if want := []uint8{1, 1, 1, 2, 2, 3, 3, 3, 4, 4}; !slices.Equal(Data[uint8](got), want) {
		t.Errorf("linear: got %v, want %v", Data[uint8](got), want)
	}
	o := r.call(New(graph.Bool, 2, 2), nil)
	o.mustFail(t)
}

func TestResizeOfOldOpsets(t *testing.T) {
	x := Of([]float32{0, 4, 8}, 3)
	scales := Of([]float32{2}, 1)
	for _, o := range []opCase{
		{op: "Upsample", opset: 7, in: []*Tensor{x}, attrs: []graph.Attr{graph.S("mode", "linear"), graph.Fs("scales", 2)}},
		{op: "Upsample", opset: 9, in: []*Tensor{x, scales}, attrs: []graph.Attr{graph.S("mode", "linear")}},
		{op: "Resize", opset: 10, in: []*Tensor{x, scales}, attrs: []graph.Attr{graph.S("mode", "linear")}},
	} {
		o.out = []Spec{outLike[float32](6)}
		wantClose[float32](t, o.op, o.run(t)[0], []float64{0, 2, 4, 6, 8, 8}, 0)
	}
}

func TestResizeRefuses(t *testing.T) {
	good := resizeCase{in: []int{2, 3}, out: []int{4, 3}, scales: []float32{2, 1}, mode: "linear", nearest: "floor", transform: "half_pixel", opset: 19}
	x := New(graph.Float32, 2, 3)
	good.call(x, nil).run(t)
	for what, change := range map[string]func(r *resizeCase){
		"mode":      func(r *resizeCase) { r.mode = "quintic" },
		"transform": func(r *resizeCase) { r.transform = "none" },
		"nearest":   func(r *resizeCase) { r.nearest = "none" },
		"scales":    func(r *resizeCase) { r.scales = []float32{2} },
		"output":    func(r *resizeCase) { r.scales = []float32{2, 2} },
		"roi":       func(r *resizeCase) { r.transform, r.roi = "tf_crop_and_resize", []float64{0} },
	} {
		r := good
		change(&r)
		if err := r.call(x, nil).mustFail(t); err == nil {
			t.Error(what)
		}
	}
}

func TestResizeAllocatesNothing(t *testing.T) {
	forPools(t, func(t *testing.T, p *Pool) {
		rng := rand.New(rand.NewPCG(53, 54))
		for range 20 {
			r := randomResize(rng)
			if n := r.call(randomTensor[float32](rng, r.in...), p).allocs(t); n != 0 {
				t.Fatalf("%g allocations per run", n)
			}
		}
	})
}
