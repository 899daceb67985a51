package onnx

import (
	"math"
	"os"
	"syscall"
)

// mapFile maps a file for reading, for the life of the process; nil if that fails.
func mapFile(f *os.File, size int64) []byte {
	if size > math.MaxInt {
		return nil
	}
	b, err := syscall.Mmap(int(f.Fd()), 0, int(size), syscall.PROT_READ, syscall.MAP_PRIVATE)
	if err != nil {
		return nil
	}
	return b
}
