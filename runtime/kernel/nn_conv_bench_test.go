//go:build linux

package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// BenchmarkConv measures convolutions by the processor time of one worker, or by the clock with two.
func BenchmarkConv(b *testing.B) {
	ones := []int{1, 1}
	for _, c := range []struct {
		name string
		g    convCase
	}{
		{"64x32x32", convCase{images: 32, groups: 1, ins: 64, outs: 64, in: []int{32, 32}, kernel: []int{3, 3}, stride: ones, dilation: ones, padLo: ones, padHi: ones}},
		{"128x16x16", convCase{images: 32, groups: 1, ins: 128, outs: 128, in: []int{16, 16}, kernel: []int{3, 3}, stride: ones, dilation: ones, padLo: ones, padHi: ones}},
		{"512x4x4", convCase{images: 32, groups: 1, ins: 512, outs: 512, in: []int{4, 4}, kernel: []int{3, 3}, stride: ones, dilation: ones, padLo: ones, padHi: ones}},
		{"weight64x32x32", convCase{images: 64, groups: 1, ins: 32, outs: 64, in: []int{32, 32}, kernel: []int{32, 32}, stride: ones, dilation: ones, padLo: ones, padHi: ones}},
		{"weight512x4x4", convCase{images: 512, groups: 1, ins: 32, outs: 512, in: []int{4, 4}, kernel: []int{4, 4}, stride: ones, dilation: ones, padLo: ones, padHi: ones}},
		{"depthwise", convCase{images: 32, groups: 64, ins: 1, outs: 1, in: []int{32, 32}, kernel: []int{3, 3}, stride: ones, dilation: ones, padLo: ones, padHi: ones}},
	} {
		for _, workers := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/workers=%d", c.name, workers), func(b *testing.B) {
				p := NewPool(workers)
				defer p.Close()
				g, rng := c.g, rand.New(rand.NewPCG(1, 1))
				out := g.convOut()
				o := opCase{op: "Conv", attrs: g.attrs(), pool: p, in: []*Tensor{
					randomTensor[float32](rng, append([]int{g.images, g.groups * g.ins}, g.in...)...),
					randomTensor[float32](rng, append([]int{g.groups * g.outs, g.ins}, g.kernel...)...),
				}}
				o.out = []Spec{outLike[float32](append([]int{g.images, g.groups * g.outs}, out...)...)}
				run, outs, err := o.prepare(b)
				if err != nil {
					b.Fatal(err)
				}
				clock, release := clockFor(workers)
				defer release()
				var times []time.Duration
				for b.Loop() {
					start := clock()
					if err := run(o.in, outs); err != nil {
						b.Fatal(err)
					}
					times = append(times, clock()-start)
				}
				flops := 2 * Count(o.out[0].Shape) * g.ins * Count(g.kernel)
				b.ReportMetric(gflops(float64(flops), undisturbed(times)), "GFLOP/s")
			})
		}
	}
}
