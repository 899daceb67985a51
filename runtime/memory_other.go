//go:build !linux

package runtime

// machineMemory is the physical memory in bytes, or 0 if it is not known.
func machineMemory() int64 { return 0 }
