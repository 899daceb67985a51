package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/onnx"
	"github.com/asdlc/asdlc/runtime"
	"github.com/asdlc/asdlc/runtime/data"
	"github.com/asdlc/asdlc/runtime/kernel"
)

func newRun(e *env) *cobra.Command {
	var init, feeds, out, dtype string
	var steps, threads int
	var every, force bool
	c := &cobra.Command{
		Use:   "run STEP.onnx [--init INIT.onnx] --feeds FEEDS.npz [--steps N] -o OUT.npz",
		Short: "Run a step graph, or any model, on arrays",
		Long: `Run a step graph, or any supported ONNX model, on arrays.

FEEDS.npz holds an array for each input name; NAME@k is for step k alone (from 0). State is carried from step to
step. OUT.npz gets the outputs of the last step, with --every those of every step as NAME@k.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if steps < 1 {
				return usagef("--steps %d: want at least 1", steps)
			}
			if dtype != "" && dtype != "float32" && dtype != "float64" {
				return usagef("--dtype %s: want float32 or float64", dtype)
			}
			if out == "" {
				return usagef("-o OUT.npz is required")
			}
			if same(out, args[0]) || same(out, init) || same(out, feeds) {
				return usagef("%s is an input file; choose another name with -o", out)
			}
			if err := checkAbsent(out, force); err != nil {
				return err
			}
			r, err := openRun(args[0], init, runtime.Options{Float64: dtype == "float64", Threads: threads})
			if err != nil {
				return err
			}
			defer r.close()
			arrays := map[string]*data.Array{}
			if feeds != "" {
				if arrays, err = data.ReadNPZ(feeds); err != nil {
					return err
				}
			}
			results, err := r.steps(arrays, steps, every)
			if err != nil {
				return err
			}
			if err := data.WriteNPZ(out, results); err != nil {
				return err
			}
			fmt.Fprintf(e.stdout, "%d steps, %d arrays written to %s\n", steps, len(results), out)
			return nil
		},
	}
	fs := c.Flags()
	fs.StringVar(&init, "init", "", "model that gives the initial state (default STEP.init.onnx where it exists)")
	fs.StringVar(&feeds, "feeds", "", "arrays to feed")
	fs.IntVar(&steps, "steps", 1, "number of steps")
	fs.BoolVar(&every, "every", false, "write the outputs of every step, as NAME@k")
	fs.StringVarP(&out, "output", "o", "", "arrays to write")
	fs.StringVar(&dtype, "dtype", "", "float64 runs a float32 graph in float64")
	fs.IntVar(&threads, "threads", 0, "number of threads (default: one a CPU)")
	fs.BoolVarP(&force, "force", "f", false, "overwrite an existing file")
	return c
}

// runner runs a model step by step on arrays.
type runner struct {
	session *runtime.Session
	solves  *runtime.Background
}

func openRun(path, initPath string, opts runtime.Options) (*runner, error) {
	m, err := onnx.Read(path)
	if err != nil {
		return nil, err
	}
	s, err := runtime.NewSession(m, opts)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if initPath == "" && m.Metadata["asdl.contract"] != "" {
		initPath = defaultInit(path)
	}
	if initPath != "" {
		im, err := onnx.Read(initPath)
		if err != nil {
			return nil, err
		}
		if err := s.LoadInit(im); err != nil {
			return nil, fmt.Errorf("%s: %w", initPath, err)
		}
	}
	graphs, err := openSolves(path, m)
	if err != nil {
		return nil, err
	}
	solves, err := runtime.NewBackground(s, graphs)
	if err != nil {
		return nil, err
	}
	return &runner{s, solves}, nil
}

// openSolves reads the graphs of delayed solves that are beside a step graph.
func openSolves(path string, step *graph.Model) (map[string]*graph.Model, error) {
	names, err := runtime.DelayedSolves(step)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	graphs := map[string]*graph.Model{}
	for _, name := range names {
		if graphs[name], err = onnx.Read(strings.TrimSuffix(path, ".onnx") + "." + name + ".onnx"); err != nil {
			return nil, err
		}
	}
	return graphs, nil
}

// defaultInit is the initialisation model beside a step graph, if it is there.
func defaultInit(step string) string {
	path := strings.TrimSuffix(step, ".onnx") + ".init.onnx"
	if checkAbsent(path, false) != nil {
		return path
	}
	return ""
}

func (r *runner) close() {
	_ = r.solves.Close()
	_ = r.session.Close()
}

// steps runs n steps; results holds the outputs of the last one, or of all as NAME@k. They are valid until the next step.
func (r *runner) steps(arrays map[string]*data.Array, n int, every bool) (map[string]*data.Array, error) {
	constant := map[string]*kernel.Tensor{}
	at := map[int]map[string]*kernel.Tensor{}
	for name, a := range arrays {
		t, err := runtime.FromArray(a)
		if err != nil {
			return nil, fmt.Errorf("array %s: %w", name, err)
		}
		base, k, ok := stepName(name)
		t = floatAs(t, r.elem(base))
		if ok {
			if at[k] == nil {
				at[k] = map[string]*kernel.Tensor{}
			}
			at[k][base] = t
		} else {
			constant[name] = t
		}
	}
	var fetch []string
	for _, p := range r.session.Outputs() {
		fetch = append(fetch, p.Name)
	}
	results := map[string]*data.Array{}
	for k := range n {
		feeds := map[string]*kernel.Tensor{}
		for name, t := range constant {
			if k == 0 || !r.isState(name) {
				feeds[name] = t
			}
		}
		for name, t := range at[k] {
			feeds[name] = t
		}
		if err := r.solves.Before(); err != nil {
			return nil, err
		}
		copied := []string{}
		if every {
			copied = fetch
		}
		outs, err := r.session.Run(feeds, copied)
		if err != nil {
			return nil, fmt.Errorf("step %d: %w", k, err)
		}
		if err := r.solves.After(); err != nil {
			return nil, err
		}
		if !every && k == n-1 {
			if outs, err = r.views(fetch); err != nil {
				return nil, err
			}
		}
		for name, t := range outs {
			if every {
				name = fmt.Sprintf("%s@%d", name, k)
			}
			a, err := runtime.ToArray(t)
			if err != nil {
				return nil, fmt.Errorf("output %s: %w", name, err)
			}
			results[name] = a
		}
	}
	return results, nil
}

// views are the outputs of the last step, where the session has them.
func (r *runner) views(names []string) (map[string]*kernel.Tensor, error) {
	outs := map[string]*kernel.Tensor{}
	for _, name := range names {
		t, err := r.session.Output(name)
		if err != nil {
			return nil, err
		}
		outs[name] = t
	}
	return outs, nil
}

// elem is the element type of the input of that name; Undefined if there is none.
func (r *runner) elem(name string) graph.Elem {
	for _, p := range r.session.Inputs() {
		if p.Name == name {
			return p.Type.Elem
		}
	}
	return graph.Undefined
}

// floatAs converts between float32 and float64, so that arrays of either feed a model of either.
func floatAs(t *kernel.Tensor, e graph.Elem) *kernel.Tensor {
	switch {
	case t.Elem == graph.Float32 && e == graph.Float64:
		return runtime.Widen(t)
	case t.Elem == graph.Float64 && e == graph.Float32:
		return runtime.Narrow(t)
	}
	return t
}

func (r *runner) isState(name string) bool {
	for _, s := range r.session.States() {
		if s.In == name {
			return true
		}
	}
	return false
}

// stepName splits NAME@k.
func stepName(name string) (base string, k int, ok bool) {
	i := strings.LastIndexByte(name, '@')
	if i < 0 {
		return name, 0, false
	}
	k, err := strconv.Atoi(name[i+1:])
	if err != nil || k < 0 {
		return name, 0, false
	}
	return name[:i], k, true
}
