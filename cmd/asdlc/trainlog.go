package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/asdlc/asdlc/runtime"
)

// trainLog tells how a training goes: a table (or JSON lines) on standard output, a progress bar on a terminal.
type trainLog struct {
	out    io.Writer
	asJSON bool
	file   *os.File // of JSON lines, or nil
	bar    *progressbar.ProgressBar
	screen io.Writer // terminal for the bar, or nil
	epochs int
	last   *runtime.Score
}

func newTrainLog(e *env, f *trainFlags) (*trainLog, error) {
	l := &trainLog{out: e.stdout, asJSON: f.asJSON, epochs: f.config.Epochs}
	if isTerminal(e.stderr) {
		l.screen = e.stderr
	}
	if f.log == "" {
		return l, nil
	}
	var err error
	l.file, err = os.Create(f.log)
	return l, err
}

// isTerminal reports whether w is a terminal, where a progress bar can be drawn.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func (l *trainLog) close() {
	if l.file != nil {
		_ = l.file.Close()
	}
}

// epochLine is the format of a row of the table and of its head.
const (
	headLine  = "%-7s %-9s %-8s %-8s %-8s %s\n"
	epochLine = "%-7s %-9.4f %-8s %-8s %-8.1f %s\n"
)

func (l *trainLog) begin(t *runtime.Trainer) {
	if !l.asJSON {
		fmt.Fprintf(l.out, headLine, "epoch", "loss", "train", "test", "seconds", "images/s")
	}
	done, total := t.Steps()
	if l.screen != nil {
		l.bar = progressbar.NewOptions(total,
			progressbar.OptionSetWriter(l.screen), progressbar.OptionSetWidth(30), progressbar.OptionThrottle(100e6),
			progressbar.OptionSetItsString("step"), progressbar.OptionShowIts(), progressbar.OptionShowCount(),
			progressbar.OptionClearOnFinish(), progressbar.OptionSetPredictTime(true))
		_ = l.bar.Set(done)
	}
}

func (l *trainLog) step(r runtime.StepResult) {
	if l.bar != nil {
		l.bar.Describe(fmt.Sprintf("epoch %d loss %.4f", r.Epoch+1, r.Loss))
		_ = l.bar.Set(r.Step + 1)
	}
}

// epoch prints one row. On a terminal it takes the place of the bar, which is drawn again below.
func (l *trainLog) epoch(r runtime.EpochResult) error {
	l.interrupt()
	l.last = r.Test
	if l.file != nil {
		if err := json.NewEncoder(l.file).Encode(r); err != nil {
			return err
		}
	}
	if l.asJSON {
		return json.NewEncoder(l.out).Encode(r)
	}
	test := "-"
	if r.Test != nil {
		test = percent(r.Test.Accuracy)
	}
	speed := "-" // an epoch whose last step was done before an interruption
	if r.Images > 0 {
		speed = fmt.Sprintf("%.0f", float64(r.Images)/r.Seconds)
	}
	_, err := fmt.Fprintf(l.out, epochLine, fmt.Sprintf("%d/%d", r.Epoch, l.epochs), r.Loss, percent(r.Accuracy), test, r.Seconds, speed)
	if r.Failures > 0 && err == nil {
		_, err = fmt.Fprintf(l.out, "        %d solves so far were not finite; the inverses before them were kept\n", r.Failures)
	}
	return err
}

// interrupt clears the bar, for lines of text.
func (l *trainLog) interrupt() {
	if l.bar != nil {
		_ = l.bar.Clear()
	}
}

func percent(v float64) string { return fmt.Sprintf("%.2f%%", 100*v) }

// finish says what has been written.
func (l *trainLog) finish(path string, err error) error {
	l.interrupt()
	if err != nil || l.asJSON {
		return err
	}
	if l.last != nil {
		fmt.Fprintf(l.out, "test accuracy %s\n", percent(l.last.Accuracy))
	}
	if path != "" {
		fmt.Fprintf(l.out, "wrote %s\n", path)
	}
	return nil
}
