package lower_test

import (
	"math"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel"
	"github.com/asdlc/asdlc/runtime/vm"
)

// upperInverse stands for the function that a kernel replaces.
const upperInverse = `<domain: "asdl", opset_import: ["" : 17]> UpperInverse (q) => (x) { x = Identity(q) }`

// Each pattern becomes one node, and its value stays; an Identity in the pattern prevents that, so that both can be compared.
func TestFuse(t *testing.T) {
	for _, tc := range []struct{ op, src string }{
		{"ConvWeightGrad", `g (float[2,3,6,7] x, float[2,4,3,4] dy) => (float[4,3,3,3] a, float[4,3,3,3] b) <int64[2] zero = {0, 0}, int64[2] three = {3, 3}, int64[2] axes = {2, 3}> {
			xt = Transpose <perm: ints = [1, 0, 2, 3]> (x) gt = Transpose <perm: ints = [1, 0, 2, 3]> (dy)
			c = Conv <dilations: ints = [2, 2], strides: ints = [1, 1], pads: ints = [1, 1, 1, 1]> (xt, gt)
			s = Slice (c, zero, three, axes)
			a = Transpose <perm: ints = [1, 0, 2, 3]> (s)
			i = Identity(s) b = Transpose <perm: ints = [1, 0, 2, 3]> (i) }`},
		{"ConvWeightGrad", `g (float[2,6,5,5] x, float[2,4,5,5] dy) => (float[4,3,3,3] a, float[4,3,3,3] b) <int64[4] split = {0, 2, 3, -1}, int64[4] joined = {3, -1, 5, 5}> {
			xs = Reshape(x, split) xp = Transpose <perm: ints = [2, 1, 0, 3]> (xs) xt = Reshape(xp, joined)
			gt = Transpose <perm: ints = [1, 0, 2, 3]> (dy)
			c = Conv <group: int = 2, pads: ints = [1, 1, 1, 1]> (xt, gt)
			a = Transpose <perm: ints = [1, 0, 2, 3]> (c)
			i = Identity(c) b = Transpose <perm: ints = [1, 0, 2, 3]> (i) }`},
		{"ConvWeightGrad", `g (float[2,3,6,7] x, float[3,4,4,3] y, float[2,4,3,4] dy) => (float[4,3,4,3] a, float[4,3,4,3] b) {
			xt = Transpose <perm: ints = [1, 0, 2, 3]> (x) gt = Transpose <perm: ints = [1, 0, 2, 3]> (dy)
			c = Conv <dilations: ints = [2, 2], pads: ints = [1, 1, 1, 1]> (xt, gt)
			s = Sub (c, y) a = Transpose <perm: ints = [1, 0, 2, 3]> (s)
			i = Identity(gt) d = Conv <dilations: ints = [2, 2], pads: ints = [1, 1, 1, 1]> (xt, i)
			u = Sub (d, y) b = Transpose <perm: ints = [1, 0, 2, 3]> (u) }`},
		{"ReluGrad", `g (float[2,3] x, float[2,3] dy) => (float[2,3] a, float[2,3] b) <float zero = {0}, float[3] shift = {3, 3, 3}> {
			y = Max(x, shift) p = Greater(y, zero) a = Where(p, dy, zero)
			i = Identity(zero) b = Where(p, dy, i) }`},
		{"MaxPoolGrad", `g (float[2,3,5,6] x, float[2,27] dy) => (float[180] a, float[180] b, float[2,3,3,3] y) <int64[1] flat = {-1}, int64[1] count = {180}> {
			y, at = MaxPool <kernel_shape: ints = [3, 2], strides: ints = [2, 2], pads: ints = [1, 0, 1, 0]> (x)
			i = Reshape(at, flat) g = Reshape(dy, flat) zeros = ConstantOfShape(count)
			a = ScatterElements <axis: int = 0, reduction: string = "add"> (zeros, i, g)
			j = Identity(i) b = ScatterElements <axis: int = 0, reduction: string = "add"> (zeros, j, g) }`},
		{"BatchNormGrad", `g (float[4,3,2,5] x, float[4,3,2,5] dy, float[1,3,1,1] w) => (float[4,3,2,5] a, float[4,3,2,5] b) <int64[3] axes = {0, 2, 3}, float eps = {0.001}, float n = {40}> {
			mean = ReduceMean <axes: ints = [0, 2, 3]> (x) d = Sub(x, mean) dd = Mul(d, d) var = ReduceMean <axes: ints = [0, 2, 3]> (dd)
			v = Add(var, eps) root = Sqrt(v) inv = Reciprocal(root)
			sum = ReduceSum(dy, axes) gd = Mul(dy, d) total = ReduceSum(gd, axes) along = Mul(inv, total)
			s = Mul(w, inv) each = Div(s, n)
			g1 = Mul(dy, s) by = Mul(along, inv) by2 = Mul(each, by) g2 = Mul(d, by2) g3 = Sub(g1, g2) g4 = Mul(each, sum) gx = Sub(g3, g4)
			both = Mul(along, sum) a = Max(gx, both)
			i = Identity(each) h1 = Mul(dy, s) h2 = Mul(i, by) h3 = Mul(d, h2) h4 = Sub(h1, h3) h5 = Mul(i, sum) hx = Sub(h4, h5) b = Max(hx, both) }`},
		{"LayerNormGrad", `g (float[4,3,5] x, float[4,3,5] dy, float[5] w) => (float[4,3,5] a, float[4,3,5] b) <int64[2] rows = {0, 1}> {
			y, mean, inv = LayerNormalization <axis: int = -1> (x, w) d = Sub(x, mean) h = Mul(d, inv) g = Cos(dy) t = Mul(g, w)
			gh = Mul(g, h) along = ReduceSum <keepdims: int = 0> (gh, rows) sum = ReduceSum <keepdims: int = 0> (g, rows) both = Mul(along, sum)
			m1 = ReduceMean <axes: ints = [2]> (t) th = Mul(t, h) m2 = ReduceMean <axes: ints = [-1]> (th)
			c1 = Sub(t, m1) c2 = Mul(h, m2) c3 = Sub(c1, c2) gx = Mul(inv, c3) a = Max(gx, both)
			i = Identity(inv) k = Identity(g) h2 = Mul(d, i) gh2 = Mul(k, h2) along2 = ReduceSum <keepdims: int = 0> (gh2, rows)
			sum2 = ReduceSum <keepdims: int = 0> (k, rows) both2 = Mul(along2, sum2)
			d1 = Sub(t, m1) th2 = Mul(t, h2) m3 = ReduceMean <axes: ints = [2]> (th2) d2 = Mul(h2, m3) d3 = Sub(d1, d2) hx = Mul(i, d3) b = Max(hx, both2) }`},
		{"MatMul", `g (float[2,3,5] x, float[2,3,4] y) => (float[2,5,4] a, float[2,5,4] b) {
			t = Transpose <perm: ints = [0, 2, 1]> (x) a = MatMul(t, y) i = Identity(t) b = MatMul(i, y) }`},
		{"MatMul", `g (float[2,3,5] x, float[4,5] y) => (float[2,3,4] a, float[2,3,4] b) {
			t = Transpose <perm: ints = [1, 0]> (y) a = MatMul(x, t) i = Identity(t) b = MatMul(x, i) }`},
		{"MatMul", `g (float[2,5,3] x, float[1,4,5] y) => (float[2,3,4] a, float[2,3,4] b) {
			t = Transpose <perm: ints = [0, 2, 1]> (x) u = Transpose <perm: ints = [0, 2, 1]> (y) a = MatMul(t, u) i = Identity(t) j = Identity(u) b = MatMul(i, j) }`},
		{"MatMul", `g (float[3,5] x, float[3,4] y) => (float[4,5] a, float[4,5] b) {
			p = Gemm <transA: int = 1> (x, y) a = Transpose <perm: ints = [1, 0]> (p)
			q = Gemm <transA: int = 1> (x, y) i = Identity(q) b = Transpose <perm: ints = [1, 0]> (i) }`},
		{"MatMul", `g (float[3,5] x, float[5,4] y) => (float[4,3] a, float[4,3] b) {
			p = Gemm(x, y) a = Transpose <perm: ints = [1, 0]> (p)
			q = Gemm(x, y) i = Identity(q) b = Transpose <perm: ints = [1, 0]> (i) }`},
		{"UpperSolve", `g (float[3,3] x, float[3,4] y) => (float[3,4] a, float[3,4] b) {
			q = asdl.UpperInverse(x) a = Gemm <transA: int = 1> (q, y) r = asdl.UpperInverse(x) i = Identity(r) b = Gemm <transA: int = 1> (i, y) }` + upperInverse},
		{"UpperSolve", `g (float[3,3] x, float[4,3] y) => (float[4,3] a, float[4,3] b) {
			q = asdl.UpperInverse(x) a = MatMul(y, q) r = asdl.UpperInverse(x) i = Identity(r) b = MatMul(y, i) }` + upperInverse},
		{"PatchGram", `g (float[2,3,5,4] x) => (float[12,12] a, float[12,12] b) <float[4,1,2,2] eye = {1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1},
			int64[4] three = {3, 1, 1, 1}, int64[3] flat = {0, 12, -1}, int64[2] rows = {-1, 12}> {
			f = Tile(eye, three) c = Conv <group: int = 3, kernel_shape: ints = [2, 2], strides: ints = [2, 1], pads: ints = [1, 0, 0, 1]> (x, f)
			p = Reshape(c, flat) q = Transpose <perm: ints = [0, 2, 1]> (p) r = Reshape(q, rows) a = Gemm <transA: int = 1> (r, r)
			i = Identity(r) b = Gemm <transA: int = 1> (i, i) }`},
		{"PatchColumns", `g (float[2,3,5,4] x) => (float[2,5,9] a, float[2,5,9] b) <float[4,1,2,2] eye = {1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1},
			int64[4] three = {3, 1, 1, 1}, int64[3] flat = {0, 12, -1}, int64[5] some = {7, 0, 11, 4, -2}> {
			f = Tile(eye, three) c = Conv <group: int = 3, kernel_shape: ints = [2, 2], strides: ints = [2, 2], pads: ints = [1, 1, 0, 1], dilations: ints = [1, 1]> (x, f)
			p = Reshape(c, flat) a = Gather <axis: int = 1> (p, some)
			i = Identity(p) b = Gather <axis: int = 1> (i, some) }`},
		{"PatchColumns", `g (float[2,3,7,6] x) => (float[2,3,42] a, float[2,3,42] b) <float[9,1,3,3] eye = {1,0,0,0,0,0,0,0,0, 0,1,0,0,0,0,0,0,0, 0,0,1,0,0,0,0,0,0, 0,0,0,1,0,0,0,0,0, 0,0,0,0,1,0,0,0,0, 0,0,0,0,0,1,0,0,0, 0,0,0,0,0,0,1,0,0, 0,0,0,0,0,0,0,1,0, 0,0,0,0,0,0,0,0,1},
			int64[4] three = {3, 1, 1, 1}, int64[3] flat = {0, 27, -1}, int64[3] some = {26, 13, 0}> {
			f = Tile(eye, three) c = Conv <group: int = 3, kernel_shape: ints = [3, 3], pads: ints = [2, 2, 2, 2], dilations: ints = [2, 2]> (x, f)
			p = Reshape(c, flat) a = Gather <axis: int = 1> (p, some)
			i = Identity(p) b = Gather <axis: int = 1> (i, some) }`},
		{"MaxAbs", `g (float[5,7] x) => (float a, float b) <float shift = {0.7}> {
			s = Sub(x, shift) p = Abs(s) a = ReduceMax <keepdims: int = 0> (p) i = Identity(p) b = ReduceMax <keepdims: int = 0> (i) }`},
		{"PatchSum", `g (float[2,1,5,4] x) => (float[1,4] a, float[1,4] b) <float[4,1,2,2] eye = {1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1},
			int64[3] flat = {0, 4, -1}, int64[2] rows = {-1, 4}, int64[1] zero = {0}> {
			c = Conv <kernel_shape: ints = [2, 2], pads: ints = [1, 0, 0, 1]> (x, eye)
			q = Reshape(c, flat) p = Transpose <perm: ints = [0, 2, 1]> (q) r = Reshape(p, rows) a = ReduceSum(r, zero)
			i = Identity(r) b = ReduceSum(i, zero) }`},
	} {
		t.Run(tc.op, func(t *testing.T) {
			p := lowered(t, tc.src)
			fused := 0
			for n := range p.Model.Graph.Nodes() {
				if n.Is(graph.Asdl, tc.op) {
					fused++
				}
			}
			if fused != 1 {
				t.Errorf("%d fused nodes, want 1", fused)
			}
			bind(t, p)
			m, err := vm.New(p, vm.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := m.RunAll(); err != nil {
				t.Fatal(err)
			}
			a, b := kernel.Data[float32](m.Output(0)), kernel.Data[float32](m.Output(1))
			for i := range a {
				if math.Abs(float64(a[i]-b[i])) > 1e-5*math.Abs(float64(b[i])) {
					t.Fatalf("element %d is %v, without fusion %v", i, a[i], b[i])
				}
			}
		})
	}
}

// Where a gradient in the weight is also needed in another layout, the convolution that it is in standard operators is not computed.
func TestFuseConvWeightGradOnce(t *testing.T) {
	p := lowered(t, `g (float[2,3,6,7] x, float[2,4,6,7] dy) => (float[3,3,3,4] b, float[4,3,3,3] a, float[3,4,3,3] c, float[3,3,3,4] d, float[3,4,3,3] e) <int64[2] zero = {0, 0}, int64[2] three = {3, 3}, int64[2] axes = {2, 3}> {
		xt = Transpose <perm: ints = [1, 0, 2, 3]> (x) gt = Transpose <perm: ints = [1, 0, 2, 3]> (dy)
		r = Conv <pads: ints = [1, 1, 1, 1]> (xt, gt)
		b = Transpose <perm: ints = [2, 0, 3, 1]> (r)
		a = Transpose <perm: ints = [1, 0, 2, 3]> (r)
		c = Transpose <perm: ints = [1, 0, 2, 3]> (a) e = Neg (r)
		d = Transpose <perm: ints = [2, 1, 3, 0]> (a) }`)
	for n := range p.Model.Graph.Nodes() {
		if n.Is("", "Conv") {
			t.Error("the convolution is still there")
		}
	}
	bind(t, p)
	m, err := vm.New(p, vm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.RunAll(); err != nil {
		t.Fatal(err)
	}
	b, d := kernel.Data[float32](m.Output(0)), kernel.Data[float32](m.Output(3))
	c, e := kernel.Data[float32](m.Output(2)), kernel.Data[float32](m.Output(4))
	for i := range b {
		if b[i] != d[i] || c[i] != -e[i] {
			t.Fatalf("element %d is %v by one way and %v by the other", i, b[i], d[i])
		}
	}
}
