package lower

import (
	"fmt"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// maxConst bounds the tensors whose contents shape inference may look at (integers of any size are always shown).
const maxConst = 1024

// Result is what inference says of one output of a call.
type Result struct {
	Elem    graph.Elem
	Shape   []int       // nil if Known is false
	Known   bool        // whether every dimension is known
	Content []graph.Dim // as of op.Arg
}

// Infer types the outputs of o's node for arguments of known element types and shapes, one Spec per input of the node.
func (o *Op) Infer(in []kernel.Spec) ([]Result, error) {
	ctx := &op.Context{Node: o.Node, Opset: o.Opset, In: make([]op.Arg, len(in))}
	if o.prog.Model.Function(o.Node.Domain, o.Node.Op) != nil {
		ctx.Model = o.prog.Model
	}
	for i, s := range in {
		ctx.In[i] = argOf(s)
	}
	if err := op.InferCall(ctx); err != nil {
		return nil, err
	}
	out := make([]Result, len(ctx.Out))
	for i, a := range ctx.Out {
		out[i] = Result{Elem: a.Type.Elem, Content: a.Content}
		if shape, ok := a.Type.Static(); ok {
			if err := o.fits(a.Type.Elem, shape); err != nil {
				return nil, err
			}
			out[i].Known, out[i].Shape = true, toInts(shape)
		}
	}
	return out, nil
}

// fits refuses results that no memory can hold.
func (o *Op) fits(e graph.Elem, shape []int64) error {
	if !e.Valid() {
		return o.Node.Errorf(graph.ErrUnsupported, "gives tensors of type %s", e)
	}
	n, err := graph.CountOf(shape, e.Size())
	if err != nil {
		return o.Node.Errorf(graph.ErrInvalid, "%v", err)
	}
	if bytes := n * int64(e.Size()); o.prog.MaxBytes > 0 && bytes > o.prog.MaxBytes {
		return o.Node.Errorf(graph.ErrInvalid, "a result of type %s and shape %v takes %d MiB, more than the memory limit of %d MiB",
			e, shape, bytes>>20, o.prog.MaxBytes>>20)
	}
	return nil
}

func argOf(s kernel.Spec) op.Arg {
	if !s.Present {
		return op.Arg{}
	}
	shape := make([]int64, len(s.Shape))
	for i, n := range s.Shape {
		shape[i] = int64(n)
	}
	arg := op.Arg{Present: true, Type: graph.StaticType(s.Elem, shape...)}
	if s.Const != nil && (!s.Elem.IsFloat() || s.Const.Len() <= maxConst) {
		arg.Const = &graph.Tensor{Elem: s.Elem, Shape: shape, Raw: s.Const.Raw}
		if len(shape) <= 1 {
			arg.Content = contentOf(arg.Const)
		}
	}
	return arg
}

// maxContent bounds the integer tensors whose contents are shown as dimensions.
const maxContent = 64

func contentOf(t *graph.Tensor) []graph.Dim {
	if t.Len() > maxContent {
		return nil
	}
	v, ok := t.Int64s()
	if !ok {
		return nil
	}
	dims := make([]graph.Dim, len(v))
	for i, n := range v {
		dims[i] = graph.Known(n)
	}
	return dims
}

func toInts(shape []int64) []int {
	out := make([]int, len(shape))
	for i, n := range shape {
		out[i] = int(n)
	}
	return out
}

// Eval computes the outputs of o's node on fresh memory from the children's values. It serves Gorgonia's machines,
// constant folding, and calls whose shapes depend on data.
func (o *Op) Eval(args []*kernel.Tensor) ([]*kernel.Tensor, error) {
	if len(args) != o.arity {
		return nil, o.Node.Errorf(graph.ErrInvalid, "has %d arguments, want %d", len(args), o.arity)
	}
	if len(o.Bodies) > 0 {
		return o.evalControl(args)
	}
	in := make([]*kernel.Tensor, len(o.Args))
	specs := make([]kernel.Spec, len(o.Args))
	for i, a := range o.Args {
		if a < 0 {
			continue
		}
		in[i] = args[a]
		specs[i] = kernel.Spec{Present: true, Elem: in[i].Elem, Shape: in[i].Shape, Const: in[i]}
	}
	results, err := o.Infer(specs)
	if err != nil {
		return nil, err
	}
	if err := o.dataShapes(in, results); err != nil {
		return nil, err
	}
	return o.compute(in, specs, results)
}

// compute makes and runs the kernel; the shapes of the results are known.
func (o *Op) compute(in []*kernel.Tensor, specs []kernel.Spec, results []Result) ([]*kernel.Tensor, error) {
	call := o.Call(specs, results)
	_, run, err := o.prog.Registry.Make(call)
	if err != nil {
		return nil, err
	}
	for _, s := range call.Scratches {
		s.Raw = kernel.Aligned(s.Size)
	}
	out := make([]*kernel.Tensor, len(results))
	for i, v := range o.Node.Outputs() {
		if v == nil {
			continue
		}
		out[i] = kernel.New(results[i].Elem, results[i].Shape...)
	}
	return out, run(in, out)
}

// Call describes a call of o's node to the kernel registry.
func (o *Op) Call(in []kernel.Spec, results []Result) *kernel.Call {
	call := &kernel.Call{Node: o.Node, Opset: o.Opset, In: in, Pool: o.prog.Pool, Out: make([]kernel.Spec, len(results))}
	for i, r := range results {
		call.Out[i] = kernel.Spec{Present: o.Node.Outputs()[i] != nil, Elem: r.Elem, Shape: r.Shape}
	}
	return call
}

// dataShapes completes the shapes of results that depend on the contents of the inputs in a way that shape inference
// does not follow.
func (o *Op) dataShapes(in []*kernel.Tensor, results []Result) error {
	for i := range results {
		if results[i].Known || o.Node.Outputs()[i] == nil {
			continue
		}
		shape, ok := dataShape(o.Node, in)
		if !ok {
			return o.Node.Errorf(graph.ErrUnsupported, "the shape of output %q depends on data in a way that cannot be followed", o.Node.Outputs()[i].Name)
		}
		results[i].Shape, results[i].Known = shape, true
	}
	return nil
}

// dataShape is the output shape of the operators that count elements.
func dataShape(n *graph.Node, in []*kernel.Tensor) ([]int, bool) {
	switch {
	case n.Is("", "NonZero"):
		return []int{len(in[0].Shape), countNonZero(in[0])}, true
	case n.Is("", "Compress"):
		return compressShape(n, in)
	}
	return nil, false
}

func compressShape(n *graph.Node, in []*kernel.Tensor) ([]int, bool) {
	picked := countNonZero(in[1])
	if _, ok := n.Attr("axis"); !ok {
		return []int{picked}, true
	}
	shape := append([]int{}, in[0].Shape...)
	axis := int(n.Int("axis", 0))
	if axis < 0 {
		axis += len(shape)
	}
	if axis < 0 || axis >= len(shape) {
		return nil, false
	}
	shape[axis] = picked
	return shape, true
}

// countNonZero counts the elements that are not zero; -0 counts as zero, NaN does not.
func countNonZero(t *kernel.Tensor) int {
	switch t.Elem {
	case graph.Float32:
		return countSet[float32](t)
	case graph.Float64:
		return countSet[float64](t)
	case graph.Float16, graph.BFloat16:
		count := 0
		for _, bits := range kernel.Data[uint16](t) {
			if bits&0x7fff != 0 {
				count++
			}
		}
		return count
	}
	switch t.Elem.Size() {
	case 1:
		return countSet[uint8](&kernel.Tensor{Elem: graph.Uint8, Shape: t.Shape, Raw: t.Raw})
	case 2:
		return countSet[uint16](&kernel.Tensor{Elem: graph.Uint16, Shape: t.Shape, Raw: t.Raw})
	case 4:
		return countSet[uint32](&kernel.Tensor{Elem: graph.Uint32, Shape: t.Shape, Raw: t.Raw})
	case 8:
		return countSet[uint64](&kernel.Tensor{Elem: graph.Uint64, Shape: t.Shape, Raw: t.Raw})
	}
	panic(fmt.Sprintf("BUG: count in a tensor of %s", t.Elem))
}

func countSet[T float32 | float64 | uint8 | uint16 | uint32 | uint64](t *kernel.Tensor) int {
	count := 0
	for _, x := range kernel.Data[T](t) {
		if x != 0 {
			count++
		}
	}
	return count
}
