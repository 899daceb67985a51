package bench

// Usage is the memory of a process, in bytes; 0 where it is not known.
type Usage struct {
	Resident int64 // all that is in memory
	// Own is what is the process's own of it: not the pages of the program's file, which the system loads as they are first
	// run, a few around each, and drops as it likes. It is what a plan predicts.
	Own int64
}
