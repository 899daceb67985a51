//go:build linux

package kernel

import (
	"testing"

	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// BenchmarkNoise measures draws of 670,000 numbers, a probe vector of a network's weights, in nanoseconds of processor time a number.
func BenchmarkNoise(b *testing.B) {
	const n = 670_000
	for _, k := range amd64.Available() {
		for _, op := range []string{"Uniform", "Normal"} {
			for _, spec := range []Spec{outLike[float32](n), outLike[float64](n)} {
				b.Run(k.Name+"/"+op+"/"+spec.Elem.String(), func(b *testing.B) {
					o := noiseCase(op, spec, newTestPool(b, 1, k))
					run, out, err := o.prepare(b)
					if err != nil {
						b.Fatal(err)
					}
					clock, release := clockFor(1)
					defer release()
					ratio := alternation{clock: clock}
					for b.Loop() {
						ratio.run(func() { _ = run(o.in, out) }, func() {})
					}
					b.ReportMetric(float64(undisturbed(ratio.ours))/n, "ns/number")
				})
			}
		}
	}
}
