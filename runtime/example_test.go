package runtime_test

import (
	"fmt"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// A session runs a model on tensors by name; the batch size may change from run to run.
func ExampleSession() {
	m, err := graph.Parse(`<ir_version: 8, opset_import: ["" : 17]> g (float[N,2] x) => (float[N] y) <float[2] w = {1, 10}> { y = MatMul(x, w) }`)
	if err != nil {
		fmt.Println(err)
		return
	}
	s, err := runtime.NewSession(m, runtime.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	out, err := s.Run(map[string]*kernel.Tensor{"x": kernel.Of([]float32{1, 2, 3, 4}, 2, 2)}, nil)
	fmt.Println(out["y"], kernel.Data[float32](out["y"]), err)
	_, err = s.Run(map[string]*kernel.Tensor{"x": kernel.Of([]float32{1, 2, 3, 4}, 4)}, nil)
	fmt.Println(err)
	// Output:
	// float[2] [21 43] <nil>
	// does not fit the model: input "x" is float[4], want float[N,2]
}
