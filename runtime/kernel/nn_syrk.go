package kernel

import "github.com/asdlc/asdlc/runtime/kernel/amd64"

// makeSyrk is Gemm of a matrix with itself, A^T A or A A^T: the second moments of curvature statistics. One triangle is
// computed and mirrored, so the result is exactly symmetric. Other calls are declined.
func makeSyrk[T amd64.Float](c *Call) (Run, error) {
	transA, transB := c.Node.Int("transA", 0) != 0, c.Node.Int("transB", 0) != 0
	if c.Node.In(0) != c.Node.In(1) || transA == transB || c.has(2) || len(c.In[0].Shape) != 2 || c.In[0].Len() == 0 {
		return nil, ErrDecline
	}
	if err := c.sameElem(0); err != nil {
		return nil, err
	}
	a := c.In[0].Shape
	n, k := pick(transA, a[1], a[0]), pick(transA, a[0], a[1])
	alpha, pool := T(c.Node.Float("alpha", 1)), c.Pool
	ws := c.Scratch(GemmWorkspace[T](pool, n, n, k))
	return func(in, out []*Tensor) error {
		Syrk(pool, transA, n, k, alpha, Data[T](in[0]), a[1], 0, Data[T](out[0]), n, ws.Raw)
		return nil
	}, nil
}
