package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
)

// Process is a worker in a process of its own.
type Process struct {
	Built  Built
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *json.Decoder
	stderr bytes.Buffer
	failed error
}

// ProcessError is a worker that ended by itself.
type ProcessError struct {
	Code    int    // exit code; -1 if it was killed
	Message string // the last line of what it wrote to standard error, or how it ended
}

// Error implements error.
func (e *ProcessError) Error() string { return e.Message }

// Start runs a command that serves a worker, and waits until it is ready.
func Start(cmd *exec.Cmd) (*Process, error) {
	p := &Process{cmd: cmd}
	cmd.Stderr = &p.stderr
	var err error
	if p.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p.out = json.NewDecoder(out)
	return p, p.receive(&p.Built)
}

// Window asks for a window of at least so many seconds.
func (p *Process) Window(seconds float64) (Window, error) {
	var w Window
	err := p.request(fmt.Sprint(seconds), &w)
	if err == nil && w.Steps == 0 {
		err = errors.New("BUG: a window without steps")
	}
	return w, err
}

// Plan asks for the prediction of the memory.
func (p *Process) Plan() (Plan, error) {
	var plan Plan
	return plan, p.request(planRequest, &plan)
}

func (p *Process) request(line string, answer any) error {
	if p.failed != nil {
		return p.failed
	}
	if _, err := fmt.Fprintln(p.in, line); err != nil {
		return p.ended(err)
	}
	return p.receive(answer)
}

// receive reads an answer. A process that gives none has ended, and told why.
func (p *Process) receive(answer any) error {
	if err := p.out.Decode(answer); err != nil {
		return p.ended(err)
	}
	return nil
}

// ended waits for a process that does not answer.
func (p *Process) ended(cause error) error {
	_ = p.in.Close()
	p.failed = cause
	if exit := (*exec.ExitError)(nil); errors.As(p.cmd.Wait(), &exit) {
		lines := strings.Split(strings.TrimSpace(p.stderr.String()), "\n")
		message := strings.TrimPrefix(lines[len(lines)-1], "asdlc: ")
		if message == "" || exit.ExitCode() < 0 {
			message = exit.String()
		}
		p.failed = &ProcessError{exit.ExitCode(), message}
	}
	return p.failed
}

// Close ends the process.
func (p *Process) Close() error {
	if p.failed != nil {
		return nil
	}
	p.failed = errors.New("closed")
	_ = p.in.Close()
	return p.cmd.Wait()
}
