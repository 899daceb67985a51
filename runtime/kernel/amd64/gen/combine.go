package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// combine emits the weighted sum of runs of one vector that start at offsets from a table: four vectors of results at a
// time, then one, then a part of one. Every element is one chain of fused multiply-adds in the order of the table.
func combine(u unit) {
	text(u.name("combine"), fmt.Sprintf("func(n, taps int, src *%[1]s, off *int32, w, dst *%[1]s, bias %[1]s)", u.goType))
	Doc(u.name("combine") + " is the Combine of the unit: see GEMM.Combine.")
	n, taps, src, off, w, dst := param("n"), param("taps"), param("src"), param("off"), param("w"), param("dst")
	address, err := Param("bias").Resolve()
	must(err)
	bias, weight, acc := u.reg(), u.reg(), u.regs(4)
	u.bcast(address.Addr, bias)
	tail := GP64()
	MOVQ(n, tail)
	ANDQ(U8(uint8(u.lanes()-1)), tail)
	mask := u.mask(tail)
	SHRQ(U8(u.lanesShift()), n)

	sum := func(label string, vecs int, mask reg.Register) {
		for v := range vecs {
			u.mov(bias, acc[v])
		}
		t, at := GP64(), GP64()
		XORQ(t, t)
		TESTQ(taps, taps)
		JZ(LabelRef(label + "store"))
		Label(label + "tap")
		MOVLQSX(Mem{Base: off, Index: t, Scale: 4}, at)
		LEAQ(Mem{Base: src, Index: at, Scale: uint8(u.size)}, at)
		u.bcast(Mem{Base: w, Index: t, Scale: uint8(u.size)}, weight)
		for v := range vecs {
			m := Mem{Base: at, Disp: v * u.bytes}
			if mask == nil {
				u.fma(m, weight, acc[v])
				continue
			}
			x := u.reg()
			u.load(m, mask, x)
			u.fma(x, weight, acc[v])
		}
		INCQ(t)
		CMPQ(t, taps)
		JLT(LabelRef(label + "tap"))
		Label(label + "store")
		for v := range vecs {
			u.store(acc[v], mask, Mem{Base: dst, Disp: v * u.bytes})
		}
		ADDQ(U32(uint32(vecs*u.bytes)), src)
		ADDQ(U32(uint32(vecs*u.bytes)), dst)
	}
	for _, vecs := range []int{4, 1} {
		label := fmt.Sprintf("by%d", vecs)
		Label(label)
		CMPQ(n, U8(uint8(vecs)))
		JLT(LabelRef(label + "end"))
		sum(label, vecs, nil)
		SUBQ(U8(uint8(vecs)), n)
		JMP(LabelRef(label))
		Label(label + "end")
	}
	TESTQ(tail, tail)
	JZ(LabelRef("done"))
	sum("part", 1, mask)
	Label("done")
	VZEROUPPER()
	RET()
}
