package runtime_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime"
)

// resumeConfig trains 3 epochs of 10 steps.
func resumeConfig(t testing.TB, dir string) runtime.TrainerConfig {
	return runtime.TrainerConfig{
		Data: digits(t, 105, 20), Original: softmaxModel(t), Batch: 10, Epochs: 3, Seed: 3, Schedule: runtime.Schedule{Kind: "cosine"},
		Checkpoint: dir, Hyper: map[string]float64{"lr": 0.02},
	}
}

// 2N steps are N steps, a resume, and N steps: parameters to the bit, and what the interrupted epoch reports.
func TestResumeIsBitExact(t *testing.T) {
	var whole, parts []string
	report := func(to *[]string) func(runtime.EpochResult) error {
		return func(r runtime.EpochResult) error {
			*to = append(*to, fmt.Sprint(r.Epoch, r.Steps, r.LR, r.Loss, r.Accuracy, *r.Test))
			return nil
		}
	}
	c := resumeConfig(t, "")
	c.OnEpoch = report(&whole)
	want := newTrainer(t, c)
	if err := want.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "checkpoints")
	for _, stop := range []int{7, 10, 25, 31} { // within an epoch, at its end before the evaluation, far on; 31 never comes
		c := resumeConfig(t, dir)
		ctx, cancel := context.WithCancel(t.Context())
		c.OnEpoch = report(&parts)
		c.OnStep = func(r runtime.StepResult) {
			if r.Step+1 == stop {
				cancel()
			}
		}
		tr := newTrainer(t, c)
		if old, err := runtime.Checkpoints(dir); err != nil {
			t.Fatal(err)
		} else if len(old) > 0 {
			ck, err := runtime.ReadCheckpoint(dir)
			if err != nil {
				t.Fatal(err)
			}
			if err := tr.Resume(ck); err != nil {
				t.Fatal(err)
			}
		}
		err := tr.Run(ctx)
		cancel()
		if stop < 31 && !errors.Is(err, context.Canceled) || stop == 31 && err != nil {
			t.Fatalf("stop at %d: %v", stop, err)
		}
		if stop == 31 && fmt.Sprint(weights(t, tr)) != fmt.Sprint(weights(t, want)) {
			t.Error("resumed training gives other weights")
		}
	}
	if fmt.Sprint(parts) != fmt.Sprint(whole) {
		t.Errorf("resumed training reports %v, want %v", parts, whole)
	}
	if paths, _ := runtime.Checkpoints(dir); len(paths) != 2 || filepath.Base(paths[1]) != "step-00000030" {
		t.Errorf("checkpoints left: %v", paths)
	}
}

// saved trains for an epoch and returns the folder of checkpoints.
func saved(t *testing.T, change func(*runtime.TrainerConfig)) (string, *runtime.Trainer) {
	t.Helper()
	dir := t.TempDir()
	c := resumeConfig(t, dir)
	c.Epochs = 1
	if change != nil {
		change(&c)
	}
	tr := newTrainer(t, c)
	if err := tr.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return dir, tr
}

func TestResumeRefusesAnotherRun(t *testing.T) {
	dir, _ := saved(t, nil)
	ck, err := runtime.ReadCheckpoint(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		says   string
		change func(*runtime.TrainerConfig)
	}{
		{"batch size: 10, now 12", func(c *runtime.TrainerConfig) { c.Batch = 12 }},
		{"seed", func(c *runtime.TrainerConfig) { c.Seed = 4 }},
		{"training samples", func(c *runtime.TrainerConfig) { c.Data = digits(t, 110, 20) }},
		{"schedule", func(c *runtime.TrainerConfig) { c.Schedule.Floor = 0.1 }},
		{"hyper-parameters", func(c *runtime.TrainerConfig) { c.Hyper = nil }},
		{"normalisation", func(c *runtime.TrainerConfig) {
			if _, err := c.Data.Normalize("scale"); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		config := resumeConfig(t, "")
		c.change(&config)
		err := newTrainer(t, config).Resume(ck)
		if !errors.Is(err, runtime.ErrFeed) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.says, err)
		}
	}
	longer := resumeConfig(t, "")
	longer.Epochs = 7
	if err := newTrainer(t, longer).Resume(ck); err != nil {
		t.Errorf("more epochs: %v", err)
	}
}

func TestDamagedCheckpointsAreErrors(t *testing.T) {
	for _, c := range []struct {
		name, file, says string
		damage           func([]byte) []byte
	}{
		{"flipped bit", "state.safetensors", "has changed", func(b []byte) []byte { b[len(b)-1] ^= 1; return b }},
		{"cut short", "state.safetensors", "has changed", func(b []byte) []byte { return b[:len(b)/2] }},
		{"manifest cut short", "manifest.json", "manifest.json", func(b []byte) []byte { return b[:len(b)/2] }},
		{"manifest of the future", "manifest.json", "format 2", func(b []byte) []byte {
			return []byte(strings.Replace(string(b), `"format": 1`, `"format": 2`, 1))
		}},
		{"state not listed", "manifest.json", `no state "v"`, func(b []byte) []byte {
			return []byte(strings.Replace(string(b), `"in": "w"`, `"in": "v"`, 1))
		}},
	} {
		dir, _ := saved(t, nil)
		path := filepath.Join(dir, "step-00000010", c.file)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, c.damage(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := runtime.ReadCheckpoint(dir); !errors.Is(err, graph.ErrInvalid) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if _, err := runtime.ReadCheckpoint(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("empty folder: %v", err)
	}
	if _, err := runtime.ReadCheckpoint(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
}

// What an interrupted writing leaves is not read, and goes with the next checkpoint.
func TestUnfinishedCheckpointsAreIgnored(t *testing.T) {
	dir, tr := saved(t, nil)
	stale := filepath.Join(dir, ".step-123.tmp")
	if err := os.Mkdir(stale, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(stale, "state.safetensors"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	ck, err := runtime.ReadCheckpoint(dir)
	if err != nil || ck.Manifest.Step != 10 {
		t.Fatalf("%v", err)
	}
	if err := os.RemoveAll(ck.Path); err != nil {
		t.Fatal(err)
	}
	if _, err := tr.Save(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(stale); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("left over: %v", err)
	}
	if err := runtime.ClearCheckpoints(dir); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
}

func TestSaveFailsCleanly(t *testing.T) {
	_, tr := saved(t, nil)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := tr.Save(file); err == nil {
		t.Error("a file taken for a folder")
	}
	if os.Geteuid() == 0 {
		return // the superuser may write anywhere
	}
	locked := t.TempDir()
	if err := os.Chmod(locked, 0o500); err != nil {
		t.Fatal(err)
	}
	if _, err := tr.Save(locked); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("folder that cannot be written: %v", err)
	}
}

// killedTrainer names the environment variable that turns the test binary into a training that is killed.
const killedTrainer = "ASDLC_TEST_KILLED_TRAINER"

// A process killed at any time leaves a checkpoint that can be read, once there has been one.
func TestKilledWhileWriting(t *testing.T) {
	if dir := os.Getenv(killedTrainer); dir != "" {
		c := resumeConfig(t, dir)
		c.Epochs, c.CheckpointEvery = 1000, 1
		_ = newTrainer(t, c).Run(t.Context())
		return
	}
	dir := t.TempDir()
	for i := range 6 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledWhileWriting$")
		cmd.Env = append(os.Environ(), killedTrainer+"="+dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
			if paths, _ := runtime.Checkpoints(dir); len(paths) > 1 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("no checkpoint in 20 s")
			}
		}
		time.Sleep(time.Duration(i) * 1300 * time.Microsecond)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		ck, err := runtime.ReadCheckpoint(dir)
		if err != nil {
			t.Fatalf("kill %d: %v", i, err)
		}
		c := resumeConfig(t, "")
		c.Epochs = 1000
		if err := newTrainer(t, c).Resume(ck); err != nil {
			t.Fatalf("kill %d: %v", i, err)
		}
	}
}
