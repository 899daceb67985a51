package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// documents lists README.md and docs/*.md.
func documents(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	return append(files, filepath.Join("..", "..", "README.md"))
}

var inlineCommand = regexp.MustCompile("`((?:bin/)?asdlc [^`]+)`")

// TestDocsCommands parses every command line in the documents: the command and its flags exist, and in blocks of code the
// number of arguments is right.
func TestDocsCommands(t *testing.T) {
	found := map[string]bool{}
	for _, file := range documents(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		fenced := false
		for i, line := range strings.Split(strings.ReplaceAll(string(text), "\\\n", " "), "\n") { // lines are joined at \
			if strings.HasPrefix(line, "```") {
				fenced = !fenced
			}
			for _, m := range inlineCommand.FindAllStringSubmatch(line, -1) {
				if err := parseCommand(m[1], false, found); err != nil {
					t.Errorf("%s:%d: %s: %v", filepath.Base(file), i+1, m[1], err)
				}
			}
			code := strings.TrimPrefix(strings.TrimSpace(line), "$ ")
			if (fenced || strings.HasPrefix(line, "    ")) && (strings.HasPrefix(code, "asdlc ") || strings.HasPrefix(code, "bin/asdlc ")) {
				if err := parseCommand(code, true, found); err != nil {
					t.Errorf("%s:%d: %s: %v", filepath.Base(file), i+1, code, err)
				}
			}
		}
	}
	for _, c := range newRoot(io.Discard, io.Discard).Commands() {
		if !found[c.Name()] && !slices.Contains([]string{"help", "completion", "version"}, c.Name()) {
			t.Errorf("README.md and docs/ do not tell of asdlc %s", c.Name())
		}
	}
}

// parseCommand parses a command line without running it. What is in capitals stands for something.
func parseCommand(line string, whole bool, found map[string]bool) error {
	line, _, _ = strings.Cut(line, " #")
	words := strings.Fields(line)[1:]
	if words[0] == strings.ToUpper(words[0]) {
		return nil // asdlc COMMAND --help
	}
	root := newRoot(io.Discard, io.Discard)
	c, rest, err := root.Find(words)
	if err != nil {
		return err
	}
	if c == root {
		return fmt.Errorf("no such command")
	}
	found[c.Name()] = true
	for i, w := range rest {
		rest[i] = strings.Trim(w, "[]'\"")
		if name, value, ok := strings.Cut(rest[i], "="); ok && strings.HasPrefix(name, "--") && value == strings.ToUpper(value) {
			rest[i] = name + "=1"
		}
	}
	for i := 1; i < len(rest); i++ { // --steps N: a number
		if rest[i] == "N" && strings.HasPrefix(rest[i-1], "--") {
			rest[i] = "1"
		}
	}
	if err := c.ParseFlags(rest); err != nil {
		return err
	}
	if whole {
		return c.ValidateArgs(c.Flags().Args())
	}
	return nil
}
