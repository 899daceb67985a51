package vm_test

import (
	"testing"

	"github.com/asdlc/asdlc/runtime/kernel"
	"github.com/asdlc/asdlc/runtime/lower"
	"github.com/asdlc/asdlc/runtime/vm"
)

// Outputs that are taken keep their values in later runs, and are what the interpreter gives.
func TestOwnedOutputs(t *testing.T) {
	taken := 0
	for _, c := range cases {
		if len(c.states) > 0 {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			_, prog := machine(t, header+c.src)
			v, err := vm.New(prog, vm.Options{Owned: true})
			if err != nil {
				t.Fatal(err)
			}
			var got, want []*kernel.Tensor
			for run := range 3 {
				in := random(t, prog, uint64(run+1))
				for i, x := range in {
					v.Bind(i, x)
				}
				w, err := prog.Run(in)
				if err != nil {
					t.Fatal(err)
				}
				if err := v.RunAll(); err != nil {
					t.Fatal(err)
				}
				for i := range prog.Main.OutputNames {
					sameTensor(t, prog.Main.OutputNames[i], run, v.Output(i), w[i])
					if x := v.Take(i); x != nil {
						got, want = append(got, x), append(want, lower.Copy(w[i]))
						taken++
					}
				}
			}
			for i := range got {
				sameTensor(t, "taken", i, got[i], want[i])
			}
		})
	}
	if taken < 20 {
		t.Errorf("only %d outputs were taken", taken)
	}
}

// Outputs that are one value, an input or a constant are apart from each other and from it.
func TestOwnedOutputsAreApart(t *testing.T) {
	_, prog := machine(t, header+`g (float[3] x) => (float[3] a, float[3] b, float[1,3] d, float[3] x2, float[2] k2) <int64[2] s = {1, 3}, float[2] k = {1, 2}> {
		p = Relu(x) a = Neg(p) b = Identity(a) d = Reshape(a, s) x2 = Identity(x) k2 = Identity(k) }`)
	v, err := vm.New(prog, vm.Options{Owned: true})
	if err != nil {
		t.Fatal(err)
	}
	x := random(t, prog, 1)[0]
	v.Bind(0, x)
	if err := v.RunAll(); err != nil {
		t.Fatal(err)
	}
	seen := map[*byte]bool{&x.Raw[0]: true}
	for i, name := range prog.Main.OutputNames {
		y := v.Take(i)
		if y == nil || seen[&y.Raw[0]] {
			t.Fatalf("%s: %v shares its memory", name, y)
		}
		seen[&y.Raw[0]] = true
	}
}

// A machine whose arena grows keeps none of the old one: all plans work in the new.
func TestPlansMoveToALargerArena(t *testing.T) {
	v, _ := machine(t, header+`g (float[N] x) => (float[N] y) { a = Relu(x) b = Neg(x) y = Sub(a, b) }`)
	for _, n := range []int{3, 300, 3, 400_000, 300, 3} {
		x := kernel.Of(make([]float32, n), n)
		kernel.Data[float32](x)[n-1] = 2
		v.Bind(0, x)
		if err := v.RunAll(); err != nil {
			t.Fatal(err)
		}
		if y := kernel.Data[float32](v.Output(0)); len(y) != n || y[n-1] != 4 {
			t.Fatalf("%d elements give %d", n, len(y))
		}
	}
}
