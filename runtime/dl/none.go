//go:build nodl || android || ios || !(linux || darwin) || !(amd64 || arm64)

package dl

// available says whether the program can open libraries.
const available = false

// library would be an opened file.
type library struct{}

func open(string) (library, error) { return library{}, ErrAbsent }

func (library) close() {}

func (library) symbol(string) uintptr { return 0 }

func (library) file(uintptr) string { return "" }

func invoke(uintptr, []uintptr) { panic("BUG: no library can be called") }

func textOf(uintptr) string { return "" }
