package runtime

import (
	"encoding/json"
	"fmt"

	"github.com/asdlc/asdlc/graph"
)

// stepContract is what a trainer reads from the metadata of a step graph.
type stepContract struct {
	x, target   contractInput
	logits      string // the model output that predictions are read from
	loss        string
	hypers      map[string]bool
	seeded      bool
	classes     int
	targetIndex bool     // targets are class numbers, not one-hot rows
	threshold   *float64 // of the one score of two classes
}

// contractInput is an entry of the metadata property asdl.inputs.
type contractInput struct {
	Name    string `json:"name"`
	Role    string `json:"role"`    // model, target, param, buffer, state, counter, hyper, seed, noise
	Classes int    `json:"classes"` // of integer labels; 0 where labels are not bounded
	Ignore  *int64 `json:"ignore"`  // a label beside them that does not count
	// Threshold is the value of the model's single output above which class 1 of 0 and 1 is predicted.
	Threshold *float64 `json:"threshold"`
}

// contractOutput is an entry of the metadata property asdl.outputs.
type contractOutput struct {
	Name string `json:"name"`
	Role string `json:"role"` // model, loss, next, grad, precond
}

// readContract finds the inputs and outputs that a trainer serves, and refuses step graphs that it cannot drive.
func readContract(m *graph.Model, logits string) (*stepContract, error) {
	if m.Metadata["asdl.contract"] != "1" {
		return nil, fmt.Errorf("%w: not a step graph: no metadata property asdl.contract = 1; make one with asdlc instrument", graph.ErrInvalid)
	}
	if _, ok := m.Metadata["asdl.clocks"]; ok {
		return nil, fmt.Errorf("%w: one of several step graphs, made with --split; train the whole one, made without", graph.ErrUnsupported)
	}
	var inputs []contractInput
	var outputs []contractOutput
	for key, list := range map[string]any{"asdl.inputs": &inputs, "asdl.outputs": &outputs} {
		if err := json.Unmarshal([]byte(m.Metadata[key]), list); err != nil {
			return nil, fmt.Errorf("%w: metadata property %s: %w", graph.ErrInvalid, key, err)
		}
	}
	c := &stepContract{hypers: map[string]bool{}}
	if err := c.readInputs(inputs); err != nil {
		return nil, err
	}
	types := map[string]graph.Type{}
	for _, v := range m.Graph.Outputs() {
		types[v.Name] = v.Type
	}
	if err := c.readOutputs(outputs, types, logits); err != nil {
		return nil, err
	}
	return c, c.readTarget(m)
}

func (c *stepContract) readInputs(inputs []contractInput) error {
	for _, in := range inputs {
		switch in.Role {
		case "model", "target":
			slot := &c.x
			if in.Role == "target" {
				slot = &c.target
			}
			if slot.Name != "" {
				return fmt.Errorf("%w: two %s inputs, %q and %q: a trainer feeds one of images and one of labels; write a host of your own (see Session)",
					graph.ErrUnsupported, in.Role, slot.Name, in.Name)
			}
			*slot = in
		case "hyper":
			c.hypers[in.Name] = true
		case "seed":
			c.seeded = true
		case "noise":
			return fmt.Errorf("%w: random numbers are an input (%q), which a trainer does not feed; compile without --noise input", graph.ErrUnsupported, in.Name)
		}
	}
	if c.x.Name == "" || c.target.Name == "" {
		return fmt.Errorf("%w: a trainer needs one model input and one target; the step graph has %q and %q", graph.ErrUnsupported, c.x.Name, c.target.Name)
	}
	return nil
}

// readOutputs finds the loss, and the logits: the output of that name, or else the first that looks like scores [N, classes].
func (c *stepContract) readOutputs(outputs []contractOutput, types map[string]graph.Type, logits string) error {
	updates := false
	for _, out := range outputs {
		t := types[out.Name]
		switch out.Role {
		case "loss":
			c.loss = out.Name
		case "next":
			updates = true
		case "model":
			if c.logits == "" && (logits == "" && t.Elem.IsFloat() && t.Rank() == 2 || out.Name == logits) {
				c.logits = out.Name
				if n, ok := lastDim(t); ok {
					c.classes = n
				}
			}
		}
	}
	switch {
	case c.loss == "":
		return fmt.Errorf("%w: the step graph has no loss output", graph.ErrUnsupported)
	case !updates:
		return fmt.Errorf("%w: the step graph has no next states (made with --emit gradient?)", graph.ErrUnsupported)
	case c.logits == "":
		return fmt.Errorf("%w: the step graph has no output of class scores, float [N, classes]", graph.ErrUnsupported)
	case c.classes == 0:
		return fmt.Errorf("%w: output %q has the type %s: the number of classes is not known", graph.ErrUnsupported, c.logits, types[c.logits])
	}
	return nil
}

// labelCount is the number of classes that labels may have.
func (c *stepContract) labelCount() int {
	if c.threshold != nil {
		return 2
	}
	return c.classes
}

func lastDim(t graph.Type) (int, bool) {
	if t.Rank() != 2 {
		return 0, false
	}
	n, ok := t.Dims[1].Size()
	return int(n), ok
}

// readTarget decides how labels become targets: as int64 [N], or as one-hot rows float [N, classes].
func (c *stepContract) readTarget(m *graph.Model) error {
	for _, v := range m.Graph.Inputs() {
		if v.Name != c.target.Name {
			continue
		}
		if c.classes == 1 {
			c.threshold = c.target.Threshold
		}
		switch t := v.Type; {
		case t.Elem == graph.Int64 && t.Rank() == 1:
			c.targetIndex = true
			return nil
		case (t.Elem == graph.Float32 || t.Elem == graph.Float64) && t.Rank() == 2:
			if n, ok := lastDim(t); !ok || n == c.classes {
				return nil
			}
		}
		return fmt.Errorf("%w: target %q is %s; a trainer has class labels: int64 [N], or one-hot rows float [N, %d]",
			graph.ErrUnsupported, v.Name, v.Type, c.classes)
	}
	return fmt.Errorf("%w: no input %q", graph.ErrInvalid, c.target.Name)
}
