package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// dotRows emits the dot products of four rows, or of one, with the same vector. A row has two accumulators in both
// forms, so that its result does not depend on which of them served it.
func dotRows(u unit) {
	text(u.name("dotRows"), fmt.Sprintf("func(rows, k int, a *%[1]s, lda int, x, y *%[1]s)", u.goType))
	Doc(u.name("dotRows") + " is the DotRows of the unit: see GEMM.DotRows.")
	a, x, y, lda, rows, k := param("a"), param("x"), param("y"), u.bytesParam("lda"), param("rows"), param("k")
	tail := GP64()
	MOVQ(k, tail)
	ANDQ(U8(uint8(u.lanes()-1)), tail)
	mask := u.mask(tail)
	SHRQ(U8(u.lanesShift()), k) // whole vectors

	for _, n := range []int{4, 1} {
		label := fmt.Sprintf("by%d", n)
		Label(label)
		CMPQ(rows, U8(uint8(n)))
		JLT(LabelRef(label + "end"))
		p := make([]reg.GPVirtual, n)
		for r := range p {
			p[r] = GP64()
			if r == 0 {
				MOVQ(a, p[r])
			} else {
				LEAQ(Mem{Base: p[r-1], Index: lda, Scale: 1}, p[r])
			}
		}
		LEAQ(Mem{Base: p[n-1], Index: lda, Scale: 1}, a)
		px, left := GP64(), GP64()
		MOVQ(x, px)
		MOVQ(k, left)
		acc := u.regs(2 * n)
		for _, r := range acc {
			u.xor(r, r, r)
		}
		step := func(vecs int) {
			for v := 0; v < vecs; v++ {
				xv := u.reg()
				u.mov(Mem{Base: px, Disp: v * u.bytes}, xv)
				for r := 0; r < n; r++ {
					u.fma(Mem{Base: p[r], Disp: v * u.bytes}, xv, acc[2*r+v])
				}
			}
			for r := 0; r < n; r++ {
				ADDQ(U32(uint32(vecs*u.bytes)), p[r])
			}
			ADDQ(U32(uint32(vecs*u.bytes)), px)
		}
		Label(label + "pair")
		CMPQ(left, U8(2))
		JLT(LabelRef(label + "single"))
		step(2)
		SUBQ(U8(2), left)
		JMP(LabelRef(label + "pair"))
		Label(label + "single")
		TESTQ(left, left)
		JZ(LabelRef(label + "tail"))
		step(1)
		Label(label + "tail")
		TESTQ(tail, tail)
		JZ(LabelRef(label + "sum"))
		xv := u.reg()
		u.load(Mem{Base: px}, mask, xv)
		for r := 0; r < n; r++ {
			av := u.reg()
			u.load(Mem{Base: p[r]}, mask, av)
			u.fma(av, xv, acc[2*r+1])
		}
		Label(label + "sum")
		for r := 0; r < n; r++ {
			u.add(acc[2*r+1], acc[2*r], acc[2*r])
			u.scalar(u.reduceLanes(u.add, acc[2*r]), Mem{Base: y, Disp: r * u.size})
		}
		ADDQ(U8(uint8(n*u.size)), y)
		SUBQ(U8(uint8(n)), rows)
		JMP(LabelRef(label))
		Label(label + "end")
	}
	VZEROUPPER()
	RET()
}
