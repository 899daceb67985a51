package kernel

import (
	"cmp"
	"slices"
)

// pixelMap tells which elements of the input each element of the output of a convolution is made of. The first spatial
// dimension counts lines, the others are joined. Kernel elements are ranked so that those that follow each other meet
// elements of the input that do: taps lists them by rank.
type pixelMap struct {
	inLines, inLine   int
	outLines, outLine int
	taps              []int   // kernel elements by rank
	lineTaps          int     // kernel elements of a line of the kernel
	lineHits          [][]hit // by line of the output: lines of the kernel and of the input
	lineRuns          [][]run // by element of a line of the output: elements of a line of the kernel and of the input
}

// hit is a kernel element, by rank, and the element of the input that it meets.
type hit struct{ tap, at int }

// run is n hits, of which each is one further than the one before.
type run struct {
	hit
	n int
}

// kernelLines is the number of lines of the kernel.
func (m *pixelMap) kernelLines() int { return len(m.taps) / m.lineTaps }

// mapConv is the map of a convolution.
func mapConv(w *window) pixelMap {
	return newPixelMap(w, w.in, w.out, func(d, out, k int) (int, bool) {
		return out*w.stride[d] + k*w.dilation[d] - w.padLo[d], true
	}, func(d, a, b int) int { return cmp.Compare(a, b) })
}

// mapTransposed is the map of a transposed convolution: element o of the output meets place p of the input where
// o = p*stride + k*dilation - pad. With a stride, every stride'th kernel element meets each: they are ranked together.
func mapTransposed(w *window) pixelMap {
	return newPixelMap(w, w.in, w.out, func(d, out, k int) (int, bool) {
		at := out + w.padLo[d] - k*w.dilation[d]
		return at / w.stride[d], at >= 0 && at%w.stride[d] == 0
	}, func(d, a, b int) int {
		return cmp.Or(cmp.Compare(a*w.dilation[d]%w.stride[d], b*w.dilation[d]%w.stride[d]), cmp.Compare(b, a))
	})
}

// newPixelMap builds a map from the element that output out and kernel element k of dimension d meet, if any, and the order
// of kernel elements.
func newPixelMap(w *window, in, out []int, meets func(d, out, k int) (int, bool), order func(d, a, b int) int) pixelMap {
	m := pixelMap{inLines: 1, inLine: 1, outLines: 1, outLine: 1, taps: []int{0}, lineTaps: 1}
	m.lineHits, m.lineRuns = [][]hit{{{}}}, [][]run{{{n: 1}}}
	for d := range in {
		taps := make([]int, w.kernel[d])
		for k := range taps {
			taps[k] = k
		}
		slices.SortFunc(taps, func(a, b int) int { return order(d, a, b) })
		hits := make([][]hit, out[d])
		for o := range hits {
			for rank, k := range taps {
				if at, ok := meets(d, o, k); ok && at >= 0 && at < in[d] {
					hits[o] = append(hits[o], hit{rank, at})
				}
			}
		}
		m.taps = product(m.taps, taps)
		if d == 0 && len(in) > 1 {
			m.inLines, m.outLines, m.lineHits = in[d], out[d], hits
			continue
		}
		m.inLine, m.outLine, m.lineTaps = m.inLine*in[d], m.outLine*out[d], m.lineTaps*len(taps)
		m.lineRuns = joinRuns(m.lineRuns, hits, len(taps), in[d])
	}
	return m
}

// product lists the numbers whose digits are one of high and one of low.
func product(high, low []int) []int {
	var all []int
	for _, h := range high {
		for _, l := range low {
			all = append(all, h*len(low)+l)
		}
	}
	return all
}

// joinRuns appends a dimension of so many taps and elements to the dimensions so far.
func joinRuns(before [][]run, hits [][]hit, taps, in int) [][]run {
	all := make([][]run, 0, len(before)*len(hits))
	for _, runs := range before {
		for _, list := range hits {
			var joined []run
			for _, r := range runs {
				for i := range r.n {
					for _, h := range list {
						next := hit{(r.tap+i)*taps + h.tap, (r.at+i)*in + h.at}
						if n := len(joined); n > 0 && next.tap == joined[n-1].tap+joined[n-1].n && next.at == joined[n-1].at+joined[n-1].n {
							joined[n-1].n++
						} else {
							joined = append(joined, run{next, 1})
						}
					}
				}
			}
			all = append(all, joined)
		}
	}
	return all
}

// reach is the range of lines of the input that lines from..to of the output meet; empty where they meet none.
func (m *pixelMap) reach(from, to int) (lo, hi int) {
	lo = m.inLines
	for _, hits := range m.lineHits[from:to] {
		for _, h := range hits {
			lo, hi = min(lo, h.at), max(hi, h.at+1)
		}
	}
	if hi == 0 {
		lo = 0
	}
	return lo, hi
}

// span is the greatest number of lines of the input that so many lines of the output meet, cut from the first on.
func (m *pixelMap) span(lines int) int {
	most := 0
	for from := 0; from < m.outLines; from += lines {
		lo, hi := m.reach(from, min(from+lines, m.outLines))
		most = max(most, hi-lo)
	}
	return most
}

// pairs is the number of pairs of an element of the output and one of the input that meet.
func (m *pixelMap) pairs() int {
	lines, elems := 0, 0
	for _, hits := range m.lineHits {
		lines += len(hits)
	}
	for _, runs := range m.lineRuns {
		for _, r := range runs {
			elems += r.n
		}
	}
	return lines * elems
}
