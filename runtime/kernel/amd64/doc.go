// Package amd64 holds the assembler kernels for x86-64 processors: matrix-multiplication tiles, strip transposition,
// vector arithmetic, reductions and random numbers, for AVX-512 and for AVX2 with FMA. Beside them stands a portable twin in Go, which
// is the only set on other processors and the oracle of the tests.
//
// Best selects the fastest set of this processor; Available lists all that can run.
//
// The assembler is written by the generator in gen (avo, a module of its own); TestGenerated compares.
package amd64

//go:generate go -C gen run . -part gemm -out ../gemm_amd64.s -stubs ../gemm_stubs_amd64.go -pkg amd64
//go:generate go -C gen run . -part transpose -out ../transpose_amd64.s -stubs ../transpose_stubs_amd64.go -pkg amd64
//go:generate go -C gen run . -part vector -out ../vector_amd64.s -stubs ../vector_stubs_amd64.go -pkg amd64
//go:generate go -C gen run . -part noise -out ../noise_amd64.s -stubs ../noise_stubs_amd64.go -pkg amd64
