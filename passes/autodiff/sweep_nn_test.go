package autodiff_test

import (
	"fmt"
	"strings"
)

// normSweep has the normalisations over axes and shapes.
func normSweep() []spec {
	var rows []spec
	for axis := -3; axis < 3; axis++ {
		dims := []string{"2", "3", "2"}[(axis+3)%3:]
		shape := "double[" + strings.Join(dims, ",") + "]"
		a := attrs(fmt.Sprintf("axis: int = %d", axis), "epsilon: float = 0.01")
		rows = append(rows,
			spec{op: "LayerNormalization", name: a, sig: "(double[2,3,2] x, " + shape + " s, " + shape + " b) => (z)", body: "z = LayerNormalization" + a + "(x, s, b)"},
			spec{op: "RMSNormalization", name: a, opset: 23, sig: "(double[2,3,2] x, " + shape + " s) => (z)", body: "z = RMSNormalization" + a + "(x, s)"},
		)
	}
	for _, shape := range []string{"3,4", "2,4,3", "2,4,2,3", "1,4,2,1,2"} {
		rows = append(rows,
			spec{op: "BatchNormalization", name: "training " + shape, sig: "(double[" + shape + "] x, double[4] s, double[4] b, double[4] m, double[4] v) => (z, rm, rv)", body: "z, rm, rv = BatchNormalization<training_mode: int = 1, momentum: float = 0.8>(x, s, b, m, v)", draw: map[string]string{"v": "positive"}},
			spec{op: "BatchNormalization", name: "frozen " + shape, sig: "(double[" + shape + "] x, double[4] s, double[4] b, double[4] m, double[4] v) => (z)", body: "z = BatchNormalization(x, s, b, m, v)", draw: map[string]string{"v": "positive"}},
			spec{op: "LRN", name: shape, sig: "(double[" + shape + "] x) => (z)", body: "z = LRN<size: int = 3, alpha: float = 0.3, beta: float = 0.5>(x)"},
		)
		if strings.Count(shape, ",") > 1 {
			rows = append(rows, spec{op: "InstanceNormalization", name: shape, sig: "(double[" + shape + "] x, double[4] s, double[4] b) => (z)", body: "z = InstanceNormalization<epsilon: float = 0.1>(x, s, b)"})
		}
		for _, groups := range []int{1, 2, 4} {
			if strings.Count(shape, ",") < 2 && groups == 4 { // every value is its own mean
				continue
			}
			a := fmt.Sprintf("<num_groups: int = %d, epsilon: float = 0.1>", groups)
			rows = append(rows, spec{op: "GroupNormalization", name: shape + " " + a, opset: 21, sig: "(double[" + shape + "] x, double[4] s, double[4] b) => (z)", body: "z = GroupNormalization" + a + "(x, s, b)"})
		}
	}
	return rows
}

// lossSweep has the losses with ranks, reductions, ignored labels and class weights.
func lossSweep() []spec {
	var rows []spec
	for _, p := range cycle(72, 2, 3, 3, 2, 3) {
		name, reduction := []string{"SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss"}[p[0]], []string{"mean", "sum", "none"}[p[1]]
		list := []string{`reduction: string = "` + reduction + `"`}
		shape, labels, count := []string{"4,3", "2,3,2", "1,3,2,2"}[p[2]], []string{"4", "2,2", "1,2,2"}[p[2]], "0, 2, 1, 2"
		if p[3] == 1 {
			list, count = append(list, "ignore_index: int = -100"), "0, -100, 1, 2"
		}
		sig, in, constants := "(double["+shape+"] x) => (z)", "x, t", ""
		switch p[4] {
		case 1:
			sig, in = "(double["+shape+"] x, double[3] w) => (z)", "x, t, w"
		case 2:
			in, constants = "x, t, w", ", double[3] w = {0.5, 1, 2}"
		}
		a := attrs(list...)
		rows = append(rows, spec{
			op: name, name: fmt.Sprintf("%s %s (%s)%s", shape, a, in, constants), draw: map[string]string{"w": "positive"},
			sig:  fmt.Sprintf("%s <int64[%s] t = {%s}%s>", sig, labels, count, constants),
			body: fmt.Sprintf("z = %s%s(%s)", name, a, in),
		})
	}
	return rows
}

// attentionSweep has Attention with its layouts, masks, groups and caches.
func attentionSweep() []spec {
	var rows []spec
	for _, p := range cycle(60, 2, 2, 4, 2, 2, 2, 4) {
		joint, groups, mask, causal, softcap, past, mode := p[0] == 1, p[1]+1, p[2], p[3], p[4], p[5] == 1, p[6]
		keys := 3
		if past {
			keys = 5
		}
		list := []string{fmt.Sprintf("is_causal: int = %d", causal), fmt.Sprintf("softcap: float = %d.5", softcap-(1-softcap))}
		if softcap == 0 {
			list = list[:1]
		}
		if mode < 3 && (causal == 1 || mask == 2) {
			mode = 3 // masked scores are infinite
		}
		list = append(list, fmt.Sprintf("qk_matmul_output_mode: int = %d", mode))
		sig := fmt.Sprintf("double[2,%d,2,3] q, double[2,2,3,3] k, double[2,2,3,2] v", 2*groups)
		if joint {
			sig = fmt.Sprintf("double[2,2,%d] q, double[2,3,6] k, double[2,3,4] v", 6*groups)
			list = append(list, fmt.Sprintf("q_num_heads: int = %d, kv_num_heads: int = 2", 2*groups))
		}
		in, constants, out := []string{"q", "k", "v", "", "", ""}, "", "y, , , s"
		switch mask {
		case 1:
			sig, in[3] = sig+fmt.Sprintf(", double[2,1,2,%d] m", keys), "m"
		case 2:
			in[3], constants = "m", fmt.Sprintf(" <bool[2,%d] m = {%s}>", keys, strings.Repeat("1, 1, 0, 1, 1, ", 2)[:6*keys-2])
		case 3:
			sig, in[3] = sig+fmt.Sprintf(", double[%d] m", keys), "n"
		}
		body := ""
		if mask == 3 {
			body = "n = Expand(m, e) "
			constants = fmt.Sprintf(" <int64[2] e = {2, %d}>", keys)
		}
		if past {
			sig, in[4], in[5], out = sig+", double[2,2,2,3] pk, double[2,2,2,2] pv", "pk", "pv", "y, nk, nv, s"
		}
		a := attrs(list...)
		rows = append(rows, spec{
			op: "Attention", name: strings.Join(in, ",") + fmt.Sprintf(" %d ", groups) + a + constants, opset: 24,
			sig:  "(" + sig + ") => (" + strings.ReplaceAll(out, " , ,", "") + ")" + constants,
			body: body + out + " = Attention" + a + "(" + strings.TrimRight(strings.Join(in, ", "), ", ") + ")",
		})
	}
	return rows
}

// gridSweep has GridSample in its modes.
func gridSweep() []spec {
	var rows []spec
	for _, p := range cycle(36, 3, 3, 2, 2) {
		mode, pad, align, axes := []string{"nearest", "linear", "cubic"}[p[0]], []string{"zeros", "border", "reflection"}[p[1]], p[2], p[3]+1
		a := attrs(`mode: string = "`+mode+`"`, `padding_mode: string = "`+pad+`"`, fmt.Sprintf("align_corners: int = %d", align))
		rows = append(rows, spec{
			op: "GridSample", name: fmt.Sprintf("%d-d %s", axes, a), opset: 20, draw: map[string]string{"y": []string{"pixels", "corners"}[align]},
			sig:  fmt.Sprintf("(double[2,2,%s] x, double[2,%s,%d] y) => (z)", strings.Trim(list(axes, 4), "[]"), strings.Trim(list(axes, 3), "[]"), axes),
			body: "z = GridSample" + a + "(x, y)",
		})
	}
	return rows
}
