package runtime

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// A checkpoint is a folder step-N with two files: state.safetensors, every state of the step graph by the name of its
// input, and manifest.json. It is written under a temporary name, synced and renamed: whatever interrupts the writing, the
// checkpoint before it stays the newest.
const (
	stateFile        = "state.safetensors"
	manifestFile     = "manifest.json"
	checkpointPrefix = "step-"
	temporaryPrefix  = ".step-"
	keepCheckpoints  = 2
	pendingPrefix    = "pending/" // of solutions that are not in use yet
	manifestFormat   = 1
)

// Manifest tells what a checkpoint is of.
type Manifest struct {
	Format int             `json:"format"` // 1
	Step   int             `json:"step"`   // steps done
	Epoch  int             `json:"epoch"`  // epochs completed
	Run    RunIdentity     `json:"run"`
	Epochs int             `json:"epochs"` // that were to be done
	Sums   epochSums       `json:"sums"`   // of the epoch that is under way
	States []StateInfo     `json:"states"`
	Digest string          `json:"state_sha256"`
	Method json.RawMessage `json:"method"` // resolved record, metadata asdl.method of the step graph
	// Overrides are the records of some layers, metadata asdl.overrides.
	Overrides json.RawMessage `json:"overrides,omitempty"`
	Version   string          `json:"version"`
	Go        string          `json:"go"`
}

// RunIdentity is what must be the same for a resumed run to continue the one before.
type RunIdentity struct {
	Source   string             `json:"source"` // sha256 of the original file
	Batch    int                `json:"batch"`
	Seed     uint64             `json:"seed"`
	Samples  int                `json:"samples"` // of the training set
	Norm     string             `json:"normalization"`
	Schedule Schedule           `json:"schedule"`
	Hyper    map[string]float64 `json:"hyper"` // base values of hyper-parameters
}

// Checkpoint is a checkpoint that has been read.
type Checkpoint struct {
	Path     string
	Manifest Manifest
	State    map[string]*kernel.Tensor
}

// Weights are the parameters and buffers of the checkpoint. Parameters of which the method keeps an average are that
// average.
func (c *Checkpoint) Weights() map[string]*kernel.Tensor {
	weights := map[string]*kernel.Tensor{}
	for name, in := range weightStates(c.Manifest.States, c.Manifest.Step) {
		weights[name] = c.State[in]
	}
	return weights
}

// weightStates maps parameters and buffers to the states that hold what training has made of them after some steps: averages,
// where the method keeps any and they have begun, else the values that training goes on from.
func weightStates(states []StateInfo, steps int) map[string]string {
	weights := map[string]string{}
	for _, s := range states {
		if s.Kind == "param" || s.Kind == "buffer" {
			weights[s.In] = s.In
		}
	}
	for _, s := range states {
		if s.Kind == "average" && steps > 0 {
			weights[s.Of] = s.In
		}
	}
	return weights
}

// Save writes a checkpoint of the present state to folder dir, which is made if need be, and removes all but the newest
// two. A state that is not finite is a *NonFiniteError, and nothing is written.
func (t *Trainer) Save(dir string) (path string, err error) {
	state := map[string]*kernel.Tensor{}
	for _, s := range t.session.States() {
		v, err := t.session.viewState(s.In)
		if err != nil {
			return "", err
		}
		if !finite(v) {
			return "", &NonFiniteError{Step: t.step, What: "state " + s.In, LR: t.lr()}
		}
		state[s.In] = v
	}
	pending, err := t.solves.Pending()
	if err != nil {
		return "", err
	}
	for name, v := range pending {
		state[pendingPrefix+name] = v
	}
	path = filepath.Join(dir, fmt.Sprintf("%s%08d", checkpointPrefix, t.step))
	if _, err := os.Stat(path); err == nil {
		return path, nil // a step of a run has one state
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	if err := writeCheckpoint(dir, path, state, t.manifest()); err != nil {
		return "", fmt.Errorf("checkpoint: %w", err)
	}
	return path, prune(dir)
}

func (t *Trainer) manifest() Manifest {
	m := Manifest{
		Format: manifestFormat, Step: t.step, Epoch: t.step / t.perEpoch, Run: t.identity(), Epochs: t.config.Epochs, Sums: t.epoch,
		States: t.session.States(), Version: t.session.model.Version, Go: runtime.Version(),
	}
	if t.method != "" {
		m.Method = json.RawMessage(t.method)
	}
	if t.overrides != "" {
		m.Overrides = json.RawMessage(t.overrides)
	}
	return m
}

func (t *Trainer) identity() RunIdentity {
	train := t.config.Data.Train
	id := RunIdentity{
		Source: t.source, Batch: t.config.Batch, Seed: t.config.Seed, Samples: train.Len(), Norm: fmt.Sprintf("%+v", train.Norm()),
		Schedule: t.config.Schedule, Hyper: map[string]float64{},
	}
	for name := range t.contract.hypers {
		if in := t.session.byName[name]; in.bound != nil {
			id.Hyper[name] = readScalar(in.bound)
		}
	}
	for _, r := range t.rates {
		id.Hyper[r.name] = r.base
	}
	return id
}

func finite(t *kernel.Tensor) bool {
	var sum float64 // NaN as soon as one element is not finite
	switch t.Elem {
	case graph.Float32:
		for _, v := range kernel.Data[float32](t) {
			sum += float64(v - v)
		}
	case graph.Float64:
		for _, v := range kernel.Data[float64](t) {
			sum += v - v
		}
	}
	return sum == 0
}

// writeCheckpoint writes both files to a temporary folder and gives it its name.
func writeCheckpoint(dir, path string, state map[string]*kernel.Tensor, m Manifest) (err error) {
	tmp, err := os.MkdirTemp(dir, temporaryPrefix+"*.tmp")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(tmp)
		}
	}()
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	sum := sha256.New()
	if err := writeSynced(filepath.Join(tmp, stateFile), func(w io.Writer) error {
		return WriteSafetensors(io.MultiWriter(w, sum), state, map[string]string{"format": "asdlc"})
	}); err != nil {
		return err
	}
	m.Digest = encodeSum(sum)
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	if err := writeSynced(filepath.Join(tmp, manifestFile), func(w io.Writer) error {
		_, err := w.Write(append(text, '\n'))
		return err
	}); err != nil {
		return err
	}
	if err := syncFolder(tmp); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncFolder(dir)
}

func encodeSum(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

// writeSynced writes a new file, which is on disk when it returns.
func writeSynced(path string, write func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	b := bufio.NewWriterSize(f, 1<<20)
	return cmp.Or(write(b), b.Flush(), f.Sync(), f.Close()) // the first failure; the others follow from it
}

// syncFolder makes the names in a folder durable.
func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Checkpoints lists the checkpoints in a folder, the oldest first; none if the folder does not exist.
func Checkpoints(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	steps := map[string]int{}
	var paths []string
	for _, e := range entries {
		step, err := strconv.Atoi(strings.TrimPrefix(e.Name(), checkpointPrefix))
		if e.IsDir() && strings.HasPrefix(e.Name(), checkpointPrefix) && err == nil {
			path := filepath.Join(dir, e.Name())
			steps[path] = step
			paths = append(paths, path)
		}
	}
	slices.SortFunc(paths, func(a, b string) int { return steps[a] - steps[b] })
	return paths, nil
}

// prune removes old checkpoints and what interrupted writing left behind.
func prune(dir string) error {
	paths, err := Checkpoints(dir)
	if err != nil {
		return err
	}
	return removeCheckpoints(dir, paths[:max(0, len(paths)-keepCheckpoints)])
}

// ClearCheckpoints removes all checkpoints from a folder; other files in it stay.
func ClearCheckpoints(dir string) error {
	paths, err := Checkpoints(dir)
	if err != nil {
		return err
	}
	return removeCheckpoints(dir, paths)
}

func removeCheckpoints(dir string, paths []string) error {
	stale, err := filepath.Glob(filepath.Join(dir, temporaryPrefix+"*.tmp"))
	if err != nil {
		return err
	}
	for _, p := range append(stale, paths...) {
		if err := os.RemoveAll(p); err != nil {
			return err
		}
	}
	return nil
}

// ReadCheckpoint reads a checkpoint, or the newest one in a folder of checkpoints. The state is compared with the digest in
// the manifest.
func ReadCheckpoint(path string) (*Checkpoint, error) {
	if _, err := os.Stat(filepath.Join(path, manifestFile)); err != nil {
		paths, err := Checkpoints(path)
		if err != nil {
			return nil, err
		}
		if len(paths) == 0 {
			return nil, &fs.PathError{Op: "read checkpoint", Path: path, Err: fmt.Errorf("%w: no folder %sN in it", fs.ErrNotExist, checkpointPrefix)}
		}
		path = paths[len(paths)-1]
	}
	c := &Checkpoint{Path: path}
	text, err := os.ReadFile(filepath.Join(path, manifestFile))
	if err != nil {
		return nil, err
	}
	damaged := func(err error) (*Checkpoint, error) {
		return nil, fmt.Errorf("checkpoint %s: %w: %w; remove it to use the one before", path, graph.ErrInvalid, err)
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	if err := dec.Decode(&c.Manifest); err != nil {
		return damaged(fmt.Errorf("%s: %w", manifestFile, err))
	}
	if c.Manifest.Format != manifestFormat {
		return damaged(fmt.Errorf("%s has format %d, want %d", manifestFile, c.Manifest.Format, manifestFormat))
	}
	state := filepath.Join(path, stateFile)
	digest, err := fileDigest(state)
	if err != nil {
		return nil, err
	}
	if digest != c.Manifest.Digest {
		return damaged(fmt.Errorf("%s has changed since it was written", stateFile))
	}
	if c.State, _, err = ReadSafetensors(state); err != nil {
		return nil, err
	}
	for _, s := range c.Manifest.States {
		if c.State[s.In] == nil {
			return damaged(fmt.Errorf("no state %q in %s", s.In, stateFile))
		}
	}
	return c, nil
}

func fileDigest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return encodeSum(h), nil
}

// Resume continues from a checkpoint of the same run: file, method, data, batch size, seed, schedule and hyper-parameters
// must be those of the checkpoint; the number of epochs may differ. On the same machine with the same number of threads the
// result is bit for bit that of a run without interruption.
func (t *Trainer) Resume(c *Checkpoint) error {
	if err := t.sameRun(c.Manifest); err != nil {
		return fmt.Errorf("checkpoint %s: %w", c.Path, err)
	}
	states := t.session.States()
	pending := map[string]*kernel.Tensor{}
	for name, v := range c.State {
		if output, ok := strings.CutPrefix(name, pendingPrefix); ok {
			pending[output] = v
		}
	}
	if n := len(c.State) - len(pending); len(states) != n {
		return fmt.Errorf("checkpoint %s: %w: it has %d states, the step graph %d", c.Path, ErrFeed, n, len(states))
	}
	for _, s := range states {
		if err := t.session.SetState(s.In, c.State[s.In]); err != nil {
			return fmt.Errorf("checkpoint %s: %w", c.Path, err)
		}
	}
	if err := t.solves.Restore(pending); err != nil {
		return fmt.Errorf("checkpoint %s: %w", c.Path, err)
	}
	t.step, t.epoch = c.Manifest.Step, c.Manifest.Sums
	t.setRates(max(0, t.step-1)) // an epoch may still have to be reported
	return nil
}

// sameRun names the first difference between the run of a checkpoint and this one.
func (t *Trainer) sameRun(m Manifest) error {
	was, is := m.Run, t.identity()
	for _, row := range []struct {
		what    string
		was, is any
	}{
		{"model file (sha256)", was.Source, is.Source},
		{"method record", compact(m.Method), t.method},
		{"method record of a layer", compact(m.Overrides), t.overrides},
		{"batch size", was.Batch, is.Batch},
		{"seed", was.Seed, is.Seed},
		{"number of training samples", was.Samples, is.Samples},
		{"normalisation", was.Norm, is.Norm},
		{"schedule", was.Schedule, is.Schedule},
		{"hyper-parameters", fmt.Sprint(was.Hyper), fmt.Sprint(is.Hyper)},
	} {
		if row.was != row.is {
			return fmt.Errorf("%w: made with another %s: %v, now %v; resume with the settings of the first run", ErrFeed, row.what, row.was, row.is)
		}
	}
	if m.Step < 0 || m.Epoch != m.Step/t.perEpoch {
		return fmt.Errorf("%w: step %d is not in epoch %d", ErrFeed, m.Step, m.Epoch)
	}
	return nil
}

// compact is JSON without white space.
func compact(text json.RawMessage) string {
	var b bytes.Buffer
	if err := json.Compact(&b, text); err != nil {
		return string(text)
	}
	return b.String()
}
