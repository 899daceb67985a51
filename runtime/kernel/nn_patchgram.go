package kernel

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// patchWindow reads the geometry of asdl.PatchGram and asdl.PatchSum: X[N, C, D...] and the attributes of a Conv over it.
func (c *Call) patchWindow() (*window, error) {
	if err := c.needs(1); err != nil {
		return nil, err
	}
	if err := c.sameElem(0); err != nil {
		return nil, err
	}
	x := c.In[0].Shape
	if len(x) < 3 {
		return nil, c.Errorf(graph.ErrInvalid, "input %v, want [N, C, ...]", x)
	}
	w, err := c.windowAttrs(x[2:], nil)
	if err != nil {
		return nil, err
	}
	return w, w.pad(c)
}

// makePatchGram is asdl.PatchGram: the sum over images and places of p p^T, [k, k], where p is the patch that a Conv sees
// there, ordered (channel, kernel positions): the input factor of K-FAC before it is averaged (Grosse & Martens 2016,
// equation 31). No patch is stored, one triangle is computed and mirrored.
func makePatchGram[T amd64.Float](c *Call) (Run, error) {
	w, err := c.patchWindow()
	if err != nil {
		return nil, err
	}
	x := c.In[0].Shape
	v := newWeightGrad[T](c, w, x[0], 1, x[1], 0, true)
	mirror := &gemmJob[T]{gemmSpec: gemmSpec[T]{m: v.k, ldc: v.k}, g: v.m}
	body := mirror.mirror
	return func(in, out []*Tensor) error {
		a := Data[T](out[0])
		v.run(Data[T](in[0]), nil, a)
		mirror.c = a
		c.Pool.For(v.k, mirrorBlock, body)
		mirror.c = nil
		return nil
	}, nil
}

// makePatchSum is asdl.PatchSum: the sum of the patches, [1, k].
func makePatchSum[T amd64.Float](c *Call) (Run, error) {
	w, err := c.patchWindow()
	if err != nil {
		return nil, err
	}
	s := &patchSum[T]{images: c.In[0].Shape[0], channels: c.In[0].Shape[1], p: newPatches(w, w.in, w.out)}
	s.tasks = max(1, min(c.Pool.Size(), s.channels))
	planes := c.Scratch(8 * s.tasks * s.p.image)
	body := func(lo, hi int) {
		for task := lo; task < hi; task++ {
			for channel := task * s.channels / s.tasks; channel < (task+1)*s.channels/s.tasks; channel++ {
				s.channel(channel, ScratchOf[float64](planes)[task*s.p.image:][:s.p.image])
			}
		}
	}
	return func(in, out []*Tensor) error {
		s.x, s.y = Data[T](in[0]), Data[T](out[0])
		c.Pool.For(s.tasks, 1, body)
		s.x, s.y = nil, nil
		return nil
	}, nil
}

// patchSum adds up the images, and then the elements of their sum under each element of the kernel.
type patchSum[T amd64.Float] struct {
	images, channels, tasks int
	p                       *patches
	x, y                    []T
}

func (s *patchSum[T]) channel(channel int, sum []float64) {
	p := s.p
	clear(sum)
	for i := range s.images {
		for j, v := range s.x[(i*s.channels+channel)*p.image:][:p.image] {
			sum[j] += float64(v)
		}
	}
	for k := range p.kernels {
		kx := k % p.kw
		from, n := p.lo[kx]*p.step+p.first[kx], p.hi[kx]-p.lo[kx]
		total := 0.0
		for _, at := range p.lineAt[k/p.kw*p.lines:][:p.lines] {
			if at >= 0 && n > 0 {
				total += lineSum(sum[int(at)+from:], n, p.step)
			}
		}
		s.y[channel*p.kernels+k] = T(total)
	}
}

// lineSum adds n elements, step apart, in four chains.
func lineSum[T amd64.Float](x []T, n, step int) float64 {
	var s [4]T
	i := 0
	for ; i+4 <= n; i += 4 {
		for j := range s {
			s[j] += x[(i+j)*step]
		}
	}
	for ; i < n; i++ {
		s[0] += x[i*step]
	}
	return float64(s[0]+s[1]) + float64(s[2]+s[3])
}
