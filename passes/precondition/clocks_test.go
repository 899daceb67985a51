package precondition

import (
	"slices"
	"testing"

	"github.com/asdlc/asdlc/passes/method"
)

// TestPhases: the work of the steps of an interval is balanced, and phases are spread over it.
func TestPhases(t *testing.T) {
	for _, c := range []struct {
		every int
		sides []int64
		want  []int
	}{
		{1, []int64{4, 4}, []int{0, 0}},
		{2, []int64{4, 30, 4, 4}, []int{1, 0, 1, 1}}, // the large one has a step to itself
		{3, []int64{8, 8, 8}, []int{0, 1, 2}},
		{10, []int64{8, 9}, []int{5, 0}},
		{2, []int64{10, 8, 8, 5, 4}, []int{0, 1, 1, 0, 1}}, // 1000 + 125 against 512 + 512 + 64
		{10, nil, []int{}},
	} {
		e := &engine{rec: method.Record{Solve: method.Solve{Stagger: true, Every: c.every}}}
		var blocks []*live
		for _, n := range c.sides {
			blocks = append(blocks, &live{block: &block{sols: []slot{{shape: []int64{n, n}}}}})
		}
		if got := e.phases(blocks); !slices.Equal(got, c.want) {
			t.Errorf("sides %v, every %d: phases %v, want %v", c.sides, c.every, got, c.want)
		}
	}
}
