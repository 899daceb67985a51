package main

import (
	"cmp"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/models"
	"github.com/asdlc/asdlc/passes/loss"
	"github.com/asdlc/asdlc/passes/method"
)

// updateDocs writes the tables that the documentation holds copies of: go test ./cmd/asdlc -run Docs -update-docs.
var updateDocs = flag.Bool("update-docs", false, "write the tables in README.md and docs/*.md anew")

// docTables are the tables that may follow a line <!-- table: NAME --> in a document.
var docTables = map[string]func() []string{"methods": methodsMarkdown, "models": modelsMarkdown, "losses": lossesMarkdown}

var tableMarker = regexp.MustCompile(`^<!-- table: (\w+) -->$`)

// documents lists README.md and docs/*.md.
func documents(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	return append(files, filepath.Join("..", "..", "README.md"))
}

// TestDocsTables compares the tables in the documents with what the program has.
func TestDocsTables(t *testing.T) {
	for _, file := range documents(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want, err := withTables(string(text))
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if want == string(text) {
			continue
		}
		if *updateDocs {
			if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		t.Errorf("%s: a table is out of date; go test ./cmd/asdlc -run Docs -update-docs writes it", filepath.Base(file))
	}
}

// withTables replaces the lines of each table behind a marker, or puts them in.
func withTables(text string) (string, error) {
	lines := strings.Split(text, "\n")
	var out []string
	for i := 0; i < len(lines); i++ {
		out = append(out, lines[i])
		m := tableMarker.FindStringSubmatch(lines[i])
		if m == nil {
			continue
		}
		table, ok := docTables[m[1]]
		if !ok {
			return "", fmt.Errorf("no table %q", m[1])
		}
		for i+1 < len(lines) && strings.HasPrefix(lines[i+1], "|") {
			i++
		}
		out = append(out, table()...)
	}
	return strings.Join(out, "\n"), nil
}

func TestWithTables(t *testing.T) {
	want := strings.Join(append(append([]string{"a", "<!-- table: models -->"}, modelsMarkdown()...), "", "b"), "\n")
	for _, text := range []string{"a\n<!-- table: models -->\n\nb", "a\n<!-- table: models -->\n| old |\n| older |\n\nb", want} {
		if got, err := withTables(text); err != nil || got != want {
			t.Errorf("%q becomes %q (%v), want %q", text, got, err, want)
		}
	}
	if _, err := withTables("<!-- table: nothing -->"); err == nil {
		t.Error("an unknown table is accepted")
	}
}

func methodsMarkdown() []string {
	lines := []string{"| method | what it is | curvature | representation | solver | reference |", "|---|---|---|---|---|---|"}
	for _, name := range method.Names() {
		r, _ := method.Lookup(name)
		cells := methodCells(r)
		_, what, _ := strings.Cut(r.Doc, ": ")
		if what == "" {
			what = r.Doc
		}
		lines = append(lines, fmt.Sprintf("| `%s` | %s | %s | %s | %s | %s |", r.Name, what, cells.curvature, cells.representation, cells.solve, r.Cite))
	}
	return lines
}

func modelsMarkdown() []string {
	lines := []string{"| network | what it is | input | parameters | options | reference |", "|---|---|---|---|---|---|"}
	for _, m := range models.All() {
		parameters := thousands(m.Parameters)
		if m.ImageNet != 0 {
			parameters += "; " + thousands(m.ImageNet) + " with `--imagenet`"
		}
		flags := "`" + strings.Join(newFlags(m), "`, `") + "`"
		lines = append(lines, fmt.Sprintf("| `%s` | %s | `%s` | %s | %s | %s |", m.Name, m.Doc, m.Input, parameters, flags, cmp.Or(m.Cite, "-")))
	}
	return lines
}

func lossesMarkdown() []string {
	lines := []string{"| `--loss` | what it is | output | target | options | curvature by |", "|---|---|---|---|---|---|"}
	for _, l := range loss.All() {
		target, options := "like the output", "-"
		switch {
		case l.NoRoot != "":
			target = "-"
		case l.Labels:
			target = "int64 labels"
		}
		if len(l.Options) > 0 {
			options = "`--" + strings.Join(l.Options, "`, `--") + "`"
		}
		sources := "emp"
		if l.NoRoot == "" {
			sources = "exact, " + sources
		}
		if l.NoSample == "" {
			sources = "mc, " + sources
		}
		lines = append(lines, fmt.Sprintf("| `%s` | %s | %s | %s | %s | %s |", l.Name, l.Doc, cmp.Or(l.Input, "any"), target, options, sources))
	}
	return lines
}

// thousands writes a number with commas.
func thousands(n int64) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
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
