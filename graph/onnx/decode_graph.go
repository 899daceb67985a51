package onnx

import (
	"regexp"

	"google.golang.org/protobuf/proto"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/onnx/internal/pb"
)

// scopeKey is the key of a node's metadata that holds graph.Node.Scope.
const scopeKey = "asdlc.scope"

// torchScopesKey is the key under which PyTorch's dynamo exporter writes the modules around a node, from the outermost (named
// "") to the innermost, and then the node of its own graph: [”, 'blocks', 'blocks.0', 'linear'].
const torchScopesKey = "pkg.torch.onnx.name_scopes"

var quoted = regexp.MustCompile(`'([^']*)'`)

// torchScope is the innermost module in such a list, or "".
func torchScope(scopes string) string {
	all := quoted.FindAllStringSubmatch(scopes, -1)
	if len(all) < 2 {
		return ""
	}
	return all[len(all)-2][1]
}

// scope holds the names of one graph of the file; outer is that of the graph around it.
type scope struct {
	graph  *graph.Graph
	values map[string]*graph.Value
	types  map[string]graph.Type // of value_info
	outer  *scope
}

func (s *scope) find(name string) *graph.Value {
	for ; s != nil; s = s.outer {
		if v := s.values[name]; v != nil {
			return v
		}
	}
	return nil
}

// define enters v under its name in the file.
func (s *scope) define(v *graph.Value, name string) error {
	if s.values[name] != nil {
		return invalid("value %q is defined twice; names must be unique in a graph", name)
	}
	s.values[name] = v
	return nil
}

// graph fills g from p.
func (d *decoder) graph(p *pb.GraphProto, g *graph.Graph, outer *scope, depth int) error {
	if depth > maxGraphDepth {
		return unsupported("graphs nested more than %d deep", maxGraphDepth)
	}
	if len(p.SparseInitializer) > 0 {
		return unsupported("sparse initializer %q; export it as a dense tensor", p.SparseInitializer[0].GetValues().GetName())
	}
	g.Doc = p.GetDocString()
	sc := &scope{graph: g, values: make(map[string]*graph.Value, len(p.Node)+len(p.Initializer)), outer: outer}
	if err := d.valueInfo(sc, p.ValueInfo); err != nil {
		return err
	}
	if err := d.inputs(sc, p); err != nil {
		return err
	}
	if err := d.nodes(sc, p.Node, depth); err != nil {
		return err
	}
	return d.outputs(sc, p.Output)
}

func (d *decoder) valueInfo(sc *scope, ps []*pb.ValueInfoProto) error {
	sc.types = make(map[string]graph.Type, len(ps))
	for _, p := range ps {
		if _, list := p.Type.GetValue().(*pb.TypeProto_SequenceType); list {
			continue // an intermediate list of tensors, which passes may resolve
		}
		t, err := decodeType(p.Type)
		if err != nil {
			return at("value "+p.GetName(), err)
		}
		sc.types[p.GetName()] = t
	}
	return nil
}

// inputs adds the inputs and initializers.
func (d *decoder) inputs(sc *scope, p *pb.GraphProto) error {
	inits := make(map[string]*graph.Tensor, len(p.Initializer))
	for _, t := range p.Initializer {
		name := t.GetName()
		if name == "" {
			return invalid("an initializer without a name")
		}
		if inits[name] != nil {
			return invalid("initializer %q is defined twice; names must be unique in a graph", name)
		}
		var err error
		if inits[name], err = d.tensor(t); err != nil {
			return at("initializer "+name, err)
		}
	}
	for _, in := range p.Input {
		name := in.GetName()
		if name == "" {
			return invalid("an input without a name")
		}
		def := inits[name]
		if def != nil && d.ir < irFreeInitializers {
			continue
		}
		t, err := decodeType(in.Type)
		if err != nil {
			return at("input "+name, err)
		}
		v := sc.graph.AddInput(name, t)
		if err := sc.define(v, name); err != nil {
			return err
		}
		if def != nil {
			sc.graph.SetDefault(v, def)
		}
	}
	for _, t := range p.Initializer {
		name := t.GetName()
		if sc.values[name] == nil {
			sc.values[name] = sc.graph.AddInitializer(name, inits[name])
		}
	}
	return nil
}

// nodes adds the nodes: first all outputs, so that their names have precedence over those in nested graphs and nodes may come
// in any order, then inputs and attributes.
func (d *decoder) nodes(sc *scope, ps []*pb.NodeProto, depth int) error {
	made := make([]*graph.Node, len(ps))
	for i, p := range ps {
		n, err := d.node(sc, p)
		if err != nil {
			return err
		}
		made[i] = n
	}
	for i, p := range ps {
		if err := d.connect(sc, p, made[i], depth); err != nil {
			return err
		}
	}
	return nil
}

// node makes a node with its outputs.
func (d *decoder) node(sc *scope, p *pb.NodeProto) (*graph.Node, error) {
	if p.GetOpType() == "" {
		return nil, nodeError(p, graph.ErrInvalid, "the node names no operator")
	}
	domain, op := stdDomain(p.GetDomain()), p.GetOpType()
	if o := p.GetOverload(); o != "" {
		if name, ok := d.overloads[[3]string{domain, op, o}]; ok {
			op = name
		}
	}
	outputs := trim(p.Output)
	n := sc.graph.AddNode(domain, op, nil, outputs)
	n.Name, n.Doc = p.GetName(), p.GetDocString()
	for _, e := range p.MetadataProps {
		switch e.GetKey() {
		case scopeKey:
			n.Scope = e.GetValue()
		case torchScopesKey:
			if n.Scope == "" {
				n.Scope = torchScope(e.GetValue())
			}
		}
	}
	for i, name := range outputs {
		if name == "" {
			continue
		}
		v := n.Out(i)
		v.Type = sc.types[name]
		if err := sc.define(v, name); err != nil {
			return nil, nodeError(p, graph.ErrInvalid, "output %d: %v", i, err)
		}
	}
	return n, nil
}

// connect gives n its inputs and attributes.
func (d *decoder) connect(sc *scope, p *pb.NodeProto, n *graph.Node, depth int) error {
	names := trim(p.Input)
	inputs := make([]*graph.Value, len(names))
	for i, name := range names {
		if name == "" {
			continue
		}
		if inputs[i] = sc.find(name); inputs[i] == nil {
			return nodeError(p, graph.ErrInvalid, "input %d is %q, which no input, initializer or node defines", i, name)
		}
	}
	n.SetInputs(inputs...)
	for _, a := range p.Attribute {
		attr, err := d.attr(a, sc, depth)
		if err != nil {
			return at("node "+nodeLabel(p)+", attribute "+a.GetName(), err)
		}
		if _, dup := n.Attr(attr.Name); dup {
			return nodeError(p, graph.ErrInvalid, "attribute %q occurs twice", attr.Name)
		}
		n.SetAttr(attr)
	}
	return nil
}

// trim cuts off trailing missing values.
func trim(names []string) []string {
	for len(names) > 0 && names[len(names)-1] == "" {
		names = names[:len(names)-1]
	}
	return names
}

func (d *decoder) outputs(sc *scope, ps []*pb.ValueInfoProto) error {
	for _, p := range ps {
		name := p.GetName()
		v := sc.find(name)
		if v == nil {
			return invalid("graph output %q is not defined by any input, initializer or node", name)
		}
		if isForeign(p.Type) && v.Def() != nil {
			raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(p.Type)
			if err != nil {
				return at("output "+name, err)
			}
			v.Foreign = string(raw)
			sc.graph.AddOutput(v)
			continue
		}
		t, err := decodeType(p.Type)
		if err != nil {
			return at("output "+name, err)
		}
		if t.Elem != graph.Undefined && v.Def() != nil && v.Graph() == sc.graph {
			v.Type = t
		}
		sc.graph.AddOutput(v)
	}
	return nil
}

// isForeign reports whether a type is that of a sequence, a map or strings: what classifiers of classical machine learning
// return besides tensors of numbers.
func isForeign(p *pb.TypeProto) bool {
	switch k := p.GetValue().(type) {
	case *pb.TypeProto_SequenceType, *pb.TypeProto_MapType:
		return true
	case *pb.TypeProto_TensorType:
		return k.TensorType.GetElemType() == int32(graph.String)
	}
	return false
}

// decodeType reads the type of a value; a missing one is unknown.
func decodeType(p *pb.TypeProto) (graph.Type, error) {
	switch k := p.GetValue().(type) {
	case nil:
		return graph.Type{}, nil
	case *pb.TypeProto_TensorType:
		return decodeTensorType(k.TensorType)
	case *pb.TypeProto_SequenceType:
		return graph.Type{}, unsupported("values of sequence type; only tensors are supported")
	case *pb.TypeProto_OptionalType:
		return graph.Type{}, unsupported("values of optional type; only tensors are supported")
	case *pb.TypeProto_MapType:
		return graph.Type{}, unsupported("values of map type; only tensors are supported")
	case *pb.TypeProto_SparseTensorType:
		return graph.Type{}, unsupported("values of sparse tensor type; only dense tensors are supported")
	}
	return graph.Type{}, unsupported("values of opaque type; only tensors are supported")
}

func decodeTensorType(p *pb.TypeProto_Tensor) (graph.Type, error) {
	t := graph.Type{}
	if p.GetElemType() != 0 {
		e, err := decodeElem(p.GetElemType())
		if err != nil {
			return graph.Type{}, err
		}
		t.Elem = e
	}
	if p.Shape == nil {
		return t, nil
	}
	t.Ranked = true
	t.Dims = make([]graph.Dim, len(p.Shape.Dim))
	for i, dim := range p.Shape.Dim {
		t.Dims[i] = graph.UnknownDim
		switch v := dim.GetValue().(type) {
		case *pb.TensorShapeProto_Dimension_DimParam:
			t.Dims[i] = graph.Sym(v.DimParam)
		case *pb.TensorShapeProto_Dimension_DimValue:
			if v.DimValue < -1 {
				return graph.Type{}, invalid("dimension %d is %d", i, v.DimValue)
			}
			if v.DimValue >= 0 { // older exporters write -1 for unknown
				t.Dims[i] = graph.Known(v.DimValue)
			}
		}
	}
	return t, nil
}

// decodeElem checks an element type.
func decodeElem(n int32) (graph.Elem, error) {
	if e := graph.Elem(n); n > 0 && n < 256 && e.Valid() {
		return e, nil
	}
	if n == int32(graph.String) {
		return 0, unsupported("string tensors")
	}
	if name, ok := elemNames[n]; ok {
		return 0, unsupported("tensors of type %s", name)
	}
	return 0, invalid("unknown element type %d", n)
}

// elemNames names the types of ONNX 1.23 that asdlc does not support.
var elemNames = map[int32]string{
	14: "complex64", 15: "complex128", 17: "float8e4m3fn", 18: "float8e4m3fnuz", 19: "float8e5m2", 20: "float8e5m2fnuz",
	21: "uint4", 22: "int4", 23: "float4e2m1", 24: "float8e8m0", 25: "uint2", 26: "int2", 27: "float6e2m3", 28: "float6e3m2",
}
