package method

import (
	"reflect"
	"strings"
	"testing"
)

func with(t *testing.T, name string, set ...string) Record {
	t.Helper()
	r, ok := Lookup(name)
	if !ok {
		t.Fatalf("no method %s", name)
	}
	for _, s := range set {
		field, value, _ := strings.Cut(s, "=")
		if err := Set(&r, field, value); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func TestOverrideMatches(t *testing.T) {
	for _, c := range []struct {
		pattern, name, kind string
		want                bool
	}{
		{"blocks.*", "blocks.0.fc", "linear", true},
		{"dense*", "dense/kernel/0", "linear", true}, // * is for / too
		{"dense/?", "dense/1", "linear", true},
		{"blocks", "blocks.0", "linear", false},
		{"kind:conv", "stem", "conv", true},
		{"kind:conv", "conv", "linear", false},
		{"kind:norm", "n", "batchnorm", true},
		{"kind:norm", "n", "rmsnorm", true},
		{"kind:norm", "norm", "linear", false},
		{"linear", "fc", "linear", false},
		{"[", "[", "linear", false},
	} {
		if got := (Override{Pattern: c.pattern}).Matches(c.name, c.kind); got != c.want {
			t.Errorf("%s matches %s (%s): %v", c.pattern, c.name, c.kind, got)
		}
	}
}

func TestMixRecords(t *testing.T) {
	m := Mix{Default: with(t, "kfac"), Overrides: []Override{
		{"a", with(t, "shampoo")}, {"b", with(t, "kfac", "damping=1")}, {"c", with(t, "shampoo")}, {"d", with(t, "shampoo", "damping=1")}, {"e", with(t, "kfac")},
	}}
	var labels []string
	for i := range m.Records() {
		labels = append(labels, m.Label(i))
	}
	if want := []string{"", "shampoo", "kfac", "shampoo.2"}; !reflect.DeepEqual(labels, want) {
		t.Errorf("labels %q, want %q", labels, want)
	}
	for i, want := range []int{1, 2, 1, 3, 0} {
		if got := m.Index(m.Overrides[i]); got != want {
			t.Errorf("override %d has record %d, want %d", i, got, want)
		}
	}
	meta := map[string]string{}
	m.Write(meta)
	back, err := ReadMix(meta)
	again := map[string]string{}
	if back.Write(again); err != nil || !reflect.DeepEqual(again, meta) {
		t.Errorf("read back %v (%v)", again, err)
	}
	meta[OverridesKey] = `[{"pattern":"a","methods":{}}]`
	if _, err := ReadMix(meta); err == nil {
		t.Error("an unknown field is accepted")
	}
	Mix{Default: m.Default}.Write(meta)
	if len(meta) != 1 {
		t.Errorf("metadata without overrides: %v", meta)
	}
}

func TestMixValidate(t *testing.T) {
	for _, o := range []Override{{"[", with(t, "sgd")}, {"", with(t, "sgd")}, {"kind:", with(t, "sgd")}, {"a", with(t, "sgd", "update.lr=-1")}} {
		if err := (Mix{Default: with(t, "kfac"), Overrides: []Override{o}}).Validate(); err == nil {
			t.Errorf("%s with %s is accepted", o.Pattern, o.Record.Name)
		}
	}
}
