package method

import (
	"strings"
	"testing"
)

// TestYAMLRoundTrip: every record of the table, under both presets, comes back from its YAML and its JSON form.
func TestYAMLRoundTrip(t *testing.T) {
	for _, name := range Names() {
		for _, preset := range []string{"paper", "asdl"} {
			r, err := WithPreset(lookup(t, name), preset)
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range []string{r.YAML(), r.Encode()} {
				back, err := Parse([]byte(text))
				if err != nil {
					t.Errorf("%s, %s: %v\n%s", name, preset, err, text)
				} else if back.Encode() != r.Encode() {
					t.Errorf("%s, %s comes back as\n%s\nnot\n%s", name, preset, back.Encode(), r.Encode())
				}
			}
		}
	}
}

func TestParseBase(t *testing.T) {
	r, err := Parse([]byte("name: mine\nbase: kfac # as published, but\nevery: 20\nsolve:\n  damping:\n    value: 1e-4\nguards: {finite: false}\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := with(t, "kfac", "every=20", "damping=1e-4", "guards.finite=false", "name=mine")
	if r.Encode() != want.Encode() {
		t.Errorf("%s\nis not\n%s", r.Encode(), want.Encode())
	}
	r, err = Parse([]byte("base: shampoo\npreset: asdl\n"))
	if asdl, _ := WithPreset(lookup(t, "shampoo"), "asdl"); err != nil || r.Encode() != asdl.Encode() {
		t.Errorf("preset: %s (%v)", r.Encode(), err)
	}
	r, err = Parse([]byte("name: &n kfac\nbase: *n\ndamping: 3\n"))
	if err != nil || r.Solve.Damping.Value != 3 {
		t.Errorf("aliases: %+v (%v)", r, err)
	}
}

func TestParseErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                                       "empty",
		"base: [kfac]":                           "line 1: base",
		"- kfac":                                 "line 1: want fields",
		"kfac":                                   "line 1: want fields",
		"base: kfac\nsolve:\n  evry: 3":          "line 3: method setting solve.evry=3: want one of",
		"base: kfac\nsolve:\n  every: often":     "line 3: method setting solve.every=often: want a number",
		"base: kfac\nsolve:\n  every: 1.5":       "line 3: method setting solve.every=1.5: want a whole number",
		"base: kfac\n\nevery: -1":                "line 3: method setting accumulate.every=-1",
		"base: kfac\n\ndamping: -1":              "line 3: method setting solve.damping.value=-1",
		"base: kfac\naccumulate: {kind: median}": "line 2: method setting accumulate.kind",
		"base: kfac\nsolve:\n  every: 1\n  kernel: cholesky\n  every: 2": "line 5: solve.every is given already, on line 3",
		"base: newton":                     "line 1: method setting base=newton: want one of sgd",
		"base: kfac\npreset: torch":        "line 2: method setting preset=torch",
		"base: kfac\nname: a/b":            "line 2: method setting name=a/b",
		"curvature: {matrix: none}":        "name",
		"base: kfac\nsolve: every":         "line 2: method setting solve=every",
		"base: kfac\nsolve:":               "line 2: solve: want a value or a group",
		"base: kfac\n---\nbase: sgd":       "second document",
		"base: kfac\n  solve: 1":           "line",
		"base: kfac\nguards: {finite: 7}":  "line 2: method setting guards.finite=7: want true or false",
		"a: &a\n  b: *a":                   "line",
		"base: kfac\n<<: {every: 3}":       "line 2",
		"base: kfac\naccumulate.kind: sum": "the sum of a Fisher's factors", // a combination is of no one line
	} {
		_, err := Parse([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q gives %v, want %q", text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range Names() {
		r, _ := Lookup(name)
		f.Add(r.YAML())
	}
	f.Add("base: kfac\nsolve: {damping: {value: 1e-4}}\n")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := Parse([]byte(text))
		if err != nil {
			return
		}
		if back, err := Parse([]byte(r.YAML())); err != nil || back.Encode() != r.Encode() {
			t.Errorf("%q: reads as %s, comes back as %s (%v)", text, r.Encode(), back.Encode(), err)
		}
	})
}
