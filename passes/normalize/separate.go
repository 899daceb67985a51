package normalize

import (
	"slices"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/pass"
)

// separate undoes what exporters do to parameters with equal values: one initializer stays, and the others become an Identity
// of it (PyTorch's older exporter) or vanish, their nodes using the one that stays (the dynamo exporter, whose nodes say to
// which module they belong).
func (o *owner) separate() {
	for _, v := range slices.Clone(o.g.Initializers()) {
		if v.Type.Elem.IsFloat() {
			o.separateIdentities(v)
			o.separateModules(v)
		}
	}
}

// separateIdentities makes the identities of v parameters, unless they belong to another call of the module that v belongs
// to, or are tied to v on purpose.
func (o *owner) separateIdentities(v *graph.Value) {
	homes := map[home]*graph.Value{}
	for _, u := range v.Uses() {
		if h, _, ok := o.homeOf(v, u); ok && pass.MadeUp(v.Name) {
			homes[h] = v
		}
	}
	for _, u := range slices.Clone(v.Uses()) {
		n := u.Node
		if !n.Is("", "Identity") || n.Graph() != o.g || !merged(v, n.Out(0)) || o.tied(v.Uses(), n.Out(0).Uses(), v.Const()) {
			continue
		}
		w := n.Out(0)
		var h home
		known := false // a name of its own tells that it is a parameter of its own, wherever it is used
		if pass.MadeUp(w.Name) && len(w.Uses()) > 0 {
			h, _, known = o.homeOf(w, w.Uses()[0])
		}
		switch one := homes[h]; {
		case !known || one == nil:
			one = o.split(v, w.Name+"/own")
			w.ReplaceUses(one)
			pass.TakeName(w, one)
			n.Remove()
			if known {
				homes[h] = one
			}
		case one != v:
			w.ReplaceUses(one)
			n.Remove()
		}
	}
}

// separateModules gives each module that uses v an initializer of its own, in files whose nodes tell their modules. Uses as
// the table of an embedding and as the weight of the last layer stay together.
func (o *owner) separateModules(v *graph.Value) {
	var homes []home
	uses := map[home][]graph.Use{}
	named := map[string]string{} // what the parameter is to its module, by operator
	anyStrong := false
	for _, u := range v.Uses() {
		if u.Node.Scope == "" {
			return
		}
		h, strong, ok := o.homeOf(v, u)
		if !ok {
			continue
		}
		if h.module+"."+h.name == v.Name {
			named[u.Node.Op] = h.name
		}
		anyStrong = anyStrong || strong
		if uses[h] == nil {
			homes = append(homes, h)
		}
		uses[h] = append(uses[h], u)
	}
	if len(homes) < 2 || !anyStrong || o.tied(v.Uses(), v.Uses(), v.Const()) {
		return
	}
	stays := 0
	for i, h := range homes {
		if h.module+"."+h.name == v.Name {
			stays = i
		}
	}
	for i, h := range homes {
		if i == stays {
			continue
		}
		name := h.name
		if own, ok := named[uses[h][0].Node.Op]; ok {
			name = own
		}
		own := o.split(v, h.module+"."+name)
		for _, u := range uses[h] {
			u.Node.SetInput(u.Index, own)
		}
	}
}

// split makes a parameter with the values of v.
func (o *owner) split(v *graph.Value, name string) *graph.Value {
	own := o.g.AddInitializer(name, v.Const())
	o.separated = append(o.separated, own)
	o.merged[own] = v.Name
	return own
}

// merged reports whether w = Identity(v) stands for a parameter of its own.
func merged(v, w *graph.Value) bool {
	return !w.IsOutput() && !computed.MatchString(w.Name) && (len(v.Uses()) > 1 || v.IsOutput())
}
