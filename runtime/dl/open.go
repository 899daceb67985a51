//go:build !nodl && !android && !ios && (linux || darwin) && (amd64 || arm64)

package dl

import (
	"fmt"
	"path/filepath"
	"strings"
	"unsafe"

	"github.com/ebitengine/purego"
	"golang.org/x/sys/unix"
)

// available says whether the program can open libraries.
const available = true

// library is an opened file.
type library struct {
	handle uintptr
	name   string
}

// open loads a library by the system's search, or a file.
func open(name string) (library, error) {
	handle, err := purego.Dlopen(name, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return library{}, fmt.Errorf("%s", strings.TrimSpace(err.Error()))
	}
	return library{handle, name}, nil
}

func (l library) close() { _ = purego.Dlclose(l.handle) }

// symbol is the address of a function in the library or those it needs; 0 if there is none.
func (l library) symbol(name string) uintptr {
	address, err := purego.Dlsym(l.handle, name)
	if err != nil {
		return 0
	}
	return address
}

// dlInfo is Dl_info of <dlfcn.h>.
type dlInfo struct {
	file   *byte
	base   uintptr
	symbol *byte
	start  uintptr
}

// file is the file that has the function at address, or the name by which the library was opened.
func (l library) file(address uintptr) string {
	dladdr := l.symbol("dladdr")
	if dladdr == 0 {
		return l.name
	}
	info := new(dlInfo)
	if found, _, _ := purego.SyscallN(dladdr, address, uintptr(unsafe.Pointer(info))); int32(found) == 0 || info.file == nil {
		return l.name
	}
	file := unix.BytePtrToString(info.file)
	if resolved, err := filepath.EvalSymlinks(file); err == nil {
		return resolved
	}
	return file
}

func invoke(f uintptr, args []uintptr) { purego.SyscallN(f, args...) }

// textOf calls a function without arguments that gives text.
func textOf(f uintptr) string {
	var call func() string
	purego.RegisterFunc(&call, f)
	return call()
}
