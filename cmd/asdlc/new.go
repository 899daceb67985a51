package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/asdlc/asdlc/graph/onnx"
	"github.com/asdlc/asdlc/models"
)

func newNew(e *env) *cobra.Command {
	var out string
	var o models.Options
	var force bool
	c := &cobra.Command{
		Use:       "new " + strings.Join(models.Names(), "|") + " -o MODEL.onnx",
		Short:     "Write a reference model",
		Long:      newHelp(),
		ValidArgs: models.Names(),
		Args:      cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			for _, f := range models.Integers() {
				if v := *f.At(&o); c.Flags().Changed(f.Name) && v < 1 {
					return usagef("--%s %d: want at least 1", f.Name, v)
				}
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
			count, err := models.Count(args[0], o)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(e.stdout, "%s: %d parameters, seed %d, written to %s\n", args[0], count, o.Seed, out)
			return err
		},
	}
	fs := c.Flags()
	fs.StringVarP(&out, "output", "o", "", "file to write (default NAME.onnx)")
	fs.IntSliceVar(&o.Widths, "widths", nil, "features of the input, of the hidden layers and of the output")
	for _, f := range models.Integers() {
		fs.IntVar(f.At(&o), f.Name, 0, f.Doc)
	}
	fs.BoolVar(&o.ImageNet, "imagenet", false, "as published for ImageNet: 224 x 224, 1000 classes, the larger stem or patch")
	fs.Uint64Var(&o.Seed, "seed", 0, "seed of the initial values")
	fs.BoolVarP(&force, "force", "f", false, "overwrite an existing file")
	return c
}

// newHelp is the table of the reference models.
func newHelp() string {
	sizes, options := newTable("model", "parameters", "with --imagenet", "input", "what it is"), newTable("model", "options, with their defaults")
	for _, m := range models.All() {
		imagenet := "-"
		if m.ImageNet != 0 {
			imagenet = fmt.Sprint(m.ImageNet)
		}
		sizes.add(m.Name, fmt.Sprint(m.Parameters), imagenet, m.Input, m.Doc)
		options.add(m.Name, strings.Join(newFlags(m), " "))
	}
	var sb strings.Builder
	sb.WriteString("Write a reference model with fresh parameters, distributed as those of the PyTorch module that it is known by.\n\n")
	sizes.write(&sb)
	sb.WriteByte('\n')
	options.write(&sb)
	return strings.TrimSuffix(sb.String(), "\n")
}

// newFlags are the flags that a model takes, with their defaults.
func newFlags(m models.Model) []string {
	var flags []string
	if w := m.Defaults.Widths; w != nil {
		flags = append(flags, "--widths "+strings.Trim(strings.ReplaceAll(fmt.Sprint(w), " ", ","), "[]"))
	}
	for _, f := range models.Integers() {
		if v := *f.At(&m.Defaults); v != 0 {
			flags = append(flags, fmt.Sprintf("--%s %d", f.Name, v))
		}
	}
	if m.ImageNet != 0 {
		flags = append(flags, "--imagenet")
	}
	return flags
}
