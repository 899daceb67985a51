package kernel

import (
	"math"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// makeDet is ONNX Det: determinants of X[..., n, n] by elimination with partial pivoting in float64.
func makeDet[T amd64.Float](c *Call) (Run, error) {
	if err := c.rankAtLeast(0, 2); err != nil {
		return nil, err
	}
	s := c.In[0].Shape
	n := s[len(s)-1]
	if s[len(s)-2] != n {
		return nil, c.Errorf(graph.ErrInvalid, "input of shape %v, want square matrices", s)
	}
	held := c.Scratch(8 * n * n)
	return func(in, out []*Tensor) error {
		x, a := Data[T](in[0]), ScratchOf[float64](held)
		y := Data[T](out[0])
		for i := range y {
			for k, v := range x[i*n*n : (i+1)*n*n] {
				a[k] = float64(v)
			}
			y[i] = T(determinant(n, a))
		}
		return nil
	}, nil
}

// determinant overwrites a.
func determinant(n int, a []float64) float64 {
	det := 1.0
	for k := range n {
		p := k
		for i := k; i < n; i++ {
			if v := a[i*n+k]; math.Abs(v) > math.Abs(a[p*n+k]) || v != v {
				p = i
			}
		}
		if p != k {
			det = -det
			for j := k; j < n; j++ {
				a[k*n+j], a[p*n+j] = a[p*n+j], a[k*n+j]
			}
		}
		pivot := a[k*n+k]
		det *= pivot
		if pivot == 0 {
			return 0
		}
		for i := k + 1; i < n; i++ {
			f := a[i*n+k] / pivot
			for j := k; j < n; j++ {
				a[i*n+j] -= f * a[k*n+j]
			}
		}
	}
	return det
}
