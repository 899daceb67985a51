package onnx

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/proto"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/onnx/internal/pb"
)

// Read reads a model file, with its external data. Large external files are mapped, not read: they must not be
// shortened while the model is in use. Errors name the file; see the package documentation for their kinds.
func Read(path string) (*graph.Model, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read model: %w", err)
	}
	dir, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("read model: %w", err)
	}
	defer dir.Close()
	m, err := Decode(data, DecodeOptions{Dir: dir})
	if err != nil {
		return nil, at("read model "+path, err)
	}
	m.Source = path
	return m, nil
}

// Digest is the SHA-256 of a file's bytes, in hex. External data is not included.
func Digest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("digest: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("digest: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// DecodeOptions tells how to read bytes.
type DecodeOptions struct {
	// Dir is the folder that external data must lie in. Nil refuses external data.
	Dir *os.Root
}

// Decode reads a model from the bytes of a file. Constants may be views of data; it must not be changed afterwards.
func Decode(data []byte, opts DecodeOptions) (*graph.Model, error) {
	p := &pb.ModelProto{}
	if err := checkWire(data, p); err != nil {
		return nil, err
	}
	if err := (proto.UnmarshalOptions{RecursionLimit: maxMessageDepth}).Unmarshal(data, p); err != nil {
		return nil, invalid("not an ONNX file, or a damaged one (%v); fetch or export it again", err)
	}
	d := &decoder{external: external{dir: opts.Dir}}
	defer d.external.close()
	m, err := d.model(p)
	if m != nil {
		m.External = len(d.external.files) > 0
	}
	return m, err
}
