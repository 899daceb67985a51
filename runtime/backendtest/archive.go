package backendtest

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/asdlc/asdlc/graph"
)

// maxFiles bounds the files of one case in an archive, and maxCases the cases: each takes memory even if it is empty.
const (
	maxFiles = 10000
	maxCases = 1 << 20
)

// archive reads a tar archive, in which the files of a case must lie together.
func (w *walker) archive() error {
	f, err := os.Open(w.root)
	if err != nil {
		return err
	}
	defer f.Close()
	r := io.Reader(bufio.NewReader(f))
	if magic, _ := r.(*bufio.Reader).Peek(2); len(magic) == 2 && magic[0] == 0x1f && magic[1] == 0x8b {
		z, err := gzip.NewReader(r)
		if err != nil {
			return w.damaged(err)
		}
		defer z.Close()
		r = z
	}
	a := &archived{walker: w, seen: map[string]bool{}}
	entries := tar.NewReader(r)
	for {
		h, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return a.flush()
		}
		if err == nil && h.Typeflag == tar.TypeReg {
			err = a.entry(path.Clean("/" + h.Name)[1:], entries)
		}
		if errors.Is(err, errStop) {
			return err
		}
		if err != nil {
			return w.damaged(err)
		}
	}
}

func (w *walker) damaged(err error) error {
	return &fs.PathError{Op: "read tests", Path: w.root, Err: fmt.Errorf("not a tar archive, or a damaged one: %w", err)}
}

// archived collects the files of the case that the archive is at.
type archived struct {
	*walker
	seen    map[string]bool // folders of cases
	folder  string
	current *Case // nil if it is not kept
	total   int64
}

// entry takes a file of the archive.
func (a *archived) entry(name string, r io.Reader) error {
	folder, file := split(name)
	if file == "" {
		return nil
	}
	if len(a.seen) == 0 || folder != a.folder {
		if err := a.begin(folder); err != nil {
			return err
		}
	}
	c := a.current
	if c == nil || c.err != nil {
		return nil
	}
	if len(c.files) >= maxFiles {
		c.err = fmt.Errorf("%w: %s: more than %d files", graph.ErrInvalid, c.Path, maxFiles)
		return nil
	}
	raw, err := a.read(c, r, &a.total)
	if errors.Is(err, graph.ErrInvalid) {
		c.files, c.err = nil, err
		return nil
	}
	c.files[file] = raw
	return err
}

// split is the folder of the case that a file belongs to, and its path in that; "" if it is no file of a case.
func split(name string) (folder, file string) {
	dir, base := path.Split(name)
	dir = strings.TrimSuffix(dir, "/")
	if base == modelFile {
		return dir, base
	}
	folder, set := path.Split(dir)
	if strings.HasPrefix(set, setPrefix) && strings.HasSuffix(base, ".pb") {
		return strings.TrimSuffix(folder, "/"), set + "/" + base
	}
	return "", ""
}

// begin hands on the case so far and starts the one in a folder.
func (a *archived) begin(folder string) error {
	if err := a.flush(); err != nil {
		return err
	}
	again := a.seen[folder]
	if len(a.seen) >= maxCases {
		return fmt.Errorf("more than %d tests", maxCases)
	}
	a.seen[folder], a.folder, a.current, a.total = true, folder, nil, 0
	name := path.Base(folder)
	if folder == "" { // the archive holds the files of one case
		name, _, _ = strings.Cut(filepath.Base(a.root), ".")
	}
	if a.wants(name) {
		a.current = &Case{Name: name, Path: a.root + ":" + folder, files: map[string][]byte{}}
	}
	if again && a.current != nil {
		a.current.err = fmt.Errorf("%w: %s: its files do not lie together in the archive; pack it again", graph.ErrInvalid, a.current.Path)
	}
	return nil
}

// flush hands on the case so far.
func (a *archived) flush() error {
	c := a.current
	a.current = nil
	if c == nil {
		return nil
	}
	return a.give(c)
}
