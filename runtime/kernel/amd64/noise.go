package amd64

import (
	"fmt"
	"math"
)

// The counter-based generator of step graphs: three rounds x -> ((x + key) mod P)^5 mod P of a counter, modulo the prime
// P = 2^31-1. Its numbers have the same bits in every set of kernels.
const (
	residuePrime                          = 1<<31 - 1
	residueKeyA, residueKeyB, residueKeyC = 1640531527, 97531246, 1013904223
	residueWidth                          = 4.65661240958451e-10 // (1 - 1e-7)/P
)

// NoiseKeys are those of the three rounds of a draw, below P.
type NoiseKeys = [3]uint64

// NewNoiseKeys are the keys of a draw of a step.
func NewNoiseKeys(seed, step, draw int64) NoiseKeys {
	mod := func(x int64) uint64 { return uint64((x%residuePrime + residuePrime) % residuePrime) }
	key := residueRound(mod(seed)+residueKeyA) % residuePrime
	key = residueRound(key+mod(draw+1)) % residuePrime
	key = residueRound(key+mod(step)) % residuePrime
	return NoiseKeys{key, residueRound(key+residueKeyB) % residuePrime, residueKeyC}
}

// residueFold is a number congruent to x modulo P, of little more than 31 bits if x has fewer than 62: 2^31 is 1.
func residueFold(x uint64) uint64 { return x&residuePrime + x>>31 }

// residueRound takes x + key below 2^34 to a number below 2^33 that is congruent to its fifth power.
func residueRound(sum uint64) uint64 {
	r := residueFold(sum)                   // < 2^31 + 8
	r2 := residueFold(r * r)                // < 2^32
	r4 := residueFold(residueFold(r2 * r2)) // < 2^31 + 4
	return residueFold(r4 * r)
}

// noiseFuncs are the kernels of the generator for one element type. They fill whole blocks of noiseBlock numbers, and start plus
// their number is below 2^33.
type noiseFuncs[T Float] struct {
	uniform func(dst []T, start uint64, keys *NoiseKeys)
	normal  func(dst []T, start uint64, first, second *NoiseKeys)
}

// noiseBlock is a multiple of what a turn of the assembler's loops writes.
const noiseBlock = 16

// noiseOf gives the kernels of k for T.
func noiseOf[T Float](k *Kernels) *noiseFuncs[T] {
	var zero T
	if _, ok := any(zero).(float32); ok {
		return any(&k.noise32).(*noiseFuncs[T])
	}
	return any(&k.noise64).(*noiseFuncs[T])
}

// DrawUniform writes the numbers start, start+1, ... of a draw to dst, at most 2^32: uniform ones in the open interval (0, 1), in
// float32 too. Counters are residues modulo P.
func DrawUniform[T Float](k *Kernels, dst []T, start int, keys *NoiseKeys) {
	counter := noiseCounter("DrawUniform", start, len(dst))
	if len(dst) < noiseBlock {
		portableUniform(dst, counter, keys)
		return
	}
	f := noiseOf[T](k)
	f.uniform(dst[:len(dst)&^(noiseBlock-1)], counter, keys)
	if len(dst)%noiseBlock != 0 { // the last block overlaps
		last := len(dst) - noiseBlock
		f.uniform(dst[last:], counter+uint64(last), keys)
	}
}

// DrawNormal writes standard normal numbers to dst that are made of the uniform numbers start, start+1, ... of two draws (Box &
// Muller 1958): sqrt(-2 log u) cos(2 pi v). Logarithm, root, angle and cosine are rounded to T, as separate operators would.
func DrawNormal[T Float](k *Kernels, dst []T, start int, first, second *NoiseKeys) {
	counter := noiseCounter("DrawNormal", start, len(dst))
	if len(dst) < noiseBlock {
		noiseOf[T](&portable).normal(dst, counter, first, second)
		return
	}
	f := noiseOf[T](k)
	f.normal(dst[:len(dst)&^(noiseBlock-1)], counter, first, second)
	if len(dst)%noiseBlock != 0 {
		last := len(dst) - noiseBlock
		f.normal(dst[last:], counter+uint64(last), first, second)
	}
}

// noiseCounter is the residue that n numbers begin with.
func noiseCounter(kernel string, start, n int) uint64 {
	if start < 0 || uint64(n) > 1<<32 {
		panic(fmt.Sprintf("BUG: amd64.%s: %d numbers from %d", kernel, n, start))
	}
	return uint64(start) % residuePrime
}

// portableUniform is noiseFuncs.uniform for any number of results.
func portableUniform[T Float](dst []T, start uint64, keys *NoiseKeys) {
	a, b, c := keys[0]+start, keys[1], keys[2]
	for i := range dst {
		x := residueFold(residueRound(residueRound(residueRound(a+uint64(i))+b) + c))
		if x >= residuePrime {
			x -= residuePrime
		}
		dst[i] = T((float64(int64(x)) + 0.5) * residueWidth)
	}
}

// noiseBatch is the number of results that are normal numbers in two passes: uniform ones, and what they are transformed to.
const noiseBatch = 16 * noiseBlock

// normalSingles is noiseFuncs.normal for float32 and any number of results.
func normalSingles(dst []float32, start uint64, first, second *NoiseKeys) {
	var v [noiseBatch]float32
	for len(dst) > 0 {
		n := min(len(dst), noiseBatch)
		portableUniform(dst[:n], start, first)
		portableUniform(v[:n], start, second)
		boxMullerSingle(dst[:n], v[:n])
		dst, start = dst[n:], start+uint64(n)
	}
}

// normalDoubles is noiseFuncs.normal for float64 and any number of results.
func normalDoubles(dst []float64, start uint64, first, second *NoiseKeys) {
	var v [noiseBatch]float64
	for len(dst) > 0 {
		n := min(len(dst), noiseBatch)
		portableUniform(dst[:n], start, first)
		portableUniform(v[:n], start, second)
		boxMullerDouble(dst[:n], v[:n])
		dst, start = dst[n:], start+uint64(n)
	}
}

// boxMullerDouble makes normal numbers of uniform ones.
func boxMullerDouble(u, v []float64) {
	for i, x := range u {
		u[i] = math.Sqrt(-2*math.Log(x)) * math.Cos(2*math.Pi*v[i])
	}
}

// boxMullerSingle makes normal numbers of uniform ones. Conversions keep compilers from fusing: the assembler does neither.
//
// The logarithm is of u = m 2^e with m about 1, log m = 2 artanh s with s = (m-1)/(m+1); times -2 it is s P(s^2) - 2 log(2) e to
// 5e-12. The cosine of x in [0, 2 pi] is the sine of y = |x - pi| - pi/2, y Q(y^2) to 3e-11. P and Q are minimax fits (Remez) for
// the relative error, P's first coefficient is that of the series.
func boxMullerSingle(u, v []float32) {
	const (
		half  = 0x3fe6a09e667f3bcd        // bits of sqrt(1/2)
		ln4   = -2 * math.Ln2 / (1 << 52) // times 2^52 e
		turn  = float32(2 * math.Pi)
		right = math.Pi / 2
	)
	for i := range u {
		bits := math.Float64bits(float64(u[i]))
		power := (bits - half) &^ (1<<52 - 1)
		m := math.Float64frombits(bits - power)
		s := (m - 1) / (m + 1)
		z := float64(s * s)
		p := -0.5707469398586551 + float64(z*-0.4716294370325798)
		p = -0.80000669067905 + float64(z*p)
		p = -1.3333333129729925 + float64(z*p)
		p = -4 + float64(z*p)
		squares := float64(s*p) + float64(float64(int64(power))*ln4)
		radius := float32(math.Sqrt(float64(float32(squares))))

		y := math.Abs(float64(v[i]*turn)-math.Pi) - right
		z = float64(y * y)
		q := 2.752397107971244e-06 + float64(z*-2.3868346597346233e-08)
		q = -0.0001984083282337695 + float64(z*q)
		q = 0.00833333072055875 + float64(z*q)
		q = -0.166666666088261 + float64(z*q)
		q = 0.999999999978849 + float64(z*q)
		u[i] = radius * float32(y*q)
	}
}
