package runtime_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph/graphtest"
	"github.com/asdlc/asdlc/runtime"
	"github.com/asdlc/asdlc/runtime/backendtest"
)

const (
	nodeTestArchive = "onnx-node-tests-1.22.0.tar.gz"
	nodeTestStatus  = "onnx-node-tests.json" // the numeric tests, and what onnxruntime makes of them
	nodeTestList    = "nodetests.txt"        // in testdata: exceptions

	minNumeric = 1190 // of the numeric tests must pass
	minAll     = 1500 // of all
)

// TestNodeTests runs the ONNX backend node tests (onnx 1.22) through sessions. Each numeric one (of float, double, int32,
// int64, uint8 and bool tensors alone) must pass, unless testdata/nodetests.txt says why it does not; the others pass or need
// what is not supported. Of a test and its twin with the operator's function expanded both must pass or neither.
func TestNodeTests(t *testing.T) {
	numeric := readStatus(t)
	excused := readExcuses(t)
	status := map[string]backendtest.Status{}
	passed, passedNumeric := 0, 0
	options := backendtest.Options{RTol: backendtest.DefaultRTol, ATol: backendtest.DefaultATol, Runtime: runtime.Options{Threads: 1}}
	for c, err := range backendtest.Walk(graphtest.Shared(t, nodeTestArchive), nil) {
		if err != nil {
			t.Fatal(err)
		}
		r := backendtest.Run(c, options)
		status[r.Name] = r.Status
		reference, isNumeric := numeric[r.Name]
		reason, listed := excused["fails "+r.Name]
		switch {
		case r.Status == backendtest.Passed && listed:
			t.Errorf("%s passes, but testdata/%s says: %s", r.Name, nodeTestList, reason)
		case r.Status == backendtest.Passed:
			passed++
			if isNumeric {
				passedNumeric++
			}
		case listed, !isNumeric && r.Status == backendtest.Unsupported:
		default:
			t.Errorf("%s (onnxruntime: %q) %s: %v", r.Name, reference, r.Status, r.Err)
		}
	}
	t.Logf("%d of %d numeric node tests pass; %d of all %d", passedNumeric, len(numeric), passed, len(status))
	if passedNumeric < minNumeric || passed < minAll {
		t.Errorf("want at least %d and %d", minNumeric, minAll)
	}
	for kind, names := range map[string]map[string]bool{"fails": nil, "pair": checkPairs(t, status, excused)} {
		for entry := range excused {
			name, ok := strings.CutPrefix(entry, kind+" ")
			if _, known := status[name]; ok && !known {
				t.Errorf("testdata/%s: no test %s", nodeTestList, name)
			} else if ok && names != nil && !names[name] {
				t.Errorf("testdata/%s: %s and its twin agree", nodeTestList, name)
			}
		}
	}
}

// checkPairs compares each test with its twin, and returns those that differ.
func checkPairs(t *testing.T, status map[string]backendtest.Status, excused map[string]string) map[string]bool {
	t.Helper()
	pairs, differ := 0, map[string]bool{}
	for twin, expanded := range status {
		name, version, ok := strings.Cut(twin, "_expanded") // _expanded_ver18 of forms that differ
		direct, known := status[name]
		if !ok || !known || version != "" && !strings.HasPrefix(version, "_ver") {
			continue
		}
		pairs++
		if (direct == backendtest.Passed) == (expanded == backendtest.Passed) {
			continue
		}
		differ[name] = true
		if _, listed := excused["pair "+name]; !listed {
			t.Errorf("%s: %s, its expanded twin: %s", name, direct, expanded)
		}
	}
	t.Logf("%d of %d pairs of a test and its expanded twin agree", pairs-len(differ), pairs)
	return differ
}

// readStatus says what onnxruntime makes of each numeric test: "ok" or something else.
func readStatus(t *testing.T) map[string]string {
	t.Helper()
	raw, err := os.ReadFile(graphtest.Shared(t, nodeTestStatus))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Status map[string]string `json:"stock_onnxruntime_1.30"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	return file.Status
}

// readExcuses reads lines "fails NAME REASON" and "pair NAME REASON": the reason by the words before it.
func readExcuses(t *testing.T) map[string]string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", nodeTestList))
	if err != nil {
		t.Fatal(err)
	}
	excuses := map[string]string{}
	for line := range strings.Lines(string(raw)) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.SplitN(line, " ", 3)
		if len(f) < 3 || f[0] != "fails" && f[0] != "pair" {
			t.Fatal(fmt.Errorf("testdata/%s: line %q is neither \"fails NAME REASON\" nor \"pair NAME REASON\"", nodeTestList, line))
		}
		excuses[f[0]+" "+f[1]] = f[2]
	}
	return excuses
}
