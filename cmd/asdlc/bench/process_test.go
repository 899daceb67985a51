package bench

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
)

// shell is a process that is a script.
func shell(t *testing.T, script string) *exec.Cmd {
	t.Helper()
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no shell")
	}
	return exec.Command(sh, "-c", script)
}

func TestProcess(t *testing.T) {
	p, err := Start(shell(t, `echo '{"period": 3}'; read a; echo '{"steps": 6, "seconds": '$a'}'; read b; echo '{"total": 7}'; read c`))
	if err != nil {
		t.Fatal(err)
	}
	w, err := p.Window(0.5)
	if err != nil || p.Built.Period != 3 || w.Steps != 6 || w.Seconds != 0.5 {
		t.Errorf("%+v, %+v, %v", p.Built, w, err)
	}
	if plan, err := p.Plan(); err != nil || plan.Total != 7 {
		t.Errorf("%+v, %v", plan, err)
	}
	_ = p.Close()
	if _, err := p.Window(1); err == nil {
		t.Error("a closed process answers")
	}
}

func TestProcessThatFails(t *testing.T) {
	for _, c := range []struct {
		script, message string
		code            int
	}{
		{`echo noise >&2; echo 'asdlc: no such method' >&2; exit 2`, "no such method", 2},
		{`exit 3`, "exit status 3", 3},
		{`kill -9 $$`, "signal: killed", -1},
	} {
		_, err := Start(shell(t, c.script))
		var failed *ProcessError
		if !errors.As(err, &failed) || failed.Code != c.code || failed.Message != c.message {
			t.Errorf("%s: %v", c.script, err)
		}
	}
	p, err := Start(shell(t, `echo '{}'; read a; echo 'asdlc: the loss is not finite' >&2; exit 1`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Window(1); err == nil || err.Error() != "the loss is not finite" {
		t.Errorf("%v", err)
	}
	if _, err := p.Plan(); err == nil {
		t.Error("a process that has ended answers")
	}
}

// TestGroup has processes that are scripts: SGD, a method with an interval, one without, and one that fails.
func TestGroup(t *testing.T) {
	const window = `while read a; do [ "$a" = plan ] && echo '{"total": 5}' || echo '{"steps": 1, "seconds": %, "resident_bytes": 9}'; done`
	answer := func(period, seconds string) string {
		return `echo '{"period": ` + period + `, "build_bytes": 100}'; ` + strings.Replace(window, "%", seconds, 1)
	}
	scripts := map[string]string{
		"sgd": answer("1", "1"), "kfac": answer("10", "2"), "muon": answer("1", "4"), "kfra": `echo 'asdlc: not supported' >&2; exit 3`,
	}
	for _, limit := range []int64{0, 150} { // with the limit, one beside SGD at a time
		g := Group{Command: func(c Cell) *exec.Cmd { return shell(t, scripts[c.Method]) }, Rounds: 3, Limit: limit}
		results, err := g.Measure([]Cell{{Method: "sgd"}, {Method: "kfac", Every: 10}, {Method: "muon", Every: 10}, {Method: "kfra", Every: 10}, {Method: "muon", Every: 30}})
		var failed *ProcessError
		if !errors.As(err, &failed) || failed.Code != 3 {
			t.Errorf("limit %d: error %v", limit, err)
		}
		want := []struct {
			method     string
			every      int
			throughput float64
			error      string
		}{{"sgd", 0, 1, ""}, {"kfac", 10, 0.5, ""}, {"muon", 0, 0.25, ""}, {"kfra", 10, 0, "not supported"}}
		if len(results) != len(want) {
			t.Fatalf("limit %d: %d results, want %d", limit, len(results), len(want))
		}
		for i, w := range want {
			if r := results[i]; r.Method != w.method || r.Every != w.every || r.Throughput.Median != w.throughput || r.Error != w.error {
				t.Errorf("limit %d, result %d: %+v, want %+v", limit, i, r, w)
			}
		}
		rounds := 3
		if limit > 0 {
			rounds = 6 // the failed one is tried beside the second
		}
		if n := len(results[0].Steps); n != rounds {
			t.Errorf("limit %d: SGD has %d windows, want %d", limit, n, rounds)
		}
	}
}
