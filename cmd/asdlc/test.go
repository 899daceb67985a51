package main

import (
	"fmt"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime"
	"github.com/asdlc/asdlc/runtime/backendtest"
)

func newTest(e *env) *cobra.Command {
	var filter string
	var threads int
	var asJSON, verbose bool
	var o backendtest.Options
	c := &cobra.Command{
		Use:   "test DIR",
		Short: "Run ONNX backend tests in the Go runtime",
		Long: `Run ONNX backend tests, such as those of the onnx package, in the Go runtime.

DIR is the folder of a test (model.onnx, and input_I.pb and output_I.pb in test_data_set_N), a folder of such folders, or a
.tar or .tar.gz archive of either. Tests that did not pass are listed with the operator at fault and the reason:

failed       other outputs than expected, an error, or a file that cannot be read
unsupported  an operator, element type or kind of value (string, sequence, optional) that asdlc does not have

The exit code is 0 if all pass, 1 if some failed, and 3 if none failed but some are unsupported.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if _, err := path.Match(filter, ""); err != nil {
				return usagef("--filter %q is no pattern: %v", filter, err)
			}
			if !(o.RTol >= 0 && o.ATol >= 0) {
				return usagef("--rtol and --atol: want numbers from 0 on")
			}
			o.Runtime = runtime.Options{Threads: threads}
			results, err := runTests(args[0], filter, o)
			if err != nil {
				return err
			}
			if asJSON {
				err = printJSON(e.stdout, results)
			} else {
				printTests(e, results, verbose)
			}
			if err != nil {
				return err
			}
			return testsError(results)
		},
	}
	fs := c.Flags()
	fs.StringVar(&filter, "filter", "*", "run the tests whose names match this pattern, as in test_conv*")
	fs.Float64Var(&o.RTol, "rtol", backendtest.DefaultRTol, "tolerance relative to the expected value")
	fs.Float64Var(&o.ATol, "atol", backendtest.DefaultATol, "absolute tolerance, which is added")
	fs.IntVar(&threads, "threads", 0, "number of threads (default: one a CPU)")
	fs.BoolVarP(&verbose, "verbose", "v", false, "list the tests that passed, too")
	fs.BoolVar(&asJSON, "json", false, "print as JSON, all tests")
	return c
}

func runTests(dir, filter string, o backendtest.Options) ([]backendtest.Result, error) {
	keep := func(name string) bool {
		ok, _ := path.Match(filter, name)
		return ok
	}
	results := []backendtest.Result{}
	for test, err := range backendtest.Walk(dir, keep) {
		if err != nil {
			return nil, err
		}
		results = append(results, backendtest.Run(test, o))
	}
	if len(results) == 0 {
		return nil, usagef("no test in %s has a name like %q", dir, filter)
	}
	return results, nil
}

func printTests(e *env, results []backendtest.Result, verbose bool) {
	t := newTable("test", "status", "operator", "reason")
	for _, r := range results {
		if r.Status != backendtest.Passed || verbose {
			reason, _, _ := strings.Cut(r.Reason, "\n")
			t.add(r.Name, string(r.Status), dash(r.Operator), dash(reason))
		}
	}
	if len(t.rows) > 0 {
		t.write(e.stdout)
	}
	passed, failed, unsupported := countTests(results)
	fmt.Fprintf(e.stdout, "%d tests: %d passed, %d failed, %d unsupported\n", len(results), passed, failed, unsupported)
}

func countTests(results []backendtest.Result) (passed, failed, unsupported int) {
	for _, r := range results {
		switch r.Status {
		case backendtest.Passed:
			passed++
		case backendtest.Failed:
			failed++
		default:
			unsupported++
		}
	}
	return passed, failed, unsupported
}

// testsError says what the exit code is made of.
func testsError(results []backendtest.Result) error {
	_, failed, unsupported := countTests(results)
	switch {
	case failed > 0:
		return fmt.Errorf("%d of %d tests failed", failed, len(results))
	case unsupported > 0:
		return fmt.Errorf("%w: %d of %d tests", graph.ErrUnsupported, unsupported, len(results))
	}
	return nil
}
