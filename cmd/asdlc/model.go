package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/onnx"
)

// readModel reads a file in either form: ONNX, or its textual syntax where the name ends in .onnxtxt; "-" is text from
// stdin.
func readModel(path string, stdin io.Reader) (*graph.Model, error) {
	if path != "-" && !strings.HasSuffix(path, ".onnxtxt") {
		return onnx.Read(path)
	}
	var text []byte
	var err error
	if path == "-" {
		path = "standard input"
		text, err = io.ReadAll(stdin)
	} else {
		text, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read model: %w", err)
	}
	m, err := graph.Parse(string(text))
	if err != nil {
		return nil, fmt.Errorf("read model %s: %w", path, err)
	}
	return m, nil
}
