//go:build !amd64

package amd64

// detect finds no assembler for this processor.
func detect() []*Kernels { return nil }

// Pause does nothing on this processor.
func Pause(int) {}
