package vm

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"unsafe"

	"gorgonia.org/gorgonia"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel"
	"github.com/asdlc/asdlc/runtime/lower"
)

// StatePair says that output Out of the program is the next value of input In, which the machine keeps.
type StatePair struct{ In, Out int }

// Options of a machine.
type Options struct {
	States []StatePair
	// MemoryLimit in bytes refuses plans that need more; 0 is no limit.
	MemoryLimit int64
	// Plans is the number of plans that are kept for different input shapes; 0 is 8.
	Plans int
	// Owned gives each output whose shape a plan knows memory of its own, for Take.
	Owned bool
}

// VM runs a program. It implements gorgonia.VM.
type VM struct {
	prog *lower.Program
	code *code
	opts Options

	inputs []kernel.Tensor // what the plans read; states are in here too
	bound  []bool
	moved  bool // memory of an input is elsewhere than in the last run
	state  []bool
	valued []bool // inputs whose contents decide shapes: plans are made for their value
	made   int    // plans made for values

	plans  []*entry // last used first
	mem    []byte
	now    *plan       // being run
	making *graph.Node // whose kernel is being made
}

// entry is a plan and the inputs that it is for.
type entry struct {
	plan *plan
	key  []inputKey
	base *byte // where its arena lies
}

type inputKey struct {
	elem  graph.Elem
	shape []int
	value []byte // of an input whose contents decide shapes
}

var _ gorgonia.VM = (*VM)(nil)

// New makes a machine for p.
func New(p *lower.Program, opts Options) (*VM, error) {
	n := len(p.Main.Inputs)
	if opts.Plans <= 0 {
		opts.Plans = 8
	}
	m := &VM{
		prog: p, code: newCode(p.Main, nil), opts: opts,
		inputs: make([]kernel.Tensor, n), bound: make([]bool, n), state: make([]bool, n), valued: make([]bool, n),
	}
	for _, s := range opts.States {
		m.state[s.In] = true
	}
	return m, nil
}

// Bind gives input i its tensor, which is read and not copied. Shapes may differ from run to run.
func (m *VM) Bind(i int, t *kernel.Tensor) {
	in := &m.inputs[i]
	if !m.bound[i] || unsafe.SliceData(in.Raw) != unsafe.SliceData(t.Raw) || len(in.Raw) != len(t.Raw) {
		m.moved = true
	}
	*in = *t
	m.bound[i] = true
}

// SetState copies t into state k.
func (m *VM) SetState(k int, t *kernel.Tensor) {
	if !m.overwrite(k, t) {
		m.place(k, lower.Copy(t))
	}
}

// GiveState makes t state k. Nobody else may use t from then on.
func (m *VM) GiveState(k int, t *kernel.Tensor) {
	if !m.overwrite(k, t) {
		m.place(k, t)
	}
}

// overwrite copies t into the memory that state k has, if it fits.
func (m *VM) overwrite(k int, t *kernel.Tensor) bool {
	in := m.State(k)
	fits := in != nil && in.Elem == t.Elem && equalInts(in.Shape, t.Shape)
	if fits {
		copy(in.Raw, t.Raw)
	}
	return fits
}

func (m *VM) place(k int, t *kernel.Tensor) {
	i := m.opts.States[k].In
	m.inputs[i] = *t
	m.bound[i], m.moved = true, true
}

// State views the current value of state k, or is nil if it has none. The view is valid until the next run.
func (m *VM) State(k int) *kernel.Tensor {
	if i := m.opts.States[k].In; m.bound[i] {
		return &m.inputs[i]
	}
	return nil
}

// Output views output i of the last run; nil before the first. The view is valid until the next run.
func (m *VM) Output(i int) *kernel.Tensor {
	if len(m.plans) == 0 {
		return nil
	}
	return m.plans[0].plan.outputs[i]
}

// Take gives away output i of the last run of a machine with Options.Owned: the next run has it elsewhere. It is nil for an
// output whose shape only the run knew.
func (m *VM) Take(i int) *kernel.Tensor {
	if len(m.plans) == 0 {
		return nil
	}
	own := m.plans[0].plan.owned[i]
	if own == nil {
		return nil
	}
	t := *own
	own.Raw, m.moved = nil, true
	return &t
}

// Peak is the memory in bytes that the current plan needs: arena, states, owned outputs and constants. 0 before the first run.
func (m *VM) Peak() int64 {
	if len(m.plans) == 0 {
		return 0
	}
	return m.peak(m.plans[0].plan)
}

func (m *VM) peak(p *plan) int64 { return m.memory(p).Total() }

// Memory is what a plan needs, in bytes.
type Memory struct{ Arena, States, Owned, Constants int64 }

// Total is all of it.
func (m Memory) Total() int64 { return m.Arena + m.States + m.Owned + m.Constants }

func (m *VM) memory(p *plan) Memory {
	need := Memory{Arena: int64(p.size)}
	for _, s := range m.opts.States {
		need.States += int64(len(m.inputs[s.In].Raw))
	}
	for _, t := range p.owned {
		need.Owned += int64(byteSize(t))
	}
	for _, c := range m.code.inits {
		need.Constants += int64(len(c.value.Raw))
	}
	return need
}

// Taken is the memory that the machine has: that of its states and constants, and after the first run the arena and the
// owned outputs that were not taken away.
func (m *VM) Taken() Memory {
	if len(m.plans) == 0 {
		return m.memory(&plan{})
	}
	p := m.plans[0].plan
	taken := m.memory(p)
	taken.Arena, taken.Owned = int64(len(m.mem)), taken.Owned-int64(p.unfurnished())
	return taken
}

// Predict plans a run on the bound inputs, without running it or taking the memory. The plan is kept until done is called.
func (m *VM) Predict() (need Memory, done func(), err error) {
	m.now, m.making = nil, nil
	done = func() {}
	if err := m.bindNodes(); err != nil {
		return need, done, err
	}
	e, err := m.plan()
	if err != nil {
		return need, done, err
	}
	return m.memory(e.plan), func() { runtime.KeepAlive(e) }, nil
}

// Reset implements gorgonia.VM. There is nothing to do between runs.
func (m *VM) Reset() {}

// Close implements gorgonia.VM: it lets go of the plans and their memory.
func (m *VM) Close() error {
	m.plans, m.mem = nil, nil
	return nil
}

// RunAll runs the program once on the bound inputs; inputs that were not bound take the values of their Gorgonia nodes.
// States advance. An error leaves states undefined if their steps had run.
func (m *VM) RunAll() (err error) {
	m.now, m.making = nil, nil
	if err := m.bindNodes(); err != nil {
		return err
	}
	e, err := m.choose()
	if err != nil {
		return err
	}
	if m.moved {
		e.plan.relink()
		m.moved = false
	}
	defer m.recover(&err)
	return e.plan.exec()
}

// recover turns a panic into an error that names the node being run.
func (m *VM) recover(err *error) {
	r := recover()
	if r == nil {
		return
	}
	n := m.making
	if p := m.now; p != nil && p.pc < len(p.steps) && p.steps[p.pc].instr != nil {
		n = p.steps[p.pc].instr.op.Node
	}
	where := "planning"
	if n != nil {
		where = "node " + n.String()
		if n.Scope != "" {
			where += ", in " + n.Scope
		}
	}
	*err = fmt.Errorf("BUG: %s: %v", where, r)
}

func (m *VM) bindNodes() error {
	for i, ok := range m.bound {
		if ok {
			continue
		}
		n := m.prog.Main.Inputs[i]
		v, ok := n.Value().(lower.Value)
		if !ok {
			return fmt.Errorf("%w: input %q has no value", graph.ErrInvalid, n.Name())
		}
		m.inputs[i] = *v.T
		m.moved = true
	}
	return nil
}

// choose finds the plan for the present inputs, or makes it.
func (m *VM) choose() (*entry, error) {
	for i, e := range m.plans {
		if !m.fits(e) {
			continue
		}
		if i > 0 {
			copy(m.plans[1:i+1], m.plans[:i])
			m.plans[0] = e
			m.moved = true
			m.publish(e)
		}
		m.settleIn(e)
		return e, nil
	}
	e, err := m.plan()
	if err != nil {
		return nil, err
	}
	if len(m.plans) >= m.opts.Plans {
		m.plans = m.plans[:m.opts.Plans-1]
	}
	m.plans = slices.Insert(m.plans, 0, e)
	m.settleIn(e)
	m.publish(e)
	return e, nil
}

func (m *VM) fits(e *entry) bool {
	for i := range e.key {
		k, in := &e.key[i], &m.inputs[i]
		if k.elem != in.Elem || !equalInts(k.shape, in.Shape) || k.value != nil && !bytes.Equal(k.value, in.Raw) {
			return false
		}
	}
	return true
}

// settleIn puts the plan into the arena, which it makes larger if need be, and gives owned outputs their memory.
func (m *VM) settleIn(e *entry) {
	m.makeRoom(e.plan)
	e.plan.furnish()
	if e.base != nil && e.base == unsafe.SliceData(m.mem) {
		return
	}
	if len(m.mem) < e.plan.size || m.mem == nil {
		m.mem = kernel.Aligned(max(e.plan.size, align))
	}
	e.base = unsafe.SliceData(m.mem)
	e.plan.rebase(m.mem)
	m.moved = true
}

// collectFrom is the memory in bytes that is worth a garbage collection before it is taken.
const collectFrom = 1 << 20

// makeRoom lets go of an arena that is too small, and of all that nobody needs any more if p takes much: what was left from
// reading and compiling a model may be as large as the arena, and would stay until as much again had been taken.
func (m *VM) makeRoom(p *plan) {
	need := p.unfurnished()
	if len(m.mem) < p.size {
		need += p.size
		m.mem = nil
		for _, e := range m.plans {
			e.plan.detach()
			e.base = nil
		}
	}
	if need >= collectFrom {
		debug.FreeOSMemory()
	}
}

// publish makes the outputs the values of their Gorgonia nodes, where these have a definite shape.
func (m *VM) publish(e *entry) {
	for i, n := range m.prog.Main.Outputs {
		if t := e.plan.outputs[i]; t != nil && n.Op() != nil && equalInts(n.Shape(), t.Shape) {
			_ = gorgonia.UnsafeLet(n, lower.Value{T: t}) // the shape fits; there is no other reason to fail
		}
	}
}

// maxValued bounds the plans made for contents of inputs, before such shapes are left to the run.
const maxValued = 64

// plan makes a plan for the present inputs.
func (m *VM) plan() (e *entry, err error) {
	defer m.recover(&err)
	s, err := m.shapes()
	if err != nil {
		return nil, err
	}
	if m.promote(s) {
		if s, err = m.shapes(); err != nil {
			return nil, err
		}
	}
	inputs := make([]*kernel.Tensor, len(m.inputs))
	for i := range inputs {
		inputs[i] = &m.inputs[i]
	}
	p, err := newPlan(m, s, inputs, nil, m.wants)
	if err != nil {
		return nil, err
	}
	if need := m.peak(p); m.opts.MemoryLimit > 0 && need > m.opts.MemoryLimit {
		return nil, fmt.Errorf("%w: the model needs %d MiB for these input shapes, the limit is %d MiB; use a smaller batch or raise the limit",
			ErrMemory, need>>20, m.opts.MemoryLimit>>20)
	}
	return &entry{plan: p, key: m.key()}, nil
}

// ErrMemory marks a plan that needs more memory than allowed.
var ErrMemory = errors.New("not enough memory")

func (m *VM) shapes() (*shaped, error) {
	facts := make([]fact, len(m.inputs))
	for i := range facts {
		facts[i] = factOf(&m.inputs[i])
		if m.valued[i] {
			facts[i] = constFact(lower.Copy(&m.inputs[i]))
		}
		facts[i].shape = slices.Clone(facts[i].shape)
	}
	return m.code.shape(facts, nil)
}

func (m *VM) key() []inputKey {
	key := make([]inputKey, len(m.inputs))
	for i := range key {
		in := &m.inputs[i]
		key[i] = inputKey{elem: in.Elem, shape: slices.Clone(in.Shape)}
		if m.valued[i] {
			key[i].value = slices.Clone(in.Raw)
		}
	}
	return key
}

// wants asks that next states come to lie in their states' memory.
func (m *VM) wants(p *planner) []want {
	var ws []want
	for _, s := range m.opts.States {
		slot := m.code.outputs[s.Out]
		victim := p.slotBuf[m.code.inputs[s.In]]
		ws = append(ws, want{slot: slot, target: &m.inputs[s.In], victims: []int{victim}, replace: true})
	}
	if !m.opts.Owned {
		return ws
	}
	for i, slot := range m.code.outputs {
		f := p.s.facts[slot]
		isNext := slices.ContainsFunc(m.opts.States, func(s StatePair) bool { return s.Out == i })
		if f.known && !isNext {
			p.owned[i] = &kernel.Tensor{Elem: f.elem, Shape: f.shape}
			ws = append(ws, want{slot: slot, target: p.owned[i]})
		}
	}
	return ws
}
