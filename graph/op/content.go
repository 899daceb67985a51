package op

import (
	"math"
	"strings"

	"github.com/asdlc/asdlc/graph"
)

// maxContent is the number of elements up to which the content of a tensor is followed.
const maxContent = 64

// tensorContent is the content of a constant: of integers and bools (as 0 and 1), and of floating-point numbers that
// are all integers, which lets shapes pass through floating-point arithmetic.
func tensorContent(t *graph.Tensor) []graph.Dim {
	if v, ok := t.Int64s(); ok {
		return knownDims(v)
	}
	f, ok := t.Float64s()
	if !ok {
		return nil
	}
	out := make([]graph.Dim, len(f))
	for i, x := range f {
		if x != math.Trunc(x) || math.Abs(x) >= 1<<24 {
			return nil
		}
		out[i] = graph.Known(int64(x))
	}
	return out
}

func knownDims(v []int64) []graph.Dim {
	out := make([]graph.Dim, len(v))
	for i, n := range v {
		out[i] = graph.Known(n)
	}
	return out
}

// zip applies f to the elements of two contents, a single one repeated; nil if either is nil or lengths differ.
func zip(a, b []graph.Dim, f func(a, b graph.Dim) graph.Dim) []graph.Dim {
	if a == nil || b == nil {
		return nil
	}
	n := max(len(a), len(b))
	if len(a) == 0 || len(b) == 0 {
		n = 0
	}
	if (len(a) != n && len(a) != 1) || (len(b) != n && len(b) != 1) {
		return nil
	}
	out := make([]graph.Dim, n)
	for i := range out {
		out[i] = f(a[min(i, len(a)-1)], b[min(i, len(b)-1)])
	}
	return out
}

// mapContent applies f to each element.
func mapContent(a []graph.Dim, f func(graph.Dim) graph.Dim) []graph.Dim {
	if a == nil {
		return nil
	}
	out := make([]graph.Dim, len(a))
	for i, d := range a {
		out[i] = f(d)
	}
	return out
}

// sign tells what is known of the sign of d: lo is true if d >= 0, hi if d <= 0. A symbolic expression without a minus
// sign is a sum of products of sizes, which are not negative.
func sign(d graph.Dim) (lo, hi bool) {
	if n, ok := d.Int(); ok {
		return n >= 0, n <= 0
	}
	if !d.IsSymbolic() {
		return false, false
	}
	if !strings.Contains(d.String(), "-") {
		return true, false
	}
	if neg := graph.Known(0).Sub(d); neg.IsSymbolic() && !strings.Contains(neg.String(), "-") {
		return false, true
	}
	return false, false
}

// positive reports whether d >= 1 for certain, with symbols taken to be at least 1.
func positive(d graph.Dim) bool {
	if n, ok := d.Int(); ok {
		return n > 0
	}
	lo, _ := sign(d)
	return lo && !strings.Contains(d.String(), "floor")
}

func addContent(a, b graph.Dim) graph.Dim { return addDim(a, b) }

func subContent(a, b graph.Dim) graph.Dim {
	if n, ok := b.Int(); ok && n == math.MinInt64 {
		return graph.UnknownDim
	}
	return addDim(a, negContent(b))
}

func mulContent(a, b graph.Dim) graph.Dim {
	p, _ := mulDim(a, b)
	return p
}

func negContent(a graph.Dim) graph.Dim { return graph.Known(0).Sub(a) }

// divContent is integer division, which truncates.
func divContent(a, b graph.Dim) graph.Dim {
	x, okx := a.Int()
	y, oky := b.Int()
	if oky && y == 0 {
		return graph.UnknownDim
	}
	if okx && oky {
		return graph.Known(x / y)
	}
	q := a.Div(b)
	lo, _ := sign(a)
	lob, _ := sign(b)
	if lo && lob || q.Mul(b) == a {
		return q
	}
	return graph.UnknownDim
}

// exactDiv is a/b where that is an integer: division of floating-point numbers.
func exactDiv(a, b graph.Dim) graph.Dim {
	if b == graph.Known(0) {
		return graph.UnknownDim
	}
	if q := a.Div(b); !q.IsUnknown() && q.Mul(b) == a {
		return q
	}
	return graph.UnknownDim
}

// modContent is the remainder with the sign of the divisor.
func modContent(a, b graph.Dim) graph.Dim {
	if b == graph.Known(0) {
		return graph.UnknownDim
	}
	q := a.Div(b)
	_, okx := a.Int()
	_, oky := b.Int()
	if okx && oky || q.Mul(b) == a {
		return a.Sub(q.Mul(b))
	}
	return graph.UnknownDim
}

// fmodContent is the remainder with the sign of the dividend.
func fmodContent(a, b graph.Dim) graph.Dim {
	x, okx := a.Int()
	y, oky := b.Int()
	if okx && oky && y != 0 {
		return graph.Known(x % y)
	}
	lo, _ := sign(a)
	lob, _ := sign(b)
	if lo && lob {
		return modContent(a, b)
	}
	return graph.UnknownDim
}

// compare tells what is known of the sign of a-b.
func compare(a, b graph.Dim) (lo, hi bool) {
	x, okx := a.Int()
	y, oky := b.Int()
	if okx && oky {
		return x >= y, x <= y
	}
	return sign(a.Sub(b))
}

func minContent(a, b graph.Dim) graph.Dim {
	lo, hi := compare(a, b)
	switch {
	case hi:
		return a
	case lo:
		return b
	case a == graph.Known(1) && positive(b), b == graph.Known(1) && positive(a):
		return graph.Known(1)
	}
	return graph.UnknownDim
}

func maxContentOf(a, b graph.Dim) graph.Dim {
	lo, hi := compare(a, b)
	switch {
	case lo:
		return a
	case hi:
		return b
	case a == graph.Known(1) && positive(b):
		return b
	case b == graph.Known(1) && positive(a):
		return a
	}
	return graph.UnknownDim
}

func truth(v bool) graph.Dim {
	if v {
		return graph.Known(1)
	}
	return graph.Known(0)
}

// equalContent decides a == b: also where one is a size and the other negative.
func equalContent(a, b graph.Dim) graph.Dim {
	d := a.Sub(b)
	if n, ok := d.Int(); ok {
		return truth(n == 0)
	}
	if d.IsUnknown() {
		return d
	}
	if positive(d) || positive(negContent(d)) {
		return truth(false)
	}
	return graph.UnknownDim
}

// lessContent decides a < b.
func lessContent(a, b graph.Dim) graph.Dim {
	lo, hi := compare(a, b)
	_, okx := a.Int()
	_, oky := b.Int()
	switch {
	case lo:
		return truth(false)
	case hi && okx && oky, positive(b.Sub(a)):
		return truth(true)
	}
	return graph.UnknownDim
}

func notContent(a graph.Dim) graph.Dim {
	if n, ok := a.Int(); ok {
		return truth(n == 0)
	}
	return graph.UnknownDim
}

func greaterContent(a, b graph.Dim) graph.Dim        { return lessContent(b, a) }
func lessOrEqualContent(a, b graph.Dim) graph.Dim    { return notContent(lessContent(b, a)) }
func greaterOrEqualContent(a, b graph.Dim) graph.Dim { return notContent(lessContent(a, b)) }

func andContent(a, b graph.Dim) graph.Dim {
	x, okx := a.Int()
	y, oky := b.Int()
	switch {
	case okx && x == 0, oky && y == 0:
		return truth(false)
	case okx && oky:
		return truth(true)
	}
	return graph.UnknownDim
}

func orContent(a, b graph.Dim) graph.Dim { return notContent(andContent(notContent(a), notContent(b))) }

func xorContent(a, b graph.Dim) graph.Dim {
	x, okx := a.Int()
	y, oky := b.Int()
	if okx && oky {
		return truth((x == 0) != (y == 0))
	}
	return graph.UnknownDim
}
