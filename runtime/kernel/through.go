package kernel

import (
	"errors"
	"slices"

	"github.com/asdlc/asdlc/graph"
)

// overFloat64 are the operators of real numbers that may be asked for integers.
var overFloat64 = []string{"Resize", "Upsample", "GridSample", "Erf"}

// through prepares a call, whose element types no row serves, on a wider one: floating-point types over the widest among
// them, float32 at least, for every operator; the numbers of overFloat64 over float64. The results are rounded once, as Cast
// does it. Without anything to widen the error is direct, that of the call itself.
func (r *Registry) through(c *Call, direct error) (*Row, Run, error) {
	t := &conversion{over: graph.Float32}
	reals := slices.Contains(overFloat64, c.Node.Op)
	for _, s := range c.In {
		if s.Present && (s.Elem == graph.Float64 || reals && s.Elem.IsInt()) {
			t.over = graph.Float64
		}
	}
	inner := &Call{Node: c.Node, Opset: c.Opset, Pool: c.Pool, In: slices.Clone(c.In), Out: slices.Clone(c.Out)}
	for i := range inner.In {
		if s := &inner.In[i]; s.Elem.IsFloat() || reals && s.Elem.IsInt() && !exempt(c.Node.Op, i) {
			t.input(s, i)
		}
	}
	for i := range inner.Out {
		if s := &inner.Out[i]; s.Elem.IsFloat() || reals && s.Elem.IsInt() {
			t.output(s, i)
		}
	}
	if len(t.in)+len(t.out) == 0 {
		return nil, nil, direct
	}
	row, run, err := r.direct(inner)
	if errors.Is(err, graph.ErrUnsupported) {
		err = direct
	}
	if err != nil {
		return nil, nil, err
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

// manyTypes are the operators whose inputs may be of several floating-point types.
var manyTypes = []string{"Attention", "BatchNormalization", "GridSample", "LinearAttention", "RMSNormalization"}

// mixed reports whether inputs are of several floating-point types, rightly.
func (c *Call) mixed() bool {
	if c.Node.Domain != "" || !slices.Contains(manyTypes, c.Node.Op) {
		return false
	}
	first := graph.Undefined
	for _, s := range c.In {
		if s.Present && s.Elem.IsFloat() {
			if first != graph.Undefined && s.Elem != first {
				return true
			}
			first = s.Elem
		}
	}
	return false
}

// exempt inputs hold sizes and positions, not data.
func exempt(op string, i int) bool {
	return i == 3 && op == "Resize" // sizes
}

// conversion runs a kernel on converted tensors.
type conversion struct {
	over      graph.Elem
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

// input makes the spec of input i wide.
func (t *conversion) input(s *Spec, i int) {
	if !s.Present || s.Elem == t.over {
		return
	}
	cast := casterOf(s.Elem, t.over)
	if s.Const != nil {
		k := New(t.over, s.Shape...)
		cast(k.Raw, s.Const.Raw)
		s.Const = k
	}
	t.in = append(t.in, converted{at: i, wide: &Tensor{Elem: t.over, Shape: s.Shape}, cast: cast, srcSize: s.Elem.Size(), size: t.over.Size()})
	s.Elem = t.over
}

// output makes the spec of output i wide.
func (t *conversion) output(s *Spec, i int) {
	if !s.Present || s.Elem == t.over {
		return
	}
	t.out = append(t.out, converted{at: i, wide: &Tensor{Elem: t.over, Shape: s.Shape}, cast: casterOf(t.over, s.Elem), srcSize: t.over.Size(), size: s.Elem.Size()})
	s.Elem = t.over
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
