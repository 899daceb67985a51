package autodiff_test

// controlSpecs are the rows of recurrent layers, operators with nested graphs, and several operators at once.
var controlSpecs = []spec{
	// recurrent layers
	{op: "RNN", sig: "(double[4,2,3] x, double[1,2,3] w, double[1,2,2] r) => (y)", body: "y = RNN<hidden_size: int = 2>(x, w, r)"},
	{
		op: "RNN", name: "both ways", sig: "(double[3,2,3] x, double[2,2,3] w, double[2,2,2] r, double[2,4] b, double[2,2,2] h) => (y, yh) <int32[2] n = {3, 1}>",
		body: `y, yh = RNN<hidden_size: int = 2, direction: string = "bidirectional", activations: strings = ["ScaledTanh", "Affine"],
			activation_alpha: floats = [0.8, 0.5], activation_beta: floats = [1.2, 0.1]>(x, w, r, b, n, h)`,
	},
	{op: "GRU", sig: "(double[3,2,2] x, double[1,6,2] w, double[1,6,2] r, double[1,12] b) => (y, yh)", body: "y, yh = GRU<hidden_size: int = 2>(x, w, r, b)"},
	{
		op: "GRU", name: "linear before reset, backward", sig: "(double[3,2,2] x, double[1,6,2] w, double[1,6,2] r, double[1,12] b, double[1,2,2] h) => (yh) <int32[2] n = {2, 3}>",
		body: `y, yh = GRU<hidden_size: int = 2, linear_before_reset: int = 1, direction: string = "reverse">(x, w, r, b, n, h)`,
	},
	{op: "LSTM", sig: "(double[3,2,2] x, double[1,8,2] w, double[1,8,2] r, double[1,16] b) => (y, yh, yc)", body: "y, yh, yc = LSTM<hidden_size: int = 2>(x, w, r, b)"},
	{
		op: "LSTM", name: "peepholes, both ways", sig: "(double[3,2,2] x, double[2,4,2] w, double[2,4,1] r, double[2,8] b, double[2,2,1] h, double[2,2,1] c, double[2,3] p) => (y, yc) <int32[2] n = {2, 3}>",
		body: `y, yh, yc = LSTM<hidden_size: int = 1, direction: string = "bidirectional">(x, w, r, b, n, h, c, p)`,
	},
	{
		op: "LSTM", name: "batch first, coupled", sig: "(double[2,3,2] x, double[1,4,2] w, double[1,4,1] r, double[2,1,1] h, double[2,1,1] c) => (y, yh)",
		body: `y, yh = LSTM<hidden_size: int = 1, layout: int = 1, input_forget: int = 1, clip: float = 0.9,
			activations: strings = ["HardSigmoid", "Softsign", "Elu"], activation_alpha: floats = [0.3, 0.8], activation_beta: floats = [0.4]>(x, w, r, , , h, c)`,
		opset: 17,
	},

	// control
	{op: "If", sig: "(double[3] x, double[3] y) => (z) <bool k = {1}>", body: `z = If (k) <
		then_branch = yes () => (a) { b = Mul(x, y) a = Mul(b, x) },
		else_branch = no () => (c) { c = Mul(y, y) }>`},
	{op: "If", name: "else", sig: "(double[3] x, double[3] y) => (z) <bool k = {0}>", body: `z = If (k) <
		then_branch = yes () => (a) { b = Mul(x, y) a = Mul(b, x) },
		else_branch = no () => (c) { c = Mul(y, y) }>`},
	{op: "Loop", sig: "(double[3] x, double[3] y) => (z, s) <int64 n = {3}>", body: `z, s = Loop (n, , x) <
		body = step (int64 i, bool go, double[3] v) => (again, w, r) { again = Identity(go) u = Mul(v, y) w = Tanh(u) r = Mul(w, v) }>`},
	{op: "Loop", name: "counter", sig: "(double[2] x) => (z) <int64 n = {4}, int64 c0 = {1}, bool yes = {1}>", body: `c, z = Loop (n, yes, c0, x) <
		body = step (int64 i, bool go, int64 c, double[2] v) => (again, c1, w) {
			k = Add(c, i) f = Cast<to: int = 11>(k) u = Mul(v, f) w = Sin(u) c1 = Add(c, k) again = Less(c1, n) }>`},
	{op: "Loop", name: "state and capture", sig: "(double[2] x) => (z) <int64 n = {2}>", body: `y = Sin(x) z = Loop (n, , y) <
		body = step (int64 i, bool go, double[2] v) => (again, w) { again = Identity(go) u = Mul(v, y) w = Mul(u, x) }>`},
	{op: "Loop", name: "never", sig: "(double[2] x) => (z) <int64 n = {0}>", body: `z = Loop (n, , x) <
		body = step (int64 i, bool go, double[2] v) => (again, w) { again = Identity(go) w = Mul(v, v) }>`},
	{op: "Loop", name: "reads", sig: "(double[2] x, double[3,4] y, double[4,2,2] m) => (z) <int64 n = {3}, int64[1] o = {1}, int64[1] l = {-1}>", fixed: "m", body: `z = Loop (n, , x) <
		body = step (int64 i, bool go, double[2] v) => (again, w) {
			again = Identity(go) j = Reshape(i, o) k = Concat<axis: int = 0>(j, o)
			a = Gather<axis: int = 1>(y, i) b = Gather<axis: int = -1>(y, j) c = ReduceSum(b) g = GatherND(m, k) e = GatherND(m, j)
			q = Mul(v, c) r = ReduceSum(a) s = Mul(q, r) t = Mul(s, g) d = Mul(t, e) f = ReduceSum<keepdims: int = 0>(y) u = Mul(f, d) h = ReduceMean<axes: ints = [0], keepdims: int = 0>(u) w = Sin(h) }>`},
	{op: "Loop", name: "windows", sig: "(double[2] x, double[3,4] y, double[4,2] u) => (z) <int64 n = {4}, int64 o = {1}, int64 two = {2}, int64[1] f = {0}, int64[1] k = {-1}>", fixed: "u", body: `z = Loop (n, , x) <
		body = step (int64 i, bool go, double[2] v) => (again, w) {
			again = Identity(go) e = Add(i, o) s1 = Unsqueeze(i, f) e1 = Unsqueeze(e, f) d = Slice(u, s1, e1, f)
			e2 = Add(two, s1) q = Slice(y, s1, e2, k) r = ReduceSum<keepdims: int = 0>(q)
			t = Squeeze(d, f) p = Mul(v, t) h = Mul(p, r) w = Sin(h) }>`},
	{op: "Loop", name: "reads, never", sig: "(double[2] x, double[4,2] y) => (z) <int64 n = {0}>", body: `z = Loop (n, , x) <
		body = step (int64 i, bool go, double[2] v) => (again, w) { again = Identity(go) a = Gather(y, i) w = Mul(v, a) }>`},
	{op: "Loop", name: "nested", sig: "(double[2] x, double[2] y) => (z) <int64 n = {2}>", body: `z = Loop (n, , x) <
		body = outer (int64 i, bool go, double[2] v) => (again, w) { again = Identity(go) w = Loop (n, , v) <
			body = inner (int64 j, bool on, double[2] u) => (more, r) { more = Identity(on) s = Mul(u, y) t = Mul(s, v) r = Sin(t) }> }>`},
	{op: "If", name: "in a loop", sig: "(double[2] x, double[2] y) => (z) <int64 n = {3}, int64 one = {1}>", body: `z = Loop (n, , x) <
		body = step (int64 i, bool go, double[2] v) => (again, w) { again = Identity(go) k = Equal(i, one)
			w = If (k) < then_branch = yes () => (a) { a = Mul(v, y) }, else_branch = no () => (b) { b = Sin(v) }> }>`},
	{op: "Scan", sig: "(double[2] x, double[3,2] y) => (z, s)", body: `z, s = Scan (x, y) <num_scan_inputs: int = 1,
		body = step (double[2] v, double[2] e) => (w, r) { u = Mul(v, e) w = Tanh(u) r = Mul(w, e) }>`},
	{op: "Scan", name: "axes and directions", sig: "(double[2] x, double[2,3] y, double[3,2] u) => (z, s)", body: `z, s = Scan (x, y, u) <num_scan_inputs: int = 2,
		scan_input_axes: ints = [1, 0], scan_input_directions: ints = [1, 0], scan_output_axes: ints = [-1], scan_output_directions: ints = [1],
		body = step (double[2] v, double[2] e, double[2] k) => (w, r) { a = Mul(v, e) b = Add(a, k) w = Tanh(b) r = Mul(w, e) }>`},

	// several at once
	{
		op: "Gemm", name: "network", sig: "(double[4,3] x, double[5,3] w, double[5] b, double[2,5] v, double[2] c) => (z) <int64[4] t = {0, 1, 1, 0}>", opset: 20,
		body: "a = Gemm<transB: int = 1>(x, w, b) h = Gelu(a) y = Gemm<transB: int = 1>(h, v, c) z = SoftmaxCrossEntropyLoss(y, t)",
	},
	{
		op: "Conv", name: "network", sig: "(double[2,1,6,6] x, double[2,1,3,3] w, double[2] s, double[2] b, double[2,2,1,1] u) => (z) <double[2] m = {0, 0}, double[2] v = {1, 1}>",
		body: `a = Conv<pads: ints = [1,1,1,1]>(x, w) n, rm, rv = BatchNormalization<training_mode: int = 1>(a, s, b, m, v)
			h = Tanh(n) p = AveragePool<kernel_shape: ints = [2,2], strides: ints = [2,2]>(h) r = Conv(p, u) q = Add(r, p)
			g = GlobalAveragePool(q) z = Flatten(g)`, fixed: "w u",
	},
	{
		op: "MatMul", name: "attention", sig: "(double[2,3,4] x, double[4,4] q, double[4,4] k, double[4,4] v, double[4] s, double[4] b) => (z)",
		draw: map[string]string{"q": "small", "k": "small"},
		body: `n = LayerNormalization(x, s, b) qs = MatMul(n, q) ks = MatMul(n, k) vs = MatMul(n, v) kt = Transpose<perm: ints = [0,2,1]>(ks)
			e = MatMul(qs, kt) p = Softmax(e) o = MatMul(p, vs) z = Add(x, o)`,
	},
}
