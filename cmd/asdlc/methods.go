package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/asdlc/asdlc/passes/method"
)

func newMethods(e *env) *cobra.Command {
	var preset string
	var asJSON bool
	c := &cobra.Command{
		Use:   "methods [NAME]",
		Short: "List the preconditioning methods, or all of one",
		Long: `List the preconditioning methods; with a name, its record with every field that --set can change.

A method is a curvature matrix, its representation, how statistics accumulate, how they are solved, and how the result
is applied.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return e.listMethods(preset, asJSON)
			}
			rec, err := lookupMethod(args[0], preset)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(e.stdout, rec)
			}
			fmt.Fprintf(e.stdout, "%s: %s\n%s\n\nFields, with their values under the preset %q (--set FIELD=VALUE):\n", rec.Name, rec.Doc, rec.Cite, rec.Preset)
			t := newTable("field", "value")
			for _, f := range recordFields(rec) {
				t.add("  "+f.path, f.value)
			}
			t.write(e.stdout)
			return nil
		},
	}
	c.Flags().StringVar(&preset, "preset", "paper", "conventions: paper, or asdl (those of the PyTorch library ASDL)")
	c.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return c
}

// lookupMethod is the record of that name under a preset.
func lookupMethod(name, preset string) (method.Record, error) {
	rec, ok := method.Lookup(name)
	if !ok {
		return rec, usagef("no method %q: want one of %s", name, strings.Join(method.Names(), ", "))
	}
	return method.WithPreset(rec, preset)
}

func (e *env) listMethods(preset string, asJSON bool) error {
	var recs []method.Record
	for _, name := range method.Names() {
		rec, err := lookupMethod(name, preset)
		if err != nil {
			return err
		}
		recs = append(recs, rec)
	}
	if asJSON {
		return printJSON(e.stdout, recs)
	}
	t := newTable("method", "curvature", "representation", "accumulate", "solve", "fall-back", "citation")
	for _, r := range recs {
		c := methodCells(r)
		t.add(r.Name, c.curvature, c.representation, r.Accumulate.Kind, c.solve, r.Fallback.Other, r.Cite)
	}
	t.write(e.stdout)
	return nil
}

// methodSummary is a record in a few words.
type methodSummary struct{ curvature, representation, solve string }

func methodCells(r method.Record) methodSummary {
	c := methodSummary{r.Curvature.Matrix, r.Representation.Granularity + " " + r.Representation.Format, r.Solve.Kind}
	if r.Representation.Format == "none" {
		c.representation = "none"
	}
	if r.Curvature.Source != "none" {
		c.curvature += " (" + r.Curvature.Source + ")"
	}
	if r.Solve.Power != 0 {
		c.solve += fmt.Sprintf(" ^%g", r.Solve.Power)
	}
	if r.Solve.Every > 1 {
		c.solve += fmt.Sprintf(", every %d", r.Solve.Every)
	}
	return c
}

type recordField struct{ path, value string }

// recordFields lists the fields that Set accepts, with their values; name, documentation and preset are told elsewhere.
func recordFields(rec method.Record) []recordField {
	var tree map[string]any
	if err := json.Unmarshal([]byte(rec.Encode()), &tree); err != nil {
		panic("BUG: " + err.Error())
	}
	var fields []recordField
	for _, path := range method.Fields() {
		if slices.Contains([]string{"name", "doc", "cite", "preset"}, path) {
			continue
		}
		var node any = tree
		for _, part := range strings.Split(path, ".") {
			group, _ := node.(map[string]any)
			node = group[part]
		}
		value := "" // left out of the JSON form: zero, false or empty
		if node != nil {
			value = fmt.Sprint(node)
		}
		fields = append(fields, recordField{path, dash(value)})
	}
	return fields
}
