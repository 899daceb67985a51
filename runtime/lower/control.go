package lower

import (
	"math"
	"slices"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// evalControl evaluates an If, Loop or Scan; args are the values of o's children.
func (o *Op) evalControl(args []*kernel.Tensor) ([]*kernel.Tensor, error) {
	switch o.Node.Op {
	case "If":
		return o.evalIf(args)
	case "Loop":
		return o.evalLoop(args)
	case "Scan":
		return o.evalScan(args)
	}
	return nil, o.Node.Errorf(graph.ErrUnsupported, "operator %s with nested graphs is not supported", opName(o.Node))
}

// Branches gives the indices of an If's two bodies. Attributes are sorted by name, so else comes before then.
func (o *Op) Branches() (then, otherwise int) { return 1, 0 }

// Truth is the value of a bool tensor of one element.
func (o *Op) Truth(t *kernel.Tensor) (bool, error) {
	if t == nil || t.Elem != graph.Bool || len(t.Raw) != 1 {
		return false, o.Node.Errorf(graph.ErrInvalid, "the condition is %v, want one bool", t)
	}
	return t.Raw[0] != 0, nil
}

func (o *Op) evalIf(args []*kernel.Tensor) ([]*kernel.Tensor, error) {
	cond, err := o.Truth(o.arg(args, 0))
	if err != nil {
		return nil, err
	}
	then, otherwise := o.Branches()
	if !cond {
		then = otherwise
	}
	return o.runIn(then, nil, args)
}

// MaxTrips stands for an absent trip count of a Loop.
const MaxTrips int64 = math.MaxInt64

// Trips is the trip count that a Loop is given; MaxTrips if none is.
func (o *Op) Trips(t *kernel.Tensor) (int64, error) {
	if t == nil {
		return MaxTrips, nil
	}
	if t.Elem != graph.Int64 || len(t.Raw) != 8 {
		return 0, o.Node.Errorf(graph.ErrInvalid, "the trip count is %v, want one int64", t)
	}
	return kernel.Data[int64](t)[0], nil
}

// evalLoop evaluates Loop(M?, cond?, v...): the body maps (i, cond, v...) to (cond, v..., scan...).
func (o *Op) evalLoop(args []*kernel.Tensor) ([]*kernel.Tensor, error) {
	trips, err := o.Trips(o.arg(args, 0))
	if err != nil {
		return nil, err
	}
	cond := o.arg(args, 1)
	goOn := true
	if cond != nil {
		if goOn, err = o.Truth(cond); err != nil {
			return nil, err
		}
	}
	carried := len(o.Args) - 2
	vars := []*kernel.Tensor{nil, kernel.Of([]bool{goOn})}
	for i := range carried {
		vars = append(vars, o.arg(args, 2+i))
	}
	scans := make([]collector, len(o.Bodies[0].Outputs)-1-carried)
	for i := int64(0); i < trips && goOn; i++ {
		vars[0] = kernel.Of([]int64{i})
		out, err := o.runIn(0, vars, args)
		if err != nil {
			return nil, err
		}
		if goOn, err = o.Truth(out[0]); err != nil {
			return nil, err
		}
		copy(vars[1:], out[:1+carried])
		for k := range scans {
			if err := scans[k].add(o, out[1+carried+k]); err != nil {
				return nil, err
			}
		}
	}
	out := vars[2:]
	for k := range scans {
		t, err := scans[k].join(o.Bodies[0].Graph.Outputs()[1+carried+k].Type, 0, false)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out[:len(o.Node.Outputs())], nil
}

// collector gathers the values of a scan output.
type collector struct {
	elem  graph.Elem
	shape []int
	raw   []byte
	count int
}

func (c *collector) add(o *Op, t *kernel.Tensor) error {
	if c.count == 0 {
		c.elem, c.shape = t.Elem, t.Shape
	} else if c.elem != t.Elem || !sameShape(c.shape, t.Shape) {
		return o.Node.Errorf(graph.ErrInvalid, "a scan output changes from %s%v to %v", c.elem, c.shape, t)
	}
	c.raw = append(c.raw, t.Raw...)
	c.count++
	return nil
}

// join stacks what was gathered along axis; with nothing gathered the declared type gives the shape.
func (c *collector) join(declared graph.Type, axis int, reverse bool) (*kernel.Tensor, error) {
	if c.count == 0 {
		c.elem = declared.Elem
		for _, d := range declared.Dims {
			n, _ := d.Size()
			c.shape = append(c.shape, int(n))
		}
	}
	if axis < 0 {
		axis += len(c.shape) + 1
	}
	shape := append(append(append([]int{}, c.shape[:axis]...), c.count), c.shape[axis:]...)
	t := kernel.New(c.elem, shape...)
	part := kernel.Count(c.shape) * c.elem.Size()
	for i := range c.count {
		at := i
		if reverse {
			at = c.count - 1 - i
		}
		PutSlice(t, axis, at, c.raw[i*part:(i+1)*part])
	}
	return t, nil
}

func sameShape(a, b []int) bool {
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

// PutSlice writes slice i of t along axis.
func PutSlice(t *kernel.Tensor, axis, i int, slice []byte) {
	outer, stride, run := sliceLayout(t, axis)
	for k := range outer {
		copy(t.Raw[k*stride+i*run:][:run], slice[k*run:][:run])
	}
}

// TakeSlice reads slice i of t along axis.
func TakeSlice(t *kernel.Tensor, axis, i int, slice []byte) {
	outer, stride, run := sliceLayout(t, axis)
	for k := range outer {
		copy(slice[k*run:][:run], t.Raw[k*stride+i*run:][:run])
	}
}

// sliceLayout: a slice along axis is outer runs of run bytes, stride bytes apart.
func sliceLayout(t *kernel.Tensor, axis int) (outer, stride, run int) {
	outer = kernel.Count(t.Shape[:axis])
	run = kernel.Count(t.Shape[axis+1:]) * t.Elem.Size()
	return outer, run * t.Shape[axis], run
}

// ScanSpec is the layout of a Scan (opset 9 on): states, then scan inputs; states, then scan outputs.
type ScanSpec struct {
	States, Ins, Outs int
	InAxes, OutAxes   []int // may be negative
	InBack, OutBack   []bool
}

// Scan reads the attributes of a Scan node of opset 9 or later.
func (o *Op) Scan() (ScanSpec, error) {
	var s ScanSpec
	s.Ins = int(o.Node.Int("num_scan_inputs", 0))
	s.States = len(o.Args) - s.Ins
	s.Outs = len(o.Bodies[0].Outputs) - s.States
	if s.Ins < 1 || s.States < 0 || s.Outs < 0 || len(o.Bodies[0].Inputs) != len(o.Args) {
		return s, o.Node.Errorf(graph.ErrInvalid, "num_scan_inputs is %d, with %d inputs and a body of %d inputs and %d outputs",
			s.Ins, len(o.Args), len(o.Bodies[0].Inputs), len(o.Bodies[0].Outputs))
	}
	var err error
	if s.InAxes, s.InBack, err = o.scanLists("scan_input_axes", "scan_input_directions", s.Ins); err != nil {
		return s, err
	}
	s.OutAxes, s.OutBack, err = o.scanLists("scan_output_axes", "scan_output_directions", s.Outs)
	return s, err
}

func (o *Op) scanLists(axesName, backName string, n int) (axes []int, back []bool, err error) {
	axes, back = make([]int, n), make([]bool, n)
	a, d := o.Node.IntList(axesName), o.Node.IntList(backName)
	if a != nil && len(a) != n || d != nil && len(d) != n {
		return nil, nil, o.Node.Errorf(graph.ErrInvalid, "%s and %s must have %d entries", axesName, backName, n)
	}
	for i := range a {
		axes[i] = int(a[i])
	}
	for i := range d {
		back[i] = d[i] != 0
	}
	return axes, back, nil
}

// ScanAxis makes an axis of a scan input absolute and gives the length of the sequence, which is the same for all.
func (o *Op) ScanAxis(shape []int, axis, length int) (int, int, error) {
	if axis < 0 {
		axis += len(shape)
	}
	if axis < 0 || axis >= len(shape) {
		return 0, 0, o.Node.Errorf(graph.ErrInvalid, "scan axis %d of an input of shape %v", axis, shape)
	}
	if length >= 0 && shape[axis] != length {
		return 0, 0, o.Node.Errorf(graph.ErrInvalid, "scan inputs of lengths %d and %d", length, shape[axis])
	}
	return axis, shape[axis], nil
}

func (o *Op) evalScan(args []*kernel.Tensor) ([]*kernel.Tensor, error) {
	if o.Opset < 9 {
		return o.evalBatchedScan(args)
	}
	s, err := o.Scan()
	if err != nil {
		return nil, err
	}
	inputs := make([]*kernel.Tensor, len(o.Args))
	for i := range inputs {
		inputs[i] = o.arg(args, i)
	}
	out, err := o.scan(s, inputs, args)
	if err != nil {
		return nil, err
	}
	return out[:len(o.Node.Outputs())], nil
}

// scan takes the body over the sequence: inputs are the initial states and the scan inputs, the results the final states
// and the scan outputs.
func (o *Op) scan(s ScanSpec, inputs, args []*kernel.Tensor) ([]*kernel.Tensor, error) {
	vars, length, axes := slices.Clone(inputs), -1, slices.Clone(s.InAxes)
	var err error
	for i := range s.Ins {
		if axes[i], length, err = o.ScanAxis(inputs[s.States+i].Shape, axes[i], length); err != nil {
			return nil, err
		}
	}
	scans := make([]collector, s.Outs)
	for t := range length {
		for i := range s.Ins {
			vars[s.States+i] = slice(inputs[s.States+i], axes[i], t, s.InBack[i])
		}
		out, err := o.runIn(0, vars, args)
		if err != nil {
			return nil, err
		}
		copy(vars, out[:s.States])
		for k := range scans {
			if err := scans[k].add(o, out[s.States+k]); err != nil {
				return nil, err
			}
		}
	}
	out := append([]*kernel.Tensor{}, vars[:s.States]...)
	for k := range scans {
		t, err := scans[k].join(o.Bodies[0].Graph.Outputs()[s.States+k].Type, s.OutAxes[k], s.OutBack[k])
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

// slice copies slice t of x along axis, counted from the end if back.
func slice(x *kernel.Tensor, axis, t int, back bool) *kernel.Tensor {
	shape := append(append([]int{}, x.Shape[:axis]...), x.Shape[axis+1:]...)
	s := kernel.New(x.Elem, shape...)
	if back {
		t = x.Shape[axis] - 1 - t
	}
	TakeSlice(x, axis, t, s.Raw)
	return s
}
