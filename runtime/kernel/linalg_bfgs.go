package kernel

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// makeBFGS is asdl.BFGS(H[n,n], s[n], y[n]) -> H'[n,n], the BFGS update of a symmetric inverse Hessian, after which
// H' y = s:
//
//	H' = H + rho (rho y.Hy + 1) s s^T - rho (s (Hy)^T + (Hy) s^T),  rho = 1/s.y
//
// H' is exactly symmetric if H is. With s.y = 0 it is not finite.
func makeBFGS[T amd64.Float](c *Call) (Run, error) {
	n, err := c.square()
	if err != nil {
		return nil, err
	}
	if err := c.needs(3); err != nil {
		return nil, err
	}
	for i := 1; i <= 2; i++ {
		if s := c.In[i].Shape; len(s) != 1 || s[0] != n {
			return nil, c.Errorf(graph.ErrInvalid, "input %d of shape %v, want [%d]", i, s, n)
		}
	}
	products, pool := c.Scratch(sizeOf[T]()*n), c.Pool
	var h, s, y, hy, next []T
	var rho, scale T
	multiply := func(lo, hi int) {
		for i := lo; i < hi; i++ {
			hy[i] = dot(h[i*n:i*n+n], y)
		}
	}
	update := func(lo, hi int) {
		for i := lo; i < hi; i++ {
			row, to := h[i*n:i*n+n], next[i*n:i*n+n]
			for j := range row { // each product rounded, so that ij and ji come out the same
				to[j] = row[j] + (T(scale*T(s[i]*s[j])) - T(rho*(T(s[i]*hy[j])+T(hy[i]*s[j]))))
			}
		}
	}
	return func(in, out []*Tensor) error {
		h, s, y, hy, next = Data[T](in[0]), Data[T](in[1]), Data[T](in[2]), ScratchOf[T](products), Data[T](out[0])
		pool.For(n, 64, multiply)
		rho = 1 / dot(s, y)
		scale = rho * (rho*dot(y, hy) + 1)
		pool.For(n, 64, update)
		return nil
	}, nil
}

func dot[T amd64.Float](x, y []T) T {
	var even, odd T
	i := 0
	for ; i+1 < len(x); i += 2 {
		even, odd = even+x[i]*y[i], odd+x[i+1]*y[i+1]
	}
	if i < len(x) {
		even += x[i] * y[i]
	}
	return even + odd
}
