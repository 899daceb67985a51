package loss

import (
	"math"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
)

// squared is weight * sum_c (z - y)^2.
func squared(b *op.Builder, s site) *graph.Value {
	return b.Scale(b.Sum(b.Square(b.Sub(s.z, s.target)), 1), s.weight)
}

// squaredGrad is 2 weight (z - y).
func squaredGrad(b *op.Builder, s site) *graph.Value {
	return b.Scale(b.Sub(s.z, s.target), 2*s.weight)
}

// squaredSample is z plus Gaussian noise whose scale makes the Fisher matrix of squaredGrad the loss's Hessian
// 2 weight I. ASDL: the gradient at the sample is -sqrt(variance) times a standard normal.
func squaredSample(b *op.Builder, s site, n noise) *graph.Value {
	e := s.z.Type.Elem
	eps := b.Tag(graph.TagNoise, []*graph.Value{b.ShapeOf(s.z)}, graph.S("name", "targets"), graph.S("kind", "normal"),
		graph.I("draw", n.draw), graph.I("dtype", int64(e)))
	scale := 1 / math.Sqrt(2*s.weight)
	if s.asdl {
		variance := s.variance
		if variance == 0 {
			variance = 1
		}
		scale = math.Sqrt(variance) / (2 * s.weight)
	}
	return b.Add(s.z, b.Scale(eps, scale))
}

// squaredRoot is sqrt(2 weight) e_j in every row; ASDL: e_j.
func squaredRoot(b *op.Builder, s site, j int64) *graph.Value {
	scale := math.Sqrt(2 * s.weight)
	if s.asdl {
		scale = 1
	}
	return b.Expand(b.Scale(column(b, s, j), scale), b.ShapeOf(s.z))
}

// unit is a loss that is a sum over outputs, at weight 1. All are of shape [R, C].
type unit struct {
	Value, Slope func(b *op.Builder, s site) *graph.Value
	// Curvature is the diagonal of the Hessian, or of the Fisher matrix (row.Root).
	Curvature func(b *op.Builder, s site) *graph.Value
	Sample    func(b *op.Builder, s site, draw noise) *graph.Value
	NoSample  string
}

// element is the row of a unit loss.
func element(name, doc, input string, u unit, options ...string) row {
	return row{
		Name: name, Doc: doc, Input: input, Options: options, Sample: u.Sample, NoSample: u.NoSample,
		Value: func(b *op.Builder, s site) *graph.Value { return b.Scale(b.Sum(u.Value(b, s), 1), s.weight) },
		Grad: func(b *op.Builder, s site) *graph.Value {
			if s.sampled {
				return b.Scale(u.Slope(b, s), math.Sqrt(s.weight))
			}
			return b.Scale(u.Slope(b, s), s.weight)
		},
		Root: func(b *op.Builder, s site, j int64) *graph.Value {
			return b.Mul(b.Sqrt(u.Curvature(b, s)), b.Scale(column(b, s, j), math.Sqrt(s.weight)))
		},
	}
}

// logistic is max(z, 0) - z y + log(1 + exp(-|z|)).
func logistic(b *op.Builder, s site) *graph.Value {
	tail := b.Unary("Softplus", b.Neg(b.Unary("Abs", s.z)))
	return b.Add(b.Sub(b.Unary("Relu", s.z), b.Mul(s.z, s.target)), tail)
}

func logisticSlope(b *op.Builder, s site) *graph.Value {
	return b.Sub(b.Unary("Sigmoid", s.z), s.target)
}

// logisticCurvature is p (1 - p), with 1 - p as sigmoid(-z), which does not vanish by rounding.
func logisticCurvature(b *op.Builder, s site) *graph.Value {
	return b.Mul(b.Unary("Sigmoid", s.z), b.Unary("Sigmoid", b.Neg(s.z)))
}

func logisticSample(b *op.Builder, s site, n noise) *graph.Value {
	return coins(b, s, b.Unary("Sigmoid", s.z), n)
}

// coins are 1 with probability p, else 0.
func coins(b *op.Builder, s site, p *graph.Value, n noise) *graph.Value {
	e := s.z.Type.Elem
	if n.input {
		return perturbation(b, s, "labels", n)
	}
	return b.Cast(b.Compare("Less", perturbation(b, s, "uniform", n), p), e)
}

// perturbation is random numbers of a kind for each output; "labels" are the targets themselves, which the host draws.
func perturbation(b *op.Builder, s site, kind string, n noise) *graph.Value {
	return b.Tag(graph.TagNoise, []*graph.Value{b.ShapeOf(s.z)}, graph.S("name", "targets"), graph.S("kind", kind),
		graph.I("draw", n.draw), graph.I("dtype", int64(s.z.Type.Elem)))
}

// binary is -y log p - (1-y) log(1-p), logarithms not below -100, as PyTorch has them.
func binary(b *op.Builder, s site) *graph.Value {
	log := func(p *graph.Value) *graph.Value {
		return b.Op("Max", []*graph.Value{b.Unary("Log", p), b.FloatLike(s.z, -100)})
	}
	not := func(v *graph.Value) *graph.Value { return b.Sub(b.FloatLike(s.z, 1), v) }
	return b.Neg(b.Add(b.Mul(s.target, log(s.z)), b.Mul(not(s.target), log(not(s.z)))))
}

// spread is p (1 - p), not below the 1e-12 of PyTorch's derivative.
func spread(b *op.Builder, s site) *graph.Value {
	v := b.Mul(s.z, b.Sub(b.FloatLike(s.z, 1), s.z))
	return b.Op("Max", []*graph.Value{v, b.FloatLike(s.z, 1e-12)})
}

func binarySlope(b *op.Builder, s site) *graph.Value {
	return b.Div(b.Sub(s.z, s.target), spread(b, s))
}

// binaryCurvature is the Fisher information 1 / (p (1-p)) of a probability.
func binaryCurvature(b *op.Builder, s site) *graph.Value {
	return b.Unary("Reciprocal", spread(b, s))
}

func binarySample(b *op.Builder, s site, n noise) *graph.Value { return coins(b, s, s.z, n) }

func absolute(b *op.Builder, s site) *graph.Value { return b.Unary("Abs", b.Sub(s.z, s.target)) }

func absoluteSlope(b *op.Builder, s site) *graph.Value { return b.Unary("Sign", b.Sub(s.z, s.target)) }

// absoluteCurvature is the Fisher information of the place of a Laplace distribution of scale 1.
func absoluteCurvature(b *op.Builder, s site) *graph.Value { return b.OnesLike(s.z) }

// absoluteSample is at distance 1 on either side: the slope at a Laplace draw does not depend on its distance.
func absoluteSample(b *op.Builder, s site, n noise) *graph.Value {
	return b.Add(s.z, perturbation(b, s, "rademacher", n))
}

const noHuberSample = "no label distribution has the Hessian of the Huber loss, which depends on the targets, as its Fisher matrix; curvature.source=exact takes the Hessian"

// huber is c (a - c/2) with a = |z - y| and c = min(a, delta).
func huber(b *op.Builder, s site) *graph.Value {
	a := absolute(b, s)
	c := b.Op("Min", []*graph.Value{a, b.FloatLike(s.z, s.delta)})
	return b.Mul(c, b.Sub(a, b.Scale(c, 0.5)))
}

func huberSlope(b *op.Builder, s site) *graph.Value {
	above := b.Op("Max", []*graph.Value{b.Sub(s.z, s.target), b.FloatLike(s.z, -s.delta)})
	return b.Op("Min", []*graph.Value{above, b.FloatLike(s.z, s.delta)})
}

// huberCurvature is 1 where the loss is a square.
func huberCurvature(b *op.Builder, s site) *graph.Value {
	return b.Cast(b.Compare("Less", absolute(b, s), b.FloatLike(s.z, s.delta)), s.z.Type.Elem)
}

// smooth is huber / delta.
var smooth = unit{
	Value: perDelta(huber), Slope: perDelta(huberSlope), Curvature: perDelta(huberCurvature), NoSample: noHuberSample,
}

func perDelta(f func(*op.Builder, site) *graph.Value) func(*op.Builder, site) *graph.Value {
	return func(b *op.Builder, s site) *graph.Value { return b.Scale(f(b, s), 1/s.delta) }
}
