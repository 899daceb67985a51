//go:build linux

package kernel

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"
)

// pyTorch is PyTorch in a process of its own.
type pyTorch struct {
	requests io.Writer
	answers  *bufio.Scanner
}

// startPyTorch starts a process of a program of testdata/peers, or skips the benchmark.
func startPyTorch(b *testing.B, program string) *pyTorch {
	python := os.Getenv("PEERS_PYTHON")
	if python == "" {
		b.Skip("PEERS_PYTHON is not set: a Python that has PyTorch")
	}
	cmd := exec.Command(python, "../../testdata/peers/"+program)
	// Memory that PyTorch frees is kept, so that its results do not pay for pages anew each time.
	cmd.Env = append(os.Environ(), "MALLOC_MMAP_THRESHOLD_=4294967296", "MALLOC_TRIM_THRESHOLD_=4294967296", "OMP_NUM_THREADS=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Skip(err)
	}
	b.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	d := &pyTorch{requests: in, answers: bufio.NewScanner(out)}
	var about struct {
		Version string
		OneDNN  bool
	}
	if !d.answers.Scan() {
		b.Skip("PyTorch is not installed for PEERS_PYTHON")
	}
	if err := json.Unmarshal(d.answers.Bytes(), &about); err != nil {
		b.Fatal(err)
	}
	if !about.OneDNN {
		b.Skipf("PyTorch %s is built without oneDNN", about.Version)
	}
	return d
}

// ask has a case computed, and gives the times of a call by layout.
func (d *pyTorch) ask(b *testing.B, request map[string]any) map[string]time.Duration {
	line, err := json.Marshal(request)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := fmt.Fprintf(d.requests, "%s\n", line); err != nil {
		b.Fatal(err)
	}
	if !d.answers.Scan() {
		b.Fatal("PyTorch's process ended")
	}
	var seconds map[string]float64
	if err := json.Unmarshal(d.answers.Bytes(), &seconds); err != nil {
		b.Fatal(err)
	}
	times := map[string]time.Duration{}
	for layout, s := range seconds {
		times[layout] = time.Duration(s * float64(time.Second))
	}
	return times
}

// takeTurns has this side's run and PyTorch compute a case in turns, so many calls each, on one thread and by processor time. Of
// PyTorch's two layouts the faster counts. It reports the ratios, and gives the times of a call.
func (d *pyTorch) takeTurns(b *testing.B, run func(), request map[string]any, calls int) (mine, fastest time.Duration) {
	clock, release := clockFor(1)
	defer release()
	var ours, plain, last []time.Duration
	for b.Loop() {
		run()
		start := clock()
		for range calls {
			run()
		}
		ours = append(ours, (clock()-start)/time.Duration(calls))
		answer := d.ask(b, request)
		plain, last = append(plain, answer["contiguous"]), append(last, answer["channels_last"])
	}
	mine, fastest = undisturbed(ours), min(undisturbed(plain), undisturbed(last))
	b.ReportMetric(float64(undisturbed(plain))/float64(mine), "contiguous-ratio")
	b.ReportMetric(float64(fastest)/float64(mine), "ratio")
	return mine, fastest
}
