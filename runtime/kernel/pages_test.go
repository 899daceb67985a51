package kernel

import (
	"testing"
	"unsafe"
)

// TestAligned: memory of any size is zero, aligned, and as long as it was asked for, that in large pages too.
func TestAligned(t *testing.T) {
	for _, n := range []int{0, 1, 63, 64, 4097, 16 << 20, 33<<20 + 5} {
		b := Aligned(n)
		if len(b) != n || cap(b) != n || n > 0 && uintptr(unsafe.Pointer(&b[0]))%64 != 0 {
			t.Errorf("%d bytes asked for, %d of capacity %d at %p", n, len(b), cap(b), unsafe.SliceData(b))
		}
		for i := range b {
			if b[i] != 0 {
				t.Fatalf("byte %d of %d is %d", i, n, b[i])
			}
			b[i] = 1
		}
	}
}
