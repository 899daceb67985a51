package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/asdlc/asdlc/graph"
)

func newDiff(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "diff A B",
		Short: "Tell the first difference between two models",
		Long: `Tell the first difference between two models, each .onnx or .onnxtxt (one may be - for text from standard input).

Names, order and positions count. Exit code 5 says that the models differ.`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			if args[0] == "-" && args[1] == "-" {
				return usagef("only one of the models can come from standard input")
			}
			a, err := readModel(args[0], c.InOrStdin())
			if err != nil {
				return err
			}
			b, err := readModel(args[1], c.InOrStdin())
			if err != nil {
				return err
			}
			if err := graph.Equal(a, b); err != nil {
				return fmt.Errorf("%s and %s: %w: %w", args[0], args[1], errMismatch, err)
			}
			fmt.Fprintf(e.stdout, "%s and %s are the same model\n", args[0], args[1])
			return nil
		},
	}
}
