package main

import (
	"strings"
	"testing"

	"github.com/asdlc/asdlc/runtime/dl"
	"github.com/asdlc/asdlc/runtime/kernel"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// diagnosedLibraries is what doctor finds and prints of libraries with a set of kernels.
func diagnosedLibraries(found *dl.Libraries, kernels *amd64.Kernels) (libraries, string) {
	var d diagnosis
	d.libraries(found, kernels)
	t := newTable()
	d.Libraries.print(t, kernels.Name)
	var text strings.Builder
	t.write(&text)
	return d.Libraries, text.String()
}

// TestDoctorLibraries: with each set of kernels doctor says what LAPACK is used for, or would be.
func TestDoctorLibraries(t *testing.T) {
	for _, set := range amd64.Available() {
		l, text := diagnosedLibraries(dl.New("off"), set)
		want := "not needed: the " + set.Name
		if kernel.WantsLibrary(set) {
			want = "in asdl.SymmetricEigen, asdl.CholeskyInverse, asdl.BatchInverse (Debian: apt install libopenblas0)"
		}
		if l.LAPACK != "" || !strings.Contains(text, dl.Setting+"=off") || !strings.Contains(text, want) {
			t.Errorf("%s, off: %+v\n%s", set.Name, l, text)
		}
		l, text = diagnosedLibraries(dl.Here(), set)
		if l.LAPACK == "" {
			t.Skip(l.Absent)
		}
		want = "not used: the " + set.Name
		if kernel.WantsLibrary(set) {
			want = "used for asdl.SymmetricEigen, "
		}
		if !strings.Contains(text, want) || !strings.Contains(text, l.LAPACK) {
			t.Errorf("%s: %+v\n%s", set.Name, l, text)
		}
	}
}

// TestDoctorSlowLibrary: variables that slow OpenBLAS down are named.
func TestDoctorSlowLibrary(t *testing.T) {
	for _, name := range dl.Slowdowns(func(string) string { return "set" }) {
		t.Setenv(name, "")
	}
	l, _ := diagnosedLibraries(dl.Here(), amd64.Best())
	if l.LAPACK == "" {
		t.Skip(l.Absent)
	}
	if l.Warnings != nil {
		t.Errorf("without a cause: %v", l.Warnings)
	}
	t.Setenv("OPENBLAS_L2_SIZE", "512")
	if l, text := diagnosedLibraries(dl.Here(), amd64.Best()); len(l.Warnings) != 1 || !strings.Contains(text, "OPENBLAS_L2_SIZE=512") {
		t.Errorf("warnings %v in\n%s", l.Warnings, text)
	}
}
