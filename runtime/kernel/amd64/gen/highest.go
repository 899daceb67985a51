package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Predicates that say which of two elements is kept: v is taken for best where it is not less or equal, or not a number, unless best
// is none either.
const (
	notLessOrEqual = 0x16 // or unordered, quiet
	ordered        = 0x07 // quiet
)

// highest emits the greatest elements, and which they are, of runs of one vector that start at offsets from a table: four vectors
// of results at a time, then one, then a part of one.
func highest(u unit) {
	text(u.name("highest"), fmt.Sprintf("func(n, taps int, src *%[1]s, off *int32, dst, which *%[1]s)", u.goType))
	Doc(u.name("highest") + " is the Highest of the unit: see GEMM.Highest.")
	n, taps, src, off, dst, which := param("n"), param("taps"), param("src"), param("off"), param("dst"), param("which")
	best, at := u.regs(4), u.regs(4)
	number, one := u.reg(), u.reg()
	bits := GP64()
	if u.size == 4 {
		MOVL(U32(0x3f800000), bits.As32())
		VMOVD(bits.As32(), one.AsX())
	} else {
		MOVQ(U64(0x3ff0000000000000), bits)
		VMOVQ(bits, one.AsX())
	}
	u.spread(one.AsX(), one)
	tail := GP64()
	MOVQ(n, tail)
	ANDQ(U8(uint8(u.lanes()-1)), tail)
	mask := u.mask(tail)
	SHRQ(U8(u.lanesShift()), n)

	pick := func(label string, vecs int, mask reg.Register) {
		t, from := GP64(), GP64()
		tap := func() {
			MOVLQSX(Mem{Base: off, Index: t, Scale: 4}, from)
			LEAQ(Mem{Base: src, Index: from, Scale: uint8(u.size)}, from)
			INCQ(t)
		}
		XORQ(t, t)
		tap()
		u.xor(number, number, number)
		for v := range vecs {
			u.load(Mem{Base: from, Disp: v * u.bytes}, mask, best[v])
			u.xor(at[v], at[v], at[v])
		}
		Label(label + "tap")
		CMPQ(t, taps)
		JGE(LabelRef(label + "store"))
		tap()
		u.add(one, number, number)
		for v := range vecs {
			x := u.reg()
			u.load(Mem{Base: from, Disp: v * u.bytes}, mask, x)
			u.replace(x, number, best[v], at[v])
		}
		JMP(LabelRef(label + "tap"))
		Label(label + "store")
		for v := range vecs {
			u.store(best[v], mask, Mem{Base: dst, Disp: v * u.bytes})
			u.store(at[v], mask, Mem{Base: which, Disp: v * u.bytes})
		}
		for _, p := range []reg.GPVirtual{src, dst, which} {
			ADDQ(U32(uint32(vecs*u.bytes)), p)
		}
	}
	for _, vecs := range []int{4, 1} {
		label := fmt.Sprintf("by%d", vecs)
		Label(label)
		CMPQ(n, U8(uint8(vecs)))
		JLT(LabelRef(label + "end"))
		pick(label, vecs, nil)
		SUBQ(U8(uint8(vecs)), n)
		JMP(LabelRef(label))
		Label(label + "end")
	}
	TESTQ(tail, tail)
	JZ(LabelRef("done"))
	pick("part", 1, mask)
	Label("done")
	VZEROUPPER()
	RET()
}

// replace makes best x, and at number, where x is greater or the first that is not a number.
func (u unit) replace(x, number, best, at reg.VecVirtual) {
	if u.opmask {
		isNumber, taken := K(), K()
		u.cmp(U8(ordered), best, best, isNumber)
		u.cmp(U8(notLessOrEqual), best, x, isNumber, taken)
		u.blendMask(x, best, taken, best)
		u.blendMask(number, at, taken, at)
		return
	}
	isNumber, taken := u.reg(), u.reg()
	u.cmp(U8(ordered), best, best, isNumber)
	u.cmp(U8(notLessOrEqual), best, x, taken)
	VANDPS(isNumber, taken, taken)
	u.blend(taken, x, best, best)
	u.blend(taken, number, at, at)
}
