package kernel

import "github.com/asdlc/asdlc/graph"

// bitwise are the operators on the bits of integers, of which counter-based random generators are made.
func bitwise[T integral]() []Row {
	rows := inPlace([]int{0, 1},
		row[T]("BitwiseAnd", binary(lift(func(a, b T) T { return a & b }), grainCheap)),
		row[T]("BitwiseOr", binary(lift(func(a, b T) T { return a | b }), grainCheap)),
		row[T]("BitwiseXor", binary(lift(func(a, b T) T { return a ^ b }), grainCheap)),
	)
	return append(rows, inPlace([]int{0}, row[T]("BitwiseNot", unary(each(func(a T) T { return ^a }), grainCheap)))...)
}

// bitShift shifts by input 1; a shift by the width or more gives 0.
func bitShift[T ~uint8 | ~uint16 | ~uint32 | ~uint64]() []Row {
	left := binary(lift(func(a, b T) T { return a << b }), grainCheap)
	right := binary(lift(func(a, b T) T { return a >> b }), grainCheap)
	return inPlace([]int{0, 1}, row[T]("BitShift", func(c *Call) (Run, error) {
		switch dir := c.Node.Str("direction", ""); dir {
		case "LEFT":
			return left(c)
		case "RIGHT":
			return right(c)
		default:
			return nil, c.Errorf(graph.ErrInvalid, "direction is %q, want LEFT or RIGHT", dir)
		}
	}))
}
