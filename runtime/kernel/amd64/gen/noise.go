package main

import (
	"fmt"
	"math"

	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// lanes writes the counter-based generator in lanes of 64 bits. The formulas, and the coefficients again, are in noise.go of
// package amd64, whose bits the kernels give: no multiplication and addition is fused.
type lanes struct {
	unit
	numbers Mem // 0, 1, ..., 7
	prime   reg.VecVirtual
}

// noise emits the noise part.
func noise() {
	numbers := GLOBL("numbers", attr.RODATA|attr.NOPTR)
	for i := range 8 {
		DATA(8*i, U64(i))
	}
	for _, s := range []isa{avx512, avx2} {
		l := &lanes{unit: unit{s, f64}, numbers: numbers}
		for _, e := range []elem{f32, f64} {
			l.uniform(e)
		}
		l.normal()
	}
}

const (
	residuePrime = 1<<31 - 1
	residueWidth = 4.65661240958451e-10

	noiseTurn = 2 // vectors of results in a turn of a loop: with two draws, four chains of operations hide their latency
)

// A stream is the vectors of one draw in a turn.
type stream struct {
	keys []Op // registers or, for AVX2, which has few, in memory
	x    [noiseTurn]reg.VecVirtual
}

// loop emits a function that writes results of the given element type: turn makes a vector of them of the residues of each draw.
func (l *lanes) loop(e elem, op, doc string, draws []string, turn func(x []reg.VecVirtual) reg.VecVirtual) {
	signature := fmt.Sprintf("func(dst []%s, start uint64", e.goType)
	for _, d := range draws {
		signature += fmt.Sprintf(", %s *[3]uint64", d)
	}
	name := unit{l.isa, e}.name(op)
	text(name, signature+")")
	Doc(fmt.Sprintf("%s writes %s numbers, a multiple of %d, from counter start.", name, doc, noiseTurn*l.lanes()))
	at, n := slice("dst"), length("dst")
	l.prime = l.broadcast(quad(residuePrime))
	streams := make([]*stream, len(draws))
	for i, d := range draws {
		streams[i] = l.stream(param(d))
	}
	counters := l.counters()

	step := noiseTurn * l.lanes()
	Label("turn")
	TESTQ(n, n)
	JZ(LabelRef("end"))
	for _, s := range streams {
		s.x = counters
	}
	for k := range 3 {
		l.round(streams, k)
	}
	for i := range noiseTurn {
		l.to(counters[i], packedInc, counters[i], uint64(step))
		x := make([]reg.VecVirtual, len(streams))
		for k, s := range streams {
			x[k] = s.x[i]
		}
		VMOVUPS(turn(x), Mem{Base: at, Disp: i * l.lanes() * e.size})
	}
	ADDQ(U8(uint8(step*e.size)), at)
	SUBQ(U8(uint8(step)), n)
	JMP(LabelRef("turn"))
	Label("end")
	VZEROUPPER()
	RET()
}

// counters are start, start+1, ... in the vectors of a turn.
func (l *lanes) counters() (c [noiseTurn]reg.VecVirtual) {
	first, err := Param("start").Resolve()
	must(err)
	c[0] = l.broadcast(first.Addr)
	VPADDQ(l.numbers, c[0], c[0])
	for i := 1; i < noiseTurn; i++ {
		c[i] = l.with(packedInc, c[i-1], uint64(l.lanes()))
	}
	return c
}

// stream takes the address of a draw's keys.
func (l *lanes) stream(keys reg.GPVirtual) *stream {
	s := &stream{}
	for i := range 3 {
		key := Op(Mem{Base: keys, Disp: 8 * i})
		if l.bytes == 64 {
			key = l.broadcast(key)
		}
		s.keys = append(s.keys, key)
	}
	return s
}

// round adds key number k and raises to the fifth power, as residueRound does but for r^2, which is reduced to at most P.
func (l *lanes) round(streams []*stream, k int) {
	var r, p []reg.VecVirtual
	for _, s := range streams {
		key, ok := s.keys[k].(reg.VecVirtual)
		if !ok {
			key = l.broadcast(s.keys[k])
		}
		for _, x := range s.x {
			y := l.reg()
			VPADDQ(key, x, y)
			l.fold(y)
			r = append(r, y)
		}
	}
	for _, x := range r {
		y := l.reg()
		VPMULUDQ(x, x, y)
		l.fold(y)
		l.reduce(y)
		p = append(p, y)
	}
	for _, y := range p {
		VPMULUDQ(y, y, y)
		l.fold(y)
	}
	for i, y := range p {
		VPMULUDQ(r[i], y, y)
		l.fold(y)
	}
	for i, s := range streams {
		copy(s.x[:], p[i*noiseTurn:])
	}
}

// fold replaces x by x&P + x>>31.
func (l *lanes) fold(x reg.VecVirtual) {
	high := l.reg()
	VPSRLQ(U8(31), x, high)
	if l.bytes == 64 {
		VPANDQ(l.prime, x, x)
	} else {
		VPAND(l.prime, x, x)
	}
	VPADDQ(high, x, x)
}

// reduce takes x <= 2P of 32 bits to x-P if that is not negative: a negative difference is a large number.
func (l *lanes) reduce(x reg.VecVirtual) {
	less := l.reg()
	VPSUBD(l.prime, x, less)
	VPMINUD(less, x, x)
}

// interval converts residues, folded to less than 2^33, to (x + 1/2) width: x in the fraction of 2^52, less 2^52 - 1/2, is exact.
func (l *lanes) interval(x reg.VecVirtual) reg.VecVirtual {
	l.fold(x)
	l.reduce(x)
	u := l.with(packedOr, x, math.Float64bits(1<<52))
	u = l.float(packedSub, u, 1<<52-0.5)
	return l.float(packedMul, u, residueWidth)
}

func (l *lanes) uniform(e elem) {
	l.loop(e, "uniform", "uniform", []string{"keys"}, func(x []reg.VecVirtual) reg.VecVirtual {
		u := l.interval(x[0])
		if e.size == 4 {
			u = l.narrow(u)
		}
		return u
	})
}

// normal emits the transform of two draws to normal numbers.
func (l *lanes) normal() {
	l.loop(f32, "normal", "standard normal", []string{"first", "second"}, func(x []reg.VecVirtual) reg.VecVirtual {
		u, v := l.narrow(l.interval(x[0])), l.narrow(l.interval(x[1]))
		radius := l.narrow(l.minusTwoLog(l.wide(u)))
		VSQRTPS(radius, radius)
		turn := math.Float32bits(2 * math.Pi)
		VMULPS(quad(uint64(turn)<<32|uint64(turn)), v, v)
		cosine := l.narrow(l.cos(l.wide(v)))
		VMULPS(radius, cosine, cosine)
		return cosine
	})
}

// minusTwoLog is -2 log u for u in (0, 1).
func (l *lanes) minusTwoLog(u reg.VecVirtual) reg.VecVirtual {
	power := l.with(packedDec, u, math.Float64bits(math.Sqrt2/2))
	power = l.with(packedAnd, power, ^uint64(1<<52-1))
	m := l.reg()
	VPSUBQ(power, u, m)
	below, above := l.float(packedSub, m, 1), l.float(packedAdd, m, 1)
	s, z, w := l.reg(), l.reg(), l.reg()
	VDIVPD(above, below, s)
	VMULPD(s, s, z)
	p := l.float(packedMul, z, -0.4716294370325798)
	p = l.float(packedAdd, p, -0.5707469398586551)
	p = l.horner(p, z, -0.80000669067905, -1.3333333129729925, -4)
	VMULPD(p, s, w)
	VADDPD(l.logPower(power), w, w)
	return w
}

// logPower is -2 log(2) e of lanes that hold 2^52 e as integers.
func (l *lanes) logPower(power reg.VecVirtual) reg.VecVirtual {
	e := l.reg()
	if l.bytes == 64 {
		VCVTQQ2PD(power, e)
		return l.float(packedMul, e, -2*math.Ln2/(1<<52))
	}
	low, high := power.AsX(), XMM()
	VEXTRACTI128(U8(1), power, high)
	VSHUFPS(U8(0xdd), high, low, high) // the upper halves of the lanes: 2^20 e
	VCVTDQ2PD(high, e)
	return l.float(packedMul, e, -2*math.Ln2/(1<<20))
}

// cos is the cosine of x in [0, 2 pi].
func (l *lanes) cos(x reg.VecVirtual) reg.VecVirtual {
	y := l.float(packedSub, x, math.Pi)
	y = l.with(packedAnd, y, 1<<63-1)
	y = l.float(packedSub, y, math.Pi/2)
	z, c := l.reg(), l.reg()
	VMULPD(y, y, z)
	q := l.float(packedMul, z, -2.3868346597346233e-08)
	q = l.float(packedAdd, q, 2.752397107971244e-06)
	q = l.horner(q, z, -0.0001984083282337695, 0.00833333072055875, -0.166666666088261, 0.999999999978849)
	VMULPD(q, y, c)
	return c
}

// horner continues the polynomial p in z.
func (l *lanes) horner(p, z reg.VecVirtual, coefficients ...float64) reg.VecVirtual {
	for _, c := range coefficients {
		t := l.reg()
		VMULPD(z, p, t)
		p = l.float(packedAdd, t, c)
	}
	return p
}

// narrow rounds to float32, in a register of half the size.
func (l *lanes) narrow(x reg.VecVirtual) reg.VecVirtual {
	if l.bytes == 64 {
		y := YMM()
		VCVTPD2PS(x, y)
		return y
	}
	y := XMM()
	VCVTPD2PSY(x, y)
	return y
}

// wide is the converse of narrow.
func (l *lanes) wide(x reg.VecVirtual) reg.VecVirtual {
	y := l.reg()
	VCVTPS2PD(x, y)
	return y
}

// A packed instruction has a constant as its first source: in every lane of memory, or in one.
type packed struct{ full, one func(...Op) }

var (
	packedAdd = packed{VADDPD, VADDPD_BCST}
	packedSub = packed{VSUBPD, VSUBPD_BCST}
	packedMul = packed{VMULPD, VMULPD_BCST}
	packedInc = packed{VPADDQ, VPADDQ_BCST}
	packedDec = packed{VPSUBQ, VPSUBQ_BCST}
	packedAnd = packed{VANDPD, VANDPD_BCST}
	packedOr  = packed{VORPD, VORPD_BCST}
)

// to writes x combined with a constant to dst.
func (l *lanes) to(dst reg.VecVirtual, f packed, x reg.VecVirtual, bits uint64) {
	if l.bytes == 64 {
		f.one(quad(bits), x, dst)
		return
	}
	f.full(quad(bits), x, dst)
}

func (l *lanes) with(f packed, x reg.VecVirtual, bits uint64) reg.VecVirtual {
	r := l.reg()
	l.to(r, f, x, bits)
	return r
}

func (l *lanes) float(f packed, x reg.VecVirtual, v float64) reg.VecVirtual {
	return l.with(f, x, math.Float64bits(v))
}

// broadcast is a vector with 64 bits of memory in every lane.
func (l *lanes) broadcast(m Op) reg.VecVirtual {
	r := l.reg()
	VPBROADCASTQ(m, r)
	return r
}

// quads holds the constants of 64 bits already emitted into this file.
var quads = map[uint64]Mem{}

// quad is the address of four copies of a constant.
func quad(bits uint64) Mem {
	if m, ok := quads[bits]; ok {
		return m
	}
	m := GLOBL(fmt.Sprintf("lanes%016x", bits), attr.RODATA|attr.NOPTR)
	for i := range 4 {
		DATA(8*i, U64(bits))
	}
	quads[bits] = m
	return m
}
