package passes_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/passes/method"
)

// updateMatrix writes the matrix of docs/testing.md anew: go test ./passes -run Matrix -update-docs.
var updateMatrix = flag.Bool("update-docs", false, "write the matrix of methods and properties in docs/testing.md anew")

// property is a column of the matrix.
type property struct {
	id, says, test string
	claims         map[string]claim
}

// properties are those that have a claim for each method. Where claims is nil, they hold for all.
func properties() []property {
	scales := map[string]claim{}
	for name, s := range lossScales {
		scales[name] = claim{not: s.not}
	}
	return []property{
		{"X2", "statistics of a batch are the mean of those of its halves", "TestBatchSplit", splits},
		{"X3", "the loss times c: directions times the right power of c, damping scaled alike", "TestLossScale", scales},
		{"X4", "large damping leaves the gradient", "TestLargeDamping", dampings},
		{"X5", "rotated inputs and units rotate the direction", "TestRotation", rotations},
		{"X6", "inputs transformed, weights transformed back: the same function after a step", "TestAffineInvariance", affine},
		{"X7", "directions descend", "TestDescent", nil},
		{"X8", "states change on their clocks and stay between them", "TestStateMoves", nil},
		{"X9", "the same state and inputs give the same bits", "TestSameStepTwice", nil},
		{"X10", "graphs of `--split`, `--embed`, `--emit gradient` agree with the plain one", "TestForms", nil},
		{"X11", "a convolution whose kernel covers the image is a linear layer", "TestConvolutionOfOne", convolutions},
		{"X12", "an embedding is a linear layer on one-hot inputs", "TestEmbeddingIsLinear", embeddings},
		{"X13", "scale and shift of a normalisation: blocks of second moments of examples", "TestNormUnits", norms},
		{"X14", "hidden units in another order", "TestPermutation", permutations},
		{"X15", "float32 within 1e-3 of float64 after 20 steps", "TestSinglePrecision", map[string]claim{"splus": {not: "the sign of an entry near zero"}}},
		{"X16", "a step whose gradients are not finite changes nothing", "TestBadBatch", nil},
	}
}

// mark is a cell of the matrix.
func (c claim) mark() string {
	switch {
	case c.not != "":
		return "-"
	case c.fail != "":
		return "fails"
	}
	return "x"
}

// matrix is the part of docs/testing.md that tells which test proves what of which method.
func matrix() string {
	var sb strings.Builder
	props := properties()
	sb.WriteString("| method |")
	for _, p := range props {
		fmt.Fprintf(&sb, " %s |", p.id)
	}
	fmt.Fprintf(&sb, " X1 and what the method alone has |\n|---|%s---|\n", strings.Repeat("---|", len(props)))
	for _, name := range method.Names() {
		rec, _ := method.Lookup(name)
		fmt.Fprintf(&sb, "| `%s` |", name)
		for _, p := range props {
			fmt.Fprintf(&sb, " %s |", p.claims[name].mark())
		}
		fmt.Fprintf(&sb, " %s |\n", strings.Join(strings.Fields(rec.Oracles), ", "))
	}
	sb.WriteString("\n| | property | test | not, or must fail, because |\n|---|---|---|---|\n")
	for _, p := range props {
		reasons := map[string][]string{}
		for _, name := range method.Names() {
			if c := p.claims[name]; c.not+c.fail != "" {
				reasons[c.not+c.fail] = append(reasons[c.not+c.fail], name)
			}
		}
		var list []string
		for _, reason := range sortedKeys(reasons) {
			list = append(list, strings.Join(reasons[reason], ", ")+": "+reason)
		}
		fmt.Fprintf(&sb, "| %s | %s | %s | %s |\n", p.id, p.says, p.test, strings.Join(list, "; "))
	}
	return sb.String()
}

// TestMatrix compares the matrix in the documentation with the tables of the tests.
func TestMatrix(t *testing.T) {
	const from, to = "<!-- matrix -->\n", "<!-- end -->\n"
	file := filepath.Join("..", "docs", "testing.md")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), from)
	_, after, ok2 := strings.Cut(rest, to)
	if !ok || !ok2 {
		t.Fatalf("%s has no lines %q and %q", file, from, to)
	}
	want := before + from + matrix() + to + after
	if want == string(text) {
		return
	}
	if !*updateMatrix {
		t.Fatalf("%s: the matrix is out of date; go test ./passes -run Matrix -update-docs writes it", file)
	}
	if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}
