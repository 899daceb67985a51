package autodiff_test

import (
	"fmt"
	"strings"
)

// reduceSweep has the reductions with axes as attribute and as input, with and without dimensions kept.
func reduceSweep() []spec {
	ops := []string{"ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceSumSquare", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceProd"}
	var rows []spec
	for _, name := range ops {
		draw := map[string]string(nil)
		if name == "ReduceLogSum" {
			draw = map[string]string{"x": "positive"}
		}
		for keep := range 2 {
			for form, axes := range []string{"1", "-1, 0", "", "none", "empty"} {
				list, constants, in := []string{fmt.Sprintf("keepdims: int = %d", keep)}, "", "x"
				opset := 17 + keep
				byInput := opset >= 18 || name == "ReduceSum"
				switch {
				case form >= 3 && byInput:
					list = append(list, "noop_with_empty_axes: int = 1")
					if axes == "empty" {
						constants, in = " <int64[0] k = {}>", "x, k"
					}
				case form >= 3:
					continue
				case axes != "" && byInput:
					constants, in = fmt.Sprintf(" <int64[%d] k = {%s}>", 1+strings.Count(axes, ","), axes), "x, k"
				case axes != "":
					list = append(list, "axes: ints = ["+axes+"]")
				}
				a := attrs(list...)
				rows = append(rows, spec{
					op: name, name: fmt.Sprintf("opset %d %s(%s)%s", opset, a, in, constants), opset: opset, draw: draw,
					sig: "(double[2,3,2] x) => (z)" + constants, body: fmt.Sprintf("z = %s%s(%s)", name, a, in),
				})
			}
		}
		rows = append(rows, spec{
			op: name, name: "computed axes", opset: 18, draw: draw,
			sig:  "(double[2,3,2] x) => (z) <int64[1] k = {1}>",
			body: fmt.Sprintf("s = Shape(x) n = Slice(s, k, t, o) m = Sub(n, t) z = %s<keepdims: int = 0>(x, m)", name),
		})
		last := &rows[len(rows)-1]
		last.sig = "(double[2,3,2] x) => (z) <int64[1] k = {1}, int64[1] t = {2}, int64[1] o = {0}>"
	}
	return rows
}

// padSweep has Pad in its modes, with amounts known and computed, over all axes and over some.
func padSweep() []spec {
	var rows []spec
	for _, p := range cycle(40, 4, 2, 2, 3) {
		mode, computed, some := []string{"constant", "reflect", "edge", "wrap"}[p[0]], p[1] == 1, p[2] == 1
		amounts, axes, n := []string{"1, 0, 2, 0, 1, 2", "0, 2, 1, 1, 0, 0", "-1, 0, 1, 1, 0, -2"}[p[3]], "", 6
		if some {
			amounts, axes, n = []string{"1, 2, 2, 0", "2, 0, 0, 1", "1, -1, 0, 1"}[p[3]], ", int64[2] a = {2, -3}", 4
		}
		sig, in := "(double[4,3,4] x) => (z)", "x, k"
		if mode == "constant" {
			sig, in = "(double[4,3,4] x, double v) => (z)", "x, k, v"
		}
		if some {
			in += strings.Repeat(", ", 4-strings.Count(in, ",")-1)
			in = strings.TrimRight(in, ", ") + map[bool]string{true: ", a", false: ", , a"}[mode == "constant"]
		}
		body := ""
		if computed { // an amount that is known at run time only
			in, body = strings.Replace(in, "k", "q", 1), "s = Size(x) e = Sub(s, s) q = Add(k, e) "
		}
		a := attrs(`mode: string = "` + mode + `"`)
		rows = append(rows, spec{
			op: "Pad", name: fmt.Sprintf("%s {%s} (%s)", mode, amounts, in), opset: 19,
			sig:  fmt.Sprintf("%s <int64[%d] k = {%s}%s>", sig, n, amounts, axes),
			body: body + fmt.Sprintf("z = Pad%s(%s)", a, in),
		})
	}
	return rows
}

// indexSweep has the operators that pick and place by index, along each axis.
func indexSweep() []spec {
	var rows []spec
	for axis := -3; axis < 3; axis++ {
		a := attrs(fmt.Sprintf("axis: int = %d", axis))
		for _, k := range []string{"int64 k = {1}", "int64[2] k = {1, -2}", "int32[2,1] k = {0, 0}", "int64[0] k = {}"} {
			rows = append(rows, spec{op: "Gather", name: a + " " + k, sig: "(double[2,3,2] x) => (z) <" + k + ">", body: "z = Gather" + a + "(x, k)"})
		}
		rows = append(rows,
			spec{op: "GatherElements", name: a, sig: "(double[2,3,2] x) => (z) <int64[1,2,2] k = {0, 1, -1, 1}>", body: "z = GatherElements" + a + "(x, k)"},
			spec{op: "TopK", name: a, sig: "(double[3,3,3] x) => (z) <int64[1] k = {2}>", body: "z, i = TopK" + a + "(x, k)"},
			spec{op: "Softmax", name: a, sig: "(double[2,3,2] x) => (z)", body: "z = Softmax" + a + "(x)"},
			spec{op: "LogSoftmax", name: a, sig: "(double[2,3,2] x) => (z)", body: "z = LogSoftmax" + a + "(x)"},
			spec{op: "LpNormalization", name: a, sig: "(double[2,3,2] x) => (z)", body: "z = LpNormalization" + a + "(x)"},
			spec{op: "Concat", name: a, sig: "(double[2,3,2] x, double[2,3,2] y) => (z)", body: "z = Concat" + a + "(x, y, x)"},
			spec{op: "OneHot", name: a, sig: "(double[2] x) => (z) <int64[2,2] i = {0, -1, 1, 5}, int64 d = {3}>", body: "y = OneHot" + a + "(i, d, x) z = Mul(y, y)"},
		)
		for form := range 4 {
			e, r := form&1, form>>1
			c := fmt.Sprintf("<exclusive: int = %d, reverse: int = %d>", e, r)
			k := fmt.Sprintf(" <int64 k = {%d}>", axis)
			rows = append(rows, spec{op: "CumSum", name: c + k, sig: "(double[2,3,2] x) => (z)" + k, body: "z = CumSum" + c + "(x, k)"})
			if axis >= 0 {
				rows = append(rows, spec{op: "CumProd", name: c + k, opset: 26, order: 1, sig: "(double[2,3,2] x) => (z)" + k, body: "z = CumProd" + c + "(x, k)"})
			}
		}
		for _, reduction := range []string{"none", "add", "mul", "min", "max"} {
			b := attrs(fmt.Sprintf("axis: int = %d", axis), `reduction: string = "`+reduction+`"`)
			k := "int64[2,2,1] k = {0, 1, 1, 0}"
			rows = append(rows, spec{op: "ScatterElements", name: b, opset: 18, sig: "(double[2,3,2] x, double[2,2,1] y) => (z) <" + k + ">", body: "z = ScatterElements" + b + "(x, k, y)"})
		}
	}
	for _, reduction := range []string{"none", "add", "mul", "min", "max"} {
		b := attrs(`reduction: string = "` + reduction + `"`)
		for depth, shape := range []string{"double[2,1,3,2] y", "double[2,1,2] y", "double[2,1] y"} {
			k := fmt.Sprintf("int64[2,1,%d] k = {%s}", depth+1, []string{"1, 0", "0, 2, 1, 1", "1, 2, 0, 0, 1, 1"}[depth])
			rows = append(rows, spec{op: "ScatterND", name: b + " " + k, opset: 18, sig: "(double[2,3,2] x, " + shape + ") => (z) <" + k + ">", body: "z = ScatterND" + b + "(x, k, y)"})
		}
	}
	return rows
}

// einsumSweep has equations of all kinds.
func einsumSweep() []spec {
	var rows []spec
	for _, c := range []struct{ equation, x, y string }{
		{"i,j->ij", "2", "3"},
		{"ij,kj->ik", "2,3", "4,3"},
		{"bij,bjk->bik", "2,2,3", "2,3,2"},
		{"...ij,...jk->...ik", "2,2,3", "3,2"},
		{"...ij,...jk->...ik", "2,1,2,3", "3,3,2"},
		{"i...,i...->...", "2,3", "2,3"},
		{"...,...", "2,3", "3"},
		{"ij,ij->", "2,3", "2,3"},
		{"ij,ij->i", "1,3", "2,3"},
		{"ii,i->i", "3,3", "3"},
		{"iij,jj->ij", "2,2,3", "3,3"},
		{"ijij,ij->ij", "2,3,2,3", "2,3"},
		{"bhqd,bhkd->bhqk", "1,2,2,3", "1,2,3,3"},
		{"ji,k->", "2,3", "4"},
		{"ba,ac", "2,3", "3,2"},
		{" i j , j -> i ", "2,3", "3"},
		{"...ii->...i", "2,3,3", ""},
		{"ii", "3,3", ""},
		{"ij->ji", "2,3", ""},
		{"...j->...", "2,3", ""},
		{"iji->j", "2,3,2", ""},
	} {
		sig, in := "(double["+c.x+"] x) => (z)", "x"
		if c.y != "" {
			sig, in = "(double["+c.x+"] x, double["+c.y+"] y) => (z)", "x, y"
		}
		rows = append(rows, spec{
			op: "Einsum", name: c.equation + " " + c.x + " " + c.y, sig: sig,
			body: fmt.Sprintf(`a = Einsum<equation: string = "%s">(%s) z = Mul(a, a)`, c.equation, in), fixed: "x y",
		})
	}
	return rows
}
