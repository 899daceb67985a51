package op_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/graphtest"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/runtime/backendtest"
)

// evalDim evaluates a dimension with numbers for its symbols.
func evalDim(expr string, symbols map[string]int64) (int64, error) {
	sum := int64(0)
	for _, t := range splitTop(expr, "+-") {
		sign := int64(1)
		if strings.HasPrefix(t, "-") {
			sign = -1
		}
		p := sign
		for _, f := range splitTop(strings.TrimLeft(t, "+-"), "*") {
			v, err := evalFactor(strings.TrimPrefix(f, "*"), symbols)
			if err != nil {
				return 0, err
			}
			p *= v
		}
		sum += p
	}
	return sum, nil
}

func evalFactor(f string, symbols map[string]int64) (int64, error) {
	if args, ok := strings.CutPrefix(f, "floor("); ok {
		parts := splitTop(strings.TrimSuffix(args, ")"), ",")
		a, err := evalDim(parts[0], symbols)
		if err != nil {
			return 0, err
		}
		b, err := evalDim(strings.TrimPrefix(parts[1], ","), symbols)
		if err != nil {
			return 0, err
		}
		q := a / b
		if a%b != 0 && (a < 0) != (b < 0) {
			q--
		}
		return q, nil
	}
	if v, ok := symbols[f]; ok {
		return v, nil
	}
	v, err := strconv.ParseInt(f, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("unknown symbol %q", f)
	}
	return v, nil
}

// splitTop cuts before each of the separators outside of parentheses.
func splitTop(s, separators string) []string {
	var parts []string
	depth, start := 0, 0
	for i, r := range s {
		switch {
		case r == '(':
			depth++
		case r == ')':
			depth--
		case depth == 0 && i > start && strings.ContainsRune(separators, r):
			parts = append(parts, s[start:i])
			start = i
		}
	}
	return append(parts, s[start:])
}

// TestSymbolicSound infers the node tests with symbols for the sizes of their data inputs. Whatever is then said of an output must
// come out as its true shape when the symbols are given their sizes. One run has a symbol a size, one a symbol a dimension.
func TestSymbolicSound(t *testing.T) {
	for _, perSize := range []bool{true, false} {
		dims, known := 0, 0
		for test, err := range backendtest.Walk(graphtest.Shared(t, nodeTestArchive), nil) {
			if err != nil {
				t.Fatal(err)
			}
			name := test.Name
			m, want, err := loadNodeTest(test)
			if err != nil {
				continue
			}
			symbols := symbolise(m, perSize)
			if err := op.InferGraph(m); err != nil {
				if perSize && !strings.Contains(err.Error(), "not known in version") {
					t.Errorf("%s: %v", name, err)
				}
				continue
			}
			for i, v := range m.Graph.Outputs() {
				if want[i] == nil || !v.Type.Ranked {
					continue
				}
				if len(v.Type.Dims) != len(want[i].Shape) {
					t.Errorf("%s: output %d is %s, want shape %v", name, i, v.Type, want[i].Shape)
					continue
				}
				for k, d := range v.Type.Dims {
					dims++
					if d.IsUnknown() {
						continue
					}
					known++
					got, err := evalDim(d.String(), symbols)
					if err != nil || got != want[i].Shape[k] {
						t.Errorf("%s: output %d is %s, which is %d (%v) in dimension %d, want shape %v, symbols %v",
							name, i, v.Type, got, err, k, want[i].Shape, symbols)
					}
				}
				checkContent(t, name, v, want[i], symbols)
			}
		}
		t.Logf("symbol a size: %t: %d of %d output dimensions known", perSize, known, dims)
	}
}

// checkContent compares inferred content with the expected output.
func checkContent(t *testing.T, name string, v *graph.Value, want *graph.Tensor, symbols map[string]int64) {
	t.Helper()
	values, ok := want.Int64s()
	if floats, isFloat := want.Float64s(); !ok && isFloat {
		for _, f := range floats {
			values = append(values, int64(f))
		}
	}
	for k, d := range v.Content {
		if d.IsUnknown() {
			continue
		}
		if got, err := evalDim(d.String(), symbols); err != nil || got != values[k] {
			t.Errorf("%s: content %v of %s, want %v", name, v.Content, v.Name, values)
		}
	}
}

// symbolise replaces sizes above 1 of the inputs by symbols, except for those of small integer vectors, which stay constant.
func symbolise(m *graph.Model, perSize bool) map[string]int64 {
	symbols := map[string]int64{}
	for i, v := range m.Graph.Inputs() {
		c := v.Const()
		constant := c != nil && len(c.Shape) <= 1 && (c.Elem.IsInt() || c.Elem == graph.Bool || v.Name == "scales")
		if c == nil || constant || c.Len() == 0 || len(c.Shape) == 0 {
			continue
		}
		dims := make([]graph.Dim, len(c.Shape))
		for k, n := range c.Shape {
			dims[k] = graph.Known(n)
			name := fmt.Sprintf("s%d", n)
			if !perSize {
				name = fmt.Sprintf("d%d_%d", i, k)
			}
			if n > 1 {
				dims[k] = graph.Sym(name)
				symbols[name] = n
			}
		}
		m.Graph.SetDefault(v, nil)
		v.Type = graph.TensorType(c.Elem, dims...)
	}
	return symbols
}
