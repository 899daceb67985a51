package data

import (
	"math/bits"
	"math/rand/v2"
)

// The purposes for which streams of random numbers are drawn; equal seeds give unrelated streams for each.
const (
	streamShuffle uint64 = iota + 1
	streamTrainLabels
	streamTrainImages
	streamTestLabels
	streamTestImages
)

// stream is a generator of random numbers that depends on its arguments alone: the counter (an epoch, a sample) is part
// of the seed, so any epoch or sample can be drawn without those before it. It allocates nothing.
func stream(seed, purpose, counter uint64) rand.PCG {
	var p rand.PCG
	p.Seed(mix64(mix64(seed)+purpose), mix64(counter))
	return p
}

// mix64 is the finaliser of SplitMix64 (Steele, Lea & Flood 2014, with Stafford's variant 13): a bijection that
// spreads neighbouring integers.
func mix64(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// below draws an integer in [0, n). The multiplication's bias, at most n/2⁶⁴, does not matter here.
func below(p *rand.PCG, n int) int {
	hi, _ := bits.Mul64(p.Uint64(), uint64(n))
	return int(hi)
}

// between draws a float in [lo, hi). The conversion keeps compilers from fusing multiply and add, which would make the
// last bit depend on the machine.
func between(p *rand.PCG, lo, hi float64) float64 {
	return lo + float64((hi-lo)*(float64(p.Uint64()>>11)/(1<<53)))
}

// permute fills dst with 0 … len(dst)-1 in random order (Fisher–Yates).
func permute(p *rand.PCG, dst []int) {
	for i := range dst {
		j := below(p, i+1)
		dst[i] = dst[j]
		dst[j] = i
	}
}
