package amd64

// Float is an element type with matrix kernels.
type Float interface{ float32 | float64 }

// Kernels is one set of kernels for one instruction set.
type Kernels struct {
	Name string // "avx512", "avx2" or "portable"
	F32  GEMM[float32]
	F64  GEMM[float64]
	vec  vectorFuncs

	noise32 noiseFuncs[float32]
	noise64 noiseFuncs[float64]
}

// GEMM is the set of matrix kernels for one element type. Matrices are row-major; strides count elements. No kernel
// checks bounds: the caller has.
type GEMM[T Float] struct {
	// Rows and Cols are the shape of the tile that uses the registers best. WideCols is the greatest width of a tile of
	// at most WideRows rows.
	Rows, Cols         int
	WideRows, WideCols int

	// Tile computes C = alpha*A*B + beta*C for a tile of 1 <= rows <= Rows and 1 <= cols <= Cols (or WideRows and
	// WideCols), k >= 0. Element (i, p) of A is a[i*rsa+p*csa], rows of B and C are contiguous with strides ldb and ldc.
	// With beta == 0, C is written without being read. Each element is one chain of (fused) multiply-adds in the order
	// of k, whatever the tile's shape.
	Tile func(rows, cols, k int, a *T, rsa, csa int, b *T, ldb int, c *T, ldc int, alpha, beta T)

	// Transpose writes dst[p*ldd+i] = src[i*lds+p] for 1 <= rows <= Lanes, cols >= 0.
	Transpose func(rows, cols int, src *T, lds int, dst *T, ldd int)
	Lanes     int

	// Copy writes dst[i*ldd+j] = src[i*lds+j] for rows >= 1, 1 <= cols <= 4*Lanes.
	Copy func(rows, cols int, src *T, lds int, dst *T, ldd int)

	// CopyEven writes dst[i*ldd+j] = src[i*lds+2*j] for rows >= 1, cols >= 1.
	CopyEven func(rows, cols int, src *T, lds int, dst *T, ldd int)

	// TransposeAt and CopyAt are the same for rows that start anywhere: row i is at src[off[i]].
	TransposeAt func(rows, cols int, src *T, off *int32, dst *T, ldd int)
	CopyAt      func(rows, cols int, src *T, off *int32, dst *T, ldd int)

	// DotRows writes y[i] = sum over p of a[i*lda+p] * x[p] for i < rows, p < k. The order of the sum depends on k only.
	DotRows func(rows, k int, a *T, lda int, x, y *T)

	// DotTile computes C = alpha*A*B^T + beta*C for 1 <= rows, cols <= DotSide, k >= 0, and rows of A and B that are k
	// contiguous elements. With beta == 0, C is written without being read. The order of a sum depends on k only.
	DotTile func(rows, cols, k int, a *T, lda int, b *T, ldb int, c *T, ldc int, alpha, beta T)
	DotSide int

	// Combine writes dst[j] = bias + sum over t < taps of w[t] * src[off[t]+j] for j < n.
	Combine func(n, taps int, src *T, off *int32, w, dst *T, bias T)

	// Highest writes dst[j] = the greatest of src[off[t]+j] over t < taps, and in which[j] the first t that has it, for j < n and
	// 1 <= taps <= 1<<24. NaN counts as greater than any number.
	Highest func(n, taps int, src *T, off *int32, dst, which *T)
}

// Assembler reports whether the set is in assembler. Its float32 kernels then are faster than loops in Go, and add in float32.
func (k *Kernels) Assembler() bool { return k != &portable }

// MatrixOf gives the matrix kernels of k for T.
func MatrixOf[T Float](k *Kernels) *GEMM[T] {
	var zero T
	if _, ok := any(zero).(float32); ok {
		return any(&k.F32).(*GEMM[T])
	}
	return any(&k.F64).(*GEMM[T])
}

// portable is the set for every processor.
var portable = Kernels{
	Name: "portable",
	F32:  portableGEMM[float32](),
	F64:  portableGEMM[float64](),
	vec:  portableVector,

	noise32: noiseFuncs[float32]{uniform: portableUniform[float32], normal: normalSingles},
	noise64: noiseFuncs[float64]{uniform: portableUniform[float64], normal: normalDoubles},
}

// sets holds what runs on this processor, the fastest first.
var sets = append(detect(), &portable)

// Best is the fastest set for this processor.
func Best() *Kernels { return sets[0] }

// Portable is the set written in Go; it runs on every processor.
func Portable() *Kernels { return &portable }

// Available lists the sets that this processor can run, the fastest first; the last is Portable.
func Available() []*Kernels { return append([]*Kernels(nil), sets...) }
