package layers

import (
	"slices"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/pass"
)

// weightMatrix follows transpositions up from v to a parameter of rank 2. io tells that v is [in, out] where the
// parameter is the right operand, that is, an even number of transpositions.
func weightMatrix(v *graph.Value) (w *graph.Value, io, ok bool) {
	io = true
	for {
		if isParam(v, 2) {
			return v, io, true
		}
		n := v.Def()
		if n == nil || !n.Is("", "Transpose") || v.Type.Rank() != 2 {
			return nil, false, false
		}
		if perm := n.IntList("perm"); perm == nil || slices.Equal(perm, []int64{1, 0}) {
			io = !io
		}
		v = n.In(0)
	}
}

func layout(io bool) []graph.Attr {
	if io {
		return []graph.Attr{graph.S("layout", "io")}
	}
	return []graph.Attr{graph.S("layout", "oi")}
}

// gemm recognises Gemm in all attribute forms. Factors other than 1, a transposed input and an addend that is no bias
// are made nodes of their own.
func gemm(f *finder, n *graph.Node) (*layer, error) {
	x, b := n.In(0), n.In(2)
	w, io, ok := weightMatrix(n.In(1))
	if !ok || !f.data[x] {
		return nil, nil
	}
	if n.Int("transB", 0) != 0 {
		io = !io
	}
	if err := f.plainGemm(n); err != nil {
		return nil, err
	}
	x = n.In(0)
	l := &layer{z: n.Out(0), x: x, w: w, attrs: layout(io)}
	if b != nil && b == n.In(2) {
		l.b = b
		f.lift(l)
		return l, nil
	}
	if err := f.hoistBias(l); err != nil {
		return nil, err
	}
	f.addBias(l)
	f.lift(l)
	return l, nil
}

// plainGemm leaves n as x·op(W), or x·op(W) + b with a bias parameter b; nodes for the rest are put around it.
func (f *finder) plainGemm(n *graph.Node) error {
	alpha, beta := n.Float("alpha", 1), n.Float("beta", 1)
	c, z := n.In(2), n.Out(0)
	pre := f.before(n, n)
	if n.Int("transA", 0) != 0 {
		x := pre.Transpose(n.In(0), 1, 0)
		f.data[x] = true
		n.SetInput(0, x)
		n.RemoveAttr("transA")
	}
	if beta == 0 && c != nil {
		n.SetInput(2, nil)
		c = nil
	}
	n.RemoveAttr("alpha")
	n.RemoveAttr("beta")
	if alpha == 1 && (c == nil || beta == 1 && isBias(c, z)) {
		return pre.Err()
	}
	n.SetInput(2, nil)
	name := z.Name
	users := slices.Clone(z.Uses())
	post := f.before(n.Next(), n)
	y := post.Scale(z, float64(alpha))
	if c != nil {
		y = post.Add(y, post.Scale(c, float64(beta)))
	}
	f.data[y] = true
	for _, u := range users {
		u.Node.SetInput(u.Index, y)
	}
	if z.IsOutput() {
		outs := slices.Clone(f.g.Outputs())
		for i, o := range outs {
			if o == z {
				outs[i] = y
			}
		}
		f.g.SetOutputs(outs...)
		z.Rename(name + "/product")
		y.Rename(name)
	}
	if err := pre.Err(); err != nil {
		return err
	}
	return post.Err()
}

// isBias reports whether c is a parameter [out], or [1, ..., 1, out], for z of [..., out].
func isBias(c, z *graph.Value) bool {
	r := c.Type.Rank()
	if r == 0 || !isParam(c, r) || !z.Type.Ranked || r > z.Type.Rank() {
		return false
	}
	for _, d := range c.Type.Dims[:r-1] {
		if n, ok := d.Size(); !ok || n != 1 {
			return false
		}
	}
	return c.Type.Dims[r-1] == z.Type.Dims[z.Type.Rank()-1]
}

// matMul recognises MatMul by a parameter of rank 2, transposed or not, with a bias added behind it.
func matMul(f *finder, n *graph.Node) (*layer, error) {
	if err := f.turn(n); err != nil {
		return nil, err
	}
	w, io, ok := weightMatrix(n.In(1))
	if !ok || !f.data[n.In(0)] || n.In(0).Type.Rank() < 2 {
		return nil, nil
	}
	l := &layer{z: n.Out(0), x: n.In(0), w: w, attrs: layout(io)}
	if err := f.hoistBias(l); err != nil {
		return nil, err
	}
	f.addBias(l)
	f.lift(l)
	return l, nil
}

// turn rewrites W·x, for a parameter W and data x whose columns are rows of a batch, as (x^T·W^T)^T. That is clear where x
// has more than two dimensions, or where the number of columns alone is not known.
func (f *finder) turn(n *graph.Node) error {
	w, x, z := n.In(0), n.In(1), n.Out(0)
	if !isParam(w, 2) || !f.data[x] || x.Type.Rank() < 2 {
		return nil
	}
	if x.Type.Rank() == 2 {
		_, rows := x.Type.Dims[0].Size()
		_, columns := x.Type.Dims[1].Size()
		if !rows || columns {
			return nil
		}
	}
	b := f.before(n, n)
	xt := b.Swap(x)
	f.data[xt] = true
	n.SetInputs(xt, b.Swap(w))
	t := z.Type
	t.Dims = slices.Clone(t.Dims)
	r := len(t.Dims)
	t.Dims[r-1], t.Dims[r-2] = t.Dims[r-2], t.Dims[r-1]
	z.Type = t
	perm := make([]int64, r)
	for i := range perm {
		perm[i] = int64(i)
	}
	perm[r-1], perm[r-2] = perm[r-2], perm[r-1]
	back := f.g.InsertNode(n.Next(), "", "Transpose", nil, []string{z.Name}, graph.Is("perm", perm...))
	back.Scope = n.Scope
	y := back.Out(0)
	y.Type = t
	y.Type.Dims = slices.Clone(t.Dims)
	y.Type.Dims[r-1], y.Type.Dims[r-2] = t.Dims[r-2], t.Dims[r-1]
	f.data[y] = true
	z.ReplaceUses(y)
	back.SetInputs(z)
	pass.TakeName(z, y)
	return b.Err()
}

// onlyUse is the single node that uses v, if v is no output.
func onlyUse(v *graph.Value) *graph.Node {
	if len(v.Uses()) != 1 || v.IsOutput() {
		return nil
	}
	return v.Uses()[0].Node
}

// biasOf is the bias that the node add adds to z, or nil.
func biasOf(add *graph.Node, z *graph.Value) *graph.Value {
	if add == nil || !add.Is("", "Add") {
		return nil
	}
	for i, v := range add.Inputs() {
		if v == z && isBias(add.In(1-i), z) {
			return add.In(1 - i)
		}
	}
	return nil
}

// addBias takes an Add of a bias behind z into the layer.
func (f *finder) addBias(l *layer) {
	add := onlyUse(l.z)
	b := biasOf(add, l.z)
	if b == nil || add.Graph() != f.g {
		return
	}
	l.b, l.z = b, add.Out(0)
	f.used[add] = true
}

// hoistBias moves the Add of a bias from behind a Reshape that keeps the last dimension to before it.
func (f *finder) hoistBias(l *layer) error {
	r := onlyUse(l.z)
	if r == nil || !r.Is("", "Reshape") || r.Graph() != f.g || r.In(0) != l.z {
		return nil
	}
	y := r.Out(0)
	add := onlyUse(y)
	b := biasOf(add, y)
	if b == nil || add.Graph() != f.g || !isBias(b, l.z) {
		return nil
	}
	e := f.before(r, add)
	sum := e.Add(l.z, b)
	f.data[sum] = true
	r.SetInput(0, sum)
	name, output := add.Out(0).Name, add.Out(0).IsOutput()
	add.Out(0).ReplaceUses(y)
	add.Remove()
	if output {
		y.Rename(name)
	}
	return e.Err()
}

// lift widens a layer on matrices between two Reshapes, rows of which are the positions of examples, to what is
// outside of these, so that examples and positions can be told apart.
func (f *finder) lift(l *layer) {
	outer, inner := onlyUse(l.z), l.x.Def()
	if outer == nil || inner == nil || !outer.Is("", "Reshape") || !inner.Is("", "Reshape") || outer.Graph() != f.g {
		return
	}
	x, z := inner.In(0), outer.Out(0)
	r := x.Type.Rank()
	if l.x.Type.Rank() != 2 || r < 3 || z.Type.Rank() != r || outer.In(0) != l.z {
		return
	}
	for i := range r - 1 {
		if d := x.Type.Dims[i]; d.IsUnknown() || d != z.Type.Dims[i] {
			return
		}
	}
	if x.Type.Dims[r-1] != l.x.Type.Dims[1] || z.Type.Dims[r-1] != l.z.Type.Dims[1] {
		return
	}
	f.used[l.z.Def()], f.used[outer] = true, true
	l.x, l.z = x, z
}
