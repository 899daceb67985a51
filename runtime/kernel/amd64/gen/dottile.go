package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// dotTile emits the tile of dot products along stored rows of both operands: an accumulator for each element, whose lanes
// are added up at the end. Each shape has its own loop. The order of a sum depends on k alone.
func dotTile(u unit) {
	text(u.name("dotTile"), fmt.Sprintf(
		"func(rows, cols, k int, a *%[1]s, lda int, b *%[1]s, ldb int, c *%[1]s, ldc int, alpha, beta %[1]s)", u.goType))
	Doc(u.name("dotTile") + " is the DotTile of the unit: see GEMM.DotTile.")
	rows, cols := param("rows"), param("cols")
	for r := u.dot; r >= 1; r-- {
		next := fmt.Sprintf("notrows%d", r)
		if r > 1 {
			CMPQ(rows, U8(uint8(r)))
			JNE(LabelRef(next))
		}
		for c := u.dot; c > 1; c-- {
			CMPQ(cols, U8(uint8(c)))
			JEQ(LabelRef(fmt.Sprintf("dots%dx%d", r, c)))
		}
		JMP(LabelRef(fmt.Sprintf("dots%dx1", r)))
		if r > 1 {
			Label(next)
		}
	}
	for r := 1; r <= u.dot; r++ {
		for c := 1; c <= u.dot; c++ {
			dotShape(u, r, c)
		}
	}
}

// dotShape emits the loop for one shape.
func dotShape(u unit, rows, cols int) {
	label := fmt.Sprintf("dots%dx%d", rows, cols)
	Label(label)
	pointers := func(n int, base, ld reg.GPVirtual) []reg.GPVirtual {
		p := []reg.GPVirtual{base}
		for len(p) < n {
			next := GP64()
			LEAQ(Mem{Base: p[len(p)-1], Index: ld, Scale: 1}, next)
			p = append(p, next)
		}
		return p
	}
	a := pointers(rows, param("a"), u.bytesParam("lda"))
	b := pointers(cols, param("b"), u.bytesParam("ldb"))
	whole, at := param("k"), GP64()
	SHRQ(U8(u.lanesShift()), whole)
	XORQ(at, at)
	acc, bv, av := u.regs(rows*cols), u.regs(cols), u.reg()
	for _, r := range acc {
		u.xor(r, r, r)
	}
	step := func(mask reg.Register) {
		for c := range bv {
			u.load(Mem{Base: b[c], Index: at, Scale: 1}, mask, bv[c])
		}
		for r := range a {
			u.load(Mem{Base: a[r], Index: at, Scale: 1}, mask, av)
			for c := range bv {
				u.fma(av, bv[c], acc[r*cols+c])
			}
		}
	}
	TESTQ(whole, whole)
	JZ(LabelRef(label + "tail"))
	Label(label + "loop")
	step(nil)
	ADDQ(U32(uint32(u.bytes)), at)
	DECQ(whole)
	JNZ(LabelRef(label + "loop"))
	Label(label + "tail")
	tail := param("k")
	ANDQ(U8(uint8(u.lanes()-1)), tail)
	JZ(LabelRef(label + "sum"))
	step(u.mask(tail))
	Label(label + "sum")
	u.storeDots(label, rows, cols, acc)
	VZEROUPPER()
	RET()
}

// storeDots adds up the lanes of accumulators and writes C = alpha*sum + beta*C; beta == 0 does not read C.
func (u unit) storeDots(label string, rows, cols int, acc []reg.VecVirtual) {
	alpha, err := Param("alpha").Resolve()
	must(err)
	beta, err := Param("beta").Resolve()
	must(err)
	c, ldc := param("c"), u.bytesParam("ldc")
	alphaX, betaX, old, bits := XMM(), XMM(), XMM(), GP64()
	u.scalar(alpha.Addr, alphaX)
	u.scalar(beta.Addr, betaX)
	if u.size == 4 {
		MOVL(beta.Addr, bits.As32())
		ADDL(bits.As32(), bits.As32()) // drops the sign: -0 is 0
	} else {
		MOVQ(beta.Addr, bits)
		ADDQ(bits, bits)
	}
	for r := range rows {
		for i := range cols {
			sum, to := u.reduceLanes(u.add, acc[r*cols+i]), Mem{Base: c, Disp: i * u.size}
			plain := fmt.Sprintf("%splain%d", label, r*cols+i)
			u.mul(alphaX, sum, sum)
			TESTQ(bits, bits)
			JZ(LabelRef(plain))
			u.scalar(to, old)
			u.fma(old, betaX, sum)
			Label(plain)
			u.scalar(sum, to)
		}
		if r < rows-1 {
			ADDQ(ldc, c)
		}
	}
}
