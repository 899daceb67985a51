package autodiff_test

import (
	"fmt"
	"slices"
	"strings"
)

// cycle is all combinations of one entry of each list, thinned to about n by a step that meets all pairs of neighbours.
func cycle(n int, lists ...int) [][]int {
	total := 1
	for _, k := range lists {
		total *= k
	}
	step := max(1, total/n) | 1
	for gcd(step, total) != 1 {
		step += 2
	}
	var picks [][]int
	for i := 0; i < min(n, total); i++ {
		at, pick := i*step%total, make([]int, len(lists))
		for j, k := range lists {
			pick[j] = at % k
			at /= k
		}
		picks = append(picks, pick)
	}
	return picks
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// list is n numbers that cycle through v, as an attribute's value.
func list(n int, v ...int) string {
	s := make([]string, n)
	for i := range s {
		s[i] = fmt.Sprint(v[i%len(v)])
	}
	return "[" + strings.Join(s, ",") + "]"
}

// sizes is a shape of the leading dimensions and n numbers that cycle through v.
func sizes(lead string, n int, v ...int) string {
	return "double[" + lead + "," + strings.Trim(list(n, v...), "[]") + "]"
}

// padding are the forms of padding of n axes.
func padding(n, form int) string {
	return []string{
		"",
		"pads: ints = " + list(2*n, 1),
		"pads: ints = " + list(2*n, 0, 1, 1),
		`auto_pad: string = "SAME_UPPER"`,
		`auto_pad: string = "SAME_LOWER"`,
		`auto_pad: string = "VALID"`,
	}[form]
}

// attrs joins attributes that are not empty.
func attrs(list ...string) string {
	list = slices.DeleteFunc(list, func(s string) bool { return s == "" })
	if len(list) == 0 {
		return ""
	}
	return "<" + strings.Join(list, ", ") + ">"
}

// convSweep has Conv and ConvTranspose in 1, 2 and 3 dimensions with strides, dilations, padding and groups.
func convSweep() []spec {
	var rows []spec
	for _, p := range cycle(60, 3, 2, 2, 6, 3) {
		n, stride, dilation, group := p[0]+1, p[1]+1, p[2]+1, []int{1, 2, 4}[p[4]]
		a := attrs(padding(n, p[3]), "strides: ints = "+list(n, stride, 1), "dilations: ints = "+list(n, dilation, 1), fmt.Sprintf("group: int = %d", group))
		rows = append(rows, spec{
			op: "Conv", name: fmt.Sprintf("%d-d %s", n, a), fixed: "w",
			sig:  fmt.Sprintf("(%s x, %s w, double[4] b) => (z)", sizes("2,4", n, 6, 5, 4), sizes(fmt.Sprintf("4,%d", 4/group), n, 2, 3, 2)),
			body: fmt.Sprintf("z = Conv%s(x, w, b)", a),
		})
	}
	for _, p := range cycle(48, 3, 2, 2, 6, 2, 2) {
		n, stride, dilation, group := p[0]+1, p[1]+1, p[2]+1, p[4]+1
		more := ""
		if p[5] == 1 && stride > 1 {
			more = "output_padding: ints = " + list(n, 1, 0)
		}
		a := attrs(padding(n, p[3]), "strides: ints = "+list(n, stride, 1), "dilations: ints = "+list(n, dilation, 1), fmt.Sprintf("group: int = %d", group), more)
		rows = append(rows, spec{
			op: "ConvTranspose", name: fmt.Sprintf("%d-d %s", n, a), fixed: "w",
			sig:  fmt.Sprintf("(%s x, %s w, double[%d] b) => (z)", sizes("1,2", n, 3, 4, 2), sizes("2,2", n, 3, 2), 2*group),
			body: fmt.Sprintf("z = ConvTranspose%s(x, w, b)", a),
		})
	}
	return rows
}

// poolSweep has the pooling operators.
func poolSweep() []spec {
	var rows []spec
	for _, p := range cycle(90, 3, 3, 2, 2, 6, 2, 2) {
		n, stride, dilation := p[1]+1, p[2]+1, p[3]+1
		more := []string{fmt.Sprintf("storage_order: int = %d", p[6]), fmt.Sprintf("count_include_pad: int = %d", p[6]), fmt.Sprintf("p: int = %d", p[6]+2)}[p[0]]
		ceil := ""
		if p[5] == 1 && p[4] < 3 {
			ceil = "ceil_mode: int = 1"
		}
		a := attrs(padding(n, p[4]), "kernel_shape: ints = "+list(n, 3, 2), "strides: ints = "+list(n, stride, 2), "dilations: ints = "+list(n, dilation, 1), ceil, more)
		name := []string{"MaxPool", "AveragePool", "LpPool"}[p[0]]
		rows = append(rows, spec{
			op: name, name: fmt.Sprintf("%d-d %s", n, a), opset: 19,
			sig:  fmt.Sprintf("(%s x) => (z)", sizes("1,2", n, 6, 7, 5)),
			body: fmt.Sprintf("z = %s%s(x)", name, a),
		})
	}
	return rows
}

// resizeSweep has Resize in all its modes.
func resizeSweep() []spec {
	transforms := []string{"half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_half_pixel_for_nn", "tf_crop_and_resize"}
	nearest := []string{"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"}
	var rows []spec
	for _, p := range cycle(70, 3, len(transforms), len(nearest), 2, 2, 2, 3) {
		mode := []string{"nearest", "linear", "cubic"}[p[0]]
		more := []string{`mode: string = "` + mode + `"`, `coordinate_transformation_mode: string = "` + transforms[p[1]] + `"`}
		if mode == "nearest" {
			more = append(more, `nearest_mode: string = "`+nearest[p[2]]+`"`)
		} else if transforms[p[1]] != "tf_crop_and_resize" {
			more = append(more, fmt.Sprintf("antialias: int = %d", p[4]))
		}
		if mode == "cubic" {
			more = append(more, fmt.Sprintf("exclude_outside: int = %d, cubic_coeff_a: float = -0.5", p[5]))
		}
		scales, target, in := "float[4] s = {1, 1, 1.75, 0.6}", "int64[4] s = {1, 2, 7, 3}", "s"
		roi := "float[8] r = {0, 0, 0.2, -0.1, 1, 1, 0.9, 1.1}"
		switch p[6] {
		case 1:
			more = append(more, "axes: ints = [-1, 2]")
			scales, target, roi = "float[2] s = {0.6, 1.75}", "int64[2] s = {3, 7}", "float[4] r = {-0.1, 0.2, 1.1, 0.9}"
		case 2:
			if p[3] == 1 && transforms[p[1]] != "tf_crop_and_resize" {
				more = append(more, "axes: ints = [2, 3]", `keep_aspect_ratio_policy: string = "`+[]string{"not_larger", "not_smaller"}[p[4]]+`"`)
				target = "int64[2] s = {7, 6}"
			}
		}
		constant := scales
		if p[3] == 1 {
			constant, in = target, ", s"
		}
		a := attrs(more...)
		rows = append(rows, spec{
			op: "Resize", name: fmt.Sprintf("%s %s", constant, a), opset: 18, fixed: "x",
			sig:  fmt.Sprintf("(double[1,2,4,5] x) => (z) <%s, %s>", constant, roi),
			body: fmt.Sprintf("z = Resize%s(x, r, %s)", a, in),
		})
	}
	return rows
}
