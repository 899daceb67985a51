package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/cpu"

	"github.com/asdlc/asdlc/models"
	"github.com/asdlc/asdlc/passes"
	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
	asdlcruntime "github.com/asdlc/asdlc/runtime"
	"github.com/asdlc/asdlc/runtime/dl"
	"github.com/asdlc/asdlc/runtime/kernel"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// diagnosis is what doctor finds.
type diagnosis struct {
	buildVersion
	Gorgonia    string    `json:"gorgonia"`
	CPU         string    `json:"cpu,omitempty"`
	Features    []string  `json:"cpu_features"`
	Cores       int       `json:"cores"`
	Memory      int64     `json:"memory_bytes,omitempty"`
	Kernels     []string  `json:"kernels"` // sets that run here, the one in use first
	Libraries   libraries `json:"libraries"`
	Python      string    `json:"python,omitempty"`
	ONNXRuntime string    `json:"onnxruntime,omitempty"` // version in that Python
	PythonError string    `json:"python_error,omitempty"`
	SelfTest    string    `json:"self_test"` // "ok", or what went wrong
}

// libraries are the optional shared libraries.
type libraries struct {
	LAPACK   string   `json:"lapack,omitempty"` // the file
	Version  string   `json:"lapack_version,omitempty"`
	Absent   string   `json:"lapack_absent,omitempty"`   // why there is none
	UsedFor  []string `json:"lapack_used_for,omitempty"` // operators that are faster with it on this processor
	Warnings []string `json:"warnings,omitempty"`
}

func newDoctor(e *env) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Tell what this machine has, and whether the runtime works on it",
		Long: `Tell what this machine has: processor features and the kernels that use them, memory, optional libraries, Python with
onnxruntime for checks of exported files. A small network is compiled and trained for one step as a test; exit code 1 if that
fails.

LAPACK is OpenBLAS (libopenblas.so.0) or, on macOS, Accelerate. It is used on processors without assembler kernels, where it takes
a fraction of the time; others do not need it. ` + dl.Setting + `=off leaves it out, ` + dl.Setting + `=FILE takes
a file, with a slash in its name, in place of the search. Programs built with -tags nodl have none.

Python is looked for at $ASDLC_PYTHON, else in ./.venv, else on the PATH. Nothing but Go is needed to train.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			d := diagnose(c.Context())
			if asJSON {
				if err := printJSON(e.stdout, d); err != nil {
					return err
				}
			} else {
				e.printDiagnosis(d)
			}
			if d.SelfTest != "ok" {
				return fmt.Errorf("self-test: %s", d.SelfTest)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return c
}

func diagnose(ctx context.Context) diagnosis {
	if ctx == nil {
		ctx = context.Background()
	}
	d := diagnosis{
		buildVersion: thisVersion(), Gorgonia: moduleVersion("gorgonia.org/gorgonia"),
		CPU: procField("/proc/cpuinfo", "model name"), Features: cpuFeatures(), Cores: runtime.NumCPU(),
	}
	d.Memory = machineMemory()
	for _, k := range amd64.Available() {
		d.Kernels = append(d.Kernels, k.Name)
	}
	d.libraries(dl.Here(), amd64.Best())
	d.python(ctx)
	d.SelfTest = "ok"
	if err := selfTest(); err != nil {
		d.SelfTest = err.Error()
	}
	return d
}

// moduleVersion is the version of a module that this program was built with.
func moduleVersion(path string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == path {
				return m.Version
			}
		}
	}
	return "unknown version"
}

// machineMemory is the physical memory in bytes; 0 if it is not known.
func machineMemory() int64 {
	kib, _ := strings.CutSuffix(procField("/proc/meminfo", "MemTotal"), " kB")
	n, _ := strconv.ParseInt(strings.TrimSpace(kib), 10, 64)
	return n << 10
}

// procField is the first value of a field of a file of lines "name: value", or "".
func procField(path, name string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// cpuFeatures lists the features that kernels are chosen by.
func cpuFeatures() []string {
	features := []string{}
	for _, f := range []struct {
		name string
		has  bool
	}{
		{"avx2", cpu.X86.HasAVX2},
		{"fma", cpu.X86.HasFMA},
		{"bmi2", cpu.X86.HasBMI2},
		{"avx512f", cpu.X86.HasAVX512F},
		{"avx512dq", cpu.X86.HasAVX512DQ},
		{"avx512bw", cpu.X86.HasAVX512BW},
		{"avx512vl", cpu.X86.HasAVX512VL},
	} {
		if f.has {
			features = append(features, f.name)
		}
	}
	return features
}

// libraries looks for the optional libraries, and for what would slow them down. What they are used for depends on the kernels.
func (d *diagnosis) libraries(found *dl.Libraries, kernels *amd64.Kernels) {
	d.Libraries = libraries{}
	if kernel.WantsLibrary(kernels) {
		for _, row := range kernel.Library(found) {
			d.Libraries.UsedFor = append(d.Libraries.UsedFor, row.Domain+"."+row.Op)
		}
	}
	lapack, err := found.LAPACK()
	if err != nil {
		d.Libraries.Absent = err.Error()
		return
	}
	d.Libraries.LAPACK, d.Libraries.Version = lapack.File, lapack.Version
	for _, name := range dl.Slowdowns(os.Getenv) {
		d.Libraries.Warnings = append(d.Libraries.Warnings, fmt.Sprintf("%s=%s slows OpenBLAS down: unset it", name, os.Getenv(name)))
	}
}

// python looks for a Python and asks it for onnxruntime.
func (d *diagnosis) python(ctx context.Context) {
	for _, candidate := range []string{os.Getenv("ASDLC_PYTHON"), filepath.Join(".venv", "bin", "python"), "python3"} {
		if candidate == "" {
			continue
		}
		if path, err := exec.LookPath(candidate); err == nil {
			d.Python = path
			break
		}
	}
	if d.Python == "" {
		d.PythonError = "no Python found"
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, d.Python, "-c", "import onnxruntime; print(onnxruntime.__version__)").Output()
	if err != nil {
		d.PythonError = "it has no onnxruntime"
		return
	}
	d.ONNXRuntime = strings.TrimSpace(string(out))
}

// selfTest compiles a small network with K-FAC and trains it for one step.
func selfTest() error {
	m, err := models.Build("mlp", models.Options{Widths: []int{4, 3, 2}})
	if err != nil {
		return err
	}
	rec, _ := method.Lookup("kfac")
	r, err := passes.Instrument(m, rec, pass.Options{}, "")
	if err != nil {
		return err
	}
	s, err := asdlcruntime.NewSession(r.Step, asdlcruntime.Options{})
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.LoadInit(r.Init); err != nil {
		return err
	}
	x := []float32{1, 2, 3, 4, -1, 0, 1, 2}
	outs, err := s.Run(map[string]*kernel.Tensor{"input": kernel.Of(x, 2, 4), "target": kernel.Of([]int64{0, 1}, 2)}, []string{"loss"})
	if err != nil {
		return err
	}
	if loss := kernel.Data[float32](outs["loss"])[0]; !(loss > 0 && loss < 100) {
		return fmt.Errorf("the loss of the first step is %g", loss)
	}
	return nil
}

func (e *env) printDiagnosis(d diagnosis) {
	t := newTable("asdlc", d.Version)
	t.add("go", d.Go+" on "+d.Platform)
	t.add("gorgonia", d.Gorgonia)
	t.add("processor", fmt.Sprintf("%s, %d cores", dash(d.CPU), d.Cores))
	t.add("features", dash(strings.Join(d.Features, " ")))
	t.add("kernels", d.Kernels[0]+" (also runs: "+strings.Join(d.Kernels[1:], ", ")+")")
	if len(d.Kernels) == 1 {
		t.rows[len(t.rows)-1][1] = d.Kernels[0] + " (no assembler kernels for this processor: matrix products are slow)"
	}
	if d.Memory > 0 {
		t.add("memory", byteSize(int(d.Memory)))
	}
	d.Libraries.print(t, d.Kernels[0])
	switch {
	case d.Python == "":
		t.add("python", "none; only checks of exported files need it")
	case d.ONNXRuntime == "":
		t.add("python", d.Python+", without onnxruntime (make venv gets it; only checks of exported files need it)")
	default:
		t.add("python", d.Python+", onnxruntime "+d.ONNXRuntime)
	}
	t.add("self-test", d.SelfTest)
	t.write(e.stdout)
}

// print adds rows to the table; kernels is the name of the set in use.
func (l libraries) print(t *table, kernels string) {
	uses := strings.Join(l.UsedFor, ", ")
	switch {
	case l.LAPACK == "" && uses == "":
		t.add("lapack", l.Absent+"; not needed: the "+kernels+" kernels are about as fast")
	case l.LAPACK == "":
		t.add("lapack", l.Absent)
		t.add("", "it would take a fraction of the time in "+uses+" (Debian: apt install libopenblas0)")
	case uses == "":
		t.add("lapack", strings.TrimSpace(l.LAPACK+" "+l.Version))
		t.add("", "not used: the "+kernels+" kernels are about as fast")
	default:
		t.add("lapack", strings.TrimSpace(l.LAPACK+" "+l.Version))
		t.add("", "used for "+uses)
	}
	for _, w := range l.Warnings {
		t.add("warning", w)
	}
}
