package autodiff_test

// attentionSpecs are the rows of attention and of other operators on sequences.
var attentionSpecs = []spec{
	{op: "Attention", opset: 23, sig: "(double[2,2,3,4] q, double[2,2,5,4] k, double[2,2,5,3] v) => (y)", body: "y = Attention(q, k, v)"},
	{op: "Attention", name: "joint heads, causal", opset: 23, sig: "(double[2,3,4] q, double[2,3,4] k, double[2,3,6] v) => (y)", body: "y = Attention<q_num_heads: int = 2, kv_num_heads: int = 2, is_causal: int = 1, scale: float = 0.7>(q, k, v)"},
	{op: "Attention", name: "groups, softcap, bias", opset: 24, sig: "(double[1,4,2,3] q, double[1,2,4,3] k, double[1,2,4,2] v, double[4,2,4] m) => (y)", body: "y = Attention<softcap: float = 1.5>(q, k, v, m)"},
	{op: "Attention", name: "joint groups", opset: 24, sig: "(double[2,2,8] q, double[2,3,4] k, double[2,3,2] v) => (y)", body: "y = Attention<q_num_heads: int = 4, kv_num_heads: int = 2>(q, k, v)"},
	{op: "Attention", name: "truth mask", opset: 24, sig: "(double[1,2,2,3] q, double[1,2,4,3] k, double[1,2,4,2] v) => (y) <bool[2,4] m = {1, 0, 1, 1, 0, 0, 1, 0}>", body: "y = Attention(q, k, v, m)"},
	{op: "Attention", name: "narrow masks", opset: 24, sig: "(double[1,2,2,3] q, double[1,2,4,3] k, double[1,2,4,2] v, double[2,3] n) => (a, b) <bool[2,2] m = {1, 0, 1, 1}>", body: "a = Attention(q, k, v, m) b = Attention(q, k, v, n)"},
	{
		op: "Attention", name: "past", opset: 24,
		sig:  "(double[1,2,3] q, double[1,2,3] k, double[1,2,2] v, double[1,1,3,3] pk, double[1,1,3,2] pv) => (y, nk, nv)",
		body: "y, nk, nv = Attention<q_num_heads: int = 1, kv_num_heads: int = 1, is_causal: int = 1>(q, k, v, , pk, pv)",
	},
	{op: "Attention", name: "present", opset: 23, sig: "(double[1,2,2,3] q, double[1,2,2,3] k, double[1,2,2,2] v) => (y, nk, nv)", body: "y, nk, nv = Attention(q, k, v)"},
	{op: "Attention", name: "filled", opset: 24, sig: "(double[2,1,2,3] q, double[2,1,4,3] k, double[2,1,4,2] v) => (y) <int64[2] n = {3, 2}>", body: "y = Attention(q, k, v, , , , n)"},
	{op: "Attention", name: "scores", opset: 24, sig: "(double[1,2,2,3] q, double[1,1,3,3] k, double[1,1,3,2] v) => (y, s)", body: "y, , , s = Attention<softcap: float = 2.0>(q, k, v)"},
	{op: "Attention", name: "capped scores", opset: 24, sig: "(double[1,2,2,3] q, double[1,1,3,3] k, double[1,1,3,2] v, double[1,1,2,3] m) => (y, s)", body: "y, , , s = Attention<softcap: float = 2.0, qk_matmul_output_mode: int = 1>(q, k, v, m)"},
	{op: "Attention", name: "masked scores", opset: 24, sig: "(double[1,2,2,3] q, double[1,1,3,3] k, double[1,1,3,2] v, double[1,1,2,3] m) => (y, s)", body: "y, , , s = Attention<qk_matmul_output_mode: int = 2>(q, k, v, m)"},
	{op: "Attention", name: "probabilities", opset: 24, sig: "(double[1,2,2,3] q, double[1,1,3,3] k, double[1,1,3,2] v) => (y, s)", body: "y, , , s = Attention<is_causal: int = 1, qk_matmul_output_mode: int = 3>(q, k, v)"},

	{op: "RotaryEmbedding", opset: 23, sig: "(double[2,2,3,4] x, double[2,3,2] c, double[2,3,2] s) => (y)", body: "y = RotaryEmbedding(x, c, s)"},
	{op: "RotaryEmbedding", name: "interleaved", opset: 23, sig: "(double[2,2,3,4] x, double[5,2] c, double[5,2] s) => (y) <int64[2,3] p = {0, 3, 1, 2, 2, 4}>", body: "y = RotaryEmbedding<interleaved: int = 1>(x, c, s, p)"},
	{op: "RotaryEmbedding", name: "part of joint heads", opset: 23, sig: "(double[1,3,12] x, double[4,2] c, double[4,2] s) => (y) <int64[1,3] p = {0, 3, 1}>", body: "y = RotaryEmbedding<num_heads: int = 2, rotary_embedding_dim: int = 4>(x, c, s, p)"},
	{op: "RotaryEmbedding", name: "interleaved part", opset: 23, sig: "(double[1,2,2,6] x, double[1,2,1] c, double[1,2,1] s) => (y)", body: "y = RotaryEmbedding<interleaved: int = 1, rotary_embedding_dim: int = 2>(x, c, s)"},

	{op: "LinearAttention", opset: 27, sig: "(double[2,3,4] q, double[2,3,4] k, double[2,3,2] v) => (y, s)", body: `y, s = LinearAttention<q_num_heads: int = 2, kv_num_heads: int = 2, update_rule: string = "linear">(q, k, v)`},
	{
		op: "LinearAttention", name: "gated, groups", opset: 27, sig: "(double[1,3,8] q, double[1,3,4] k, double[1,3,6] v, double[1,2,2,3] p, double[1,3,2] d) => (y, s)",
		body: `y, s = LinearAttention<q_num_heads: int = 4, kv_num_heads: int = 2, update_rule: string = "gated", scale: float = 0.5>(q, k, v, p, d)`, draw: map[string]string{"d": "small"},
	},
	{
		op: "LinearAttention", name: "delta", opset: 27, sig: "(double[1,3,4] q, double[1,3,4] k, double[1,3,2] v, double[1,3,1] b) => (y, s)",
		body: `y, s = LinearAttention<q_num_heads: int = 2, kv_num_heads: int = 2, update_rule: string = "delta">(q, k, v, , , b)`, draw: map[string]string{"b": "unit"},
	},
	{
		op: "LinearAttention", name: "gated delta", opset: 27, sig: "(double[1,3,4] q, double[1,3,4] k, double[1,3,2] v, double[1,2,2,1] p, double[1,3,4] d, double[1,3,2] b) => (y, s)",
		body: `y, s = LinearAttention<q_num_heads: int = 2, kv_num_heads: int = 2>(q, k, v, p, d, b)`, draw: map[string]string{"d": "small", "b": "unit"},
	},
	{op: "CausalConvWithState", opset: 27, sig: "(double[2,3,4] x, double[3,1,3] w) => (y, s)", body: "y, s = CausalConvWithState(x, w)", fixed: "w"},
	{op: "CausalConvWithState", name: "past, bias, silu", opset: 27, sig: "(double[1,2,2] x, double[2,1,4] w, double[2] b, double[1,2,3] p) => (y, s)", body: `y, s = CausalConvWithState<activation: string = "silu">(x, w, b, p)`, fixed: "w"},
	{op: "CausalConvWithState", name: "one tap", opset: 27, sig: "(double[1,2,3] x, double[2,1,1] w) => (y)", body: "y, s = CausalConvWithState(x, w)", fixed: "w"},
}
