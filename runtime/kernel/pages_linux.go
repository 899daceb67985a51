package kernel

import (
	"syscall"
	"unsafe"
)

// preferLargePages asks for pages of 2 MiB in memory that is much larger: a training step walks through all of it, and so finds
// more addresses without a table look-up. The system may decline, which does no harm.
func preferLargePages(b []byte) {
	const page = 2 << 20
	if len(b) < 8*page {
		return
	}
	skip := int(-uintptr(unsafe.Pointer(&b[0])) & (page - 1))
	_ = syscall.Madvise(b[skip:skip+(len(b)-skip)/page*page], syscall.MADV_HUGEPAGE)
}
