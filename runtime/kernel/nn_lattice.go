package kernel

import (
	"slices"

	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// lattice is the matrix of patches under a window, without the patches: images are spread out with their padding, so
// that element (r, j) of the matrix, r counting channels and kernel elements and j counting places, lies at
// rowAt[r] + placeAt[j]. Strips of the matrix are copied where a product needs them.
//
// A stride in the last dimension is undone while spreading: elements with the same remainder stand side by side, so that
// the places of a line follow each other. Where a line has fewer places than the kernel's has elements, the line stays as it
// is, and elements of the kernel follow each other.
type lattice struct {
	axes         []axis
	steps        []int // distance of neighbours on each axis of a spread plane
	channels     int
	image, plane int // elements of a channel's plane: as given, and spread out
	places       int // of an image
	kernels      int // elements of the kernel
	rowAt        []int32
	bands        []band
}

// axis is one spatial dimension: place p and kernel element k meet at element placeStep*p + kernelAt[k] of a line of
// length elements.
type axis struct {
	in, places, pad, stride int
	placeStep, length       int
	kernelAt                []int
	phases                  []phase // of the last dimension
}

// phase is a part of a spread line: every stride'th element of the padded line, from remainder on.
type phase struct{ remainder, at, length, step int }

// band is a range of places whose planes are spread out together: all of an image, or some lines of a large one.
type band struct {
	first, places int
	blits         []blit
}

// blit copies a rectangle of a plane to its spread form; step is the distance between elements of a line.
type blit struct{ src, dst, rows, cols, lds, ldd, step int }

// bandElems bounds the elements that the channels of an image take when spread out; larger images are done in bands.
const bandElems = 1 << 17

// newLattice prepares the geometry of a window over the planes of so many channels.
func newLattice(w *window, channels int) *lattice {
	l := &lattice{axes: axesOf(w), channels: channels, image: Count(w.in), places: Count(w.out), kernels: Count(w.kernel)}
	lines, line := l.axes[0].places, 1
	for _, a := range l.axes[1:] {
		line *= a.places
	}
	height := l.bandHeight()
	first := &l.axes[0]
	first.length -= (lines - height) * first.placeStep
	first.places = height
	l.steps = make([]int, len(l.axes))
	l.plane = 1
	for i := len(l.axes) - 1; i >= 0; i-- {
		l.steps[i] = l.plane
		l.plane *= l.axes[i].length
	}
	for c := range channels {
		for k := range l.kernels {
			l.rowAt = append(l.rowAt, int32(c*l.plane+l.sum(k, func(a *axis) []int { return a.kernelAt })))
		}
	}
	for from := 0; from == 0 || from < lines; from += height {
		l.bands = append(l.bands, band{first: from * line, places: min(height, lines-from) * line, blits: l.blits(from)})
	}
	return l
}

// sum adds up the positions that a list of each axis gives for the digits of i.
func (l *lattice) sum(i int, list func(*axis) []int) int {
	at := 0
	for d := len(l.axes) - 1; d >= 0; d-- {
		positions := list(&l.axes[d])
		at += l.steps[d] * positions[i%len(positions)]
		i /= len(positions)
	}
	return at
}

// axesOf lists the dimensions of a window; one alone gets another of one element in front.
func axesOf(w *window) []axis {
	var axes []axis
	if len(w.in) == 1 {
		axes = append(axes, axis{in: 1, places: 1, stride: 1, placeStep: 1, length: 1, kernelAt: []int{0}})
	}
	for i := range w.in {
		a := axis{in: w.in[i], places: w.out[i], pad: w.padLo[i], stride: w.stride[i], placeStep: w.stride[i]}
		for k := range w.kernel[i] {
			a.kernelAt = append(a.kernelAt, k*w.dilation[i])
		}
		a.length = max(0, (a.places-1)*a.placeStep) + a.kernelAt[len(a.kernelAt)-1] + 1
		axes = append(axes, a)
	}
	last := &axes[len(axes)-1]
	last.phases = []phase{{length: last.length, step: 1}}
	if last.stride > 1 && last.places >= len(last.kernelAt) {
		last.split()
	}
	return axes
}

// split brings together the elements of a line that have the same remainder by the stride.
func (a *axis) split() {
	length, at := 0, map[int]int{}
	for _, k := range a.kernelAt {
		length = max(length, a.places+k/a.stride)
		at[k%a.stride] = 0
	}
	a.phases = nil
	for r := range a.stride {
		if _, ok := at[r]; ok {
			at[r] = len(a.phases) * length
			a.phases = append(a.phases, phase{remainder: r, at: at[r], length: length, step: a.stride})
		}
	}
	for i, k := range a.kernelAt {
		a.kernelAt[i] = at[k%a.stride] + k/a.stride
	}
	a.placeStep, a.length = 1, len(a.phases)*length
}

// bandHeight is the number of lines of places that are spread out together.
func (l *lattice) bandHeight() int {
	lines, rest := l.axes[0].places, l.channels
	for _, a := range l.axes[1:] {
		rest *= a.length
	}
	fits := bandElems / max(1, rest)
	if l.axes[0].length <= fits || lines <= 1 {
		return max(1, lines)
	}
	most := (fits-l.axes[0].length)/l.axes[0].placeStep + lines
	return ceilDiv(lines, ceilDiv(lines, max(1, most))) // of nearly equal height
}

// blits lists the copies that spread a plane for the band whose first line of places is from.
func (l *lattice) blits(from int) []blit {
	starts := []blit{{}}
	for i := range l.axes[:len(l.axes)-1] {
		a := &l.axes[i]
		shift := -a.pad
		if i == 0 {
			shift += from * a.stride
		}
		var next []blit
		for _, b := range starts {
			for y := range a.length {
				if src := y + shift; src >= 0 && src < a.in && a.touches(y) {
					next = append(next, blit{src: b.src*a.in + src, dst: b.dst + y*l.steps[i]})
				}
			}
		}
		starts = next
	}
	a := &l.axes[len(l.axes)-1]
	var blits []blit
	for _, p := range a.phases {
		blits = append(blits, p.blits(starts, a)...)
	}
	return blits
}

// touches reports whether a window covers element y of the padded line.
func (a *axis) touches(y int) bool {
	return slices.ContainsFunc(a.kernelAt, func(k int) bool { return y >= k && (y-k)%a.placeStep == 0 && (y-k)/a.placeStep < a.places })
}

// blits turns starts of lines, in lines, into rectangles of lines at equal distances.
func (p phase) blits(starts []blit, a *axis) []blit {
	lo := max(0, ceilDiv(a.pad-p.remainder, p.step))
	cols := min((a.in-1+a.pad-p.remainder+p.step)/p.step, p.length) - lo
	if cols <= 0 {
		return nil
	}
	var out []blit
	for _, s := range starts {
		line := blit{src: s.src*a.in + lo*p.step + p.remainder - a.pad, dst: s.dst + p.at + lo, rows: 1, cols: cols, step: p.step}
		if n := len(out); n > 0 {
			b := &out[n-1]
			lds, ldd := line.src-b.src-(b.rows-1)*b.lds, line.dst-b.dst-(b.rows-1)*b.ldd
			if b.rows == 1 || lds == b.lds && ldd == b.ldd {
				b.lds, b.ldd, b.rows = lds, ldd, b.rows+1
				continue
			}
		}
		out = append(out, line)
	}
	for i := range out { // a rectangle without gaps is one line
		if b := &out[i]; b.step == 1 && b.rows > 1 && b.lds == b.cols && b.ldd == b.cols {
			*b = blit{src: b.src, dst: b.dst, rows: 1, cols: b.rows * b.cols, step: 1}
		}
	}
	return out
}

// plain reports whether planes are spread as they are, so that the lattice can lie on the images themselves.
func (l *lattice) plain() bool {
	return len(l.bands) == 1 && l.plane == l.image && slices.Equal(l.bands[0].blits, []blit{{rows: 1, cols: l.image, step: 1}})
}

// placeAt lists where the places of a band lie, for some images stride elements apart.
func (l *lattice) placeAt(images, stride int) []int32 {
	at := make([]int32, 0, images*l.bands[0].places)
	positions := map[*axis][]int{}
	for i := range l.axes {
		a := &l.axes[i]
		for p := range a.places {
			positions[a] = append(positions[a], p*a.placeStep)
		}
	}
	for i := range images {
		for p := range l.bands[0].places {
			at = append(at, int32(i*stride+l.sum(p, func(a *axis) []int { return positions[a] })))
		}
	}
	return at
}

// spread writes the planes of channels c0..c1 of an image to their places in dst. Elements outside the image are not
// written: dst holds outside before the first call, and is filled with it where bands differ.
func spread[T amd64.Float](l *lattice, g *amd64.GEMM[T], b *band, dst, x []T, c0, c1 int, outside T) {
	if len(l.bands) > 1 {
		blank(dst[c0*l.plane:c1*l.plane], outside)
	}
	for c := c0; c < c1; c++ {
		from, to := x[c*l.image:][:l.image], dst[c*l.plane:][:l.plane]
		for i := range b.blits {
			blitOne(&b.blits[i], g, to, from)
		}
	}
}

func blank[T amd64.Float](dst []T, outside T) {
	if outside == 0 {
		clear(dst)
		return
	}
	fill(dst, outside)
}

// ground is the memory on which the patches of some images lie: the images themselves, or scratch of each slot.
type ground[T amd64.Float] struct {
	g       *amd64.GEMM[T]
	l       *lattice
	groups  int
	plain   bool
	size    int // elements of a slot
	scratch slotScratch
	outside T      // what stands for elements outside the image
	fresh   []bool // by slot: not yet filled with that in this run
}

func newGround[T amd64.Float](c *Call, g *amd64.GEMM[T], l *lattice, slots, groups, images int) *ground[T] {
	s := &ground[T]{g: g, l: l, groups: groups, plain: l.plain(), size: images * l.channels * l.plane, fresh: make([]bool, slots)}
	if !s.plain {
		s.scratch = c.slotScratch(slots, sizeOf[T]()*s.size)
	}
	return s
}

// renew begins a run, to which scratch comes with any content.
func (s *ground[T]) renew() {
	for i := range s.fresh {
		s.fresh[i] = true
	}
}

// at is the memory of some images of x and the channels of a group, of which channels c0..c1 are valid.
func (s *ground[T]) at(slot int, b *band, x []T, group, image, images, c0, c1 int) []T {
	each := s.l.channels * s.l.image
	if s.plain {
		return x[(image*s.groups+group)*each:]
	}
	dst := elems[T](s.scratch.at(slot), s.size)
	if s.fresh[slot] {
		blank(dst, s.outside)
		s.fresh[slot] = false
	}
	for i := range images {
		spread(s.l, s.g, b, dst[i*s.l.channels*s.l.plane:], x[((image+i)*s.groups+group)*each:], c0, c1, s.outside)
	}
	return dst
}

func blitOne[T amd64.Float](b *blit, g *amd64.GEMM[T], dst, src []T) {
	switch {
	case b.step == 1 && b.rows == 1:
		copy(dst[b.dst:][:b.cols], src[b.src:])
	case b.step == 1:
		wide := 4 * g.Lanes
		for j := 0; j < b.cols; j += wide {
			g.Copy(b.rows, min(wide, b.cols-j), &src[b.src+j], b.lds, &dst[b.dst+j], b.ldd)
		}
	case b.step == 2:
		g.CopyEven(b.rows, b.cols, &src[b.src], b.lds, &dst[b.dst], b.ldd)
	default:
		for r := range b.rows {
			to, from := dst[b.dst+r*b.ldd:][:b.cols], src[b.src+r*b.lds:]
			for j := range to {
				to[j] = from[j*b.step]
			}
		}
	}
}

// runsOf tells for each entry how many, from it on, go up by one.
func runsOf(at []int32) []int32 {
	runs := make([]int32, len(at))
	for i := len(at) - 1; i >= 0; i-- {
		runs[i] = 1
		if i+1 < len(at) && at[i+1] == at[i]+1 {
			runs[i] = runs[i+1] + 1
		}
	}
	return runs
}

// offsets is one side of a matrix whose element (r, j) is at rows.at[r] + cols.at[j].
type offsets struct{ at, run []int32 }

func newOffsets(at []int32) offsets { return offsets{at, runsOf(at)} }

// mean is the mean length of a run.
func (o offsets) mean() float64 {
	runs := 0
	for i := 0; i < len(o.run); i += int(o.run[i]) {
		runs++
	}
	return float64(len(o.at)) / float64(max(1, runs))
}

// packStrip copies rows r0..r1 and columns j0..j1 of the matrix on src to dst, whose rows are ldd apart. alongRows says
// that runs are to be looked for down the columns.
func packStrip[T amd64.Float](g *amd64.GEMM[T], dst []T, ldd int, src []T, rows offsets, r0, r1 int, cols offsets, j0, j1 int, alongRows bool) {
	if alongRows {
		for r := r0; r < r1; {
			n := min(int(rows.run[r]), r1-r)
			for j := j0; j < j1; j += g.Lanes {
				g.TransposeAt(min(g.Lanes, j1-j), n, &src[rows.at[r]], &cols.at[j], &dst[(r-r0)*ldd+j-j0], ldd)
			}
			r += n
		}
		return
	}
	wide := 4 * g.Lanes
	for j := j0; j < j1; {
		n := min(int(cols.run[j]), j1-j, wide)
		g.CopyAt(r1-r0, n, &src[cols.at[j]], &rows.at[r0], &dst[j-j0], ldd)
		j += n
	}
}
