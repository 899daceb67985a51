package main

import (
	"fmt"
	"math"

	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// emit writes vector expressions on float32.
type emit struct{ unit }

// Predicates of VCMPPS.
const (
	unordered = 0x03
	less      = 0x11 // ordered, quiet
	greater   = 0x1e // ordered, quiet
)

// tables holds the constants already emitted into this file.
var tables = map[uint32]Mem{}

// table is the address of eight copies of a constant.
func table(bits uint32) Mem {
	if m, ok := tables[bits]; ok {
		return m
	}
	m := GLOBL(fmt.Sprintf("lanes%08x", bits), attr.RODATA|attr.NOPTR)
	for i := range 4 {
		DATA(8*i, U64(uint64(bits)<<32|uint64(bits)))
	}
	tables[bits] = m
	return m
}

// constant is a vector with v in every lane.
func (e emit) constant(v float64) Op { return e.bits(math.Float32bits(float32(v))) }

// bits is a vector with the given bits in every lane: in memory for AVX2, in a register for AVX-512, because the linker
// does not align data to 64 bytes and a load over two cache lines costs more than a broadcast.
func (e emit) bits(bits uint32) Op {
	if e.bytes == 32 {
		return table(bits)
	}
	r := e.reg()
	e.bcast(table(bits), r)
	return r
}

// op returns f(a, b); b may be in memory.
func (e emit) op(f func(...Op), a, b Op) reg.VecVirtual {
	r := e.reg()
	f(b, a, r)
	return r
}

// horner returns the polynomial with the given coefficients, the highest power first.
func (e emit) horner(x reg.VecVirtual, coefficients ...float64) reg.VecVirtual {
	p := e.reg()
	e.mov(e.constant(coefficients[0]), p)
	for _, c := range coefficients[1:] {
		VFMADD213PS(e.constant(c), x, p)
	}
	return p
}

// choose returns yes where a predicate b holds, else no.
func (e emit) choose(predicate uint8, a, b Op, yes, no reg.VecVirtual) reg.VecVirtual {
	r := e.reg()
	if e.bytes == 64 {
		k := K()
		VCMPPS(U8(predicate), b, a, k)
		VBLENDMPS(yes, no, k, r)
		return r
	}
	is := e.reg()
	VCMPPS(U8(predicate), b, a, is)
	VBLENDVPS(is, yes, no, r)
	return r
}

const signBit = 0x80000000

func (e emit) abs(x reg.VecVirtual) reg.VecVirtual { return e.op(VANDPS, x, e.bits(signBit-1)) }

// exp is e^x = 2^n * e^r with n the integer nearest to x/ln 2 and |r| <= ln(2)/2; the polynomial is that of Cephes expf.
func exp(e emit, x reg.VecVirtual) reg.VecVirtual {
	// Beyond these bounds the result is infinity or 0 anyway. MINPS and MAXPS give their second source for NaN.
	high, low := e.reg(), e.reg()
	e.mov(e.constant(89), high)
	e.mov(e.constant(-104), low)
	r := e.op(VMINPS, high, x)
	r = e.op(VMAXPS, low, r)
	n := e.op(VMULPS, r, e.constant(math.Log2E))
	if e.bytes == 64 {
		VRNDSCALEPS(U8(8), n, n)
	} else {
		VROUNDPS(U8(8), n, n)
	}
	// ln 2 in two parts, the first of few bits, so that the product with n is exact.
	VFNMADD231PS(e.constant(0.693359375), n, r)
	VFNMADD231PS(e.constant(math.Ln2-0.693359375), n, r)
	p := e.horner(r, 1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
	square := e.op(VMULPS, r, r)
	VFMADD213PS(r, square, p) // p*r^2 + r
	p = e.op(VADDPS, p, e.constant(1))
	if e.bytes == 64 {
		return e.op(VSCALEFPS, p, n)
	}
	// 2^n in two factors, so that neither leaves the range of normal numbers.
	whole, half := e.reg(), e.reg()
	VCVTPS2DQ(n, whole)
	VPSRAD(U8(1), whole, half)
	rest := e.op(VPSUBD, whole, half)
	for _, power := range []reg.VecVirtual{half, rest} {
		VPADDD(e.bits(127), power, power)
		VPSLLD(U8(23), power, power)
		p = e.op(VMULPS, p, power)
	}
	return p
}

// tanh is x + x^3 P(x^2) for small |x| (Cephes tanhf), else 1 - 2/(e^2|x| + 1) with the sign of x.
func tanh(e emit, x reg.VecVirtual) reg.VecVirtual {
	a := e.abs(x)
	square := e.op(VMULPS, x, x)
	small := e.horner(square, -5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1)
	cube := e.op(VMULPS, square, x)
	VFMADD213PS(x, cube, small)

	power := exp(e, e.op(VADDPS, a, a))
	power = e.op(VADDPS, power, e.constant(1))
	two := e.reg()
	e.mov(e.constant(2), two)
	quotient := e.op(VDIVPS, two, power)
	unit := e.reg()
	e.mov(e.constant(1), unit)
	large := e.op(VSUBPS, unit, quotient)
	sign := e.op(VANDPS, x, e.bits(signBit))
	return e.op(VORPS, e.choose(less, a, e.constant(0.625), small, large), sign)
}

// sigmoid is 1/(1+z) for x >= 0, else z/(1+z), with z = e^-|x|: it loses no precision in the left tail.
func sigmoid(e emit, x reg.VecVirtual) reg.VecVirtual {
	z := exp(e, e.op(VORPS, x, e.bits(signBit)))
	unit, zero := e.reg(), e.reg()
	e.mov(e.constant(1), unit)
	VXORPS(zero, zero, zero)
	numerator := e.choose(less, x, zero, z, unit)
	return e.op(VDIVPS, numerator, e.op(VADDPS, z, unit))
}

// erf is x + x P(x^2) for |x| < 1, else 1 - e^-a^2 Q(1/(1 + a/2)) with a = min(|x|, 4) and the sign of x: erf(4) rounds to 1.
// Both polynomials are minimax fits (by iteratively reweighted least squares) of erf(x)/x - 1 and of e^a^2 erfc(a).
func erf(e emit, x reg.VecVirtual) reg.VecVirtual {
	if e.bytes == 64 {
		return erfByParts(e, x)
	}
	square := e.op(VMULPS, x, x)
	small := e.horner(square, 7.889119545e-05, -0.0008020841283, 0.00518953534, -0.02685444459, 0.1128360018, -0.3761262714, 0.128379166)
	VFMADD213PS(x, x, small)

	bound, unit, half := e.reg(), e.reg(), e.reg()
	e.mov(e.constant(4), bound)
	e.mov(e.constant(1), unit)
	e.mov(e.constant(0.5), half)
	abs := e.abs(x)
	a := e.op(VMINPS, bound, abs) // of NaN and 4, MINPS gives its second source
	t := e.reg()
	e.mov(unit, t)
	VFMADD231PS(half, a, t)
	t = e.op(VDIVPS, unit, t)
	q := e.horner(t, 0.1166291602, -0.4597050436, 0.5426665261, -0.08330341391, 0.335906937, 0.2638298803, 0.28411841, -8.950544128e-05)
	minus := e.op(VORPS, e.op(VMULPS, a, a), e.bits(signBit))
	large := e.reg()
	e.mov(unit, large)
	VFNMADD231PS(q, exp(e, minus), large)
	sign := e.op(VANDPS, x, e.bits(signBit))
	return e.op(VORPS, e.choose(less, abs, e.constant(1), e.abs(small), large), sign)
}

// erfParts has erf(k/4 + t), 0 <= t < 1/4, for k = 0, 1, ... 15 as polynomials in t, the highest power first: minimax fits of the
// relative error (by iteratively reweighted least squares). That of k = 0 is erf(t) - t, which keeps small results exact.
var erfParts = [][16]float64{
	{
		0.105946951, 0.0462760739, -0.0265809521, -0.0665819049, -0.0610670932, -0.0306805745, -0.00233656145, 0.0113077406,
		0.0124371219, 0.00836111046, 0.00423907256, 0.00172976963, 0.000585304108, 0.000166982412, 4.05843057e-05, 8.4622734e-06,
	},
	{
		0.00202440261, 0.136494353, 0.192107469, 0.153767198, 0.0665018857, -0.010807584, -0.04792092, -0.0492304601,
		-0.0341760814, -0.0184316318, -0.00811635517, -0.00298964255, -0.000934036972, -0.000249706703, -5.74687729e-05, -1.14353543e-05,
	},
	{
		-0.376332283, -0.310371399, -0.147584125, 0.0264369901, 0.13874118, 0.168136343, 0.139168128, 0.0902909338,
		0.0481826849, 0.021639891, 0.00828605238, 0.00272692763, 0.000775507069, 0.000191315485, 4.10576067e-05, 7.68157861e-06,
	},
	{
		7.00029887e-06, -0.264936417, -0.439328432, -0.482179612, -0.415130109, -0.295686424, -0.178419232, -0.092363596,
		-0.0413314104, -0.0160652567, -0.00544201955, -0.00161035277, -0.000416989322, -9.46115179e-05, -1.8828785e-05, -3.28935971e-06,
	},
	{
		0.128379136, 1.06001282, 0.878781319, 0.642930686, 0.415107995, 0.23652187, 0.118930787, 0.0527751446,
		0.0206669271, 0.00714221271, 0.00217820611, 0.000586237176, 0.000139236989, 2.91837787e-05, 5.39799703e-06, 8.81102949e-07,
	},
	{
		0, 0.276326388, 0.520499885, 0.711155653, 0.842700779, 0.92290014, 0.966105163, 0.986671686,
		0.995322287, 0.998537302, 0.999593019, 0.999899387, 0.999977887, 0.999995708, 0.999999285, 0.999999881,
	},
}

// erfByParts is erf for registers of sixteen lanes, which hold a table of a coefficient of all parts. Beyond 4 it is 1.
func erfByParts(e emit, x reg.VecVirtual) reg.VecVirtual {
	bound, k := e.reg(), K()
	e.mov(e.constant(float64(math.Nextafter32(4, 0))), bound)
	a := e.op(VMINPS, bound, e.abs(x)) // of NaN and the bound, MINPS gives its second source
	start := e.reg()
	VRNDSCALEPS(U8(2<<4|8|3), a, start) // towards zero, to a quarter
	t := e.op(VSUBPS, a, start)
	part := e.op(VADDPS, start, e.constant(1<<21)) // the last bits count quarters
	var p reg.VecVirtual
	for i, c := range erfParts {
		q := e.reg()
		if i == len(erfParts)-1 {
			e.mov(t, q)
			VCMPPS(U8(greater), e.bits(0), start, k)
			VPERMPS(lookup(c), part, k, q)
		} else {
			VPERMPS(lookup(c), part, q)
		}
		if p != nil {
			VFMADD213PS(q, t, p)
		} else {
			p = q
		}
	}
	return e.op(VORPS, p, e.op(VANDPS, x, e.bits(signBit)))
}

// lookups holds the tables already emitted into this file.
var lookups = map[[16]float64]Mem{}

// lookup is the address of a table of sixteen numbers.
func lookup(c [16]float64) Mem {
	if m, ok := lookups[c]; ok {
		return m
	}
	m := GLOBL(fmt.Sprintf("lookup%d", len(lookups)), attr.RODATA|attr.NOPTR)
	for i, v := range c {
		DATA(4*i, U32(math.Float32bits(float32(v))))
	}
	lookups[c] = m
	return m
}
