package amd64

import "golang.org/x/sys/cpu"

var avx512Kernels = Kernels{
	Name: "avx512",
	F32: GEMM[float32]{
		Rows: 14, Cols: 32, WideRows: 6, WideCols: 64,
		Tile: tileF32AVX512, Transpose: transposeF32AVX512, Lanes: 16, Copy: copyRowsF32AVX512, CopyEven: copyEvenF32AVX512,
		TransposeAt: transposeAtF32AVX512, CopyAt: copyAtF32AVX512, DotRows: dotRowsF32AVX512,
		DotTile: dotTileF32AVX512, DotSide: 4, Combine: combineF32AVX512, Highest: highestF32AVX512,
	},
	F64: GEMM[float64]{
		Rows: 14, Cols: 16, WideRows: 6, WideCols: 32,
		Tile: tileF64AVX512, Transpose: transposeF64AVX512, Lanes: 8, Copy: copyRowsF64AVX512, CopyEven: copyEvenF64AVX512,
		TransposeAt: transposeAtF64AVX512, CopyAt: copyAtF64AVX512, DotRows: dotRowsF64AVX512,
		DotTile: dotTileF64AVX512, DotSide: 4, Combine: combineF64AVX512, Highest: highestF64AVX512,
	},
	vec: avx512Vector,

	noise32: noiseFuncs[float32]{uniform: uniformF32AVX512, normal: normalF32AVX512},
	noise64: noiseFuncs[float64]{uniform: uniformF64AVX512, normal: normalDoubles},
}

var avx2Kernels = Kernels{
	Name: "avx2",
	F32: GEMM[float32]{
		Rows: 6, Cols: 16, WideRows: 2, WideCols: 32,
		Tile: tileF32AVX2, Transpose: transposeF32AVX2, Lanes: 8, Copy: copyRowsF32AVX2, CopyEven: copyEvenF32AVX2,
		TransposeAt: transposeAtF32AVX2, CopyAt: copyAtF32AVX2, DotRows: dotRowsF32AVX2,
		DotTile: dotTileF32AVX2, DotSide: 3, Combine: combineF32AVX2, Highest: highestF32AVX2,
	},
	F64: GEMM[float64]{
		Rows: 6, Cols: 8, WideRows: 2, WideCols: 16,
		Tile: tileF64AVX2, Transpose: transposeF64AVX2, Lanes: 4, Copy: copyRowsF64AVX2, CopyEven: copyEvenF64AVX2,
		TransposeAt: transposeAtF64AVX2, CopyAt: copyAtF64AVX2, DotRows: dotRowsF64AVX2,
		DotTile: dotTileF64AVX2, DotSide: 3, Combine: combineF64AVX2, Highest: highestF64AVX2,
	},
	vec: avx2Vector,

	noise32: noiseFuncs[float32]{uniform: uniformF32AVX2, normal: normalF32AVX2},
	noise64: noiseFuncs[float64]{uniform: uniformF64AVX2, normal: normalDoubles},
}

// detect lists the assembler sets that this processor and its operating system support.
func detect() []*Kernels {
	var found []*Kernels
	x := &cpu.X86
	if !x.HasAVX2 || !x.HasFMA || !x.HasBMI2 {
		return nil
	}
	if x.HasAVX512F && x.HasAVX512DQ && x.HasAVX512BW && x.HasAVX512VL {
		found = append(found, &avx512Kernels)
	}
	return append(found, &avx2Kernels)
}

// Pause tells the processor that the caller is waiting in a loop: n PAUSE instructions.
func Pause(n int) { pause(n) }

var avx512Vector = vectorFuncs{
	add: addAVX512, sub: subAVX512, mul: mulAVX512, div: divAVX512,
	shift: shiftAVX512, subFrom: subFromAVX512, divBy: divByAVX512, divInto: divIntoAVX512,
	sqrt: sqrtAVX512, neg: negAVX512, center: centerAVX512, centerGrad: centerGradAVX512,
	scale: scaleAVX512, axpy: axpyAVX512, momentum: momentumAVX512,
	relu: reluAVX512, reluGrad: reluGradAVX512,
	exp: expAVX512, tanh: tanhAVX512, sigmoid: sigmoidAVX512, erf: erfAVX512, expSub: expSubAVX512,
	sum: sumAVX512, sumAbs: sumAbsAVX512, max: maxAVX512, dot: dotAVX512, squares: squaresAVX512, dotCentered: dotCenteredAVX512,
}

var avx2Vector = vectorFuncs{
	add: addAVX2, sub: subAVX2, mul: mulAVX2, div: divAVX2,
	shift: shiftAVX2, subFrom: subFromAVX2, divBy: divByAVX2, divInto: divIntoAVX2,
	sqrt: sqrtAVX2, neg: negAVX2, center: centerAVX2, centerGrad: centerGradAVX2,
	scale: scaleAVX2, axpy: axpyAVX2, momentum: momentumAVX2,
	relu: reluAVX2, reluGrad: reluGradAVX2,
	exp: expAVX2, tanh: tanhAVX2, sigmoid: sigmoidAVX2, erf: erfAVX2, expSub: expSubAVX2,
	sum: sumAVX2, sumAbs: sumAbsAVX2, max: maxAVX2, dot: dotAVX2, squares: squaresAVX2, dotCentered: dotCenteredAVX2,
}
