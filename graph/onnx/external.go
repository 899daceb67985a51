package onnx

import (
	"fmt"
	"io"
	"math"
	"os"
	"strconv"

	"github.com/asdlc/asdlc/graph/onnx/internal/pb"
)

// mapFrom is the size from which an external file is mapped rather than read.
const mapFrom = 1 << 20

// external reads tensor data that lies in other files of the model's folder. os.Root keeps it there, symbolic links included.
type external struct {
	dir   *os.Root
	files map[string]*dataFile
}

// dataFile is an open file; mapped is its content if it has been mapped.
type dataFile struct {
	file   *os.File
	size   int64
	mapped []byte
}

// load returns the need bytes that the entries tell.
func (x *external) load(entries []*pb.StringStringEntryProto, need int64) ([]byte, error) {
	location, offset, length, err := parseEntries(entries)
	if err != nil {
		return nil, err
	}
	if length >= 0 && length != need {
		return nil, invalid("external data of %d bytes where type and shape need %d; the file is damaged", length, need)
	}
	if x.dir == nil {
		return nil, unsupported("data in another file (%s) is read only for models that are files themselves", location)
	}
	f, err := x.open(location)
	if err != nil {
		return nil, err
	}
	if offset > f.size || need > f.size-offset {
		return nil, invalid("external data at bytes %d to %d of %s, which has only %d; the file is cut short or belongs to another model",
			offset, offset+need, location, f.size)
	}
	if f.mapped != nil {
		return f.mapped[offset : offset+need : offset+need], nil
	}
	raw := make([]byte, need)
	if _, err := f.file.ReadAt(raw, offset); err != nil && err != io.EOF {
		return nil, fmt.Errorf("external data: %w", err)
	}
	return raw, nil
}

// parseEntries reads location, offset (default 0) and length (default -1).
func parseEntries(entries []*pb.StringStringEntryProto) (location string, offset, length int64, err error) {
	length = -1
	for _, e := range entries {
		switch e.GetKey() {
		case "location":
			location = e.GetValue()
		case "offset":
			offset, err = parseSize(e)
		case "length":
			length, err = parseSize(e)
		}
		if err != nil {
			return "", 0, 0, err
		}
	}
	if location == "" {
		return "", 0, 0, invalid("external data without a location")
	}
	return location, offset, length, nil
}

func parseSize(e *pb.StringStringEntryProto) (int64, error) {
	n, err := strconv.ParseInt(e.GetValue(), 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/2 {
		return 0, invalid("external data with %s %q", e.GetKey(), e.GetValue())
	}
	return n, nil
}

func (x *external) open(location string) (*dataFile, error) {
	if f := x.files[location]; f != nil {
		return f, nil
	}
	// Stat first: opening a pipe or a device could block or have effects.
	info, err := x.dir.Stat(location)
	if err != nil {
		return nil, fmt.Errorf("external data must be a file in the model's own folder: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, invalid("external data in %s, which is not a regular file", location)
	}
	file, err := x.dir.Open(location)
	if err != nil {
		return nil, fmt.Errorf("external data must be a file in the model's own folder: %w", err)
	}
	f := &dataFile{file: file, size: info.Size()}
	if f.size >= mapFrom {
		f.mapped = mapFile(file, f.size) // nil if the system cannot
	}
	if x.files == nil {
		x.files = map[string]*dataFile{}
	}
	x.files[location] = f
	return f, nil
}

// close closes the files; mappings stay.
func (x *external) close() {
	for _, f := range x.files {
		f.file.Close()
	}
}
