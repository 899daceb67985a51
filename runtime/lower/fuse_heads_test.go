package lower_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/asdlc/asdlc/graph/graphtest"
	"github.com/asdlc/asdlc/runtime/kernel"
	"github.com/asdlc/asdlc/runtime/lower"
	"github.com/asdlc/asdlc/runtime/vm"
)

// TestFuseHeads: products of transposed batches are Einsums without Transposes, and their values stay.
func TestFuseHeads(t *testing.T) {
	all := kernel.Default()
	var rows []kernel.Row
	for _, table := range all {
		rows = append(rows, slices.DeleteFunc(slices.Clone(table), func(r kernel.Row) bool { return r.Domain == "" && r.Op == "Einsum" })...)
	}
	pool := kernel.NewPool(2)
	defer pool.Close()
	run := func(t *testing.T, src string, tables ...[]kernel.Row) (p *lower.Program, out []float32) {
		t.Helper()
		reg, err := kernel.NewRegistry(tables...)
		if err != nil {
			t.Fatal(err)
		}
		if p, err = lower.Lower(graphtest.MustParse(t, src), reg, pool); err != nil {
			t.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(1, 2))
		for _, x := range bind(t, p) {
			for i := range kernel.Data[float32](x) {
				kernel.Data[float32](x)[i] = float32(rng.NormFloat64())
			}
		}
		m, err := vm.New(p, vm.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.RunAll(); err != nil {
			t.Fatal(err)
		}
		return p, kernel.Data[float32](m.Output(0))
	}
	const operands = "x = Transpose <perm: ints = [0, 2, 1, 3]> (a) y = Transpose <perm: ints = [0, 2, 1, 3]> (b) yt = Transpose <perm: ints = [0, 2, 3, 1]> (b) "
	for _, tc := range []struct {
		name, body          string
		einsums, transposes int
	}{
		{"both operands", "c = MatMul(x, yt)", 1, 0},
		{"exchanged twice", "yy = Transpose <perm: ints = [0, 1, 3, 2]> (y) c = MatMul(x, yy)", 1, 0},
		{"the result too", "p = MatMul(x, yt) c = Transpose <perm: ints = [0, 2, 1, 3]> (p)", 1, 0},
		{"the result by columns", "p = MatMul(x, yt) c = Transpose <perm: ints = [0, 3, 1, 2]> (p)", 1, 0},
		{"a result without rows and columns", "p = MatMul(x, yt) c = Transpose <perm: ints = [0, 2, 3, 1]> (p)", 1, 1},
		{"a result that is used twice", "p = MatMul(x, yt) q = Transpose <perm: ints = [0, 2, 1, 3]> (p) r = Abs(p) s = Transpose <perm: ints = [0, 2, 1, 3]> (r) c = Add(q, s)", 1, 2},
		{"an operand without rows and columns", "u = Transpose <perm: ints = [0, 3, 1, 2]> (a) v = Transpose <perm: ints = [0, 1, 3, 2]> (u) c = MatMul(u, v)", 0, 1},
		{"a scaled operand", "s = Mul(x, half) st = Transpose <perm: ints = [0, 1, 3, 2]> (s) d = MatMul(s, yt) e = MatMul(st, d) c = MatMul(e, y)", 3, 0},
		{"a scaled result", "p = MatMul(x, yt) s = Mul(half, p) c = Transpose <perm: ints = [0, 2, 1, 3]> (s)", 1, 0},
		{"a scale for each", "s = Mul(x, each) c = MatMul(s, yt)", 1, 1},
		{"rows and columns alone", "z = Transpose <perm: ints = [0, 1, 3, 2]> (a) c = MatMul(a, z)", 0, 0},
		{"one matrix for all", "z = Transpose <perm: ints = [1, 0]> (w) c = MatMul(x, z)", 0, 1},
	} {
		for _, n := range [][]int{{2, 3, 5, 7, 4}, {1, 1, 17, 65, 64}, {3, 2, 65, 1, 9}} {
			src := fmt.Sprintf(`<ir_version: 8, opset_import: ["" : 17]> g (float[%[1]d,%[3]d,%[2]d,%[5]d] a, float[%[1]d,%[4]d,%[2]d,%[5]d] b, float[6,%[5]d] w, float half, float[%[5]d] each)
				=> (float[n1,n2,n3,n4] c) { %s%s }`, n[0], n[1], n[2], n[3], n[4], operands, tc.body)
			p, got := run(t, src, all...)
			einsums, transposes := 0, 0
			for n := range p.Model.Graph.Nodes() {
				if n.Is("", "Einsum") {
					einsums++
				}
				if n.Is("", "Transpose") && (len(n.Out(0).Uses()) > 0 || n.Out(0).IsOutput()) {
					transposes++
				}
			}
			if einsums != tc.einsums || transposes != tc.transposes {
				t.Errorf("%s, sizes %v: %d Einsums and %d Transposes, want %d and %d", tc.name, n, einsums, transposes, tc.einsums, tc.transposes)
			}
			_, want := run(t, src, rows)
			for i := range want {
				if math.Abs(float64(got[i]-want[i])) > 1e-4*(1+math.Abs(float64(want[i]))) {
					t.Fatalf("%s, sizes %v: element %d is %v, without Einsums %v", tc.name, n, i, got[i], want[i])
				}
			}
		}
	}
}
