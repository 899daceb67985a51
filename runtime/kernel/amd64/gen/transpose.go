package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// transpose emits the transposition of a strip of at most lanes rows: square blocks of lanes x lanes are transposed
// in registers, by interleaving within 128-bit lanes and then exchanging the 128-bit lanes.
func transpose(u unit) {
	text(u.name("transpose"), fmt.Sprintf("func(rows, cols int, src *%[1]s, lds int, dst *%[1]s, ldd int)", u.goType))
	Doc(u.name("transpose") + " is the strip transposition of the unit: see GEMM.Transpose.")
	off := GP64()
	XORQ(off, off)
	transposeStrip(u, off, u.bytesParam("lds"), func(row reg.GPVirtual) { MOVQ(off, row) })
}

// transposeAt emits the transposition of rows that start at offsets from a table.
func transposeAt(u unit) {
	text(u.name("transposeAt"), fmt.Sprintf("func(rows, cols int, src *%[1]s, off *int32, dst *%[1]s, ldd int)", u.goType))
	Doc(u.name("transposeAt") + " is the strip transposition by offsets of the unit: see GEMM.TransposeAt.")
	off, entry := param("off"), GP64()
	MOVQ(U32(4), entry)
	transposeStrip(u, off, entry, func(row reg.GPVirtual) {
		MOVLQSX(Mem{Base: off}, row)
		SHLQ(U8(u.shift()), row)
	})
}

// transposeStrip emits the transposition. load gives the byte offset of the row at the cursor, which moves by step.
func transposeStrip(u unit, cursor, step reg.GPVirtual, load func(row reg.GPVirtual)) {
	t := transposeState{unit: u}
	rows, cols := param("rows"), param("cols")
	t.src, t.dst, t.ldd = param("src"), param("dst"), u.bytesParam("ldd")

	// Rows that do not exist repeat the last one, and their lanes are never stored.
	t.offsets = AllocLocal(8 * u.lanes())
	left := GP64()
	MOVQ(rows, left)
	for i := 0; i < u.lanes(); i++ {
		row, next := GP64(), GP64()
		load(row)
		MOVQ(row, t.offsets.Offset(8*i))
		DECQ(left)
		LEAQ(Mem{Base: cursor, Index: step, Scale: 1}, next)
		CMPQ(left, U8(0))
		CMOVQGT(next, cursor)
	}

	rowMask := u.mask(rows)
	tail := GP64()
	MOVQ(cols, tail)
	ANDQ(U8(uint8(u.lanes()-1)), tail)
	colMask := u.mask(tail)
	SHRQ(U8(u.lanesShift()), cols)

	CMPQ(rows, U8(uint8(u.lanes())))
	JNE(LabelRef("partial"))
	for _, kind := range []string{"whole", "partial"} {
		store := reg.Register(nil)
		if kind == "partial" {
			store = rowMask
		}
		Label(kind)
		TESTQ(cols, cols)
		JZ(LabelRef(kind + "tail"))
		Label(kind + "loop")
		t.block(nil, store, nil, "")
		ADDQ(U32(uint32(u.bytes)), t.src)
		DECQ(cols)
		JNZ(LabelRef(kind + "loop"))
		Label(kind + "tail")
		TESTQ(tail, tail)
		JZ(LabelRef("done"))
		t.block(colMask, store, tail, "done")
		if kind == "whole" {
			JMP(LabelRef("done"))
		}
	}
	Label("done")
	VZEROUPPER()
	RET()
}

type transposeState struct {
	unit
	src, dst, ldd reg.GPVirtual
	offsets       Mem
}

// block transposes lanes columns (with loadMask: as many as left says, then it jumps to done).
func (t transposeState) block(loadMask, storeMask reg.Register, left reg.GPVirtual, done string) {
	v := t.regs(t.lanes())
	for i := range v {
		at := GP64()
		MOVQ(t.offsets.Offset(8*i), at)
		t.load(Mem{Base: t.src, Index: at, Scale: 1}, loadMask, v[i])
	}
	for i, col := range t.columns(v) {
		if left != nil && i > 0 {
			DECQ(left)
			JZ(LabelRef(done))
		}
		t.store(col, storeMask, Mem{Base: t.dst})
		ADDQ(t.ldd, t.dst)
	}
}

// columns emits the shuffles that turn the rows v into columns.
func (t transposeState) columns(v []reg.VecVirtual) []reg.VecVirtual {
	per := 16 / t.size     // elements of a 128-bit lane = rows of a group
	groups := t.bytes / 16 // = number of groups
	// u[g][c]: 128-bit lane l holds column per*l+c of the rows of group g.
	u := make([][]reg.VecVirtual, groups)
	for g := range u {
		u[g] = t.interleave(v[g*per : (g+1)*per])
	}
	out := make([]reg.VecVirtual, t.lanes())
	for c := 0; c < per; c++ {
		if groups == 2 {
			out[c], out[per+c] = t.reg(), t.reg()
			VPERM2F128(U8(0x20), u[1][c], u[0][c], out[c])
			VPERM2F128(U8(0x31), u[1][c], u[0][c], out[per+c])
			continue
		}
		for odd, imm := range []U8{0x88, 0xdd} { // even, odd 128-bit lanes of both sources
			lo, hi := t.reg(), t.reg()
			t.shuf128(imm, u[1][c], u[0][c], lo)
			t.shuf128(imm, u[3][c], u[2][c], hi)
			first, second := t.reg(), t.reg()
			t.shuf128(U8(0x88), hi, lo, first)
			t.shuf128(U8(0xdd), hi, lo, second)
			out[odd*per+c], out[(odd+2)*per+c] = first, second
		}
	}
	return out
}

// interleave transposes 2x2 float64 or 4x4 float32 blocks within the 128-bit lanes.
func (t transposeState) interleave(v []reg.VecVirtual) []reg.VecVirtual {
	pair := func(lo, hi func(...Op), a, b reg.VecVirtual) (reg.VecVirtual, reg.VecVirtual) {
		l, h := t.reg(), t.reg()
		lo(b, a, l)
		hi(b, a, h)
		return l, h
	}
	if len(v) == 2 {
		l, h := pair(t.unpackLo, t.unpackHi, v[0], v[1])
		return []reg.VecVirtual{l, h}
	}
	l01, h01 := pair(t.unpackLo, t.unpackHi, v[0], v[1])
	l23, h23 := pair(t.unpackLo, t.unpackHi, v[2], v[3])
	c0, c1 := pair(VUNPCKLPD, VUNPCKHPD, l01, l23)
	c2, c3 := pair(VUNPCKLPD, VUNPCKHPD, h01, h23)
	return []reg.VecVirtual{c0, c1, c2, c3}
}
