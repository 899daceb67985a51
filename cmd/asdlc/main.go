// Command asdlc compiles ONNX models into training steps and runs them.
package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/asdlc/asdlc/cmd/asdlc/bench"
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes"
	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/runtime"
	"github.com/asdlc/asdlc/runtime/data"
)

// Exit codes.
const (
	exitOK          = 0
	exitFailed      = 1 // a check or a run failed
	exitUsage       = 2
	exitUnsupported = 3 // the model uses something asdlc does not support
	exitIO          = 4 // a file cannot be read or written, or is malformed
	exitMismatch    = 5 // a verification found different numbers
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run executes one command line and returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	root := newRoot(stdout, stderr)
	root.SetArgs(args)
	err := root.Execute()
	if err != nil {
		fmt.Fprintln(stderr, "asdlc:", err)
	}
	return exitCode(err)
}

// errUsage marks errors of the command line itself.
var errUsage = errors.New("usage")

// errMismatch marks a verification that found different numbers.
var errMismatch = errors.New("mismatch")

func usagef(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

type usageError struct{ msg string }

func (e *usageError) Error() string { return e.msg }
func (e *usageError) Unwrap() error { return errUsage }

// exitCode maps an error to the exit code of its kind.
func exitCode(err error) int {
	var setting *method.SettingError
	var option *pass.OptionError
	var file *data.FileError
	var path *fs.PathError
	var process *bench.ProcessError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &process) && process.Code > 0: // what failed in another process of this program
		return process.Code
	case errors.Is(err, errUsage), errors.As(err, &setting), errors.As(err, &option):
		return exitUsage
	case errors.Is(err, errMismatch):
		return exitMismatch
	case errors.Is(err, graph.ErrUnsupported):
		return exitUnsupported
	case errors.Is(err, graph.ErrInvalid), errors.As(err, &file), errors.As(err, &path), errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrExist):
		return exitIO
	case errors.Is(err, runtime.ErrFeed):
		return exitFailed
	}
	return exitFailed
}

// commands is the table of subcommands.
var commands = []func(*env) *cobra.Command{
	newBench, newDiff, newDoctor, newInspect, newInstrument, newMethods, newNew, newOps, newOpt, newPlan, newRun, newTest, newTrain, newEval, newExport, newVersion,
}

// env is what commands share.
type env struct {
	stdout, stderr io.Writer
}

func newRoot(stdout, stderr io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:           "asdlc",
		Short:         "Compile ONNX models into second-order training steps, and run them",
		Version:       passes.Version,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.Args = func(_ *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usagef("no command %q (see asdlc --help)", args[0])
		}
		return nil
	}
	root.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usagef("%v (see %s --help)", err, c.CommandPath())
	})
	e := &env{stdout, stderr}
	for _, make := range commands {
		c := make(e)
		c.Args = usageArgs(c.Args)
		root.AddCommand(c)
	}
	return root
}

// usageArgs makes a wrong number of arguments a usage error.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return usagef("%v (usage: %s)", err, c.UseLine())
		}
		return nil
	}
}
