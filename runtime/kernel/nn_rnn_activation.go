package kernel

import (
	"math"
	"slices"
	"strings"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// activation applies a function in place.
type activation[T amd64.Float] func(x []T)

// rnnFunction is an activation of the recurrent operators with the default values of its parameters.
type rnnFunction struct {
	alpha, beta float64
	params      int // how many of alpha and beta it takes
	f           func(alpha, beta, x float64) float64
}

// rnnFunctions are the activations that ONNX names for RNN, GRU and LSTM.
var rnnFunctions = map[string]rnnFunction{
	"relu":            {f: func(_, _, x float64) float64 { return max(x, 0) }},
	"tanh":            {f: func(_, _, x float64) float64 { return math.Tanh(x) }},
	"sigmoid":         {f: func(_, _, x float64) float64 { return sigmoid(x) }},
	"affine":          {alpha: 1, params: 2, f: func(a, b, x float64) float64 { return a*x + b }},
	"leakyrelu":       {alpha: 0.01, params: 1, f: func(a, _, x float64) float64 { return pickFloat(x >= 0, x, a*x) }},
	"thresholdedrelu": {alpha: 1, params: 1, f: func(a, _, x float64) float64 { return pickFloat(x >= a, x, 0) }},
	"scaledtanh":      {alpha: 1, beta: 1, params: 2, f: func(a, b, x float64) float64 { return a * math.Tanh(b*x) }},
	"hardsigmoid":     {alpha: 0.2, beta: 0.5, params: 2, f: func(a, b, x float64) float64 { return min(max(a*x+b, 0), 1) }},
	"elu":             {alpha: 1, params: 1, f: func(a, _, x float64) float64 { return pickFloat(x >= 0, x, a*math.Expm1(x)) }},
	"softsign":        {f: func(_, _, x float64) float64 { return x / (1 + math.Abs(x)) }},
	"softplus":        {f: func(_, _, x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }},
}

func pickFloat(first bool, a, b float64) float64 {
	if first {
		return a
	}
	return b
}

// readActivations reads the activations of all directions, with their parameters: activation_alpha and activation_beta
// list values for those functions only that take them.
func readActivations[T amd64.Float](c *Call, defaults []string, directions int) ([]activation[T], error) {
	names := slices.Repeat(defaults, directions)
	if a, ok := c.Node.Attr("activations"); ok {
		names = a.Strings
	}
	if want := directions * len(defaults); len(names) != want {
		return nil, c.Errorf(graph.ErrInvalid, "%d activations, want %d", len(names), want)
	}
	alphas, betas := floatList(c, "activation_alpha"), floatList(c, "activation_beta")
	var acts []activation[T]
	for _, name := range names {
		f, ok := rnnFunctions[strings.ToLower(name)]
		if !ok {
			return nil, c.Errorf(graph.ErrInvalid, "activation %q is not one of ONNX's", name)
		}
		if f.params > 0 && len(alphas) > 0 {
			f.alpha, alphas = float64(alphas[0]), alphas[1:]
		}
		if f.params > 1 && len(betas) > 0 {
			f.beta, betas = float64(betas[0]), betas[1:]
		}
		acts = append(acts, activationOf[T](c.Pool, strings.ToLower(name), f))
	}
	return acts, nil
}

func floatList(c *Call, name string) []float32 {
	a, _ := c.Node.Attr(name)
	return a.Floats
}

// activationOf is the function on slices of T: the vector kernel where there is one.
func activationOf[T amd64.Float](pool *Pool, name string, f rnnFunction) activation[T] {
	var fast func(dst, x []float32)
	switch k := pool.Kernels(); name {
	case "tanh":
		fast = k.Tanh
	case "sigmoid":
		fast = k.Sigmoid
	}
	if fast != nil {
		var vector any = activation[float32](func(x []float32) { fast(x, x) })
		if a, ok := vector.(activation[T]); ok {
			return a
		}
	}
	alpha, beta, g := f.alpha, f.beta, f.f
	return func(x []T) {
		for i, v := range x {
			x[i] = T(g(alpha, beta, float64(v)))
		}
	}
}
