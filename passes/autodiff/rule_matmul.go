package autodiff

import (
	"github.com/asdlc/asdlc/graph"
)

// vjpMatMul: for y = a b, da = g b^T and db = a^T g, with the batch dimensions that were broadcast summed.
func vjpMatMul(c *Call) []*graph.Value {
	a, b, g := c.In(0), c.In(1), c.d(0)
	ra, rb := a.Type.Rank(), b.Type.Rank()
	if ra < 1 || rb < 1 {
		return c.unsupported("the ranks of %s and %s are not known; fix the input shapes of the model", a, b)
	}
	// A 1-d operand is a matrix of one row (a) or column (b).
	ma, mb := a, b
	if rb == 1 {
		mb = c.Unsqueeze(b, 1)
		g = c.Unsqueeze(g, -1)
	}
	if ra == 1 {
		ma = c.Unsqueeze(a, 0)
		g = c.Unsqueeze(g, -2)
	}
	ct := make([]*graph.Value, 2)
	if c.wants(0) {
		ct[0] = c.squeezeTo(c.unbroadcast(c.timesTransposed(g, mb), ma), a)
	}
	if c.wants(1) {
		ct[1] = c.squeezeTo(c.weightGrad(ma, g, mb), b)
	}
	return ct
}

// squeezeTo undoes the promotion of a 1-d operand to a matrix.
func (c *Call) squeezeTo(g, like *graph.Value) *graph.Value {
	if like.Type.Rank() == 1 {
		return c.Reshape(g, -1)
	}
	return g
}

// timesTransposed is x y^T over the last two dimensions.
func (c *Call) timesTransposed(x, y *graph.Value) *graph.Value {
	if x.Type.Rank() == 2 && y.Type.Rank() == 2 {
		return c.gemm(x, y, false, true, 1)
	}
	return c.MatMul(x, c.Swap(y))
}

// weightGrad is x^T g, summed to the shape of like. A matrix that serves all positions of x gets one product over
// them all.
func (c *Call) weightGrad(x, g, like *graph.Value) *graph.Value {
	if like.Type.Rank() == 2 && x.Type.Rank() >= 2 {
		return c.gemm(c.rows(x), c.rows(g), true, false, 1)
	}
	return c.unbroadcast(c.MatMul(c.Swap(x), g), like)
}

// rows folds all dimensions but the last into one.
func (c *Call) rows(x *graph.Value) *graph.Value {
	r := x.Type.Rank()
	if r == 2 {
		return x
	}
	return c.ReshapeTo(x, c.shape(num(-1), c.dimPiece(x, r-1)))
}

// gemm is alpha op(x) op(y) of two matrices.
func (c *Call) gemm(x, y *graph.Value, transX, transY bool, alpha float32) *graph.Value {
	if alpha == 1 {
		return c.Gemm(x, y, transX, transY)
	}
	return c.Op("Gemm", []*graph.Value{x, y}, graph.I("transA", b2i(transX)), graph.I("transB", b2i(transY)), graph.F("alpha", alpha))
}

func b2i(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// vjpGemm: for y = alpha op(a) op(b) + beta c.
func vjpGemm(c *Call) []*graph.Value {
	a, b, g := c.In(0), c.In(1), c.d(0)
	ta, tb, alpha := c.N.Int("transA", 0) != 0, c.N.Int("transB", 0) != 0, c.N.Float("alpha", 1)
	ct := make([]*graph.Value, 3)
	if c.wants(0) {
		if ta {
			ct[0] = c.gemm(b, g, tb, true, alpha)
		} else {
			ct[0] = c.gemm(g, b, false, !tb, alpha)
		}
	}
	if c.wants(1) {
		if tb {
			ct[1] = c.gemm(g, a, true, ta, alpha)
		} else {
			ct[1] = c.gemm(a, g, !ta, false, alpha)
		}
	}
	if c.wants(2) {
		ct[2] = c.Scale(c.unbroadcast(g, c.In(2)), float64(c.N.Float("beta", 1)))
	}
	return ct
}
