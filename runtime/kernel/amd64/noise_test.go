package amd64

import (
	"math"
	"slices"
	"testing"
)

// noiseStarts are counters at which a draw may begin: around the ends of registers, of the residues and of 32 bits.
var noiseStarts = []int{0, 1, 15, 1000, residuePrime - 70, residuePrime - 1, residuePrime, residuePrime + 1, 1<<31 + 5, 1<<32 - 3, 1<<40 + 7}

// noiseDraws are seeds, steps and draws, beyond the residues too.
var noiseDraws = [][3]int64{
	{0, 0, 0}, {1, 2, 3}, {-7, 999, 5}, {12345, 1 << 33, 1}, {math.MinInt64, -1, 0}, {math.MaxInt64, math.MinInt64, 1 << 20}, {residuePrime, 2 * residuePrime, residuePrime - 1},
}

// residue is the generator from its description, in arithmetic of residues.
func residue(counter, seed, step, draw int64) int64 {
	mod := func(x int64) int64 { return (x%residuePrime + residuePrime) % residuePrime }
	round := func(x, key int64) int64 {
		x = mod(x + key)
		square := x * x % residuePrime
		return square * square % residuePrime * x % residuePrime
	}
	key := round(round(round(mod(seed), 1640531527), mod(draw+1)), mod(step))
	return round(round(round(mod(counter), key), round(key, 97531246)), 1013904223)
}

func describedUniform[T Float](counter, seed, step, draw int64) T {
	return T((float64(residue(counter, seed, step, draw)) + 0.5) * 4.65661240958451e-10)
}

// TestUniform: every set gives the bits of the description, for all lengths about the registers' and all starts.
func TestUniform(t *testing.T) {
	testUniform[float32](t)
	testUniform[float64](t)
}

func testUniform[T Float](t *testing.T) {
	const most = 70
	for _, d := range noiseDraws {
		keys := NewNoiseKeys(d[0], d[1], d[2])
		for _, start := range noiseStarts {
			want := make([]T, most)
			for i := range want {
				want[i] = describedUniform[T](int64(start+i), d[0], d[1], d[2])
			}
			forEachSet(t, func(t *testing.T, k *Kernels) {
				for n := range most {
					got := make([]T, n+1)
					got[n] = bound
					DrawUniform(k, got[:n], start, &keys)
					if got[n] != bound {
						t.Fatalf("%d numbers: writes past the end", n)
					}
					if !slices.Equal(got[:n], want[:n]) {
						t.Fatalf("draw %v, %d numbers from %d: %v, want %v", d, n, start, got[:n], want[:n])
					}
				}
			})
		}
	}
}

// TestUniformEnds: counters whose residues are the least and the greatest, found by undoing the rounds, in every lane.
func TestUniformEnds(t *testing.T) {
	const fifthRoot = 1717986917 // 5 times it is 1 modulo P-1
	for _, d := range noiseDraws {
		keys := NewNoiseKeys(d[0], d[1], d[2])
		for _, end := range []uint64{0, 1, 2, 3, residuePrime - 2, residuePrime - 1} {
			x := end
			for i := range keys {
				root, square := uint64(1), x
				for e := fifthRoot; e > 0; e >>= 1 {
					if e&1 == 1 {
						root = root * square % residuePrime
					}
					square = square * square % residuePrime
				}
				x = (root + residuePrime - keys[len(keys)-1-i]) % residuePrime
			}
			forEachSet(t, func(t *testing.T, k *Kernels) {
				for lane := range min(noiseBlock, int(x)+1) {
					got := make([]float64, noiseBlock)
					DrawUniform(k, got, int(x)-lane, &keys)
					if want := (float64(end) + 0.5) * residueWidth; got[lane] != want {
						t.Errorf("draw %v, residue %d: %v, want %v", d, end, got[lane], want)
					}
				}
			})
		}
	}
}

// TestUniformSums: counters up to 2^33 and keys for which the first sum folds to the largest factors.
func TestUniformSums(t *testing.T) {
	forEachSet(t, func(t *testing.T, k *Kernels) {
		for high := range uint64(4) {
			keys := NoiseKeys{residuePrime - 1, residuePrime - 1, residueKeyC}
			start := high<<31 + residuePrime - keys[0] // the sum folds to P + high
			got := make([]float64, noiseBlock)
			k.noise64.uniform(got, start, &keys)
			for i, y := range got {
				x := start + uint64(i)
				for _, key := range keys {
					x = (x + key) % residuePrime
					square := x * x % residuePrime
					x = square * square % residuePrime * x % residuePrime
				}
				if want := (float64(x) + 0.5) * residueWidth; y != want {
					t.Errorf("counter %#x: %v, want %v", start+uint64(i), y, want)
				}
			}
		}
	})
}

// TestNormal: every set gives the same bits, which are those of correctly rounded operators but for rare units in the last place.
func TestNormal(t *testing.T) {
	const most = 70
	for _, d := range noiseDraws {
		first, second := NewNoiseKeys(d[0], d[1], d[2]), NewNoiseKeys(d[0], d[1], d[2]+1)
		for _, start := range noiseStarts {
			single, double := make([]float32, most), make([]float64, most)
			for i := range most {
				single[i] = normalOf(describedUniform[float32](int64(start+i), d[0], d[1], d[2]), describedUniform[float32](int64(start+i), d[0], d[1], d[2]+1))
				u, v := describedUniform[float64](int64(start+i), d[0], d[1], d[2]), describedUniform[float64](int64(start+i), d[0], d[1], d[2]+1)
				double[i] = math.Sqrt(-2*math.Log(u)) * math.Cos(2*math.Pi*v)
			}
			ours := make([]float32, most)
			DrawNormal(&portable, ours, start, &first, &second)
			for i, x := range ours {
				if u := ulps(x, float64(single[i])); u > 2 {
					t.Fatalf("draw %v: number %d is %v, want %v", d, start+i, x, single[i])
				}
			}
			forEachSet(t, func(t *testing.T, k *Kernels) {
				for n := range most {
					x, y := make([]float32, n+1), make([]float64, n+1)
					x[n], y[n] = bound, bound
					DrawNormal(k, x[:n], start, &first, &second)
					DrawNormal(k, y[:n], start, &first, &second)
					if x[n] != bound || y[n] != bound {
						t.Fatalf("%d numbers: writes past the end", n)
					}
					if !slices.Equal(x[:n], ours[:n]) || !slices.Equal(y[:n], double[:n]) {
						t.Fatalf("draw %v, %d numbers from %d: %v and %v, want %v and %v", d, n, start, x[:n], y[:n], ours[:n], double[:n])
					}
				}
			})
		}
	}
}

// normalOf is a normal number of two uniform ones by operators that each round to float32.
func normalOf(u, v float32) float32 {
	radius := float32(math.Sqrt(float64(-2 * float32(math.Log(float64(u))))))
	return radius * float32(math.Cos(float64(v*float32(2*math.Pi))))
}

// TestNormalMany compares the sets over many numbers, and counts those that are not what correctly rounded operators give.
func TestNormalMany(t *testing.T) {
	const n = 1 << 20
	first, second := NewNoiseKeys(3, 1, 4), NewNoiseKeys(3, 1, 5)
	u, v, want := make([]float32, n), make([]float32, n), make([]float32, n)
	DrawUniform(&portable, u, 0, &first)
	DrawUniform(&portable, v, 0, &second)
	DrawNormal(&portable, want, 0, &first, &second)
	off, worst := 0, 0.0
	for i, x := range want {
		if w := normalOf(u[i], v[i]); x != w {
			off, worst = off+1, max(worst, ulps(x, float64(w)))
		}
	}
	t.Logf("%d of %d numbers differ, by up to %g ulps", off, n, worst)
	if off > n/1000 || worst > 2 {
		t.Errorf("%d of %d numbers differ from separate operators, by up to %g ulps", off, n, worst)
	}
	forEachSet(t, func(t *testing.T, k *Kernels) {
		got := make([]float32, n)
		DrawNormal(k, got, 0, &first, &second)
		if !slices.Equal(got, want) {
			t.Errorf("differs from the portable numbers")
		}
	})
}

// TestBoxMuller: the smallest and largest uniform numbers, those at which the logarithm changes its power of two, and angles at
// the zeros and extrema of the cosine.
func TestBoxMuller(t *testing.T) {
	us := []float32{0.5 * residueWidth, float32((residuePrime - 0.5) * residueWidth), 0.1}
	for e := -31; e <= 0; e++ {
		for _, m := range []float64{1, math.Sqrt2, math.Sqrt2 / 2} {
			if x := float32(math.Ldexp(m, e)); x < 1 && x > 1e-9 {
				us = append(us, x, math.Nextafter32(x, 0), min(math.Nextafter32(x, 1), math.Nextafter32(1, 0)))
			}
		}
	}
	vs := []float32{us[0], us[1]}
	for q := range 9 {
		x := max(float32(q)/8, us[0])
		vs = append(vs, min(x, us[1]), math.Nextafter32(x, 0), min(math.Nextafter32(x, 1), us[1]))
	}
	for _, v := range vs {
		got, angles := slices.Clone(us), slices.Repeat([]float32{v}, len(us))
		boxMullerSingle(got, angles)
		for i, x := range got {
			if want := normalOf(us[i], v); ulps(x, float64(want)) > 2 {
				t.Errorf("of %v and %v: %v, want %v", us[i], v, x, want)
			}
		}
	}
}
