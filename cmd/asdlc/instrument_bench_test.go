//go:build unix

package main

import (
	"io"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// BenchmarkInstrumentResNet18 is the whole command in this process: read, compile, write.
func BenchmarkInstrumentResNet18(b *testing.B) {
	dir := b.TempDir()
	model := filepath.Join(dir, "resnet18.onnx")
	mustRun(b, "new", "resnet18", "-o", model)
	for _, method := range []string{"sgd", "kfac", "shampoo"} {
		b.Run(method, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				mustRun(b, "instrument", model, "-m", method, "-o", filepath.Join(dir, "step.onnx"), "-f")
			}
		})
	}
}

func mustRun(b *testing.B, args ...string) {
	b.Helper()
	if code := run(args, io.Discard, io.Discard); code != 0 {
		b.Fatalf("asdlc %v: exit code %d", args, code)
	}
}

// BenchmarkInstrumentProcess is the command in a process of its own, with its peak memory. The goal for K-FAC on ResNet-18
// is under 2 s and 1 GiB.
func BenchmarkInstrumentProcess(b *testing.B) {
	dir := b.TempDir()
	program := filepath.Join(dir, "asdlc")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		b.Fatalf("go build: %v\n%s", err, out)
	}
	model := filepath.Join(dir, "resnet18.onnx")
	mustRun(b, "new", "resnet18", "-o", model)
	peak := int64(0)
	for b.Loop() {
		cmd := exec.Command(program, "instrument", model, "-m", "kfac", "-o", filepath.Join(dir, "step.onnx"), "-f")
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
			peak = max(peak, usage.Maxrss) // KiB on Linux
		}
	}
	b.ReportMetric(float64(peak)/1024, "peak-MiB")
}
