package op

import (
	"strings"

	"github.com/asdlc/asdlc/graph"
)

// inferEinsum types numpy's einsum: letters name dimensions, "..." the broadcast ones before or between them.
func inferEinsum(c *Context) error {
	equation := strings.ReplaceAll(c.Str("equation"), " ", "")
	left, right, explicit := strings.Cut(equation, "->")
	terms := strings.Split(left, ",")
	if len(terms) != len(c.In) {
		return c.fail("equation %q has %d terms for %d inputs", equation, len(terms), len(c.In))
	}
	e := einsum{c: c, equation: equation, sizes: map[byte]graph.Dim{}, count: map[byte]int{}}
	for i, term := range terms {
		if err := e.term(i, term); err != nil {
			return err
		}
	}
	if !explicit {
		right = e.implicit()
	}
	return e.output(right)
}

type einsum struct {
	c        *Context
	equation string
	sizes    map[byte]graph.Dim
	count    map[byte]int // occurrences of a letter
	batch    []graph.Dim  // broadcast dimensions of the ellipses
	ellipsis bool
	unranked bool // the rank of an ellipsis is not known
}

func isLetter(b byte) bool { return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' }

// letters splits a term at its ellipsis.
func (e *einsum) letters(term string) (before, after string, ellipsis bool, err error) {
	before, after, ellipsis = strings.Cut(term, "...")
	for _, part := range []string{before, after} {
		for i := range len(part) {
			if !isLetter(part[i]) {
				return "", "", false, e.c.fail("equation %q: unexpected %q", e.equation, part[i:i+1])
			}
		}
	}
	return before, after, ellipsis, nil
}

func (e *einsum) term(i int, term string) error {
	before, after, ellipsis, err := e.letters(term)
	if err != nil {
		return err
	}
	e.ellipsis = e.ellipsis || ellipsis
	dims, ranked := e.c.Dims(i)
	named := len(before) + len(after)
	if ranked && (len(dims) < named || !ellipsis && len(dims) != named) {
		return e.c.fail("equation %q: term %q does not fit input %d of type %s", e.equation, term, i, e.c.Type(i))
	}
	if !ranked {
		e.unranked = e.unranked || ellipsis
		dims = unknownDims(named)
	}
	for k := range named {
		letter, d := (before + after)[k], dims[k]
		if k >= len(before) {
			d = dims[len(dims)-named+k]
		}
		if err := e.letter(letter, d); err != nil {
			return err
		}
	}
	if ellipsis {
		if e.batch, err = broadcastDims(e.batch, dims[len(before):len(dims)-len(after)]); err != nil {
			return e.c.fail("equation %q: %v", e.equation, err)
		}
	}
	return nil
}

func (e *einsum) letter(letter byte, d graph.Dim) error {
	old, seen := e.sizes[letter]
	e.count[letter]++
	if !seen {
		e.sizes[letter] = d
		return nil
	}
	r, err := broadcastDim(old, d)
	if err != nil {
		return e.c.fail("equation %q: letter %c is %s and %s", e.equation, letter, old, d)
	}
	if r.IsUnknown() {
		r, _ = mergeDim(old, d)
	}
	e.sizes[letter] = r
	return nil
}

// implicit is the output of an equation without "->": the ellipsis, then the letters that occur once, in order.
func (e *einsum) implicit() string {
	out := ""
	if e.ellipsis {
		out = "..."
	}
	for letter := byte('A'); letter <= 'z'; letter++ {
		if e.count[letter] == 1 {
			out += string(letter)
		}
	}
	return out
}

func (e *einsum) output(term string) error {
	before, after, ellipsis, err := e.letters(term)
	if err != nil {
		return err
	}
	out := []graph.Dim{}
	used := map[byte]bool{}
	for k := range len(before) + len(after) {
		if k == len(before) && ellipsis {
			out = append(out, e.batch...)
		}
		letter := (before + after)[k]
		d, ok := e.sizes[letter]
		if !ok || used[letter] {
			return e.c.fail("equation %q: letter %c of the output occurs twice or in no input", e.equation, letter)
		}
		used[letter] = true
		out = append(out, d)
	}
	if ellipsis && after == "" {
		out = append(out, e.batch...)
	}
	if !ellipsis || !e.unranked {
		e.c.Set(0, out...)
	}
	return nil
}
