package kernel

import "github.com/asdlc/asdlc/runtime/kernel/amd64"

// sumOf is the sum of x in float64.
func sumOf[T amd64.Float](x []T) float64 {
	var s0, s1, s2, s3 float64
	i := 0
	for ; i+4 <= len(x); i += 4 {
		s0 += float64(x[i])
		s1 += float64(x[i+1])
		s2 += float64(x[i+2])
		s3 += float64(x[i+3])
	}
	for ; i < len(x); i++ {
		s0 += float64(x[i])
	}
	return (s0 + s1) + (s2 + s3)
}

// squaresAbout is the sum of (x-mean)^2 in float64.
func squaresAbout[T amd64.Float](x []T, mean float64) float64 {
	var s0, s1, s2, s3 float64
	i := 0
	for ; i+4 <= len(x); i += 4 {
		d0, d1 := float64(x[i])-mean, float64(x[i+1])-mean
		d2, d3 := float64(x[i+2])-mean, float64(x[i+3])-mean
		s0 += d0 * d0
		s1 += d1 * d1
		s2 += d2 * d2
		s3 += d3 * d3
	}
	for ; i < len(x); i++ {
		d := float64(x[i]) - mean
		s0 += d * d
	}
	return (s0 + s1) + (s2 + s3)
}

// momentLoops are the loops of normalisations. Sums over long runs are in float64.
type momentLoops[T amd64.Float] struct {
	sum        func(x []T) float64
	squares    func(x []T, mean float64) float64      // of (x - mean)^2
	along      func(g, x []T, mean float64) float64   // of g (x - mean)
	center     func(y, x []T, m, a, b T)              // (x - m) a + b
	centerGrad func(dst, g, x []T, m, scale, by, c T) // g scale - (x - m) by - c
}

// momentLoopsOf gives the loops of a pool: vector kernels for float32.
func momentLoopsOf[T amd64.Float](p *Pool) *momentLoops[T] {
	m := &momentLoops[T]{sum: sumOf[T], squares: squaresAbout[T], along: alongCentred[T], center: center[T], centerGrad: centerGrad[T]}
	k := p.Kernels()
	if v, ok := any(m).(*momentLoops[float32]); ok && k.Assembler() {
		total := byRuns(k.Sum)
		v.sum = func(x []float32) float64 { return total(0, x) }
		v.squares = func(x []float32, mean float64) float64 {
			sum, m := 0.0, float32(mean)
			for ; len(x) > shortRun; x = x[shortRun:] {
				sum += float64(k.Squares(x[:shortRun], m))
			}
			return sum + float64(k.Squares(x, m))
		}
		v.along = func(g, x []float32, mean float64) float64 {
			sum, m := 0.0, float32(mean)
			for ; len(x) > shortRun; g, x = g[shortRun:], x[shortRun:] {
				sum += float64(k.DotCentered(g[:shortRun], x[:shortRun], m))
			}
			return sum + float64(k.DotCentered(g, x, m))
		}
		v.center, v.centerGrad = k.Center, k.CenterGrad
	}
	return m
}

func alongCentred[T amd64.Float](g, x []T, mean float64) float64 {
	sum := 0.0
	for i, v := range x {
		sum += float64(g[i]) * (float64(v) - mean)
	}
	return sum
}

func center[T amd64.Float](y, x []T, m, a, b T) {
	x = x[:len(y)]
	for i := range y {
		y[i] = (x[i]-m)*a + b
	}
}

func centerGrad[T amd64.Float](dst, g, x []T, m, scale, by, c T) {
	g, x = g[:len(dst)], x[:len(dst)]
	for i := range dst {
		dst[i] = g[i]*scale - (x[i]-m)*by - c
	}
}
