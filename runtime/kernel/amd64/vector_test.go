package amd64

import (
	"math"
	"math/rand/v2"
	"testing"
)

var (
	inf32 = float32(math.Inf(1))
	nan32 = float32(math.NaN())
	zero  = float32(0)
)

// specials are the values at which vector code goes wrong.
var specials = []float32{
	0, -zero, 1, -1, inf32, -inf32, nan32, math.MaxFloat32, -math.MaxFloat32,
	math.SmallestNonzeroFloat32, -math.SmallestNonzeroFloat32, 0x1p-126, -0x1p-126, 1e-41, 0.625, -0.625, 88.72, 88.73,
	89.5, -87.3, -87.4, -103.9, -104.1, 1e10, -1e10, 0.5, -2, 3e-5,
}

// ulps is the distance of got from want in units in the last place of float32; 0 for equal specials.
func ulps(got float32, want float64) float64 {
	w := float32(want)
	if got == w || got != got && w != w {
		return 0
	}
	if math.IsInf(float64(got), 0) || math.IsInf(float64(w), 0) || got != got || w != w {
		return math.Inf(1)
	}
	exponent := max(math.Floor(math.Log2(math.Abs(want))), -126)
	return math.Abs(float64(got)-want) / math.Exp2(exponent-23)
}

const bound = 7777 // sentinel after the end of each result

// values gives n numbers: specials first, rotated by shift, then random ones of many magnitudes.
func values(rng *rand.Rand, n, shift int) []float32 {
	s := make([]float32, n)
	for i := range s {
		switch {
		case rng.IntN(3) == 0:
			s[i] = specials[(i+shift)%len(specials)]
		default:
			s[i] = float32(rng.NormFloat64() * math.Exp2(float64(rng.IntN(9)-4)))
		}
	}
	return s
}

// TestElementwise compares every kernel with float64 arithmetic, for all lengths to 70, apart and in place.
func TestElementwise(t *testing.T) {
	type call func(k *Kernels, dst, x, y []float32)
	cases := []struct {
		name string
		run  call
		want func(x, y float64) float64
		ulps float64
	}{
		{"Add", (*Kernels).Add, func(x, y float64) float64 { return x + y }, 0.5},
		{"Sub", (*Kernels).Sub, func(x, y float64) float64 { return x - y }, 0.5},
		{"Mul", (*Kernels).Mul, func(x, y float64) float64 { return x * y }, 0.5},
		{"Div", (*Kernels).Div, func(x, y float64) float64 { return x / y }, 0.5},
		{"Scale", func(k *Kernels, dst, x, y []float32) { k.Scale(dst, x, -1.5) }, func(x, y float64) float64 { return -1.5 * x }, 0.5},
		{"Shift", func(k *Kernels, dst, x, y []float32) { k.Shift(dst, x, -1.5) }, func(x, y float64) float64 { return x - 1.5 }, 0.5},
		{"SubFrom", func(k *Kernels, dst, x, y []float32) { k.SubFrom(dst, x, -1.5) }, func(x, y float64) float64 { return -1.5 - x }, 0.5},
		{"DivBy", func(k *Kernels, dst, x, y []float32) { k.DivBy(dst, x, -1.5) }, func(x, y float64) float64 { return x / -1.5 }, 0.5},
		{"DivInto", func(k *Kernels, dst, x, y []float32) { k.DivInto(dst, x, -1.5) }, func(x, y float64) float64 { return -1.5 / x }, 0.5},
		{"Sqrt", func(k *Kernels, dst, x, y []float32) { k.Sqrt(dst, x) }, func(x, y float64) float64 { return math.Sqrt(x) }, 0.5},
		{"Neg", func(k *Kernels, dst, x, y []float32) { k.Neg(dst, x) }, func(x, y float64) float64 { return -x }, 0},
		{"Relu", func(k *Kernels, dst, x, y []float32) { k.Relu(dst, x) }, func(x, y float64) float64 { return max(x, 0) }, 0},
		{"ReluGrad", func(k *Kernels, dst, x, y []float32) { k.ReluGrad(dst, x, y) }, func(dy, x float64) float64 {
			if x > 0 {
				return dy
			}
			return 0
		}, 0},
		{"Exp", func(k *Kernels, dst, x, y []float32) { k.Exp(dst, x) }, func(x, y float64) float64 { return math.Exp(x) }, 2},
		{"Tanh", func(k *Kernels, dst, x, y []float32) { k.Tanh(dst, x) }, func(x, y float64) float64 { return math.Tanh(x) }, 2},
		{"Erf", func(k *Kernels, dst, x, y []float32) { k.Erf(dst, x) }, func(x, y float64) float64 { return math.Erf(x) }, 2},
		{"ExpSub", func(k *Kernels, dst, x, y []float32) { k.ExpSub(dst, x, 0.5) }, func(x, y float64) float64 { return math.Exp(float64(float32(x) - 0.5)) }, 2},
		{"Sigmoid", func(k *Kernels, dst, x, y []float32) { k.Sigmoid(dst, x) }, func(x, y float64) float64 {
			if x < 0 {
				return math.Exp(x) / (1 + math.Exp(x))
			}
			return 1 / (1 + math.Exp(-x))
		}, 2},
	}
	forEachSet(t, func(t *testing.T, k *Kernels) {
		rng := rand.New(rand.NewPCG(1, 1))
		for _, c := range cases {
			for n := range 71 {
				for shift := range 5 {
					x, y := values(rng, n, shift), values(rng, n, 3*shift+1)
					dst := make([]float32, n+1)
					dst[n] = bound
					c.run(k, dst[:n], x, y)
					inPlace := append([]float32(nil), x...)
					c.run(k, inPlace, inPlace, y)
					if dst[n] != bound {
						t.Fatalf("%s: length %d writes past the end", c.name, n)
					}
					for i := range x {
						want := c.want(float64(x[i]), float64(y[i]))
						if u := ulps(dst[i], want); u > c.ulps {
							t.Fatalf("%s(%v, %v) = %v, want %v: %v ulps (length %d, index %d)", c.name, x[i], y[i], dst[i], want, u, n, i)
						}
						if math.Float32bits(dst[i]) != math.Float32bits(inPlace[i]) && dst[i] == dst[i] {
							t.Fatalf("%s: %v in place, %v apart", c.name, inPlace[i], dst[i])
						}
					}
				}
			}
		}
	})
}

// TestTranscendentalAccuracy sweeps float32 bit patterns and holds the documented bounds.
func TestTranscendentalAccuracy(t *testing.T) {
	var x []float32
	for bits := uint32(0); bits < 0x7f800000; bits += 9973 {
		x = append(x, math.Float32frombits(bits), -math.Float32frombits(bits))
	}
	for v := -105.0; v < 90; v += 0.0037 {
		x = append(x, float32(v))
	}
	dst := make([]float32, len(x))
	forEachSet(t, func(t *testing.T, k *Kernels) {
		for _, c := range []struct {
			name  string
			run   func(dst, x []float32)
			want  func(float64) float64
			limit float64
		}{
			{"Exp", k.Exp, math.Exp, 2},
			{"Tanh", k.Tanh, math.Tanh, 2},
			{"Erf", k.Erf, math.Erf, 2},
			{"Sigmoid", k.Sigmoid, func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }, 2},
		} {
			c.run(dst, x)
			worst, at := 0.0, float32(0)
			for i, v := range x {
				if u := ulps(dst[i], c.want(float64(v))); u > worst {
					worst, at = u, v
				}
			}
			t.Logf("%s: at most %.2f ulps, at %v", c.name, worst, at)
			if worst > c.limit {
				t.Errorf("%s: %.2f ulps at %v", c.name, worst, at)
			}
		}
	})
}

// TestSignedZero: the sign of zero survives where IEEE 754 keeps it.
func TestSignedZero(t *testing.T) {
	forEachSet(t, func(t *testing.T, k *Kernels) {
		minus := float32(math.Copysign(0, -1))
		for name, f := range map[string]func(dst, x []float32){"Relu": k.Relu, "Tanh": k.Tanh, "Erf": k.Erf} {
			dst := []float32{1}
			f(dst, []float32{minus})
			if math.Float32bits(dst[0]) != math.Float32bits(minus) {
				t.Errorf("%s(-0) = %v", name, dst[0])
			}
		}
	})
}

func TestUpdates(t *testing.T) {
	forEachSet(t, func(t *testing.T, k *Kernels) {
		rng := rand.New(rand.NewPCG(2, 2))
		near := func(got float32, want, scale float64) bool {
			return math.Abs(float64(got)-want) <= 0x1p-22*scale
		}
		for n := range 71 {
			x, y, z := random[float32](rng, n), random[float32](rng, n+1), random[float32](rng, n+1)
			y[n], z[n] = bound, bound
			y0, z0 := append([]float32(nil), y...), append([]float32(nil), z...)
			k.Axpy(y[:n], x, -0.3)
			for i := range x {
				if want := float64(y0[i]) + float64(float32(-0.3))*float64(x[i]); !near(y[i], want, 2) {
					t.Fatalf("Axpy length %d: [%d] = %v, want %v", n, i, y[i], want)
				}
			}
			y1 := append([]float32(nil), y...)
			k.Momentum(y[:n], z[:n], x, 0.1, 0.9)
			for i := range x {
				v := float64(float32(0.9))*float64(z0[i]) + float64(x[i])
				w := float64(y1[i]) - float64(float32(0.1))*v
				if !near(z[i], v, 2) || !near(y[i], w, 2) {
					t.Fatalf("Momentum length %d: [%d] v %v w %v, want %v %v", n, i, z[i], y[i], v, w)
				}
			}
			y2, z2 := append([]float32(nil), y...), append([]float32(nil), z...)
			k.Center(y[:n], x, 0.3, -1.7, 0.2)
			k.CenterGrad(z[:n], z[:n], x, 0.3, -1.7, 0.4, 0.2)
			for i, v := range x {
				d := float64(v) - float64(float32(0.3))
				if want := d*float64(float32(-1.7)) + float64(float32(0.2)); !near(y[i], want, 8) {
					t.Fatalf("Center length %d: [%d] = %v of %v, want %v", n, i, y[i], y2[i], want)
				}
				if want := float64(z2[i])*float64(float32(-1.7)) - d*float64(float32(0.4)) - float64(float32(0.2)); !near(z[i], want, 8) {
					t.Fatalf("CenterGrad length %d: [%d] = %v, want %v", n, i, z[i], want)
				}
			}
			if y[n] != bound || z[n] != bound {
				t.Fatalf("length %d: writes past the end", n)
			}
		}
	})
}

func TestReductions(t *testing.T) {
	forEachSet(t, func(t *testing.T, k *Kernels) {
		rng := rand.New(rand.NewPCG(3, 3))
		for n := range 300 {
			x, y := random[float32](rng, n), random[float32](rng, n)
			sum, size, dot, squares, along, most := 0.0, 0.0, 0.0, 0.0, 0.0, math.Inf(-1)
			for i, v := range x {
				squares += (float64(v) - 0.75) * (float64(v) - 0.75)
				along += float64(v) * (float64(y[i]) - 0.75)
				sum += float64(v)
				size += math.Abs(float64(v))
				dot += float64(v) * float64(y[i])
				most = max(most, float64(v))
			}
			tolerance := float64(n) * 0x1p-23
			if got := k.Sum(x); math.Abs(float64(got)-sum) > tolerance {
				t.Fatalf("Sum of %d = %v, want %v", n, got, sum)
			}
			if got := k.SumAbs(x); math.Abs(float64(got)-size) > tolerance {
				t.Fatalf("SumAbs of %d = %v, want %v", n, got, size)
			}
			if got := k.Dot(x, y); math.Abs(float64(got)-dot) > tolerance {
				t.Fatalf("Dot of %d = %v, want %v", n, got, dot)
			}
			if got := k.Squares(x, 0.75); math.Abs(float64(got)-squares) > 4*tolerance {
				t.Fatalf("Squares of %d = %v, want %v", n, got, squares)
			}
			if got := k.DotCentered(x, y, 0.75); math.Abs(float64(got)-along) > 4*tolerance {
				t.Fatalf("DotCentered of %d = %v, want %v", n, got, along)
			}
			if got := k.Max(x); float64(got) != most {
				t.Fatalf("Max of %d = %v, want %v", n, got, most)
			}
			for _, special := range []float32{nan32, inf32, -inf32} {
				if n == 0 {
					continue
				}
				at := rng.IntN(n)
				old := x[at]
				x[at] = special
				if got := k.Sum(x); got != special && special == special || special != special && got == got {
					t.Fatalf("Sum of %d with %v = %v", n, special, got)
				}
				if got := k.SumAbs(x); got != inf32 && special == special || special != special && got == got {
					t.Fatalf("SumAbs of %d with %v = %v", n, special, got)
				}
				want := special
				if special == -inf32 {
					want = float32(portableVector.max(x))
				}
				if got := k.Max(x); got != want && want == want || want != want && got == got {
					t.Fatalf("Max of %d with %v at %d = %v", n, special, at, got)
				}
				x[at] = old
			}
		}
	})
}

func TestLengthsAreChecked(t *testing.T) {
	for _, k := range Available() {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", k.Name)
				}
			}()
			k.Add(make([]float32, 4), make([]float32, 4), make([]float32, 3))
		}()
	}
}

func BenchmarkElementwise(b *testing.B) {
	const n = 4096
	x, y, dst := make([]float32, n), make([]float32, n), make([]float32, n)
	for i := range x {
		x[i], y[i] = float32(i)/n, 1
	}
	for _, k := range Available() {
		for _, c := range []struct {
			name string
			run  func()
		}{
			{"Add", func() { k.Add(dst, x, y) }},
			{"Momentum", func() { k.Momentum(dst, y, x, 0, 0.5) }},
			{"Exp", func() { k.Exp(dst, x) }},
			{"Tanh", func() { k.Tanh(dst, x) }},
			{"Sigmoid", func() { k.Sigmoid(dst, x) }},
			{"Sum", func() { k.Sum(x) }},
			{"Max", func() { k.Max(x) }},
			{"Dot", func() { k.Dot(x, y) }},
		} {
			b.Run(k.Name+"/"+c.name, func(b *testing.B) {
				for b.Loop() {
					c.run()
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/elem")
			})
		}
	}
}
