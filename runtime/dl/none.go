//go:build nodl || android || ios || !(linux || darwin) || !(amd64 || arm64)

package dl

// available says whether the program can open libraries.
const available = false

func open(string) (library, error) { return library{}, ErrAbsent }

func (l library) close() {}

func (l library) symbol(string) uintptr { return 0 }

func (l library) file(uintptr) string { return l.name }

func invoke(uintptr, []uintptr) { panic("BUG: no library can be called") }

func textOf(uintptr) string { return "" }
