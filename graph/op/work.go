package op

import (
	"strings"

	"github.com/asdlc/asdlc/graph"
)

// Work is what a computation costs: floating-point operations (a multiplication and an addition are two), and bytes read
// and written where each operator reads its inputs and writes its outputs.
type Work struct {
	Flops  float64 `json:"flops"`
	Matmul float64 `json:"matmul_flops"` // the part of Flops in products of matrices and convolutions
	Bytes  float64 `json:"bytes"`
	// Unsized counts nodes of unknown size, which cost nothing here.
	Unsized int `json:"unsized,omitempty"`
}

// Plus is w and v together.
func (w Work) Plus(v Work) Work {
	return Work{w.Flops + v.Flops, w.Matmul + v.Matmul, w.Bytes + v.Bytes, w.Unsized + v.Unsized}
}

// Times is w done f times.
func (w Work) Times(f float64) Work {
	return Work{w.Flops * f, w.Matmul * f, w.Bytes * f, w.Unsized}
}

// Counter counts the work of graphs.
type Counter struct {
	// Sizes are those of the symbolic dimensions.
	Sizes map[string]int64
	// Share is the share of the steps on which an If takes its then branch; nil is always.
	Share func(n *graph.Node) float64
	// Call is the work of a call of a model-local function; nil counts none.
	Call func(n *graph.Node) Work
}

// workRow is a row of the table of operators that cost other than one operation for each element that they give.
type workRow struct {
	Op    string
	Flops func(s *sized) float64
	// Matmul says that the operations are those of matrix products; Free that the operator moves and computes nothing.
	Matmul, Free bool
}

// sized is a node with the shapes of its inputs and outputs.
type sized struct {
	n       *graph.Node
	in, out [][]int64
}

func count(shape []int64) float64 {
	c := 1.0
	for _, d := range shape {
		c *= float64(d)
	}
	return c
}

func last(shape []int64) float64 { return float64(shape[len(shape)-1]) }

// weightRatio is the number of multiplications for each element of the convolution's output: weights of one output channel.
func weightRatio(s *sized) float64 { return count(s.in[1]) / float64(s.in[1][0]) }

// transcendental is the cost of an element of exp, log, tanh and the like.
const transcendental = 8

func perElement(c float64) func(*sized) float64 {
	return func(s *sized) float64 { return c * count(s.out[0]) }
}

func perInput(c float64) func(*sized) float64 {
	return func(s *sized) float64 { return c * count(s.in[0]) }
}

func nothing(*sized) float64 { return 0 }

var workRows = []workRow{
	{"MatMul", func(s *sized) float64 { return triangles(s.n) * 2 * count(s.out[0]) * last(s.in[0]) }, true, false},
	{"Gemm", gemmFlops, true, false},
	{"Conv", func(s *sized) float64 { return 2 * count(s.out[0]) * weightRatio(s) }, true, false},
	{"ConvTranspose", func(s *sized) float64 { return 2 * count(s.in[0]) * weightRatio(s) }, true, false},
	{"Einsum", einsumFlops, true, false},
	{"LSTM", recurrentFlops, true, false},
	{"GRU", recurrentFlops, true, false},
	{"RNN", recurrentFlops, true, false},
	{"Softmax", perElement(transcendental + 4), false, false},
	{"LogSoftmax", perElement(transcendental + 4), false, false},
	{"LayerNormalization", perElement(8), false, false},
	{"BatchNormalization", perElement(8), false, false},
	{"InstanceNormalization", perElement(8), false, false},
	{"GroupNormalization", perElement(8), false, false},
	{"MaxPool", func(s *sized) float64 { return count(s.out[0]) * kernelSize(s.n) }, false, false},
	{"AveragePool", func(s *sized) float64 { return count(s.out[0]) * kernelSize(s.n) }, false, false},
	{"GlobalAveragePool", perInput(1), false, false},
	{"CumSum", perInput(1), false, false},
	{"TopK", perInput(8), false, false},
	{"ArgMax", perInput(1), false, false},
	{"ArgMin", perInput(1), false, false},
	{"Exp", perElement(transcendental), false, false},
	{"Log", perElement(transcendental), false, false},
	{"Tanh", perElement(transcendental), false, false},
	{"Sigmoid", perElement(transcendental), false, false},
	{"Erf", perElement(transcendental), false, false},
	{"Gelu", perElement(transcendental + 4), false, false},
	{"Softplus", perElement(transcendental), false, false},
	{"Pow", perElement(transcendental), false, false},
	{"Sin", perElement(transcendental), false, false},
	{"Cos", perElement(transcendental), false, false},
	{"Transpose", nothing, false, false},
	{"Concat", nothing, false, false},
	{"Split", nothing, false, false},
	{"Slice", nothing, false, false},
	{"Gather", nothing, false, false},
	{"Expand", nothing, false, false},
	{"Pad", nothing, false, false},
	{"Tile", nothing, false, false},
	{"Cast", nothing, false, false},
	{"Identity", nothing, false, true},
	{"Reshape", nothing, false, true},
	{"Flatten", nothing, false, true},
	{"Squeeze", nothing, false, true},
	{"Unsqueeze", nothing, false, true},
	{"Shape", nothing, false, true},
	{"Size", nothing, false, true},
	{"Constant", nothing, false, true},
}

func gemmFlops(s *sized) float64 {
	k := s.in[0][1]
	if s.n.Int("transA", 0) != 0 {
		k = s.in[0][0]
	}
	return triangles(s.n) * 2 * count(s.out[0]) * float64(k)
}

// triangles is the share of a product that is left to do where Trilu made an operand, or both.
func triangles(n *graph.Node) float64 {
	cut := 0
	for _, v := range n.Inputs()[:2] {
		if d := v.Def(); d != nil && d.Is("", "Trilu") && d.In(1) == nil && v.Type.Rank() == 2 && v.Type.Dims[0] == v.Type.Dims[1] {
			cut++
		}
	}
	return []float64{1, 1.0 / 2, 1.0 / 6}[cut]
}

// einsumFlops is that of one sum over all letters.
func einsumFlops(s *sized) float64 {
	left, _, _ := strings.Cut(strings.ReplaceAll(s.n.Str("equation", ""), " ", ""), "->")
	sizes, dots := map[byte]int64{}, 1.0
	for i, term := range strings.Split(left, ",") {
		before, after, ellipsis := strings.Cut(term, "...")
		shape := s.in[i]
		if ellipsis {
			middle := shape[len(before) : len(shape)-len(after)]
			dots = max(dots, count(middle))
			shape = append(append([]int64{}, shape[:len(before)]...), shape[len(shape)-len(after):]...)
		}
		for j, letter := range []byte(before + after) {
			sizes[letter] = max(sizes[letter], shape[j])
		}
	}
	for _, n := range sizes {
		dots *= float64(n)
	}
	return 2 * dots
}

// recurrentFlops are those of the products with W and R for each step and example.
func recurrentFlops(s *sized) float64 {
	return 2 * float64(s.in[0][0]*s.in[0][1]) * (count(s.in[1]) + count(s.in[2]))
}

func kernelSize(n *graph.Node) float64 { return count(n.IntList("kernel_shape")) }

var workOf = func() map[string]*workRow {
	m := map[string]*workRow{}
	for i := range workRows {
		m[workRows[i].Op] = &workRows[i]
	}
	return m
}()

// Graph is the work of all nodes of g. A Loop counts as one iteration, unless its trip count is known.
func (c Counter) Graph(g *graph.Graph) Work {
	var w Work
	for n := range g.Nodes() {
		w = w.Plus(c.Node(n))
	}
	return w
}

// Node is the work of one node, nested graphs included.
func (c Counter) Node(n *graph.Node) Work {
	switch {
	case n.Domain == graph.Asdl:
		if c.Call != nil {
			return c.Call(n)
		}
		return Work{}
	case n.Domain != "":
		return Work{Unsized: 1}
	case n.Op == "If":
		return c.branches(n)
	case len(n.Graphs()) > 0:
		var w Work
		for _, g := range n.Graphs() {
			w = w.Plus(c.Graph(g).Times(c.trips(n)))
		}
		return w
	}
	return c.plain(n)
}

func (c Counter) branches(n *graph.Node) Work {
	share := 1.0
	if c.Share != nil {
		share = c.Share(n)
	}
	var w Work
	for _, a := range n.Attrs() {
		switch {
		case a.G == nil:
		case a.Name == "then_branch":
			w = w.Plus(c.Graph(a.G).Times(share))
		default:
			w = w.Plus(c.Graph(a.G).Times(1 - share))
		}
	}
	return w
}

// trips is the number of iterations of a Loop or Scan.
func (c Counter) trips(n *graph.Node) float64 {
	var d graph.Dim
	switch {
	case n.Op == "Loop" && n.In(0) != nil && len(n.In(0).Content) == 1:
		d = n.In(0).Content[0]
	case n.Op == "Scan" && len(n.Inputs()) > 0:
		if x := n.In(len(n.Inputs()) - 1); x.Type.Ranked && x.Type.Rank() > 0 {
			d = x.Type.Dims[0]
		}
	}
	if t, ok := d.At(c.Sizes); ok && t > 0 {
		return float64(t)
	}
	return 1
}

func (c Counter) plain(n *graph.Node) Work {
	row := workOf[n.Op]
	if row != nil && row.Free {
		return Work{}
	}
	s := &sized{n: n}
	var w Work
	sizes := func(vs []*graph.Value) ([][]int64, bool) {
		all := make([][]int64, len(vs))
		for i, v := range vs {
			if v == nil {
				continue
			}
			shape, ok := c.Shape(v)
			if !ok {
				return nil, false
			}
			all[i] = shape
			w.Bytes += count(shape) * float64(v.Type.Elem.Size())
		}
		return all, true
	}
	var ok1, ok2 bool
	s.in, ok1 = sizes(n.Inputs())
	s.out, ok2 = sizes(n.Outputs())
	switch {
	case !ok1 || !ok2 || len(s.out) == 0:
		return Work{Unsized: 1}
	case row != nil:
		w.Flops = row.Flops(s)
		if row.Matmul {
			w.Matmul = w.Flops
		}
	case strings.HasPrefix(n.Op, "Reduce"):
		w.Flops = count(s.in[0])
	default:
		w.Flops = count(s.out[0])
	}
	return w
}

// Shape is the shape of v where the symbols have their sizes.
func (c Counter) Shape(v *graph.Value) ([]int64, bool) {
	if !v.Type.Ranked {
		return nil, false
	}
	shape := make([]int64, v.Type.Rank())
	for i, d := range v.Type.Dims {
		n, ok := d.At(c.Sizes)
		if !ok {
			return nil, false
		}
		shape[i] = n
	}
	return shape, true
}
