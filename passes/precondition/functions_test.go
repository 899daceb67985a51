package precondition

import (
	"fmt"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
)

// The templates parse for every opset that is emitted, and the parsed model is well formed.
func TestLibraryParses(t *testing.T) {
	for _, opset := range []int{17, 18, 21, 26} {
		text := library(300, map[int]bool{2: true, 4: true, 6: true, 8: true}) + basisFunctions()
		src := fmt.Sprintf("<ir_version: 8, opset_import: [\"\" : %d, \"asdl\" : 1]>\nlib () => () {}\n%s", opset, strings.ReplaceAll(text, "OPSET", fmt.Sprint(opset)))
		m, err := graph.Parse(src)
		if err != nil {
			t.Fatalf("opset %d: %v", opset, err)
		}
		if err := graph.Verify(m); err != nil {
			t.Fatalf("opset %d: %v", opset, err)
		}
		for _, name := range []string{"CholeskyInverse0", "CholeskyInverse2", "InverseRoot8", "EigenRoot4", "PowerIteration", "EigenBasis"} {
			if m.Function(graph.Asdl, name) == nil {
				t.Errorf("opset %d: no function %s", opset, name)
			}
		}
	}
}

func TestMatrixPower(t *testing.T) {
	for p, want := range map[int]int{1: 0, 2: 1, 3: 2, 4: 2, 6: 3, 8: 3} {
		if got := strings.Count(matrixPower(p), "MatMul"); got != want {
			t.Errorf("power %d takes %d products, want %d", p, got, want)
		}
	}
}
