package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/asdlc/asdlc/graph/onnx"
	"github.com/asdlc/asdlc/models"
)

func newNew(e *env) *cobra.Command {
	var out string
	var o models.Options
	var force bool
	var long strings.Builder
	long.WriteString("Write a reference model with fresh parameters, distributed as PyTorch's:\n")
	for _, m := range models.All() {
		fmt.Fprintf(&long, "\n  %-10s %s; input %s", m.Name, m.Doc, m.Input)
	}
	c := &cobra.Command{
		Use:       "new " + strings.Join(models.Names(), "|") + " -o MODEL.onnx",
		Short:     "Write a reference model",
		Long:      long.String(),
		ValidArgs: models.Names(),
		Args:      cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if c.Flags().Changed("classes") && o.Classes < 1 {
				return usagef("--classes %d: want at least 1", o.Classes)
			}
			if out == "" {
				out = args[0] + ".onnx"
			}
			m, err := models.Build(args[0], o)
			if err != nil { // there is nothing but the command line that it could come from
				return usagef("%v", err)
			}
			if err := checkAbsent(out, force); err != nil {
				return err
			}
			if err := onnx.Write(out, m, onnx.WriteOptions{Overwrite: force}); err != nil {
				return err
			}
			count := 0
			for _, v := range m.Graph.Initializers() {
				if !slices.Contains([]string{"running_mean", "running_var"}, v.Name[strings.LastIndexByte(v.Name, '.')+1:]) {
					count += v.Const().Len()
				}
			}
			fmt.Fprintf(e.stdout, "%s: %d parameters, seed %d, written to %s\n", args[0], count, o.Seed, out)
			return nil
		},
	}
	fs := c.Flags()
	fs.StringVarP(&out, "output", "o", "", "file to write (default NAME.onnx)")
	fs.IntSliceVar(&o.Widths, "widths", nil, "mlp: features of the input, of the hidden layers and of the output")
	fs.IntVar(&o.Classes, "classes", 0, "number of classes (default 10; 1000 with --imagenet)")
	fs.BoolVar(&o.ImageNet, "imagenet", false, "resnet18: the stem for images of 224 x 224")
	fs.Uint64Var(&o.Seed, "seed", 0, "seed of the initial values")
	fs.BoolVarP(&force, "force", "f", false, "overwrite an existing file")
	return c
}
