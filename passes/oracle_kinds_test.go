package passes_test

import (
	"fmt"
	"math"
	"math/cmplx"
	"math/rand/v2"
	"strings"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
)

// tapped are the methods that are built on inputs and output gradients of layers; a row here joins a method to all tests of
// layer kinds.
func tappedMethods(t *testing.T) map[string]method.Record {
	recs := map[string]method.Record{}
	for name, set := range map[string][]string{
		"kfac":           {"kfac", "curvature.source=exact"},
		"kfac, reduce":   {"kfac", "curvature.source=emp", "curvature.sharing=reduce"},
		"kfac, no joint": {"kfac", "curvature.source=emp", "representation.bias=output"},
		"kfac-reduce":    {"kfac-reduce", "curvature.source=exact"},
		"kflr":           {"kflr"},
		"ekfac":          {"ekfac", "solve.tolerance=1e-9", "solve.iterations=60"},
		"ekfac, exact":   {"ekfac", "curvature.source=exact", "solve.tolerance=1e-9", "solve.iterations=60"},
		"ekfac, mean":    {"ekfac", "representation.moments=mean", "solve.tolerance=1e-9", "solve.iterations=60"},
		"skfac":          {"skfac", "curvature.source=emp"},
		"skfac, expand":  {"skfac", "curvature.source=exact", "curvature.sharing=expand"},
		"foof":           {"foof"},
		"eva":            {"eva"},
		"unit-ng":        {"unit-ng", "curvature.source=emp"},
		"moments":        {"unit-ng", "curvature.source=emp", "representation.granularity=element", "representation.format=moments", "representation.max_bytes=0"},
		"seng":           {"seng"},
		"seng, reduce":   {"seng", "curvature.sharing=reduce"},
		"tonga-unit":     {"tonga-unit"},
	} {
		recs[name] = record(t, set[0], append([]string{"solve.every=1", "apply.kl_clip=0"}, set[1:]...)...)
	}
	return recs
}

// opset is a model's text at another version of the operators.
func opset(text string, version int) string {
	return strings.Replace(text, `["" : 17]`, fmt.Sprintf(`["" : %d]`, version), 1)
}

// directions are those of two steps of a method without a change of parameters.
func directions(t *testing.T, text string, rec method.Record, feeds []arrays) arrays {
	t.Helper()
	s := instrument(t, text, rec, pass.Options{OutputPrecond: true, Noise: "input"})
	var out arrays
	for _, f := range feeds {
		out = s.step(f.with("lr", number(0)))
	}
	return outputsOf(out, "precond/", "")
}

// stepsOf are two batches of inputs of a shape with their labels.
func stepsOf(rng *rand.Rand, classes int, shape ...int) []arrays {
	var feeds []arrays
	for range 2 {
		feeds = append(feeds, arrays{"x": normals(rng, shape...), "target": labels(rng, classes, shape[0])})
	}
	return feeds
}

// part is rows [from, to) of a.
func (a array) part(from, to int) array {
	size := len(a.v) / a.shape[0]
	return array{append([]int{to - from}, a.shape[1:]...), a.v[from*size : to*size]}
}

// TestGroupsAreLayers: a convolution of several groups, depthwise or not, gets the directions of as many convolutions side
// by side; a transposed one too.
func TestGroupsAreLayers(t *testing.T) {
	for _, tc := range []struct {
		name, op, attrs     string
		groups, in, out     int // channels
		weight              []int
		bias                bool
		position, positions string // of the kernel's and the image's dimensions
	}{
		{"two groups", "Conv", "pads: ints = [1,0,0,1], strides: ints = [1,2]", 2, 4, 6, []int{6, 2, 2, 2}, true, "2", "3,4"},
		{"depthwise, twice the channels", "Conv", "dilations: ints = [2]", 3, 3, 6, []int{6, 1, 2}, true, "", "5"},
		{"depthwise, no bias", "Conv", `auto_pad: string = "SAME_UPPER"`, 4, 4, 4, []int{4, 1, 3, 1}, false, "", "3,2"},
		{"transposed", "ConvTranspose", "strides: ints = [2]", 2, 4, 6, []int{4, 3, 3}, true, "", "4"},
		{"three dimensions", "Conv", "strides: ints = [1,1,2]", 2, 2, 4, []int{4, 1, 2, 1, 2}, true, "", "2,2,4"},
	} {
		rng := rand.New(rand.NewPCG(1, 51))
		w, b := normals(rng, tc.weight...), normals(rng, tc.out)
		rank := len(tc.weight)
		var image []int
		for _, d := range strings.Split(tc.positions, ",") {
			image = append(image, int(d[0]-'0'))
		}
		var axes []string
		for i := 2; i < rank; i++ {
			axes = append(axes, fmt.Sprint(i))
		}
		head := fmt.Sprintf(`a = Tanh (h)  y = ReduceMean <axes: ints = [%s], keepdims: int = 0> (a) }`, strings.Join(axes, ","))
		input := fmt.Sprintf(`(double[N,%d,%s] x) => (double[N,%d] y) PARAMS {`, tc.in, tc.positions, tc.out)
		one, many := arrays{"c.weight": w}, arrays{}
		bias, parts := "", ""
		if tc.bias {
			one["c.bias"], bias = b, `, "c.bias"`
		}
		var hs, xs []string
		for g := range tc.groups {
			name := fmt.Sprintf("g%d", g)
			from, to := g*tc.weight[0]/tc.groups, (g+1)*tc.weight[0]/tc.groups
			many[name+".weight"] = w.part(from, to)
			extra := ""
			if tc.bias {
				many[name+".bias"] = b.part(g*tc.out/tc.groups, (g+1)*tc.out/tc.groups)
				extra = fmt.Sprintf(`, "%s.bias"`, name)
			}
			xs, hs = append(xs, fmt.Sprintf("x%d", g)), append(hs, fmt.Sprintf("h%d", g))
			parts += fmt.Sprintf(` h%d = %s <%s> (x%d, "%s.weight"%s) `, g, tc.op, tc.attrs, g, name, extra)
		}
		grouped := source(input+fmt.Sprintf(` h = %s <group: int = %d, %s> (x, "c.weight"%s) `, tc.op, tc.groups, tc.attrs, bias)+head, one)
		apart := source(input+fmt.Sprintf(` %s = Split <axis: int = 1> (x) %s h = Concat <axis: int = 1> (%s) `, strings.Join(xs, ", "), parts, strings.Join(hs, ", "))+head, many)
		feeds := stepsOf(rng, tc.out, append([]int{5, tc.in}, image...)...)
		for name, rec := range tappedMethods(t) {
			got, want := directions(t, grouped, rec, feeds), directions(t, apart, rec, feeds)
			var weights, biases []float64
			for g := range tc.groups {
				weights = append(weights, want[fmt.Sprintf("g%d.weight", g)].v...)
				biases = append(biases, want[fmt.Sprintf("g%d.bias", g)].v...)
			}
			near(t, tc.name+", "+name+": weight", got["c.weight"].v, weights, 1e-9)
			if tc.bias {
				near(t, tc.name+", "+name+": bias", got["c.bias"].v, biases, 1e-9)
			}
		}
	}
}

// TestTransposedIsConvolution: a transposed convolution is one of the input with zeros put between its elements, by the kernel
// turned round.
func TestTransposedIsConvolution(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 51))
	const batch, in, out, size, kernel, stride, pad, extra = 4, 2, 3, 4, 3, 2, 1, 1
	w, b := normals(rng, in, out, kernel), normals(rng, out)
	turned := newArray(out, in, kernel)
	turn := func(dst, src array) { // [in, out, k] to [out, in, k] with k turned round
		for i := range in {
			for o := range out {
				for k := range kernel {
					dst.v[(o*in+i)*kernel+kernel-1-k] = src.v[(i*out+o)*kernel+k]
				}
			}
		}
	}
	turn(turned, w)
	head := ` a = Tanh (h)  y = ReduceMean <axes: ints = [2], keepdims: int = 0> (a) }`
	transposed := source(fmt.Sprintf(`(double[N,%d,%d] x) => (double[N,%d] y) PARAMS {
		h = ConvTranspose <strides: ints = [%d], pads: ints = [%d,%d], output_padding: ints = [%d]> (x, "c.weight", "c.bias") `, in, size, out, stride, pad, pad, extra)+head,
		arrays{"c.weight": w, "c.bias": b})
	wide := (size-1)*stride + 1
	left, right := kernel-1-pad, kernel-1-pad+extra
	plain := source(fmt.Sprintf(`(double[N,%d,%d] x) => (double[N,%d] y) PARAMS { h = Conv <pads: ints = [%d,%d]> (x, "c.weight", "c.bias") `, in, wide, out, left, right)+head,
		arrays{"c.weight": turned, "c.bias": b})
	feeds := stepsOf(rng, out, batch, in, size)
	var spread []arrays
	for _, f := range feeds {
		x := newArray(batch, in, wide)
		for i, v := range f["x"].v {
			x.v[i/size*wide+i%size*stride] = v
		}
		spread = append(spread, arrays{"x": x, "target": f["target"]})
	}
	for name, rec := range tappedMethods(t) {
		got, want := directions(t, transposed, rec, feeds), directions(t, plain, rec, spread)
		back := newArray(out, in, kernel)
		turn(back, got["c.weight"])
		near(t, name+": weight", back.v, want["c.weight"].v, 1e-9)
		near(t, name+": bias", got["c.bias"].v, want["c.bias"].v, 1e-9)
	}
}

// TestConvolutionIsLinear (X11): a convolution with a single output position is a linear layer on the patch; in one and three
// dimensions as in two.
func TestConvolutionIsLinear(t *testing.T) {
	for _, image := range [][]int{{1, 1}, {3}, {2, 2}, {2, 1, 2}} {
		rng := rand.New(rand.NewPCG(3, 51))
		size, dims := 1, ""
		for _, d := range image {
			size *= d
			dims += fmt.Sprintf(",%d", d)
		}
		in := 2 * size
		w, b := normals(rng, 3, in), normals(rng, 3)
		linear := source(fmt.Sprintf(`(double[N,%d] x) => (double[N,3] y) PARAMS { y = Gemm <transB: int = 1> (x, "l.weight", "l.bias") }`, in), arrays{"l.weight": w, "l.bias": b})
		conv := source(fmt.Sprintf(`(double[N,2%s] x) => (double[N,3] y) PARAMS { z = Conv (x, "l.weight", "l.bias")  y = Flatten <axis: int = 1> (z) }`, dims),
			arrays{"l.weight": {append([]int{3, 2}, image...), w.v}, "l.bias": b})
		feeds := stepsOf(rng, 3, 5, in)
		var images []arrays
		for _, f := range feeds {
			images = append(images, arrays{"x": {append([]int{5, 2}, image...), f["x"].v}, "target": f["target"]})
		}
		for name, rec := range tappedMethods(t) {
			want := directions(t, linear, rec, feeds)
			nearAll(t, fmt.Sprint(name, image), directions(t, conv, rec, images), want, 1e-10)
		}
	}
}

// TestNormUnits (X13): the blocks of scale and shift of every normalisation are the second moments of the gradients of single
// examples, which the reference networks compute by themselves.
func TestNormUnits(t *testing.T) {
	const lambda = 0.05
	for method, c := range claims(t, norms) {
		if c.not != "" {
			continue
		}
		rec := still(t, method, append([]string{"solve.every=1", fmt.Sprintf("damping=%g", lambda)}, c.set...)...)
		for _, n := range normNets() {
			rng := rand.New(rand.NewPCG(4, 51))
			params, x := n.params(rng), n.inputs(rng, 5)
			target := labels(rng, n.classes, 5)
			out := instrument(t, opset(source(n.body, params), 23), rec, pass.Options{OutputGrad: true, OutputPrecond: true}).step(arrays{"x": x, "target": target})
			rows := n.perRow(params, x, crossEntropyOf(target))
			squares := [][]arrays{rows}
			if rec.Curvature.Source == "exact" {
				squares = nil
				for _, column := range newKFACTwin(n, rec, params).exactDraws(x) {
					squares = append(squares, n.perRow(params, x, column))
				}
			}
			names := sortedKeys(n.shapes)
			for c := range params[names[0]].v {
				k := len(names)
				moment := func(row arrays) []float64 {
					v := make([]float64, k)
					for i, name := range names {
						v[k-1-i] = row[name].v[c] // weight before bias
					}
					return v
				}
				f, g := mat.NewDense(k, k, nil), mat.NewVecDense(k, nil)
				for _, column := range squares {
					for _, row := range column {
						outer(f, 1/float64(len(rows)), moment(row))
					}
				}
				for _, row := range rows {
					g.AddScaledVec(g, 1/float64(len(rows)), mat.NewVecDense(k, moment(row)))
				}
				if block, kept := out["asdl/n/F/next"]; kept && !rec.Accumulate.Debias {
					near(t, method+", "+n.name+": block", block.v[k*k*c:k*k*(c+1)], flat(f), 1e-9)
				}
				var d mat.VecDense
				must(d.SolveVec(addEye(f, lambda), g))
				for i, name := range names {
					near(t, fmt.Sprintf("%s, %s: %s[%d]", method, n.name, name, c), []float64{out["precond/"+name].v[c]}, []float64{d.AtVec(k - 1 - i)}, 1e-8)
				}
			}
		}
	}
}

const normsFallBack = "normalisations get the fall-back"

var norms = map[string]claim{
	"sgd": {not: byEntry}, "adagrad": {not: byEntry}, "adam": {not: byEntry},
	"kfac": {set: []string{"curvature.source=emp", "accumulate.beta=0", "accumulate.debias=false"}}, "shampoo": {not: byEntry}, "kfac-reduce": {set: []string{"curvature.source=emp"}}, "kflr": {},
	"kfra": {not: normsFallBack}, "ekfac": {}, "skfac": {set: []string{"curvature.source=emp"}}, "foof": {not: normsFallBack}, "eva": {not: normsFallBack}, "unit-ng": {set: []string{"curvature.source=emp"}},
	"muon": {not: normsFallBack}, "tnt": {not: byEntry}, "kl-tnt": {not: byEntry}, "soap": {not: byEntry}, "kl-shampoo": {not: byEntry}, "splus": {not: byEntry}, "psgd-kron": {not: byEntry},
	"adahessian": {not: byEntry}, "sfn": {not: byEntry}, "esgd": {not: byEntry}, "psgd-kf": {not: "a channel has factors, not a block"}, "k-bfgs": {not: normsFallBack}, "sophia-g": {not: byEntry},
	"seng": {not: "the Gram matrix is of all channels together: TestSENGDense"}, "tonga-unit": {not: "the blocks are of mean gradients: TestTongaDense"},
}

const byEntry = "scale and shift are a tensor each"

// normNets are single normalisations of [4 channels, 6 positions] with a mean over positions behind them.
func normNets() []*net {
	const channels, size, eps = 4, 6, 0.125
	weight := map[string][]int{"n.weight": {channels}}
	both := map[string][]int{"n.weight": {channels}, "n.bias": {channels}}
	// standard normalises over groups of sections of z; centred or not.
	standard := func(z vec, groups int, centred bool) vec {
		out, n := make(vec, len(z)), len(z)/groups
		for g := range groups {
			var mean, square complex128
			for _, v := range z[g*n : (g+1)*n] {
				mean += v / complex(float64(n), 0)
			}
			if !centred {
				mean = 0
			}
			for _, v := range z[g*n : (g+1)*n] {
				square += (v - mean) * (v - mean) / complex(float64(n), 0)
			}
			for i, v := range z[g*n : (g+1)*n] {
				out[g*n+i] = (v - mean) / complex(math.Sqrt(real(square)+eps), 0)
			}
		}
		return out
	}
	pooled := func(groups int, per int) func(r *ref, x vec) []vec { // per: elements of z that share scale and shift
		return func(r *ref, x vec) []vec {
			z := standard(x, groups, true)
			out := make(vec, channels)
			for i, v := range z {
				u := v * r.w["n.weight"][i/per]
				if b := r.w["n.bias"]; b != nil {
					u += b[i/per]
				}
				out[i/size] += cmplx.Tanh(u) / size
			}
			return []vec{out}
		}
	}
	image := fmt.Sprintf(`(double[N,%d,2,3] x) => (double[N,%d] y) PARAMS { h = %%s  a = Tanh (h)  y = ReduceMean <keepdims: int = 0> (a, axes) }`, channels, channels)
	image = strings.Replace(image, "PARAMS {", `PARAMS { axes = Constant <value_ints: ints = [2, 3]> () `, 1)
	nets := []*net{
		{name: "instance", body: fmt.Sprintf(image, `InstanceNormalization <epsilon: float = 0.125> (x, "n.weight", "n.bias")`), shapes: both, x: []int{channels, 2, 3}, forward: pooled(channels, size)},
		{name: "group", body: fmt.Sprintf(image, `GroupNormalization <epsilon: float = 0.125, num_groups: int = 2> (x, "n.weight", "n.bias")`), shapes: both, x: []int{channels, 2, 3}, forward: pooled(2, size)},
		{
			name: "layer, two dimensions", body: `(double[N,2,2] x) => (double[N,4] y) PARAMS { h = LayerNormalization <axis: int = 1, epsilon: float = 0.125> (x, "n.weight", "n.bias")  y = Flatten <axis: int = 1> (h) }`,
			shapes: map[string][]int{"n.weight": {2, 2}, "n.bias": {2, 2}}, x: []int{2, 2},
			forward: func(r *ref, x vec) []vec {
				z := standard(x, 1, true)
				for i := range z {
					z[i] = z[i]*r.w["n.weight"][i] + r.w["n.bias"][i]
				}
				return []vec{z}
			},
		},
		{
			name: "root mean square", body: `(double[N,4] x) => (double[N,4] y) PARAMS { y = RMSNormalization <epsilon: float = 0.125> (x, "n.weight") }`,
			shapes: weight, x: []int{channels},
			forward: func(r *ref, x vec) []vec {
				z := standard(x, 1, false)
				for i := range z {
					z[i] *= r.w["n.weight"][i]
				}
				return []vec{z}
			},
		},
		{
			name: "layer without shift", body: `(double[N,4] x) => (double[N,4] y) PARAMS { y = LayerNormalization <epsilon: float = 0.125> (x, "n.weight") }`,
			shapes: weight, x: []int{channels},
			forward: func(r *ref, x vec) []vec {
				z := standard(x, 1, true)
				for i := range z {
					z[i] *= r.w["n.weight"][i]
				}
				return []vec{z}
			},
		},
	}
	for _, n := range nets {
		n.classes, n.rows = channels, 1
	}
	return nets
}
