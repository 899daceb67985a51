package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/onnx"
	"github.com/asdlc/asdlc/passes"
	"github.com/asdlc/asdlc/passes/pass"
)

func newInstrument(e *env) *cobra.Command {
	var f methodFlags
	var out string
	var outputs []string
	var force, dryRun, asJSON bool
	c := &cobra.Command{
		Use:   "instrument MODEL.onnx --method M [-o STEP.onnx]",
		Short: "Compile a model into a training-step graph",
		Long: `Compile a model into a training-step graph: state in, state out, in standard ONNX.

Writes STEP.onnx (default MODEL.METHOD.onnx) and STEP.init.onnx, which has no inputs and returns the
initial value of every input of the step graph that is not data. With --split, steps on which statistics
or inverses are refreshed have graphs of their own, STEP.refresh.onnx and so on.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			mix, err := f.mix()
			if err != nil {
				return err
			}
			o, err := f.resolved()
			if err != nil {
				return err
			}
			for _, name := range outputs {
				switch name {
				case "grad":
					o.OutputGrad = true
				case "precond":
					o.OutputPrecond = true
				default:
					return usagef("--outputs %s: want grad, precond", name)
				}
			}
			m, err := onnx.Read(args[0])
			if err != nil {
				return err
			}
			digest, err := onnx.Digest(args[0])
			if err != nil {
				return err
			}
			r, err := passes.InstrumentMix(m, mix, o, digest)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			if out == "" {
				out = strings.TrimSuffix(args[0], ".onnx") + "." + mix.Default.Name + ".onnx"
			}
			files := resultFiles(out, r)
			if !dryRun {
				if err := writeModels(files, force, args[0]); err != nil {
					return err
				}
			}
			return e.reportInstrument(r, files, dryRun, asJSON)
		},
	}
	fs := c.Flags()
	f.register(fs)
	o := &f.options
	fs.StringVarP(&out, "output", "o", "", "step graph to write")
	fs.StringSliceVar(&outputs, "outputs", nil, "also output: grad, precond")
	fs.StringVar(&o.Emit, "emit", "update", "update (parameters change), or gradient (preconditioned gradients only)")
	fs.StringVar(&o.Noise, "noise", "hash", "random numbers: hash (from asdl/seed and asdl/step), or input")
	fs.Int64Var(&o.Batch, "batch", 0, "batch size that the step graph is meant for: decides how preconditioners are applied; it runs on any")
	fs.BoolVar(&o.Inline, "inline", false, "expand asdl functions, for tools that know no functions")
	fs.BoolVar(&o.Split, "split", false, "separate step graphs for refresh steps instead of If")
	fs.BoolVar(&o.Embed, "embed", false, "initial state as overridable initializers of the step graph")
	fs.BoolVarP(&force, "force", "f", false, "overwrite existing files")
	fs.BoolVar(&dryRun, "dry-run", false, "compile and report, write nothing")
	fs.BoolVar(&asJSON, "json", false, "report as JSON")
	return c
}

// modelFile is a model and where it is to be written.
type modelFile struct {
	Path  string
	Model *graph.Model
}

// resultFiles names the files of a compilation.
func resultFiles(out string, r *passes.Result) []modelFile {
	base := strings.TrimSuffix(out, ".onnx")
	files := []modelFile{{out, r.Step}}
	for _, v := range slices.Concat(r.Variants, r.Solves) {
		files = append(files, modelFile{base + "." + v.Name + ".onnx", v.Model})
	}
	return append(files, modelFile{base + ".init.onnx", r.Init})
}

// writeModels writes all files or none: existing ones are found before the first is written, and after a failure those
// that were not there before are removed.
func writeModels(files []modelFile, force bool, input string) error {
	for _, f := range files {
		if same(f.Path, input) {
			return usagef("%s is the input file; choose another name with -o", f.Path)
		}
		if err := checkAbsent(f.Path, force); err != nil {
			return err
		}
	}
	var fresh []string
	for _, f := range files {
		absent := checkAbsent(f.Path, false) == nil
		if err := onnx.Write(f.Path, f.Model, onnx.WriteOptions{Overwrite: force}); err != nil {
			for _, path := range fresh {
				os.Remove(path)
			}
			return err
		}
		if absent {
			fresh = append(fresh, f.Path)
		}
	}
	return nil
}

// same reports whether two paths lead to one file; the first need not exist.
func same(a, b string) bool {
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}

// instrumentReport is the JSON form of what instrument says.
type instrumentReport struct {
	Files    []string         `json:"files"`
	Nodes    int              `json:"nodes"`
	Opset    int              `json:"opset"`
	Layers   []pass.LayerNote `json:"layers"`
	Notes    []string         `json:"notes"`
	Passes   []pass.Stat      `json:"passes"`
	StateLen int              `json:"state_bytes"`
}

func (e *env) reportInstrument(r *passes.Result, files []modelFile, dryRun, asJSON bool) error {
	rep := instrumentReport{Opset: r.Step.Opset(), Layers: r.Report.Layers, Notes: r.Report.Notes, Passes: r.Report.Stats}
	for _, f := range files {
		rep.Files = append(rep.Files, f.Path)
	}
	for range r.Step.Graph.All() {
		rep.Nodes++
	}
	for _, in := range r.Step.Graph.Inputs() {
		if strings.HasPrefix(in.Name, "asdl/") {
			if shape, ok := in.Type.Static(); ok {
				if n, err := graph.CountOf(shape, in.Type.Elem.Size()); err == nil {
					rep.StateLen += int(n) * in.Type.Elem.Size()
				}
			}
		}
	}
	if asJSON {
		return printJSON(e.stdout, rep)
	}
	t := newTable("layer", "kind", "parameters", "treatment")
	for _, l := range rep.Layers {
		treatment := l.Treatment
		if l.Fallback {
			treatment = "fall-back: " + treatment + " (" + l.Reason + ")"
		}
		if l.Method != "" {
			treatment = l.Method + ": " + treatment
		}
		t.add(l.Layer, l.Kind, strings.Join(l.Params, ", "), treatment)
	}
	t.write(e.stdout)
	for _, n := range rep.Notes {
		fmt.Fprintln(e.stdout, "note:", n)
	}
	verb := "wrote"
	if dryRun {
		verb = "would write"
	}
	fmt.Fprintf(e.stdout, "%d nodes at opset %d, %s of optimiser and curvature state\n", rep.Nodes, rep.Opset, byteSize(rep.StateLen))
	fmt.Fprintf(e.stdout, "%s %s\n", verb, strings.Join(slices.Clone(rep.Files), ", "))
	return nil
}
