package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes"
	"github.com/asdlc/asdlc/passes/pass"
)

func newOpt(e *env) *cobra.Command {
	var f methodFlags
	var names []string
	var list, stats bool
	var elements int
	c := &cobra.Command{
		Use:   "opt --passes A,B,... MODEL.onnx|TEXT.onnxtxt|-",
		Short: "Run single passes and print the result as text (for developers)",
		Long: `Run passes of the compiler, in the order given, and print the model in ONNX's textual syntax.

The text can be read again by opt and diff. Passes rely on what earlier ones leave in the graph; --list says what each
needs. The invariants of the graph are checked after each pass.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if list {
				return e.listPasses()
			}
			if len(args) == 0 {
				return usagef("a model is required: a file, or - for text from standard input")
			}
			rows, err := passRows(names)
			if err != nil {
				return err
			}
			m, err := readModel(args[0], c.InOrStdin())
			if err != nil {
				return err
			}
			if f.method != "" {
				mix, err := f.mix()
				if err != nil {
					return err
				}
				mix.Write(m.Metadata)
			}
			o, err := f.resolved()
			if err != nil {
				return err
			}
			ctx := &pass.Ctx{Options: o, Report: &pass.Report{}}
			ctx.Options.Verify = true
			if err := pass.RunTable(ctx, m, rows); err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			if stats {
				e.printStats(ctx.Report)
				return nil
			}
			return graph.Fprint(e.stdout, m, graph.PrintOptions{MaxElements: elements})
		},
	}
	fs := c.Flags()
	f.register(fs)
	fs.StringSliceVar(&names, "passes", nil, "passes to run, in order (none: print the model as it is)")
	fs.StringVar(&f.options.Emit, "emit", "update", "update or gradient, as for instrument")
	fs.StringVar(&f.options.Noise, "noise", "hash", "hash or input, as for instrument")
	fs.IntVar(&elements, "elements", 0, "cut constants after so many elements (the text then cannot be read again)")
	fs.BoolVar(&stats, "stats", false, "print what each pass did instead of the model")
	fs.BoolVar(&list, "list", false, "list the passes")
	return c
}

// passRows looks passes up by name.
func passRows(names []string) ([]pass.Pass, error) {
	var rows []pass.Pass
	for _, name := range names {
		found := false
		for _, p := range passes.All() {
			if p.Name == name {
				rows, found = append(rows, p), true
			}
		}
		if !found {
			var all []string
			for _, p := range passes.All() {
				all = append(all, p.Name)
			}
			return nil, usagef("no pass %q: want some of %s", name, strings.Join(all, ", "))
		}
	}
	return rows, nil
}

func (e *env) listPasses() error {
	t := newTable("pass", "needs", "gives", "what it does")
	for _, p := range passes.All() {
		summary, _, _ := strings.Cut(p.Doc, "\n")
		t.add(p.Name, dash(joinProps(p.Needs)), dash(joinProps(p.Gives)), summary)
	}
	t.write(e.stdout)
	return nil
}

func joinProps(ps []pass.Prop) string {
	parts := make([]string, len(ps))
	for i, p := range ps {
		parts[i] = string(p)
	}
	return strings.Join(parts, " ")
}

func (e *env) printStats(r *pass.Report) {
	t := newTable("pass", "nodes before", "after", "time")
	for _, s := range r.Stats {
		t.add(s.Pass, fmt.Sprint(s.Before), fmt.Sprint(s.After), s.Time.Round(10_000).String())
	}
	t.write(e.stdout)
	for _, n := range r.Notes {
		fmt.Fprintln(e.stdout, "note:", n)
	}
}
