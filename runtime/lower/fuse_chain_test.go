package lower_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/graphtest"
	"github.com/asdlc/asdlc/runtime/kernel"
	"github.com/asdlc/asdlc/runtime/lower"
	"github.com/asdlc/asdlc/runtime/vm"
)

// without is a registry that lacks an operator of the runtime.
func without(t *testing.T, op string) *kernel.Registry {
	t.Helper()
	tables := kernel.Default()
	for i := range tables {
		tables[i] = slices.DeleteFunc(slices.Clone(tables[i]), func(r kernel.Row) bool { return r.Domain == graph.Asdl && r.Op == op })
	}
	reg, err := kernel.NewRegistry(tables...)
	if err != nil {
		t.Fatal(err)
	}
	return reg
}

// randomChain is a graph of element-wise operators on broadcast operands, with reductions and Transposes between them, so that not
// everything that is element-wise can be one node.
func randomChain(rng *rand.Rand, elem string, dims []int) string {
	all := strings.Trim(strings.Join(strings.Fields(fmt.Sprint(dims)), ","), "[]")
	shapes := []string{all, fmt.Sprintf("1,%d,1", dims[1]), fmt.Sprint(dims[2]), fmt.Sprintf("%d,1,1", dims[0]), fmt.Sprintf("%d,1,%d", dims[0], dims[2]), "1"}
	var ins, full, small, body, outs []string
	for i, s := range append(shapes, all) {
		name := fmt.Sprintf("x%d", i)
		ins = append(ins, fmt.Sprintf("%s[%s] %s", elem, s, name))
		if s == all {
			full = append(full, name)
		} else {
			small = append(small, name)
		}
	}
	pick := func(list []string) string { return list[max(rng.IntN(len(list)), rng.IntN(len(list)))] }
	for i := range 5 + rng.IntN(25) {
		v := fmt.Sprintf("v%d", i)
		a, b := pick(full), pick(full)
		if rng.IntN(2) == 0 {
			b = pick(small)
		}
		if rng.IntN(2) == 0 {
			a, b = b, a
		}
		switch rng.IntN(8) {
		case 0:
			body = append(body, fmt.Sprintf("%s = %s(%s)", v, []string{"Tanh", "Neg", "Sigmoid", "Relu", "Erf"}[rng.IntN(5)], pick(full)))
		case 1:
			body = append(body, fmt.Sprintf("%s = ReduceMean <axes: ints = [0, 2]> (%s)", v, pick(full)))
			small = append(small, v)
			continue
		case 2:
			body = append(body, fmt.Sprintf("%s_t = Transpose <perm: ints = [2, 1, 0]> (%s) %s = Transpose <perm: ints = [2, 1, 0]> (%s_t)", v, pick(full), v, v))
		default:
			body = append(body, fmt.Sprintf("%s = %s(%s, %s)", v, []string{"Add", "Sub", "Mul"}[rng.IntN(3)], a, b))
		}
		full = append(full, v)
	}
	for _, v := range full[2:] {
		if rng.IntN(4) == 0 || v == full[len(full)-1] {
			outs = append(outs, fmt.Sprintf("%s[%s] %s", elem, all, v))
		}
	}
	return fmt.Sprintf("g (%s) => (%s) { %s }", strings.Join(ins, ", "), strings.Join(outs, ", "), strings.Join(body, " "))
}

// TestFuseChains: what chains give is what their operators give alone, to the bit.
func TestFuseChains(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	plain, chains := without(t, "Pointwise"), 0
	all, err := kernel.NewRegistry(kernel.Default()...)
	if err != nil {
		t.Fatal(err)
	}
	pool := kernel.NewPool(2)
	defer pool.Close()
	for trial := range 150 {
		dims := [][]int{{2, 3, 5}, {1, 1, 1}, {3, 2, 80}, {2, 70, 9}, {1, 3, 1100}, {40, 30, 33}}[trial%6]
		src := randomChain(rng, []string{"float", "double"}[trial/6%2], dims)
		m := graphtest.MustParse(t, "<ir_version: 8, opset_import: [\"\" : 17]> "+src)
		var want [][]byte
		for _, reg := range []*kernel.Registry{plain, all} {
			p, err := lower.Lower(m, reg, pool)
			if err != nil {
				t.Fatal(err)
			}
			for n := range p.Model.Graph.Nodes() {
				if n.Is(graph.Asdl, "Pointwise") {
					chains++
				}
			}
			values := rand.New(rand.NewPCG(uint64(trial), 1))
			for _, x := range bind(t, p) {
				for i := range x.Len() {
					if v := values.NormFloat64(); x.Elem == graph.Float32 {
						kernel.Data[float32](x)[i] = float32(v)
					} else {
						kernel.Data[float64](x)[i] = v
					}
				}
			}
			machine, err := vm.New(p, vm.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := machine.RunAll(); err != nil {
				t.Fatalf("%v\n%s", err, src)
			}
			for i := range p.Main.Outputs {
				if reg == plain {
					want = append(want, bytes.Clone(machine.Output(i).Raw))
				} else if !bytes.Equal(want[i], machine.Output(i).Raw) {
					t.Fatalf("output %d differs from that without chains:\n%s", i, src)
				}
			}
		}
	}
	if chains < 150 {
		t.Errorf("%d chains in 150 graphs", chains)
	}
}
