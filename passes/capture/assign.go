package capture

import (
	"fmt"
	"slices"
	"strings"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
)

// assign gives each parameter the record of the last override that matches it or a layer that uses it, in the attribute
// "record" of its Param tag.
func assign(g *graph.Graph, mix method.Mix) error {
	if len(mix.Overrides) == 0 {
		return nil
	}
	layers, owner := pass.LayersOf(g), map[*graph.Value][]pass.Layer{}
	for _, l := range layers {
		for _, p := range l.Params() {
			owner[p.Value] = append(owner[p.Value], l)
		}
	}
	used := make([]bool, len(mix.Overrides))
	for _, p := range pass.Params(g, "param") {
		for i, o := range mix.Overrides {
			if overrides(o, p, owner[p.Value]) {
				used[i] = true
				p.Node.SetAttr(graph.I("record", int64(mix.Index(o))))
			}
		}
	}
	for i, o := range mix.Overrides {
		if !used[i] {
			return &pass.OptionError{Option: "layer", Value: o.Pattern, Want: "a pattern that matches a layer or parameter: " + choices(g, layers, owner)}
		}
	}
	for _, p := range pass.Params(g, "param") {
		if p.Record() == 0 { // what the default's record had is what no attribute says
			p.Node.RemoveAttr("record")
		}
	}
	return nil
}

func overrides(o method.Override, p pass.Param, layers []pass.Layer) bool {
	if len(layers) == 0 {
		return o.Matches(p.Name(), "parameter")
	}
	return o.Matches(p.Name(), "") || slices.ContainsFunc(layers, func(l pass.Layer) bool { return o.Matches(l.Name, l.Kind) })
}

// choices lists what a pattern can match: layers with their kinds, and parameters outside layers.
func choices(g *graph.Graph, layers []pass.Layer, owner map[*graph.Value][]pass.Layer) string {
	var list []string
	for _, l := range layers {
		list = append(list, fmt.Sprintf("%s (%s)", l.Name, l.Kind))
	}
	for _, p := range pass.Params(g, "param") {
		if len(owner[p.Value]) == 0 {
			list = append(list, p.Name()+" (parameter)")
		}
	}
	return strings.Join(list, ", ")
}
