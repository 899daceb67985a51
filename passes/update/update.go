// Package update changes the parameters along their preconditioned gradients, and lists what the step graph returns.
package update

import (
	"slices"
	"strings"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
)

// Pass is the row of the pass table.
var Pass = pass.Pass{
	Name: "update", Doc: "change the parameters along their directions: clipping, decay, momentum, learning rate",
	Needs: []pass.Prop{pass.Directed}, Gives: []pass.Prop{pass.Updated}, Run: Run,
}

// direction is one parameter with its gradients.
type direction struct {
	param   *graph.Value
	name    string
	grad    *graph.Value // training gradient
	precon  *graph.Value // preconditioned
	plain   bool         // the method itself did not act on it
	adam    bool         // follows fallback_lr instead of lr
	inner   *graph.Value // of precon and grad, with those of other parameters of its layer; nil: not known
	counted bool         // the inner product of another parameter has this one's
	record  int          // index of the record that it follows
}

// Run emits next values of the parameters, the step counter, and the gradient outputs asked for.
func Run(c *pass.Ctx, m *graph.Model) error {
	mix, err := method.ReadMix(m.Metadata)
	if err != nil {
		return err
	}
	b := op.NewBuilder(m, m.Graph)
	b.Prefix = "update/"
	dirs := collect(m.Graph)
	gradients := c.Options.Emit == "gradient"
	guarded := slices.ContainsFunc(mix.Records(), func(r method.Record) bool { return r.Guards.Finite })
	for _, d := range dirs {
		if c.Options.OutputGrad {
			m.Graph.AddOutput(d.grad)
		}
		if c.Options.OutputPrecond || gradients {
			m.Graph.AddOutput(d.precon)
		}
	}
	if !gradients {
		for i, rec := range mix.Records() {
			u := &updater{b: b, rec: rec.Update, label: mix.Label(i), elem: pass.FloatElem(m.Graph), klClip: rec.Apply.KLClip, guarded: guarded, hypers: map[string]*graph.Value{}}
			u.run(slices.DeleteFunc(slices.Clone(dirs), func(d direction) bool { return d.record != i }))
		}
	}
	step, one := pass.Step(b), b.Int(1)
	if guarded {
		one = b.Cast(pass.Finite(b), graph.Int64)
	}
	pass.Next(b, step, b.Add(step, one))
	if err := b.Err(); err != nil {
		return err
	}
	if err := known(m.Graph); err != nil || !guarded {
		return err
	}
	return settle(m, b)
}

// known puts the next values of parameters in the place of the tags that stand for them. What was computed from the tags
// comes before the update in graph order, hence the sort.
func known(g *graph.Graph) error {
	next := map[string]*graph.Value{}
	for _, v := range g.Outputs() {
		if name, ok := strings.CutSuffix(v.Name, "/next"); ok {
			next[name] = v
		}
	}
	tags := pass.Tags(g, graph.TagNext)
	for _, n := range tags {
		if v := next[n.Str("of", "")]; v != nil {
			n.Out(0).ReplaceUses(v)
			n.Remove()
		}
	}
	if len(tags) == 0 {
		return nil
	}
	return graph.Sort(g)
}

func collect(g *graph.Graph) []direction {
	grads := map[*graph.Value]*graph.Value{}
	for _, n := range pass.Tags(g, graph.TagGrad) {
		grads[n.In(1)] = n.Out(0)
	}
	var dirs []direction
	for _, n := range pass.Tags(g, graph.TagPrecond) {
		d := direction{
			param: n.In(1), name: n.Str("of", ""), grad: grads[n.In(1)], precon: n.Out(0),
			plain: n.Int("plain", 0) == 1, adam: n.Str("rule", "") == "adam",
		}
		d.inner, d.counted = n.In(2), n.Int("counted", 0) == 1
		if p, ok := pass.ParamOf(d.param); ok {
			d.record = p.Record()
		}
		dirs = append(dirs, d)
	}
	return dirs
}

// updater is the rule of one record, for the parameters that follow it: bounds on the step are bounds on theirs.
type updater struct {
	b      *op.Builder
	rec    method.Update
	label  string // of the record
	elem   graph.Elem
	klClip float64
	weight *graph.Value // of the newest parameters in their average

	guarded bool // a step whose gradients are not finite changes nothing

	finite *graph.Value            // whether this one's are, once it was asked for
	hypers map[string]*graph.Value // so far
}

// counts is v on a step that counts, and otherwise the constant idle, which has no effect.
func (u *updater) counts(v *graph.Value, idle float64) *graph.Value {
	if !u.guarded {
		return v
	}
	if u.finite == nil {
		u.finite = pass.Finite(u.b)
	}
	return u.b.Where(u.finite, v, u.b.Float(u.elem, idle))
}

// hyper is the scalar input of that name; records other than the default have inputs of their own.
func (u *updater) hyper(name string, def float64) *graph.Value {
	if u.hypers[name] == nil {
		u.hypers[name] = pass.Hyper(u.b, pass.Labelled(name, u.label), def, u.elem)
	}
	return u.hypers[name]
}

func (u *updater) run(dirs []direction) {
	if len(dirs) == 0 {
		return
	}
	b := u.b
	lr := u.counts(u.hyper("lr", u.rec.LR), 0)
	if scale := u.clipKL(dirs, lr); scale != nil {
		for i, d := range dirs {
			if !d.plain && !d.adam {
				dirs[i].precon = b.Mul(d.precon, scale)
			}
		}
	}
	clip := u.clipNorm(dirs)
	for _, d := range dirs {
		rate, v := lr, d.precon
		if d.adam {
			rate = u.counts(u.hyper("fallback_lr", 0.001), 0)
		}
		if clip != nil {
			v = b.Mul(v, clip)
		}
		if u.rec.WeightDecay != 0 && u.rec.Decay != "decoupled" {
			v = b.Add(v, b.Mul(d.param, u.decay()))
		}
		v = u.counts(v, 0)
		if u.rec.Momentum != 0 && !d.adam {
			v = u.momentum(d, v)
		}
		w := d.param
		if u.rec.WeightDecay != 0 && u.rec.Decay == "decoupled" {
			w = b.Mul(w, b.Sub(b.Float(u.elem, 1), b.Mul(rate, u.decay())))
		}
		next := b.Sub(w, b.Mul(v, rate))
		if u.rec.Average != 0 {
			u.average(d, next)
		}
		pass.Next(b, d.param, next)
	}
}

// average follows the parameter by A <- A + w (W - A) with w = (1-rho)/(1-rho^t) for the t-th step: that is its moving
// average with decay rho, debiased. Evaluation and export take it for the parameter.
func (u *updater) average(d direction, next *graph.Value) {
	b := u.b
	if u.weight == nil {
		one, rho := b.Float(graph.Float64, 1), b.Float(graph.Float64, u.rec.Average)
		t := b.Cast(b.Add(pass.Step(b), b.Int(1)), graph.Float64)
		u.weight = u.counts(b.Cast(b.Div(b.Sub(one, rho), b.Sub(one, b.Op("Pow", []*graph.Value{rho, t}))), u.elem), 0)
	}
	shape, _ := d.param.Type.Static()
	old := pass.State(b, pass.StateSpec{Name: "asdl/" + d.name + "/average", Kind: "average", Of: d.name, Elem: u.elem, Shape: shape, Init: "zeros", Held: u.guarded})
	pass.Next(b, old, b.Add(old, b.Mul(b.Sub(next, old), u.weight)))
}

func (u *updater) decay() *graph.Value {
	return u.hyper("weight_decay", u.rec.WeightDecay)
}

// momentum is PyTorch's: buffer <- momentum*buffer + d; the step is the buffer, or d + momentum*buffer (Nesterov).
func (u *updater) momentum(d direction, v *graph.Value) *graph.Value {
	b := u.b
	mu := u.counts(u.hyper("momentum", u.rec.Momentum), 1)
	shape, _ := d.param.Type.Static()
	old := pass.State(b, pass.StateSpec{Name: "asdl/" + d.name + "/momentum", Kind: "optimizer", Of: d.name, Elem: u.elem, Shape: shape, Init: "zeros", Held: u.guarded})
	next := b.Add(b.Mul(old, mu), v)
	if u.rec.Nesterov {
		v = b.Add(v, b.Mul(next, mu))
	} else {
		v = next
	}
	pass.Next(b, old, next)
	return v
}

// clipKL is min(1, sqrt(kappa / (lr^2 sum d.g))) over the parameters that the method preconditions: it bounds the
// squared length of the step in the Fisher metric (Martens & Grosse 2015; Ba, Grosse & Martens 2017, section 5).
func (u *updater) clipKL(dirs []direction, lr *graph.Value) *graph.Value {
	if u.klClip == 0 {
		return nil
	}
	b := u.b
	var sum *graph.Value
	for _, d := range dirs {
		if d.plain || d.adam || d.counted {
			continue
		}
		s := d.inner
		if s == nil {
			s = b.Sum(b.Mul(d.precon, d.grad))
		}
		if sum == nil {
			sum = s
		} else {
			sum = b.Add(sum, s)
		}
	}
	if sum == nil {
		return nil
	}
	kappa := u.hyper("kl_clip", u.klClip)
	length := b.Op("Max", []*graph.Value{b.Mul(sum, b.Square(lr)), b.Float(u.elem, 1e-30)})
	return b.Op("Min", []*graph.Value{b.Sqrt(b.Div(kappa, length)), b.Float(u.elem, 1)})
}

// clipNorm is min(1, clip / |d|) over all directions, as clipKL leaves them.
func (u *updater) clipNorm(dirs []direction) *graph.Value {
	if u.rec.ClipNorm == 0 {
		return nil
	}
	b := u.b
	var sum *graph.Value
	for _, d := range dirs {
		s := b.Sum(b.Square(d.precon))
		if sum == nil {
			sum = s
		} else {
			sum = b.Add(sum, s)
		}
	}
	limit := u.hyper("clip_norm", u.rec.ClipNorm)
	norm := b.Op("Max", []*graph.Value{b.Sqrt(sum), b.Float(u.elem, 1e-30)})
	return b.Op("Min", []*graph.Value{b.Div(limit, norm), b.Float(u.elem, 1)})
}
