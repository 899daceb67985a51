// Package products puts chains of matrix products into the order of least work, where the batch size is known.
//
// A weight's gradient is a product D^T X with a row for each example. Whatever a method multiplies it with, S^-1 (D^T X) A^-1
// say, is less work as (D S^-1)^T (X A^-1) where rows are few. The gradient of a bias, appended as a column, is D^T 1.
package products

import (
	"slices"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// Pass is the row of the pass table.
var Pass = pass.Pass{
	Name: "products",
	Doc: "multiply chains of matrices in the order of least work, where the batch size is known\n\n" +
		"What a method multiplies a gradient D^T X with meets D and X first where a batch has few rows.",
	Ref: "Godbole, On efficient computation of matrix chain products, IEEE Trans. Comput. C-22 (1973)", Run: Run,
}

// gain is the least share of a chain's work that another order must save: rounding changes with the order.
const gain = 0.2

// Run orders the chains of m's main graph and of the branches in it.
func Run(c *pass.Ctx, m *graph.Model) error {
	sizes := pass.Sizes(m.Graph, c.Options)
	if sizes == nil {
		return nil
	}
	w := &writer{m: m, count: op.Counter{Sizes: sizes}}
	var roots []*graph.Node
	for n := range m.Graph.All() {
		if isProduct(n) && !within(n) {
			roots = append(roots, n)
		}
	}
	for _, n := range roots {
		if err := w.order(n, c.Report); err != nil {
			return err
		}
	}
	return nil
}

// isProduct reports whether n is the product of two matrices and nothing else. That of a matrix with itself is none: as a
// chain it would neither be symmetric nor as exact, for rows that cancel in the matrix do not cancel in their squares.
func isProduct(n *graph.Node) bool {
	if !n.Is("", "MatMul") && !n.Is("", "Gemm") {
		return false
	}
	if n.Op == "Gemm" && (n.In(2) != nil || n.Float("alpha", 1) != 1) {
		return false
	}
	x, y := n.In(0), n.In(1)
	return x.Type.Ranked && x.Type.Rank() == 2 && y.Type.Ranked && y.Type.Rank() == 2 && n.Out(0).Type.Elem.IsFloat() && untransposed(x) != untransposed(y)
}

// untransposed is what v is, or the transpose of.
func untransposed(v *graph.Value) *graph.Value {
	v = behind(v)
	for d := v.Def(); d != nil && d.Is("", "Transpose"); d = v.Def() {
		v = behind(d.In(0))
	}
	return v
}

// within reports whether a product is an operand of others of its graph alone, so that their chains go through it.
func within(n *graph.Node) bool {
	if n.Out(0).IsOutput() || len(n.Out(0).Uses()) == 0 {
		return false
	}
	for _, u := range n.Out(0).Uses() {
		if u.Node.Graph() != n.Graph() || !isProduct(u.Node) {
			return false
		}
	}
	return true
}

// matrix is a factor of a chain: v, or its transpose; with ones, v and a last column of ones.
type matrix struct {
	v          *graph.Value
	transposed bool
	ones       bool
	rows, cols float64
}

func (x matrix) swapped() matrix {
	x.transposed, x.rows, x.cols = !x.transposed, x.cols, x.rows
	return x
}

type writer struct {
	m     *graph.Model
	count op.Counter
}

// order rewrites the chain that ends in n if another order saves work.
func (w *writer) order(n *graph.Node, r *pass.Report) error {
	ch := &chain{writer: w, graph: n.Graph()}
	if !ch.product(n) || len(ch.factors) < 3 {
		return nil
	}
	least, cut := ch.plan()
	if least > (1-gain)*ch.flops {
		return nil
	}
	b := op.NewBuilder(w.m, n.Graph())
	b.At, b.Scope, b.Prefix = n, n.Scope, n.Out(0).Name+"/"
	out := ch.multiply(b, cut, 0, len(ch.factors)-1)
	if err := b.Err(); err != nil {
		return err
	}
	note(r, directionOf(n.Out(0), 8), ch.flops-least)
	pass.Replace(n.Out(0), out.v)
	return nil
}

// chain is a product of several matrices. flops are those of the products that nothing else needs, as they are written.
type chain struct {
	*writer
	graph   *graph.Graph
	factors []matrix
	flops   float64
	shared  int // how many of the products that are being read have other users
}

// product appends the factors of n, which is a product; false: a size is not known.
func (c *chain) product(n *graph.Node) bool {
	first := len(c.factors)
	if !c.operand(n.In(0), n.Int("transA", 0) != 0) {
		return false
	}
	second := len(c.factors)
	if !c.operand(n.In(1), n.Int("transB", 0) != 0) {
		return false
	}
	if c.shared == 0 {
		c.flops += 2 * c.factors[first].rows * c.factors[second].rows * c.factors[len(c.factors)-1].cols
	}
	return true
}

// operand appends the factors of v or of its transpose.
func (c *chain) operand(v *graph.Value, transposed bool) bool {
	v = behind(v)
	d := v.Def()
	if d == nil || d.Graph() != c.graph {
		return c.leaf(v, transposed)
	}
	if d.Is("", "Transpose") && slices.Equal(d.IntList("perm"), []int64{1, 0}) {
		return c.operand(d.In(0), !transposed)
	}
	read := c.product
	if !isProduct(d) {
		if read = c.bordered(d); read == nil {
			return c.leaf(v, transposed)
		}
	}
	others := len(v.Uses()) > 1 || v.IsOutput()
	if others {
		c.shared++
	}
	first := len(c.factors)
	ok := read(d)
	if others {
		c.shared--
	}
	if transposed {
		slices.Reverse(c.factors[first:])
		for i := range c.factors[first:] {
			c.factors[first+i] = c.factors[first+i].swapped()
		}
	}
	return ok
}

// behind is what v is another name for: tags of gradients and captures give their first input.
func behind(v *graph.Value) *graph.Value {
	for d := v.Def(); d != nil && (d.Is(graph.Asdl, graph.TagGrad) || d.Is(graph.Asdl, graph.TagCapture) || d.Is("", "Identity")); d = v.Def() {
		v = d.In(0)
	}
	return v
}

// leaf appends v or its transpose as it is.
func (c *chain) leaf(v *graph.Value, transposed bool) bool {
	shape, ok := c.count.Shape(v)
	if !ok {
		return false
	}
	x := matrix{v: v, rows: float64(shape[0]), cols: float64(shape[1])}
	if transposed {
		x = x.swapped()
	}
	c.factors = append(c.factors, x)
	return true
}

// bordered is for n = [D^T X | D^T 1], the last a sum over the rows of D: the factors are D^T and [X | 1]. Nil: n is not.
func (c *chain) bordered(n *graph.Node) func(n *graph.Node) bool {
	if !n.Is("", "Concat") || n.Int("axis", 0) != 1 && n.Int("axis", 0) != -1 || len(n.Inputs()) != 2 {
		return nil
	}
	p, sum := behind(n.In(0)).Def(), behind(n.In(1)).Def()
	for sum != nil && (sum.Is("", "Reshape") || sum.Is("", "Unsqueeze")) {
		sum = behind(sum.In(0)).Def()
	}
	if p == nil || p.Graph() != c.graph || !isProduct(p) || p.Int("transB", 0) != 0 || sum == nil || !sumsRows(sum) {
		return nil
	}
	d, transposed := behind(p.In(0)), p.Int("transA", 0) != 0
	if t := d.Def(); !transposed && t != nil && t.Is("", "Transpose") {
		d, transposed = behind(t.In(0)), true
	}
	if !transposed || behind(sum.In(0)) != d {
		return nil
	}
	return func(*graph.Node) bool {
		if !c.leaf(d, true) || !c.leaf(p.In(1), false) {
			return false
		}
		x := &c.factors[len(c.factors)-1]
		x.ones = true
		x.cols++
		return true
	}
}

// sumsRows reports whether n is the sum over the first dimension of a matrix.
func sumsRows(n *graph.Node) bool {
	if !n.Is("", "ReduceSum") || n.In(0).Type.Rank() != 2 {
		return false
	}
	axes := n.IntList("axes")
	if a := n.In(1); a != nil && a.Const() != nil {
		axes, _ = a.Const().Int64s()
	}
	return slices.Equal(axes, []int64{0})
}

// plan is the least work of the chain, and where to cut each part of it: cut[i][j] ends the first half of factors i to j.
func (c *chain) plan() (least float64, cut [][]int) {
	n := len(c.factors)
	work := make([][]float64, n)
	cut = make([][]int, n)
	for i := range n {
		work[i], cut[i] = make([]float64, n), make([]int, n)
	}
	for span := 1; span < n; span++ {
		for i := 0; i+span < n; i++ {
			j := i + span
			for k := i; k < j; k++ {
				f := work[i][k] + work[k+1][j] + 2*c.factors[i].rows*c.factors[k].cols*c.factors[j].cols
				if k == i || f < work[i][j] {
					work[i][j], cut[i][j] = f, k
				}
			}
		}
	}
	return work[0][n-1], cut
}

// multiply emits the product of factors i to j.
func (c *chain) multiply(b *op.Builder, cut [][]int, i, j int) matrix {
	if i == j {
		x := c.factors[i]
		if x.ones {
			one := b.OnesLike(b.Slice(x.v, []int64{0}, []int64{1}, []int64{1}))
			x.v, x.ones = b.Concat(1, x.v, one), false
		}
		return x
	}
	x, y := c.multiply(b, cut, i, cut[i][j]), c.multiply(b, cut, cut[i][j]+1, j)
	out := matrix{rows: x.rows, cols: y.cols}
	switch {
	case !x.transposed && !y.transposed:
		out.v = b.MatMul(x.v, y.v)
	default:
		out.v = b.Gemm(x.v, y.v, x.transposed, y.transposed)
	}
	return out
}

// note takes what was saved from the cost of the layer whose direction a chain is.
func note(r *pass.Report, of string, saved float64) {
	for _, l := range r.Layers {
		if l.Cost != nil && slices.Contains(l.Params, of) {
			l.Cost.Apply.Flops -= saved
			l.Cost.Apply.Matmul -= saved
		}
	}
}

// directionOf is the parameter whose direction is made of v within some steps, or "".
func directionOf(v *graph.Value, steps int) string {
	for _, u := range v.Uses() {
		if u.Node.Is(graph.Asdl, graph.TagPrecond) {
			return u.Node.Str("of", "")
		}
		if steps > 0 && len(u.Node.Outputs()) > 0 {
			for _, out := range u.Node.Outputs() {
				if of := directionOf(out, steps-1); of != "" {
					return of
				}
			}
		}
	}
	return ""
}
