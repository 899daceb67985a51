package onnx

import (
	"strconv"

	"google.golang.org/protobuf/proto"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/onnx/internal/pb"
)

func (e *encoder) graph(g *graph.Graph) (*pb.GraphProto, error) {
	name := g.Name
	if name == "" {
		name = "main" // the standard wants a name
	}
	p := &pb.GraphProto{Name: &name, DocString: optional(g.Doc)}
	if g.Owner() == nil {
		e.renameOutputs(g)
	}
	for _, v := range g.Inputs() {
		p.Input = append(p.Input, valueInfo(v, v.Name))
	}
	if !e.inFunction {
		if err := e.initializers(g, p); err != nil {
			return nil, err
		}
	}
	if err := e.nodes(g, p); err != nil {
		return nil, err
	}
	return p, nil
}

// renameOutputs gives another name to initializers that are outputs of the main graph: the output keeps the name.
func (e *encoder) renameOutputs(g *graph.Graph) {
	for _, v := range g.Outputs() {
		if v.IsInitializer() && e.renamed[v] == "" {
			e.renamed[v] = e.unused(g, v.Name+"_value")
		}
	}
}

// unused is a name that no value has, base if possible.
func (e *encoder) unused(g *graph.Graph, base string) string {
	name := base
	for i := 1; g.NameTaken(name) || e.fresh[name]; i++ {
		name = base + "_" + strconv.Itoa(i)
	}
	e.fresh[name] = true
	return name
}

// name is what v is called in the file.
func (e *encoder) name(v *graph.Value) string {
	if v == nil {
		return ""
	}
	if n := e.renamed[v]; n != "" {
		return n
	}
	return v.Name
}

func (e *encoder) initializers(g *graph.Graph, p *pb.GraphProto) error {
	for _, v := range g.Initializers() {
		t, err := e.tensor(v.Const())
		if err != nil {
			return at("initializer "+v.Name, err)
		}
		name := e.name(v)
		t.Name = &name
		p.Initializer = append(p.Initializer, t)
		if e.ir < irFreeInitializers && !v.IsInput() {
			p.Input = append(p.Input, valueInfo(v, name))
		}
	}
	return nil
}

// nodes writes nodes, value types and outputs; in functions, initializers as Constant nodes first.
func (e *encoder) nodes(g *graph.Graph, p *pb.GraphProto) error {
	names := e.outputNames(g) // before those of nested graphs, which matter less
	if e.inFunction {
		for _, v := range g.Initializers() {
			t, err := e.tensor(v.Const())
			if err != nil {
				return at("constant "+v.Name, err)
			}
			p.Node = append(p.Node, constantNode(t, v.Name))
			p.ValueInfo = append(p.ValueInfo, valueInfo(v, v.Name))
		}
	}
	isOutput := map[*graph.Value]bool{}
	for _, v := range g.Outputs() {
		isOutput[v] = true
	}
	for n := range g.Nodes() {
		np, err := e.node(n)
		if err != nil {
			return err
		}
		p.Node = append(p.Node, np)
		for _, v := range n.Outputs() {
			if v != nil && v.Type.Elem != graph.Undefined && (!isOutput[v] || e.inFunction) {
				p.ValueInfo = append(p.ValueInfo, valueInfo(v, v.Name))
			}
		}
	}
	e.outputs(g, p, names)
	return nil
}

// outputNames names the outputs; a made-up name means that an Identity gives the output.
func (e *encoder) outputNames(g *graph.Graph) []string {
	var names []string
	listed := map[string]bool{}
	for _, v := range g.Outputs() {
		name := v.Name
		direct := v.Def() == nil || v.Graph() != g
		if listed[name] || (direct && e.renamed[v] == "") {
			name = e.unused(g, v.Name+"_out")
		}
		listed[name] = true
		names = append(names, name)
	}
	return names
}

// outputs lists the outputs, each the output of a node of its own.
func (e *encoder) outputs(g *graph.Graph, p *pb.GraphProto, names []string) {
	for i, v := range g.Outputs() {
		if names[i] != e.name(v) {
			op := "Identity"
			p.Node = append(p.Node, &pb.NodeProto{OpType: &op, Input: []string{e.name(v)}, Output: []string{names[i]}})
		}
		p.Output = append(p.Output, valueInfo(v, names[i]))
	}
}

func constantNode(t *pb.TensorProto, output string) *pb.NodeProto {
	op, name, kind := "Constant", "value", pb.AttributeProto_TENSOR
	attr := &pb.AttributeProto{Name: &name, Type: &kind, T: t}
	return &pb.NodeProto{OpType: &op, Output: []string{output}, Attribute: []*pb.AttributeProto{attr}}
}

func (e *encoder) node(n *graph.Node) (*pb.NodeProto, error) {
	p := &pb.NodeProto{
		Name: optional(n.Name), OpType: &n.Op, Domain: optional(n.Domain), DocString: optional(n.Doc),
		Input: make([]string, len(n.Inputs())), Output: make([]string, len(n.Outputs())),
	}
	for i, v := range n.Inputs() {
		p.Input[i] = e.name(v)
	}
	for i, v := range n.Outputs() {
		p.Output[i] = e.name(v)
	}
	for len(p.Output) < e.arity[[2]string{n.Domain, n.Op}] {
		p.Output = append(p.Output, "")
	}
	if n.Scope != "" {
		p.MetadataProps = []*pb.StringStringEntryProto{entry(scopeKey, n.Scope)}
	}
	for _, a := range n.Attrs() {
		ap, err := e.attr(a)
		if err != nil {
			return nil, at("node "+n.String()+", attribute "+a.Name, err)
		}
		p.Attribute = append(p.Attribute, ap)
	}
	return p, nil
}

func (e *encoder) attr(a graph.Attr) (*pb.AttributeProto, error) {
	kind := pb.AttributeProto_AttributeType(a.Kind)
	p := &pb.AttributeProto{Name: &a.Name, Type: &kind, RefAttrName: optional(a.Ref)}
	if a.Ref != "" {
		return p, nil
	}
	var err error
	switch a.Kind {
	case graph.AttrFloat:
		p.F = &a.F
	case graph.AttrInt:
		p.I = &a.I
	case graph.AttrString:
		p.S = []byte(a.S)
	case graph.AttrFloats:
		p.Floats = a.Floats
	case graph.AttrInts:
		p.Ints = a.Ints
	case graph.AttrStrings:
		for _, s := range a.Strings {
			p.Strings = append(p.Strings, []byte(s))
		}
	case graph.AttrTensor:
		p.T, err = e.tensor(a.T)
	case graph.AttrGraph:
		p.G, err = e.graph(a.G)
	case graph.AttrGraphs:
		for _, sub := range a.Graphs {
			gp, err := e.graph(sub)
			if err != nil {
				return nil, err
			}
			p.Graphs = append(p.Graphs, gp)
		}
	default:
		err = invalid("unknown kind %d", a.Kind)
	}
	return p, err
}

// valueInfo tells the type of v. A shape without an element type is left out: readers take it for an error.
func valueInfo(v *graph.Value, name string) *pb.ValueInfoProto {
	p := &pb.ValueInfoProto{Name: &name}
	if v.Foreign != "" {
		t := &pb.TypeProto{}
		if err := proto.Unmarshal([]byte(v.Foreign), t); err != nil {
			panic("BUG: the type of output " + v.Name + ": " + err.Error())
		}
		p.Type = t
		return p
	}
	if v.Type.Elem == graph.Undefined {
		return p
	}
	elem := int32(v.Type.Elem)
	tensor := &pb.TypeProto_Tensor{ElemType: &elem}
	if v.Type.Ranked {
		tensor.Shape = &pb.TensorShapeProto{Dim: make([]*pb.TensorShapeProto_Dimension, len(v.Type.Dims))}
		for i, d := range v.Type.Dims {
			tensor.Shape.Dim[i] = encodeDim(d)
		}
	}
	p.Type = &pb.TypeProto{Value: &pb.TypeProto_TensorType{TensorType: tensor}}
	return p
}

func encodeDim(d graph.Dim) *pb.TensorShapeProto_Dimension {
	p := &pb.TensorShapeProto_Dimension{}
	if n, ok := d.Size(); ok {
		p.Value = &pb.TensorShapeProto_Dimension_DimValue{DimValue: n}
	} else if d.IsSymbolic() {
		p.Value = &pb.TensorShapeProto_Dimension_DimParam{DimParam: d.String()}
	}
	return p
}

// tensor writes a constant, inside or to the data file.
func (e *encoder) tensor(t *graph.Tensor) (*pb.TensorProto, error) {
	elem := int32(t.Elem)
	p := &pb.TensorProto{Dims: t.Shape, DataType: &elem}
	if e.data != nil && len(t.Raw) >= externalFrom {
		entries, err := e.data.put(t)
		if err != nil {
			return nil, err
		}
		where := pb.TensorProto_EXTERNAL
		p.DataLocation, p.ExternalData = &where, entries
		return p, nil
	}
	p.RawData = t.Raw
	if p.RawData == nil {
		p.RawData = []byte{}
	}
	return p, nil
}
