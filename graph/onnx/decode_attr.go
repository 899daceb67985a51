package onnx

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/onnx/internal/pb"
)

// attr reads an attribute. sc is the scope that nested graphs see.
func (d *decoder) attr(p *pb.AttributeProto, sc *scope, depth int) (graph.Attr, error) {
	kind := p.GetType()
	if kind == pb.AttributeProto_UNDEFINED {
		kind = payloadKind(p)
	}
	if p.GetName() == "" {
		return graph.Attr{}, invalid("an attribute without a name")
	}
	a := graph.Attr{Name: p.GetName(), Kind: graph.AttrKind(kind), Ref: p.GetRefAttrName()}
	switch kind {
	case pb.AttributeProto_TENSORS, pb.AttributeProto_SPARSE_TENSOR, pb.AttributeProto_SPARSE_TENSORS,
		pb.AttributeProto_TYPE_PROTO, pb.AttributeProto_TYPE_PROTOS:
		return a, unsupported("attributes of type %s", kind)
	}
	if a.Ref != "" {
		return a, nil
	}
	switch kind {
	case pb.AttributeProto_FLOAT:
		a.F = p.GetF()
	case pb.AttributeProto_INT:
		a.I = p.GetI()
	case pb.AttributeProto_STRING:
		a.S = string(p.GetS())
	case pb.AttributeProto_FLOATS:
		a.Floats = p.Floats
	case pb.AttributeProto_INTS:
		a.Ints = p.Ints
	case pb.AttributeProto_STRINGS:
		for _, s := range p.Strings {
			a.Strings = append(a.Strings, string(s))
		}
	case pb.AttributeProto_TENSOR:
		if p.T == nil {
			return a, invalid("the type says tensor, but there is none")
		}
		var err error
		a.T, err = d.tensor(p.T)
		return a, err
	case pb.AttributeProto_GRAPH:
		if p.G == nil {
			return a, invalid("the type says graph, but there is none")
		}
		var err error
		a.G, err = d.nested(p.G, sc, depth)
		return a, err
	case pb.AttributeProto_GRAPHS:
		for _, g := range p.Graphs {
			sub, err := d.nested(g, sc, depth)
			if err != nil {
				return a, err
			}
			a.Graphs = append(a.Graphs, sub)
		}
	default:
		return a, invalid("unknown attribute type %d", int32(kind))
	}
	return a, nil
}

func (d *decoder) nested(p *pb.GraphProto, sc *scope, depth int) (*graph.Graph, error) {
	sub := sc.graph.NewNested(graphName(p, "graph"))
	return sub, d.graph(p, sub, sc, depth+1)
}

// payloadKind tells the type of an attribute by its content, for files that do not say it.
func payloadKind(p *pb.AttributeProto) pb.AttributeProto_AttributeType {
	switch {
	case p.F != nil:
		return pb.AttributeProto_FLOAT
	case p.I != nil:
		return pb.AttributeProto_INT
	case p.S != nil:
		return pb.AttributeProto_STRING
	case p.T != nil:
		return pb.AttributeProto_TENSOR
	case p.G != nil:
		return pb.AttributeProto_GRAPH
	case len(p.Floats) > 0:
		return pb.AttributeProto_FLOATS
	case len(p.Ints) > 0:
		return pb.AttributeProto_INTS
	case len(p.Strings) > 0:
		return pb.AttributeProto_STRINGS
	case len(p.Tensors) > 0:
		return pb.AttributeProto_TENSORS
	case len(p.Graphs) > 0:
		return pb.AttributeProto_GRAPHS
	}
	return pb.AttributeProto_UNDEFINED
}
