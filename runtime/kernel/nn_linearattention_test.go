package kernel

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

func TestLinearAttention(t *testing.T) {
	testLinearAttention[float32](t)
	testLinearAttention[float64](t)
}

// testLinearAttention compares with attention without softmax, o_t = sum over s <= t of (q_t k_s) v_s, which the rules
// linear (no decay), gated (decay by the factors between s and t) and delta with orthonormal keys come to.
func testLinearAttention[T amd64.Float](t *testing.T) {
	const batch, length, heads, group, d = 2, 3, 2, 2, 3
	rng := rand.New(rand.NewPCG(61, 62))
	q, v := randomTensor[T](rng, batch, length, heads*group*d), randomTensor[T](rng, batch, length, heads*d)
	k, beta, decay := New(graph.ElemOf[T](), batch, length, heads*d), New(graph.ElemOf[T](), batch, length, 1), randomTensor[T](rng, batch, length, heads)
	for i := range batch * length {
		Data[T](beta)[i] = 1
		for h := range heads {
			Data[T](k)[(i*heads+h)*d+(i%length+h)%d] = 1 // unit vectors, no two the same in a sequence
		}
	}
	at := func(x *Tensor, b, s, h, c, heads int) float64 {
		return float64(Data[T](x)[((b*length+s)*heads+h)*d+c])
	}
	for _, rule := range []string{"linear", "gated", "delta", "gated_delta"} {
		var want []float64
		for b := range batch {
			for s := range length {
				for h := range heads * group {
					for c := range d {
						sum := 0.0
						for p := range s + 1 {
							dot, gate := 0.0, 0.0
							for i := range d {
								dot += at(q, b, s, h, i, heads*group) * at(k, b, p, h/group, i, heads)
							}
							for r := p + 1; r <= s && rule[0] == 'g'; r++ {
								gate += float64(Data[T](decay)[(b*length+r)*heads+h/group])
							}
							sum += dot * math.Exp(gate) * at(v, b, p, h/group, c, heads)
						}
						want = append(want, sum/math.Sqrt(d))
					}
				}
			}
		}
		o := opCase{
			op: "LinearAttention", in: []*Tensor{q, k, v, nil, decay, beta}, opset: 27,
			out: []Spec{outLike[T](batch, length, heads*group*d), outLike[T](batch, heads, d, d)},
			attrs: []graph.Attr{
				graph.S("update_rule", rule), graph.I("q_num_heads", heads*group), graph.I("kv_num_heads", heads),
			},
		}
		forPools(t, func(t *testing.T, p *Pool) {
			o.pool = p
			wantClose[T](t, rule, o.run(t)[0], want, tolerance[T](16))
			if n := o.allocs(t); n != 0 {
				t.Errorf("%v allocations per run", n)
			}
		})
		if rule != "linear" {
			o.in = []*Tensor{q, k, v}
			o.mustFail(t)
		}
	}
}

// TestCausalConv cuts a sequence into two calls, which give what one does.
func TestCausalConv(t *testing.T) {
	rng := rand.New(rand.NewPCG(63, 64))
	const channels, taps = 2, 4
	w, bias := randomTensor[float64](rng, channels, 1, taps), randomTensor[float64](rng, channels)
	x := randomTensor[float64](rng, 1, channels, 7)
	conv := func(x, past *Tensor) []*Tensor {
		n := x.Shape[2]
		return opCase{
			op: "CausalConvWithState", in: []*Tensor{x, w, bias, past}, opset: 27, attrs: []graph.Attr{graph.S("activation", "silu")},
			out: []Spec{outLike[float64](1, channels, n), outLike[float64](1, channels, taps-1)},
		}.run(t)
	}
	part := func(from, to int) *Tensor {
		p := New(graph.Float64, 1, channels, to-from)
		for c := range channels {
			copy(Data[float64](p)[c*(to-from):], Data[float64](x)[c*7+from:c*7+to])
		}
		return p
	}
	whole := conv(x, nil)
	for _, cut := range []int{1, 3, 6} {
		first := conv(part(0, cut), nil)
		second := conv(part(cut, 7), first[1])
		for c := range channels {
			wantClose[float64](t, "second part", Of(Data[float64](second[0])[c*(7-cut):(c+1)*(7-cut)], 7-cut), Data[float64](whole[0])[c*7+cut:(c+1)*7], 1e-15)
		}
		wantClose[float64](t, "state", second[1], Data[float64](whole[1]), 0)
	}
	for t0 := range 7 {
		sum := Data[float64](bias)[0]
		for k := range taps {
			if p := t0 + k - taps + 1; p >= 0 {
				sum += Data[float64](w)[k] * Data[float64](x)[p]
			}
		}
		if want, got := sum/(1+math.Exp(-sum)), Data[float64](whole[0])[t0]; math.Abs(got-want) > 1e-15 {
			t.Errorf("position %d: %g, want %g", t0, got, want)
		}
	}
}
