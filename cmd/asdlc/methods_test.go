package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/passes/method"
)

var testName = regexp.MustCompile(`(?m)^func (Test\w+)\(`)

// TestOracles: the tests that the methods' rows and the table of combinations name exist.
func TestOracles(t *testing.T) {
	exists := map[string]bool{}
	err := filepath.WalkDir(filepath.Join("..", "..", "passes"), func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range testName.FindAllStringSubmatch(string(text), -1) {
			exists[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range method.Names() {
		rec, _ := method.Lookup(name)
		for _, oracle := range strings.Fields(rec.Oracles) {
			if !exists[oracle] {
				t.Errorf("method %s: there is no test %s", name, oracle)
			}
		}
	}
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "combinations.md"))
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`(Test\\w+)`").FindAllStringSubmatch(string(text), -1)
	if len(named) == 0 {
		t.Error("docs/combinations.md names no tests")
	}
	for _, m := range named {
		if !exists[m[1]] {
			t.Errorf("docs/combinations.md: there is no test %s", m[1])
		}
	}
}
