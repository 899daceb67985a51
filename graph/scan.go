package graph

import (
	"fmt"
	"strings"
)

// SyntaxError says where and why a text is no model. Its kind is ErrInvalid.
type SyntaxError struct {
	Line, Column int // from 1; the column counts bytes
	Msg          string
}

// Error implements error.
func (e *SyntaxError) Error() string { return fmt.Sprintf("%d:%d: %s", e.Line, e.Column, e.Msg) }

// Unwrap makes errors.Is(err, ErrInvalid) true.
func (e *SyntaxError) Unwrap() error { return ErrInvalid }

func newSyntaxError(src string, pos int, msg string) *SyntaxError {
	before := src[:pos]
	return &SyntaxError{
		Line: 1 + strings.Count(before, "\n"), Column: pos - strings.LastIndexByte(before, '\n'), Msg: msg,
	}
}

type tokenKind uint8

const (
	tokenEOF tokenKind = iota
	tokenIdent
	tokenString // text is what the quotes hold
	tokenNumber // also -inf, -nan and nan(0x...); plain inf and nan are identifiers
	tokenPunct  // one character, or =>
)

type token struct {
	kind tokenKind
	text string
	pos  int    // of the first byte
	doc  string // the #| comment lines before it
}

// String describes the token in an error message.
func (t token) String() string {
	switch t.kind {
	case tokenEOF:
		return "the end of the text"
	case tokenString:
		return "the string " + quote(shorten(t.text))
	}
	return quote(shorten(t.text))
}

func shorten(s string) string {
	if len(s) > 40 {
		return s[:40] + "..."
	}
	return s
}

// scanner cuts a text into tokens.
type scanner struct {
	src string
	pos int
}

// next returns the next token. On an error, which is a message, the token's pos tells where.
func (s *scanner) next() (token, string) {
	doc := s.space()
	t := token{pos: s.pos, doc: doc}
	if s.pos == len(s.src) {
		return t, ""
	}
	switch c := s.src[s.pos]; {
	case c == '"':
		return s.quoted(t)
	case isLetter(c):
		t.kind = tokenIdent
		for s.pos < len(s.src) && (isLetter(s.src[s.pos]) || isDigit(s.src[s.pos])) {
			s.pos++
		}
		t.text = s.src[t.pos:s.pos]
		if t.text == "nan" && strings.HasPrefix(s.src[s.pos:], "(0x") {
			return s.nan(t)
		}
		return t, ""
	case isDigit(c) || c == '-':
		return s.number(t)
	case strings.HasPrefix(s.src[s.pos:], "=>"):
		s.pos += 2
	case strings.IndexByte("<>()[]{}=,:.@?", c) >= 0:
		s.pos++
	default:
		return t, fmt.Sprintf("unexpected character %q", c)
	}
	t.kind, t.text = tokenPunct, s.src[t.pos:s.pos]
	return t, ""
}

// space skips white space and comments, and returns the doc comment: the #| lines.
func (s *scanner) space() string {
	var doc []string
	for s.pos < len(s.src) {
		switch c := s.src[s.pos]; {
		case c == ' ' || c >= '\t' && c <= '\r':
			s.pos++
		case c == '#':
			line := s.src[s.pos:]
			if end := strings.IndexByte(line, '\n'); end >= 0 {
				line = line[:end]
			}
			s.pos += len(line)
			if text, ok := strings.CutPrefix(line, "#|"); ok {
				doc = append(doc, strings.TrimPrefix(text, " "))
			}
		default:
			return strings.Join(doc, "\n")
		}
	}
	return strings.Join(doc, "\n")
}

func (s *scanner) quoted(t token) (token, string) {
	t.kind = tokenString
	rest := s.src[s.pos+1:]
	i := strings.IndexAny(rest, `"\`)
	if i >= 0 && rest[i] == '"' { // the common case: nothing is escaped
		t.text = rest[:i]
		s.pos += i + 2
		return t, ""
	}
	var sb strings.Builder
	for i := 0; i < len(rest); i++ {
		switch rest[i] {
		case '"':
			t.text = sb.String()
			s.pos += i + 2
			return t, ""
		case '\\':
			i++
			if i == len(rest) {
				return t, "a string without closing quote"
			}
		}
		sb.WriteByte(rest[i])
	}
	return t, "a string without closing quote"
}

func (s *scanner) number(t token) (token, string) {
	t.kind = tokenNumber
	if s.src[s.pos] == '-' {
		s.pos++
	}
	start := s.pos
	for s.pos < len(s.src) {
		c := s.src[s.pos]
		sign := (c == '-' || c == '+') && (s.src[s.pos-1] == 'e' || s.src[s.pos-1] == 'E')
		if !isDigit(c) && !isLetter(c) && c != '.' && !sign {
			break
		}
		s.pos++
	}
	t.text = s.src[t.pos:s.pos]
	digits := s.src[start:s.pos]
	if digits == "" || !isDigit(digits[0]) && !isFloatWord(digits) {
		return t, fmt.Sprintf("%q is no number", shorten(t.text))
	}
	return t, ""
}

// nan reads the payload of a NaN that is not the usual one.
func (s *scanner) nan(t token) (token, string) {
	end := strings.IndexByte(s.src[s.pos:], ')')
	if end < 0 {
		return t, "a NaN without closing parenthesis"
	}
	s.pos += end + 1
	t.kind, t.text = tokenNumber, s.src[t.pos:s.pos]
	return t, ""
}
