package runtime

import (
	"encoding/json"
	"fmt"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// labels is an input of class numbers: 0 <= label < classes, or equal to ignore.
type labels struct {
	in      *input
	classes int64
	ignore  *int64
}

// readLabels finds the inputs of class numbers of a step graph, which declare their range in the metadata.
func (s *Session) readLabels() error {
	text, ok := s.model.Metadata["asdl.inputs"]
	if !ok {
		return nil
	}
	var entries []contractInput
	if err := json.Unmarshal([]byte(text), &entries); err != nil {
		return fmt.Errorf("%w: metadata property asdl.inputs: %w", graph.ErrInvalid, err)
	}
	for _, e := range entries {
		if in := s.byName[e.Name]; in != nil && e.Classes > 0 && in.Type.Elem == graph.Int64 {
			s.labels = append(s.labels, labels{in, int64(e.Classes), e.Ignore})
		}
	}
	return nil
}

// check refuses labels out of range: the loss would read another class's score, or none.
func (l labels) check(t *kernel.Tensor) error {
	for i, v := range kernel.Data[int64](t) {
		if (v < 0 || v >= l.classes) && (l.ignore == nil || v != *l.ignore) {
			return fmt.Errorf("%w: label %d at position %d of input %q is out of range, want 0 to %d; fix the data, or instrument with --ignore-index for labels that do not count",
				ErrFeed, v, i, l.in.Name, l.classes-1)
		}
	}
	return nil
}
