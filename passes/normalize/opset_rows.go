package normalize

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/pass"
)

type rewrite = func(*pass.Ctx, *graph.Node) error

func all(rows ...rewrite) rewrite {
	return func(c *pass.Ctx, n *graph.Node) error {
		for _, r := range rows {
			if err := r(c, n); err != nil {
				return err
			}
		}
		return nil
	}
}

func renamed(to string) rewrite {
	return func(_ *pass.Ctx, n *graph.Node) error {
		n.Op = to
		return nil
	}
}

// input makes t input i of n.
func input(n *graph.Node, i int, what string, t *graph.Tensor) {
	n.SetInput(i, n.Graph().AddInitializer(n.Out(0).Name+"/"+what, t))
}

// intsToInput moves a list attribute, if present, to input i.
func intsToInput(name string, i int) rewrite {
	return func(_ *pass.Ctx, n *graph.Node) error {
		if a, ok := n.Attr(name); ok {
			input(n, i, name, graph.Ints(a.Ints...))
			n.RemoveAttr(name)
		}
		return nil
	}
}

func intToInput(name string, i int) rewrite {
	return func(_ *pass.Ctx, n *graph.Node) error {
		if a, ok := n.Attr(name); ok {
			input(n, i, name, graph.Ints(a.I))
			n.RemoveAttr(name)
		}
		return nil
	}
}

func floatsToInput(name string, i int) rewrite {
	return func(_ *pass.Ctx, n *graph.Node) error {
		if a, ok := n.Attr(name); ok {
			input(n, i, name, graph.TensorOf(a.Floats, int64(len(a.Floats))))
			n.RemoveAttr(name)
		}
		return nil
	}
}

// limitToInput moves a float attribute to input i, a scalar of the data's type.
func limitToInput(name string, i int) rewrite {
	return func(_ *pass.Ctx, n *graph.Node) error {
		a, ok := n.Attr(name)
		if !ok {
			return nil
		}
		t := graph.Scalar(a.F)
		switch e := n.In(0).Type.Elem; e {
		case graph.Float64:
			t = graph.Scalar(float64(a.F))
		case graph.Float32, graph.Undefined:
		default:
			return n.Errorf(graph.ErrUnsupported, "%s of data of type %s", name, e)
		}
		input(n, i, name, t)
		n.RemoveAttr(name)
		return nil
	}
}

// perChannel drops the attribute spatial, which had to be 1 to mean what the operator does now.
func perChannel(_ *pass.Ctx, n *graph.Node) error {
	if n.Int("spatial", 1) == 0 {
		return n.Errorf(graph.ErrUnsupported, "statistics for each position (spatial = 0) exist until opset 8 only; export the model again with opset %d or later", lowest)
	}
	n.RemoveAttr("spatial")
	return nil
}

// upsample is Resize of opset 10.
func upsample(_ *pass.Ctx, n *graph.Node) error {
	n.Op = "Resize"
	return nil
}

// resize brings in the region of interest and says what opset 10 meant: coordinates scale from the corner.
func resize(_ *pass.Ctx, n *graph.Node) error {
	n.SetInputs(n.In(0), nil, n.In(1))
	n.SetAttr(graph.S("coordinate_transformation_mode", "asymmetric"))
	if n.Str("mode", "nearest") == "nearest" {
		n.SetAttr(graph.S("nearest_mode", "floor"))
	}
	return nil
}

// noIntegers refuses data that newer forms do not admit.
func noIntegers(_ *pass.Ctx, n *graph.Node) error {
	if e := n.In(0).Type.Elem; e.IsInt() {
		return n.Errorf(graph.ErrUnsupported, "data of type %s, which newer opsets do not admit; insert a Cast to float", e)
	}
	return nil
}

// floatMask keeps the element type of the mask, which was that of the data.
func floatMask(_ *pass.Ctx, n *graph.Node) error {
	mask := n.Out(1)
	if mask == nil {
		return nil
	}
	cast := n.Graph().InsertNode(n.Next(), "", "Cast", nil, []string{mask.Name}, graph.I("to", int64(n.In(0).Type.Elem)))
	cast.Scope = n.Scope
	float := cast.Out(0)
	float.Type, mask.Type = mask.Type, graph.Type{}
	mask.ReplaceUses(float)
	pass.TakeName(mask, float)
	cast.SetInputs(mask)
	return nil
}

// framesOfTensorFlow: coordinates tf_half_pixel_for_nn, (x + 1/2) / scale, exist in opset 11 only. They are those of half_pixel plus 1/2:
// floor there is rounding here, and rounding down is ceil.
func framesOfTensorFlow(_ *pass.Ctx, n *graph.Node) error {
	if n.Str("coordinate_transformation_mode", "") != "tf_half_pixel_for_nn" {
		return nil
	}
	rounding := map[string]string{"floor": "round_prefer_ceil", "round_prefer_floor": "ceil"}[n.Str("nearest_mode", "round_prefer_floor")]
	if n.Str("mode", "nearest") != "nearest" || rounding == "" {
		return n.Errorf(graph.ErrUnsupported, "coordinates tf_half_pixel_for_nn with %s, %s, which exist in opset 11 only; export the model again with opset %d or later",
			n.Str("mode", "nearest"), n.Str("nearest_mode", "round_prefer_floor"), lowest)
	}
	n.SetAttr(graph.S("coordinate_transformation_mode", "half_pixel"))
	n.SetAttr(graph.S("nearest_mode", rounding))
	return nil
}

// oldDropout: until opset 11 nothing tells training from evaluation, and ONNX runtimes evaluate.
func oldDropout(c *pass.Ctx, n *graph.Node) error {
	c.Note("Dropout before opset 12 has no training mode and is left out; export the model with opset 12 or later, in training mode, to train with it")
	n.RemoveAttr("ratio")
	return nil
}

// flattened keeps the meaning of Softmax and its kin before opset 13: data is seen as a matrix, split at axis.
func flattened(_ *pass.Ctx, n *graph.Node) error {
	axis := n.Int("axis", 1)
	rank := int64(n.In(0).Type.Rank())
	if axis < 0 && rank > 0 {
		axis += rank
	}
	n.SetAttr(graph.I("axis", -1))
	if axis == -1 || axis == rank-1 {
		return nil
	}
	g, x, y := n.Graph(), n.In(0), n.Out(0)
	add := func(at *graph.Node, op string, in []*graph.Value, attrs ...graph.Attr) *graph.Value {
		m := g.InsertNode(at, "", op, in, []string{y.Name + "/" + op}, attrs...)
		m.Scope = n.Scope
		return m.Out(0)
	}
	shape := add(n, "Shape", []*graph.Value{x})
	n.SetInput(0, add(n, "Flatten", []*graph.Value{x}, graph.I("axis", axis)))
	back := g.InsertNode(n.Next(), "", "Reshape", nil, []string{y.Name}, graph.I("allowzero", 1)) // a dimension may be 0
	back.Scope = n.Scope
	replaced := back.Out(0)
	replaced.Type = y.Type
	y.Type = graph.Type{}
	y.ReplaceUses(replaced)
	pass.TakeName(y, replaced)
	back.SetInputs(y, shape)
	return nil
}

// oldTraining: until opset 13, several outputs meant training mode; the saved statistics are gone.
func oldTraining(_ *pass.Ctx, n *graph.Node) error {
	if len(n.Outputs()) <= 1 {
		return nil
	}
	for i := len(n.Outputs()) - 1; i >= 3; i-- {
		if v := n.Out(i); v != nil && (len(v.Uses()) > 0 || v.IsOutput()) {
			return n.Errorf(graph.ErrUnsupported, "output %d (%s), saved statistics, does not exist from opset 14 on", i, v)
		}
		n.DropOutput(i)
	}
	n.SetAttr(graph.I("training_mode", 1))
	return nil
}

// equalParts says the number of parts, which used to follow from the outputs.
func equalParts(_ *pass.Ctx, n *graph.Node) error {
	if n.In(1) == nil {
		n.SetAttr(graph.I("num_outputs", int64(len(n.Outputs()))))
	}
	return nil
}

func gridModes(_ *pass.Ctx, n *graph.Node) error {
	switch n.Str("mode", "bilinear") {
	case "bilinear":
		n.SetAttr(graph.S("mode", "linear"))
	case "bicubic":
		n.SetAttr(graph.S("mode", "cubic"))
	}
	return nil
}

// perChannelGroups repeats scale and bias, one for each group until opset 20, for each channel.
func perChannelGroups(_ *pass.Ctx, n *graph.Node) error {
	dims := n.In(0).Type.Dims
	if len(dims) < 2 {
		return n.Errorf(graph.ErrUnsupported, "scale for each group needs data of known shape to be raised to opset 21")
	}
	channels, ok := dims[1].Size()
	groups := n.Int("num_groups", 1)
	if !ok || groups <= 0 || channels%groups != 0 {
		return n.Errorf(graph.ErrUnsupported, "scale for each group needs a known number of channels to be raised to opset 21")
	}
	g := n.Graph()
	for i := 1; i <= 2; i++ {
		v := n.In(i)
		step := func(op string, x *graph.Value, shape ...int64) *graph.Value {
			s := g.AddInitializer(v.Name+"/shape", graph.Ints(shape...))
			return g.InsertNode(n, "", op, []*graph.Value{x, s}, []string{v.Name + "/" + op}).Out(0)
		}
		n.SetInput(i, step("Reshape", step("Expand", step("Reshape", v, groups, 1), groups, channels/groups), channels))
	}
	return nil
}
