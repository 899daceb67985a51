package onnx

import (
	"sort"

	"google.golang.org/protobuf/proto"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/onnx/internal/pb"
)

// maxFile is the size that protobuf, and so a single .onnx file, cannot pass.
const maxFile = 1<<31 - 1

// Encode is the file's bytes for a model, all constants inside. The same model gives the same bytes. It fails for models
// of more than 2 GiB; Write stores their constants in a second file.
func Encode(m *graph.Model) ([]byte, error) {
	p, err := encodeModel(m, nil)
	if err != nil {
		return nil, err
	}
	return marshal(p)
}

func marshal(p *pb.ModelProto) ([]byte, error) {
	opts := proto.MarshalOptions{Deterministic: true}
	if n := opts.Size(p); n > maxFile {
		return nil, unsupported("a model of %d bytes in one file; the limit is 2 GiB, write it with external data", n)
	}
	return opts.Marshal(p)
}

// encoder turns a model into messages. The model is not changed.
type encoder struct {
	model *graph.Model
	// data takes the constants that go to another file; nil keeps all inside.
	data *dataWriter
	// ir is the IR version written.
	ir int64
	// arity is the number of outputs of each model-local function: onnxruntime wants all of them listed in a call.
	arity map[[2]string]int
	// inFunction: initializers become Constant nodes.
	inFunction bool
	// renamed holds the names of initializers that are outputs of the main graph.
	renamed map[*graph.Value]string
	// fresh holds the names made up by the encoder.
	fresh map[string]bool
}

func encodeModel(m *graph.Model, data *dataWriter) (*pb.ModelProto, error) {
	e := &encoder{
		model: m, data: data, ir: irNeeded(m), arity: map[[2]string]int{},
		renamed: map[*graph.Value]string{}, fresh: map[string]bool{},
	}
	for _, f := range m.Functions {
		e.arity[[2]string{f.Domain, f.Name}] = len(f.Body.Outputs())
	}
	p := &pb.ModelProto{
		IrVersion: &e.ir, OpsetImport: encodeOpsets(m.Opsets), ProducerName: optional(m.Producer),
		ProducerVersion: optional(m.Version), DocString: optional(m.Doc), MetadataProps: encodeMap(m.Metadata),
	}
	g, err := e.graph(m.Graph)
	if err != nil {
		return nil, err
	}
	p.Graph = g
	e.inFunction = true
	for _, f := range m.Functions {
		fp, err := e.function(f)
		if err != nil {
			return nil, at("function "+f.Domain+"."+f.Name, err)
		}
		p.Functions = append(p.Functions, fp)
	}
	return p, nil
}

// irNeeded is the model's IR version, raised to what its content needs.
func irNeeded(m *graph.Model) int64 {
	ir := max(m.IRVersion, 3)
	for _, v := range m.Graph.Inputs() {
		if v.Const() != nil {
			ir = max(ir, irFreeInitializers)
		}
	}
	if len(m.Functions) > 0 {
		ir = max(ir, irFunctions)
	}
	for _, f := range m.Functions {
		if len(f.Defaults) > 0 {
			ir = max(ir, irDefaults)
		}
	}
	return ir
}

func encodeOpsets(opsets map[string]int64) []*pb.OperatorSetIdProto {
	var ps []*pb.OperatorSetIdProto
	for _, domain := range sortedKeys(opsets) {
		version := opsets[domain]
		ps = append(ps, &pb.OperatorSetIdProto{Domain: &domain, Version: &version})
	}
	return ps
}

func encodeMap(m map[string]string) []*pb.StringStringEntryProto {
	var ps []*pb.StringStringEntryProto
	for _, k := range sortedKeys(m) {
		ps = append(ps, entry(k, m[k]))
	}
	return ps
}

func entry(k, v string) *pb.StringStringEntryProto {
	return &pb.StringStringEntryProto{Key: &k, Value: &v}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// optional is nil for "".
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func (e *encoder) function(f *graph.Function) (*pb.FunctionProto, error) {
	p := &pb.FunctionProto{
		Name: &f.Name, Domain: &f.Domain, DocString: optional(f.Doc), OpsetImport: encodeOpsets(f.Opsets), Attribute: f.Attrs,
	}
	for _, a := range f.Defaults {
		ap, err := e.attr(a)
		if err != nil {
			return nil, at("attribute "+a.Name, err)
		}
		p.AttributeProto = append(p.AttributeProto, ap)
	}
	for _, v := range f.Body.Inputs() {
		p.Input = append(p.Input, v.Name)
	}
	var body pb.GraphProto
	if err := e.nodes(f.Body, &body); err != nil {
		return nil, err
	}
	for _, o := range body.Output {
		p.Output = append(p.Output, o.GetName())
	}
	p.Node = body.Node
	if e.ir >= irFunctionTypes {
		for _, v := range f.Body.Inputs() {
			if v.Type.Elem != graph.Undefined {
				p.ValueInfo = append(p.ValueInfo, valueInfo(v, v.Name))
			}
		}
		p.ValueInfo = append(p.ValueInfo, body.ValueInfo...)
	}
	return p, nil
}
