package kernel

import "github.com/asdlc/asdlc/runtime/kernel/amd64"

// The functions below add matrices of patches to images. A matrix has a row for each channel and kernel element
// (r = channel*kernels + k) and a column for each image and place (j = image*places + place), or is the transpose of that.
// Planes of one image follow each other in x; images are stride elements apart. The form is chosen by which of a kernel's
// and the places' last dimension is the longer, for long runs.

// addPatchColumns adds src[r-r0][j-j0], rows ld apart, to the images (col2im).
func addPatchColumns[T numeric](p *patches, src []T, ld int, x []T, stride, r0, r1, j0, j1 int) {
	image0, place := j0/p.places, j0%p.places
	line0, x0 := place/p.width, place%p.width
	for r := r0; r < r1; r++ {
		channel, k := r/p.kernels, r%p.kernels
		kx := k % p.kw
		lines := p.lineAt[k/p.kw*p.lines:][:p.lines]
		first, lo, hi := p.first[kx], p.lo[kx], p.hi[kx]
		row := src[(r-r0)*ld:][:j1-j0]
		line, from, plane := line0, x0, image0*stride+channel*p.image
		for len(row) > 0 {
			seg := row[:min(p.width-from, len(row))]
			if at := lines[line]; at >= 0 {
				addPatchRun(seg, x[plane+int(at):], from, lo, hi, first, p.step)
			}
			row, from = row[len(seg):], 0
			if line++; line == p.lines {
				line, plane = 0, plane+stride
			}
		}
	}
}

func addPatchRun[T numeric](seg, line []T, from, lo, hi, first, step int) {
	lo, hi = min(max(lo-from, 0), len(seg)), min(max(hi-from, 0), len(seg))
	if lo >= hi {
		return
	}
	at := (from+lo)*step + first
	seg = seg[lo:hi]
	if step == 1 {
		line = line[at : at+len(seg)]
		for i, v := range seg {
			line[i] += v
		}
		return
	}
	line = line[at:]
	for i, v := range seg {
		line[i*step] += v
	}
}

// addPatchRows adds src[j-j0][r-r0], rows ld apart, to the images; r0 and r1 are multiples of the kernel's last dimension.
func addPatchRows[T amd64.Float](p *patches, src []T, ld int, x []T, stride, r0, r1, j0, j1 int) {
	kLines := p.kernels / p.kw
	for j := j0; j < j1; j++ {
		image, place := j/p.places, j%p.places
		line, px := place/p.width, place%p.width
		lo, hi := p.kLo[px], p.kHi[px]
		row := src[(j-j0)*ld:][:r1-r0]
		channel, k := r0/p.kernels, r0%p.kernels/p.kw
		plane := image*stride + channel*p.image
		for ; len(row) > 0; row = row[p.kw:] {
			if at := p.lineAt[k*p.lines+line]; at >= 0 && lo < hi {
				dst := x[plane+int(at)+px*p.step+p.first[lo]:]
				for i, v := range row[lo:hi] {
					dst[i*p.dilation] += v
				}
			}
			if k++; k == kLines {
				k, plane = 0, plane+p.image
			}
		}
	}
}
