// Package vm executes lowered programs: a gorgonia.VM that plans once for each set of input shapes and then runs
// without allocating.
//
// The way of a program:
//
//	code.go     the Gorgonia graph as a flat list of instructions over numbered slots (one for each value), dead ones left out
//	shape.go    for concrete input shapes: the shape of every slot; what is known already is folded into constants
//	plan.go     kernels made, steps in order, each slot given a tensor
//	buffer.go   which slots share memory: views, in-place results, next states in their state's memory
//	schedule.go steps come late where their results are large, and early where they free memory
//	order.go    next states come behind the last reader of the old ones
//	arena.go    where in the arena each buffer lies (best fit over lifetimes)
//	control.go  If, Loop and Scan, whose bodies are plans of their own inside of a region of the arena
//	dynamic.go  calls whose shapes depend on data: inferred and allocated when they run
//	vm.go       the machine: bindings, states, the cache of plans
package vm
