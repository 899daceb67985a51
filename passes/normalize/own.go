package normalize

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/pass"
)

// own gives every parameter of the file one initializer of its own with a readable name, so far as the file tells which
// these are, and ties again what the program had tied. It runs on the main graph as the file has it: what it did can be found
// out again from the file alone (see Restore).
func own(c *pass.Ctx, m *graph.Model) error {
	o, err := newOwner(c.Options, m)
	if err != nil {
		return err
	}
	if !c.Options.KeepTies {
		o.separate()
	}
	renamed := o.renames()
	for _, r := range renamed {
		r.value.Rename(r.name)
	}
	for _, t := range o.ties() {
		if c.Options.Tie == "none" {
			c.Note(fmt.Sprintf("%s has the values of %s, an embedding and the last layer of one network, most likely tied before the export; they train apart", t.copy, t.table))
			continue
		}
		c.Note(fmt.Sprintf("%s has the values of %s: the exporter broke the tie of an embedding and the last layer, and they are one parameter again; keep them apart with --tie none", t.copy, t.table))
		o.retie(t)
	}
	o.tell(c, renamed)
	return nil
}

// part is a row: what input Index of operator Op (-1: any) is to the module that computes it.
type part struct {
	Op    string
	Index int
	Name  string
	Weak  bool // any operand, so that other evidence must tell that it is a parameter
}

var parts = []part{
	{Op: "Gemm", Index: 1, Name: "weight"},
	{Op: "Gemm", Index: 2, Name: "bias"},
	{Op: "MatMul", Index: 0, Name: "weight"},
	{Op: "MatMul", Index: 1, Name: "weight"},
	{Op: "Conv", Index: 1, Name: "weight"},
	{Op: "Conv", Index: 2, Name: "bias"},
	{Op: "ConvTranspose", Index: 1, Name: "weight"},
	{Op: "ConvTranspose", Index: 2, Name: "bias"},
	{Op: "BatchNormalization", Index: 1, Name: "weight"},
	{Op: "BatchNormalization", Index: 2, Name: "bias"},
	{Op: "BatchNormalization", Index: 3, Name: "running_mean"},
	{Op: "BatchNormalization", Index: 4, Name: "running_var"},
	{Op: "LayerNormalization", Index: 1, Name: "weight"},
	{Op: "LayerNormalization", Index: 2, Name: "bias"},
	{Op: "InstanceNormalization", Index: 1, Name: "weight"},
	{Op: "InstanceNormalization", Index: 2, Name: "bias"},
	{Op: "GroupNormalization", Index: 1, Name: "weight"},
	{Op: "GroupNormalization", Index: 2, Name: "bias"},
	{Op: "RMSNormalization", Index: 1, Name: "weight"},
	{Op: "Gather", Index: 0, Name: "weight"},
	{Op: "PRelu", Index: 1, Name: "weight"},
	{Op: "Transpose", Index: 0, Name: "weight"},
	{Op: "RNN", Index: 1, Name: "W"},
	{Op: "RNN", Index: 2, Name: "R"},
	{Op: "RNN", Index: 3, Name: "B"},
	{Op: "GRU", Index: 1, Name: "W"},
	{Op: "GRU", Index: 2, Name: "R"},
	{Op: "GRU", Index: 3, Name: "B"},
	{Op: "LSTM", Index: 1, Name: "W"},
	{Op: "LSTM", Index: 2, Name: "R"},
	{Op: "LSTM", Index: 3, Name: "B"},
	{Op: "Add", Index: -1, Name: "bias", Weak: true},
	{Op: "Mul", Index: -1, Name: "weight", Weak: true},
}

// partOf is the row for a use; ok is false where an operator's input is no part of a module.
func partOf(u graph.Use) (p part, ok bool) {
	if u.Node.Domain != "" {
		return p, false
	}
	for _, p := range parts {
		if p.Op == u.Node.Op && (p.Index == u.Index || p.Index == -1) {
			return p, true
		}
	}
	return p, false
}

// owner looks at the parameters of one file.
type owner struct {
	options   pass.Options
	g         *graph.Graph
	paths     map[string]bool         // module paths of nodes
	prefixes  map[string]bool         // module paths of initializers and identities, by their names
	merged    map[*graph.Value]string // parameters that had been merged, and with which
	separated []*graph.Value          // their order
	folded    []*graph.Value          // weights of convolutions with a normalisation folded into them
}

func newOwner(options pass.Options, m *graph.Model) (*owner, error) {
	switch options.Tie {
	case "", "auto", "none":
	default:
		return nil, &pass.OptionError{Option: "tie", Value: options.Tie, Want: "auto or none"}
	}
	o := &owner{options: options, g: m.Graph, paths: map[string]bool{}, prefixes: map[string]bool{}, merged: map[*graph.Value]string{}}
	for n := range m.Graph.Nodes() {
		o.paths[pass.ModulePath(n)] = true
		if n.Is("", "Identity") {
			o.addPrefixes(n.Out(0).Name)
		}
	}
	for _, v := range m.Graph.Initializers() {
		o.addPrefixes(v.Name)
	}
	return o, nil
}

func (o *owner) addPrefixes(name string) {
	for i := range name {
		if name[i] == '.' {
			o.prefixes[name[:i]] = true
		}
	}
}

// again is the suffix that exporters give to the path of a module on its second and later calls.
var again = regexp.MustCompile(`_\d+$`)

// module is the path of the module that a node belongs to, the same for all calls of one module: a.fc_1 is the second call of a.fc if
// there is a module a.fc, and no parameter of a module a.fc_1.
func (o *owner) module(n *graph.Node) string {
	segments := strings.Split(pass.ModulePath(n), ".")
	for i := range segments {
		path := strings.Join(segments[:i+1], ".")
		first := again.ReplaceAllString(path, "")
		if first != path && o.paths[first] && !o.prefixes[path] {
			segments[i] = again.ReplaceAllString(segments[i], "")
		}
	}
	return strings.Join(segments, ".")
}

// home is a parameter's place: a module, and what it is to it.
type home struct{ module, name string }

// homeOf finds the place of a use of v; strong tells that only a parameter can be there.
func (o *owner) homeOf(v *graph.Value, u graph.Use) (h home, strong, ok bool) {
	h.module = o.module(u.Node)
	if own, found := strings.CutPrefix(v.Name, h.module+"."); found && h.module != "" && !strings.Contains(own, ".") {
		h.name = own
		return h, true, true
	}
	p, ok := partOf(u)
	h.name = p.Name
	return h, ok && !p.Weak, ok && h.module != ""
}

// rename is a new name for a value of the file.
type rename struct {
	value      *graph.Value
	old, name  string
	transposed bool
}

// folding matches the name that the dynamo exporter gives to the bias of a convolution into which it folds a normalisation.
var folding = regexp.MustCompile(`\.weight_bias$`)

// renames lists readable names for parameters whose names an exporter made up: the module's path, and what they are to it.
func (o *owner) renames() []rename {
	var all []rename
	taken := map[string]bool{}
	for _, v := range o.g.Initializers() {
		u, used := firstUse(v)
		if !v.Type.Elem.IsFloat() || !used {
			continue
		}
		name := ""
		switch {
		case folding.MatchString(v.Name):
			o.folded = append(o.folded, v)
			name = folding.ReplaceAllString(v.Name, ".bias")
		case pass.MadeUp(v.Name):
			h, strong, ok := o.homeOf(v, u)
			if !ok || v.Const().Len() <= 1 && !strong || isNeutral(v.Const()) && u.Index > 0 && strings.HasSuffix(u.Node.Op, "Normalization") {
				continue
			}
			if (u.Node.Op == "Conv" || u.Node.Op == "ConvTranspose") && u.Index == 1 {
				o.folded = append(o.folded, v)
			}
			if name = nameByBias(u); name == "" {
				name = h.module + "." + h.name
			}
		default:
			continue
		}
		base := name
		for i := 2; taken[name] || o.g.NameTaken(name); i++ {
			name = fmt.Sprintf("%s_%d", base, i)
		}
		taken[name] = true
		all = append(all, rename{v, v.Name, name, u.Node.Op == "MatMul" && u.Index == 1 && len(v.Const().Shape) == 2})
	}
	return all
}

// nameByBias names the weight of a product after the bias that is added to it: attn.qkv.bias has attn.qkv.weight beside it, in_proj_bias
// has in_proj_weight. It is "" where there is no such bias.
func nameByBias(u graph.Use) string {
	if !u.Node.Is("", "MatMul") || u.Index != 1 || len(u.Node.Out(0).Uses()) != 1 {
		return ""
	}
	add := u.Node.Out(0).Uses()[0]
	if !add.Node.Is("", "Add") {
		return ""
	}
	b := add.Node.In(1 - add.Index)
	if b.Def() != nil && b.Def().Is("", "Identity") && b.Def().In(0).IsInitializer() || b.IsInitializer() {
		if stem, ok := strings.CutSuffix(b.Name, "bias"); ok && stem != "" && !pass.MadeUp(b.Name) {
			return stem + "weight"
		}
	}
	return ""
}

// firstUse is a use of v by a node that computes something.
func firstUse(v *graph.Value) (u graph.Use, ok bool) {
	for _, u := range v.Uses() {
		if !u.Node.Is("", "Identity") {
			return u, true
		}
	}
	return u, false
}

// isNeutral reports whether t is all zeros or all ones.
func isNeutral(t *graph.Tensor) bool {
	x, _ := t.Float64s()
	for _, v := range x {
		if v != x[0] || v != 0 && v != 1 {
			return false
		}
	}
	return true
}

// tell notes what was done.
func (o *owner) tell(c *pass.Ctx, renamed []rename) {
	origins := map[*graph.Value]*pass.Origin{}
	of := func(v *graph.Value) *pass.Origin {
		if origins[v] == nil {
			c.Report.Origins = append(c.Report.Origins, &pass.Origin{Param: v.Name})
			origins[v] = c.Report.Origins[len(c.Report.Origins)-1]
		}
		return origins[v]
	}
	for _, v := range o.separated {
		of(v).Merged = o.merged[v]
	}
	if n := len(o.separated); n > 0 {
		c.Note(fmt.Sprintf("separate again: %s that the exporter had merged because they were equal (%s); keep them one with --keep-ties", count(n, "parameter"), list(o.separated)))
	}
	var named []*graph.Value
	for _, r := range renamed {
		of(r.value).File, of(r.value).Transposed = r.old, r.transposed
		named = append(named, r.value)
	}
	if n := len(named); n > 0 {
		c.Note(fmt.Sprintf("named by their modules: %s without a name in the file (%s); weights of MatMul among them are [in, out], the transpose of what the program had", count(n, "parameter"), list(named)))
	}
	for _, v := range o.folded {
		of(v).Folded = true
	}
	if n := len(o.folded); n > 0 {
		c.Note(fmt.Sprintf("BatchNormalization is folded into %s (%s), which cannot be undone: each trains as it is, with its bias; export in training mode to train the normalisation", count(n, "convolution"), list(o.folded)))
	}
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// list writes the names of the first few of vs.
func list(vs []*graph.Value) string {
	const few = 6
	var names []string
	for _, v := range vs[:min(few, len(vs))] {
		names = append(names, v.Name)
	}
	if len(vs) > few {
		names = append(names, "...")
	}
	return strings.Join(names, ", ")
}
