package passes_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/cleanup"
	"github.com/asdlc/asdlc/passes/legalize"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/passes/passtest"
)

// noisy is a step graph of nothing but noise: two uniform draws and a normal one, of n numbers each.
func noisy(t *testing.T, n int) *stepper { return start(t, noisyOf(t, n, graph.Float64)) }

func noisyOf(t *testing.T, n int, e graph.Elem) *graph.Model {
	t.Helper()
	m := passtest.Parse(t, fmt.Sprintf(`<ir_version: 8, opset_import: ["" : 17, "asdl" : 1]> noise () => (%[2]s[%[1]d] a, %[2]s[%[1]d] b, %[2]s[%[1]d] c)
		<int64[1] shape = {%[1]d}> {
		["clock"] step = asdl.Step ()
		da = asdl.Noise <name: string = "a", kind: string = "uniform", draw: int = 0, dtype: int = %[3]d> (shape)
		db = asdl.Noise <name: string = "a", kind: string = "uniform", draw: int = 1, dtype: int = %[3]d> (shape)
		dc = asdl.Noise <name: string = "c", kind: string = "normal", draw: int = 0, dtype: int = %[3]d> (shape)
		a = Identity (da)  b = Identity (db)  c = Identity (dc)
	}`, n, e, int(e)))
	m.Metadata = map[string]string{}
	c := &pass.Ctx{Options: pass.Options{Noise: "hash", Verify: true}, Report: &pass.Report{}}
	if err := pass.RunTable(c, m, []pass.Pass{legalize.Pass, cleanup.Pass}); err != nil {
		t.Fatal(err)
	}
	delete(m.Metadata, "asdl.state") // the test gives the step itself
	return m
}

// TestNoiseForms: the kernels of the generator and its functions in standard operators draw the same numbers.
func TestNoiseForms(t *testing.T) {
	for e, tol := range map[graph.Elem]float64{graph.Float32: 1.2e-7, graph.Float64: 0} {
		for _, n := range []int{1, 7, 1000, 100003} {
			native := noisyOf(t, n, e)
			plain := graph.Clone(native)
			if err := legalize.InlineFunctions(plain); err != nil {
				t.Fatal(err)
			}
			got, want := draw(start(t, native), 12, 5), draw(start(t, plain), 12, 5)
			for _, name := range []string{"a", "b"} {
				if !slices.Equal(got[name].v, want[name].v) {
					t.Errorf("%d uniform numbers of type %s differ", n, e)
				}
			}
			worst := 0.0
			for i, x := range want["c"].v {
				worst = max(worst, math.Abs(got["c"].v[i]-x)/(1+math.Abs(x)))
			}
			if worst > tol {
				t.Errorf("%d normal numbers of type %s differ by up to %.2g", n, e, worst)
			}
		}
	}
}

func draw(s *stepper, seed, step int64) arrays {
	return s.step(arrays{"asdl/seed": number(float64(seed)), "asdl/step": number(float64(step))})
}

// The generator again, from its description: modulo P = 2^31-1, a round adds a key and raises to the fifth power.
const hashPrime = 1<<31 - 1

func hashRound(x, key int64) int64 {
	x = (x + key) % hashPrime
	square := x * x % hashPrime
	return square * square % hashPrime * x % hashPrime
}

func hashKey(seed, step int64, draw int) int64 {
	seed = (seed%hashPrime + hashPrime) % hashPrime
	return hashRound(hashRound(hashRound(seed, 1640531527), int64(draw)+1), step%hashPrime)
}

func hashUniform(seed, step int64, draw, n int) []float64 {
	key := hashKey(seed, step, draw)
	second := hashRound(key, 97531246)
	out := make([]float64, n)
	for i := range out {
		x := hashRound(hashRound(hashRound(int64(i), key), second), 1013904223)
		out[i] = (float64(x) + 0.5) * ((1 - 1e-7) / hashPrime)
	}
	return out
}

// TestNoiseFormula compares the graph's numbers with the description's.
func TestNoiseFormula(t *testing.T) {
	const n = 100
	s := noisy(t, n)
	for _, seed := range []int64{0, 1, -7, 12345, 1 << 40} {
		for _, step := range []int64{0, 1, 999, 1 << 33} {
			out := draw(s, seed, step)
			near(t, "first draw", out["a"].v, hashUniform(seed, step, 0, n), 1e-15)
			near(t, "second draw", out["b"].v, hashUniform(seed, step, 2, n), 1e-15)
			u, v := hashUniform(seed, step, 4, n), hashUniform(seed, step, 5, n)
			want := make([]float64, n)
			for i := range want {
				want[i] = math.Sqrt(-2*math.Log(u[i])) * math.Cos(2*math.Pi*v[i])
			}
			near(t, "normal draw", out["c"].v, want, 1e-13)
		}
	}
}

// chiSquare is the statistic of counts in equal cells; its mean is cells-1 and its variance twice that.
func chiSquare(counts []int, total int) float64 {
	want, sum := float64(total)/float64(len(counts)), 0.0
	for _, c := range counts {
		d := float64(c) - want
		sum += d * d / want
	}
	return sum
}

// plausible fails if a chi-square statistic is more than five standard deviations from its mean.
func plausible(t *testing.T, what string, counts []int, total int) {
	t.Helper()
	free := float64(len(counts) - 1)
	if z := (chiSquare(counts, total) - free) / math.Sqrt(2*free); math.Abs(z) > 5 {
		t.Errorf("%s: chi-square is %.1f standard deviations off", what, z)
	}
}

func correlation(x, y []float64) float64 {
	mx, my := average(x), average(y)
	var xy, xx, yy float64
	for i := range x {
		xy += (x[i] - mx) * (y[i] - my)
		xx += (x[i] - mx) * (x[i] - mx)
		yy += (y[i] - my) * (y[i] - my)
	}
	return xy / math.Sqrt(xx*yy)
}

func average(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	return sum / float64(len(x))
}

// TestNoiseStatistics: uniform in one, two and three dimensions, uncorrelated along itself and across draws, steps and
// seeds, and normal where it should be.
func TestNoiseStatistics(t *testing.T) {
	const n = 30000
	s := noisy(t, n)
	for seed := range int64(3) {
		for step := range int64(3) {
			out := draw(s, seed, step)
			at := fmt.Sprintf("seed %d, step %d", seed, step)
			u := out["a"].v
			if low, high := slices.Min(u), slices.Max(u); low <= 0 || high >= 1 || low > 1e-3 || high < 1-1e-3 {
				t.Errorf("%s: from %g to %g", at, low, high)
			}
			cells := make([]int, 256)
			pairs, triples := make([]int, 32*32), make([]int, 8*8*8)
			for i, x := range u {
				cells[int(x*256)]++
				if i%2 == 1 {
					pairs[int(u[i-1]*32)*32+int(x*32)]++
				}
				if i%3 == 2 {
					triples[(int(u[i-2]*8)*8+int(u[i-1]*8))*8+int(x*8)]++
				}
			}
			plausible(t, at+", cells", cells, n)
			plausible(t, at+", pairs", pairs, n/2)
			plausible(t, at+", triples", triples, n/3)
			for p, want := range map[float64]float64{1: 0.5, 2: 1.0 / 3, 3: 0.25, 4: 0.2} {
				sum := 0.0
				for _, x := range u {
					sum += math.Pow(x, p)
				}
				if d := sum/n - want; math.Abs(d) > 5*0.3/math.Sqrt(n) {
					t.Errorf("%s: moment %g is off by %g", at, p, d)
				}
			}
			bound := 5 / math.Sqrt(n)
			for _, lag := range []int{1, 2, 3, 10, 784, 1000} {
				if r := correlation(u[lag:], u[:n-lag]); math.Abs(r) > bound {
					t.Errorf("%s: correlation %g at lag %d", at, r, lag)
				}
			}
			others := map[string][]float64{
				"the next draw": out["b"].v, "the next step": draw(s, seed, step+1)["a"].v, "the next seed": draw(s, seed+1, step)["a"].v,
				"the last index of the next step": draw(s, seed, step+1)["a"].v[1:], "seed and step exchanged": nil,
			}
			if seed != step {
				others["seed and step exchanged"] = draw(s, step, seed)["a"].v
			}
			for name, v := range others {
				if v == nil {
					continue
				}
				if r := correlation(u[:len(v)], v); math.Abs(r) > bound {
					t.Errorf("%s: correlation %g with %s", at, r, name)
				}
			}
			z := out["c"].v
			var second, third, fourth float64
			normal := make([]int, 64)
			for _, x := range z {
				second, third, fourth = second+x*x/n, third+x*x*x/n, fourth+x*x*x*x/n
				normal[int(64*0.5*math.Erfc(-x/math.Sqrt2))]++
			}
			plausible(t, at+", normal cells", normal, n)
			for _, m := range []struct{ got, want, spread float64 }{{average(z), 0, 1}, {second, 1, math.Sqrt2}, {third, 0, math.Sqrt(15)}, {fourth, 3, math.Sqrt(96)}} {
				if math.Abs(m.got-m.want) > 5*m.spread/math.Sqrt(n) {
					t.Errorf("%s: a moment of the normal numbers is %g, want %g", at, m.got, m.want)
				}
			}
		}
	}
}

// TestNoiseSingle: float32 draws stay inside the open interval, so that log(-log u) is finite.
func TestNoiseSingle(t *testing.T) {
	for _, x := range []float64{0.5, hashPrime - 0.5} {
		u := float32(x * ((1 - 1e-7) / hashPrime))
		if u <= 0 || u >= 1 {
			t.Errorf("residue %g gives %g", x, u)
		}
		if g := -math.Log(-math.Log(float64(u))); math.IsInf(g, 0) || math.IsNaN(g) {
			t.Errorf("residue %g gives the Gumbel number %g", x, g)
		}
	}
}
