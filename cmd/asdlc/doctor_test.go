package main

import (
	"strings"
	"testing"

	"github.com/asdlc/asdlc/runtime/dl"
)

// TestDoctorSlowLibrary: variables that slow OpenBLAS down are named.
func TestDoctorSlowLibrary(t *testing.T) {
	for _, name := range dl.Slowdowns(func(string) string { return "set" }) {
		t.Setenv(name, "")
	}
	var d diagnosis
	d.libraries(dl.Here())
	if d.Libraries.LAPACK == "" {
		t.Skip(d.Libraries.Absent)
	}
	if d.Libraries.Warnings != nil {
		t.Errorf("without a cause: %v", d.Libraries.Warnings)
	}
	t.Setenv("OPENBLAS_L2_SIZE", "512")
	d.libraries(dl.Here())
	tab := newTable()
	d.Libraries.print(tab)
	var text strings.Builder
	tab.write(&text)
	if len(d.Libraries.Warnings) != 1 || !strings.Contains(text.String(), "OPENBLAS_L2_SIZE=512") {
		t.Errorf("warnings %v in\n%s", d.Libraries.Warnings, text.String())
	}
}
