package precondition

import (
	"fmt"
	"strings"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
)

// polarKernel is a row of the table of odd quintics x -> a x + b x^3 + c x^5 whose composition drives the singular values of
// a matrix towards 1.
type polarKernel struct {
	Name  string
	Steps int                              // by default
	At    func(step, steps int) [3]float64 // coefficients of one step of several
}

// polarKernels. The singular values that a kernel reaches, from ones of relative size 1 to 1/100 and to 1/1000:
// keller 0.68..1.20 and from 0.2, polar_express 0.87..1.13 and from 0.4, exact 1 within 1e-3 (1e-6 is too small for it),
// cubic 0.8..1 and from 0.1.
var polarKernels = []polarKernel{
	{"keller", 5, func(int, int) [3]float64 { return [3]float64{3.4445, -4.7750, 2.0315} }}, // Jordan et al. 2024: steep at 0, not 1 at 1
	{"polar_express", 5, func(step, _ int) [3]float64 { return polarExpress[min(step, len(polarExpress)-1)] }},
	{"exact", 15, exactPolar},
	{"cubic", 15, func(int, int) [3]float64 { return [3]float64{1.5, -0.5, 0} }}, // Newton & Schulz
}

// polarExpress are the optimal steps of Amsel, Persson, Musco & Gower 2025 (arXiv:2505.16932) for singular values from
// 0.001 on, shrunk by their safety factor 1.01.
var polarExpress = safer(1.01, [][3]float64{
	{8.28721201814563, -23.595886519098837, 17.300387312530933},
	{4.107059111542203, -2.9478499167379106, 0.5448431082926601},
	{3.9486908534822946, -2.908902115962949, 0.5518191394370137},
	{3.3184196573706015, -2.488488024314874, 0.51004894012372},
	{2.300652019954817, -1.6689039845747493, 0.4188073119525673},
	{1.891301407787398, -1.2679958271945868, 0.37680408948524835},
	{1.8750014808534479, -1.2500016453999487, 0.3750001645474248},
	{1.875, -1.25, 0.375},
})

// safer makes each step but the last that of x/margin.
func safer(margin float64, steps [][3]float64) [][3]float64 {
	for i, s := range steps[:len(steps)-1] {
		steps[i] = [3]float64{s[0] / margin, s[1] / (margin * margin * margin), s[2] / (margin * margin * margin * margin * margin)}
	}
	return steps
}

// exactPolar takes steep steps that stay below 1.2, and at the end three that converge cubically.
func exactPolar(step, steps int) [3]float64 {
	if step >= steps-3 {
		return [3]float64{1.875, -1.25, 0.375}
	}
	return [3]float64{3, -3.2, 1.2}
}

// polarTable is the attribute "coefficients" of asdl.Polar: one row a step. steps 0 is the kernel's default.
func polarTable(name string, steps int) (*graph.Tensor, int) {
	for _, k := range polarKernels {
		if k.Name != name {
			continue
		}
		if steps == 0 {
			steps = k.Steps
		}
		var flat []float64
		for i := range steps {
			c := k.At(i, steps)
			flat = append(flat, c[:]...)
		}
		return graph.TensorOf(flat, int64(steps), 3), steps
	}
	panic("BUG: polar kernel " + name)
}

// polar is about U V^T for x = U S V^T, by the record's kernel. Products are taken on the short side.
func polar(b *op.Builder, x *graph.Value, kernel string, iterations int) *graph.Value {
	table, steps := polarTable(kernel, iterations)
	tall := side(x, 0) > side(x, 1)
	if tall {
		x = b.Swap(x)
	}
	y := call(b, polarFunction(steps), x, graph.T("coefficients", table))
	if tall {
		y = b.Swap(y)
	}
	return y
}

func polarFunction(steps int) string { return fmt.Sprintf("Polar%d", steps) }

// polarText instantiates the template for a number of steps.
func polarText(steps int) string {
	var nodes strings.Builder
	for k := range steps {
		r := strings.NewReplacer("STEP", fmt.Sprint(k), "NEXT", fmt.Sprint(k+1))
		nodes.WriteString(r.Replace(section("polar step")))
	}
	return strings.NewReplacer("STEPS", fmt.Sprint(steps), "    NODES\n", nodes.String()).Replace(section("polar"))
}
