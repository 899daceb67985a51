package kernel

import (
	"slices"
	"strings"

	"github.com/asdlc/asdlc/graph"
)

// layout is how a tensor stores an index set: the stride of each label, by label; a label that it lacks has none.
type layout map[rune]int

// equation is an einsum equation over concrete shapes. Dimensions of an ellipsis have the labels '0', '1', ..., counted
// from the last.
type equation struct {
	in    []layout
	out   []rune
	order []rune // every label: those of the output first
	size  map[rune]int
}

// ellipsisLabel is the label of dimension d, counted from the end, of an ellipsis.
func ellipsisLabel(d int) rune { return rune(0x10000 + d) }

// parseEinsum reads the attribute equation. Without "->", the output has the ellipsis and then, in alphabetical order,
// the labels that occur once.
func parseEinsum(c *Call) (*equation, error) {
	text := strings.ReplaceAll(c.Node.Str("equation", ""), " ", "")
	left, right, explicit := strings.Cut(text, "->")
	terms := strings.Split(left, ",")
	if len(terms) != len(c.In) {
		return nil, c.Errorf(graph.ErrInvalid, "equation %q has %d operands, the node %d", text, len(terms), len(c.In))
	}
	e := &equation{size: map[rune]int{}}
	count, dots := map[rune]int{}, 0
	var seen []rune
	for i, term := range terms {
		labels, n, err := einsumLabels(c, term, len(c.In[i].Shape))
		if err != nil {
			return nil, err
		}
		dots = max(dots, n)
		l := layout{}
		for d, stride := range strides(c.In[i].Shape) {
			label, dim := labels[d], c.In[i].Shape[d]
			count[label]++
			seen = append(seen, label)
			if old, ok := e.size[label]; ok && old != dim && old != 1 && dim != 1 {
				return nil, c.Errorf(graph.ErrInvalid, "equation %q: label %q is both %d and %d", text, label, old, dim)
			}
			if old, ok := e.size[label]; !ok || old == 1 {
				e.size[label] = dim
			}
			if dim != 1 {
				l[label] += stride // a repeated label walks the diagonal
			} else if _, ok := l[label]; !ok {
				l[label] = 0
			}
		}
		e.in = append(e.in, l)
	}
	if explicit {
		labels, _, err := einsumLabels(c, right, len(strings.ReplaceAll(right, "...", ""))+dots*strings.Count(right, "..."))
		e.out = labels
		if err != nil {
			return nil, err
		}
	} else {
		e.out = implicitOutput(count, dots)
	}
	e.order = append(e.order, e.out...)
	for _, label := range seen {
		if !slices.Contains(e.order, label) {
			e.order = append(e.order, label)
		}
	}
	for _, label := range e.out {
		if _, ok := e.size[label]; !ok {
			return nil, c.Errorf(graph.ErrInvalid, "equation %q: output label %q is in no operand", text, label)
		}
	}
	return e, nil
}

// einsumLabels lists the labels of a term for a tensor of the given rank, and the rank of its ellipsis.
func einsumLabels(c *Call, term string, rank int) (labels []rune, dots int, err error) {
	before, after, found := strings.Cut(term, "...")
	dots = rank - len(before) - len(after)
	if dots < 0 || !found && dots > 0 || strings.Contains(after, ".") || strings.Contains(before, ".") {
		return nil, 0, c.Errorf(graph.ErrInvalid, "einsum term %q does not fit a tensor of rank %d", term, rank)
	}
	labels = append(labels, []rune(before)...)
	for d := dots - 1; d >= 0; d-- {
		labels = append(labels, ellipsisLabel(d))
	}
	return append(labels, []rune(after)...), dots, nil
}

func implicitOutput(count map[rune]int, dots int) (out []rune) {
	for d := dots - 1; d >= 0; d-- {
		out = append(out, ellipsisLabel(d))
	}
	for label := 'A'; label <= 'z'; label++ {
		if count[label] == 1 {
			out = append(out, label)
		}
	}
	return out
}

// sizes are the dimensions of labels.
func (e *equation) sizes(labels []rune) []int {
	dims := make([]int, len(labels))
	for i, l := range labels {
		dims[i] = e.size[l]
	}
	return dims
}

// dense is the layout of a row-major tensor with these labels.
func (e *equation) dense(labels []rune) layout {
	l := layout{}
	for i, s := range strides(e.sizes(labels)) {
		l[labels[i]] = s
	}
	return l
}

// offsets lists the element offsets of the index set labels in order.
func (e *equation) offsets(labels []rune, l layout) []int {
	at := []int{0}
	for _, label := range labels {
		next := make([]int, 0, len(at)*e.size[label])
		for _, o := range at {
			for i := range e.size[label] {
				next = append(next, o+i*l[label])
			}
		}
		at = next
	}
	return at
}

// flat is the single stride with which the labels, taken as one index, are stored; false when there is none.
func (e *equation) flat(labels []rune, l layout) (stride int, ok bool) {
	stride, next := 1, -1
	for i := len(labels) - 1; i >= 0; i-- {
		s, n := l[labels[i]], e.size[labels[i]]
		if n == 1 {
			continue
		}
		if next < 0 {
			stride = s
		} else if s != next {
			return 0, false
		}
		next = s * n
	}
	return stride, true
}
