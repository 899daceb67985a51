package data

import (
	"image"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/gobolditalic"
	"golang.org/x/image/font/gofont/goitalic"
	"golang.org/x/image/font/gofont/gomedium"
	"golang.org/x/image/font/gofont/gomediumitalic"
	"golang.org/x/image/font/gofont/gomono"
	"golang.org/x/image/font/gofont/gomonobold"
	"golang.org/x/image/font/gofont/gomonobolditalic"
	"golang.org/x/image/font/gofont/gomonoitalic"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
)

const (
	fontCount = 10
	blurCount = 3
	glyphSide = 64 // pixels of a rendered glyph
	glyphZoom = 2  // glyph pixels per pixel of the final image
	glyphSize = 56 // font size in pixels; digits are about 0.72 of it high
)

// glyph is a rendered digit, white on black, centred.
type glyph [glyphSide * glyphSide]uint8

// at interpolates bilinearly between pixel centres; u and v are 16.16 fixed point. Outside it is black.
func (g *glyph) at(u, v int) int {
	x, y := u>>16, v>>16
	if x < 0 || y < 0 || x >= glyphSide-1 || y >= glyphSide-1 {
		return 0
	}
	fx, fy := u>>8&0xff, v>>8&0xff
	row := g[y*glyphSide+x : y*glyphSide+x+glyphSide+2]
	top := int(row[0])*(256-fx) + int(row[1])*fx
	bottom := int(row[glyphSide])*(256-fx) + int(row[glyphSide+1])*fx
	return (top*(256-fy) + bottom*fy) >> 16
}

// renderGlyphs renders every digit in every font at every blur.
func renderGlyphs() []glyph {
	fonts := [fontCount][]byte{
		goregular.TTF, goitalic.TTF, gobold.TTF, gobolditalic.TTF, gomedium.TTF,
		gomediumitalic.TTF, gomono.TTF, gomonoitalic.TTF, gomonobold.TTF, gomonobolditalic.TTF,
	}
	glyphs := make([]glyph, 0, fontCount*10*blurCount)
	for _, ttf := range fonts {
		face := newFace(ttf)
		for digit := range 10 {
			sharp := renderGlyph(face, rune('0'+digit))
			for radius := 1; radius <= blurCount; radius++ {
				glyphs = append(glyphs, sharp.blurred(radius))
			}
		}
	}
	return glyphs
}

// newFace loads one of the fonts that are compiled in, which cannot fail.
func newFace(ttf []byte) font.Face {
	f, err := opentype.Parse(ttf)
	if err != nil {
		panic("BUG: data: font: " + err.Error())
	}
	face, err := opentype.NewFace(f, &opentype.FaceOptions{Size: glyphSize, DPI: 72, Hinting: font.HintingNone})
	if err != nil {
		panic("BUG: data: font: " + err.Error())
	}
	return face
}

func renderGlyph(face font.Face, r rune) *glyph {
	bounds, _, ok := face.GlyphBounds(r)
	if !ok {
		panic("BUG: data: font without " + string(r))
	}
	const middle = fixed.Int26_6(glyphSide * 64 / 2)
	canvas := image.NewGray(image.Rect(0, 0, glyphSide, glyphSide))
	drawer := font.Drawer{Dst: canvas, Src: image.White, Face: face, Dot: fixed.Point26_6{
		X: middle - (bounds.Min.X+bounds.Max.X)/2,
		Y: middle - (bounds.Min.Y+bounds.Max.Y)/2,
	}}
	drawer.DrawString(string(r))
	g := new(glyph)
	copy(g[:], canvas.Pix)
	return g
}

// blurred applies a box filter of the given radius twice in each direction, which is close to a Gaussian.
func (g *glyph) blurred(radius int) glyph {
	out := *g
	for range 2 {
		for line := range glyphSide {
			out.boxFilter(line*glyphSide, 1, radius)
			out.boxFilter(line, glyphSide, radius)
		}
	}
	return out
}

// boxFilter replaces each pixel of the line that starts at from by the mean of its neighbourhood.
func (g *glyph) boxFilter(from, stride, radius int) {
	var line [glyphSide]int
	for i := range line {
		line[i] = int(g[from+i*stride])
	}
	for i := range line {
		sum := 0
		for j := max(i-radius, 0); j <= min(i+radius, glyphSide-1); j++ {
			sum += line[j]
		}
		g[from+i*stride] = uint8(sum / (2*radius + 1))
	}
}
