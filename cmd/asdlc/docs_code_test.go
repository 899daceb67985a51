package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// codeMarker marks a block of code that is the body of a function which the tests compile and run.
var codeMarker = regexp.MustCompile("(?s)<!-- code: (\\S+) (\\w+) -->\n```go\n(.*?)```")

// TestDocsCode compares the code in the documents with the functions that it is taken from.
func TestDocsCode(t *testing.T) {
	found := 0
	for _, file := range documents(t) {
		for _, m := range codeMarker.FindAllStringSubmatch(readText(t, file), -1) {
			found++
			want := functionBody(t, filepath.Join("..", "..", m[1]), m[2])
			if got := strings.TrimSpace(m[3]); got != want {
				t.Errorf("%s: the block of %s %s should be:\n%s", filepath.Base(file), m[1], m[2], want)
			}
		}
	}
	if found == 0 {
		t.Error("no document shows how to use the packages from Go")
	}
}

var docLink = regexp.MustCompile(`\]\(([\w./-]+)\)`) // not those with a scheme

// TestDocsLinks finds the files that the documents link to.
func TestDocsLinks(t *testing.T) {
	for _, file := range documents(t) {
		for _, m := range docLink.FindAllStringSubmatch(readText(t, file), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), m[1])); err != nil {
				t.Errorf("%s links to %s: %v", filepath.Base(file), m[1], err)
			}
		}
	}
}

// functionBody is the body of a top-level function, one level of indentation removed.
func functionBody(t *testing.T, file, name string) string {
	t.Helper()
	_, rest, ok := strings.Cut(readText(t, file), "\nfunc "+name+"(")
	if !ok {
		t.Fatalf("%s has no function %s", file, name)
	}
	_, rest, _ = strings.Cut(rest, "\n")
	body, _, _ := strings.Cut(rest, "\n}\n")
	return strings.TrimSpace(strings.ReplaceAll("\n"+body, "\n\t", "\n"))
}

func readText(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
