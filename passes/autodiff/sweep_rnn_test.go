package autodiff_test

import (
	"fmt"
	"strings"
)

// rnnSweep has the recurrent operators with their inputs and attributes.
func rnnSweep() []spec {
	kinds := []struct {
		op    string
		gates int
		acts  [][]string // of one direction
	}{
		{"RNN", 1, [][]string{nil, {"Softsign"}, {"Affine"}}},
		{"GRU", 3, [][]string{nil, {"HardSigmoid", "ScaledTanh"}, {"Sigmoid", "Elu"}}},
		{"LSTM", 4, [][]string{nil, {"HardSigmoid", "Softsign", "ScaledTanh"}, {"Sigmoid", "Tanh", "Softplus"}}},
	}
	var rows []spec
	for _, p := range cycle(72, 3, 3, 2, 2, 2, 2, 2, 3, 2) {
		k := kinds[p[0]]
		direction, layout, lengths, clip, initial, bias, acts, special := []string{"forward", "reverse", "bidirectional"}[p[1]], p[2], p[3] == 1, p[4], p[5] == 1, p[6] == 1, k.acts[p[7]], p[8] == 1
		ways := 1 + p[1]/2
		x, state := "double[3,2,2]", fmt.Sprintf("double[%d,2,2]", ways)
		if layout == 1 {
			x, state = "double[2,3,2]", fmt.Sprintf("double[2,%d,2]", ways)
		}
		list := []string{"hidden_size: int = 2", `direction: string = "` + direction + `"`, fmt.Sprintf("layout: int = %d", layout)}
		if clip == 1 {
			list = append(list, "clip: float = 1.3")
		}
		if acts != nil {
			names := strings.Repeat(`, "`+strings.Join(acts, `", "`)+`"`, ways)
			list = append(list, "activations: strings = ["+names[2:]+"]", "activation_alpha: floats = [0.4, 0.7, 0.5, 0.6]", "activation_beta: floats = [0.3, 0.8, 0.45, 0.9]")
		}
		sig := []string{x + " x", fmt.Sprintf("double[%d,%d,2] w", ways, 2*k.gates), fmt.Sprintf("double[%d,%d,2] r", ways, 2*k.gates)}
		in, constants := []string{"x", "w", "r", "", "", ""}, ""
		if bias {
			sig, in[3] = append(sig, fmt.Sprintf("double[%d,%d] b", ways, 4*k.gates)), "b"
		}
		if lengths {
			in[4], constants = "n", " <int32[2] n = {3, 2}>"
		}
		if initial {
			sig, in[5] = append(sig, state+" h"), "h"
		}
		out := "y, yh"
		switch {
		case k.op == "GRU" && special:
			list = append(list, "linear_before_reset: int = 1")
		case k.op == "LSTM":
			out = "y, yh, yc"
			in = append(in, "", "")
			if initial {
				sig, in[6] = append(sig, state+" c"), "c"
			}
			if special {
				sig, in[7] = append(sig, fmt.Sprintf("double[%d,6] p", ways)), "p"
			} else {
				list = append(list, "input_forget: int = 1")
			}
		}
		a := attrs(list...)
		rows = append(rows, spec{
			op: k.op, name: strings.Join(in, ",") + " " + a, order: 1,
			sig:  "(" + strings.Join(sig, ", ") + ") => (" + out + ")" + constants,
			body: fmt.Sprintf("%s = %s%s(%s)", out, k.op, a, strings.Join(in, ", ")),
			draw: map[string]string{"w": "small", "r": "small", "b": "small", "p": "small"},
		})
	}
	for i := 0; i < len(rows); i += 7 {
		rows[i].order = 0
	}
	return rows
}
