package onnx

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/onnx/internal/pb"
)

const (
	// externalFrom is the size from which constants go to the data file, when there is one.
	externalFrom = 1024
	// externalAlign is the alignment of constants in the data file, so that they can be mapped.
	externalAlign = 4096
	// maxInside is the size of constants up to which a model is written as one file.
	maxInside = 1<<31 - 1<<27
)

// WriteOptions tells how to write a file.
type WriteOptions struct {
	// Overwrite replaces existing files; otherwise they are an error that wraps fs.ErrExist.
	Overwrite bool
	// External puts large constants into a second file PATH.data even if the model is small enough for one.
	External bool
	// Inside is the size of constants, in bytes, up to which they are written into the model file; 0 is what a file may hold.
	Inside int64
}

// Write writes a model file, and beside it PATH.data if the constants are too large for one file (2 GiB) or if asked to.
// Both appear under their names only when they are complete and on disk; after an error neither does.
func Write(path string, m *graph.Model, opts WriteOptions) error {
	if err := write(path, m, opts); err != nil {
		return fmt.Errorf("write model %s: %w", path, err)
	}
	return nil
}

func write(path string, m *graph.Model, opts WriteOptions) (err error) {
	var files []*pending
	defer func() {
		for _, f := range files {
			f.discard()
		}
	}()
	var data *dataWriter
	if opts.External || constantBytes(m) > cmp.Or(opts.Inside, maxInside) {
		f, err := newPending(path+".data", opts.Overwrite)
		if err != nil {
			return err
		}
		files = append(files, f)
		data = &dataWriter{location: filepath.Base(path) + ".data", out: bufio.NewWriterSize(f.file, 1<<20), seen: map[*graph.Tensor]int64{}}
	}
	f, err := newPending(path, opts.Overwrite)
	if err != nil {
		return err
	}
	files = append(files, f)
	p, err := encodeModel(m, data)
	if err != nil {
		return err
	}
	if data != nil {
		if err := data.out.Flush(); err != nil {
			return err
		}
	}
	bytes, err := marshal(p)
	if err != nil {
		return err
	}
	if _, err := f.file.Write(bytes); err != nil {
		return err
	}
	return commit(files)
}

// constantBytes is the size of all constants.
func constantBytes(m *graph.Model) int64 {
	var n int64
	count := func(g *graph.Graph) {
		for _, v := range g.Initializers() {
			n += int64(len(v.Const().Raw))
		}
	}
	walk := func(g *graph.Graph) {
		count(g)
		for node := range g.All() {
			for _, a := range node.Attrs() {
				if a.T != nil {
					n += int64(len(a.T.Raw))
				}
			}
			for _, sub := range node.Graphs() {
				count(sub)
			}
		}
	}
	walk(m.Graph)
	for _, f := range m.Functions {
		walk(f.Body)
	}
	return n
}

// pending is a file under a temporary name in the folder of its target.
type pending struct {
	target    string
	overwrite bool
	file      *os.File
}

func newPending(target string, overwrite bool) (*pending, error) {
	if _, err := os.Lstat(target); err == nil && !overwrite {
		return nil, &fs.PathError{Op: "create", Path: target, Err: fs.ErrExist}
	}
	file, err := os.CreateTemp(filepath.Dir(target), "."+filepath.Base(target)+".*.tmp")
	if err != nil {
		return nil, err
	}
	return &pending{target: target, overwrite: overwrite, file: file}, nil
}

// discard removes the temporary file.
func (p *pending) discard() {
	p.file.Close()
	os.Remove(p.file.Name())
}

// commit gives the files their names, after all are safely on disk; on failure it takes back those that are new.
func commit(files []*pending) error {
	for _, p := range files {
		if err := p.file.Chmod(0o644); err != nil {
			return err
		}
		if err := p.file.Sync(); err != nil {
			return err
		}
		if err := p.file.Close(); err != nil {
			return err
		}
	}
	for i, p := range files {
		if err := p.rename(); err != nil {
			for _, q := range files[:i] {
				if !q.overwrite {
					os.Remove(q.target)
				}
			}
			return err
		}
	}
	syncDir(filepath.Dir(files[0].target))
	return nil
}

// rename moves the file to its name. Without overwrite it links, which fails if the name has been taken meanwhile.
func (p *pending) rename() error {
	if p.overwrite {
		return os.Rename(p.file.Name(), p.target)
	}
	err := os.Link(p.file.Name(), p.target)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	return os.Rename(p.file.Name(), p.target) // a file system without links
}

// syncDir makes the new names durable, where the system can.
func syncDir(dir string) {
	if d, err := os.Open(dir); err == nil {
		_ = d.Sync()
		d.Close()
	}
}

// dataWriter writes constants one after the other, each once.
type dataWriter struct {
	location string
	out      *bufio.Writer
	end      int64
	seen     map[*graph.Tensor]int64
}

// put writes t and returns the entries that tell where it is.
func (w *dataWriter) put(t *graph.Tensor) ([]*pb.StringStringEntryProto, error) {
	offset, ok := w.seen[t]
	if !ok {
		offset = (w.end + externalAlign - 1) / externalAlign * externalAlign
		if _, err := w.out.Write(make([]byte, offset-w.end)); err != nil {
			return nil, err
		}
		if _, err := w.out.Write(t.Raw); err != nil {
			return nil, err
		}
		w.end = offset + int64(len(t.Raw))
		w.seen[t] = offset
	}
	return []*pb.StringStringEntryProto{
		entry("location", w.location), entry("offset", strconv.FormatInt(offset, 10)),
		entry("length", strconv.Itoa(len(t.Raw))),
	}, nil
}
