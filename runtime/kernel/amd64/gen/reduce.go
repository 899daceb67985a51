package main

import (
	"fmt"
	"math"
	"strings"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A reduction combines all elements into one value, in four accumulators whose order depends on the length only.
type reduction struct {
	name, doc string
	slices    []string
	scalar    string                                               // a parameter, float32; the last of x in step
	start     float64                                              // of the accumulators; the value for no elements
	combine   func(...Op)                                          // of two accumulators
	step      func(e emit, acc reg.VecVirtual, x []reg.VecVirtual) // adds elements to an accumulator
	flagNaN   bool                                                 // the result is NaN if an element is, whatever combine does
}

var reductions = []reduction{
	{
		name: "sum", doc: "the sum of x", slices: []string{"x"}, combine: VADDPS,
		step: func(e emit, acc reg.VecVirtual, x []reg.VecVirtual) { VADDPS(x[0], acc, acc) },
	},
	{
		name: "sumAbs", doc: "the sum of |x|", slices: []string{"x"}, combine: VADDPS,
		step: func(e emit, acc reg.VecVirtual, x []reg.VecVirtual) { VADDPS(e.abs(x[0]), acc, acc) },
	},
	{
		name: "dot", doc: "the sum of x*y", slices: []string{"x", "y"}, combine: VADDPS,
		step: func(e emit, acc reg.VecVirtual, x []reg.VecVirtual) { VFMADD231PS(x[0], x[1], acc) },
	},
	{
		name: "squares", doc: "the sum of (x - m)^2", slices: []string{"x"}, scalar: "m", combine: VADDPS,
		step: func(e emit, acc reg.VecVirtual, x []reg.VecVirtual) {
			d := e.op(VSUBPS, x[0], x[1])
			VFMADD231PS(d, d, acc)
		},
	},
	{
		name: "dotCentered", doc: "the sum of x*(y - m)", slices: []string{"x", "y"}, scalar: "m", combine: VADDPS,
		step: func(e emit, acc reg.VecVirtual, x []reg.VecVirtual) {
			VFMADD231PS(e.op(VSUBPS, x[1], x[2]), x[0], acc)
		},
	},
	{
		name: "max", doc: "the greatest element of x, NaN if one is", slices: []string{"x"}, combine: VMAXPS,
		start: math.Inf(-1), flagNaN: true,
		step: func(e emit, acc reg.VecVirtual, x []reg.VecVirtual) { VMAXPS(x[0], acc, acc) },
	},
}

func (e emit) reduction(r reduction) {
	signature := fmt.Sprintf("func(%s []float32", strings.Join(r.slices, ", "))
	if r.scalar != "" {
		signature += fmt.Sprintf(", %s float32", r.scalar)
	}
	text(r.name+e.set, signature+") float32")
	Doc(fmt.Sprintf("%s returns %s.", r.name+e.set, r.doc))
	base := make([]reg.GPVirtual, len(r.slices))
	for i, s := range r.slices {
		base[i] = slice(s)
	}
	var about reg.VecVirtual
	if r.scalar != "" {
		at, err := Param(r.scalar).Resolve()
		must(err)
		about = e.reg()
		e.bcast(at.Addr, about)
	}
	start := e.constant(r.start)
	acc := e.regs(unroll)
	for _, a := range acc {
		e.mov(start, a)
	}
	var nan reg.VecVirtual
	if r.flagNaN {
		nan = e.reg()
		VXORPS(nan, nan, nan)
	}
	n, offset := length(r.slices[0]), GP64()
	e.walk(n, offset, func(disp, v int, mask reg.Register) {
		x := make([]reg.VecVirtual, len(base), len(base)+1)
		for i := range base {
			at := Mem{Base: base[i], Index: offset, Scale: 1, Disp: disp}
			x[i] = e.reg()
			if about != nil && i == len(base)-1 { // beyond the end too, the difference is 0
				e.loadOr(at, mask, about, false, x[i])
				continue
			}
			e.loadOr(at, mask, start, r.start == 0, x[i])
		}
		if r.flagNaN {
			e.orNaN(x[0], nan)
		}
		if about != nil {
			x = append(x, about)
		}
		r.step(e, acc[v], x)
	})
	r.combine(acc[1], acc[0], acc[0])
	r.combine(acc[3], acc[2], acc[2])
	r.combine(acc[2], acc[0], acc[0])
	out := e.reduceLanes(r.combine, acc[0])
	if r.flagNaN {
		bits := GP32()
		flags := e.reduceLanes(VORPS, nan)
		VMOVD(flags, bits)
		TESTL(bits, bits)
		JZ(LabelRef("finite"))
		VMOVSS(table(math.Float32bits(float32(math.NaN()))), out)
		Label("finite")
	}
	ret, err := ReturnIndex(0).Resolve()
	must(err)
	VMOVSS(out, ret.Addr)
	VZEROUPPER()
	RET()
}

// loadOr reads a vector whose lanes outside of the mask are those of other (0 if isZero).
func (e emit) loadOr(m Mem, mask reg.Register, other Op, isZero bool, dst reg.VecVirtual) {
	switch {
	case mask == nil || isZero:
		e.load(m, mask, dst)
	case e.bytes == 64:
		e.mov(other, dst)
		VMOVUPS(m, mask, dst)
	default:
		fill := e.reg()
		e.mov(other, fill)
		e.load(m, mask, dst)
		VBLENDVPS(mask, dst, fill, dst)
	}
}

// orNaN sets all bits of the lanes of flags where x is NaN.
func (e emit) orNaN(x, flags reg.VecVirtual) {
	if e.bytes == 64 {
		k := K()
		VCMPPS(U8(unordered), x, x, k)
		VPTERNLOGD(U8(0xff), flags, flags, k, flags)
		return
	}
	is := e.reg()
	VCMPPS(U8(unordered), x, x, is)
	VORPS(is, flags, flags)
}
