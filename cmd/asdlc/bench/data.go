package bench

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// synthetic makes a value for each input of a step graph that has none of the initial state: normal samples, integers that
// the model can look up, labels or targets between 0 and 1 that the loss accepts; and a learning rate of Rate.
func synthetic(m, step *graph.Model, sizes map[string]int64, seed uint64) (map[string]*kernel.Tensor, error) {
	var inputs []struct {
		Name, Role string
		Classes    int64
	}
	if err := json.Unmarshal([]byte(step.Metadata["asdl.inputs"]), &inputs); err != nil {
		return nil, fmt.Errorf("%w: metadata property asdl.inputs: %w", graph.ErrInvalid, err)
	}
	rng := rand.New(rand.NewPCG(seed, 0))
	feeds := map[string]*kernel.Tensor{}
	for _, in := range inputs {
		v := step.Graph.Find(in.Name)
		if v == nil {
			return nil, fmt.Errorf("%w: metadata property asdl.inputs names %q, which is no input", graph.ErrInvalid, in.Name)
		}
		switch base, _, _ := strings.Cut(in.Name, "/"); {
		case in.Role == "model" || in.Role == "target":
			t, err := tensor(v, sizes)
			if err != nil {
				return nil, err
			}
			floats := rng.NormFloat64
			if in.Role == "target" { // some losses take probabilities alone
				floats = rng.Float64
			}
			fill(t, rng, max(in.Classes, lookups(m.Graph.Find(in.Name))), floats)
			feeds[in.Name] = t
		case in.Role == "hyper" && (base == "lr" || base == "fallback_lr"):
			t := kernel.New(v.Type.Elem)
			setFloats(t, func() float64 { return Rate })
			feeds[in.Name] = t
		}
	}
	return feeds, nil
}

// tensor is zeros of an input's type.
func tensor(v *graph.Value, sizes map[string]int64) (*kernel.Tensor, error) {
	shape := make([]int, v.Type.Rank())
	for i, d := range v.Type.Dims {
		n, ok := d.At(sizes)
		if !ok {
			return nil, fmt.Errorf("%w: input %q of type %s: the size of %s is not known", graph.ErrUnsupported, v.Name, v.Type, d)
		}
		shape[i] = int(n)
	}
	return kernel.New(v.Type.Elem, shape...), nil
}

// lookups is the number of rows of the table that an input of indices looks up; 0 if it is no index.
func lookups(v *graph.Value) int64 {
	if v == nil {
		return 0
	}
	for _, u := range v.Uses() {
		if u.Node.Op == "Gather" && u.Index == 1 {
			rows, _ := u.Node.In(0).Type.Dims[u.Node.Int("axis", 0)].Size()
			return rows
		}
	}
	return 0
}

// fill draws floats, and integers below a number; where there is no such number they are ones, as of a mask that masks
// nothing.
func fill(t *kernel.Tensor, rng *rand.Rand, below int64, floats func() float64) {
	integer := func() int64 {
		if below > 0 {
			return rng.Int64N(below)
		}
		return 1
	}
	switch t.Elem {
	case graph.Int64:
		values := kernel.Data[int64](t)
		for i := range values {
			values[i] = integer()
		}
	case graph.Int32:
		values := kernel.Data[int32](t)
		for i := range values {
			values[i] = int32(integer())
		}
	case graph.Float32, graph.Float64:
		setFloats(t, floats)
	default: // bool, bytes
		for i := range t.Raw {
			t.Raw[i] = 1
		}
	}
}

func setFloats(t *kernel.Tensor, next func() float64) {
	if t.Elem == graph.Float64 {
		values := kernel.Data[float64](t)
		for i := range values {
			values[i] = next()
		}
		return
	}
	values := kernel.Data[float32](t)
	for i := range values {
		values[i] = float32(next())
	}
}
