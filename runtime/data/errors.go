package data

import (
	"fmt"
	"os"
)

// FileError reports a file whose content is not what its reader expects.
type FileError struct {
	Path    string // the file; for an array inside an archive, "FILE(NAME)"
	Problem string // what was found and what was expected
	Cure    string // what to do about it
	Err     error  // the error of a lower layer, or nil
}

// Error gives the parts in one line.
func (e *FileError) Error() string {
	s := "data: " + e.Path + ": " + e.Problem
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if e.Cure != "" {
		s += "; " + e.Cure
	}
	return s
}

// Unwrap returns the error of the lower layer.
func (e *FileError) Unwrap() error { return e.Err }

// openRegular opens a regular file and tells its size. Sizes in headers are checked against that size, so pipes and
// devices, which have none, are refused.
func openRegular(path string) (*os.File, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, fmt.Errorf("data: %w; check the path", err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, fmt.Errorf("data: %w", err)
	}
	if !info.Mode().IsRegular() {
		f.Close()
		return nil, 0, &FileError{Path: path, Problem: "not a regular file", Cure: "give the path of a file"}
	}
	return f, info.Size(), nil
}
