package kernel

import (
	"slices"

	"github.com/asdlc/asdlc/graph"
)

// integerRows are the products and sums of integers, which wrap around.
func integerRows[T integral]() []Row {
	return []Row{
		row[T]("Einsum", makeEinsumInt[T]),
		row[T]("Col2Im", makeCol2Im[T]),
	}
}

// integerProducts are the matrix products of integers, which wrap around.
func integerProducts[T int32 | int64 | uint32 | uint64]() []Row {
	return []Row{row[T]("MatMul", makeMatMulInt[T]), row[T]("Gemm", makeGemmInt[T])}
}

// integerTable joins the integer rows of all types.
func integerTable() []Row {
	return slices.Concat(
		integerRows[int8](), integerRows[int16](), integerRows[int32](), integerRows[int64](),
		integerRows[uint8](), integerRows[uint16](), integerRows[uint32](), integerRows[uint64](),
		integerProducts[int32](), integerProducts[int64](), integerProducts[uint32](), integerProducts[uint64](),
	)
}

// makeMatMulInt is MatMul of integers.
func makeMatMulInt[T int32 | int64 | uint32 | uint64](c *Call) (Run, error) {
	if err := c.sameElem(0); err != nil {
		return nil, err
	}
	g, err := sizeMatMul(c, false, false)
	if err != nil {
		return nil, err
	}
	return func(in, out []*Tensor) error {
		a, b, y := Data[T](in[0]), Data[T](in[1]), Data[T](out[0])
		clear(y)
		for i := range g.cOff {
			addProduct(g.m, g.n, g.k, a[g.aOff[i]:], b[g.bOff[i]:], y[g.cOff[i]:])
		}
		return nil
	}, nil
}

func addProduct[T int32 | int64 | uint32 | uint64](m, n, k int, a, b, y []T) {
	for i := range m {
		row := y[i*n : (i+1)*n]
		for l, v := range a[i*k : (i+1)*k] {
			for j, w := range b[l*n : (l+1)*n] {
				row[j] += v * w
			}
		}
	}
}

// makeGemmInt is Gemm of integers. The factors alpha and beta are whole numbers.
func makeGemmInt[T int32 | int64 | uint32 | uint64](c *Call) (Run, error) {
	g, err := sizeGemm(c)
	if err != nil {
		return nil, err
	}
	if !whole(g.alpha) || !whole(g.beta) {
		return nil, c.Errorf(graph.ErrUnsupported, "alpha is %g and beta %g: between integers only whole numbers are supported; insert Casts to float", g.alpha, g.beta)
	}
	alpha, beta := T(int64(g.alpha)), T(int64(g.beta))
	rowA, colA := pick(g.transA, 1, g.lda), pick(g.transA, g.lda, 1)
	rowB, colB := pick(g.transB, 1, g.ldb), pick(g.transB, g.ldb, 1)
	return func(in, out []*Tensor) error {
		a, b, y := Data[T](in[0]), Data[T](in[1]), Data[T](out[0])
		if beta != 0 {
			fillAddend(&g.add, y, Data[T](in[2]))
		}
		for i := range g.m {
			for j := range g.n {
				var sum T
				for l := range g.k {
					sum += a[i*rowA+l*colA] * b[l*rowB+j*colB]
				}
				sum *= alpha
				if beta != 0 {
					sum += beta * y[i*g.n+j]
				}
				y[i*g.n+j] = sum
			}
		}
		return nil
	}, nil
}

func whole(f float32) bool { return f == float32(int64(f)) }

// makeEinsumInt is Einsum of integers: for each element of the output the sum of products over the other labels.
func makeEinsumInt[T integral](c *Call) (Run, error) {
	if err := c.sameElem(0); err != nil {
		return nil, err
	}
	e, err := parseEinsum(c)
	if err != nil {
		return nil, err
	}
	summed := e.order[len(e.out):]
	outer, inner := make([][]int, len(e.in)), make([][]int, len(e.in)) // offsets by operand
	for i, l := range e.in {
		outer[i], inner[i] = e.offsets(e.out, l), e.offsets(summed, l)
	}
	return func(in, out []*Tensor) error {
		y := Data[T](out[0])
		for o := range y {
			y[o] = 0
			for s := range inner[0] {
				product := T(1)
				for i, x := range in {
					product *= Data[T](x)[outer[i][o]+inner[i][s]]
				}
				y[o] += product
			}
		}
		return nil
	}, nil
}
