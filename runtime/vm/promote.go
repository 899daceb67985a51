package vm

import (
	"slices"

	"github.com/asdlc/asdlc/graph"
)

// maxValue bounds the inputs whose contents may decide shapes, in elements.
const maxValue = 64

// promote looks for inputs whose contents decide the shapes that s leaves to the run: small integer inputs that are not
// states. Plans are made for their values from now on. It reports whether there are new ones.
func (m *VM) promote(s *shaped) bool {
	if m.made > maxValued {
		changed := slices.Contains(m.valued, true)
		clear(m.valued)
		return changed
	}
	makers := map[int]int{} // slot to its instruction
	for i := range s.code.instrs {
		for _, slot := range s.code.instrs[i].out {
			if slot >= 0 {
				makers[slot] = i
			}
		}
	}
	inputs := map[int]int{}
	for i, slot := range s.code.inputs {
		inputs[slot] = i
	}
	found := false
	for i := range s.code.instrs {
		if s.modes[i] != dynamic {
			continue
		}
		for _, slot := range s.code.instrs[i].args {
			w := walk{m: m, s: s, makers: makers, inputs: inputs}
			if !w.decides(slot, 0) {
				continue
			}
			for _, in := range w.found {
				found = found || !m.valued[in]
				m.valued[in] = true
			}
		}
	}
	if slices.Contains(m.valued, true) {
		m.made++
	}
	return found
}

// walk follows a value back to the inputs that it is computed from.
type walk struct {
	m      *VM
	s      *shaped
	makers map[int]int
	inputs map[int]int
	found  []int
}

const maxWalk = 32

// decides reports whether slot is computed from constants and small integer inputs alone, which it collects.
func (w *walk) decides(slot, depth int) bool {
	f := w.s.facts[slot]
	if f.value != nil {
		return true
	}
	if i, ok := w.inputs[slot]; ok {
		if w.m.state[i] || !small(f) {
			return false
		}
		w.found = append(w.found, i)
		return true
	}
	i, ok := w.makers[slot]
	if !ok || depth > maxWalk || w.s.modes[i] == dynamic || len(w.s.code.instrs[i].bodies) > 0 {
		return false
	}
	for _, arg := range w.s.code.instrs[i].args {
		if !w.decides(arg, depth+1) {
			return false
		}
	}
	return true
}

func small(f fact) bool {
	n := 1
	for _, d := range f.shape {
		n *= d
	}
	return f.known && n <= maxValue && (f.elem.IsInt() || f.elem == graph.Bool || len(f.shape) == 0)
}
