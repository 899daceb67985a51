package passes_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/graphtest"
	"github.com/asdlc/asdlc/graph/onnx"
	"github.com/asdlc/asdlc/passes"
	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/runtime/data"
)

// goldenPSGD are the recorded runs of PSGD with Kronecker factors, and their models.
var goldenPSGD = map[string]string{"mlp_kpsgd": "mlp", "mlp1_kpsgd": "mlp1", "cnnnb_kpsgd": "cnnnb", "emb_kpsgd": "emb", "mlp_kpsgd_lr": "mlp"}

// TestGoldenPSGD replays the first steps of ASDL's recorded runs of PSGD with Kronecker factors. From identities, the
// transposes that ASDL loses in its solves do not matter; on later steps they do.
func TestGoldenPSGD(t *testing.T) {
	for name, model := range goldenPSGD {
		t.Run(name, func(t *testing.T) {
			recorded, err := data.ReadNPZ(graphtest.Shared(t, "golden", "asdl", name+".npz"))
			if err != nil {
				t.Fatal(err)
			}
			m, err := onnx.Read(graphtest.Shared(t, "golden", "models", model+".f64.onnx"))
			if err != nil {
				t.Fatal(err)
			}
			rec, err := method.WithPreset(record(t, "psgd-kf", "update.clip_norm=0"), "asdl")
			if err != nil {
				t.Fatal(err)
			}
			r, err := passes.Instrument(m, rec, pass.Options{Noise: "input", OutputPrecond: true, Verify: true}, "")
			if err != nil {
				t.Fatal(err)
			}
			s := begin(t, r)
			feeds := psgdFeeds(t, s, recorded).with("lr", number(0.1))
			if name == "mlp_kpsgd_lr" { // factors from 0.5 I
				feeds["precond_lr"] = number(0.1)
				for in, q := range s.states() {
					if strings.Contains(in, "/Q_") {
						must(s.session.SetState(in, arrays{in: q}.times(0.5)[in].tensor(graph.Float64)))
					}
				}
			}
			out := s.step(feeds)
			checked := 0
			for key, want := range recorded {
				rest, first := strings.CutPrefix(key, "s0/")
				got, ok := out[goldenPSGDName(rest)]
				if !first || !ok {
					continue
				}
				if strings.HasPrefix(rest, "param/") && recorded["s0/grad/"+rest[len("param/"):]] == nil {
					continue // PSGD of ASDL leaves other layers alone
				}
				near(t, key, got.v, goldenArray(t, want).v, 1e-6)
				checked++
			}
			if checked < 8 {
				t.Errorf("%d arrays compared", checked)
			}
		})
	}
}

// psgdFeeds are the batch and the recorded probes of the first step; layers that ASDL leaves alone have probes of zero.
func psgdFeeds(t *testing.T, s *stepper, recorded map[string]*data.Array) arrays {
	feeds := arrays{"x": goldenArray(t, recorded["s0/x"]), "target": goldenArray(t, recorded["s0/t"])}
	i := 0
	for _, p := range s.session.Inputs() { // in the order of the model's parameters
		name, ok := strings.CutPrefix(p.Name, "asdl/noise/probe/")
		if !ok {
			continue
		}
		shape, _ := p.Type.Static()
		var dims []int
		for _, d := range shape {
			dims = append(dims, int(d))
		}
		probe := newArray(dims...)
		if recorded["s0/grad/"+name] != nil {
			probe = goldenArray(t, recorded[fmt.Sprintf("s0/noise/%d_randn_like", i)])
			i++
		}
		feeds[p.Name] = probe
	}
	return feeds
}

func goldenArray(t *testing.T, a *data.Array) array {
	t.Helper()
	x := input(t, a, graph.Float64)
	return fromTensor(x)
}

func goldenPSGDName(name string) string {
	parts := strings.Split(name, "/")
	if len(parts) == 4 && parts[0] == "state" {
		return "asdl/" + parts[2] + "/" + map[string]string{"Ql": "Q_l", "Qr": "Q_r"}[parts[3]] + "/next"
	}
	return goldenName(name)
}
