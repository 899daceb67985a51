package kernel

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// makeSyrk is Gemm of a matrix with itself, A^T A or A A^T: the second moments of curvature statistics. One triangle is
// computed and mirrored, so the result is exactly symmetric. C may be added where it is such a product itself. Other calls are
// declined.
func makeSyrk[T amd64.Float](c *Call) (Run, error) {
	transA := c.Node.Int("transA", 0) != 0
	if !ofItself(c.Node) || len(c.In[0].Shape) != 2 || c.In[0].Len() == 0 {
		return nil, ErrDecline
	}
	if err := c.sameElem(0); err != nil {
		return nil, err
	}
	a, beta := c.In[0].Shape, T(0)
	n, k := pick(transA, a[1], a[0]), pick(transA, a[0], a[1])
	if c.has(2) {
		if !symmetricProduct(c.Node.In(2)) || c.In[2].Len() != n*n {
			return nil, ErrDecline
		}
		beta = T(c.Node.Float("beta", 1))
	}
	alpha, pool := T(c.Node.Float("alpha", 1)), c.Pool
	ws := c.Scratch(GemmWorkspace[T](pool, n, n, k))
	return func(in, out []*Tensor) error {
		y := Data[T](out[0])
		if beta != 0 {
			if x := Data[T](in[2]); &x[0] != &y[0] {
				copy(y, x)
			}
		}
		Syrk(pool, transA, n, k, alpha, Data[T](in[0]), a[1], beta, y, n, ws.Raw)
		return nil
	}, nil
}

// ofItself reports whether a Gemm is of a matrix and its transpose.
func ofItself(n *graph.Node) bool {
	return n.In(0) == n.In(1) && (n.Int("transA", 0) != 0) != (n.Int("transB", 0) != 0)
}

// symmetricProduct reports whether v is A A^T, or a sum of such products.
func symmetricProduct(v *graph.Value) bool {
	for v != nil {
		n := v.Def()
		if n == nil || !n.Is("", "Gemm") || !ofItself(n) {
			return false
		}
		v = n.In(2)
	}
	return true
}
