package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/autodiff"
	"github.com/asdlc/asdlc/runtime/kernel"
)

func newOps(e *env) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "ops [OPERATOR...]",
		Short: "List the operators: versions, kernels, derivatives",
		Long: `List the operators that models may consist of, from the tables of the compiler and the runtime.

opsets   versions of the operator set in which the operator changed, as far as they are told apart
float32  kernels for float32, the preferred one first ("control": run by the runtime itself)
float64  the same for float64
other    a kernel exists for other element types only
vjp      reverse-mode derivative: its class (linear, bilinear, smooth; zero: nothing flows back), or -
jvp      forward-mode derivative, the same`,
		Args: cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, args []string) error {
			rows := supportTable()
			for _, name := range args {
				if !slices.ContainsFunc(rows, func(r opSupport) bool { return r.Op == name }) {
					return usagef("no operator %q: names are spelled as ONNX does, as in MatMul", name)
				}
			}
			if len(args) > 0 {
				rows = slices.DeleteFunc(rows, func(r opSupport) bool { return !slices.Contains(args, r.Op) })
			}
			if asJSON {
				return printJSON(e.stdout, rows)
			}
			t := newTable("operator", "opsets", "float32", "float64", "other", "vjp", "jvp")
			for _, r := range rows {
				t.add(r.Op, joinInts(r.Opsets), dash(strings.Join(r.Float32, " ")), dash(strings.Join(r.Float64, " ")),
					dash(strings.Join(r.Other, " ")), dash(r.VJP), dash(r.JVP))
			}
			t.write(e.stdout)
			fmt.Fprintf(e.stdout, "%d operators\n", len(rows))
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return c
}

// opSupport is a row of the support matrix.
type opSupport struct {
	Op      string   `json:"op"` // functions of asdlc itself are asdl.NAME
	Opsets  []int    `json:"opsets"`
	Float32 []string `json:"float32"` // notes of the kernels, the preferred one first
	Float64 []string `json:"float64"`
	Other   []string `json:"other"` // of kernels that serve neither
	VJP     string   `json:"vjp"`   // class of the rule, "" for none
	JVP     string   `json:"jvp"`
}

// supportTable joins the operator, kernel and derivative tables.
func supportTable() []opSupport {
	registry, err := kernel.NewRegistry(kernel.Default()...)
	if err != nil {
		panic(err.Error())
	}
	rules := map[string]autodiff.Rule{}
	for _, r := range autodiff.Rules() {
		if r.Domain == "" {
			rules[r.Op] = r // of several forms the newest
		}
	}
	var rows []opSupport
	for s := range op.Schemas() {
		if s.Domain != "" {
			continue // tags of the compiler, which no file has
		}
		if k := len(rows) - 1; k >= 0 && rows[k].Op == s.Name {
			rows[k].Opsets = append(rows[k].Opsets, s.Since)
			continue
		}
		row := opSupport{Op: s.Name, Opsets: []int{s.Since}}
		row.kernels(registry, "", s.Name)
		if r, ok := rules[s.Name]; ok {
			row.derivatives(r)
		}
		rows = append(rows, row)
	}
	return append(rows, functionRows(registry)...)
}

// functionRows are asdlc's own functions that have kernels; elsewhere they run as the functions that the file holds.
func functionRows(registry *kernel.Registry) []opSupport {
	var rows []opSupport
	for _, table := range kernel.Default() {
		for _, k := range table {
			name := graph.Asdl + "." + k.Op
			if k.Domain != graph.Asdl || slices.ContainsFunc(rows, func(r opSupport) bool { return r.Op == name }) {
				continue
			}
			row := opSupport{Op: name, Opsets: []int{1}}
			row.kernels(registry, k.Domain, k.Op)
			rows = append(rows, row)
		}
	}
	return rows
}

// kernels fills in the kernels of an operator.
func (s *opSupport) kernels(registry *kernel.Registry, domain, name string) {
	s.Float32, s.Float64, s.Other = []string{}, []string{}, []string{}
	if domain == "" && slices.Contains([]string{"If", "Loop", "Scan"}, name) {
		s.Float32, s.Float64 = []string{"control"}, []string{"control"}
		return
	}
	add := func(list *[]string, note string) {
		if !slices.Contains(*list, note) {
			*list = append(*list, note)
		}
	}
	for _, k := range registry.Rows(domain, name) {
		serves := func(e graph.Elem) bool { return k.Elems == nil || slices.Contains(k.Elems, e) }
		if serves(graph.Float32) {
			add(&s.Float32, k.Note)
		}
		if serves(graph.Float64) {
			add(&s.Float64, k.Note)
		}
		if !serves(graph.Float32) && !serves(graph.Float64) {
			add(&s.Other, k.Note)
		}
	}
	if len(s.Float32)+len(s.Float64) > 0 {
		s.Other = []string{}
	}
}

// derivatives fills in the derivatives that a rule gives. A linear or bilinear operator is its own forward derivative.
func (s *opSupport) derivatives(r autodiff.Rule) {
	if r.Kind == autodiff.Zero || r.VJP != nil {
		s.VJP = r.Kind.String()
	}
	if r.Kind != autodiff.Smooth || r.JVP != nil {
		s.JVP = r.Kind.String()
	}
}

func joinInts(ns []int) string {
	parts := make([]string, len(ns))
	for i, n := range ns {
		parts[i] = strconv.Itoa(n)
	}
	return strings.Join(parts, ",")
}

// dash stands for an empty cell.
func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
