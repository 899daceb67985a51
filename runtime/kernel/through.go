package kernel

import (
	"slices"

	"github.com/asdlc/asdlc/graph"
)

// overFloat64 are the operators that interpolate, and may be asked to do so between integers or in positions of another
// floating-point type.
var overFloat64 = []string{"Resize", "Upsample", "GridSample"}

// wider is the element type on which op computes what it is given as e; e itself if there is none.
func wider(op string, e graph.Elem) graph.Elem {
	switch {
	case slices.Contains(overFloat64, op) && e.Valid() && e != graph.Bool:
		return graph.Float64
	case e == graph.Float16, e == graph.BFloat16:
		return graph.Float32
	}
	return e
}

// through prepares a call, whose element types no row serves, on wider ones: 16-bit floats over float32, for every operator; the
// operators of overFloat64 over float64. The results are rounded once, as Cast does it. Without wider types, or rows that
// serve them, the error is direct, that of the call itself.
func (r *Registry) through(c *Call, direct error) (*Row, Run, error) {
	t := &conversion{}
	inner := &Call{Node: c.Node, Opset: c.Opset, Pool: c.Pool, In: slices.Clone(c.In), Out: slices.Clone(c.Out)}
	for i := range inner.In {
		if exempt(c.Node.Op, i) {
			continue
		}
		if err := t.input(c, &inner.In[i], i); err != nil {
			return nil, nil, err
		}
	}
	for i := range inner.Out {
		t.output(c.Node.Op, &inner.Out[i], i)
	}
	if len(t.in)+len(t.out) == 0 {
		return nil, nil, direct
	}
	row, run, err := r.direct(inner)
	if err != nil {
		return nil, nil, direct
	}
	c.Scratches = inner.Scratches
	for _, list := range [][]converted{t.in, t.out} {
		for i := range list {
			list[i].held = c.Scratch(list[i].wide.Len() * list[i].wide.Elem.Size())
		}
	}
	t.run, t.pool = run, c.Pool
	t.ins, t.outs = make([]*Tensor, len(c.In)), make([]*Tensor, len(c.Out))
	return &Row{Domain: row.Domain, Op: row.Op, Rank: row.Rank, Note: row.Note + ", converted", Make: row.Make}, t.exec, nil
}

// exempt inputs hold sizes and positions, not data.
func exempt(op string, i int) bool {
	return i == 3 && op == "Resize" // sizes
}

// conversion runs a kernel on converted tensors.
type conversion struct {
	in, out   []converted
	ins, outs []*Tensor
	run       Run
	pool      *Pool
}

// converted is an argument of the call and its wide form, which lies in held or is a constant.
type converted struct {
	at            int
	wide          *Tensor
	held          *Scratch
	cast          caster
	srcSize, size int    // bytes of an element, before and after
	src, dst      []byte // of the current run
	body          func(lo, hi int)
}

// input makes spec i of a call wide.
func (t *conversion) input(c *Call, s *Spec, i int) error {
	e := wider(c.Node.Op, s.Elem)
	if !s.Present || e == s.Elem {
		return nil
	}
	cast := casterOf(s.Elem, e)
	if cast == nil {
		return c.Errorf(graph.ErrUnsupported, "no conversion from %s to %s", s.Elem, e)
	}
	if s.Const != nil {
		k := New(e, s.Shape...)
		cast(k.Raw, s.Const.Raw)
		s.Const = k
	}
	t.in = append(t.in, converted{at: i, wide: &Tensor{Elem: e, Shape: s.Shape}, cast: cast, srcSize: s.Elem.Size(), size: e.Size()})
	s.Elem = e
	return nil
}

// output makes the spec of output i of a call of op wide.
func (t *conversion) output(op string, s *Spec, i int) {
	e := wider(op, s.Elem)
	if !s.Present || e == s.Elem {
		return
	}
	t.out = append(t.out, converted{at: i, wide: &Tensor{Elem: e, Shape: s.Shape}, cast: casterOf(e, s.Elem), srcSize: e.Size(), size: s.Elem.Size()})
	s.Elem = e
}

func (v *converted) convert(pool *Pool, dst, src []byte) {
	v.dst, v.src = dst, src
	if v.body == nil {
		v.body = func(lo, hi int) { v.cast(v.dst[lo*v.size:hi*v.size], v.src[lo*v.srcSize:hi*v.srcSize]) }
	}
	pool.For(len(src)/v.srcSize, grainCheap, v.body)
	v.dst, v.src = nil, nil
}

func (t *conversion) exec(in, out []*Tensor) error {
	copy(t.ins, in)
	copy(t.outs, out)
	for i := range t.in {
		v := &t.in[i]
		v.wide.Raw = v.held.Raw[:v.held.Size]
		v.convert(t.pool, v.wide.Raw, in[v.at].Raw)
		t.ins[v.at] = v.wide
	}
	for i := range t.out {
		v := &t.out[i]
		v.wide.Raw = v.held.Raw[:v.held.Size]
		if out[v.at] != nil {
			t.outs[v.at] = v.wide
		}
	}
	if err := t.run(t.ins, t.outs); err != nil {
		return err
	}
	for i := range t.out {
		if v := &t.out[i]; out[v.at] != nil {
			v.convert(t.pool, out[v.at].Raw, v.wide.Raw)
		}
	}
	return nil
}
