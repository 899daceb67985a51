package passes_test

import (
	"math"
	"math/cmplx"
	"math/rand/v2"
	"slices"
)

// Reference networks: plain Go on complex numbers, one example at a time. A derivative is the imaginary part of the
// result after an imaginary step of size tiny, which has no rounding error to speak of (Squire & Trapp 1998). Nothing
// here shares code with the compiler.

const tiny = 1e-40

type vec = []complex128

// tap is one use of a layer: its input and where its output sits in the order of uses.
type tap struct{ a []float64 }

// ref is one evaluation of a network.
type ref struct {
	w     map[string]vec
	taps  map[string][]tap
	layer string // the output whose entry gets the imaginary step: coordinate coord of use number use
	use   int
	coord int
}

// out records a use of a layer and applies the step to its output z.
func (r *ref) out(layer string, a, z vec) vec {
	use := len(r.taps[layer])
	r.taps[layer] = append(r.taps[layer], tap{reals(a)})
	if layer == r.layer && use == r.use {
		z = slices.Clone(z)
		z[r.coord] += complex(0, tiny)
	}
	return z
}

// linear is W a + b with W [o, i]; b may be "".
func (r *ref) linear(layer, w, b string, a vec) vec {
	o := len(r.w[w]) / len(a)
	z := make(vec, o)
	for j := range z {
		for i := range a {
			z[j] += r.w[w][j*len(a)+i] * a[i]
		}
		if b != "" {
			z[j] += r.w[b][j]
		}
	}
	return r.out(layer, a, z)
}

// linearIO is a W with W [i, o].
func (r *ref) linearIO(layer, w string, a vec) vec {
	o := len(r.w[w]) / len(a)
	z := make(vec, o)
	for j := range z {
		for i := range a {
			z[j] += r.w[w][i*o+j] * a[i]
		}
	}
	return r.out(layer, a, z)
}

func tanhs(z vec) vec {
	out := make(vec, len(z))
	for i := range z {
		out[i] = cmplx.Tanh(z[i])
	}
	return out
}

// normalise is the layer normalisation of z with scale w and shift b.
func (r *ref) normalise(layer, w, b string, z vec) vec {
	var mean, variance complex128
	for _, x := range z {
		mean += x / complex(float64(len(z)), 0)
	}
	for _, x := range z {
		variance += (x - mean) * (x - mean) / complex(float64(len(z)), 0)
	}
	unit, out := make(vec, len(z)), make(vec, len(z))
	for i, x := range z {
		unit[i] = (x - mean) / cmplx.Sqrt(variance+0.125)
		out[i] = unit[i]*r.w[w][i] + r.w[b][i]
	}
	return r.out(layer, unit, out)
}

func meanOf(zs []vec) vec {
	out := make(vec, len(zs[0]))
	for _, z := range zs {
		for i := range z {
			out[i] += z[i] / complex(float64(len(zs)), 0)
		}
	}
	return out
}

func reals(z vec) []float64 {
	out := make([]float64, len(z))
	for i := range z {
		out[i] = real(z[i])
	}
	return out
}

// layerRef says how a layer's parameters and statistics look.
type layerRef struct {
	name, kind string // kind: linear (also convolutions and embeddings) or unit
	w, b       string
	io         bool // W is [in, out]
}

// net is a reference network with its model in text form.
type net struct {
	name    string
	body    string
	shapes  map[string][]int
	x       []int // shape of one example
	tokens  int   // inputs are integers below this
	classes int
	rows    int // rows of the loss of one example
	layers  []layerRef
	// forward gives the logits of one example, one vector a row.
	forward func(r *ref, x vec) []vec
}

func (n *net) params(rng *rand.Rand) arrays {
	ps := arrays{}
	for _, name := range sortedKeys(n.shapes) {
		ps[name] = normals(rng, n.shapes[name]...)
		for i := range ps[name].v {
			ps[name].v[i] *= 0.5
		}
	}
	return ps
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func (n *net) inputs(rng *rand.Rand, batch int) array {
	shape := append([]int{batch}, n.x...)
	if n.tokens > 0 {
		return labels(rng, n.tokens, shape...)
	}
	return normals(rng, shape...)
}

// labelShape is the shape of integer labels of a batch.
func (n *net) labelShape(batch int) []int {
	if n.rows > 1 {
		return []int{batch, n.rows}
	}
	return []int{batch}
}

// run evaluates the network on a batch: all rows of logits, in order.
func (n *net) run(r *ref, x array) []vec {
	batch := x.shape[0]
	size := len(x.v) / batch
	var rows []vec
	r.taps = map[string][]tap{}
	for i := range batch {
		in := make(vec, size)
		for j := range in {
			in[j] = complex(x.v[i*size+j], 0)
		}
		rows = append(rows, n.forward(r, in)...)
	}
	return rows
}

func complexes(ps arrays) map[string]vec {
	out := map[string]vec{}
	for name, a := range ps {
		v := make(vec, len(a.v))
		for i := range v {
			v[i] = complex(a.v[i], 0)
		}
		out[name] = v
	}
	return out
}

// logits are the real logits of a batch.
func (n *net) logits(ps arrays, x array) [][]float64 {
	var out [][]float64
	for _, z := range n.run(&ref{w: complexes(ps)}, x) {
		out = append(out, reals(z))
	}
	return out
}

// objective gives the loss of each row from its logits.
type objective func(row int, z vec) complex128

// perRow is the gradient of each row's loss in all parameters: [row] -> parameter -> gradient.
func (n *net) perRow(ps arrays, x array, loss objective) []arrays {
	w := complexes(ps)
	out := make([]arrays, x.shape[0]*n.rows)
	for i := range out {
		out[i] = arrays{}
		for name, p := range ps {
			out[i][name] = newArray(p.shape...)
		}
	}
	for name := range ps {
		for j := range w[name] {
			w[name][j] += complex(0, tiny)
			for row, z := range n.run(&ref{w: w}, x) {
				out[row][name].v[j] = imag(loss(row, z)) / tiny
			}
			w[name][j] = complex(real(w[name][j]), 0)
		}
	}
	return out
}

// gradient is the sum of perRow.
func (n *net) gradient(ps arrays, x array, loss objective) arrays {
	sum := arrays{}
	for _, g := range n.perRow(ps, x, loss) {
		for name, a := range g {
			if sum[name].v == nil {
				sum[name] = newArray(a.shape...)
			}
			for i, v := range a.v {
				sum[name].v[i] += v
			}
		}
	}
	return sum
}

// tapped are the uses of one layer: inputs and gradients of the summed loss in the outputs, and the example of each.
type tapped struct {
	a, g    [][]float64
	example []int
}

// capture collects inputs and output gradients of a layer with o outputs.
func (n *net) capture(ps arrays, x array, layer string, o int, loss objective) tapped {
	w := complexes(ps)
	base := &ref{w: w}
	n.run(base, x)
	var out tapped
	uses := len(base.taps[layer])
	for u, tp := range base.taps[layer] {
		g := make([]float64, o)
		for c := range g {
			for row, z := range n.run(&ref{w: w, layer: layer, use: u, coord: c}, x) {
				g[c] += imag(loss(row, z)) / tiny
			}
		}
		out.a, out.g = append(out.a, tp.a), append(out.g, g)
		out.example = append(out.example, u*x.shape[0]/uses)
	}
	return out
}

// Losses of one row.

func crossEntropyLoss(z vec, label int, smoothing float64) complex128 {
	var sum complex128
	for _, x := range z {
		sum += cmplx.Exp(x)
	}
	norm := cmplx.Log(sum)
	loss := complex(1-smoothing, 0) * (norm - z[label])
	for _, x := range z {
		loss += complex(smoothing/float64(len(z)), 0) * (norm - x)
	}
	return loss
}

func crossEntropyOf(target array) objective {
	return func(row int, z vec) complex128 { return crossEntropyLoss(z, int(target.v[row]), 0) }
}

func softmax(z []float64) []float64 {
	p := make([]float64, len(z))
	sum := 0.0
	for i, x := range z {
		p[i] = math.Exp(x)
		sum += p[i]
	}
	for i := range p {
		p[i] /= sum
	}
	return p
}

// along is the loss whose gradient in the logits of a row is that row of seeds.
func along(seeds [][]float64) objective {
	return func(row int, z vec) complex128 {
		var sum complex128
		for c, x := range z {
			sum += complex(seeds[row][c], 0) * x
		}
		return sum
	}
}

// The networks.

func mlpNet() *net {
	return &net{
		name: "mlp",
		body: `(double[N,3] x) => (double[N,3] y) PARAMS {
			h = Gemm <transB: int = 1> (x, "fc1.weight", "fc1.bias")  a = Tanh (h)  y = Gemm <transB: int = 1> (a, "fc2.weight", "fc2.bias") }`,
		shapes: map[string][]int{"fc1.weight": {4, 3}, "fc1.bias": {4}, "fc2.weight": {3, 4}, "fc2.bias": {3}},
		x:      []int{3}, classes: 3, rows: 1,
		layers: []layerRef{{name: "fc1", w: "fc1.weight", b: "fc1.bias"}, {name: "fc2", w: "fc2.weight", b: "fc2.bias"}},
		forward: func(r *ref, x vec) []vec {
			return []vec{r.linear("fc2", "fc2.weight", "fc2.bias", tanhs(r.linear("fc1", "fc1.weight", "fc1.bias", x)))}
		},
	}
}

// sequenceNet has linear layers at three positions, a layer normalisation, and a loss at each position, or of the mean
// over positions.
func sequenceNet(pooled bool) *net {
	n := &net{
		name: "sequence",
		body: `(double[N,3,2] x) => (double[N,3,4] y) PARAMS {
			h = MatMul (x, "in.weight")  u = LayerNormalization <epsilon: float = 0.125> (h, "norm.weight", "norm.bias")  a = Tanh (u)
			t = Transpose <perm: ints = [1,0]> ("out.weight")  m = MatMul (a, t)  y = Add (m, "out.bias") }`,
		shapes: map[string][]int{"in.weight": {2, 4}, "norm.weight": {4}, "norm.bias": {4}, "out.weight": {4, 4}, "out.bias": {4}},
		x:      []int{3, 2}, classes: 4, rows: 3,
		layers: []layerRef{{name: "in", w: "in.weight", io: true}, {name: "norm", kind: "unit", w: "norm.weight", b: "norm.bias"}, {name: "out", w: "out.weight", b: "out.bias"}},
	}
	n.forward = func(r *ref, x vec) []vec {
		var rows []vec
		for t := range 3 {
			a := tanhs(r.normalise("norm", "norm.weight", "norm.bias", r.linearIO("in", "in.weight", x[2*t:2*t+2])))
			rows = append(rows, r.linear("out", "out.weight", "out.bias", a))
		}
		return rows
	}
	if pooled {
		n.name, n.rows = "pooled sequence", 1
		n.body = `(double[N,3,2] x) => (double[N,4] p) PARAMS {
			h = MatMul (x, "in.weight")  u = LayerNormalization <epsilon: float = 0.125> (h, "norm.weight", "norm.bias")  a = Tanh (u)
			t = Transpose <perm: ints = [1,0]> ("out.weight")  m = MatMul (a, t)  y = Add (m, "out.bias")  p = ReduceMean <axes: ints = [1], keepdims: int = 0> (y) }`
		each := n.forward
		n.forward = func(r *ref, x vec) []vec { return []vec{meanOf(each(r, x))} }
	}
	return n
}

// convNet is a 2x2 convolution with stride 1, a pad on top and left, two input channels, then a mean over pixels of a
// 1x1 convolution.
func convNet() *net {
	return &net{
		name: "conv",
		body: `(double[N,2,3,3] x) => (double[N,3] y) PARAMS {
			h = Conv <kernel_shape: ints = [2,2], pads: ints = [1,1,0,0], strides: ints = [1,2]> (x, "c1.weight", "c1.bias")  a = Tanh (h)
			z = Conv <kernel_shape: ints = [1,1]> (a, "c2.weight")  y = ReduceMean <axes: ints = [2,3], keepdims: int = 0> (z) }`,
		shapes: map[string][]int{"c1.weight": {2, 2, 2, 2}, "c1.bias": {2}, "c2.weight": {3, 2, 1, 1}},
		x:      []int{2, 3, 3}, classes: 3, rows: 1,
		layers: []layerRef{{name: "c1", w: "c1.weight", b: "c1.bias"}, {name: "c2", w: "c2.weight"}},
		forward: func(r *ref, x vec) []vec {
			at := func(c, i, j int) complex128 {
				if i < 0 || j < 0 {
					return 0
				}
				return x[9*c+3*i+j]
			}
			var pixels []vec
			for i := range 3 {
				for j := range 2 {
					var patch vec
					for c := range 2 {
						for ki := range 2 {
							for kj := range 2 {
								patch = append(patch, at(c, i+ki-1, 2*j+kj-1))
							}
						}
					}
					pixels = append(pixels, r.linear("c2", "c2.weight", "", tanhs(r.linear("c1", "c1.weight", "c1.bias", patch))))
				}
			}
			return []vec{meanOf(pixels)}
		},
	}
}

// tokenNet embeds three tokens and reads their mean; the embedding has a row that no example uses.
func tokenNet() *net {
	return &net{
		name: "tokens",
		body: `(int64[N,3] x) => (double[N,3] y) PARAMS {
			e = Gather <axis: int = 0> ("emb.weight", x)  a = Tanh (e)  p = ReduceMean <axes: ints = [1], keepdims: int = 0> (a)
			y = Gemm <transB: int = 1> (p, "fc.weight", "fc.bias") }`,
		shapes: map[string][]int{"emb.weight": {5, 2}, "fc.weight": {3, 2}, "fc.bias": {3}},
		x:      []int{3}, tokens: 4, classes: 3, rows: 1,
		layers: []layerRef{{name: "emb", w: "emb.weight", io: true}, {name: "fc", w: "fc.weight", b: "fc.bias"}},
		forward: func(r *ref, x vec) []vec {
			var es []vec
			for _, id := range x {
				hot := make(vec, 5)
				hot[int(real(id))] = 1
				es = append(es, tanhs(r.linearIO("emb", "emb.weight", hot)))
			}
			return []vec{r.linear("fc", "fc.weight", "fc.bias", meanOf(es))}
		},
	}
}

// tiedNet applies one linear layer twice.
func tiedNet() *net {
	return &net{
		name: "tied",
		body: `(double[N,3] x) => (double[N,3] y) PARAMS {
			h = Gemm <transB: int = 1> (x, "fc.weight", "fc.bias")  a = Tanh (h)  y = Gemm <transB: int = 1> (a, "fc.weight", "fc.bias") }`,
		shapes: map[string][]int{"fc.weight": {3, 3}, "fc.bias": {3}},
		x:      []int{3}, classes: 3, rows: 1,
		layers: []layerRef{{name: "fc", w: "fc.weight", b: "fc.bias"}},
		forward: func(r *ref, x vec) []vec {
			return []vec{r.linear("fc", "fc.weight", "fc.bias", tanhs(r.linear("fc", "fc.weight", "fc.bias", x)))}
		},
	}
}

func allNets() []*net {
	return []*net{mlpNet(), sequenceNet(false), sequenceNet(true), convNet(), tokenNet(), tiedNet()}
}
