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
	src, lds := param("src"), u.bytesParam("lds")
	copyStrip(u, func(load func(row reg.GPVirtual)) {
		load(src)
		ADDQ(lds, src)
	})
}

// copyAt emits the copy of rows that start at offsets from a table.
func copyAt(u unit) {
	text(u.name("copyAt"), fmt.Sprintf("func(rows, cols int, src *%[1]s, off *int32, dst *%[1]s, ldd int)", u.goType))
	Doc(u.name("copyAt") + " is the strip copy by offsets of the unit: see GEMM.CopyAt.")
	src, off := param("src"), param("off")
	row := GP64()
	copyStrip(u, func(load func(row reg.GPVirtual)) {
		MOVLQSX(Mem{Base: off}, row)
		LEAQ(Mem{Base: src, Index: row, Scale: uint8(u.size)}, row)
		load(row)
		ADDQ(U8(4), off)
	})
}

// copyStrip emits the loop over rows; each says where the row lies and goes to the next.
func copyStrip(u unit, each func(load func(row reg.GPVirtual))) {
	rows, cols := param("rows"), param("cols")
	dst, ldd := param("dst"), u.bytesParam("ldd")
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
			each(func(row reg.GPVirtual) {
				for i := range n {
					lane := reg.Register(nil)
					if i == n-1 {
						lane = m
					}
					u.load(Mem{Base: row, Disp: i * u.bytes}, lane, v[i])
					u.store(v[i], lane, Mem{Base: dst, Disp: i * u.bytes})
				}
			})
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
