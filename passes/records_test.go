package passes_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
)

// recordFile reads a record of docs/records, with settings "path=value".
func recordFile(t testing.TB, name string, settings ...string) method.Record {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "docs", "records", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	rec, err := method.Parse(data)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	for _, s := range settings {
		path, value, _ := strings.Cut(s, "=")
		if err := method.Set(&rec, path, value); err != nil {
			t.Fatal(err)
		}
	}
	if err := method.Validate(rec); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return rec
}

// recordFiles lists the records of docs/records.
func recordFiles(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "docs", "records", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no records: %v", err)
	}
	for i, f := range files {
		files[i] = strings.TrimSuffix(filepath.Base(f), ".yaml")
	}
	return files
}

// TestDocumentedRecords: each record trains networks of each kind of layer in float32, twenty steps on one batch: all stays
// finite without a guard's help, and the loss falls. Each acts on the hidden layers, and docs/combinations.md tells of it.
func TestDocumentedRecords(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "docs", "combinations.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range recordFiles(t) {
		t.Run(name, func(t *testing.T) {
			rec := recordFile(t, name)
			if rec.Name != name {
				t.Errorf("the record is called %s", rec.Name)
			}
			if !strings.Contains(string(text), "records/"+name+".yaml") {
				t.Error("docs/combinations.md has no link to it")
			}
			for _, n := range append(allNets(), groupsNet()) {
				rng := rand.New(rand.NewPCG(3, 91))
				s := instrument(t, single(source(n.body, n.params(rng))), rec, pass.Options{})
				own := 0
				for _, l := range s.result.Report.Layers {
					if !l.Fallback {
						own++
					}
				}
				if own == 0 && n.name != "tokens" && n.name != "tied" { // of which one is an embedding, and one the head
					t.Errorf("%s: every parameter has the fall-back", n.name)
				}
				batch := n.batch(rng, 8)
				var first, last arrays
				for k := range 20 {
					last = s.step(batch)
					if k == 0 {
						first = last
					}
				}
				if !finiteArrays(last) {
					t.Errorf("%s: a state is not finite", n.name)
				}
				if g, ok := last["asdl/guards/next"]; ok && g.v[0] != 0 {
					t.Errorf("%s: guards stepped in %g times", n.name, g.v[0])
				}
				if !(last["loss"].v[0] < first["loss"].v[0]) {
					t.Errorf("%s: the loss goes from %g to %g", n.name, first["loss"].v[0], last["loss"].v[0])
				}
			}
		})
	}
}

// groupsNet has a convolution of two groups and a transposed one of as many.
func groupsNet() *net {
	return &net{
		name: "groups",
		body: `(double[N,4,3,3] x) => (double[N,3] y) PARAMS {
			h = Conv <kernel_shape: ints = [2,2], group: int = 2> (x, "c1.weight", "c1.bias")  a = Tanh (h)
			g = ConvTranspose <kernel_shape: ints = [2,2], group: int = 2> (a, "c2.weight", "c2.bias")  c = Tanh (g)
			m = ReduceMean <axes: ints = [2,3], keepdims: int = 0> (c)  y = Gemm <transB: int = 1> (m, "head.weight", "head.bias") }`,
		shapes: map[string][]int{"c1.weight": {6, 2, 2, 2}, "c1.bias": {6}, "c2.weight": {6, 2, 2, 2}, "c2.bias": {4}, "head.weight": {3, 4}, "head.bias": {3}},
		x:      []int{4, 3, 3}, classes: 3, rows: 1,
	}
}
