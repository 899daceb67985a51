package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// tile emits the matrix-multiplication kernel of a unit: a block of C of at most rows x 2 vectors (wide x 4) is kept
// in registers while k runs. Each shape has its own loop; a chain of branches at the entry selects it.
//
// Every element of C is one chain of fused multiply-adds in the order of k, whatever the shape of the tile, so the
// result does not depend on how C is cut into tiles.
func tile(u unit) {
	text(u.name("tile"), fmt.Sprintf(
		"func(rows, cols, k int, a *%[1]s, rsa, csa int, b *%[1]s, ldb int, c *%[1]s, ldc int, alpha, beta %[1]s)", u.goType))
	Doc(u.name("tile") + " is the Tile of the unit: see GEMM.Tile.")
	t := newTileState(u)

	vecs, tail := GP64(), GP64()
	Load(Param("cols"), vecs)
	MOVQ(vecs, tail)
	DECQ(vecs)
	SHRQ(U8(u.lanesShift()), vecs) // vectors - 1
	ANDQ(U8(uint8(u.lanes()-1)), tail)
	rows := param("rows")

	CMPQ(tail, U8(0))
	JNE(LabelRef("masked"))
	t.dispatch(rows, vecs, "full", nil)
	Label("masked")
	mask := u.mask(tail)
	if u.bytes == 64 { // half a vector where it will do: twice as many a cycle, or more on processors with 256-bit units
		TESTQ(vecs, vecs)
		JNZ(LabelRef("masks"))
		CMPQ(tail, U8(uint8(u.lanes()/2)))
		JLE(LabelRef("halves"))
		Label("masks")
	}
	t.dispatch(rows, vecs, "mask", mask)

	for _, masked := range []bool{false, true} {
		for n := 1; n <= 4; n++ {
			for r := 1; r <= t.tallest(n); r++ {
				kind, m := "full", reg.Register(nil)
				if masked {
					kind, m = "mask", mask
				}
				t.shape(shapeLabel(kind, r, n), r, n, m)
			}
		}
	}
	if u.bytes == 64 {
		t.halves(rows, mask)
	}
}

// halves emits the shapes of at most half a vector, on the lower halves of the registers.
func (t *tileState) halves(rows reg.GPVirtual, mask reg.Register) {
	h := *t
	h.isa.bytes, h.isa.opmask = t.bytes/2, true
	lower := func(v []reg.VecVirtual) (low []reg.VecVirtual) {
		for _, r := range v {
			low = append(low, r.AsY().(reg.VecVirtual))
		}
		return low
	}
	h.acc, h.bv, h.av = lower(t.acc), lower(t.bv), lower(t.av)
	Label("halves")
	for r := h.rows; r > 1; r-- {
		CMPQ(rows, U8(uint8(r)))
		JEQ(LabelRef(shapeLabel("half", r, 1)))
	}
	for r := 1; r <= h.rows; r++ {
		h.shape(shapeLabel("half", r, 1), r, 1, mask)
	}
}

func shapeLabel(kind string, rows, vecs int) string { return fmt.Sprintf("%s%dx%d", kind, rows, vecs) }

// tileState holds the registers that all shapes share.
type tileState struct {
	unit
	k, a, aUp, rsa, rsa3, rsa5, csa, b, ldb, c, ldc reg.GPVirtual

	acc, bv []reg.VecVirtual // accumulators, vectors of a row of B
	av      []reg.VecVirtual // broadcast elements of A, used in turn
	alpha   reg.VecVirtual
}

func newTileState(u unit) *tileState {
	t := &tileState{unit: u}
	t.k = param("k")
	t.a, t.rsa, t.csa = param("a"), u.bytesParam("rsa"), u.bytesParam("csa")
	t.b, t.ldb = param("b"), u.bytesParam("ldb")
	t.c, t.ldc = param("c"), u.bytesParam("ldc")
	t.rsa3, t.rsa5, t.aUp = GP64(), GP64(), GP64()
	LEAQ(Mem{Base: t.rsa, Index: t.rsa, Scale: 2}, t.rsa3)
	LEAQ(Mem{Base: t.rsa, Index: t.rsa, Scale: 4}, t.rsa5)
	LEAQ(Mem{Base: t.rsa3, Index: t.rsa, Scale: 4}, t.aUp)
	ADDQ(t.a, t.aUp)
	t.acc, t.bv, t.av = u.regs(2*u.rows), u.regs(4), u.regs(2)
	t.alpha = t.bv[0]
	return t
}

// tallest is the greatest number of rows of a tile n vectors wide; four accumulators a row need four registers of B.
func (t *tileState) tallest(n int) int {
	if n > 2 {
		return t.wide
	}
	return t.rows
}

// dispatch jumps to the loop for rows and vecs (given as vectors - 1).
func (t *tileState) dispatch(rows, vecs reg.GPVirtual, kind string, mask reg.Register) {
	for n := 4; n >= 1; n-- {
		next := fmt.Sprintf("%snot%d", kind, n)
		if n > 1 {
			CMPQ(vecs, U8(uint8(n-1)))
			JNE(LabelRef(next))
		}
		top := t.tallest(n)
		for r := top; r > 1; r-- {
			CMPQ(rows, U8(uint8(r)))
			JEQ(LabelRef(shapeLabel(kind, r, n)))
		}
		JMP(LabelRef(shapeLabel(kind, 1, n)))
		if n > 1 {
			Label(next)
		}
	}
}

// rowOfA is the address of element (row, current k) of A: rows 0..6 are reached from a, rows 7..13 from a + 7*rsa.
func (t *tileState) rowOfA(row int) Mem {
	m := Mem{Base: t.a}
	if row >= 7 {
		m.Base = t.aUp
	}
	switch row % 7 {
	case 1, 2, 4:
		m.Index, m.Scale = t.rsa, uint8(row%7)
	case 3:
		m.Index, m.Scale = t.rsa3, 1
	case 5:
		m.Index, m.Scale = t.rsa5, 1
	case 6:
		m.Index, m.Scale = t.rsa3, 2
	}
	return m
}

// shape emits the loop for one tile of rows x vecs vectors. With mask the last vector is partial.
func (t *tileState) shape(label string, rows, vecs int, mask reg.Register) {
	maskOf := func(v int) reg.Register {
		if v == vecs-1 {
			return mask
		}
		return nil
	}
	Label(label)
	p := GP64()
	MOVQ(t.c, p)
	for r := 0; r < rows; r++ {
		for off := 0; off < vecs*t.bytes; off += 64 {
			PREFETCHT0(Mem{Base: p, Disp: off})
		}
		if r < rows-1 {
			ADDQ(t.ldc, p)
		}
	}
	for i := 0; i < rows*vecs; i++ {
		t.xor(t.acc[i], t.acc[i], t.acc[i])
	}
	TESTQ(t.k, t.k)
	JZ(LabelRef(label + "done"))

	Label(label + "loop")
	for v := 0; v < vecs; v++ {
		t.load(Mem{Base: t.b, Disp: v * t.bytes}, maskOf(v), t.bv[v])
	}
	ADDQ(t.ldb, t.b)
	for r := 0; r < rows; r++ {
		av := t.av[r%2]
		t.bcast(t.rowOfA(r), av)
		for v := 0; v < vecs; v++ {
			t.fma(av, t.bv[v], t.acc[r*vecs+v])
		}
	}
	ADDQ(t.csa, t.a)
	if rows > 7 {
		ADDQ(t.csa, t.aUp)
	}
	DECQ(t.k)
	JNZ(LabelRef(label + "loop"))

	Label(label + "done")
	t.epilogue(label, rows, vecs, maskOf)
	VZEROUPPER()
	RET()
}

// epilogue writes C = alpha*acc + beta*C; beta == 0 does not read C.
func (t *tileState) epilogue(label string, rows, vecs int, maskOf func(int) reg.Register) {
	alpha, err := Param("alpha").Resolve()
	must(err)
	beta, err := Param("beta").Resolve()
	must(err)
	alphaV, betaV, old := t.bv[0], t.bv[1], t.av[0]
	t.bcast(alpha.Addr, alphaV)
	for i := 0; i < rows*vecs; i++ {
		t.mul(alphaV, t.acc[i], t.acc[i])
	}
	bits := GP64()
	if t.size == 4 {
		MOVL(beta.Addr, bits.As32())
		ADDL(bits.As32(), bits.As32()) // drops the sign: -0 is 0
	} else {
		MOVQ(beta.Addr, bits)
		ADDQ(bits, bits)
	}
	JZ(LabelRef(label + "store"))
	t.bcast(beta.Addr, betaV)
	for r := 0; r < rows; r++ {
		for v := 0; v < vecs; v++ {
			acc, m := t.acc[r*vecs+v], Mem{Base: t.c, Disp: v * t.bytes}
			if maskOf(v) == nil {
				t.fma(m, betaV, acc)
			} else {
				t.load(m, maskOf(v), old)
				t.fma(old, betaV, acc)
			}
			t.store(acc, maskOf(v), m)
		}
		if r < rows-1 {
			ADDQ(t.ldc, t.c)
		}
	}
	VZEROUPPER()
	RET()
	Label(label + "store")
	for r := 0; r < rows; r++ {
		for v := 0; v < vecs; v++ {
			t.store(t.acc[r*vecs+v], maskOf(v), Mem{Base: t.c, Disp: v * t.bytes})
		}
		if r < rows-1 {
			ADDQ(t.ldc, t.c)
		}
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
