package graph

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// tensor prints type, then name (with " = "), then the elements.
func (p *printer) tensor(t *Tensor, name string) {
	p.put(typeText(t.Type()), " ", name)
	if p.opts.Store != nil && t.Len() > storeAbove {
		location := t.digest()
		p.opts.Store[location] = t
		p.put(`["location": `, quote(location), "]")
		return
	}
	p.put("{")
	n, cut := t.Len(), false
	if p.opts.MaxElements > 0 && n > p.opts.MaxElements {
		n, cut = p.opts.MaxElements, true
	}
	for i := range n {
		if i > 0 {
			p.put(", ")
		}
		p.put(t.elementText(i))
	}
	if cut {
		p.put(", ...")
	}
	p.put("}")
}

// digest is the location of t in a Store.
func (t *Tensor) digest() string {
	h := sha256.New()
	io.WriteString(h, t.Type().String()+"\n")
	h.Write(t.Raw)
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

// elementText is element i; 16-bit floats are printed as their bits, as ONNX does.
func (t *Tensor) elementText(i int) string {
	size := t.Elem.Size()
	raw := t.Raw[i*size : (i+1)*size]
	le := binary.LittleEndian
	switch t.Elem {
	case Float32:
		return float32Text(math.Float32frombits(le.Uint32(raw)))
	case Float64:
		return float64Text(math.Float64frombits(le.Uint64(raw)))
	case Int8:
		return strconv.Itoa(int(int8(raw[0])))
	case Int16:
		return strconv.Itoa(int(int16(le.Uint16(raw))))
	case Int32:
		return strconv.Itoa(int(int32(le.Uint32(raw))))
	case Int64:
		return strconv.FormatInt(int64(le.Uint64(raw)), 10)
	case Uint8, Bool:
		return strconv.Itoa(int(raw[0]))
	case Uint32:
		return strconv.FormatUint(uint64(le.Uint32(raw)), 10)
	case Uint64:
		return strconv.FormatUint(le.Uint64(raw), 10)
	}
	return strconv.Itoa(int(le.Uint16(raw))) // uint16, float16, bfloat16
}

// The bits of the NaN that is printed as plain nan: the quiet one that C has.
const (
	nan32 = 0x7fc00000
	nan64 = 0x7ff8000000000000
)

func float32Text(f float32) string {
	if f != f {
		return nanText(uint64(math.Float32bits(f)), nan32, 1<<31)
	}
	return finiteText(float64(f), 32)
}

func float64Text(f float64) string {
	if f != f {
		return nanText(math.Float64bits(f), nan64, 1<<63)
	}
	return finiteText(f, 64)
}

func nanText(bits, plain, sign uint64) string {
	switch bits {
	case plain:
		return "nan"
	case plain | sign:
		return "-nan"
	}
	return "nan(0x" + strconv.FormatUint(bits, 16) + ")"
}

func finiteText(f float64, bits int) string {
	switch {
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	}
	return strconv.FormatFloat(f, 'g', -1, bits)
}

// identifier prints a name, in quotes if it is no plain identifier.
func identifier(s string) string {
	if isIdentifier(s) && !isTypeWord(s) {
		return s
	}
	return quote(s)
}

// isIdentifier reports whether s is a letter or underscore followed by letters, digits and underscores.
func isIdentifier(s string) bool {
	for i := 0; i < len(s); i++ {
		if !isLetter(s[i]) && (i == 0 || !isDigit(s[i])) {
			return false
		}
	}
	return s != ""
}

func isLetter(c byte) bool { return c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }
func isDigit(c byte) bool  { return '0' <= c && c <= '9' }

// isTypeWord reports whether ONNX's parser would take s for the start of a type or for a number.
func isTypeWord(s string) bool {
	if slices.Contains(typeWords, s) || isFloatWord(s) {
		return true
	}
	_, ok := ParseElem(s)
	return ok
}

var typeWords = []string{
	"undefined", "complex64", "complex128", "float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz", "float8e8m0",
	"float4e2m1", "uint4", "int4", "uint2", "int2", "float6e2m3", "float6e3m2", "seq", "map", "optional", "sparse_tensor", "opaque",
}

// isFloatWord reports whether s is a number spelled in letters.
func isFloatWord(s string) bool {
	return strings.EqualFold(s, "inf") || strings.EqualFold(s, "infinity") || strings.EqualFold(s, "nan")
}

// quote puts a string into quotes; the syntax escapes only quotes and backslashes.
func quote(s string) string {
	if !strings.ContainsAny(s, `"\`) {
		return `"` + s + `"`
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
