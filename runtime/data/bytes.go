package data

import (
	"encoding/binary"
	"io"
	"reflect"
	"slices"
)

const (
	// deflateRatio bounds how far deflate can expand its input (258 bytes from 2 bits, zlib's documentation).
	deflateRatio = 1032
	// firstRead is what a reader allocates for compressed data before any of it has arrived.
	firstRead = 1 << 20
)

// readPayload reads exactly n bytes. It allocates first bytes at once and more only as data arrives, so that a promise
// which cannot be checked in advance costs at most about twice the data that are really there.
func readPayload(r io.Reader, n, first int) ([]byte, error) {
	buf := make([]byte, 0, min(n, first))
	for len(buf) < n {
		if len(buf) == cap(buf) {
			buf = slices.Grow(buf, min(n-len(buf), max(len(buf), firstRead)))
		}
		got, err := io.ReadFull(r, buf[len(buf):min(cap(buf), n)])
		buf = buf[:len(buf)+got]
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return buf, io.ErrUnexpectedEOF
		}
		if err != nil {
			return buf, err
		}
	}
	return buf, nil
}

// atEnd reads on by one byte: it is false where data follow, and gives the error of a checksum that is verified at the
// end of the stream.
func atEnd(r io.Reader) (bool, error) {
	var one [1]byte
	_, err := io.ReadFull(r, one[:])
	if err == io.EOF {
		return true, nil
	}
	return false, err
}

// decode turns the bytes of a file into typed elements; raw itself becomes the storage of uint8.
func decode(e Elem, order binary.ByteOrder, raw []byte) any {
	n := len(raw) / e.Size()
	switch e {
	case Uint8:
		return raw
	case Bool:
		out := make([]bool, n)
		for i, b := range raw {
			out[i] = b != 0
		}
		return out
	case Float16:
		out := make([]Half, n)
		for i := range out {
			out[i] = Half(order.Uint16(raw[2*i:]))
		}
		return out
	case Uint16:
		return decodeAs[uint16](order, raw, n)
	case Uint32:
		return decodeAs[uint32](order, raw, n)
	case Uint64:
		return decodeAs[uint64](order, raw, n)
	case Int8:
		return decodeAs[int8](order, raw, n)
	case Int16:
		return decodeAs[int16](order, raw, n)
	case Int32:
		return decodeAs[int32](order, raw, n)
	case Int64:
		return decodeAs[int64](order, raw, n)
	case Float32:
		return decodeAs[float32](order, raw, n)
	case Float64:
		return decodeAs[float64](order, raw, n)
	}
	panic("BUG: data: decode of element type " + e.String())
}

func decodeAs[T any](order binary.ByteOrder, raw []byte, n int) []T {
	out := make([]T, n)
	if _, err := binary.Decode(raw, order, out); err != nil {
		panic("BUG: data: " + err.Error())
	}
	return out
}

// encodePiece is the number of elements that are written at once, through one buffer: arrays may be most of the memory.
const encodePiece = 1 << 16

// encode writes the elements in little-endian order, the one that numpy writes on today's machines.
func encode(w io.Writer, a *Array) error {
	elements := reflect.ValueOf(a.Data)
	var buffer []byte
	for from := 0; from < elements.Len(); from += encodePiece {
		piece := elements.Slice(from, min(from+encodePiece, elements.Len())).Interface()
		if halves, ok := piece.([]Half); ok { // binary.Append is slow on named types
			raw := make([]uint16, len(halves))
			for i, h := range halves {
				raw[i] = uint16(h)
			}
			piece = raw
		}
		var err error
		if buffer, err = binary.Append(buffer[:0], binary.LittleEndian, piece); err != nil {
			return err
		}
		if _, err := w.Write(buffer); err != nil {
			return err
		}
	}
	return nil
}
