package data

import (
	"archive/zip"
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

const npySuffix = ".npy"

// ReadNPZ reads all arrays of a numpy .npz archive, stored or compressed, by the names given to numpy.savez. Arrays in
// Fortran order are converted to C order, big-endian ones to Go's types. Arrays of Python objects, strings, complex
// numbers, dates and structures are refused, as is an archive that is damaged or promises more than it holds.
func ReadNPZ(path string) (map[string]*Array, error) {
	f, size, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return decodeNPZ(path, f, size)
}

func decodeNPZ(path string, f io.ReaderAt, size int64) (map[string]*Array, error) {
	z, err := zip.NewReader(f, size)
	if err != nil {
		return nil, &FileError{Path: path, Problem: "not an .npz archive", Cure: "give a file written by numpy.savez", Err: err}
	}
	arrays := make(map[string]*Array, len(z.File))
	left := uint64(size) // compressed bytes not yet accounted for: entries that overlap would multiply the data
	for _, entry := range z.File {
		name, isArray := strings.CutSuffix(entry.Name, npySuffix)
		bad := func(err error, cure, format string, args ...any) error {
			return &FileError{Path: path + "(" + name + ")", Problem: fmt.Sprintf(format, args...), Cure: cure, Err: err}
		}
		switch {
		case !isArray:
			return nil, bad(nil, "leave only .npy entries in the archive", "zip entry %q is not an .npy array", entry.Name)
		case arrays[name] != nil:
			return nil, bad(nil, "give each array a name of its own", "two arrays of this name")
		case entry.CompressedSize64 > left:
			return nil, bad(nil, cureNPY, "zip entry of %d bytes, more than the file holds", entry.CompressedSize64)
		}
		left -= entry.CompressedSize64
		a, err := readEntry(entry)
		if err != nil {
			if fault, ok := errors.AsType[*errNPY](err); ok {
				return nil, bad(fault.err, fault.cure, "%s", fault.problem)
			}
			return nil, bad(err, cureNPY, "damaged zip entry")
		}
		arrays[name] = a
	}
	return arrays, nil
}

// readEntry reads one array, after checking that the size the entry claims can come from its compressed bytes.
func readEntry(entry *zip.File) (*Array, error) {
	size, packed := entry.UncompressedSize64, entry.CompressedSize64
	first := math.MaxInt
	if entry.Method != zip.Store {
		first = firstRead
		packed *= deflateRatio // cannot overflow: the caller has compared it with the file's size
	}
	if size > packed {
		return nil, faultNPY(nil, cureNPY, "zip entry claims %d bytes, more than its %d compressed bytes can hold", size, entry.CompressedSize64)
	}
	r, err := entry.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return decodeNPY(r, int64(size), first)
}

// WriteNPZ writes arrays as a numpy .npz archive, uncompressed, sorted by name and without times, so that equal arrays
// give equal bytes. It writes a temporary file beside path and renames it, so that path is never a partial file; an
// existing path is replaced.
func WriteNPZ(path string, arrays map[string]*Array) (err error) {
	for _, name := range slices.Sorted(maps.Keys(arrays)) {
		if name == "" || !utf8.ValidString(name) || strings.ContainsRune(name, 0) || len(name) > math.MaxUint16-len(npySuffix) {
			return fmt.Errorf("data: %s: %.40q cannot name an array; use UTF-8 without zero bytes, at most 65531 bytes", path, name)
		}
		if arrays[name] == nil {
			return fmt.Errorf("data: %s: array %q is nil; leave it out or give it a value", path, name)
		}
		if err := arrays[name].check(); err != nil {
			return fmt.Errorf("data: %s: array %q: %w", path, name, err)
		}
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("data: %w; check that the folder exists and can be written to", err)
	}
	defer func() {
		if err != nil {
			tmp.Close()
			os.Remove(tmp.Name())
			err = fmt.Errorf("data: writing %s: %w; check the free space and permissions there", path, err)
		}
	}()
	if err := encodeNPZ(tmp, arrays); err != nil {
		return err
	}
	if err := tmp.Chmod(0o644); err != nil { // CreateTemp's files are for their owner alone
		return err
	}
	if err := tmp.Sync(); err != nil {
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

// encodeNPZ writes checked arrays as a zip archive.
func encodeNPZ(w io.Writer, arrays map[string]*Array) error {
	buffered := bufio.NewWriterSize(w, 1<<16)
	z := zip.NewWriter(buffered)
	for _, name := range slices.Sorted(maps.Keys(arrays)) {
		entry, err := z.CreateHeader(&zip.FileHeader{Name: name + npySuffix, Method: zip.Store})
		if err != nil {
			return err
		}
		if err := encodeNPY(entry, arrays[name]); err != nil {
			return fmt.Errorf("array %q: %w", name, err)
		}
	}
	if err := z.Close(); err != nil {
		return err
	}
	return buffered.Flush()
}
