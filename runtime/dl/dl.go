// Package dl finds optional shared libraries at run time and calls them without cgo. Nothing depends on one being there: what
// a library brings, asdlc's own kernels do too. The build tag nodl leaves the package's dependence on the system's dynamic linker
// out, for static programs: then no library is found.
package dl

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"unsafe"
)

// Setting is the environment variable that programs pass to New: "off" searches for nothing; a name with a slash is the file
// to load in place of the search.
const Setting = "ASDLC_LIBRARIES"

// Libraries are the shared libraries of this machine, each looked for once, when it is first asked for. Make one by New and
// hand it on.
type Libraries struct {
	lapack func() (*LAPACK, error)
}

// New prepares a search that the value of Setting restricts. It opens nothing.
func New(setting string) *Libraries {
	return &Libraries{lapack: sync.OnceValues(func() (*LAPACK, error) { return findLAPACK(setting) })}
}

// Here is New with the value that the environment has.
func Here() *Libraries { return New(os.Getenv(Setting)) }

// LAPACK is the linear algebra library, or an error that says why there is none.
func (l *Libraries) LAPACK() (*LAPACK, error) { return l.lapack() }

// ErrAbsent is in the errors of libraries that are not used, because they are not there or the search is off.
var ErrAbsent = errors.New("no library")

// Routine is an entry point whose arguments are all pointers, as those of Fortran are.
type Routine struct{ address uintptr }

// maxArgs is how many arguments a call can have.
const maxArgs = 15

// Call is a prepared call of a routine. Do passes Args as they are then, and behind them Strings lengths of 1: Fortran has the
// length of each argument of characters at the end. Args must point at memory of the heap: a goroutine's stack can move. A call
// serves one goroutine at a time.
type Call struct {
	Args    []unsafe.Pointer
	Strings int
	routine Routine
	raw     [maxArgs]uintptr
}

// Prepare makes a call with so many arguments, of which the first ones are characters.
func (r Routine) Prepare(args, strings int) *Call {
	if args+strings > maxArgs {
		panic(fmt.Sprintf("BUG: %d arguments, at most %d can be passed", args+strings, maxArgs))
	}
	return &Call{Args: make([]unsafe.Pointer, args), Strings: strings, routine: r}
}

// Do runs the routine. It allocates nothing.
func (c *Call) Do() {
	n := len(c.Args)
	for i, p := range c.Args {
		c.raw[i] = uintptr(p)
	}
	for i := range c.Strings {
		c.raw[n+i] = 1
	}
	invoke(c.routine.address, c.raw[:n+c.Strings])
	runtime.KeepAlive(c)
}
