package kernel

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// attentionCase is an Attention of random geometry; maskShape is nil where there is no mask.
type attentionCase struct {
	batch, heads, group, rows, past, keys, size, vsize int
	joint, causal, boolean                             bool
	softcap                                            float64
	mode                                               int
	maskShape                                          []int
	known                                              []int64
}

func randomAttention(rng *rand.Rand) *attentionCase {
	flip := func() bool { return rng.IntN(2) == 0 }
	a := &attentionCase{
		batch: 1 + rng.IntN(2), heads: 1 + rng.IntN(2), group: 1 + rng.IntN(3), rows: 1 + rng.IntN(5), keys: 1 + rng.IntN(5),
		size: 1 + rng.IntN(5), vsize: 1 + rng.IntN(5), joint: flip(), causal: flip(), boolean: flip(), mode: rng.IntN(4),
	}
	if flip() {
		a.past = rng.IntN(4)
	}
	if flip() {
		a.softcap = 0.5
	}
	if flip() {
		a.maskShape = [][]int{
			{a.rows, a.past + a.keys}, {1, a.past + a.keys}, {a.heads * a.group, a.rows, a.past + a.keys}, {a.batch, 1, a.rows, a.past + a.keys}, {a.rows, 1 + rng.IntN(a.past+a.keys)},
		}[rng.IntN(5)]
	}
	if flip() {
		for range a.batch {
			a.known = append(a.known, 1+rng.Int64N(int64(a.past+a.keys)))
		}
	}
	return a
}

// call draws the inputs.
func (a *attentionCase) call(elem graph.Elem, random func(shape ...int) *Tensor, rng *rand.Rand, p *Pool) opCase {
	q, total := a.heads*a.group, a.past+a.keys
	tensor := func(heads, length, size int) *Tensor {
		if a.joint {
			return random(a.batch, length, heads*size)
		}
		return random(a.batch, heads, length, size)
	}
	o := opCase{op: "Attention", opset: 24, pool: p, in: []*Tensor{tensor(q, a.rows, a.size), tensor(a.heads, a.keys, a.size), tensor(a.heads, a.keys, a.vsize), nil, nil, nil, nil}}
	y := []int{a.batch, q, a.rows, a.vsize}
	if a.joint {
		y = []int{a.batch, a.rows, q * a.vsize}
		o.attrs = append(o.attrs, graph.I("q_num_heads", int64(q)), graph.I("kv_num_heads", int64(a.heads)))
	}
	o.attrs = append(o.attrs, graph.F("softcap", float32(a.softcap)), graph.I("qk_matmul_output_mode", int64(a.mode)))
	if a.causal {
		o.attrs = append(o.attrs, graph.I("is_causal", 1))
	}
	if a.maskShape != nil {
		o.in[attnMask] = random(a.maskShape...)
		if a.boolean {
			o.in[attnMask] = New(graph.Bool, a.maskShape...)
			for i := range Data[bool](o.in[attnMask]) {
				Data[bool](o.in[attnMask])[i] = rng.IntN(3) > 0
			}
		}
	}
	if a.past > 0 {
		o.in[attnPastK], o.in[attnPastV] = random(a.batch, a.heads, a.past, a.size), random(a.batch, a.heads, a.past, a.vsize)
	}
	if a.known != nil {
		o.in[attnKnown] = Of(a.known, a.batch)
	}
	o.out = []Spec{
		{Present: true, Elem: elem, Shape: y},
		{Present: rng.IntN(2) == 0, Elem: elem, Shape: []int{a.batch, a.heads, total, a.size}},
		{Present: rng.IntN(2) == 0, Elem: elem, Shape: []int{a.batch, a.heads, total, a.vsize}},
		{Present: true, Elem: elem, Shape: []int{a.batch, q, a.rows, total}},
	}
	return o
}

// at is an element of queries, keys or values.
func (a *attentionCase) at(x []float64, heads, length, size, b, h, t, i int) float64 {
	if a.joint {
		return x[((b*length+t)*heads+h)*size+i]
	}
	return x[((b*heads+h)*length+t)*size+i]
}

// naive is the output, the scores that the case shows, and the joined keys.
func (a *attentionCase) naive(in []*Tensor) (y, shown, keys []float64) {
	q, total := a.heads*a.group, a.past+a.keys
	x := make([][]float64, len(in))
	for i, t := range in[:6] {
		if t != nil && t.Elem != graph.Bool {
			x[i] = valuesOrNil(t)
		}
	}
	side := func(i, size, b, h, t, k int) float64 {
		if t < a.past {
			return x[i+3][((b*a.heads+h)*a.past+t)*size+k]
		}
		return a.at(x[i], a.heads, a.keys, size, b, h, t-a.past, k)
	}
	y = make([]float64, a.batch*q*a.rows*a.vsize)
	for b := range a.batch {
		for h := range a.heads {
			for t := range total {
				for k := range a.size {
					keys = append(keys, side(1, a.size, b, h, t, k))
				}
			}
		}
	}
	for b := range a.batch {
		for h := range q {
			for i := range a.rows {
				row, sum := make([]float64, total), 0.0
				for j := range row {
					for k := range a.size {
						row[j] += a.at(x[0], q, a.rows, a.size, b, h, i, k) * side(1, a.size, b, h/a.group, j, k)
					}
					row[j] /= math.Sqrt(float64(a.size))
					stages := []float64{row[j]}
					if a.softcap > 0 {
						row[j] = a.softcap * math.Tanh(row[j]/a.softcap)
					}
					stages = append(stages, row[j])
					row[j] += a.bias(in, x[attnMask], b, h, i, j)
					stages = append(stages, row[j])
					sum += math.Exp(row[j])
					if a.mode < 3 {
						shown = append(shown, stages[a.mode])
					}
				}
				for j := range row {
					if row[j] = math.Exp(row[j]) / sum; sum == 0 {
						row[j] = 0 // nothing to look at
					}
					for k := range a.vsize {
						to := ((b*q+h)*a.rows+i)*a.vsize + k
						if a.joint {
							to = ((b*a.rows+i)*q+h)*a.vsize + k
						}
						y[to] += row[j] * side(2, a.vsize, b, h/a.group, j, k)
					}
				}
				if a.mode == 3 {
					shown = append(shown, row...)
				}
			}
		}
	}
	return y, shown, keys
}

// bias is what the mask and the other conditions add to a score.
func (a *attentionCase) bias(in []*Tensor, mask []float64, b, h, i, j int) float64 {
	last := i + a.past
	if a.known != nil && a.past == 0 {
		last = i + int(a.known[b]) - a.rows
	}
	if a.causal && j > last || a.known != nil && int64(j) >= a.known[b] {
		return math.Inf(-1)
	}
	if a.maskShape == nil {
		return 0
	}
	s := append([]int{1, 1, 1, 1}[:4-len(a.maskShape)], a.maskShape...)
	if j >= s[3] {
		return math.Inf(-1)
	}
	at := ((min(b, s[0]-1)*s[1]+min(h, s[1]-1))*s[2]+min(i, s[2]-1))*s[3] + j
	switch {
	case !a.boolean:
		return mask[at]
	case Data[bool](in[attnMask])[at]:
		return 0
	}
	return math.Inf(-1)
}

func checkAttention[T amd64.Float](t *testing.T, a *attentionCase, rng *rand.Rand, p *Pool, tol float64) {
	t.Helper()
	o := a.call(graph.ElemOf[T](), func(shape ...int) *Tensor { return randomTensor[T](rng, shape...) }, rng, p)
	out := o.run(t)
	y, shown, keys := a.naive(o.in)
	wantClose[T](t, "Y", out[0], y, tol)
	wantClose[T](t, "scores", out[3], shown, tol)
	if out[1] != nil {
		wantClose[T](t, "present_key", out[1], keys, 0)
	}
}

func TestAttention(t *testing.T) {
	forPools(t, func(t *testing.T, p *Pool) {
		rng := rand.New(rand.NewPCG(61, 62))
		for range 300 {
			a := randomAttention(rng)
			checkAttention[float32](t, a, rng, p, 5e-6)
			checkAttention[float64](t, a, rng, p, 1e-13)
		}
	})
}

func TestAttentionAllocatesNothing(t *testing.T) {
	forPools(t, func(t *testing.T, p *Pool) {
		rng := rand.New(rand.NewPCG(63, 64))
		for range 20 {
			o := randomAttention(rng).call(graph.Float32, func(shape ...int) *Tensor { return randomTensor[float32](rng, shape...) }, rng, p)
			if n := o.allocs(t); n != 0 {
				t.Fatalf("%g allocations per run", n)
			}
		}
	})
}

func TestAttentionRefuses(t *testing.T) {
	x := New(graph.Float32, 1, 2, 3, 4)
	good := opCase{op: "Attention", opset: 23, in: []*Tensor{x, x, x}, out: []Spec{outLike[float32](1, 2, 3, 4)}}
	good.run(t)
	for what, in := range map[string][]*Tensor{
		"heads":     {x, New(graph.Float32, 1, 3, 3, 4), New(graph.Float32, 1, 3, 3, 4)},
		"size":      {x, New(graph.Float32, 1, 2, 3, 5), x},
		"length":    {x, x, New(graph.Float32, 1, 2, 4, 4)},
		"rank":      {New(graph.Float32, 1, 3, 8), x, x},
		"mask":      {x, x, x, New(graph.Float32, 5, 3)},
		"mask type": {x, x, x, New(graph.Int64, 3, 3)},
		"past":      {x, x, x, nil, x},
	} {
		o := good
		o.in = in
		if err := o.mustFail(t); err == nil {
			t.Error(what)
		}
	}
}

// TestRotaryEmbedding turns pairs as complex numbers.
func TestRotaryEmbedding(t *testing.T) {
	rng := rand.New(rand.NewPCG(65, 66))
	forPools(t, func(t *testing.T, p *Pool) {
		for range 100 {
			batch, n, length, pairs, rest := 1+rng.IntN(2), 1+rng.IntN(3), 1+rng.IntN(3), 1+rng.IntN(3), rng.IntN(3)
			joint, interleaved, lookup := rng.IntN(2) == 0, rng.IntN(2) == 0, rng.IntN(2) == 0
			size := 2*pairs + rest
			shape, cache := []int{batch, n, length, size}, []int{batch, length, pairs}
			if joint {
				shape = []int{batch, length, n * size}
			}
			ids := New(graph.Int64, batch, length)
			if lookup {
				cache = []int{7, pairs}
			}
			for i := range Data[int64](ids) {
				Data[int64](ids)[i] = rng.Int64N(7)
			}
			x, cos, sin := randomTensor[float64](rng, shape...), randomTensor[float64](rng, cache...), randomTensor[float64](rng, cache...)
			o := opCase{op: "RotaryEmbedding", pool: p, in: []*Tensor{x, cos, sin}, out: []Spec{outLike[float64](shape...)}, attrs: []graph.Attr{
				graph.I("num_heads", int64(n)), graph.I("rotary_embedding_dim", int64(2*pairs)),
			}}
			if lookup {
				o.in = append(o.in, ids)
			}
			if interleaved {
				o.attrs = append(o.attrs, graph.I("interleaved", 1))
			}
			want := append([]float64{}, Data[float64](x)...)
			for b := range batch {
				for tok := range length {
					at := b*length + tok
					if lookup {
						at = int(Data[int64](ids)[at])
					}
					for h := range n {
						off := ((b*n+h)*length + tok) * size
						if joint {
							off = ((b*length+tok)*n + h) * size
						}
						for k := range pairs {
							i, j := off+k, off+k+pairs
							if interleaved {
								i, j = off+2*k, off+2*k+1
							}
							z := complex(Data[float64](x)[i], Data[float64](x)[j]) * complex(Data[float64](cos)[at*pairs+k], Data[float64](sin)[at*pairs+k])
							want[i], want[j] = real(z), imag(z)
						}
					}
				}
			}
			wantClose[float64](t, "RotaryEmbedding", o.run(t)[0], want, 1e-14)
			if a := o.allocs(t); a != 0 {
				t.Fatalf("%g allocations per run", a)
			}
		}
	})
	x := New(graph.Float64, 1, 1, 1, 2)
	o := opCase{op: "RotaryEmbedding", in: []*Tensor{x, New(graph.Float64, 3, 1), New(graph.Float64, 3, 1), Of([]int64{3}, 1, 1)}, out: []Spec{outLike[float64](1, 1, 1, 2)}}
	o.mustFail(t)
}
