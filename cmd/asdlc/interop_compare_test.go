//go:build interop

package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/data"
)

// reference is what the Go runtime computed, and how well it is determined.
type reference struct {
	step   *stepFile
	arrays map[string]*data.Array
	still  map[string][]bool               // entries of parameters that have no gradient
	near   func() []map[string]*data.Array // what Go computes from perturbed parameters and inputs
	parts  bool                            // runs may part
	// kinks is the number of operators with one, if the runtimes may be on two sides of a kink that no perturbed run crosses:
	// on one step of twenty for every deepKinks of them, or fewer in all.
	kinks int
}

// A free run may part at a kink that no perturbed run crosses: not on the first steps, and by no more than one example does.
const (
	kinkSteps = 5
	kinkTol   = 1e-2 // relative to the largest entry
	deepKinks = 16   // operators with a kink
)

// compare checks every output of every step of a run in onnxruntime, and reports the first step on which some are off.
func (r reference) compare(t *testing.T, run string, ort map[string]*data.Array) {
	t.Helper()
	of, rooted := map[string]string{}, map[string]bool{}
	for _, s := range r.step.state {
		of[s.Out] = s.Of
		if strings.Contains(s.Out, "/root") {
			rooted[s.Of] = true
		}
	}
	compared, sensitive, first, reported := 0, 0, -1, 0
	crossings := (r.kinks + deepKinks - 1) / deepKinks * r.step.steps / 20
	for k := 0; k < r.step.steps && reported == 0; k++ {
		comparedBefore, sensitiveBefore := compared, sensitive
		var misfits []string
		worst := 0.0
		for _, o := range r.step.outputs {
			_, param, _ := strings.Cut(o.Name, "/") // of grad/PARAM and precond/PARAM
			still := r.still[cmp.Or(of[o.Name], param)]
			if still != nil && !slices.Contains(still, false) || r.still[o.Name] != nil {
				continue
			}
			key := at(o.Name, k)
			got, want := ort[key], r.arrays[key]
			if got == nil && want != nil && o.Role == "next" { // a step graph of --split returns what it changed
				continue
			}
			if got == nil || want == nil || got.Elem() != want.Elem() {
				t.Fatalf("%s run: %s is %v in onnxruntime and %v in Go", run, key, got, want)
			}
			tol := stateTol
			switch {
			case o.Role == "loss":
				tol = lossTol
			case strings.Contains(o.Name, "/root"), rooted[of[o.Name]] && strings.Contains(o.Name, "/momentum"), rooted[param] && strings.HasPrefix(o.Name, "precond/"):
				tol = rootTol
			}
			compared++
			if stat := r.arrays[at(statisticOf(o.Name), k)]; stat != nil {
				still = undetermined(got, want, stat)
			}
			e := arrayError(got, want, still)
			if e <= tol {
				continue
			}
			sensitive++
			if first < 0 {
				first = k
			}
			if tol = max(tol, sensitivitySlack*r.sensitivity(key, still)); !(e <= tol) {
				worst = max(worst, e)
				misfits = append(misfits, fmt.Sprintf("%s differs by %.2g of its largest entry, want at most %.2g", o.Name, e, tol))
			}
		}
		here, crossed := sensitive-sensitiveBefore, len(misfits) > 0 && k >= kinkSteps && worst <= kinkTol
		if r.parts && (here > (compared-comparedBefore)/4 || crossed) {
			t.Logf("%s run: parts at step %d", run, k)
			sensitive = sensitiveBefore
			break
		}
		if len(misfits) > 0 && crossings > 0 {
			crossings--
			t.Logf("%s run: a kink is crossed at step %d: %s", run, k, misfits[0])
			sensitive = sensitiveBefore
			continue
		}
		for _, m := range misfits {
			if reported++; reported <= 8 {
				t.Errorf("%s run, step %d: %s", run, k, m)
			}
		}
	}
	if sensitive > 0 {
		t.Logf("%s run: from step %d on, %d of %d numbers are off by more than the plain tolerance, within their sensitivity", run, first, sensitive, compared)
	}
	share := 10
	if r.kinks > deepKinks { // each layer adds its rounding, and batch normalisation makes it no smaller
		share = 2
	}
	if compared == 0 || sensitive > compared/share && !r.parts {
		t.Errorf("%s run: %d of %d numbers needed their sensitivity to agree", run, sensitive, compared)
	}
}

// sensitivity is by how much an output of Go changes under perturbed inputs, relative to its largest entry.
func (r reference) sensitivity(key string, still []bool) float64 {
	s := 0.0
	for _, near := range r.near() {
		s = max(s, arrayError(near[key], r.arrays[key], still))
	}
	return s
}

// arrayError is the largest difference over the largest entry of want; +Inf where shapes differ or a number is not finite.
// Entries that are still, of an array of the parameter's size, do not count.
func arrayError(got, want *data.Array, still []bool) float64 {
	if !slices.Equal(got.Shape, want.Shape) {
		return math.Inf(1)
	}
	a, b := arrayFloats(got), arrayFloats(want)
	worst, largest := 0.0, 0.0
	for i := range b {
		if len(still) == len(b) && still[i] {
			continue
		}
		d := math.Abs(a[i] - b[i])
		if math.IsNaN(d) || math.IsInf(b[i], 0) {
			return math.Inf(1)
		}
		worst, largest = max(worst, d), max(largest, math.Abs(b[i]))
	}
	if worst == 0 {
		return 0
	}
	return worst / largest
}

// bases are the names of eigenbases and of the statistics that they are of.
var bases = strings.NewReplacer("/basis", "/stat", "/QA/", "/A/", "/QS/", "/S/")

// statisticOf is the output with the statistic whose eigenbasis an output is, or "".
func statisticOf(basis string) string {
	if stat := bases.Replace(basis); stat != basis && strings.HasSuffix(basis, "/next") {
		return stat
	}
	return ""
}

// undetermined marks the entries of an eigenbasis that are off by no more than the rounding of its statistic explains: an
// eigenvector turns by the size of the rounding over the distance of its eigenvalue to the next (Davis & Kahan 1970), which
// in the null space of a statistic of low rank is rounding too. Perturbed runs do not show that, because they leave the null
// space alone.
func undetermined(got, want, stat *data.Array) []bool {
	const rounding = 10 * 6e-8
	n := want.Shape[len(want.Shape)-1]
	if len(want.Shape) != 2 || want.Shape[0] != n || !slices.Equal(stat.Shape, want.Shape) || !slices.Equal(got.Shape, want.Shape) {
		return nil
	}
	q, near, s := arrayFloats(want), arrayFloats(got), arrayFloats(stat)
	eigenvalues, largest := make([]float64, n), 0.0
	for c := range n {
		for i := range n {
			for j := range n {
				eigenvalues[c] += q[i*n+c] * s[i*n+j] * q[j*n+c]
			}
		}
		largest = max(largest, math.Abs(eigenvalues[c]))
	}
	mask := make([]bool, n*n)
	for c := range n {
		gap := math.Inf(1)
		for o := range n {
			if o != c {
				gap = min(gap, math.Abs(eigenvalues[c]-eigenvalues[o]))
			}
		}
		for i := range n {
			mask[i*n+c] = math.Abs(near[i*n+c]-q[i*n+c])*gap <= rounding*largest
		}
	}
	return mask
}

func TestUndetermined(t *testing.T) {
	square := func(v ...float32) *data.Array { return &data.Array{Shape: []int{3, 3}, Data: v} }
	stat := square(1, 0, 0, 0, 1e-8, 0, 0, 0, 0)
	want := square(1, 0, 0, 0, 1, 0, 0, 0, 1)
	turned := square(1, 0, 0, 0, .8, -.6, 0, .6, .8)
	if mask := undetermined(turned, want, stat); slices.Contains(mask, false) {
		t.Errorf("a turn in the null space: %v", mask)
	}
	wrong := square(1, .01, 0, -.01, 1, 0, 0, 0, 1)
	if mask := undetermined(wrong, want, stat); mask[3] || !mask[4] {
		t.Errorf("a turn of the first eigenvector: %v", mask)
	}
}

// noGradient finds the parameters whose gradient is zero in exact arithmetic, and the entries of vectors, such as those for
// the keys in the bias of an attention: in float64 it is below 1e-12 of the largest gradient on every step. So it does
// state that is nothing but rounding, by its output: a mean output gradient before a normalisation.
func noGradient(t *testing.T, wide map[string]*data.Array) map[string][]bool {
	t.Helper()
	largest, all, vector := map[string][]float64{}, 0.0, map[string]bool{}
	states := map[string]float64{}
	for name, a := range wide {
		base, _, _ := stepName(name)
		p, ok := strings.CutPrefix(base, "grad/")
		if !ok {
			if a.Elem() == data.Float64 && strings.HasPrefix(base, "asdl/") {
				for _, x := range arrayFloats(a) {
					states[base] = max(states[base], math.Abs(x))
				}
			}
			continue
		}
		g := arrayFloats(a)
		if largest[p] == nil {
			largest[p], vector[p] = make([]float64, len(g)), len(a.Shape) == 1
		}
		for i, x := range g {
			largest[p][i] = max(largest[p][i], math.Abs(x))
			all = max(all, largest[p][i])
		}
	}
	still, whole := map[string][]bool{}, 0
	for p, g := range largest {
		none := make([]bool, len(g))
		for i, x := range g {
			none[i] = x < 1e-12*all
		}
		entire := !slices.Contains(none, false)
		if entire || vector[p] {
			still[p] = none
		}
		if entire {
			whole++
		}
	}
	for name, x := range states {
		if x > 0 && x < 1e-12*all {
			still[name] = []bool{true}
		}
	}
	if len(largest) == 0 || whole > len(largest)/2 {
		t.Fatalf("%d of %d gradients are zero", whole, len(largest))
	}
	return still
}

// countBases counts the eigenbases that a step graph tracks: of two numbers on the diagonal that are equal but for rounding, the
// sign of their difference decides which way the pair of vectors is turned, by up to an eighth of a turn.
func countBases(m *graph.Model) int {
	bases := 0
	for n := range m.Graph.All() {
		if n.Domain == graph.Asdl && strings.HasPrefix(n.Op, "EigenBasis") {
			bases++
		}
	}
	return bases
}

// countKinks counts the operators of a step graph with a jump in their derivative.
func countKinks(m *graph.Model) int {
	kinks := 0
	for n := range m.Graph.All() {
		if slices.Contains([]string{"Relu", "MaxPool", "LeakyRelu", "PRelu", "ThresholdedRelu", "Clip", "HardSigmoid"}, n.Op) {
			kinks++
		}
	}
	return kinks
}
