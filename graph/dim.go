package graph

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
)

// Dim is one dimension of a shape: a known size, a symbolic expression over named sizes in canonical form
// ("N", "2*N", "N*T+1"), or unknown. Two Dims are == exactly when they are known to be the same expression;
// two unknown ones are == but say nothing about each other.
type Dim struct {
	n    int64
	expr string
}

// UnknownDim is a dimension of which nothing is known.
var UnknownDim = Dim{n: -1}

// Known is a dimension of size n (n >= 0; as int64 content of a shape tensor it may be negative).
func Known(n int64) Dim {
	if n < 0 {
		return Dim{n: n, expr: strconv.FormatInt(n, 10)}
	}
	return Dim{n: n}
}

// Sym is the dimension named name. Parts of a name that look like arithmetic are taken as such ("2*N").
func Sym(name string) Dim {
	if name == "" || name == "?" {
		return UnknownDim
	}
	if isIdentifier(name) { // the common case
		return Dim{expr: name}
	}
	if p, ok := parsePoly(name); ok {
		return p.dim()
	}
	return Dim{expr: name}
}

// Size returns the size if it is known and not negative.
func (d Dim) Size() (int64, bool) { return d.n, d.expr == "" && d.n >= 0 }

// Int returns the value if it is known, also when negative (contents of shape tensors).
func (d Dim) Int() (int64, bool) {
	if d.expr == "" {
		return d.n, d.n >= 0
	}
	if d.n < 0 {
		return d.n, true
	}
	return 0, false
}

// IsUnknown reports whether nothing is known of d.
func (d Dim) IsUnknown() bool { return d == UnknownDim }

// IsSymbolic reports whether d is an expression over names.
func (d Dim) IsSymbolic() bool { return d.expr != "" && d.n == 0 }

// String prints the size, the expression, or "?".
func (d Dim) String() string {
	switch {
	case d.expr != "":
		return d.expr
	case d.n < 0:
		return "?"
	}
	return strconv.FormatInt(d.n, 10)
}

// Add is d+o; unknown if either is.
func (d Dim) Add(o Dim) Dim {
	if a, b, ok := ints(d, o); ok {
		return Known(a + b)
	}
	return d.combine(o, func(a, b poly) poly { return a.add(b, 1) })
}

// Sub is d-o; unknown if either is.
func (d Dim) Sub(o Dim) Dim {
	if a, b, ok := ints(d, o); ok {
		return Known(a - b)
	}
	return d.combine(o, func(a, b poly) poly { return a.add(b, -1) })
}

// Mul is d*o; 0 if either is 0, unknown if either is unknown.
func (d Dim) Mul(o Dim) Dim {
	zero := Known(0)
	if d == zero || o == zero {
		return zero
	}
	if a, b, ok := ints(d, o); ok {
		return Known(a * b)
	}
	return d.combine(o, poly.mul)
}

// computes reports whether arithmetic over d can be printed and read back: not over a name such as "0*" or ")", that looks
// like an expression and is none.
func (d Dim) computes() bool {
	if _, ok := d.Int(); ok || !strings.ContainsAny(d.expr, "+-*/(),") {
		return true
	}
	_, ok := parsePoly(d.expr)
	return ok
}

// balanced reports whether every parenthesis of s has its partner.
func balanced(s string) bool {
	depth := 0
	for i := 0; i < len(s) && depth >= 0; i++ {
		switch s[i] {
		case '(':
			depth++
		case ')':
			depth--
		}
	}
	return depth == 0
}

// Div is floor(d/o). It is exact where the polynomial division by a monomial is; otherwise, for symbolic d, an opaque
// expression that equals itself.
func (d Dim) Div(o Dim) Dim {
	if d.IsUnknown() || o.IsUnknown() || o == Known(0) || !d.computes() || !o.computes() {
		return UnknownDim
	}
	if a, b, ok := ints(d, o); ok {
		q := a / b
		if a%b != 0 && (a < 0) != (b < 0) {
			q--
		}
		return Known(q)
	}
	if d == o {
		return Known(1)
	}
	if q, ok := d.poly().divExact(o.poly()); ok {
		return q.dim()
	}
	return Dim{expr: fmt.Sprintf("floor(%s,%s)", d, o)}
}

func (d Dim) combine(o Dim, f func(a, b poly) poly) Dim {
	if d.IsUnknown() || o.IsUnknown() || !d.computes() || !o.computes() {
		return UnknownDim
	}
	return f(d.poly(), o.poly()).dim()
}

// ints is the values of d and o, if both are known.
func ints(d, o Dim) (a, b int64, ok bool) {
	if a, ok = d.Int(); !ok {
		return 0, 0, false
	}
	b, ok = o.Int()
	return a, b, ok
}

// poly maps a monomial (symbols joined by "*", sorted; "" is the constant) to its coefficient.
type poly map[string]int64

func (d Dim) poly() poly {
	if n, ok := d.Int(); ok {
		return poly{"": n}
	}
	if p, ok := parsePoly(d.expr); ok {
		return p
	}
	return poly{d.expr: 1}
}

func (p poly) add(q poly, sign int64) poly {
	r := poly{}
	for m, c := range p {
		r[m] += c
	}
	for m, c := range q {
		r[m] += sign * c
	}
	return r
}

func (p poly) mul(q poly) poly {
	r := poly{}
	for m, c := range p {
		for n, d := range q {
			r[joinMonomial(m, n)] += c * d
		}
	}
	return r
}

func joinMonomial(m, n string) string {
	syms := append(splitTop(m, '*'), splitTop(n, '*')...)
	sort.Strings(syms)
	return strings.Join(syms, "*")
}

// divExact divides by a single monomial, if that leaves no remainder.
func (p poly) divExact(q poly) (poly, bool) {
	if len(q) != 1 {
		return nil, false
	}
	var mono string
	var coef int64
	for mono, coef = range q {
	}
	r := poly{}
	for m, c := range p {
		if c == 0 {
			continue
		}
		rest, ok := divMonomial(m, mono)
		if !ok || c%coef != 0 {
			return nil, false
		}
		r[rest] = c / coef
	}
	return r, true
}

func divMonomial(m, by string) (string, bool) {
	syms := splitTop(m, '*')
outer:
	for _, s := range splitTop(by, '*') {
		for i, t := range syms {
			if s == t {
				syms = append(syms[:i:i], syms[i+1:]...)
				continue outer
			}
		}
		return "", false
	}
	return strings.Join(syms, "*"), true
}

func (p poly) dim() Dim {
	var monos []string
	for m, c := range p {
		if c != 0 && m != "" {
			monos = append(monos, m)
		}
	}
	if len(monos) == 0 {
		return Known(p[""])
	}
	sort.Strings(monos)
	var sb strings.Builder
	for _, m := range monos {
		writeTerm(&sb, p[m], m)
	}
	if c := p[""]; c != 0 {
		writeTerm(&sb, c, "")
	}
	return Dim{expr: sb.String()}
}

func writeTerm(sb *strings.Builder, c int64, m string) {
	switch {
	case c < 0:
		sb.WriteByte('-')
		c = -c
	case sb.Len() > 0:
		sb.WriteByte('+')
	}
	switch {
	case m == "":
		sb.WriteString(strconv.FormatInt(c, 10))
	case c == 1:
		sb.WriteString(m)
	default:
		sb.WriteString(strconv.FormatInt(c, 10) + "*" + m)
	}
}

// parsePoly reads a sum of products of integers and symbols; parentheses may occur only inside opaque symbols.
func parsePoly(s string) (poly, bool) {
	if !balanced(s) {
		return nil, false
	}
	p := poly{}
	for _, t := range splitSigned(s) {
		coef, syms := int64(1), []string(nil)
		if strings.HasPrefix(t, "-") {
			coef, t = -1, t[1:]
		}
		for _, f := range splitTop(t, '*') {
			f = strings.TrimSpace(f)
			if f == "" || strings.ContainsAny(f, " /") {
				return nil, false
			}
			if n, err := strconv.ParseInt(f, 10, 64); err == nil {
				coef *= n
			} else {
				syms = append(syms, f)
			}
		}
		sort.Strings(syms)
		p[strings.Join(syms, "*")] += coef
	}
	return p, len(p) > 0
}

// splitSigned cuts a sum into signed terms at + and - outside parentheses.
func splitSigned(s string) []string {
	var parts []string
	depth, start := 0, 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '(':
			depth++
		case ')':
			depth--
		case '+', '-':
			if depth == 0 && i > start {
				parts = append(parts, strings.TrimSpace(s[start:i]))
				start = i
				if s[i] == '+' {
					start++
				}
			}
		}
	}
	return append(parts, strings.TrimSpace(s[start:]))
}

func splitTop(s string, sep byte) []string {
	if s == "" {
		return nil
	}
	var parts []string
	depth, start := 0, 0
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '(':
			depth++
		case s[i] == ')':
			depth--
		case s[i] == sep && depth == 0:
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	return append(parts, s[start:])
}

// At is the size of d where the symbols have the given sizes; false if d is unknown or depends on others, or on a
// quotient of symbols.
func (d Dim) At(sizes map[string]int64) (int64, bool) {
	if n, ok := d.Int(); ok || d.IsUnknown() {
		return n, ok
	}
	if n, ok := sizes[d.expr]; ok { // the common case
		return n, true
	}
	total := int64(0)
	for monomial, c := range d.poly() {
		for _, symbol := range splitTop(monomial, '*') {
			n, ok := sizes[symbol]
			if !ok {
				return 0, false
			}
			c *= n
		}
		total += c
	}
	return total, true
}
