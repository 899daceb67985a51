package autodiff

import (
	"strings"

	"github.com/asdlc/asdlc/graph"
)

// einsum is an equation taken apart: one string of dimension labels per operand, with the ellipsis spelled out
// in labels of its own.
type einsum struct {
	in  []string
	out string
}

// parse reads the node's equation.
func (c *Call) parseEinsum() (einsum, bool) {
	equation := strings.ReplaceAll(c.N.Str("equation", ""), " ", "")
	left, out, explicit := strings.Cut(equation, "->")
	e := einsum{in: strings.Split(left, ",")}
	if len(e.in) != len(c.N.Inputs()) {
		c.unsupported("the equation %q does not fit %d operands", equation, len(c.N.Inputs()))
		return e, false
	}
	wide := 0 // dimensions under the ellipsis
	for i, s := range e.in {
		rank := c.In(i).Type.Rank()
		if rank < 0 {
			c.unsupported("the rank of %s is not known; fix the input shapes of the model", c.In(i))
			return e, false
		}
		if strings.Contains(s, "...") {
			wide = max(wide, rank-(len(s)-3))
		}
	}
	free := unusedLabels(equation, wide)
	if len(free) < wide {
		c.unsupported("the equation %q leaves no letters for the dimensions under its ellipsis", equation)
		return e, false
	}
	for i, s := range e.in {
		own := c.In(i).Type.Rank() - (len(s) - 3)
		e.in[i] = strings.Replace(s, "...", free[max(0, wide-own):], 1)
	}
	if explicit {
		e.out = strings.Replace(out, "...", free, 1)
	} else {
		e.out = free + onceLabels(left)
	}
	return e, true
}

// unusedLabels is n letters that the equation does not use.
func unusedLabels(equation string, n int) string {
	var sb strings.Builder
	for r := 'A'; r <= 'z' && sb.Len() < n; r++ {
		if (r <= 'Z' || r >= 'a') && !strings.ContainsRune(equation, r) {
			sb.WriteRune(r)
		}
	}
	return sb.String()
}

// diagonals tells whether an operand has a label twice, which takes its diagonal.
func (e einsum) diagonals() bool {
	for _, s := range e.in {
		for i, r := range s {
			if strings.ContainsRune(s[:i], r) {
				return true
			}
		}
	}
	return false
}

// offDiagonal writes an equation with diagonals as one without: the second occurrence of a label gets a new label, and
// an identity matrix over the two joins the operands.
func offDiagonal(c *Call) []*graph.Value {
	e, ok := c.parseEinsum()
	if !ok {
		return nil
	}
	operands := append([]*graph.Value{}, c.N.Inputs()...)
	terms := append([]string{}, e.in...)
	used := strings.Join(e.in, "") + e.out
	for i, s := range e.in {
		labels := []byte(s)
		for k := range labels {
			if strings.IndexByte(s, labels[k]) == k {
				continue
			}
			fresh := unusedLabels(used, 1)
			if fresh == "" {
				return c.unsupported("the equation uses every letter; its diagonals need one more")
			}
			used += fresh
			size := c.dimPiece(operands[i], k)
			square := c.Full(c.shape(size, size), operands[i].Type.Elem, 0)
			operands = append(operands, c.Op("EyeLike", []*graph.Value{square}))
			terms = append(terms, string(labels[k])+fresh)
			labels[k] = fresh[0]
		}
		terms[i] = string(labels)
	}
	return []*graph.Value{c.Op("Einsum", operands, graph.S("equation", strings.Join(terms, ",")+"->"+e.out))}
}

// onceLabels is the letters that occur exactly once, in alphabetical order: the output that an equation without "->" means.
func onceLabels(left string) string {
	var sb strings.Builder
	for r := 'A'; r <= 'z'; r++ {
		if (r <= 'Z' || r >= 'a') && strings.Count(left, string(r)) == 1 {
			sb.WriteRune(r)
		}
	}
	return sb.String()
}

// vjpEinsum: the cotangent of an operand is the product of g with the other operands, over the operand's labels.
// Labels that only it has were summed, so that its cotangent is constant along them.
func vjpEinsum(c *Call) []*graph.Value {
	e, ok := c.parseEinsum()
	if !ok {
		return nil
	}
	if e.diagonals() {
		return pullOf(offDiagonal)(c)
	}
	ct := make([]*graph.Value, len(e.in))
	for i, labels := range e.in {
		if !c.wants(i) {
			continue
		}
		operands, terms := []*graph.Value{c.d(0)}, []string{e.out}
		for j := range e.in {
			if j != i {
				operands, terms = append(operands, c.In(j)), append(terms, e.in[j])
			}
		}
		known := strings.Join(terms, "")
		var shared strings.Builder
		var lost []int64
		for k, r := range labels {
			if strings.ContainsRune(known, r) {
				shared.WriteRune(r)
			} else {
				lost = append(lost, int64(k))
			}
		}
		g := c.Op("Einsum", operands, graph.S("equation", strings.Join(terms, ",")+"->"+shared.String()))
		if lost != nil {
			g = c.Unsqueeze(g, lost...)
		}
		// A dimension of 1 under the ellipsis may have been broadcast, a lost one is to be.
		ct[i] = c.ExpandLike(c.unbroadcast(g, c.In(i)), c.In(i))
	}
	return ct
}

// jvpEinsum replaces one operand after the other by its tangent.
func jvpEinsum(c *Call) []*graph.Value {
	var terms []*graph.Value
	for i, t := range c.D {
		if t != nil {
			in := append([]*graph.Value{}, c.N.Inputs()...)
			in[i] = t
			terms = append(terms, c.apply(in...)[0])
		}
	}
	return []*graph.Value{addAll(c.Builder, terms)}
}
