package kernel

import "github.com/asdlc/asdlc/runtime/kernel/amd64"

// makeRNN is ONNX RNN: h = f(X W^T + Wb + H R^T + Rb).
func makeRNN[T amd64.Float](c *Call) (Run, error) {
	return makeRecurrent(c, 1, []string{"Tanh"}, cell[T]{own: 1, after: func(r *recurrent[T], n int) {
		h := r.gate(0, n)
		r.activate(0, h)
		copy(r.row(r.at.h, n), h)
	}})
}

// makeGRU is ONNX GRU, gates z, r, h (Cho et al. 2014, arXiv:1406.1078); with linear_before_reset the reset gate
// multiplies the product with the state, else the state.
func makeGRU[T amd64.Float](c *Call) (Run, error) {
	cl := cell[T]{own: 2, before: gruReset[T], after: gruAfter[T], apart: c.Node.Int("linear_before_reset", 0) != 0}
	return makeRecurrent(c, 3, []string{"Sigmoid", "Tanh"}, cl)
}

// gruReset computes the gates z and r, and what of the state the reset gate lets through.
func gruReset[T amd64.Float](r *recurrent[T], n int) {
	reset := r.gate(1, n)
	r.activate(0, r.gate(0, n))
	r.activate(0, reset)
	extra := r.row(r.at.extra, n)
	if !r.cell.apart {
		h := r.row(r.at.h, n)
		for i := range extra {
			extra[i] = reset[i] * h[i]
		}
		return
	}
	if r.at.rbias != nil {
		for i := range extra {
			extra[i] += r.at.rbias[i]
		}
	}
	pre := r.gate(2, n)
	for i := range pre {
		pre[i] += reset[i] * extra[i]
	}
}

func gruAfter[T amd64.Float](r *recurrent[T], n int) {
	z, next, h := r.gate(0, n), r.gate(2, n), r.row(r.at.h, n)
	r.activate(1, next)
	for i := range h {
		h[i] = (1-z[i])*next[i] + z[i]*h[i]
	}
}

// makeLSTM is ONNX LSTM, gates i, o, f, c, with peepholes Pi, Po, Pf (Gers & Schmidhuber 2000).
func makeLSTM[T amd64.Float](c *Call) (Run, error) {
	coupled := c.Node.Int("input_forget", 0) != 0
	return makeRecurrent(c, 4, []string{"Sigmoid", "Tanh", "Tanh"}, cell[T]{own: 4, after: func(r *recurrent[T], n int) {
		lstmAfter(r, n, coupled)
	}})
}

func lstmAfter[T amd64.Float](r *recurrent[T], n int, coupled bool) {
	in, out, forget, fresh := r.gate(0, n), r.gate(1, n), r.gate(2, n), r.gate(3, n)
	c, h := r.row(r.at.c, n), r.row(r.at.h, n)
	peep, size := r.at.peep, r.hidden
	if peep != nil {
		addProducts(in, peep[:size], c)
		addProducts(forget, peep[2*size:], c)
	}
	r.activate(0, in)
	r.activate(0, forget)
	r.activate(1, fresh)
	for i := range c {
		f := forget[i]
		if coupled {
			f = 1 - in[i]
		}
		c[i] = f*c[i] + in[i]*fresh[i]
	}
	if peep != nil {
		addProducts(out, peep[size:2*size], c)
	}
	r.activate(0, out)
	copy(fresh, c)
	r.activate(2, fresh)
	for i := range h {
		h[i] = out[i] * fresh[i]
	}
}

// addProducts adds a*b to dst, element by element.
func addProducts[T amd64.Float](dst, a, b []T) {
	for i := range dst {
		dst[i] += a[i] * b[i]
	}
}
