package data

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
)

// DigitSide is the height and width of a drawn digit in pixels, as in MNIST.
const DigitSide = 28

// DigitsConfig says how much of the generated data set to draw.
type DigitsConfig struct {
	Seed        uint64
	Train, Test int // numbers of images; Test may be 0
}

// maxDigits bounds the size of a generated set, at 784 bytes an image.
const maxDigits = 10_000_000

// Digits draws a data set of the digits 0 to 9, uint8 images [28,28], white on black as in MNIST. See [DigitPainter].
func Digits(config DigitsConfig) (*Split, error) {
	if config.Train < 1 || config.Test < 0 || config.Train > maxDigits || config.Test > maxDigits {
		return nil, fmt.Errorf("data: digits: %d training and %d test images; give 1 to %d and 0 to %d", config.Train, config.Test, maxDigits, maxDigits)
	}
	painter := NewDigitPainter(config.Seed)
	train, err := painter.dataset(PartTrain, config.Train)
	if err != nil || config.Test == 0 {
		return &Split{Train: train}, err
	}
	test, err := painter.dataset(PartTest, config.Test)
	if err != nil {
		return nil, err
	}
	return newSplit("digits", train, test)
}

// Part names a half of a generated data set. Training and test images come from unrelated random streams.
type Part uint8

// The two parts.
const (
	PartTrain Part = iota
	PartTest
)

// DigitPainter draws digits from Go's fonts under random shift, rotation, scale, shear, stroke, brightness and noise.
// An image depends on seed, part and index alone, to the bit on every machine: positions are rounded to fixed point and
// pixels computed in integers.
type DigitPainter struct {
	seed   uint64
	glyphs []glyph // [font][digit][blur]
}

// NewDigitPainter renders the glyphs.
func NewDigitPainter(seed uint64) *DigitPainter {
	return &DigitPainter{seed: seed, glyphs: renderGlyphs()}
}

// digitStyle is the look of an image, drawn at random. Lengths are in pixels of the image.
type digitStyle struct {
	font, blur     int
	shiftX, shiftY float64
	angle          float64 // radians
	scaleX, scaleY float64
	shear          float64
	cut            int // grey value that becomes black: more of it thins the stroke
	gain           int // contrast after the cut, in 1/256
	light          int // brightness, in 1/256
	noise          int // amplitude, in 1/256
}

func drawStyle(p *rand.PCG) digitStyle {
	size := between(p, 0.72, 1.12)
	aspect := between(p, 0.85, 1.15)
	return digitStyle{
		font: below(p, fontCount), blur: below(p, blurCount),
		shiftX: between(p, -3, 3), shiftY: between(p, -3, 3),
		angle:  between(p, -0.35, 0.35),
		scaleX: size * aspect, scaleY: size / aspect,
		shear: between(p, -0.25, 0.25),
		cut:   10 + below(p, 70), gain: 330 + below(p, 440),
		light: 150 + below(p, 107), noise: below(p, 64),
	}
}

// Paint draws image i of a part into dst, DigitSide² bytes row by row, and returns its digit. Each ten images from a
// multiple of ten hold every digit once.
func (g *DigitPainter) Paint(dst []uint8, part Part, i int) int64 {
	labels, images := streamTrainLabels, streamTrainImages
	if part == PartTest {
		labels, images = streamTestLabels, streamTestImages
	}
	var order [10]int
	p := stream(g.seed, labels, uint64(i/10))
	permute(&p, order[:])
	digit := order[i%10]

	p = stream(g.seed, images, uint64(i))
	style := drawStyle(&p)
	warp(dst, &g.glyphs[(style.font*10+digit)*blurCount+style.blur], style)
	addNoise(dst, style.noise, &p)
	return int64(digit)
}

// warp samples the glyph bilinearly at the inverse image of each pixel and applies cut, gain and light.
func warp(dst []uint8, g *glyph, s digitStyle) {
	// Image position = R(angle)·shear·scale·glyph position + shift; m is the inverse of the linear part, in glyph
	// pixels per image pixel. The conversions keep compilers from fusing multiply and add (see between).
	sin, cos := math.Sincos(s.angle)
	m := [4]float64{
		(cos + float64(s.shear*sin)) / s.scaleX, (sin - float64(s.shear*cos)) / s.scaleX,
		-sin / s.scaleY, cos / s.scaleY,
	}
	var step [4]int // 16.16 fixed point
	for k, v := range m {
		step[k] = int(math.Round(v * glyphZoom * 65536))
	}
	// Centre of the first pixel relative to the shifted centre of the image, 16.16 as well.
	const middle = DigitSide / 2
	x0 := int(math.Round((0.5 - middle - s.shiftX) * 65536))
	y0 := int(math.Round((0.5 - middle - s.shiftY) * 65536))
	const centre = glyphSide<<15 - 1<<15 // of the grid of glyph pixel centres
	u0 := (step[0]*x0+step[1]*y0)>>16 + centre
	v0 := (step[2]*x0+step[3]*y0)>>16 + centre
	for y := range DigitSide {
		u, v := u0+step[1]*y, v0+step[3]*y
		for x := range DigitSide {
			grey := min(max((g.at(u, v)-s.cut)*s.gain>>8, 0), 255)
			dst[y*DigitSide+x] = uint8(grey * s.light >> 8)
			u, v = u+step[0], v+step[2]
		}
	}
}

// addNoise adds triangular noise (the sum of two uniform bytes) of the given amplitude to each pixel.
func addNoise(dst []uint8, amplitude int, p *rand.PCG) {
	for i := 0; i < len(dst); i += 4 {
		word := p.Uint64()
		for j := i; j < min(i+4, len(dst)); j++ {
			n := int(word&0xff) + int(word>>8&0xff) - 255
			dst[j] = uint8(min(max(int(dst[j])+n*amplitude>>8, 0), 255))
			word >>= 16
		}
	}
}

// dataset paints count images on all cores.
func (g *DigitPainter) dataset(part Part, count int) (*Dataset, error) {
	const pixels = DigitSide * DigitSide
	images, labels := make([]uint8, count*pixels), make([]int64, count)
	workers := min(runtime.GOMAXPROCS(0), count)
	var wait sync.WaitGroup
	for w := range workers {
		wait.Go(func() {
			for i := count * w / workers; i < count*(w+1)/workers; i++ {
				labels[i] = g.Paint(images[i*pixels:(i+1)*pixels], part, i)
			}
		})
	}
	wait.Wait()
	x := &Array{Shape: []int{count, DigitSide, DigitSide}, Data: images}
	return newDataset("digits", x, "digits", &Array{Shape: []int{count}, Data: labels})
}
