package data

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// The npy format (numpy/lib/_format_impl.py): the magic string, a version byte pair, the length of the header as uint16
// (version 1) or uint32 (2, 3), little-endian, the header as a Python dict literal ending in a line feed, the elements.
const (
	npyMagic     = "\x93NUMPY"
	npyAlign     = 64      // the header is padded so that the elements start at a multiple of this
	npyMaxHeader = 1 << 16 // longer headers occur for structured types only, which are refused anyway
)

// npyHeader is what the dict literal says.
type npyHeader struct {
	elem    Elem
	order   binary.ByteOrder
	fortran bool
	shape   []int
}

// errNPY is a fault of an npy stream, with the cure that suits it.
type errNPY struct {
	problem, cure string
	err           error
}

func (e *errNPY) Error() string { return e.problem }

func faultNPY(err error, cure, format string, args ...any) error {
	return &errNPY{fmt.Sprintf(format, args...), cure, err}
}

const (
	cureNPY  = "write the file again with numpy.savez"
	cureType = "store it as bool, an integer, float16, float32 or float64 array"
)

// ReadNPY reads the array of a numpy .npy file, as ReadNPZ reads those of an archive.
func ReadNPY(path string) (*Array, error) {
	f, size, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	a, err := decodeNPY(f, size, firstRead)
	if fault, ok := errors.AsType[*errNPY](err); ok {
		return nil, &FileError{Path: path, Problem: fault.problem, Cure: strings.Replace(fault.cure, "savez", "save", 1), Err: fault.err}
	}
	return a, err
}

// decodeNPY reads an npy stream that is known to be size bytes long. It allocates first bytes at once for the elements.
func decodeNPY(r io.Reader, size int64, first int) (*Array, error) {
	text, used, err := readNPYHeader(r)
	if err != nil {
		return nil, err
	}
	h, err := parseNPYHeader(text)
	if err != nil {
		return nil, err
	}
	count, err := product(h.shape)
	if err != nil {
		return nil, faultNPY(err, cureNPY, "header promises %s%v", h.elem, h.shape)
	}
	payload := count * h.elem.Size()
	if size-int64(used) != int64(payload) {
		return nil, faultNPY(nil, cureNPY, "header promises %s%v, %d bytes after the header; there are %d", h.elem, h.shape, payload, size-int64(used))
	}
	raw, err := readPayload(r, payload, first)
	if err != nil {
		return nil, faultNPY(err, cureNPY, "header promises %s%v, %d bytes; the data end after %d", h.elem, h.shape, payload, len(raw))
	}
	if end, err := atEnd(r); err != nil {
		return nil, faultNPY(err, cureNPY, "damaged after %d bytes of data", payload)
	} else if !end {
		return nil, faultNPY(nil, cureNPY, "header promises %s%v, %d bytes; more data follow", h.elem, h.shape, payload)
	}
	if h.fortran && len(h.shape) > 1 {
		raw = rowMajor(raw, h.shape, h.elem.Size())
	}
	return &Array{Shape: h.shape, Data: decode(h.elem, h.order, raw)}, nil
}

// readNPYHeader returns the dict literal and how many bytes it and what precedes it took.
func readNPYHeader(r io.Reader) (string, int, error) {
	var start [len(npyMagic) + 2]byte
	if _, err := io.ReadFull(r, start[:]); err != nil {
		return "", 0, faultNPY(err, cureNPY, "no npy header")
	}
	if string(start[:len(npyMagic)]) != npyMagic {
		return "", 0, faultNPY(nil, cureNPY, "starts with %q, want npy's magic string %q", start[:len(npyMagic)], npyMagic)
	}
	var width int
	switch version := start[len(npyMagic)]; version {
	case 1:
		width = 2
	case 2, 3:
		width = 4
	default:
		return "", 0, faultNPY(nil, cureNPY, "npy version %d, want 1, 2 or 3", version)
	}
	var length [4]byte
	if _, err := io.ReadFull(r, length[:width]); err != nil {
		return "", 0, faultNPY(err, cureNPY, "no npy header")
	}
	n := binary.LittleEndian.Uint32(length[:]) // the bytes that version 1 lacks are zero
	if n > npyMaxHeader {
		return "", 0, faultNPY(nil, cureNPY, "npy header of %d bytes, want at most %d", n, npyMaxHeader)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return "", 0, faultNPY(err, cureNPY, "npy header of %d bytes is cut short", n)
	}
	return string(text), len(start) + width + int(n), nil
}

// parseNPYHeader reads the dict literal, which has the keys descr, fortran_order and shape in any order.
func parseNPYHeader(text string) (npyHeader, error) {
	var h npyHeader
	p := pyText{rest: text}
	seen := map[string]bool{}
	p.expect("{")
	for p.err == nil && !p.accept("}") {
		key := p.str()
		p.expect(":")
		if p.err == nil && seen[key] {
			p.err = fmt.Errorf("key %q twice", key)
		}
		seen[key] = true
		switch key {
		case "descr":
			if p.err == nil && p.peek("[") {
				return h, faultNPY(nil, cureType, "structured element type")
			}
			descr := p.str()
			if p.err == nil {
				var err error
				if h.elem, h.order, err = parseDescr(descr); err != nil {
					return h, err
				}
			}
		case "fortran_order":
			h.fortran = p.boolean()
		case "shape":
			h.shape = p.tuple()
		default:
			p.fail("keys descr, fortran_order and shape")
		}
		if !p.accept(",") && !p.peek("}") {
			p.fail(`"," or "}"`)
		}
	}
	if p.err == nil && strings.TrimSpace(p.rest) != "" {
		p.fail("the end")
	}
	if p.err == nil && len(seen) != 3 {
		p.err = errors.New("want keys descr, fortran_order and shape")
	}
	if p.err != nil {
		return h, faultNPY(p.err, cureNPY, "bad npy header")
	}
	return h, nil
}

// parseDescr reads numpy's code of an element type: byte order, kind, bytes.
func parseDescr(descr string) (Elem, binary.ByteOrder, error) {
	if descr == "" {
		return Invalid, nil, faultNPY(nil, cureNPY, "empty element type")
	}
	var order binary.ByteOrder = binary.LittleEndian
	if descr[0] == '>' {
		order = binary.BigEndian
	}
	code := strings.TrimLeft(descr, "<>=|")
	if strings.HasPrefix(code, "O") {
		return Invalid, nil, faultNPY(nil, cureType, "array of Python objects (element type %q), which could run code when unpickled", descr)
	}
	for e, row := range elems {
		if row.npy != "" && row.npy == code {
			return Elem(e), order, nil
		}
	}
	return Invalid, nil, faultNPY(nil, cureType, "element type %q", descr)
}

// rowMajor reorders elements of size bytes from Fortran (first index fastest) to C order (last index fastest).
func rowMajor(src []byte, shape []int, size int) []byte {
	strides := make([]int, len(shape)) // of the Fortran order, in bytes
	step := size
	for i, d := range shape {
		strides[i] = step
		step *= d
	}
	dst := make([]byte, 0, len(src))
	index := make([]int, len(shape))
	for from := 0; len(dst) < len(src); {
		dst = append(dst, src[from:from+size]...)
		for i := len(shape) - 1; i >= 0; i-- {
			index[i]++
			from += strides[i]
			if index[i] < shape[i] {
				break
			}
			from -= strides[i] * shape[i]
			index[i] = 0
		}
	}
	return dst
}

// encodeNPY writes an array as npy version 1.
func encodeNPY(w io.Writer, a *Array) error {
	row := elems[a.Elem()]
	order := "<"
	if row.size == 1 {
		order = "|"
	}
	dims := ""
	for i, d := range a.Shape {
		if i > 0 {
			dims += ", "
		}
		dims += strconv.Itoa(d)
	}
	if len(a.Shape) == 1 {
		dims += ","
	}
	text := fmt.Sprintf("{'descr': '%s%s', 'fortran_order': False, 'shape': (%s), }", order, row.npy, dims)
	const before = len(npyMagic) + 4
	total := (before + len(text) + 1 + npyAlign - 1) / npyAlign * npyAlign
	if total-before > npyMaxHeader-1 {
		return fmt.Errorf("rank %d is too large for an npy header", len(a.Shape))
	}
	head := append([]byte(npyMagic), 1, 0)
	head = binary.LittleEndian.AppendUint16(head, uint16(total-before))
	head = append(head, text...)
	head = append(head, strings.Repeat(" ", total-1-len(head))...)
	head = append(head, '\n')
	if _, err := w.Write(head); err != nil {
		return err
	}
	return encode(w, a)
}
