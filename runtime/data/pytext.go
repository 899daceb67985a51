package data

import (
	"fmt"
	"math"
	"strings"
)

// pyText scans the small part of Python's literal syntax that npy headers use. The first fault stays in err; after it
// every method returns a zero value.
type pyText struct {
	rest string
	err  error
}

func (p *pyText) fail(want string) {
	if p.err == nil {
		p.err = fmt.Errorf("want %s at %.20q", want, p.rest)
	}
	p.rest = ""
}

func (p *pyText) skip() { p.rest = strings.TrimLeft(p.rest, " \t\r\n") }

func (p *pyText) peek(token string) bool {
	p.skip()
	return strings.HasPrefix(p.rest, token)
}

func (p *pyText) accept(token string) bool {
	ok := p.peek(token)
	if ok {
		p.rest = p.rest[len(token):]
	}
	return ok
}

func (p *pyText) expect(token string) {
	if !p.accept(token) {
		p.fail(fmt.Sprintf("%q", token))
	}
}

// str scans a quoted string without escapes.
func (p *pyText) str() string {
	for _, quote := range []string{"'", `"`} {
		if !p.accept(quote) {
			continue
		}
		if s, rest, ok := strings.Cut(p.rest, quote); ok {
			p.rest = rest
			return s
		}
	}
	p.fail("a string")
	return ""
}

func (p *pyText) boolean() bool {
	if p.accept("True") {
		return true
	}
	if !p.accept("False") {
		p.fail("True or False")
	}
	return false
}

// tuple scans (), (3,) or (3, 4), each number possibly with the L of Python 2.
func (p *pyText) tuple() []int {
	out := []int{}
	p.expect("(")
	for p.err == nil && !p.accept(")") {
		out = append(out, p.number())
		if !p.accept(",") && !p.peek(")") {
			p.fail(`"," or ")"`)
		}
	}
	return out
}

func (p *pyText) number() int {
	p.skip()
	n, digits := 0, 0
	for digits < len(p.rest) && p.rest[digits] >= '0' && p.rest[digits] <= '9' {
		d := int(p.rest[digits] - '0')
		if n > (math.MaxInt-d)/10 {
			p.fail("a dimension that fits an integer")
			return 0
		}
		n = 10*n + d
		digits++
	}
	if digits == 0 {
		p.fail("a dimension")
		return 0
	}
	p.rest = p.rest[digits:]
	p.accept("L")
	return n
}
