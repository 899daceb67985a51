//go:build !linux

package bench

// Resident is 0: the memory that is resident is not known here.
func Resident() int64     { return 0 }
func peakResident() int64 { return 0 }
func resetPeak()          {}
