package autodiff_test

import (
	"math"
	"math/rand/v2"

	"github.com/asdlc/asdlc/runtime/kernel"
)

// draws are the ranges that inputs are drawn from. Values of one tensor differ from each other by more than the
// steps of the differences, and are not near 0.
var draws = map[string]func(u float64) float64{
	"":         func(u float64) float64 { return away(4*u - 2) },
	"positive": func(u float64) float64 { return 0.3 + 2*u },
	"small":    func(u float64) float64 { return away(0.8*u - 0.4) },
	"large":    func(u float64) float64 { return 2.5 + u },
	"two":      func(u float64) float64 { return 2 + 0.3*u },
	"unit":     func(u float64) float64 { return 0.1 + 0.8*u },
	"low":      func(u float64) float64 { return -0.9 + 0.2*u },
	"high":     func(u float64) float64 { return 0.7 + 0.2*u },
	// Coordinates of GridSample for 4 pixels, not near pixels, their edges or the middle between two.
	"pixels":  func(u float64) float64 { return (2*offPixel(u)+1)/4 - 1 },
	"corners": func(u float64) float64 { return 2*offPixel(u)/3 - 1 }, // with align_corners
}

// offPixel is a position from -2 to 6.
func offPixel(u float64) float64 {
	whole, part := math.Modf(8 * u)
	return whole - 2 + 0.6 + 0.3*part
}

func away(v float64) float64 {
	if v < 0 {
		return v - 0.05
	}
	return v + 0.05
}

// fill draws a tensor of the shape.
func fill(r *rand.Rand, draw string, shape ...int) *kernel.Tensor {
	f, ok := draws[draw]
	if !ok {
		panic("no draw " + draw)
	}
	n := kernel.Count(shape)
	data := make([]float64, n)
	for i, k := range r.Perm(n) {
		data[i] = f((float64(k) + 0.3 + 0.4*r.Float64()) / float64(n))
	}
	return kernel.Of(data, shape...)
}
