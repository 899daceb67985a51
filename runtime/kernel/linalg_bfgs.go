package kernel

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// bfgsUpdate is asdl.BFGS(H[n,n], s[n], y[n]) -> H'[n,n], the BFGS update of a symmetric inverse Hessian, after which
// H' y = s:
//
//	H' = H - rho (s q^T + q s^T),  q = H y - (rho y.Hy + 1)/2 s,  rho = 1/s.y
//
// H' is exactly symmetric if H is. With s = 0 it is H. It may lie in H's memory.
type bfgsUpdate[T amd64.Float] struct {
	pool          *Pool
	n             int
	h, s, q, next []T
	rows          []T // one for each worker
	rho           T
}

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
	u := &bfgsUpdate[T]{pool: c.Pool, n: n}
	tasks := min(c.Pool.Size(), max(1, n))
	product, rows, ws := c.Scratch(sizeOf[T]()*n), c.Scratch(2*sizeOf[T]()*n*tasks), c.Scratch(GemmWorkspace[T](c.Pool, n, 1, n))
	body := func(lo, hi int) {
		for task := lo; task < hi; task++ {
			u.update(task, task*n/tasks, (task+1)*n/tasks)
		}
	}
	return func(in, out []*Tensor) error {
		u.h, u.s, u.q, u.rows, u.next = Data[T](in[0]), Data[T](in[1]), ScratchOf[T](product), ScratchOf[T](rows), Data[T](out[0])
		y := Data[T](in[2])
		Gemm(u.pool, false, false, n, 1, n, 1, u.h, n, y, 1, 0, u.q, 1, ws.Raw)
		sy := dot(u.s, y)
		if sy == 0 {
			sy = 1
		}
		u.rho = 1 / sy
		shift := (u.rho*dot(y, u.q) + 1) / 2
		for i, v := range u.s {
			u.q[i] -= shift * v
		}
		u.pool.For(tasks, 1, body)
		return nil
	}, nil
}

// update makes rows lo to hi: s_i q_j + q_i s_j is rounded alike for ij and ji.
func (u *bfgsUpdate[T]) update(task, lo, hi int) {
	n, k := u.n, u.pool.Kernels()
	one, two := u.rows[2*task*n:][:n], u.rows[(2*task+1)*n:][:n]
	for i := lo; i < hi; i++ {
		from, to := u.h[i*n:][:n], u.next[i*n:][:n]
		if one, ok := any(one).([]float32); ok {
			two, s, q, to := any(two).([]float32), any(u.s).([]float32), any(u.q).([]float32), any(to).([]float32)
			k.Scale(one, q, float32(u.s[i]))
			k.Scale(two, s, float32(u.q[i]))
			k.Add(one, one, two)
			if &u.h[0] != &u.next[0] {
				copy(to, any(from).([]float32))
			}
			k.Axpy(to, one, float32(-u.rho))
			continue
		}
		for j, v := range from {
			to[j] = v - T(u.rho*(T(u.s[i]*u.q[j])+T(u.q[i]*u.s[j])))
		}
	}
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
