// Command gen writes the assembler of package amd64 with avo.
//
// One run writes one part, so that the .s files stay of one idea each:
//
//	go run . -part gemm      -out ../gemm_amd64.s      -stubs ../gemm_stubs_amd64.go      -pkg amd64
//	go run . -part transpose -out ../transpose_amd64.s -stubs ../transpose_stubs_amd64.go -pkg amd64
//	go run . -part vector    -out ../vector_amd64.s    -stubs ../vector_stubs_amd64.go    -pkg amd64
//	go run . -part noise     -out ../noise_amd64.s     -stubs ../noise_stubs_amd64.go     -pkg amd64
//
// It is a module of its own: the product does not depend on avo.
package main

import (
	"flag"
	"log"

	"github.com/mmcloughlin/avo/build"
)

// parts maps the name given with -part to the functions that it emits.
var parts = map[string]func(){
	"gemm": func() {
		for _, u := range units {
			tile(u)
			dotRows(u)
			dotTile(u)
			combine(u)
			highest(u)
		}
	},
	"transpose": func() {
		for _, u := range units {
			transpose(u)
			transposeAt(u)
			copyRows(u)
			copyAt(u)
			copyEven(u)
		}
		pause()
	},
	"vector": vector,
	"noise":  noise,
}

func main() {
	part := flag.String("part", "", "gemm, transpose, vector or noise")
	flag.Parse()
	emit, ok := parts[*part]
	if !ok {
		log.Fatalf("gen: no part %q: give -part gemm, transpose, vector or noise", *part)
	}
	build.ConstraintExpr("amd64")
	emit()
	build.Generate()
}
