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

// affine writes y = x*scale + shift.
func affine[T amd64.Float](y, x []T, scale, shift T) {
	x = x[:len(y)]
	for i := range y {
		y[i] = x[i]*scale + shift
	}
}
