package data

import "bytes"

// DecodeIDX reads an idx file from memory, for fuzzing.
func DecodeIDX(path string, b []byte) (*Array, error) {
	return decodeIDX(path, bytes.NewReader(b), int64(len(b)))
}

// DecodeNPZ reads an .npz archive from memory, for fuzzing.
func DecodeNPZ(path string, b []byte) (map[string]*Array, error) {
	return decodeNPZ(path, bytes.NewReader(b), int64(len(b)))
}
