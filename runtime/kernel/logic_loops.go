package kernel

import "github.com/asdlc/asdlc/graph"

// Loops without calls or branches for each element. A comparison is one of these three, its operands in one order or the other.

func lessLoop[T numeric]() binaryLoop[T, T, bool] {
	return binaryLoop[T, T, bool]{
		vv: func(dst []bool, a, b []T) {
			dst, b = dst[:len(a)], b[:len(a)]
			for i, x := range a {
				dst[i] = x < b[i]
			}
		},
		vs: func(dst []bool, a []T, b T) {
			dst = dst[:len(a)]
			for i, x := range a {
				dst[i] = x < b
			}
		},
		sv: func(dst []bool, a T, b []T) {
			dst = dst[:len(b)]
			for i, y := range b {
				dst[i] = a < y
			}
		},
	}
}

func lessOrEqualLoop[T numeric]() binaryLoop[T, T, bool] {
	return binaryLoop[T, T, bool]{
		vv: func(dst []bool, a, b []T) {
			dst, b = dst[:len(a)], b[:len(a)]
			for i, x := range a {
				dst[i] = x <= b[i]
			}
		},
		vs: func(dst []bool, a []T, b T) {
			dst = dst[:len(a)]
			for i, x := range a {
				dst[i] = x <= b
			}
		},
		sv: func(dst []bool, a T, b []T) {
			dst = dst[:len(b)]
			for i, y := range b {
				dst[i] = a <= y
			}
		},
	}
}

func equalLoop[T graph.Number]() binaryLoop[T, T, bool] {
	vs := func(dst []bool, a []T, b T) {
		dst = dst[:len(a)]
		for i, x := range a {
			dst[i] = x == b
		}
	}
	return binaryLoop[T, T, bool]{
		vv: func(dst []bool, a, b []T) {
			dst, b = dst[:len(a)], b[:len(a)]
			for i, x := range a {
				dst[i] = x == b[i]
			}
		},
		vs: vs,
		sv: func(dst []bool, a T, b []T) { vs(dst, b, a) },
	}
}

// symmetric is the loop of an operator whose operands may change places.
func symmetric(vv func(dst, a, b []bool), vs func(dst, a []bool, b bool)) binaryLoop[bool, bool, bool] {
	return binaryLoop[bool, bool, bool]{vv: vv, vs: vs, sv: func(dst []bool, a bool, b []bool) { vs(dst, b, a) }}
}

func andLoop() binaryLoop[bool, bool, bool] {
	return symmetric(func(dst, a, b []bool) {
		dst, b = dst[:len(a)], b[:len(a)]
		for i, x := range a {
			y := b[i]
			if !x {
				y = false
			}
			dst[i] = y
		}
	}, func(dst, a []bool, b bool) {
		if b {
			copy(dst, a)
		} else {
			clear(dst[:len(a)])
		}
	})
}

func orLoop() binaryLoop[bool, bool, bool] {
	return symmetric(func(dst, a, b []bool) {
		dst, b = dst[:len(a)], b[:len(a)]
		for i, x := range a {
			y := b[i]
			if x {
				y = true
			}
			dst[i] = y
		}
	}, func(dst, a []bool, b bool) {
		if b {
			fill(dst[:len(a)], true)
		} else {
			copy(dst, a)
		}
	})
}

func xorLoop() binaryLoop[bool, bool, bool] {
	return symmetric(func(dst, a, b []bool) {
		dst, b = dst[:len(a)], b[:len(a)]
		for i, x := range a {
			dst[i] = x != b[i]
		}
	}, func(dst, a []bool, b bool) {
		dst = dst[:len(a)]
		for i, x := range a {
			dst[i] = x != b
		}
	})
}

func notLoop(dst, a []bool) {
	dst = dst[:len(a)]
	for i, x := range a {
		dst[i] = !x
	}
}

// swapped is a loop with its operands exchanged.
func (l binaryLoop[A, B, R]) swapped() binaryLoop[B, A, R] {
	return binaryLoop[B, A, R]{
		vv: func(dst []R, b []B, a []A) { l.vv(dst, a, b) },
		vs: func(dst []R, b []B, a A) { l.sv(dst, a, b) },
		sv: func(dst []R, b B, a []A) { l.vs(dst, a, b) },
	}
}

// choose writes the elements of x where cond holds, else those of y. All have the length of dst.
func choose[T graph.Number](dst []T, cond []bool, x, y []T) {
	cond, x, y = cond[:len(dst)], x[:len(dst)], y[:len(dst)]
	for i := range dst {
		v, w := y[i], x[i]
		if cond[i] {
			v = w
		}
		dst[i] = v
	}
}

// chooseFrom is choose with one number in the place of x.
func chooseFrom[T graph.Number](dst []T, cond []bool, x T, y []T) {
	cond, y = cond[:len(dst)], y[:len(dst)]
	for i := range dst {
		v := y[i]
		if cond[i] {
			v = x
		}
		dst[i] = v
	}
}

// chooseOr is choose with one number in the place of y.
func chooseOr[T graph.Number](dst []T, cond []bool, x []T, y T) {
	cond, x = cond[:len(dst)], x[:len(dst)]
	for i := range dst {
		v := x[i]
		if !cond[i] {
			v = y
		}
		dst[i] = v
	}
}
