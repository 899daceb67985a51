package precondition

import (
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// functionText holds the bodies of the solver functions in ONNX's textual syntax.
//
//go:embed functions.onnxtxt
var functionText string

// baseSide is the largest side that the innermost Cholesky function factors column by column; each level of recursion
// doubles it.
const baseSide = 128

// inverseFunction names the Cholesky inverse for a side of n.
func inverseFunction(n int64) string {
	level := 0
	for base := int64(baseSide); base < n; base *= 2 {
		level++
	}
	return fmt.Sprintf("CholeskyInverse%d", level)
}

// batchInverseFunction names the Cholesky inverse of each of several matrices, [n, k, k].
const batchInverseFunction = "BatchInverse"

func eigenRootFunction(p int) string { return fmt.Sprintf("EigenRoot%d", p) }

// call calls a solver function on a matrix; the result has the matrix's type.
func call(b *op.Builder, name string, m *graph.Value, attrs ...graph.Attr) *graph.Value {
	return b.Call(name, 1, []*graph.Value{m}, attrs...)[0]
}

// addFunctions adds the solver functions that the blocks may call.
func addFunctions(m *graph.Model, blocks []*block) error {
	largest, roots := int64(0), map[int]bool{}
	texts := map[string]bool{}
	for _, bl := range blocks {
		for _, t := range bl.texts {
			texts[t] = true
		}
		largest = max(largest, bl.side)
		for _, s := range bl.sols {
			if len(s.shape) == 2 {
				largest = max(largest, s.shape[0])
			}
		}
		if bl.inverts {
			largest = max(largest, 1)
		}
		for _, t := range bl.roots {
			roots[t] = true
		}
	}
	if largest == 0 && len(texts) == 0 {
		return nil
	}
	return pass.AddFunctions(m, library(largest, roots)+strings.Join(slices.Sorted(maps.Keys(texts)), ""))
}

// section returns the text of functions.onnxtxt under a heading "# == name".
func section(name string) string {
	_, rest, ok := strings.Cut(functionText, "# == "+name+"\n")
	if !ok {
		panic("BUG: no section " + name)
	}
	text, _, _ := strings.Cut(rest, "# == ")
	return text
}

// library instantiates the function templates: one Cholesky level for each doubling of the side, one root for each
// power.
func library(largest int64, roots map[int]bool) string {
	var sb strings.Builder
	sb.WriteString(section("cholesky base"))
	sb.WriteString(strings.NewReplacer("LEVEL", "0").Replace(section("inverse")))
	level := 1
	for base := int64(baseSide); base < largest; base *= 2 {
		r := strings.NewReplacer("LEVEL", fmt.Sprint(level), "BELOW", fmt.Sprint(level-1))
		sb.WriteString(r.Replace(section("cholesky")))
		sb.WriteString(r.Replace(section("inverse")))
		level++
	}
	if len(roots) > 0 {
		sb.WriteString(section("power iteration"))
		sb.WriteString(section("eigen"))
	}
	for p := 1; p <= 64; p++ {
		if roots[p] {
			r := strings.NewReplacer("POWER", fmt.Sprint(p), "MATRIX_POWER", matrixPower(p), "INVERSE", fmt.Sprint(1/float64(p)))
			sb.WriteString(r.Replace(section("newton root")))
			sb.WriteString(r.Replace(section("eigen root")))
		}
	}
	return sb.String()
}

// matrixPower writes the nodes that raise T to the power p by squaring; the result is called Tp.
func matrixPower(p int) string {
	var lines []string
	result, square := "", "T"
	for bit := 1; bit <= p; bit *= 2 {
		if bit > 1 {
			next := fmt.Sprintf("T%d", bit)
			lines = append(lines, fmt.Sprintf("%s = MatMul(%s, %s)", next, square, square))
			square = next
		}
		if p&bit != 0 {
			if result == "" {
				result = square
			} else {
				next := result + "x" + square
				lines = append(lines, fmt.Sprintf("%s = MatMul(%s, %s)", next, result, square))
				result = next
			}
		}
	}
	return strings.Join(append(lines, fmt.Sprintf("Tp = Identity(%s)", result)), "\n        ")
}
