package main

import (
	"fmt"
	"strings"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// An elementwise kernel computes its results lane by lane. The first slice parameter gives the length.
type elementwise struct {
	name    string
	doc     string
	slices  []string // parameters, float32 slices
	scalars []string // parameters, float32
	results []string // the slices that body's values are stored to
	body    func(e emit, x map[string]reg.VecVirtual) []reg.VecVirtual
}

var elementwises = []elementwise{
	binary("add", "x + y", VADDPS),
	binary("sub", "x - y", VSUBPS),
	binary("mul", "x * y", VMULPS),
	binary("div", "x / y", VDIVPS),
	{
		name: "scale", doc: "dst = a*x", slices: []string{"dst", "x"}, scalars: []string{"a"}, results: []string{"dst"},
		body: func(e emit, x map[string]reg.VecVirtual) []reg.VecVirtual {
			return one(e.op(VMULPS, x["x"], x["a"]))
		},
	},
	scalar("shift", "x + a", func(e emit, x, a reg.VecVirtual) reg.VecVirtual { return e.op(VADDPS, x, a) }),
	scalar("subFrom", "a - x", func(e emit, x, a reg.VecVirtual) reg.VecVirtual { return e.op(VSUBPS, a, x) }),
	scalar("divBy", "x / a", func(e emit, x, a reg.VecVirtual) reg.VecVirtual { return e.op(VDIVPS, x, a) }),
	scalar("divInto", "a / x", func(e emit, x, a reg.VecVirtual) reg.VecVirtual { return e.op(VDIVPS, a, x) }),
	unary("sqrt", "the square root of x", func(e emit, x reg.VecVirtual) reg.VecVirtual {
		r := e.reg()
		VSQRTPS(x, r)
		return r
	}),
	unary("neg", "-x", func(e emit, x reg.VecVirtual) reg.VecVirtual { return e.op(VXORPS, x, e.bits(signBit)) }),
	{
		name: "center", doc: "dst = (x - m)*a + b", slices: []string{"dst", "x"}, scalars: []string{"m", "a", "b"}, results: []string{"dst"},
		body: func(e emit, x map[string]reg.VecVirtual) []reg.VecVirtual {
			d := e.op(VSUBPS, x["x"], x["m"])
			VFMADD213PS(x["b"], x["a"], d)
			return one(d)
		},
	},
	{
		name: "centerGrad", doc: "dst = dy*a - (x - m)*b - c", slices: []string{"dst", "dy", "x"}, scalars: []string{"m", "a", "b", "c"}, results: []string{"dst"},
		body: func(e emit, x map[string]reg.VecVirtual) []reg.VecVirtual {
			d := e.op(VSUBPS, x["x"], x["m"])
			VFMSUB213PS(x["c"], x["a"], x["dy"]) // dy*a - c
			VFNMADD213PS(x["dy"], x["b"], d)     // that - d*b
			return one(d)
		},
	},
	{
		name: "axpy", doc: "y = a*x + y", slices: []string{"y", "x"}, scalars: []string{"a"}, results: []string{"y"},
		body: func(e emit, x map[string]reg.VecVirtual) []reg.VecVirtual {
			VFMADD231PS(x["x"], x["a"], x["y"])
			return one(x["y"])
		},
	},
	{
		name: "momentum", doc: "v = mu*v + g, w = w - lr*v",
		slices: []string{"w", "v", "g"}, scalars: []string{"lr", "mu"}, results: []string{"v", "w"},
		body: func(e emit, x map[string]reg.VecVirtual) []reg.VecVirtual {
			VFMADD213PS(x["g"], x["mu"], x["v"])
			VFNMADD231PS(x["v"], x["lr"], x["w"])
			return []reg.VecVirtual{x["v"], x["w"]}
		},
	},
	{
		name: "relu", doc: "dst = x if x is not less than 0, else 0", slices: []string{"dst", "x"}, results: []string{"dst"},
		body: func(e emit, x map[string]reg.VecVirtual) []reg.VecVirtual {
			zero := e.reg()
			VXORPS(zero, zero, zero)
			return one(e.op(VMAXPS, zero, x["x"])) // of NaN and 0, MAXPS gives its second source
		},
	},
	{
		name: "reluGrad", doc: "dst = dy where x > 0, else 0", slices: []string{"dst", "dy", "x"}, results: []string{"dst"},
		body: func(e emit, x map[string]reg.VecVirtual) []reg.VecVirtual {
			zero := e.reg()
			VXORPS(zero, zero, zero)
			return one(e.choose(greater, x["x"], zero, x["dy"], zero))
		},
	},
	unary("exp", "e^x", exp),
	unary("tanh", "the hyperbolic tangent of x", tanh),
	unary("sigmoid", "1 / (1 + e^-x)", sigmoid),
	unary("erf", "the error function of x", erf),
	{
		name: "expSub", doc: "dst = e^(x - a)", slices: []string{"dst", "x"}, scalars: []string{"a"}, results: []string{"dst"},
		body: func(e emit, x map[string]reg.VecVirtual) []reg.VecVirtual {
			return one(exp(e, e.op(VSUBPS, x["x"], x["a"])))
		},
	},
}

func one(r reg.VecVirtual) []reg.VecVirtual { return []reg.VecVirtual{r} }

func binary(name, formula string, f func(...Op)) elementwise {
	return elementwise{
		name: name, doc: "dst = " + formula, slices: []string{"dst", "x", "y"}, results: []string{"dst"},
		body: func(e emit, x map[string]reg.VecVirtual) []reg.VecVirtual { return one(e.op(f, x["x"], x["y"])) },
	}
}

func scalar(name, formula string, f func(e emit, x, a reg.VecVirtual) reg.VecVirtual) elementwise {
	return elementwise{
		name: name, doc: "dst = " + formula, slices: []string{"dst", "x"}, scalars: []string{"a"}, results: []string{"dst"},
		body: func(e emit, x map[string]reg.VecVirtual) []reg.VecVirtual { return one(f(e, x["x"], x["a"])) },
	}
}

func unary(name, formula string, f func(e emit, x reg.VecVirtual) reg.VecVirtual) elementwise {
	return elementwise{
		name: name, doc: "dst = " + formula, slices: []string{"dst", "x"}, results: []string{"dst"},
		body: func(e emit, x map[string]reg.VecVirtual) []reg.VecVirtual { return one(f(e, x["x"])) },
	}
}

// vector emits the vector part: element-wise kernels and reductions on float32.
func vector() {
	for _, s := range []isa{avx512, avx2} {
		e := emit{unit{s, f32}}
		for _, k := range elementwises {
			e.elementwise(k)
		}
		for _, r := range reductions {
			e.reduction(r)
		}
	}
}

const unroll = 4

// walk emits the loops over n elements: four vectors at a time, one, and the masked rest. step gets the masks and the
// displacements of its vectors from the running offset.
func (e emit) walk(n, offset reg.GPVirtual, step func(disp, vector int, mask reg.Register)) {
	advance := func(vecs int) {
		ADDQ(U32(uint32(vecs*e.bytes)), offset)
		SUBQ(U8(uint8(vecs*e.lanes())), n)
	}
	XORQ(offset, offset)
	Label("four")
	CMPQ(n, U8(uint8(unroll*e.lanes())))
	JLT(LabelRef("one"))
	for v := range unroll {
		step(v*e.bytes, v, nil)
	}
	advance(unroll)
	JMP(LabelRef("four"))
	Label("one")
	CMPQ(n, U8(uint8(e.lanes())))
	JLT(LabelRef("rest"))
	step(0, 0, nil)
	advance(1)
	JMP(LabelRef("one"))
	Label("rest")
	TESTQ(n, n)
	JZ(LabelRef("end"))
	step(0, 0, e.mask(n))
	Label("end")
}

// slice loads the base of a slice parameter.
func slice(name string) reg.GPVirtual {
	r := GP64()
	Load(Param(name).Base(), r)
	return r
}

func length(name string) reg.GPVirtual {
	r := GP64()
	Load(Param(name).Len(), r)
	return r
}

func (e emit) elementwise(k elementwise) {
	signature := fmt.Sprintf("func(%s []float32", strings.Join(k.slices, ", "))
	if len(k.scalars) > 0 {
		signature += fmt.Sprintf(", %s float32", strings.Join(k.scalars, ", "))
	}
	text(k.name+e.set, signature+")")
	Doc(fmt.Sprintf("%s computes %s, for every element of %s.", k.name+e.set, k.doc, k.slices[0]))
	base := map[string]reg.GPVirtual{}
	for _, s := range k.slices {
		base[s] = slice(s)
	}
	scalar := map[string]reg.VecVirtual{}
	for _, s := range k.scalars {
		at, err := Param(s).Resolve()
		must(err)
		scalar[s] = e.reg()
		e.bcast(at.Addr, scalar[s])
	}
	n, offset := length(k.slices[0]), GP64()
	e.walk(n, offset, func(disp, _ int, mask reg.Register) {
		at := func(s string) Mem { return Mem{Base: base[s], Index: offset, Scale: 1, Disp: disp} }
		x := map[string]reg.VecVirtual{}
		for _, s := range k.scalars {
			x[s] = scalar[s]
		}
		for _, s := range k.slices {
			if s == "dst" {
				continue
			}
			x[s] = e.reg()
			e.load(at(s), mask, x[s])
		}
		for i, v := range k.body(e, x) {
			e.store(v, mask, at(k.results[i]))
		}
	})
	VZEROUPPER()
	RET()
}
