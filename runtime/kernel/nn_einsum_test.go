package kernel

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// naiveEinsum sums over every index; equations have no ellipsis, and sizes gives each label's dimension.
func naiveEinsum[T amd64.Float](in []*Tensor, terms []string, out string, sizes map[rune]int) []float64 {
	labels := []rune(out)
	for _, term := range terms {
		for _, l := range term {
			if !strings.ContainsRune(string(labels), l) {
				labels = append(labels, l)
			}
		}
	}
	total, outLen := 1, 1
	for _, l := range labels {
		total *= sizes[l]
	}
	for _, l := range out {
		outLen *= sizes[l]
	}
	want := make([]float64, outLen)
	index := map[rune]int{}
	for flat := range total {
		rest := flat
		for i := len(labels) - 1; i >= 0; i-- {
			index[labels[i]] = rest % sizes[labels[i]]
			rest /= sizes[labels[i]]
		}
		product := 1.0
		for i, term := range terms {
			at := 0
			for d, l := range []rune(term) {
				dim := in[i].Shape[d]
				at = at*dim + index[l]%dim
			}
			product *= float64(Data[T](in[i])[at])
		}
		at := 0
		for _, l := range out {
			at = at*sizes[l] + index[l]
		}
		want[at] += product
	}
	return want
}

func TestEinsum(t *testing.T) {
	forPools(t, func(t *testing.T, p *Pool) {
		testEinsum[float32](t, p)
		testEinsum[float64](t, p)
	})
}

func testEinsum[T amd64.Float](t *testing.T, p *Pool) {
	rng := rand.New(rand.NewPCG(27, 28))
	sizes := map[rune]int{'a': 3, 'b': 4, 'c': 5, 'd': 2, 'e': 6, 'f': 1}
	for _, c := range []struct{ equation, plain string }{
		{"ab->ba", ""},
		{"ab->a", ""},
		{"ab->", ""},
		{"aab->ab", ""},
		{"aa->a", ""},
		{"aa", "aa->"},
		{"ba", "ba->ab"},
		{"ab,bc->ac", ""},
		{"ab,bc->ca", ""},
		{"ba,bc->ac", ""},
		{"ab,cb->ac", ""},
		{"ab,bc", "ab,bc->ac"},
		{"abc,acd->abd", ""},
		{"abc,dcb->ad", ""},
		{"abcd,aecd->acbe", ""},
		{"abcd,aecd->ceba", ""},
		{"acbe,aecd->abcd", ""},
		{"abc,abc->", ""},
		{"abc,abc->b", ""},
		{"a,b->ab", ""},
		{"a,b->ba", ""},
		{"a,a->a", ""},
		{"ab,ab->ab", ""},
		{"abd,ab->a", ""},
		{"ab,bc,cd->ad", ""},
		{"ab,bc,cd->dab", ""},
		{"a,b,c,d->bdac", ""},
		{"abc,c,b->a", ""},
		{"ae,be,ce->abc", ""},
		{"abb,bc->ac", ""},
		{"af,fb->ab", ""},
		{"fab,fbc->fac", ""},
		{" a b , b c -> a c ", "ab,bc->ac"},
		{"a...,b...->ab...", "ade,bde->abde"},
		{"...a,...b->...ab", "dea,deb->deab"},
		{"a...b->b...a", "acb->bca"},
		{"...,a", "de,a->dea"},
	} {
		plain := c.plain
		if plain == "" {
			plain = c.equation
		}
		left, out, _ := strings.Cut(plain, "->")
		terms := strings.Split(left, ",")
		o := opCase{op: "Einsum", pool: p, attrs: []graph.Attr{graph.S("equation", c.equation)}}
		for _, term := range terms {
			var shape []int
			for _, l := range term {
				shape = append(shape, sizes[l])
			}
			o.in = append(o.in, randomTensor[T](rng, shape...))
		}
		var shape []int
		for _, l := range out {
			shape = append(shape, sizes[l])
		}
		o.out = []Spec{outLike[T](shape...)}
		wantClose[T](t, c.equation, o.run(t)[0], naiveEinsum[T](o.in, terms, out, sizes), tolerance[T](100))
		if n := o.allocs(t); n != 0 {
			t.Errorf("%s: %v allocations per run", c.equation, n)
		}
	}
}

// TestEinsumBroadcast: dimensions of 1 under an ellipsis stand for the other operand's.
func TestEinsumBroadcast(t *testing.T) {
	rng := rand.New(rand.NewPCG(29, 30))
	a, b := randomTensor[float64](rng, 3, 1, 2), randomTensor[float64](rng, 4, 2, 5)
	o := opCase{op: "Einsum", attrs: []graph.Attr{graph.S("equation", "...i,...ij->...j")}, in: []*Tensor{a, b}, out: []Spec{outLike[float64](3, 4, 5)}}
	want := naiveEinsum[float64](o.in, []string{"xyi", "yij"}, "xyj", map[rune]int{'x': 3, 'y': 4, 'i': 2, 'j': 5})
	wantClose[float64](t, "broadcast", o.run(t)[0], want, 1e-14)
}

func TestEinsumRefuses(t *testing.T) {
	x, y := New(graph.Float32, 2, 3), New(graph.Float32, 4, 5)
	for _, equation := range []string{"ab", "ab,bc->ac", "abc,de->a", "ab,cd->az", "a.b,cd", "a,cd"} {
		opCase{op: "Einsum", attrs: []graph.Attr{graph.S("equation", equation)}, in: []*Tensor{x, y}, out: []Spec{outLike[float32](2, 5)}}.mustFail(t)
	}
}
