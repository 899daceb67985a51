package onnx

import (
	"math"
	"sort"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/onnx/internal/pb"
)

// IR versions of the file format that matter here.
const (
	irFreeInitializers = 4  // initializers need not be listed as inputs
	irFunctions        = 8  // model-local functions
	irDefaults         = 9  // defaults of function attributes
	irFunctionTypes    = 10 // value_info in functions
	irNewest           = 14 // of ONNX 1.23
)

// decoder turns the messages of one file into a model.
type decoder struct {
	external external
	ir       int64
	// overloads maps {domain, name, overload} of functions with an overload name to the name they get.
	overloads map[[3]string]string
}

func (d *decoder) model(p *pb.ModelProto) (*graph.Model, error) {
	if p.Graph == nil {
		return nil, invalid("no graph in it: not an ONNX model, or a damaged one; fetch or export it again")
	}
	d.ir = p.GetIrVersion()
	if d.ir < 1 {
		return nil, invalid("no IR version in it: not an ONNX model, or a damaged one; fetch or export it again")
	}
	if d.ir > irNewest {
		return nil, unsupported("IR version %d is newer than %d, the newest that asdlc knows; export for an older version",
			d.ir, irNewest)
	}
	opsets, err := decodeOpsets(p.OpsetImport)
	if err != nil {
		return nil, err
	}
	if len(p.OpsetImport) == 0 && d.ir < 3 {
		opsets[""] = 1 // the field came with IR version 3
	}
	m := &graph.Model{
		IRVersion: d.ir, Opsets: opsets, Metadata: map[string]string{}, Doc: p.GetDocString(),
		Producer: p.GetProducerName(), Version: p.GetProducerVersion(),
	}
	for _, e := range p.MetadataProps {
		if _, dup := m.Metadata[e.GetKey()]; dup {
			return nil, invalid("metadata key %q occurs twice", e.GetKey())
		}
		m.Metadata[e.GetKey()] = e.GetValue()
	}
	if err := d.functions(m, p.Functions); err != nil {
		return nil, err
	}
	m.Graph = graph.NewGraph(graphName(p.Graph, "main"))
	if err := d.graph(p.Graph, m.Graph, nil, 0); err != nil {
		return nil, err
	}
	if err := graph.Sort(m.Graph); err != nil {
		return nil, err
	}
	if err := graph.Verify(m); err != nil {
		return nil, err
	}
	return m, nil
}

func decodeOpsets(ps []*pb.OperatorSetIdProto) (map[string]int64, error) {
	opsets := map[string]int64{}
	for _, o := range ps {
		domain := stdDomain(o.GetDomain())
		v := o.GetVersion()
		if v < 1 || v > math.MaxInt32 {
			return nil, invalid("opset version %d of domain %q", v, domain)
		}
		if old, dup := opsets[domain]; dup && old != v {
			return nil, invalid("opset versions %d and %d of the one domain %q", old, v, domain)
		}
		opsets[domain] = v
	}
	return opsets, nil
}

// stdDomain maps the long name of the standard domain to the short one.
func stdDomain(domain string) string {
	if domain == "ai.onnx" {
		return ""
	}
	return domain
}

func graphName(p *pb.GraphProto, otherwise string) string {
	if p.GetName() == "" {
		return otherwise
	}
	return p.GetName()
}

func (d *decoder) functions(m *graph.Model, ps []*pb.FunctionProto) error {
	seen := map[[2]string]bool{}
	d.overloads = map[[3]string]string{}
	for _, p := range ps {
		domain, name := stdDomain(p.GetDomain()), p.GetName()
		if o := p.GetOverload(); o != "" {
			name += "__" + o
			d.overloads[[3]string{domain, p.GetName(), o}] = name
		}
		if name == "" {
			return invalid("a function without a name")
		}
		if seen[[2]string{domain, name}] {
			return invalid("two functions of the name %s.%s", domain, name)
		}
		seen[[2]string{domain, name}] = true
		m.Functions = append(m.Functions, &graph.Function{Domain: domain, Name: name, Doc: p.GetDocString()})
	}
	for i, p := range ps {
		if err := d.function(m.Functions[i], p); err != nil {
			return at("function "+m.Functions[i].Domain+"."+m.Functions[i].Name, err)
		}
	}
	return nil
}

func (d *decoder) function(f *graph.Function, p *pb.FunctionProto) error {
	var err error
	if f.Opsets, err = decodeOpsets(p.OpsetImport); err != nil {
		return err
	}
	taken := map[string]bool{}
	for _, a := range p.Attribute {
		if a == "" || taken[a] {
			return invalid("attribute name %q is empty or used twice", a)
		}
		taken[a] = true
		f.Attrs = append(f.Attrs, a)
	}
	for _, a := range p.AttributeProto {
		if a.GetName() == "" || taken[a.GetName()] {
			return invalid("attribute name %q is empty or used twice", a.GetName())
		}
		taken[a.GetName()] = true
		def, err := d.functionDefault(a)
		if err != nil {
			return at("attribute "+a.GetName(), err)
		}
		f.Defaults = append(f.Defaults, def)
	}
	sort.SliceStable(f.Defaults, func(i, j int) bool { return f.Defaults[i].Name < f.Defaults[j].Name })
	f.Body = graph.NewGraph(f.Name)
	if err := d.body(f.Body, p); err != nil {
		return err
	}
	return graph.Sort(f.Body)
}

// functionDefault reads the default of a function attribute. Graphs cannot be defaults.
func (d *decoder) functionDefault(p *pb.AttributeProto) (graph.Attr, error) {
	if p.G != nil || len(p.Graphs) > 0 {
		return graph.Attr{}, unsupported("a graph as the default of a function attribute")
	}
	return d.attr(p, nil, 0)
}

func (d *decoder) body(g *graph.Graph, p *pb.FunctionProto) error {
	sc := &scope{graph: g, values: map[string]*graph.Value{}}
	if err := d.valueInfo(sc, p.ValueInfo); err != nil {
		return err
	}
	for _, name := range p.Input {
		if name == "" {
			return invalid("an input without a name")
		}
		if err := sc.define(g.AddInput(name, sc.types[name]), name); err != nil {
			return err
		}
	}
	if err := d.nodes(sc, p.Node, 0); err != nil {
		return err
	}
	for _, name := range p.Output {
		v := sc.find(name)
		if v == nil {
			return invalid("output %q is not defined", name)
		}
		g.AddOutput(v)
	}
	return nil
}
