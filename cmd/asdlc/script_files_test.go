package main

import (
	"archive/tar"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/onnx"
)

func scriptTensor(ts *testscript.TestScript, _ bool, args []string) {
	var v []float32
	for _, a := range args[1:] {
		f, err := strconv.ParseFloat(a, 32)
		ts.Check(err)
		v = append(v, float32(f))
	}
	raw, err := onnx.EncodeTensor("t", graph.TensorOf(v, int64(len(v))))
	ts.Check(err)
	path := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(filepath.Dir(path), 0o777))
	ts.Check(os.WriteFile(path, raw, 0o644))
}

func scriptTar(ts *testscript.TestScript, _ bool, args []string) {
	f, err := os.Create(ts.MkAbs(args[1]))
	ts.Check(err)
	defer f.Close()
	out := io.Writer(f)
	if strings.HasSuffix(args[1], ".gz") {
		z := gzip.NewWriter(f)
		defer z.Close()
		out = z
	}
	w := tar.NewWriter(out)
	ts.Check(w.AddFS(os.DirFS(ts.MkAbs(args[0]))))
	ts.Check(w.Close())
}
