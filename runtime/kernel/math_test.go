package kernel_test

import (
	"testing"

	"github.com/asdlc/asdlc/runtime/kernel"
)

func TestPortableTablesJoin(t *testing.T) {
	r, err := kernel.NewRegistry(kernel.Portable()...)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Has("", "Add") || r.Has("", "NoSuchOperator") {
		t.Error("the registry does not know what it has")
	}
}
