package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/onnx"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/runtime"
	"github.com/asdlc/asdlc/runtime/data"
	"github.com/asdlc/asdlc/runtime/kernel"
)

func newExport(e *env) *cobra.Command {
	var from, out string
	var force bool
	c := &cobra.Command{
		Use:   "export ORIGINAL.onnx --from CHECKPOINT|STATE -o TRAINED.onnx",
		Short: "Put trained weights back into the original file",
		Long: `Write ORIGINAL.onnx with the parameters and running statistics of a training; all else stays as it is in the file.

They come from a folder of checkpoints (the newest counts), one checkpoint, a .safetensors file, or an .npz file of
asdlc run (the arrays NAME/next).`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if from == "" || out == "" {
				return usagef("--from CHECKPOINT|STATE and -o TRAINED.onnx are required")
			}
			if same(out, args[0]) {
				return usagef("%s is the input file; choose another name with -o", out)
			}
			if err := checkAbsent(out, force); err != nil {
				return err
			}
			original, err := onnx.Read(args[0])
			if err != nil {
				return err
			}
			weights, err := readWeights(from, args[0], original)
			if err != nil {
				return err
			}
			m, err := exportWeights(original, weights)
			if err != nil {
				return err
			}
			if err := onnx.Write(out, m, onnx.WriteOptions{Overwrite: force, External: original.External}); err != nil {
				return err
			}
			_, err = fmt.Fprintf(e.stdout, "%d parameters and statistics of %s written to %s\n", len(weights), from, out)
			return err
		},
	}
	fs := c.Flags()
	fs.StringVar(&from, "from", "", "folder of checkpoints, checkpoint, .safetensors or .npz file")
	fs.StringVarP(&out, "output", "o", "", "file to write")
	fs.BoolVarP(&force, "force", "f", false, "overwrite an existing file")
	return c
}

// readWeights reads what a training left: the parameters and buffers of the original file.
func readWeights(from, path string, original *graph.Model) (map[string]*kernel.Tensor, error) {
	info, err := os.Stat(from)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return checkpointWeights(from, path)
	}
	var state map[string]*kernel.Tensor
	switch {
	case strings.HasSuffix(from, ".npz"):
		state, err = nextStates(from)
	case strings.HasSuffix(from, ".safetensors"):
		state, _, err = runtime.ReadSafetensors(from)
	default:
		return nil, usagef("--from %s: want a folder of checkpoints, a .safetensors or an .npz file", from)
	}
	if err != nil {
		return nil, err
	}
	// The state of a step graph has more than the file: its own names begin with asdl/.
	inFile := map[string]bool{}
	for v := range original.Graph.Values() {
		inFile[v.Name] = true
	}
	for name := range state {
		if strings.HasPrefix(name, pass.Prefix) && !inFile[name] {
			delete(state, name)
		}
	}
	if len(state) == 0 {
		return nil, fmt.Errorf("%s: no parameters in it; give the outputs NAME/next of asdlc run, or a checkpoint", from)
	}
	return state, nil
}

// checkpointWeights reads a checkpoint made from the file at path.
func checkpointWeights(from, path string) (map[string]*kernel.Tensor, error) {
	c, err := runtime.ReadCheckpoint(from)
	if err != nil {
		return nil, err
	}
	digest, err := onnx.Digest(path)
	if err != nil {
		return nil, err
	}
	if source := c.Manifest.Run.Source; source != "" && source != digest {
		return nil, fmt.Errorf("checkpoint %s was not made from %s: the digests differ (%.12s, file %.12s); give the file that the training started from",
			c.Path, path, source, digest)
	}
	return c.Weights(), nil
}

// nextStates reads the next states among the outputs of asdlc run.
func nextStates(path string) (map[string]*kernel.Tensor, error) {
	arrays, err := data.ReadNPZ(path)
	if err != nil {
		return nil, err
	}
	state := map[string]*kernel.Tensor{}
	for name, a := range arrays {
		name, ok := strings.CutSuffix(name, "/next")
		if !ok {
			continue
		}
		if state[name], err = runtime.FromArray(a); err != nil {
			return nil, fmt.Errorf("%s(%s/next): %w", path, name, err)
		}
	}
	return state, nil
}
