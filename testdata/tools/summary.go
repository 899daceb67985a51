// Command summary reads the events of "go test -json" from standard input. It prints a line a package as they finish and
// the output of failed tests, then how many tests were skipped and why, and last "N passed, N failed". Tests with
// subtests count with them. It exits with 1 if a test or a build failed, or if nothing ran.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strings"
)

// event is one line of the stream, see "go doc test2json" and, for builds, "go help buildjson".
type event struct {
	Action, Package, Test, Output, ImportPath string
	Elapsed                                   float64
}

type summary struct {
	passed, failed int
	broken         int                 // packages that failed outside their tests
	output         map[string][]string // by package and test, until it finishes
	failing        map[string]bool     // packages with a failed test
	skipped        map[string]int      // number of tests by reason
}

func main() {
	s := summary{output: map[string][]string{}, failing: map[string]bool{}, skipped: map[string]int{}}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Println(lines.Text()) // what the go command says outside the stream
			continue
		}
		s.add(e)
	}
	if err := lines.Err(); err != nil {
		fmt.Println("reading the test events:", err)
		s.broken++
	}
	os.Exit(s.finish())
}

func (s *summary) add(e event) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "output":
		s.output[key] = append(s.output[key], e.Output)
	case "build-output":
		fmt.Print(e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			s.pkg(e)
		} else {
			s.test(e)
		}
		delete(s.output, key)
	}
}

func (s *summary) test(e event) {
	lines := s.output[e.Package+" "+e.Test]
	switch e.Action {
	case "pass":
		s.passed++
	case "fail":
		s.failed++
		s.failing[e.Package] = true
		fmt.Print(strings.Join(lines, ""))
	case "skip":
		s.skipped[reason(lines)]++
	}
}

// reason finds what a skipped test said: its last line that is no frame of the test log, without file and line.
func reason(lines []string) string {
	for i := len(lines) - 1; i >= 0; i-- {
		line := strings.TrimSpace(lines[i])
		if line == "" || strings.HasPrefix(line, "---") || strings.HasPrefix(line, "===") {
			continue
		}
		if parts := strings.SplitN(line, ": ", 2); len(parts) == 2 && strings.Contains(parts[0], ".go:") {
			return parts[1]
		}
		return line
	}
	return "no reason given"
}

func (s *summary) pkg(e event) {
	switch e.Action {
	case "pass":
		fmt.Printf("ok    %s  %.1fs\n", e.Package, e.Elapsed)
	case "fail":
		fmt.Printf("FAIL  %s  %.1fs\n", e.Package, e.Elapsed)
		if !s.failing[e.Package] { // a panic, a time-out, a build
			fmt.Print(strings.Join(s.output[e.Package+" "], ""))
			s.broken++
		}
	}
}

func (s *summary) finish() int {
	var reasons []string
	for r := range s.skipped {
		reasons = append(reasons, r)
	}
	sort.Strings(reasons)
	for _, r := range reasons {
		fmt.Printf("skipped %d: %s\n", s.skipped[r], r)
	}
	if s.broken > 0 {
		fmt.Printf("%d packages failed outside their tests\n", s.broken)
	}
	if s.passed+s.failed+s.broken == 0 {
		fmt.Println("no test ran")
		s.broken++
	}
	fmt.Printf("%d passed, %d failed\n", s.passed, s.failed+s.broken)
	if s.failed+s.broken > 0 {
		return 1
	}
	return 0
}
