//go:build !linux

package bench

// Used is zero: the memory of a process is not known here.
func Used() Usage         { return Usage{} }
func peakResident() int64 { return 0 }
func resetPeak()          {}
