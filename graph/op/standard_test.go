package op_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
)

// deviations are where rows differ from the standard on purpose: "operator attribute" or "operator".
var deviations = map[string]string{
	"Constant":              "versions 1 to 11 share a row, which has no sparse_value",
	"Constant sparse_value": "sparse tensors are not supported",
}

// TestStandard compares the rows with the operators of the standard, of which testdata/standard.py makes a list: each row must have
// the inputs, outputs and attributes that the standard has at its version, and admit all its element types.
func TestStandard(t *testing.T) {
	list, err := os.ReadFile("testdata/standard.txt")
	if err != nil {
		t.Fatal(err)
	}
	known, compared := map[string]bool{}, 0
	for s := range op.Schemas() {
		known[s.Name] = known[s.Name] || s.Domain == ""
	}
	for line := range strings.Lines(string(list)) {
		head, tail, _ := strings.Cut(strings.TrimSpace(line), " => ")
		outputs, attrs, _ := strings.Cut(tail, ";")
		fields := strings.Fields(head)
		name, version := fields[0], fields[1]
		since, err := strconv.Atoi(version)
		if err != nil {
			t.Fatal(err)
		}
		s, ok := op.Lookup("", name, since)
		if !known[name] || !ok {
			continue
		}
		if since < 7 && s.Since != since || deviations[name] != "" && since < 12 {
			continue
		}
		compared++
		where := name + "-" + version
		compareParams(t, where+" input", s.Inputs, fields[2:])
		compareParams(t, where+" output", s.Outputs, strings.Fields(outputs))
		compareAttrs(t, where, s, strings.Fields(attrs))
	}
	if compared < 300 {
		t.Errorf("only %d versions compared", compared)
	}
}

func compareParams(t *testing.T, where string, got []op.Param, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%ss %v, want %v", where, got, want)
		return
	}
	for i, w := range want {
		part := strings.Split(w, ":")
		option := map[op.Option]string{op.Single: "1", op.Optional: "?", op.Variadic: "*", op.AnyCount: "*"}[got[i].Option]
		input := strings.HasSuffix(where, "input")
		if option != part[1] && (input || option == "*" || part[1] == "*") {
			t.Errorf("%s %s is %s, want %s", where, part[0], option, part[1])
		}
		types, err := strconv.ParseUint(part[2], 16, 32)
		if err != nil {
			t.Fatal(err)
		}
		if missing := op.Elems(types) &^ got[i].Types; missing != 0 {
			t.Errorf("%s %s does not admit %s", where, part[0], missing)
		}
	}
}

func compareAttrs(t *testing.T, where string, s *op.Schema, want []string) {
	t.Helper()
	got := map[string]op.AttrSpec{}
	for _, a := range s.Attrs {
		got[a.Name] = a
	}
	for _, w := range want {
		part := strings.SplitN(w, ":", 3)
		a, ok := got[part[0]]
		delete(got, part[0])
		if deviations[s.Name+" "+part[0]] != "" {
			continue
		}
		if !ok || fmt.Sprint(uint8(a.Kind)) != part[1] || a.Required != (part[2] == "!") || !a.Required && defaultText(a.Default, part[2]) != part[2] {
			t.Errorf("%s attribute %v, want %s", where, a, w)
		}
	}
	if len(got) > 0 {
		t.Errorf("%s has the attributes %v, which the standard has not", where, got)
	}
}

// defaultText writes a default as the list does; a float is want itself if it has that value.
func defaultText(a graph.Attr, want string) string {
	switch a.Kind {
	case graph.AttrInt:
		return fmt.Sprint(a.I)
	case graph.AttrString:
		return a.S
	case graph.AttrInts:
		return strings.ReplaceAll(strings.Trim(fmt.Sprint(a.Ints), "[]"), " ", ",")
	case graph.AttrStrings:
		return strings.Join(a.Strings, ",")
	case graph.AttrFloat:
		if f, err := strconv.ParseFloat(want, 32); err == nil && float32(f) == a.F {
			return want
		}
		return fmt.Sprint(a.F)
	}
	return ""
}
