package pass

import (
	"fmt"
	"strings"

	"github.com/asdlc/asdlc/graph"
)

// Library reads model-local functions of the domain asdl from ONNX's textual syntax, into a model that holds nothing else. OPSET in
// the text stands for the opset of the standard operators.
func Library(text string, opset int) (*graph.Model, error) {
	return graph.Parse(fmt.Sprintf("<ir_version: 8, opset_import: [\"\" : %d, \"asdl\" : 1]>\nlib () => () {}\n%s",
		opset, strings.ReplaceAll(text, "OPSET", fmt.Sprint(opset))))
}

// AddFunctions adds the functions of a text to m, but those that it has. Unused ones are removed by cleanup.
func AddFunctions(m *graph.Model, text string) error {
	m.Opsets[graph.Asdl] = 1
	lib, err := Library(text, m.Opset())
	if err != nil {
		return fmt.Errorf("BUG: functions: %w", err)
	}
	for _, f := range lib.Functions {
		if m.Function(f.Domain, f.Name) == nil {
			m.Functions = append(m.Functions, f)
		}
	}
	return nil
}
