package kernel

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// rnnCase is a recurrent layer with random numbers; tensors that are nil are not given.
type rnnCase struct {
	op                           string
	gates                        int
	steps, batch, inputs, hidden int
	directions                   []bool // backward?
	batchFirst, lbr, coupled     bool
	clip                         float64
	x, w, r, b, h0, c0, p        *Tensor
	lengths                      *Tensor
}

func randomRNN[T amd64.Float](rng *rand.Rand) *rnnCase {
	flip := func() bool { return rng.IntN(2) == 0 }
	k := rng.IntN(3)
	o := &rnnCase{
		op: []string{"RNN", "GRU", "LSTM"}[k], gates: []int{1, 3, 4}[k],
		steps: rng.IntN(6), batch: 1 + rng.IntN(4), inputs: 1 + rng.IntN(5), hidden: 1 + rng.IntN(19),
		directions: [][]bool{{false}, {true}, {false, true}}[rng.IntN(3)], batchFirst: flip(), lbr: flip(), coupled: flip(),
	}
	if flip() {
		o.clip = 0.3
	}
	d, rows := len(o.directions), o.gates*o.hidden
	o.x, o.w, o.r = randomTensor[T](rng, o.steps, o.batch, o.inputs), randomTensor[T](rng, d, rows, o.inputs), randomTensor[T](rng, d, rows, o.hidden)
	state := []int{d, o.batch, o.hidden}
	if o.batchFirst {
		o.x, state = randomTensor[T](rng, o.batch, o.steps, o.inputs), []int{o.batch, d, o.hidden}
	}
	if flip() {
		o.b = randomTensor[T](rng, d, 2*rows)
	}
	if flip() {
		o.h0 = randomTensor[T](rng, state...)
	}
	if flip() {
		o.lengths = New(graph.Int32, o.batch)
		for i := range o.batch {
			Data[int32](o.lengths)[i] = int32(rng.IntN(o.steps + 1))
		}
	}
	if o.op == "LSTM" && flip() {
		o.c0 = randomTensor[T](rng, state...)
	}
	if o.op == "LSTM" && flip() {
		o.p = randomTensor[T](rng, d, 3*o.hidden)
	}
	return o
}

func (o *rnnCase) call(elem graph.Elem, p *Pool) opCase {
	d := len(o.directions)
	direction := "forward"
	if d == 2 {
		direction = "bidirectional"
	} else if o.directions[0] {
		direction = "reverse"
	}
	y, state, layout := []int{o.steps, d, o.batch, o.hidden}, []int{d, o.batch, o.hidden}, int64(0)
	if o.batchFirst {
		y, state, layout = []int{o.batch, o.steps, d, o.hidden}, []int{o.batch, d, o.hidden}, 1
	}
	c := opCase{
		op: o.op, pool: p, in: []*Tensor{o.x, o.w, o.r, o.b, o.lengths, o.h0},
		attrs: []graph.Attr{graph.S("direction", direction), graph.I("layout", layout), graph.I("hidden_size", int64(o.hidden))},
		out:   []Spec{{Present: true, Elem: elem, Shape: y}, {Present: true, Elem: elem, Shape: state}},
	}
	if o.clip > 0 {
		c.attrs = append(c.attrs, graph.F("clip", float32(o.clip)))
	}
	switch {
	case o.op == "LSTM":
		c.in = append(c.in, o.c0, o.p)
		c.out = append(c.out, Spec{Present: true, Elem: elem, Shape: state})
		if o.coupled {
			c.attrs = append(c.attrs, graph.I("input_forget", 1))
		}
	case o.op == "GRU" && o.lbr:
		c.attrs = append(c.attrs, graph.I("linear_before_reset", 1))
	}
	return c
}

// naive computes each sequence by itself, from ONNX's formulas: a backward direction reads the sequence reversed.
func (o *rnnCase) naive() (y, yh, yc []float64) {
	d := len(o.directions)
	y, yh, yc = make([]float64, o.steps*d*o.batch*o.hidden), make([]float64, d*o.batch*o.hidden), make([]float64, d*o.batch*o.hidden)
	x, h0, c0 := valuesOrNil(o.x), valuesOrNil(o.h0), valuesOrNil(o.c0)
	for dir := range d {
		for n := range o.batch {
			length := o.steps
			if o.lengths != nil {
				length = int(Data[int32](o.lengths)[n])
			}
			at := (dir*o.batch + n) * o.hidden
			if o.batchFirst {
				at = (n*d + dir) * o.hidden
			}
			h, c := make([]float64, o.hidden), make([]float64, o.hidden)
			if h0 != nil {
				copy(h, h0[at:])
			}
			if c0 != nil {
				copy(c, c0[at:])
			}
			for s := range length {
				t := s
				if o.directions[dir] {
					t = length - 1 - s
				}
				row, to := t*o.batch+n, ((t*d+dir)*o.batch+n)*o.hidden
				if o.batchFirst {
					row, to = n*o.steps+t, ((n*o.steps+t)*d+dir)*o.hidden
				}
				h, c = o.naiveStep(dir, x[row*o.inputs:(row+1)*o.inputs], h, c)
				copy(y[to:], h)
			}
			copy(yh[at:], h)
			copy(yc[at:], c)
		}
	}
	return y, yh, yc
}

func valuesOrNil(t *Tensor) []float64 {
	if t == nil {
		return nil
	}
	v, _ := t.Const().Float64s()
	return v
}

// naiveStep is one step of one sequence.
func (o *rnnCase) naiveStep(dir int, x, h, c []float64) (nextH, nextC []float64) {
	n, rows := o.hidden, o.gates*o.hidden
	w, r, b, p := valuesOrNil(o.w), valuesOrNil(o.r), valuesOrNil(o.b), valuesOrNil(o.p)
	fromX := func(g, j int) float64 {
		sum := 0.0
		for i, v := range x {
			sum += v * w[(dir*rows+g*n+j)*o.inputs+i]
		}
		if b != nil {
			sum += b[dir*2*rows+g*n+j]
		}
		return sum
	}
	fromH := func(g, j int, h []float64) float64 {
		sum := 0.0
		for i, v := range h {
			sum += v * r[(dir*rows+g*n+j)*n+i]
		}
		if b != nil {
			sum += b[dir*2*rows+rows+g*n+j]
		}
		return sum
	}
	peep := func(k, j int, c float64) float64 {
		if p == nil {
			return 0
		}
		return p[dir*3*n+k*n+j] * c
	}
	bound := func(v float64) float64 {
		if limit := float64(float32(o.clip)); limit > 0 {
			return math.Max(-limit, math.Min(limit, v))
		}
		return v
	}
	logistic := func(v float64) float64 { return 1 / (1 + math.Exp(-bound(v))) }
	tanh := func(v float64) float64 { return math.Tanh(bound(v)) }
	nextH, nextC = make([]float64, n), make([]float64, n)
	reset := make([]float64, n)
	for j := range n {
		if o.op == "GRU" {
			reset[j] = logistic(fromX(1, j) + fromH(1, j, h))
		}
	}
	gated := make([]float64, n)
	for j := range n {
		gated[j] = reset[j] * h[j]
	}
	for j := range n {
		switch o.op {
		case "RNN":
			nextH[j] = tanh(fromX(0, j) + fromH(0, j, h))
		case "GRU":
			z := logistic(fromX(0, j) + fromH(0, j, h))
			fresh := tanh(fromX(2, j) + fromH(2, j, gated))
			if o.lbr {
				fresh = tanh(fromX(2, j) + reset[j]*fromH(2, j, h))
			}
			nextH[j] = (1-z)*fresh + z*h[j]
		case "LSTM":
			in := logistic(fromX(0, j) + fromH(0, j, h) + peep(0, j, c[j]))
			forget := logistic(fromX(2, j) + fromH(2, j, h) + peep(2, j, c[j]))
			if o.coupled {
				forget = 1 - in
			}
			nextC[j] = forget*c[j] + in*tanh(fromX(3, j)+fromH(3, j, h))
			out := logistic(fromX(1, j) + fromH(1, j, h) + peep(1, j, nextC[j]))
			nextH[j] = out * tanh(nextC[j])
		}
	}
	return nextH, nextC
}

func checkRNN[T amd64.Float](t *testing.T, rng *rand.Rand, p *Pool, tol float64) {
	t.Helper()
	o := randomRNN[T](rng)
	out := o.call(graph.ElemOf[T](), p).run(t)
	y, h, c := o.naive()
	wantClose[T](t, o.op+" Y", out[0], y, tol)
	wantClose[T](t, o.op+" Y_h", out[1], h, tol)
	if o.op == "LSTM" {
		wantClose[T](t, "LSTM Y_c", out[2], c, tol)
	}
}

func TestRecurrent(t *testing.T) {
	forPools(t, func(t *testing.T, p *Pool) {
		rng := rand.New(rand.NewPCG(41, 42))
		for range 200 {
			checkRNN[float32](t, rng, p, 2e-6)
			checkRNN[float64](t, rng, p, 1e-13)
		}
	})
}

// TestRecurrentChunks has more gates than are computed ahead at a time.
func TestRecurrentChunks(t *testing.T) {
	rng := rand.New(rand.NewPCG(43, 44))
	const steps, batch, hidden = 70, 100, 100
	for _, batchFirst := range []bool{false, true} {
		o := &rnnCase{op: "GRU", gates: 3, steps: steps, batch: batch, inputs: 1, hidden: hidden, directions: []bool{true}, batchFirst: batchFirst}
		if 8*steps*batch*o.gates*hidden < 2*chunkBytes {
			t.Fatal("the gates are not more than two chunks")
		}
		o.x, o.w, o.r = randomTensor[float64](rng, steps, batch, 1), randomTensor[float64](rng, 1, 3*hidden, 1), New(graph.Float64, 1, 3*hidden, hidden)
		if batchFirst {
			o.x = randomTensor[float64](rng, batch, steps, 1)
		}
		for i := range 3 * hidden { // each unit sees itself alone
			Data[float64](o.r)[i*hidden+i%hidden] = 2*rng.Float64() - 1
		}
		out := o.call(graph.Float64, nil).run(t)
		x, w, r := Data[float64](o.x), Data[float64](o.w), Data[float64](o.r)
		h := Data[float64](out[1])
		for _, at := range [][2]int{{0, 0}, {41, 7}, {99, 99}} {
			n, j := at[0], at[1]
			one := &rnnCase{op: "GRU", gates: 3, steps: steps, batch: 1, inputs: 1, hidden: 1, directions: []bool{true}}
			one.x, one.w, one.r = New(graph.Float64, steps, 1, 1), New(graph.Float64, 1, 3, 1), New(graph.Float64, 1, 3, 1)
			for s := range steps {
				from := s*batch + n
				if batchFirst {
					from = n*steps + s
				}
				Data[float64](one.x)[s] = x[from]
			}
			for g := range 3 {
				Data[float64](one.w)[g], Data[float64](one.r)[g] = w[g*hidden+j], r[(g*hidden+j)*hidden+j]
			}
			_, want, _ := one.naive()
			wantClose[float64](t, "Y_h", Of(h[n*hidden+j:n*hidden+j+1], 1), want, 1e-12)
		}
	}
}

func TestRecurrentActivations(t *testing.T) {
	x := []float64{-3, -1, -0.2, 0, 0.4, 1, 2.5}
	for name, want := range map[string]func(x float64) float64{
		"Relu":            func(x float64) float64 { return math.Max(x, 0) },
		"Affine":          func(x float64) float64 { return 0.5*x + 0.25 },
		"LeakyRelu":       func(x float64) float64 { return math.Max(x, 0) + 0.5*math.Min(x, 0) },
		"ThresholdedRelu": func(x float64) float64 { return map[bool]float64{true: x}[x >= 0.5] },
		"ScaledTanh":      func(x float64) float64 { return 0.5 * math.Tanh(0.25*x) },
		"HardSigmoid":     func(x float64) float64 { return math.Max(0, math.Min(1, 0.5*x+0.25)) },
		"Elu":             func(x float64) float64 { return math.Max(x, 0) + 0.5*(math.Exp(math.Min(x, 0))-1) },
		"Softsign":        func(x float64) float64 { return x / (1 + math.Abs(x)) },
		"Softplus":        func(x float64) float64 { return math.Log(1 + math.Exp(x)) },
		"tanh":            math.Tanh,
		"SIGMOID":         func(x float64) float64 { return 1 / (1 + math.Exp(-x)) },
	} {
		c := opCase{
			op: "RNN", in: []*Tensor{Of(x, 1, len(x), 1), Of([]float64{1}, 1, 1, 1), Of([]float64{0}, 1, 1, 1)}, out: []Spec{outLike[float64](1, 1, len(x), 1)},
			attrs: []graph.Attr{graph.Ss("activations", name), graph.Fs("activation_alpha", 0.5), graph.Fs("activation_beta", 0.25)},
		}
		var values []float64
		for _, v := range x {
			values = append(values, want(v))
		}
		wantClose[float64](t, name, c.run(t)[0], values, 1e-14)
	}
}

func TestRecurrentRefuses(t *testing.T) {
	x, w, r := New(graph.Float32, 2, 1, 3), New(graph.Float32, 1, 4, 3), New(graph.Float32, 1, 4, 1)
	good := opCase{op: "LSTM", in: []*Tensor{x, w, r}, out: []Spec{outLike[float32](2, 1, 1, 1)}}
	good.run(t)
	for what, change := range map[string]func(o *opCase){
		"gates":       func(o *opCase) { o.op = "GRU" },
		"inputs":      func(o *opCase) { o.in = []*Tensor{New(graph.Float32, 2, 1, 4), w, r} },
		"bias":        func(o *opCase) { o.in = []*Tensor{x, w, r, New(graph.Float32, 1, 4)} },
		"direction":   func(o *opCase) { o.attrs = []graph.Attr{graph.S("direction", "up")} },
		"directions":  func(o *opCase) { o.attrs = []graph.Attr{graph.S("direction", "bidirectional")} },
		"activation":  func(o *opCase) { o.attrs = []graph.Attr{graph.Ss("activations", "Sigmoid", "Tanh", "Tan")} },
		"activations": func(o *opCase) { o.attrs = []graph.Attr{graph.Ss("activations", "Sigmoid")} },
		"lengths":     func(o *opCase) { o.in = []*Tensor{x, w, r, nil, New(graph.Int64, 1)} },
	} {
		o := good
		change(&o)
		if err := o.mustFail(t); err == nil {
			t.Error(what)
		}
	}
}

func TestRecurrentAllocatesNothing(t *testing.T) {
	forPools(t, func(t *testing.T, p *Pool) {
		rng := rand.New(rand.NewPCG(45, 46))
		for range 20 {
			if n := randomRNN[float32](rng).call(graph.Float32, p).allocs(t); n != 0 {
				t.Fatalf("%g allocations per run", n)
			}
		}
	})
}
