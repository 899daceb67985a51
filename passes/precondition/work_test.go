package precondition

import (
	"regexp"
	"strings"
	"testing"
)

// TestSolverWorks: every solver function has a row that says what it costs.
func TestSolverWorks(t *testing.T) {
	found := 0
	for _, m := range regexp.MustCompile(`(?m)^([A-Z]\w*?)(LEVEL|STEPS|POWER|\d+)? *(<[^>]*>)? *\([^)]*\) => \(`).FindAllStringSubmatch(functionText, -1) {
		found++
		if solverRow(m[1]) == nil {
			t.Errorf("function %s has no row in solverWorks", m[1])
		}
	}
	if found < strings.Count(functionText, "<domain:") {
		t.Errorf("%d functions found, the text has %d", found, strings.Count(functionText, "<domain:"))
	}
}
