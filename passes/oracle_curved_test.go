package passes_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/passes/pass"
)

// far is so large a slope that the squared error's own curvature is no more than rounding beside the model's.
const far = 1e9

// squares is a model whose loss is far * (x1 w1^2 + x2 w2^2): an output of sum x w^2 against a target far away.
func squares(w ...float64) (text string, feeds func(x1, x2 float64) arrays) {
	text = source(`(double[1,2] x) => (double[1,1] y) PARAMS { s = Mul ("w", "w")  r = Constant <value_ints: ints = [2,1]> ()
		u = Reshape (s, r)  y = MatMul (x, u) }`, arrays{"w": {[]int{2}, w}})
	return text, func(x1, x2 float64) arrays {
		return arrays{"x": {[]int{1, 2}, []float64{x1, x2}}, "target": {[]int{1, 1}, []float64{-far / 2}}}
	}
}

var squaresOptions = pass.Options{OutputPrecond: true, Noise: "input", Loss: pass.LossOptions{Row: "mse", Reduction: "sum"}}

// TestSaddleFree: on f = 2x^2/2 - 3y^2/2 one step kills x and doubles y, away from the saddle; the diagonal of a diagonal
// Hessian is exact with one probe of signs.
func TestSaddleFree(t *testing.T) {
	text, feeds := squares(0.7, 0.4)
	s := instrument(t, text, record(t, "sfn", with(newest, "damping=0", "update.lr=1")...), squaresOptions)
	v := probes(rand.New(rand.NewPCG(1, 32)), "rademacher", arrays{"w": newArray(2)})
	out := s.step(fed(feeds(1, -1.5), v))
	near(t, "diagonal", out["asdl/w/D/next"].v, []float64{2 * far, -3 * far}, 1e-7)
	near(t, "parameters", out["w/next"].v, []float64{0, 0.8}, 1e-7)
}

// TestFlat: where the Hessian vanishes, AdaHessian divides by its epsilon and SFN by its damping; a gradient of zero gives a
// step of zero.
func TestFlat(t *testing.T) {
	text, feeds := squares(0.7, 0.4)
	for name, want := range map[string]float64{"adahessian": 2 * 0.7 * far / 1e-4, "sfn": 2 * 0.7 * far / 0.1, "esgd": 2 * 0.7 * far / 1e-4, "sophia-g": 1} {
		s := instrument(t, text, record(t, name), squaresOptions)
		v := arrays{"w": newArray(2)} // with a probe of zero
		in := fed(feeds(1, 0), v).with("asdl/noise/targets", newArray(1, 1, 1))
		near(t, name, s.step(in)["precond/w"].v, []float64{want, 0}, 1e-9)
	}
}

// TestEquilibration: the mean of (Hv)^2 over normal v is the squared norm of H's rows, and of v.Hv over signs its diagonal.
func TestEquilibration(t *testing.T) {
	const samples = 1000
	n := mlpNet()
	rng := rand.New(rand.NewPCG(2, 32))
	params := n.params(rng)
	data := n.batch(rng, 4).with("lr", number(0))
	rows := instrument(t, source(n.body, params), record(t, "esgd", newest...), pass.Options{Noise: "input"})
	diag := instrument(t, source(n.body, params), record(t, "sfn", newest...), pass.Options{Noise: "input"})
	var norms, means arrays
	for range samples {
		norms = rows.step(fed(data, probes(rng, "normal", params)))
		means = diag.step(fed(data, probes(rng, "rademacher", params)))
	}
	h := n.hessian(params, data["x"], crossEntropyOf(data["target"]))
	names, index := coordinates(params)
	for k, name := range names {
		norm := 0.0
		for _, x := range h[k] {
			norm += x * x
		}
		slot := "asdl/" + name + "/D/next"
		if got := norms[slot].v[index[k]] / samples; math.Abs(got-norm) > 5*norm*math.Sqrt(2.0/samples) {
			t.Errorf("%s[%d]: mean of (Hv)^2 is %g, the row's squared norm %g", name, index[k], got, norm)
		}
		if got := means[slot].v[index[k]] / samples; math.Abs(got-h[k][k]) > 5*math.Sqrt(norm/samples) {
			t.Errorf("%s[%d]: mean of v.Hv is %g, the diagonal %g", name, index[k], got, h[k][k])
		}
	}
}

// TestSameStatistics: for signs, AdaHessian's squared estimates are ESGD's where nothing is averaged over space.
func TestSameStatistics(t *testing.T) {
	n := sequenceNet(true)
	rng := rand.New(rand.NewPCG(3, 32))
	params := n.params(rng)
	in := fed(n.batch(rng, 4), probes(rng, "rademacher", params))
	one := instrument(t, source(n.body, params), record(t, "adahessian", newest...), pass.Options{Noise: "input"}).step(in)
	two := instrument(t, source(n.body, params), record(t, "esgd", with(newest, "curvature.probe=rademacher")...), pass.Options{Noise: "input"}).step(in)
	for name := range params {
		near(t, name, one["asdl/"+name+"/D/next"].v, two["asdl/"+name+"/D/next"].v, 1e-12)
	}
}

// TestSampledDiagonal: the expectation over labels of Sophia-G's B g^2 is the diagonal of the Gauss-Newton matrix, which
// is the sum over classes of p_y times squared gradients of one example.
func TestSampledDiagonal(t *testing.T) {
	const batch = 2
	n := mlpNet()
	rng := rand.New(rand.NewPCG(4, 32))
	params := n.params(rng)
	data := n.batch(rng, batch).with("lr", number(0))
	s := instrument(t, source(n.body, params), record(t, "sophia-g", newest...), pass.Options{Noise: "input"})
	logits := n.logits(params, data["x"])
	want, last := arrays{}, arrays{}
	for name, p := range params {
		want[name], last[name] = newArray(p.shape...), newArray(p.shape...)
	}
	got := want.clone()
	for y := range 3 {
		for row, g := range n.perRow(params, data["x"], crossEntropyOf(array{[]int{batch}, []float64{float64(y), float64(y)}})) {
			for name, a := range g {
				for i, x := range a.v {
					want[name].v[i] += softmax(logits[row])[y] * x * x / batch
				}
			}
		}
		for z := range 3 {
			out := s.step(data.with("asdl/noise/labels", array{[]int{1, batch}, []float64{float64(y), float64(z)}}))
			for name := range params {
				d := out["asdl/"+name+"/D/next"]
				for i, x := range d.v {
					got[name].v[i] += softmax(logits[0])[y] * softmax(logits[1])[z] * (x - last[name].v[i])
				}
				last[name] = d
			}
		}
	}
	nearAll(t, "diagonal", got, want, 1e-9)
}

// TestSophia follows the clipped update over several steps.
func TestSophia(t *testing.T) {
	n := sequenceNet(false)
	rng := rand.New(rand.NewPCG(5, 32))
	params := n.params(rng)
	rec := record(t, "sophia-g", "accumulate.every=2", "update.lr=0.05", "damping=20")
	s := instrument(t, source(n.body, params), rec, all)
	m, h, buffers := arrays{}, arrays{}, arrays{}
	for name, p := range params {
		m[name], h[name] = newArray(p.shape...), newArray(p.shape...)
	}
	clipped, inside := 0, 0
	for k := range 6 {
		data := n.batch(rng, 4)
		rows := float64(4 * n.rows)
		sampled := labels(rng, n.classes, 1, 4*n.rows)
		out := s.step(data.with("asdl/noise/labels", sampled))
		grads := n.gradient(params, data["x"], crossEntropyOf(data["target"]))
		drawn := n.gradient(params, data["x"], crossEntropyOf(sampled))
		dirs := arrays{}
		for name, g := range grads {
			dir := newArray(g.shape...)
			for i := range g.v {
				g.v[i] /= rows
				m[name].v[i] = 0.965*m[name].v[i] + 0.035*g.v[i]
				if mean := drawn[name].v[i] / rows; k%2 == 0 {
					h[name].v[i] = 0.99*h[name].v[i] + 0.01*rows*mean*mean
				}
				ratio := math.Abs(m[name].v[i]) / (20 * h[name].v[i])
				if ratio < 1 {
					inside++
				} else {
					clipped++
				}
				dir.v[i] = math.Copysign(math.Min(ratio, 1), m[name].v[i])
			}
			dirs[name] = dir
		}
		nearAll(t, fmt.Sprint("direction ", k), outputsOf(out, "precond/", ""), dirs, 1e-8)
		update(rec, rec.Update.LR, params, buffers, grads, dirs)
		nearAll(t, fmt.Sprint("parameters ", k), outputsOf(out, "", "/next"), params, 1e-8)
	}
	if clipped == 0 || inside == 0 {
		t.Errorf("%d entries clipped, %d not", clipped, inside)
	}
}

// TestBadProbes: a batch or a probe that is not finite leaves estimates and moments as they are, and is counted.
func TestBadProbes(t *testing.T) {
	n := mlpNet()
	for _, name := range []string{"adahessian", "sfn", "esgd", "sophia-g", "psgd-kf", "k-bfgs"} {
		rng := rand.New(rand.NewPCG(6, 32))
		s := instrument(t, source(n.body, n.params(rng)), record(t, name, "accumulate.every=1"), pass.Options{})
		for _, bad := range []bool{true, false, true} {
			before := curved(s)
			data := n.batch(rng, 1)
			if bad {
				data["x"].v[1] = math.NaN()
				data = data.with("lr", number(0))
			}
			out := s.step(data)
			after := curved(s)
			if bad != (out["asdl/guards/next"].v[0] > before["asdl/guards"].v[0]) {
				t.Errorf("%s: guards go from %g to %g", name, before["asdl/guards"].v, out["asdl/guards/next"].v)
			}
			for slot, a := range after {
				if !finiteArrays(arrays{slot: a}) {
					t.Errorf("%s: %s is not finite", name, slot)
				}
			}
			if bad {
				s.reset(n, rng)
			}
		}
	}
}

// curved are the states of curvature and moments.
func curved(s *stepper) arrays {
	out := arrays{}
	for _, st := range s.session.States() {
		if strings.HasPrefix(st.In, "asdl/") && st.In != "asdl/step" {
			v, err := s.session.State(st.In)
			must(err)
			out[st.In] = fromTensor(v)
		}
	}
	return out
}

// reset gives the parameters back finite values.
func (s *stepper) reset(n *net, rng *rand.Rand) {
	for name, p := range n.params(rng) {
		must(s.session.SetState(name, p.tensor(s.ports[name].Type.Elem)))
	}
}
