package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/onnx"
	"github.com/asdlc/asdlc/runtime/data"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"asdlc":         main,
		"asdlc-limited": limitedMain, // files of more than 16 KiB cannot be written
	})
}

// TestScript runs the command lines of testdata/script. Besides testscript's own commands there are:
//
//	asdlc-exits CODE [limited] ARG...   run asdlc and expect that exit code, one line of error and no trace if it is not 0
//	npz FILE NAME=TYPE:SHAPE:HIGH...  write arrays of random numbers: float32 and float64 normal, others below HIGH
//	idx DIR N                 write an MNIST-style data set of N random images for training and N for tests
//	files NAME...             the current folder holds these files and no other, hidden ones included
//	garbage FILE N            write N random bytes
//	cut FILE N                keep the first N bytes
//	onnx TEXT OUT             write a model given as text as ONNX
//	external TEXT OUT NAME    write a model given as text as ONNX that says its constants are in the file NAME, as long as OUT.data
//	cyclic FILE               write an ONNX file whose two nodes feed each other
//	tensor FILE NUMBER...     write floats as the tensor of a backend test
//	tar DIR OUT               pack a folder into OUT, .tar or .tar.gz
//	is-json [PATH=VALUE...]   stdout is JSON, with these values at paths like layers.0.kind
//	small-disk DIR KIB        put a file system of that size there, where permitted (condition [mount])
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"asdlc-exits": scriptExits, "npz": scriptNPZ, "idx": scriptIDX, "files": scriptFiles, "garbage": scriptGarbage, "cut": scriptCut,
			"onnx": scriptONNX, "external": scriptExternal, "cyclic": scriptCyclic, "is-json": scriptIsJSON, "small-disk": scriptSmallDisk,
			"tensor": scriptTensor, "tar": scriptTar,
		},
		Condition: func(name string) (bool, error) {
			switch name {
			case "mount":
				return canMount(), nil
			case "root":
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("no condition %q", name)
		},
		Setup: func(env *testscript.Env) error {
			env.Setenv("PYTHON", "") // no script needs one
			docs, err := filepath.Abs(filepath.Join("..", "..", "docs"))
			env.Setenv("DOCS", docs)
			return err
		},
	})
}

func scriptExits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	program, args := "asdlc", args[1:]
	if len(args) > 0 && args[0] == "limited" {
		program, args = "asdlc-limited", args[1:]
	}
	err = ts.Exec(program, args...)
	code := 0
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if code != want {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
	stderr := ts.ReadFile("stderr")
	for _, trace := range []string{"panic", "goroutine ", "BUG"} {
		if strings.Contains(stderr, trace) {
			ts.Fatalf("the error output has a trace of the program in it (%q)", trace)
		}
	}
	if code != 0 && !strings.HasPrefix(stderr, "asdlc: ") {
		ts.Fatalf("no error message of asdlc")
	}
}

func scriptNPZ(ts *testscript.TestScript, _ bool, args []string) {
	arrays := map[string]*data.Array{}
	rng := rand.New(rand.NewPCG(1, 2))
	for _, arg := range args[1:] {
		name, spec, _ := strings.Cut(arg, "=")
		parts := strings.Split(spec+"::", ":")
		shape, count := []int{}, 1
		for _, d := range strings.Split(parts[1], "x") {
			if d == "" {
				continue
			}
			n, err := strconv.Atoi(d)
			ts.Check(err)
			shape, count = append(shape, n), count*n
		}
		high := 2
		if parts[2] != "" {
			var err error
			high, err = strconv.Atoi(parts[2])
			ts.Check(err)
		}
		a := &data.Array{Shape: shape}
		switch parts[0] {
		case "float32":
			a.Data = drawn(count, func() float32 { return float32(rng.NormFloat64()) })
		case "float64":
			a.Data = drawn(count, rng.NormFloat64)
		case "int64":
			a.Data = drawn(count, func() int64 { return int64(rng.IntN(high)) })
		case "uint8":
			a.Data = drawn(count, func() uint8 { return uint8(rng.IntN(high)) })
		default:
			ts.Fatalf("no arrays of %s", parts[0])
		}
		arrays[name] = a
	}
	ts.Check(data.WriteNPZ(ts.MkAbs(args[0]), arrays))
}

func scriptIDX(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o777))
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	rng := rand.New(rand.NewPCG(5, 6))
	write := func(name string, high uint32, shape ...int) {
		bytes, count := []byte{0, 0, 8, byte(len(shape))}, 1 // 8: unsigned bytes
		for _, d := range shape {
			bytes = binary.BigEndian.AppendUint32(bytes, uint32(d))
			count *= d
		}
		bytes = append(bytes, drawn(count, func() byte { return byte(rng.Uint32N(high)) })...)
		ts.Check(os.WriteFile(filepath.Join(dir, name), bytes, 0o644))
	}
	for _, part := range []string{"train", "t10k"} {
		write(part+"-images-idx3-ubyte", 256, n, 28, 28)
		write(part+"-labels-idx1-ubyte", 10, n)
	}
}

func drawn[T any](n int, draw func() T) []T {
	out := make([]T, n)
	for i := range out {
		out[i] = draw()
	}
	return out
}

func scriptFiles(ts *testscript.TestScript, _ bool, want []string) {
	entries, err := os.ReadDir(ts.MkAbs("."))
	ts.Check(err)
	var got []string
	for _, e := range entries {
		if e.Name() != ".tmp" { // testscript's own
			got = append(got, e.Name())
		}
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		ts.Fatalf("the folder holds %q, want %q", got, want)
	}
}

func scriptGarbage(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	rng := rand.New(rand.NewPCG(7, uint64(n)))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), drawn(n, func() byte { return byte(rng.Uint32()) }), 0o644))
}

func scriptCut(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	ts.Check(os.Truncate(ts.MkAbs(args[0]), n))
}

func scriptONNX(ts *testscript.TestScript, _ bool, args []string) {
	m, err := graph.Parse(ts.ReadFile(args[0]))
	ts.Check(err)
	out := ts.MkAbs(args[1])
	ts.Check(os.MkdirAll(filepath.Dir(out), 0o777))
	ts.Check(onnx.Write(out, m, onnx.WriteOptions{}))
}

func scriptExternal(ts *testscript.TestScript, _ bool, args []string) {
	m, err := graph.Parse(ts.ReadFile(args[0]))
	ts.Check(err)
	out, old := ts.MkAbs(args[1]), filepath.Base(args[1])+".data"
	if len(old) != len(args[2]) {
		ts.Fatalf("%s and %s differ in length", old, args[2])
	}
	ts.Check(onnx.Write(out, m, onnx.WriteOptions{External: true}))
	text := ts.ReadFile(args[1])
	ts.Check(os.WriteFile(out, []byte(strings.ReplaceAll(text, old, args[2])), 0o644))
}

func scriptCyclic(ts *testscript.TestScript, _ bool, args []string) {
	m := graph.NewModel(17)
	x := m.Graph.AddInput("x", graph.StaticType(graph.Float32, 2))
	a := m.Graph.AddNode("", "Add", []*graph.Value{x, x}, []string{"a"})
	b := m.Graph.AddNode("", "Relu", []*graph.Value{a.Out(0)}, []string{"b"})
	a.SetInput(1, b.Out(0))
	m.Graph.AddOutput(b.Out(0))
	bytes, err := onnx.Encode(m)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), bytes, 0o644))
}

func scriptIsJSON(ts *testscript.TestScript, _ bool, args []string) {
	var v any
	if err := json.Unmarshal([]byte(ts.ReadFile("stdout")), &v); err != nil {
		ts.Fatalf("stdout is no JSON: %v", err)
	}
	for _, arg := range args {
		path, want, _ := strings.Cut(arg, "=")
		node := v
		for _, part := range strings.Split(path, ".") {
			switch at := node.(type) {
			case map[string]any:
				node = at[part]
			case []any:
				i, err := strconv.Atoi(part)
				if err != nil || i >= len(at) {
					ts.Fatalf("%s: no element %s", path, part)
				}
				node = at[i]
			default:
				node = nil
			}
		}
		if got := fmt.Sprint(node); got != want {
			ts.Fatalf("%s is %s, want %s", path, got, want)
		}
	}
}
