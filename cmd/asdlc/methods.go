package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/asdlc/asdlc/passes"
	"github.com/asdlc/asdlc/passes/method"
)

func newMethods(e *env) *cobra.Command {
	var preset string
	var asJSON, asYAML bool
	c := &cobra.Command{
		Use:   "methods [NAME]",
		Short: "List the preconditioning methods, or all of one",
		Long: `List the preconditioning methods; with a name, what it is, the state that it keeps for a layer of each kind, what it
computes beyond a training pass, the tests that it is proven by, and every field that --set can change.

A method is a curvature matrix, its representation, how statistics accumulate, how they are solved, and how the result
is applied. NAME.yaml or NAME.json is a record of your own: --yaml prints one to start from.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				if asYAML {
					return usagef("--yaml prints one method; name it")
				}
				return e.listMethods(preset, asJSON)
			}
			rec, err := lookupMethod(args[0], preset)
			if err != nil {
				return err
			}
			switch {
			case asYAML && asJSON:
				return usagef("--yaml or --json, not both")
			case asYAML:
				_, err = fmt.Fprint(e.stdout, rec.YAML())
				return err
			case asJSON:
				return printJSON(e.stdout, describeMethod(rec))
			}
			printMethod(e.stdout, describeMethod(rec))
			return nil
		},
	}
	c.Flags().StringVar(&preset, "preset", "paper", "conventions: paper, or asdl (those of the PyTorch library ASDL)")
	c.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	c.Flags().BoolVar(&asYAML, "yaml", false, "print the record as YAML, which --method FILE.yaml reads")
	return c
}

// methodDescription is the JSON form of what is told of one method: its record, and what follows from it.
type methodDescription struct {
	method.Record
	Equations   string             `json:"equations,omitempty"`
	Oracles     []string           `json:"oracles"`
	ExtraPasses string             `json:"extra_passes,omitempty"`
	State       []passes.KindState `json:"state"`
}

func describeMethod(rec method.Record) methodDescription {
	return methodDescription{rec, rec.Equations, append([]string{}, strings.Fields(rec.Oracles)...), rec.ExtraPasses(), passes.StateShapes(rec)}
}

func printMethod(w io.Writer, d methodDescription) {
	fmt.Fprintf(w, "%s: %s\n", d.Name, dash(d.Doc))
	t := newTable()
	t.add("published in", dash(d.Cite))
	t.add("equations", dash(d.Record.Equations))
	t.add("beyond a training pass", cmp.Or(d.ExtraPasses, "nothing"))
	t.add("tests", dash(strings.Join(d.Oracles, ", ")))
	t.write(w)
	fmt.Fprintln(w)
	t = newTable("layer", "parameters", "of", "state")
	for _, k := range d.State {
		if k.Error != "" {
			t.add(k.Kind, k.Layer, "", "not possible: "+k.Error)
		}
		for _, b := range k.Blocks {
			var slots []string
			for _, s := range b.State {
				slots = append(slots, s.Slot+" "+s.Shape)
			}
			state := cmp.Or(strings.Join(slots, ", "), "none")
			if b.Reason != "" {
				state += " (" + b.Treatment + ")"
			}
			t.add(k.Kind, k.Layer, strings.Join(b.Params, ", "), state)
			k.Kind, k.Layer = "", ""
		}
	}
	t.write(w)
	fmt.Fprintf(w, "\nFields, with their values under the preset %q (--set FIELD=VALUE):\n", d.Preset)
	t = newTable("field", "value")
	for _, f := range recordFields(d.Record) {
		t.add("  "+f.path, f.value)
	}
	t.write(w)
}

// lookupMethod is the record of that name under a preset, or that of a file.
func lookupMethod(name, preset string) (method.Record, error) {
	if isRecordFile(name) {
		return readRecord(name, preset)
	}
	rec, ok := method.Lookup(name)
	if !ok {
		return rec, usagef("no method %q: want one of %s, or a file NAME.yaml or NAME.json", name, strings.Join(method.Names(), ", "))
	}
	return method.WithPreset(rec, preset)
}

func isRecordFile(name string) bool {
	return slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(name))
}

// readRecord reads a record of the user's own; the preset is the file's.
func readRecord(path, preset string) (method.Record, error) {
	if preset != "paper" {
		return method.Record{}, usagef("--preset %s with %s: write preset: %s into the file, beside base: METHOD", preset, path, preset)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return method.Record{}, err
	}
	rec, err := method.Parse(data)
	if err != nil {
		return rec, usagef("%s: %v", path, err)
	}
	return rec, nil
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
	if p := r.Solve.Probability.Floor; p > 0 {
		c.solve += fmt.Sprintf(", probability 1 to %g", p)
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
