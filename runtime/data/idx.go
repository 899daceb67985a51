package data

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
)

// ReadIDX reads an array in the idx format of the MNIST files, plain or gzip (known by its first bytes; a name that ends
// in .gz must be gzip). The format, from yann.lecun.com/exdb/mnist: two zero bytes, an element code, the number of
// dimensions, each dimension as a big-endian uint32, then the elements, big-endian, row-major.
//
// A file of another format, or shorter or longer than its header says, is a [FileError].
func ReadIDX(path string) (*Array, error) {
	f, size, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return decodeIDX(path, f, size)
}

const cureFetch = "fetch or write the file again"

// decodeIDX reads an idx file of size bytes; path is for messages.
func decodeIDX(path string, f io.Reader, size int64) (*Array, error) {
	bad := func(err error, cure, format string, args ...any) (*Array, error) {
		return nil, &FileError{Path: path, Problem: fmt.Sprintf(format, args...), Cure: cure, Err: err}
	}
	buffered := bufio.NewReaderSize(f, 1<<16)
	start, _ := buffered.Peek(2)
	var r io.Reader = buffered
	compressed := len(start) == 2 && start[0] == 0x1f && start[1] == 0x8b
	if compressed {
		z, err := gzip.NewReader(buffered)
		if err != nil {
			return bad(err, cureFetch, "damaged gzip header")
		}
		r = z
	} else if strings.HasSuffix(path, ".gz") {
		return bad(nil, "rename it without .gz if it is not compressed, or fetch it again",
			"starts with % x, not with gzip's 1f 8b", start)
	}

	elem, shape, err := readIDXHeader(r)
	if err != nil {
		return bad(err, "give an idx file as MNIST has them", "not an idx file")
	}
	count, err := product(shape)
	if err != nil {
		return bad(err, cureFetch, "header promises %s%v", elem, shape)
	}
	payload, header := count*elem.Size(), 4+4*len(shape)
	first := payload
	if compressed {
		first = firstRead
		if int64(payload)/deflateRatio > size {
			return bad(nil, cureFetch, "header promises %s%v, %d bytes, more than %d compressed bytes can hold", elem, shape, payload, size)
		}
	} else if size-int64(header) != int64(payload) {
		return bad(nil, cureFetch, "header promises %s%v, %d bytes after the header; the file has %d", elem, shape, payload, size-int64(header))
	}

	raw, err := readPayload(r, payload, first)
	if err != nil {
		return bad(err, cureFetch, "header promises %s%v, %d bytes; the data end after %d", elem, shape, payload, len(raw))
	}
	if end, err := atEnd(r); err != nil {
		return bad(err, cureFetch, "damaged after %d bytes of data", payload)
	} else if !end {
		return bad(nil, cureFetch, "header promises %s%v, %d bytes; more data follow", elem, shape, payload)
	}
	return &Array{Shape: shape, Data: decode(elem, binary.BigEndian, raw)}, nil
}

// readIDXHeader reads the magic number and the dimensions.
func readIDXHeader(r io.Reader) (Elem, []int, error) {
	var magic [4]byte
	if _, err := io.ReadFull(r, magic[:]); err != nil {
		return Invalid, nil, fmt.Errorf("no 4-byte magic number: %w", err)
	}
	elem := Invalid
	for e, row := range elems {
		if row.idx != 0 && row.idx == magic[2] {
			elem = Elem(e)
		}
	}
	if magic[0] != 0 || magic[1] != 0 || elem == Invalid {
		return Invalid, nil, fmt.Errorf("magic number % x, want 00 00, an element code of 08 09 0b 0c 0d 0e, and the rank", magic)
	}
	dims := make([]byte, 4*int(magic[3]))
	if _, err := io.ReadFull(r, dims); err != nil {
		return Invalid, nil, fmt.Errorf("magic number promises %d dimensions: %w", magic[3], err)
	}
	shape := make([]int, magic[3])
	for i := range shape {
		shape[i] = int(binary.BigEndian.Uint32(dims[4*i:]))
	}
	return elem, shape, nil
}
