package graph

import "testing"

func TestDimAt(t *testing.T) {
	sizes := map[string]int64{"N": 10, "T": 3}
	for text, want := range map[string]int64{"N": 10, "2*N": 20, "N*T+1": 31, "N-T": 7, "N*N": 100} {
		if got, ok := Sym(text).At(sizes); !ok || got != want {
			t.Errorf("%s is %d (%v), want %d", text, got, ok, want)
		}
	}
	for _, d := range []Dim{UnknownDim, Sym("B"), Sym("N*B"), Sym("N").Div(Sym("T"))} {
		if got, ok := d.At(sizes); ok {
			t.Errorf("%s is %d", d, got)
		}
	}
	if got, ok := Known(4).At(nil); !ok || got != 4 {
		t.Errorf("4 is %d (%v)", got, ok)
	}
}
