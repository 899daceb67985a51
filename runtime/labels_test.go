package runtime_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime"
	"github.com/asdlc/asdlc/runtime/kernel"
)

func TestLabelsOutOfRange(t *testing.T) {
	m, err := graph.Parse(`<ir_version: 8, opset_import: ["" : 17],
  metadata_props: ["asdl.inputs": "[{\"name\":\"t\",\"role\":\"target\",\"classes\":3,\"ignore\":-1}]"]>
g (int64[N] t) => (int64[N] y) { y = Neg (t) }`)
	if err != nil {
		t.Fatal(err)
	}
	s, err := runtime.NewSession(m, runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, tc := range []struct {
		labels []int64
		bad    string
	}{
		{[]int64{0, 2, -1}, ""},
		{[]int64{0, 3}, "label 3 at position 1"},
		{[]int64{-2}, "label -2 at position 0"},
	} {
		_, err := s.Run(map[string]*kernel.Tensor{"t": kernel.Of(tc.labels, len(tc.labels))}, nil)
		switch {
		case tc.bad == "" && err != nil:
			t.Errorf("%v: %v", tc.labels, err)
		case tc.bad != "" && (!errors.Is(err, runtime.ErrFeed) || !strings.Contains(err.Error(), tc.bad)):
			t.Errorf("%v: error %v, want one with %q", tc.labels, err, tc.bad)
		}
	}
}
