package graph

// Builder appends nodes to a graph. The first error of the inference hook is kept (see Err); later calls go on with
// values of unknown type, so that rules need not check each call.
type Builder struct {
	// Graph receives the nodes. It may be nested in the graph of the values used.
	Graph *Graph
	// Model gives opset versions and receives functions.
	Model *Model
	// At is the node before which to insert; nil appends.
	At *Node
	// Infer, if set, is called on each new node to type its outputs.
	Infer func(*Node) error
	// Prefix is put before the names of new values: "grad/fc1/".
	Prefix string
	// Scope is the scope of new nodes.
	Scope string

	err error
}

// Err is the first error of the inference hook, or one given to Fail.
func (b *Builder) Err() error { return b.err }

// Fail records err, if it is the first.
func (b *Builder) Fail(err error) {
	if b.err == nil {
		b.err = err
	}
}

// Node adds a node with the given number of outputs, named after the operator.
func (b *Builder) Node(domain, op string, inputs []*Value, outputs int, attrs ...Attr) *Node {
	names := make([]string, outputs)
	for i := range names {
		names[i] = b.Prefix + op
	}
	return b.Named(domain, op, inputs, names, attrs...)
}

// Named adds a node whose outputs have the given names (made unique; "" is a missing output).
func (b *Builder) Named(domain, op string, inputs []*Value, outputs []string, attrs ...Attr) *Node {
	n := b.Graph.InsertNode(b.At, domain, op, inputs, outputs, attrs...)
	n.Scope = b.Scope
	if b.Infer != nil {
		if err := b.Infer(n); err != nil {
			b.Fail(err)
		}
	}
	return n
}

// Op adds a node of the standard domain with one output and returns that output.
func (b *Builder) Op(op string, inputs []*Value, attrs ...Attr) *Value {
	return b.Node("", op, inputs, 1, attrs...).Out(0)
}

// Const adds an initializer.
func (b *Builder) Const(name string, t *Tensor) *Value {
	return b.Graph.AddInitializer(b.Prefix+name, t)
}
