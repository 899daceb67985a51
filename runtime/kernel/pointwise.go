package kernel

import (
	"slices"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// pointwise is asdl.Pointwise(X...) -> (Y...): element-wise operators on inputs that broadcast to one shape, that of all results,
// block after block of a size for the L1 cache, so that what is computed on the way is not written to memory. Values are numbered:
// the inputs first, then what each operator gives. Attribute ops has the operators in order, args the numbers of their two
// arguments (the second is -1 for operators of one), results those of the outputs. Each value is what the operator alone gives.
type pointwise[T amd64.Float] struct {
	inputs  []pointInput
	steps   []pointStep[T]
	results []int
	buffer  []int // by value: its buffer, or -1 for inputs
	buffers int
	total   int

	tasks  *tasks
	memory slotScratch
	values [][]pointValue[T] // by slot: of the block being computed
	x, y   [][]T
	late   []bool // by result: it lies in the memory of an input that is still read, and is copied there at the end of a block
}

// pointInput tells how an input is read: element i of the results is with element i/inner % period of the input.
type pointInput struct {
	inner, period int
	how           reading
	last          int // step that reads it last
}

type reading uint8

const (
	elementwise reading = iota // one element for each of the results
	single                     // the same everywhere
	inRuns                     // the same for inner elements
	inCycles                   // one for each, over and over again
	expanded                   // as the two before, but written out, because runs or cycles are short
)

// pointStep computes a value.
type pointStep[T amd64.Float] struct {
	loop pointLoop[T]
	a, b int // values; b is -1 for operators of one argument
}

// pointValue is a value in a block: one number for all of it, or one for each element.
type pointValue[T amd64.Float] struct {
	each   []T
	same   T
	isSame bool
}

// Sizes in elements: of a block, of a parallel task, and the shortest run or cycle that is worth a block of its own.
const (
	pointBlock = 1024
	pointTask  = 16 * pointBlock
	pointRun   = 64
)

func makePointwise[T amd64.Float](c *Call) (Run, error) {
	ops, _ := c.Node.Attr("ops")
	args, results := c.Node.IntList("args"), c.Node.IntList("results")
	if err := c.needs(1); err != nil {
		return nil, err
	}
	if err := c.sameElem(0); err != nil {
		return nil, err
	}
	if len(args) != 2*len(ops.Strings) || len(results) != len(c.Out) {
		return nil, c.Errorf(graph.ErrInvalid, "%d operators with %d arguments, %d results for %d outputs", len(ops.Strings), len(args), len(results), len(c.Out))
	}
	shape := c.Out[max(0, slices.IndexFunc(c.Out, func(s Spec) bool { return s.Present }))].Shape
	p := &pointwise[T]{total: Count(shape), x: make([][]T, len(c.In)), y: make([][]T, len(c.Out)), late: make([]bool, len(c.Out))}
	for i := range c.In {
		in, ok := pointInputOf(c.In[i].Shape, shape)
		if !ok {
			return nil, c.Errorf(graph.ErrUnsupported, "input %d of shape %v beside results of shape %v", i, c.In[i].Shape, shape)
		}
		p.inputs = append(p.inputs, in)
	}
	loops := pointLoops[T](c.Pool.Kernels())
	for i, op := range ops.Strings {
		s := pointStep[T]{loop: loops[op], a: int(args[2*i]), b: int(args[2*i+1])}
		if two := s.loop.unary == nil; !two && s.b >= 0 || two && (s.loop.binary.vv == nil || s.b < 0) || max(s.a, s.b) >= len(c.In)+i || s.a < 0 {
			return nil, c.Errorf(graph.ErrInvalid, "operator %d, %q, of values %d and %d", i, op, s.a, s.b)
		}
		p.steps = append(p.steps, s)
	}
	for _, r := range results {
		if int(r) < len(c.In) || int(r) >= len(c.In)+len(p.steps) {
			return nil, c.Errorf(graph.ErrInvalid, "value %d as a result", r)
		}
		p.results = append(p.results, int(r))
	}
	p.assign()
	p.tasks = newTasks(c.Pool, ceilDiv(p.total, pointTask), p.task)
	p.memory = c.slotScratch(p.tasks.slots, sizeOf[T]()*p.buffers*pointBlock)
	for range p.tasks.slots {
		p.values = append(p.values, make([]pointValue[T], len(p.buffer)))
	}
	return p.run, nil
}

// pointInputOf gives the way to read an input; false where the dimensions that it is repeated in lie between others.
func pointInputOf(in, out []int) (pointInput, bool) {
	lead := len(out) - len(in)
	if lead < 0 {
		return pointInput{}, false
	}
	p := pointInput{inner: 1, period: 1}
	i := len(in) - 1
	for ; i >= 0 && in[i] == 1; i-- {
		p.inner *= out[lead+i]
	}
	for ; i >= 0 && in[i] == out[lead+i]; i-- {
		p.period *= in[i]
	}
	for ; i >= 0; i-- {
		if in[i] != 1 {
			return p, false
		}
	}
	switch {
	case p.inner*p.period == Count(out) && p.inner == 1:
		p.how = elementwise
	case p.period == 1:
		p.how = single
	case max(p.inner, p.period) < pointRun, p.inner > 1 && p.inner < pointRun:
		p.how = expanded
	case p.inner > 1:
		p.how = inRuns
	default:
		p.how = inCycles
	}
	return p, true
}

// assign gives each computed value, and each input that is written out, a buffer; one that is no longer needed is used again.
func (p *pointwise[T]) assign() {
	n := len(p.inputs)
	last := make([]int, n+len(p.steps))
	for i, s := range p.steps {
		last[s.a] = i
		if s.b >= 0 {
			last[s.b] = i
		}
	}
	for _, r := range p.results {
		last[r] = len(p.steps)
	}
	var free []int
	take := func() int {
		if len(free) == 0 {
			free = append(free, p.buffers)
			p.buffers++
		}
		b := free[len(free)-1]
		free = free[:len(free)-1]
		return b
	}
	p.buffer = make([]int, len(last))
	for i := range p.inputs {
		p.inputs[i].last, p.buffer[i] = last[i], -1
		if p.inputs[i].how == expanded {
			p.buffer[i] = take()
		}
	}
	for i := range p.steps {
		p.buffer[n+i] = take()
		for v := range n + i {
			if last[v] == i && p.buffer[v] >= 0 {
				free = append(free, p.buffer[v])
			}
		}
		if last[n+i] == 0 { // nobody reads it
			free = append(free, p.buffer[n+i])
		}
	}
}

func (p *pointwise[T]) run(in, out []*Tensor) error {
	for i, t := range in {
		p.x[i] = Data[T](t)
	}
	for k := range p.y {
		p.y[k], p.late[k] = optional[T](out, k), false
		for i, x := range p.x {
			if len(p.y[k]) > 0 && len(x) == len(p.y[k]) && &x[0] == &p.y[k][0] {
				p.late[k] = p.inputs[i].last > p.results[k]-len(p.inputs)
			}
		}
	}
	p.tasks.run()
	clear(p.x)
	clear(p.y)
	return nil
}

func (p *pointwise[T]) task(slot, task int) {
	end := min((task+1)*pointTask, p.total)
	for lo := task * pointTask; lo < end; {
		hi := min(lo+pointBlock, end)
		for _, in := range p.inputs {
			switch in.how {
			case inRuns:
				hi = min(hi, lo/in.inner*in.inner+in.inner)
			case inCycles:
				hi = min(hi, lo/in.period*in.period+in.period)
			}
		}
		p.block(slot, lo, hi)
		lo = hi
	}
}

// block computes elements lo <= i < hi.
func (p *pointwise[T]) block(slot, lo, hi int) {
	memory, values, n := elems[T](p.memory.at(slot), p.buffers*pointBlock), p.values[slot], len(p.inputs)
	held := func(v int) []T { return memory[p.buffer[v]*pointBlock:][:hi-lo] }
	for i, in := range p.inputs {
		switch in.how {
		case elementwise:
			values[i] = pointValue[T]{each: p.x[i][lo:hi]}
		case single, inRuns:
			values[i] = pointValue[T]{same: p.x[i][lo/in.inner%in.period], isSame: true}
		case inCycles:
			values[i] = pointValue[T]{each: p.x[i][lo%in.period:][:hi-lo]}
		case expanded:
			values[i] = pointValue[T]{each: held(i)}
			writeOut(&p.inputs[i], values[i].each, p.x[i], lo)
		}
	}
	for i := range p.steps {
		dst := held(n + i)
		if k := slices.Index(p.results, n+i); k >= 0 && !p.late[k] && p.y[k] != nil {
			dst = p.y[k][lo:hi]
		}
		s := &p.steps[i]
		values[n+i] = pointValue[T]{each: dst}
		if s.b < 0 {
			s.loop.of(dst, &values[s.a], nil)
		} else {
			s.loop.of(dst, &values[s.a], &values[s.b])
		}
	}
	for k, r := range p.results {
		if p.late[k] {
			copy(p.y[k][lo:hi], values[r].each)
		}
	}
}

// writeOut writes the elements of an input that are with results lo and on.
func writeOut[T amd64.Float](in *pointInput, dst, x []T, lo int) {
	at, left := lo/in.inner%in.period, in.inner-lo%in.inner
	for i := range dst {
		dst[i] = x[at]
		if left--; left == 0 {
			left = in.inner
			if at++; at == in.period {
				at = 0
			}
		}
	}
}
