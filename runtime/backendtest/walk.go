package backendtest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"github.com/asdlc/asdlc/graph"
)

// DefaultMaxBytes bounds the files of one case, its model left out where that is read from a folder.
const DefaultMaxBytes = 1 << 30

// Walk reads the cases at path one after the other, so that only one is in memory: path is the folder of a case, a folder of
// such folders at any depth, or a tar archive of either, plain or compressed by gzip. Cases that keep refuses by name are
// passed over; a nil keep keeps all. What cannot be read of a case is the error of that case. An error of the walk itself, such as a
// damaged archive or a path without any cases, ends it.
func Walk(path string, keep func(name string) bool) iter.Seq2[*Case, error] {
	return func(yield func(*Case, error) bool) {
		w := &walker{root: path, keep: keep, yield: yield, max: DefaultMaxBytes}
		info, err := os.Stat(path)
		switch {
		case err != nil:
		case info.IsDir():
			err = w.folder()
		default:
			err = w.archive()
		}
		if errors.Is(err, errStop) {
			return
		}
		if err == nil && w.found == 0 {
			err = &fs.PathError{Op: "read tests", Path: path, Err: errors.New("no test in it: a folder with a model.onnx")}
		}
		if err != nil {
			yield(nil, err)
		}
	}
}

// errStop says that the consumer wants no more.
var errStop = errors.New("stop")

type walker struct {
	root  string
	keep  func(string) bool
	yield func(*Case, error) bool
	max   int64 // bytes of a case
	found int   // cases, also those not kept
}

// wants counts a case and reports whether it is kept.
func (w *walker) wants(name string) bool {
	w.found++
	return w.keep == nil || w.keep(name)
}

func (w *walker) give(c *Case) error {
	if !w.yield(c, nil) {
		return errStop
	}
	return nil
}

// folder finds folders with a model, in lexical order.
func (w *walker) folder() error {
	return filepath.WalkDir(w.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !d.IsDir() {
			return nil
		}
		if info, err := os.Stat(filepath.Join(path, modelFile)); err != nil || !info.Mode().IsRegular() {
			return nil
		}
		abs, err := filepath.Abs(path)
		if err != nil {
			return err
		}
		if name := filepath.Base(abs); w.wants(name) {
			c := &Case{Name: name, Path: path, dir: path, files: map[string][]byte{}}
			c.err = w.readSets(c)
			if err := w.give(c); err != nil {
				return err
			}
		}
		return fs.SkipDir
	})
}

// readSets reads the data sets of the case in a folder.
func (w *walker) readSets(c *Case) error {
	sets, err := filepath.Glob(filepath.Join(escapeGlob(c.dir), setPrefix+"*", "*.pb"))
	if err != nil {
		return err
	}
	var total int64
	for _, file := range sets {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		raw, err := w.read(c, f, &total)
		f.Close()
		if err != nil {
			return err
		}
		c.files[filepath.Base(filepath.Dir(file))+"/"+filepath.Base(file)] = raw
	}
	return nil
}

// escapeGlob makes a path match itself alone.
func escapeGlob(path string) string {
	return strings.NewReplacer("*", `\*`, "?", `\?`, "[", `\[`, `\`, `\\`).Replace(path)
}

// read reads a file of c. total counts the bytes of the case, of which there may be w.max.
func (w *walker) read(c *Case, r io.Reader, total *int64) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(r, w.max-*total+1))
	if err != nil {
		return nil, err
	}
	if *total += int64(len(raw)); *total > w.max {
		return nil, fmt.Errorf("%w: %s: its files take more than %d MiB", graph.ErrInvalid, c.Path, w.max>>20)
	}
	return raw, nil
}
