package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/attr"
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

// copyEven emits the copy of every second element of rows: a pair of vectors gives one. Masks of the last pair keep it
// within the row.
func copyEven(u unit) {
	text(u.name("copyEven"), fmt.Sprintf("func(rows, cols int, src *%[1]s, lds int, dst *%[1]s, ldd int)", u.goType))
	Doc(u.name("copyEven") + " is the copy of every second element of the unit: see GEMM.CopyEven.")
	rows, cols := param("rows"), param("cols")
	src, lds, dst, ldd := param("src"), u.bytesParam("lds"), param("dst"), u.bytesParam("ldd")
	lanes := uint8(u.lanes())

	// The last pair holds 1..lanes elements and reads twice as many less one.
	pairs, last := GP64(), GP64()
	LEAQ(Mem{Base: cols, Disp: -1}, pairs)
	MOVQ(pairs, last)
	SHRQ(U8(u.lanesShift()), pairs)
	ANDQ(U8(lanes-1), last)
	INCQ(last)
	store := u.mask(last)
	first, second, most, none := GP64(), GP64(), GP64(), GP64()
	LEAQ(Mem{Base: last, Index: last, Scale: 1, Disp: -1}, first)
	LEAQ(Mem{Base: first, Disp: -int(lanes)}, second)
	MOVQ(U32(uint32(lanes)), most)
	CMPQ(first, most)
	CMOVQGT(most, first)
	XORQ(none, none)
	CMPQ(second, none)
	CMOVQLT(none, second)
	masks := []reg.Register{u.mask(first), u.mask(second)}

	a, b := u.reg(), u.reg()
	var order reg.VecVirtual
	if u.bytes == 64 {
		order = u.reg()
		VMOVDQU64(evenOrder(), order)
	}
	join := func() {
		u.even(b, a, a)
		if u.bytes == 64 {
			VPERMQ(a, order, a)
		} else {
			VPERMQ(U8(0xd8), a, a)
		}
	}
	Label("row")
	from, to, left := GP64(), GP64(), GP64()
	MOVQ(src, from)
	MOVQ(dst, to)
	MOVQ(pairs, left)
	TESTQ(left, left)
	JZ(LabelRef("last"))
	Label("pair")
	u.mov(Mem{Base: from}, a)
	u.mov(Mem{Base: from, Disp: u.bytes}, b)
	join()
	u.mov(a, Mem{Base: to})
	ADDQ(U32(uint32(2*u.bytes)), from)
	ADDQ(U32(uint32(u.bytes)), to)
	DECQ(left)
	JNZ(LabelRef("pair"))
	Label("last")
	u.load(Mem{Base: from}, masks[0], a)
	u.load(Mem{Base: from, Disp: u.bytes}, masks[1], b)
	join()
	u.store(a, store, Mem{Base: to})
	ADDQ(lds, src)
	ADDQ(ldd, dst)
	DECQ(rows)
	JNZ(LabelRef("row"))
	VZEROUPPER()
	RET()
}

// evenOrder is the order of 64-bit words that undoes the interleaving of 128-bit lanes of two vectors.
func evenOrder() Mem {
	if evenWords.Symbol.Name == "" {
		evenWords = GLOBL("evenWords", attr.RODATA|attr.NOPTR)
		for i, word := range []uint64{0, 2, 4, 6, 1, 3, 5, 7} {
			DATA(8*i, U64(word))
		}
	}
	return evenWords
}

// evenWords is the table once it is emitted into this file.
var evenWords Mem
