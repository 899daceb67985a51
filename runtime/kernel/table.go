package kernel

import (
	"slices"

	"github.com/asdlc/asdlc/runtime/dl"
)

// Portable lists the tables of portable kernels, which NewRegistry joins.
func Portable() [][]Row {
	return [][]Row{mathTable(), logicTable(), castRows(), reduceTable(), orderTable(), bitsTable(), shapeTable(), nnTable, integerTable(), randomTable, noiseTable, linalgTable, runtimeTable()}
}

// Default lists the tables that the runtime uses: the portable ones, those on the vector kernels of the processor, and those on
// the libraries of this machine, which are looked for when a kernel that would need one is made.
func Default() [][]Row { return append(Portable(), vectorTable(), Library(dl.Here())) }

// mathTable are the element-wise operators on numbers.
func mathTable() []Row {
	return slices.Concat(
		floatMath[float32](), floatMath[float64](),
		intMath[int8](), intMath[int16](), intMath[int32](), intMath[int64](),
		intMath[uint8](), intMath[uint16](), intMath[uint32](), intMath[uint64](),
		signedFunctions[int8](), signedFunctions[int16](), signedFunctions[int32](), signedFunctions[int64](),
		unsignedFunctions[uint8](), unsignedFunctions[uint16](), unsignedFunctions[uint32](), unsignedFunctions[uint64](),
	)
}

func floatMath[T floating]() []Row {
	return slices.Concat(arithmetic[T](), floatDivision[T](), modFloat[T](), power[T](), floatFunctions[T](),
		signedFunctions[T](), activationRows[T](), prelu[T](), clip[T](), extremes[T](), sums[T]())
}

func intMath[T integral]() []Row {
	return slices.Concat(arithmetic[T](), integerDivision[T](), modInt[T](), power[T](), prelu[T](), clip[T](), extremes[T]())
}

// logicTable are comparisons, truth functions and selection.
func logicTable() []Row {
	return slices.Concat(
		orders[float32](), orders[float64](),
		orders[int8](), orders[int16](), orders[int32](), orders[int64](),
		orders[uint8](), orders[uint16](), orders[uint32](), orders[uint64](),
		equal[float32](), equal[float64](), equal[bool](),
		equal[int8](), equal[int16](), equal[int32](), equal[int64](),
		equal[uint8](), equal[uint16](), equal[uint32](), equal[uint64](),
		booleans(), not(), classes[float32](), classes[float64](), []Row{whereRow()},
	)
}

// bitsTable are the operators on bits.
func bitsTable() []Row {
	return slices.Concat(
		bitwise[int8](), bitwise[int16](), bitwise[int32](), bitwise[int64](),
		bitwise[uint8](), bitwise[uint16](), bitwise[uint32](), bitwise[uint64](),
		bitShift[uint8](), bitShift[uint16](), bitShift[uint32](), bitShift[uint64](),
	)
}

// shapeTable are the operators that move elements or make them from shapes.
func shapeTable() []Row {
	return slices.Concat(views(), permuteRows(), joinRows(), gatherTable(), scatterTable(), makerTable(),
		padTable(), selectTable(), windowTable())
}
