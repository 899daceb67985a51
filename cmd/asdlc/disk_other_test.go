//go:build !linux

package main

import (
	"fmt"
	"os"

	"github.com/rogpeppe/go-internal/testscript"
)

func limitedMain() {
	fmt.Fprintln(os.Stderr, "asdlc-limited is for Linux alone")
	os.Exit(99)
}

func canMount() bool { return false }

func scriptSmallDisk(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Fatalf("small-disk is for Linux alone")
}
