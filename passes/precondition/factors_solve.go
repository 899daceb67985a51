package precondition

import (
	"fmt"
	"math"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
)

// solve is for the factors of every tile; damped is nil unless the statistics are to be so.
func (t *factorTensor) solve(b *op.Builder, stats []*graph.Value) (next, damped []*graph.Value) {
	next = make([]*graph.Value, len(t.block.sols))
	damped = t.solved(b, stats, next, next)
	if !t.rec.Solve.Damping.Keep {
		damped = nil
	}
	return next, damped
}

// renew is solve for factors that are tracked.
func (t *factorTensor) renew(b *op.Builder, stats, sols []*graph.Value) []*graph.Value {
	next := make([]*graph.Value, len(sols))
	t.solved(b, stats, sols, next)
	return next
}

// solved writes the solutions to next and returns the damped statistics.
func (t *factorTensor) solved(b *op.Builder, stats, sols, next []*graph.Value) []*graph.Value {
	damped := append([]*graph.Value{}, stats...)
	for _, tile := range t.tiles {
		scales := t.normalisers(b, tile, stats)
		for j, s := range tile.sides {
			at := tile.first + j
			switch {
			case t.rec.Solve.Kind == "inverse":
				next[at] = t.inverted(b, stats[at], scales[j])
			case s.diagonal:
				next[at] = t.diagonalRoot(b, stats[at], t.root(tile))
			case s.basis > 0:
				next[at], next[s.basis] = t.trackedRoot(b, stats[at], sols[s.basis], t.root(tile))
			default:
				next[at], damped[at] = t.inverseRoot(b, stats[at], t.root(tile))
			}
		}
	}
	return damped
}

// root is the order p of the inverse root A^(-1/p) of each factor. Shampoo's Kronecker product of k sums is the k-th power of
// what it stands for; that of factors fitted by kl is the covariance itself.
func (t *factorTensor) root(tile *factorTile) int {
	p := int(math.Round(-1 / t.rec.Solve.Power))
	if t.rec.Representation.Fit == "kl" {
		return p
	}
	return p * tile.order
}

// normalisers are what statistics are divided by before they are inverted; nil for those fitted by kl. The covariance is
// (x) Omega_j / tau^(k-1) with tau the trace, which all k second moments share; with c^k its mean eigenvalue, each factor
// Omega_j / (c^(k-1) prod_(l != j) d_l) has the mean eigenvalue c (Ren & Goldfarb 2021, section 3).
func (t *factorTensor) normalisers(b *op.Builder, tile *factorTile, stats []*graph.Value) []*graph.Value {
	scales := make([]*graph.Value, len(tile.sides))
	k := float64(len(tile.sides))
	if t.rec.Solve.Kind != "inverse" || t.rec.Representation.Fit == "kl" || k == 1 && count(tile.sizes) == tile.sizes[tile.sides[0].dim] {
		return scales
	}
	whole := float64(count(tile.sizes))
	first := stats[tile.first]
	tau := b.Sum(first)
	if !tile.sides[0].diagonal {
		tau = trace(b, first)
	}
	mean := b.Op("Max", []*graph.Value{b.Scale(tau, 1/whole), b.Float(t.elem, 1e-30)})
	power := b.Op("Pow", []*graph.Value{mean, b.Float(t.elem, (k-1)/k)}) // c^(k-1)
	for j, s := range tile.sides {
		scales[j] = b.Scale(power, whole/float64(tile.sizes[s.dim]))
	}
	return scales
}

// inverted is (m/scale + lambda I)^-1, for a diagonal by element.
func (t *factorTensor) inverted(b *op.Builder, m, scale *graph.Value) *graph.Value {
	if scale != nil {
		m = b.Div(m, scale)
	}
	lambda := t.damping()
	if t.rec.Solve.Damping.Kind == "none" {
		lambda = b.Float(t.elem, 0)
	}
	if m.Type.Rank() == 1 {
		return b.Unary("Reciprocal", b.Add(m, lambda))
	}
	return t.inverse(b, m, lambda)
}

// diagonalRoot is (m + damping)^(-1/p) of a diagonal.
func (t *factorTensor) diagonalRoot(b *op.Builder, m *graph.Value, p int) *graph.Value {
	switch t.rec.Solve.Damping.Kind {
	case "rel":
		m = b.Add(m, b.Mul(t.damping(), b.Reduce("ReduceMax", m, false)))
	case "iso":
		m = b.Add(m, t.damping())
	}
	return b.Op("Pow", []*graph.Value{m, b.Float(t.elem, -1/float64(p))})
}

// trackedRoot is the inverse root in a basis that is moved only as far as solve.tolerance asks for.
func (t *factorTensor) trackedRoot(b *op.Builder, m, basis *graph.Value, p int) (root, next *graph.Value) {
	next, w := t.trackBasis(b, t.damped(b, m), basis)
	scaled := b.Mul(next, b.Unsqueeze(b.Op("Pow", []*graph.Value{w, b.Float(t.elem, -1/float64(p))}), 0))
	return b.Gemm(scaled, next, false, true), next
}

// damped is m with the record's damping on its diagonal.
func (e *engine) damped(b *op.Builder, m *graph.Value) *graph.Value {
	switch e.rec.Solve.Damping.Kind {
	case "rel":
		return b.Add(m, b.Mul(eye(b, m), b.Mul(e.damping(), e.largest(b, m))))
	case "iso":
		return b.Add(m, b.Mul(eye(b, m), e.damping()))
	}
	return m
}

// inverseRoot is (m + damping)^(-1/p), and the damped matrix.
func (e *engine) inverseRoot(b *op.Builder, m *graph.Value, p int) (root, damped *graph.Value) {
	s := e.rec.Solve
	damped = e.damped(b, m)
	if e.eigen(m) {
		return call(b, eigenRootFunction(p), damped), damped
	}
	tol := s.Tolerance
	if tol == 0 {
		tol = 1e-6
	}
	return call(b, newtonRootFunction(p), damped, newtonRootAttrs(p, max(1, s.Iterations), tol)...), damped
}

// eigenSide is the largest side for which kernel auto takes the eigendecomposition.
const eigenSide = 16

func (e *engine) eigen(m *graph.Value) bool {
	k := e.rec.Solve.Kernel
	return k == "eigen" || (k == "auto" || k == "") && side(m, 0) <= eigenSide
}

// largest is the largest eigenvalue of m: its bound by absolute row sums, or, as ASDL does, by power iteration from a
// random start.
func (e *engine) largest(b *op.Builder, m *graph.Value) *graph.Value {
	if e.rec.Preset != "asdl" {
		return b.Reduce("ReduceMax", b.Reduce("ReduceL1", m, false, 1), false)
	}
	u := e.b.Tag(graph.TagNoise, []*graph.Value{e.b.Ints(side(m, 0))}, graph.S("name", fmt.Sprintf("start/%d", e.starts)), graph.S("kind", "uniform"),
		graph.I("draw", 0), graph.I("dtype", int64(e.elem)))
	e.starts++
	start := b.Sub(b.Scale(u, 2), b.Float(e.elem, 1))
	return b.Call("PowerIteration", 1, []*graph.Value{m, start}, graph.I("iterations", 100), graph.F("tol", 1e-6))[0]
}
