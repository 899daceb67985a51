package method

import (
	"errors"
	"strings"
	"testing"
)

func lookup(t *testing.T, name string) Record {
	t.Helper()
	r, ok := Lookup(name)
	if !ok {
		t.Fatalf("no method %q", name)
	}
	return r
}

// Every record is legal under every preset, documented, and comes back from its text.
func TestTable(t *testing.T) {
	seen := map[string]bool{}
	for _, name := range Names() {
		if seen[name] {
			t.Errorf("two methods are named %q", name)
		}
		seen[name] = true
		for _, preset := range []string{"paper", "asdl"} {
			r, err := WithPreset(lookup(t, name), preset)
			if err != nil {
				t.Fatal(err)
			}
			if err := Validate(r); err != nil {
				t.Errorf("%s, preset %s: %v", name, preset, err)
			}
			if r.Doc == "" || r.Cite == "" {
				t.Errorf("%s is not documented", name)
			}
			back, err := Decode(r.Encode())
			if err != nil || back.Encode() != r.Encode() {
				t.Errorf("%s comes back as %+v (%v)", name, back, err)
			}
		}
	}
	if _, err := WithPreset(lookup(t, "kfac"), "torch"); err == nil {
		t.Error("preset torch is accepted")
	}
	if _, ok := Lookup("newton"); ok {
		t.Error("there is a method newton")
	}
}

func TestSet(t *testing.T) {
	r := lookup(t, "kfac")
	for path, value := range map[string]string{
		"solve.every": "7", "accumulate.beta": "0.9", "curvature.source": "emp", "guards.finite": "false", "damping": "0.5",
		"curvature.data_size": "100", "representation.ignore": "head,block*.norm",
	} {
		if err := Set(&r, path, value); err != nil {
			t.Errorf("%s=%s: %v", path, value, err)
		}
	}
	switch {
	case r.Solve.Every != 7, r.Accumulate.Beta != 0.9, r.Curvature.Source != "emp", r.Guards.Finite, r.Solve.Damping.Value != 0.5, r.Curvature.DataSize != 100:
		t.Errorf("set to %+v", r)
	}
	if err := Set(&r, "every", "3"); err != nil || r.Solve.Every != 3 || r.Accumulate.Every != 3 {
		t.Errorf("every sets %d and %d (%v)", r.Solve.Every, r.Accumulate.Every, err)
	}
	for name, want := range map[string]bool{"head": true, "block1.norm": true, "block1.fc": false, "": false} {
		if r.Ignores(name) != want {
			t.Errorf("Ignores(%q) is %v", name, !want)
		}
	}
	before := r
	for path, value := range map[string]string{
		"solve.evry": "7", "nothing": "1", "solve": "1", "solve.every": "1.5", "accumulate.beta": "much", "guards.finite": "perhaps", "solve.every.x": "1",
	} {
		var setting *SettingError
		if err := Set(&r, path, value); !errors.As(err, &setting) {
			t.Errorf("%s=%s: error %v", path, value, err)
		}
	}
	if r != before {
		t.Error("a refused setting changed the record")
	}
	if len(Fields()) < 40 {
		t.Errorf("only %d fields", len(Fields()))
	}
}

// Each rule of the legality table is broken by a change of one method, and by nothing in the table itself.
func TestRules(t *testing.T) {
	breakRules(t, rules, []breach{
		{"kfac", []string{"curvature.source=batch"}, "source must be mc, emp, exact or recursive"},
		{"shampoo", []string{"curvature.source=emp"}, "kf_dim is built from gradients of whole batches"},
		{"adam", []string{"curvature.source=emp"}, "source must be batch, mc, hvp or ggnvp"},
		{"kfac", []string{"solve.power=-0.5"}, "solve.kind must be inverse, gram, lie_sgd, bfgs or lbfgs and solve.power -1"},
		{"shampoo", []string{"solve.kind=divide"}, "solve.kind must be root, inverse or lie_sgd"},
		{"adam", []string{"solve.kind=root"}, "solve.kind must be divide"},
		{"sgd", []string{"solve.kind=inverse"}, "solve.kind must be none"},
		{"shampoo", []string{"accumulate.kind=none"}, "accumulate.kind must be ema or sum"},
		{"kfac", []string{"accumulate.kind=sum"}, "accumulate.kind must be none or ema"},
		{"shampoo", []string{"solve.damping.kind=factor_pi"}, "it needs kf_io"},
		{"kfac", []string{"solve.damping.kind=eps"}, "must be factor_pi, iso or none"},
		{"shampoo", []string{"solve.damping.kind=eps"}, "must be rel, iso or none"},
		{"adam", []string{"solve.damping.kind=iso"}, "must be eps or clip"},
		{"adam", []string{"solve.power=-1"}, "solve.power must be -0.5"},
		{"kfac", []string{"solve.kernel=newton"}, "solve.kernel must be cholesky"},
		{"shampoo", []string{"solve.kernel=cholesky"}, "a Cholesky factor gives no roots"},
		{"kfac", []string{"apply.beta=0.9"}, "apply.beta must be 0"},
		{"adam", []string{"accumulate.every=2"}, "accumulate.every must be 1"},
		{"adahessian", []string{"accumulate.kind=none", "accumulate.every=2"}, "nothing is kept of a diagonal"},
		{"kfac", []string{"accumulate.init=1"}, "accumulate.init must be 0"},
		{"adam", []string{"apply.graft=adam"}, "apply.graft=adam needs kf_dim"},
		{"kfac", []string{"solve.damping.keep=true"}, "damping.keep"},
		{"kfac", []string{"solve.delay=11"}, "solve.delay needs solve.every above 1"},
		{"kfac", []string{"solve.delay=1", "accumulate.kind=none"}, "solve.delay needs accumulate.kind ema or sum"},
		{"muon", []string{"solve.stagger=true"}, "solve.stagger needs solve.every above 1"},
		{"shampoo", []string{"solve.stagger=true", "accumulate.schedule=101"}, "and no accumulate.schedule"},
	})
}

// breach is a method changed so that a rule refuses it.
type breach struct {
	method string
	set    []string
	reason string
}

// breakRules checks that each case is refused with its reason, and that each rule is broken by some case.
func breakRules(t *testing.T, rules []rule, cases []breach) {
	t.Helper()
	broken := make([]bool, len(rules))
	for _, tc := range cases {
		r := lookup(t, tc.method)
		for _, s := range tc.set {
			path, value, _ := strings.Cut(s, "=")
			if err := Set(&r, path, value); err != nil {
				t.Fatal(err)
			}
		}
		err := Validate(r)
		if err == nil || !strings.Contains(err.Error(), tc.reason) {
			t.Errorf("%s with %v: error %v, want one with %q", tc.method, tc.set, err, tc.reason)
		}
		for i, rule := range rules {
			broken[i] = broken[i] || rule.Breaks(r)
		}
	}
	for i, b := range broken {
		if !b {
			t.Errorf("no case breaks the rule %q", rules[i].Reason)
		}
	}
}

func TestValidateValues(t *testing.T) {
	for path, value := range map[string]string{
		"curvature.source": "guess", "fallback.other": "", "accumulate.beta": "1", "solve.every": "-1", "update.lr": "-0.1",
		"solve.damping.value": "-1", "curvature.samples": "5000", "representation.ignore": "[", "accumulate.schedule": "0120",
	} {
		r := lookup(t, "kfac")
		if err := Set(&r, path, value); err != nil {
			t.Fatal(err)
		}
		var setting *SettingError
		if err := Validate(r); !errors.As(err, &setting) || setting.Field != path {
			t.Errorf("%s=%s: error %v", path, value, err)
		}
	}
}

func TestDecode(t *testing.T) {
	for _, text := range []string{"", "{", `{"name":"x"}`, `{"nme":"kfac"}`, `{"solve":{"every":"often"}}`} {
		if _, err := Decode(text); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}
