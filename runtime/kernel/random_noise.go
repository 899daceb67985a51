package kernel

import (
	"fmt"
	"math"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// noiseTable has the counter-based generator of step graphs (asdl.Uniform, asdl.Normal), whose numbers are the same in every
// runtime.
var noiseTable = []Row{
	{Domain: graph.Asdl, Op: "Uniform", Elems: floats, Decide: -1, Note: "portable", Make: byOutput(makeNoise[float32]("draw", ""), makeNoise[float64]("draw", ""))},
	{Domain: graph.Asdl, Op: "Normal", Elems: floats, Decide: -1, Note: "portable", Make: byOutput(makeNoise[float32]("first", "second"), makeNoise[float64]("first", "second"))},
}

// The generator: three rounds x -> ((x + key) mod P)^5 mod P of a counter, modulo the prime P = 2^31-1.
const (
	residuePrime                          = 1<<31 - 1
	residueKeyA, residueKeyB, residueKeyC = 1640531527, 97531246, 1013904223
	residueWidth                          = 4.65661240958451e-10 // (1 - 1e-7)/P
)

// residueFold is a number of 32 bits and a little that is congruent to x modulo P: 2^31 is 1.
func residueFold(x uint64) uint64 { return x&residuePrime + x>>31 }

// residueRound takes x and key below 2^32 to a number below 2^32 that is congruent to (x + key)^5.
func residueRound(x, key uint64) uint64 {
	r := residueFold(x + key)
	r2 := residueFold(residueFold(r * r))
	r4 := residueFold(residueFold(r2 * r2))
	return residueFold(residueFold(r4 * r))
}

// residueKeys are those of the three rounds of a draw.
type residueKeys [3]uint64

func newResidueKeys(seed, step, draw int64) residueKeys {
	mod := func(x int64) uint64 { return uint64((x%residuePrime + residuePrime) % residuePrime) }
	key := residueRound(residueRound(residueRound(mod(seed), residueKeyA), mod(draw+1)), mod(step)) % residuePrime
	return residueKeys{key, residueRound(key, residueKeyB) % residuePrime, residueKeyC}
}

// uniform is number i of the draw, in (0, 1).
func (k *residueKeys) uniform(i int) float64 {
	x := residueRound(residueRound(residueRound(uint64(i)%residuePrime, k[0]), k[1]), k[2])
	x = residueFold(x)
	if x >= residuePrime {
		x -= residuePrime
	}
	return (float64(x) + 0.5) * residueWidth
}

// makeNoise is asdl.Uniform(shape, seed[], step[]) with the attribute draw, or asdl.Normal of two draws (Box & Muller 1958).
func makeNoise[T amd64.Float](first, second string) func(c *Call) (Run, error) {
	return func(c *Call) (Run, error) {
		if err := c.needs(3); err != nil {
			return nil, err
		}
		if len(c.In[1].Shape) != 0 || len(c.In[2].Shape) != 0 {
			return nil, c.Node.Errorf(graph.ErrInvalid, "seed and step have shapes %v and %v, want scalars", c.In[1].Shape, c.In[2].Shape)
		}
		draws := [2]int64{c.Node.Int(first, 0), c.Node.Int(second, 0)}
		var y []T
		var keys [2]residueKeys
		uniform := func(lo, hi int) {
			for i := lo; i < hi; i++ {
				y[i] = T(keys[0].uniform(i))
			}
		}
		body, grain := uniform, grainFor(8)
		if second != "" {
			body, grain = func(lo, hi int) {
				for i := lo; i < hi; i++ {
					y[i] = boxMuller(T(keys[0].uniform(i)), T(keys[1].uniform(i)))
				}
			}, grainFor(32)
		}
		pool := c.Pool
		return func(in, out []*Tensor) error {
			seed, step := Data[int64](in[1])[0], Data[int64](in[2])[0]
			for i, draw := range draws {
				keys[i] = newResidueKeys(seed, step, draw)
			}
			y = Data[T](out[0])
			if n := len(y); n > 1<<32 {
				return fmt.Errorf("%d random numbers of one draw, want at most %d", n, 1<<32)
			}
			pool.For(len(y), grain, body)
			y = nil
			return nil
		}, nil
	}
}

// boxMuller is a standard normal number of two uniform ones.
func boxMuller[T amd64.Float](u, v T) T {
	if _, single := any(u).(float32); !single {
		return T(math.Sqrt(-2*math.Log(float64(u))) * math.Cos(2*math.Pi*float64(v)))
	}
	turn := float32(2 * math.Pi)
	return T(float32(math.Sqrt(-2*logUnit(float64(u)))) * float32(cosTurn(float64(float32(v)*turn))))
}

// logUnit is log x for x in (0, 1) to 1e-9: x = m 2^e with m about 1, log m = 2 artanh((m-1)/(m+1)).
func logUnit(x float64) float64 {
	bits := math.Float64bits(x) - math.Float64bits(math.Sqrt2/2)
	e := int64(bits) >> 52
	m := math.Float64frombits(bits&(1<<52-1) + math.Float64bits(math.Sqrt2/2))
	s := (m - 1) / (m + 1)
	z := s * s
	p := 1 + z*(1./3+z*(1./5+z*(1./7+z*(1./9+z*(1./11+z/13)))))
	return 2*s*p + float64(e)*math.Ln2
}

// cosTurn is cos x for x in [0, 2 pi] to 1e-9: by the Taylor polynomials of sine and cosine about the nearest multiple of pi/2.
func cosTurn(x float64) float64 {
	quarter := int(x*(2/math.Pi) + 0.5)
	r := x - float64(quarter)*(math.Pi/2)
	z := r * r
	var p float64
	if quarter&1 == 0 {
		p = 1 + z*(-1./2+z*(1./24+z*(-1./720+z*(1./40320-z/3628800))))
	} else {
		p = r * (-1 + z*(1./6+z*(-1./120+z*(1./5040-z/362880))))
	}
	if quarter&2 != 0 {
		return -p
	}
	return p
}
