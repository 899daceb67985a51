package bench

import (
	"bufio"
	"os"
	"strconv"
	"strings"
)

// Used is the memory of this process.
func Used() Usage { return Usage{status("VmRSS:"), status("RssAnon:")} }

// peakResident is the most that was resident since the start, or the last resetPeak.
func peakResident() int64 { return status("VmHWM:") }

// resetPeak makes peakResident begin anew, where the kernel allows it.
func resetPeak() { _ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) }

// status reads a field of /proc/self/status that is in kB; 0 if there is none.
func status(field string) int64 {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), field); ok {
			kib, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 10, 64)
			return kib << 10
		}
	}
	return 0
}
