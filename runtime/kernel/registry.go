package kernel

import (
	"errors"
	"fmt"
	"sort"
	"strings"

	"github.com/asdlc/asdlc/graph"
)

// Row is one kernel: an operator on given element types. The registry is built from tables of rows.
type Row struct {
	Domain, Op string
	// Elems are the element types of the deciding input for which the row serves; nil is any.
	Elems []graph.Elem
	// Decide is the index of the input whose element type selects the row; -1 is output 0.
	Decide int
	// Rank orders rows of the same key: the highest one that accepts the call (Make gives no ErrDecline) is used.
	// Portable Go is rank 0. Equal ranks for one key are an error.
	Rank int
	// Note says what the row is: "portable", "avx512", ...
	Note string
	// View says that output 0 is input 0's bytes under another shape; the VM may alias them and not call Run, which
	// copies.
	View bool
	// Unread says that of input 0 the type and shape alone count, which Make has: the VM need not compute it, and then gives
	// Run nil in its place.
	Unread bool
	// InPlace lists inputs whose bytes output 0 may take over when they agree in size and the input dies here.
	InPlace []int
	// AnyInPlace says that every output may take over the bytes of any input of its size.
	AnyInPlace bool
	// Make prepares one call. Attributes are read, sizes checked and scratch claimed here; the returned function
	// allocates nothing.
	Make func(*Call) (Run, error)
}

// Run computes the outputs from the inputs, whose shapes are those of the Call. A missing optional input or an
// output that nobody uses is nil. The error is for data that the operator refuses (an index out of range).
type Run func(in, out []*Tensor) error

// Call describes a call to be prepared: the node, and the concrete element types and shapes of its inputs and outputs.
type Call struct {
	Node  *graph.Node
	Opset int
	In    []Spec
	Out   []Spec
	Pool  *Pool // workers; may be nil

	Scratches []*Scratch // claimed by Make, filled by the VM before each Run
}

// Spec is what is known of an input or output before the run.
type Spec struct {
	Present bool
	Elem    graph.Elem
	Shape   []int
	Const   *Tensor // the value, if it is a constant
}

// Len is the number of elements.
func (s Spec) Len() int { return Count(s.Shape) }

// Scratch is working memory of one call, valid during Run. Its contents are not kept between runs.
type Scratch struct {
	Size int
	Raw  []byte
}

// Scratch claims size bytes of working memory, aligned to 64.
func (c *Call) Scratch(size int) *Scratch {
	s := &Scratch{Size: size}
	c.Scratches = append(c.Scratches, s)
	return s
}

// ScratchOf views working memory as elements.
func ScratchOf[T graph.Number](s *Scratch) []T {
	t := Tensor{Elem: graph.ElemOf[T](), Raw: s.Raw[:s.Size]}
	return Data[T](&t)
}

// Errorf is an error about the call's node.
func (c *Call) Errorf(kind error, format string, args ...any) error {
	return c.Node.Errorf(kind, format, args...)
}

// ErrDecline is returned by Make when a row does not serve a call (a shape or attribute that it has no code for), and
// the next lower rank is to be tried.
var ErrDecline = fmt.Errorf("kernel declines the call")

type key struct {
	domain, op string
}

// Registry finds kernels. It is a value: a backend joins the tables it wants.
type Registry struct {
	rows map[key][]*Row // by falling rank
}

// NewRegistry joins tables of rows; two rows of equal rank for one operator and element type are an error.
func NewRegistry(tables ...[]Row) (*Registry, error) {
	r := &Registry{rows: map[key][]*Row{}}
	for _, table := range tables {
		for i := range table {
			row := &table[i]
			k := key{row.Domain, row.Op}
			for _, other := range r.rows[k] {
				if other.Rank == row.Rank && overlap(other.Elems, row.Elems) {
					return nil, fmt.Errorf("BUG: kernels %q and %q for %s have equal rank %d", other.Note, row.Note, row.Op, row.Rank)
				}
			}
			r.rows[k] = append(r.rows[k], row)
		}
	}
	for _, rows := range r.rows {
		sort.SliceStable(rows, func(i, j int) bool { return rows[i].Rank > rows[j].Rank })
	}
	return r, nil
}

func overlap(a, b []graph.Elem) bool {
	if a == nil || b == nil {
		return true
	}
	for _, x := range a {
		for _, y := range b {
			if x == y {
				return true
			}
		}
	}
	return false
}

func (row *Row) serves(c *Call) bool {
	if row.Elems == nil {
		return true
	}
	var e graph.Elem
	switch {
	case row.Decide < 0 && len(c.Out) > 0:
		e = c.Out[0].Elem
	case row.Decide >= 0 && row.Decide < len(c.In):
		e = c.In[row.Decide].Elem
	}
	for _, x := range row.Elems {
		if x == e {
			return true
		}
	}
	return false
}

// Has reports whether any kernel of the operator exists.
func (r *Registry) Has(domain, op string) bool { return len(r.Rows(domain, op)) > 0 }

// Rows lists the kernels of an operator by falling rank. asdlc's own functions are numbered where their bodies differ
// (CholeskyInverse3 recurses three times); one kernel under the plain name serves them all.
func (r *Registry) Rows(domain, op string) []*Row {
	if domain == graph.Asdl {
		op = strings.TrimRight(op, "0123456789")
	}
	return r.rows[key{domain, op}]
}

// Make prepares a call with the best row that accepts it, on wider element types if no row serves those of the call. No
// row is graph.ErrUnsupported.
func (r *Registry) Make(c *Call) (*Row, Run, error) {
	row, run, err := r.direct(c)
	if err != nil && (errors.Is(err, graph.ErrUnsupported) || c.mixed()) {
		return r.through(c, err)
	}
	return row, run, err
}

// direct is Make on the element types of the call.
func (r *Registry) direct(c *Call) (*Row, Run, error) {
	for _, row := range r.Rows(c.Node.Domain, c.Node.Op) {
		if !row.serves(c) {
			continue
		}
		c.Scratches = nil
		run, err := row.Make(c)
		if err == ErrDecline {
			continue
		}
		return row, run, err
	}
	types := make([]string, len(c.In))
	for i, s := range c.In {
		types[i] = s.Elem.String()
	}
	return nil, nil, c.Errorf(graph.ErrUnsupported, "no kernel for inputs of types %v", types)
}
