package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// maxCopy is the greatest width of a copied strip, in vectors.
const maxCopy = 4

// copyRows emits the copy of a strip of at most maxCopy vectors.
func copyRows(u unit) {
	text(u.name("copyRows"), fmt.Sprintf("func(rows, cols int, src *%[1]s, lds int, dst *%[1]s, ldd int)", u.goType))
	Doc(u.name("copyRows") + " is the strip copy of the unit: see GEMM.Copy.")
	rows, cols := param("rows"), param("cols")
	src, lds, dst, ldd := param("src"), u.bytesParam("lds"), param("dst"), u.bytesParam("ldd")
	vecs, tail := GP64(), GP64()
	MOVQ(cols, vecs)
	MOVQ(cols, tail)
	DECQ(vecs)
	SHRQ(U8(u.lanesShift()), vecs) // vectors - 1
	ANDQ(U8(uint8(u.lanes()-1)), tail)
	mask := u.mask(tail)
	v := u.regs(maxCopy)

	for n := 1; n <= maxCopy; n++ {
		next := fmt.Sprintf("not%d", n)
		if n < maxCopy {
			CMPQ(vecs, U8(uint8(n-1)))
			JNE(LabelRef(next))
		}
		masked := fmt.Sprintf("mask%d", n)
		TESTQ(tail, tail)
		JNZ(LabelRef(masked))
		for _, m := range []reg.Register{nil, mask} {
			label := fmt.Sprintf("copy%d", n)
			if m != nil {
				Label(masked)
				label += "m"
			}
			Label(label)
			for i := range n {
				lane := reg.Register(nil)
				if i == n-1 {
					lane = m
				}
				u.load(Mem{Base: src, Disp: i * u.bytes}, lane, v[i])
				u.store(v[i], lane, Mem{Base: dst, Disp: i * u.bytes})
			}
			ADDQ(lds, src)
			ADDQ(ldd, dst)
			DECQ(rows)
			JNZ(LabelRef(label))
			VZEROUPPER()
			RET()
		}
		if n < maxCopy {
			Label(next)
		}
	}
}
