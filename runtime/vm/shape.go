package vm

import (
	"strings"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel"
	"github.com/asdlc/asdlc/runtime/lower"
)

// fact is what is known of a slot before the run.
type fact struct {
	elem  graph.Elem
	shape []int
	known bool           // elem and shape are known
	value *kernel.Tensor // the contents, if they are known too
}

func factOf(t *kernel.Tensor) fact { return fact{elem: t.Elem, shape: t.Shape, known: true} }

func constFact(t *kernel.Tensor) fact {
	return fact{elem: t.Elem, shape: t.Shape, known: true, value: t}
}

func (f fact) spec() kernel.Spec {
	return kernel.Spec{Present: true, Elem: f.elem, Shape: f.shape, Const: f.value}
}

func (f fact) size() int { return kernel.Count(f.shape) * f.elem.Size() }

func (f fact) same(g fact) bool {
	return f.known && g.known && f.elem == g.elem && equalInts(f.shape, g.shape)
}

func byteSize(t *kernel.Tensor) int { return t.Len() * t.Elem.Size() }

func equalInts(a, b []int) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// mode is how an instruction is executed.
type mode uint8

const (
	planned mode = iota // shapes are known: a step of the plan
	folded              // the results are known: nothing to run
	dynamic             // shapes are found when it runs
)

// shaped is code for concrete inputs.
type shaped struct {
	code   *code
	facts  []fact // by slot
	modes  []mode // by instruction
	nested [][]*shaped
}

// maxFold bounds results that are computed while planning, in bytes.
const maxFold = 64 << 10

// shape finds the facts of all slots of c from those of its inputs and captures.
func (c *code) shape(inputs, captures []fact) (*shaped, error) {
	s := &shaped{code: c, facts: make([]fact, c.slots), modes: make([]mode, len(c.instrs)), nested: make([][]*shaped, len(c.instrs))}
	for i, slot := range c.inputs {
		s.facts[slot] = inputs[i]
	}
	for i, slot := range c.captures {
		s.facts[slot] = captures[i]
	}
	for _, in := range c.inits {
		s.facts[in.slot] = constFact(in.value)
	}
	for i := range c.instrs {
		if err := s.infer(i); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *shaped) infer(i int) error {
	in := &s.code.instrs[i]
	for _, slot := range in.args {
		if !s.facts[slot].known {
			s.dynamic(i)
			return nil
		}
	}
	if len(in.bodies) > 0 {
		return s.control(i)
	}
	specs := s.specs(in.in)
	results, err := in.op.Infer(specs)
	if err != nil {
		return err
	}
	if s.fold(in, specs, results) {
		s.modes[i] = folded
		return nil
	}
	for k, slot := range in.out {
		if slot < 0 {
			continue
		}
		if !results[k].Known {
			s.modes[i] = dynamic
		}
		s.facts[slot] = fact{elem: results[k].Elem, shape: results[k].Shape, known: results[k].Known}
	}
	return nil
}

func (s *shaped) specs(slots []int) []kernel.Spec {
	specs := make([]kernel.Spec, len(slots))
	for i, slot := range slots {
		if slot >= 0 {
			specs[i] = s.facts[slot].spec()
		}
	}
	return specs
}

// dynamic marks an instruction whose shapes are found when it runs. Where inference on the whole graph knows the shape
// of a result all the same, what follows can be planned.
func (s *shaped) dynamic(i int) {
	s.modes[i] = dynamic
	in := &s.code.instrs[i]
	for k, slot := range in.out {
		if slot < 0 {
			continue
		}
		t := in.op.Node.Outputs()[k].Type
		f := fact{elem: t.Elem}
		if shape, ok := t.Static(); ok && t.Elem.Valid() {
			f.known = true
			for _, n := range shape {
				f.shape = append(f.shape, int(n))
			}
		}
		s.facts[slot] = f
	}
}

// fold computes results that are known before the run: contents that shape inference knows, and small results of
// constant inputs. It reports whether all were.
func (s *shaped) fold(in *instr, specs []kernel.Spec, results []lower.Result) bool {
	if values := contents(in, results); values != nil {
		s.setValues(in, values)
		return true
	}
	if a, ok := in.op.Node.Attr("value"); ok && in.op.Node.Is("", "Constant") && a.T != nil {
		s.setValues(in, []*kernel.Tensor{kernel.FromConst(a.T)})
		return true
	}
	if random(in.op.Node) {
		return false
	}
	total := 0
	for k, slot := range in.out {
		if slot >= 0 {
			if !results[k].Known {
				return false
			}
			total += kernel.Count(results[k].Shape) * results[k].Elem.Size()
		}
	}
	args := make([]*kernel.Tensor, len(in.args))
	for i, slot := range in.args {
		if args[i] = s.facts[slot].value; args[i] == nil {
			return false
		}
		total += len(args[i].Raw) / 16
	}
	if total > maxFold {
		return false
	}
	values, err := in.op.Eval(args)
	if err != nil {
		return false // the run will say
	}
	s.setValues(in, values)
	return true
}

func (s *shaped) setValues(in *instr, values []*kernel.Tensor) {
	for k, slot := range in.out {
		if slot >= 0 {
			s.facts[slot] = constFact(values[k])
		}
	}
}

func random(n *graph.Node) bool {
	switch n.Op {
	case "Dropout", "Bernoulli", "Multinomial":
		return true
	}
	return strings.HasPrefix(n.Op, "Random")
}

// contents makes tensors of what inference knows of the contents of the results, or nil if that is not all.
func contents(in *instr, results []lower.Result) []*kernel.Tensor {
	values := make([]*kernel.Tensor, len(results))
	for k, slot := range in.out {
		if slot < 0 {
			continue
		}
		r := results[k]
		if !r.Known || r.Content == nil || len(r.Content) != kernel.Count(r.Shape) {
			return nil
		}
		if values[k] = intTensor(r); values[k] == nil {
			return nil
		}
	}
	return values
}

func intTensor(r lower.Result) *kernel.Tensor {
	t := kernel.New(r.Elem, r.Shape...)
	for i, d := range r.Content {
		n, ok := d.Int()
		if !ok {
			return nil
		}
		switch r.Elem {
		case graph.Int64:
			kernel.Data[int64](t)[i] = n
		case graph.Int32:
			kernel.Data[int32](t)[i] = int32(n)
		case graph.Bool:
			kernel.Data[bool](t)[i] = n != 0
		default:
			return nil
		}
	}
	return t
}
