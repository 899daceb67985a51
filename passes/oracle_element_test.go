package passes_test

import (
	"archive/tar"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/graphtest"
	"github.com/asdlc/asdlc/graph/onnx"
	"github.com/asdlc/asdlc/passes/pass"
)

// elementTwin is SGD, AdaGrad or Adam on one tensor.
type elementTwin struct {
	method string
	eps    float64
	beta1  float64
	beta2  float64
	m, v   []float64
	t      int
}

func (tw *elementTwin) step(g []float64) []float64 {
	if tw.v == nil {
		tw.m, tw.v = make([]float64, len(g)), make([]float64, len(g))
	}
	tw.t++
	d := make([]float64, len(g))
	for i, x := range g {
		switch tw.method {
		case "sgd":
			d[i] = x
		case "adagrad":
			tw.v[i] += x * x
			d[i] = x / (math.Sqrt(tw.v[i]) + tw.eps)
		case "adam":
			tw.m[i] = tw.beta1*tw.m[i] + (1-tw.beta1)*x
			tw.v[i] = tw.beta2*tw.v[i] + (1-tw.beta2)*x*x
			m, v := tw.m[i]/(1-math.Pow(tw.beta1, float64(tw.t))), tw.v[i]/(1-math.Pow(tw.beta2, float64(tw.t)))
			d[i] = m / (math.Sqrt(v) + tw.eps)
		}
	}
	return d
}

// TestElementTwin follows the element-wise methods and the update rule on a network whose gradients change.
func TestElementTwin(t *testing.T) {
	for _, c := range []struct {
		method string
		set    []string
	}{
		{"sgd", nil},
		{"sgd", []string{"update.momentum=0"}},
		{"sgd", []string{"update.nesterov=true", "update.weight_decay=0.05"}},
		{"sgd", []string{"update.decay=decoupled", "update.weight_decay=0.05", "update.clip_norm=0.1"}},
		{"adagrad", nil},
		{"adagrad", []string{"damping=0.1", "update.momentum=0.5", "update.weight_decay=0.05"}},
		{"adam", nil},
		{"adam", []string{"apply.beta=0.5", "accumulate.beta=0.7", "damping=0.01", "update.weight_decay=0.1", "update.lr=0.1"}},
		{"adam", []string{"update.decay=coupled", "update.weight_decay=0.1", "update.clip_norm=0.5"}},
	} {
		t.Run(fmt.Sprint(c.method, c.set), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 7))
			n, rec := sequenceNet(true), record(t, c.method, c.set...)
			params := n.params(rng)
			s := instrument(t, source(n.body, params), rec, all)
			twins, buffers := map[string]*elementTwin{}, arrays{}
			for name := range params {
				twins[name] = &elementTwin{method: c.method, eps: rec.Solve.Damping.Value, beta1: rec.Apply.Beta, beta2: rec.Accumulate.Beta}
			}
			for k := range 5 {
				x, target := n.inputs(rng, 4), labels(rng, n.classes, 4)
				out := s.step(arrays{"x": x, "target": target})
				grads, dirs := n.gradient(params, x, crossEntropyOf(target)), arrays{}
				for name, g := range grads {
					for i := range g.v {
						g.v[i] /= 4
					}
					dirs[name] = array{g.shape, twins[name].step(g.v)}
				}
				nearAll(t, fmt.Sprint("gradient ", k), outputsOf(out, "grad/", ""), grads, 1e-9)
				nearAll(t, fmt.Sprint("direction ", k), outputsOf(out, "precond/", ""), dirs, 1e-9)
				update(rec, rec.Update.LR, params, buffers, grads, dirs)
				nearAll(t, fmt.Sprint("parameters ", k), outputsOf(out, "", "/next"), params, 1e-9)
			}
		})
	}
}

// TestElementFacts: what is known of the first step, of constant gradients and of the scale of the loss.
func TestElementFacts(t *testing.T) {
	g := series(2, 1, 6)[0]
	constant := []array{g, g, g, g}
	signs := make([]float64, 6)
	for i, v := range g.v {
		signs[i] = math.Copysign(1, v)
	}
	for k, d := range directionsOf(t, []string{"damping=0"}, "adam", constant...) {
		near(t, fmt.Sprint("adam under a constant gradient, step ", k), d.v, signs, 1e-9)
	}
	for k, d := range directionsOf(t, []string{"damping=0"}, "adagrad", constant...) {
		want := make([]float64, 6)
		for i := range want {
			want[i] = signs[i] / math.Sqrt(float64(k+1))
		}
		near(t, fmt.Sprint("adagrad under a constant gradient, step ", k), d.v, want, 1e-9)
	}
	changing := series(3, 4, 6)
	var scaled []array
	for _, g := range changing {
		c := g.clone()
		for i := range c.v {
			c.v[i] *= 1000
		}
		scaled = append(scaled, c)
	}
	for _, name := range []string{"adam", "adagrad"} {
		one, two := directionsOf(t, []string{"damping=0"}, name, changing...), directionsOf(t, []string{"damping=0"}, name, scaled...)
		for k := range one {
			near(t, name+" under a scaled loss", two[k].v, one[k].v, 1e-9)
		}
	}
	none := directionsOf(t, []string{"damping=0", "apply.beta=0", "accumulate.beta=0"}, "adam", changing...)
	for k, d := range none {
		for i, v := range changing[k].v {
			near(t, "adam without memory", d.v[i:i+1], []float64{math.Copysign(1, v)}, 1e-9)
		}
	}
}

// nodeTests reads the files of some tests from the archive of ONNX backend node tests.
func nodeTests(t *testing.T, names ...string) map[string]map[string][]byte {
	t.Helper()
	f, err := os.Open(graphtest.Shared(t, "onnx-node-tests-1.22.0.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zip, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]map[string][]byte{}
	for r := tar.NewReader(zip); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		dir, file, _ := strings.Cut(strings.TrimPrefix(path.Clean(h.Name), "node/"), "/")
		if !slices.Contains(names, dir) || h.Typeflag != tar.TypeReg {
			continue
		}
		if tests[dir] == nil {
			tests[dir] = map[string][]byte{}
		}
		if tests[dir][path.Base(file)], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
	return tests
}

// tensorValues decodes a serialized TensorProto of floats or int64 in raw form.
func tensorValues(t *testing.T, pb []byte) array {
	t.Helper()
	const dims, dataType, rawData = 1, 2, 9
	a, kind, raw := array{}, uint64(0), []byte(nil)
	for len(pb) > 0 {
		num, typ, n := protowire.ConsumeTag(pb)
		pb = pb[n:]
		switch {
		case num == dims && typ == protowire.VarintType:
			v, _ := protowire.ConsumeVarint(pb)
			a.shape = append(a.shape, int(v))
		case num == dataType:
			kind, _ = protowire.ConsumeVarint(pb)
		case num == rawData:
			raw, _ = protowire.ConsumeBytes(pb)
		}
		if n = protowire.ConsumeFieldValue(num, typ, pb); n < 0 {
			t.Fatal("no tensor")
		}
		pb = pb[n:]
	}
	switch kind {
	case 1:
		for ; len(raw) >= 4; raw = raw[4:] {
			a.v = append(a.v, float64(math.Float32frombits(binary.LittleEndian.Uint32(raw))))
		}
	case 7:
		for ; len(raw) >= 8; raw = raw[8:] {
			a.v = append(a.v, float64(int64(binary.LittleEndian.Uint64(raw))))
		}
	}
	if len(a.v) == 0 {
		t.Fatalf("no values of type %d", kind)
	}
	return a
}

// published is a row of the table of ONNX's training operators: how a test's attributes become settings and its states
// those of the step graph.
type published struct {
	test, method string
	states       []string // slots of the states, in the order of the operator's inputs
	settings     func(n *graph.Node) []string
	rate         func(n *graph.Node, r, t float64) float64
}

func setting(path string, v float64) string { return path + "=" + strconv.FormatFloat(v, 'g', -1, 64) }

func attr(n *graph.Node, name string) float64 { return float64(n.Float(name, 0)) }

var publishedTests = []published{
	{"test_adagrad", "adagrad", []string{"v"}, adagradSettings, decayedRate},
	{"test_adagrad_multiple", "adagrad", []string{"v"}, adagradSettings, decayedRate},
	{"test_adam", "adam", []string{"m", "v"}, adamSettings, plainRate},
	{"test_adam_multiple", "adam", []string{"m", "v"}, adamSettings, plainRate},
	{"test_momentum", "sgd", []string{"momentum"}, momentumSettings, plainRate},
	{"test_momentum_multiple", "sgd", []string{"momentum"}, momentumSettings, plainRate},
	{"test_nesterov_momentum", "sgd", []string{"momentum"}, momentumSettings, plainRate},
}

func adagradSettings(n *graph.Node) []string { return []string{setting("damping", attr(n, "epsilon"))} }

func adamSettings(n *graph.Node) []string {
	return []string{"accumulate.debias=false", setting("damping", attr(n, "epsilon")), setting("apply.beta", attr(n, "alpha")), setting("accumulate.beta", attr(n, "beta"))}
}

func momentumSettings(n *graph.Node) []string {
	return []string{setting("update.momentum", attr(n, "alpha")), "update.nesterov=" + strconv.FormatBool(n.Str("mode", "") == "nesterov")}
}

func plainRate(_ *graph.Node, r, _ float64) float64 { return r }

func decayedRate(n *graph.Node, r, t float64) float64 { return r / (1 + t*attr(n, "decay_factor")) }

// TestPublishedVectors replays the node tests of ai.onnx.preview.training: one update from given tensors, gradients and
// states. The operators' norm_coefficient, a decay inside the statistics, goes into the gradient that is fed. The tests
// are of update 0, at which the operators correct no bias.
func TestPublishedVectors(t *testing.T) {
	var names []string
	for _, p := range publishedTests {
		names = append(names, p.test)
	}
	tests := nodeTests(t, names...)
	for _, p := range publishedTests {
		files := tests[p.test]
		m, err := onnx.Decode(files["model.onnx"], onnx.DecodeOptions{})
		if err != nil {
			t.Fatalf("%s: %v", p.test, err)
		}
		n := m.Graph.First()
		read := func(kind string, i int) array {
			a := tensorValues(t, files[fmt.Sprintf("%s_%d.pb", kind, i)])
			if len(a.v) == 1 { // twice, because a tensor of one element is no parameter
				a.shape, a.v = []int{2}, []float64{a.v[0], a.v[0]}
			}
			return a
		}
		rate, update := read("input", 0).v[0], read("input", 1).v[0]
		if update != 0 {
			t.Fatalf("%s: update %g", p.test, update)
		}
		tensors := len(m.Graph.Outputs()) / (1 + len(p.states))
		for i := range tensors {
			x, g := read("input", 2+i), read("input", 2+tensors+i)
			for j := range g.v {
				g.v[j] += attr(n, "norm_coefficient") * x.v[j]
			}
			text, feeds := given(x.shape...)
			rec := record(t, p.method, append(p.settings(n), "update.weight_decay=0")...)
			s := instrument(t, text, rec, pass.Options{Loss: pass.LossOptions{Row: "mse", Reduction: "sum"}})
			in := feeds(g)
			for j, v := range x.v {
				in["target"].v[j] += v
			}
			in["lr"] = number(p.rate(n, rate, update))
			set := func(name string, a array) {
				must(s.session.SetState(name, a.tensor(s.ports[name].Type.Elem)))
			}
			set("w", x)
			for k, slot := range p.states {
				set("asdl/w/"+slot, read("input", 2+(2+k)*tensors+i))
			}
			out := s.step(in)
			near(t, p.test+": parameters", out["w/next"].v, read("output", i).v, 1e-6)
			for k, slot := range p.states {
				near(t, p.test+": "+slot, out["asdl/w/"+slot+"/next"].v, read("output", (1+k)*tensors+i).v, 1e-6)
			}
		}
	}
}
