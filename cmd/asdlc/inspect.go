package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes"
	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
)

func newInspect(e *env) *cobra.Command {
	var names []string
	var preset string
	var options pass.Options
	var asJSON bool
	c := &cobra.Command{
		Use:   "inspect MODEL.onnx",
		Short: "Show inputs, parameters, layers and the state that methods would keep",
		Long: `Show what the compiler sees in a model: inputs and outputs, parameters, layers, what exporters merged or froze, and
for each method of --methods the state that it would keep for each layer. The flags that instrument has for the reading
of a model, such as --keep-ties and --bn, show what becomes of it with them. Operators that keep the model from being
trained are listed, with exit code 3.

Of a step graph, made by asdlc instrument, the contract is shown: inputs by role, state, hyper-parameters.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			m, err := readModel(args[0], c.InOrStdin())
			if err != nil {
				return err
			}
			if m.Metadata["asdl.contract"] != "" {
				return e.inspectStep(args[0], m, asJSON)
			}
			var recs []method.Record
			for _, name := range names {
				rec, err := lookupMethod(name, preset)
				if err != nil {
					return err
				}
				recs = append(recs, rec)
			}
			r, err := passes.Inspect(m, options, recs...)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			if asJSON {
				err = printJSON(e.stdout, r)
			} else {
				printInspection(e.stdout, r)
			}
			if len(r.Unsupported) > 0 {
				return errors.Join(err, &unsupportedError{args[0], r.Unsupported})
			}
			return err
		},
	}
	fs := c.Flags()
	fs.StringSliceVar(&names, "methods", []string{"kfac", "shampoo"}, "methods whose state to show; none with --methods ''")
	fs.StringVar(&preset, "preset", "paper", "conventions of the methods: paper or asdl")
	readFlags(fs, &options)
	fs.BoolVar(&asJSON, "json", false, "print as JSON")
	return c
}

// unsupportedError tells how many nodes keep a model from being trained; they have been listed.
type unsupportedError struct {
	path  string
	nodes []passes.Unsupported
}

func (e *unsupportedError) Error() string {
	var ops []string
	for _, u := range e.nodes {
		if !slices.Contains(ops, u.Op) {
			ops = append(ops, u.Op)
		}
	}
	return fmt.Sprintf("%s: %d unsupported nodes (%s); export the model with others (asdlc ops lists what each operator has)", e.path, len(e.nodes), strings.Join(ops, ", "))
}

func (e *unsupportedError) Unwrap() error { return graph.ErrUnsupported }

func printInspection(w io.Writer, r *passes.Inspection) {
	fmt.Fprintf(w, "opset %d, IR version %d, %d nodes", r.Opset, r.IRVersion, r.Nodes)
	if r.Functions > 0 {
		fmt.Fprintf(w, ", %d functions", r.Functions)
	}
	if r.Producer != "" {
		fmt.Fprintf(w, ", by %s", r.Producer)
	}
	fmt.Fprint(w, "\n\n")
	ports := newTable("", "name", "type")
	for _, p := range r.Inputs {
		ports.add("input", p.Name, p.Type)
	}
	for _, p := range r.Outputs {
		ports.add("output", p.Name, p.Type)
	}
	ports.write(w)
	printParameters(w, r.Parameters)
	printLayers(w, r.Layers)
	for _, n := range r.Notes {
		fmt.Fprintln(w, "note:", n)
	}
	for _, p := range r.Plans {
		printPlan(w, p)
	}
	if len(r.Unsupported) > 0 {
		fmt.Fprintln(w)
		t := newTable("unsupported node", "operator", "opset", "scope", "why")
		for _, u := range r.Unsupported {
			t.add(u.Node, u.Op, fmt.Sprint(u.Opset), dash(u.Scope), u.Why)
		}
		t.write(w)
	}
}

func printParameters(w io.Writer, ps []passes.Parameter) {
	if len(ps) == 0 {
		return
	}
	fmt.Fprintln(w)
	t := newTable("parameter", "kind", "shape", "elements", "in the file")
	count, bytes := 0, 0
	for _, p := range ps {
		t.add(p.Name, p.Kind, shapeText(p.Shape), fmt.Sprint(p.Count), dash(inFile(p)))
		if p.Kind == "param" {
			count += p.Count
			bytes += p.Bytes
		}
	}
	t.write(w)
	fmt.Fprintf(w, "%d parameters in all, %s\n", count, byteSize(bytes))
}

// inFile tells how the file holds a parameter, where that is not simply under its name.
func inFile(p passes.Parameter) string {
	var parts []string
	if p.File != "" {
		parts = append(parts, p.File)
	}
	if p.Merged != "" {
		parts = append(parts, "merged with "+p.Merged)
	}
	if p.Transposed {
		parts = append(parts, "transposed")
	}
	if p.Folded {
		parts = append(parts, "BatchNormalization folded in")
	}
	return strings.Join(parts, ", ")
}

func printLayers(w io.Writer, ls []passes.Layer) {
	if len(ls) == 0 {
		return
	}
	fmt.Fprintln(w)
	t := newTable("layer", "kind", "input", "output", "parameters", "sharing")
	for _, l := range ls {
		var sharing []string
		if l.Shared {
			sharing = append(sharing, "positions")
		}
		if len(l.Tied) > 0 {
			sharing = append(sharing, "tied with "+strings.Join(l.Tied, ", "))
		}
		t.add(l.Name, l.Kind, l.Input, l.Output, strings.Join(l.Params, ", "), dash(strings.Join(sharing, "; ")))
	}
	t.write(w)
}

func printPlan(w io.Writer, p passes.Plan) {
	fmt.Fprintf(w, "\nunder %s", p.Method)
	if p.Error != "" {
		fmt.Fprintf(w, ": cannot be compiled: %s\n", p.Error)
		return
	}
	fmt.Fprintf(w, ": %s of state\n", byteSize(p.Bytes))
	t := newTable("  layer", "kind", "treatment", "curvature", "bytes")
	for _, b := range p.Blocks {
		treatment := b.Treatment
		if b.Fallback {
			treatment = "fall-back: " + treatment + " (" + b.Reason + ")"
		}
		var factors []string
		for _, f := range b.Factors {
			if f.Kind == "curvature" && len(f.Shape) > 0 {
				factors = append(factors, f.Name[strings.LastIndexByte(f.Name, '/')+1:]+" "+shapeText(f.Shape))
			}
		}
		t.add("  "+b.Layer, b.Kind, treatment, dash(strings.Join(factors, ", ")), byteSize(b.Bytes))
	}
	t.write(w)
}

// shapeText writes a shape as 512x784; a scalar is "scalar".
func shapeText(shape []int64) string {
	if len(shape) == 0 {
		return "scalar"
	}
	parts := make([]string, len(shape))
	for i, n := range shape {
		parts[i] = fmt.Sprint(n)
	}
	return strings.Join(parts, "x")
}
