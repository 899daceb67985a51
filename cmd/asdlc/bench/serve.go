package bench

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// planRequest asks for a Plan.
const planRequest = "plan"

// Serve writes what the worker was built as, then answers each line of r by a line of JSON, until r ends: a number by a
// Window of at least that many seconds, "plan" by a Plan.
func Serve(w *Worker, r io.Reader, out io.Writer) error {
	enc := json.NewEncoder(out)
	if err := enc.Encode(w.Built); err != nil {
		return err
	}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		answer, err := w.answer(strings.TrimSpace(lines.Text()))
		if err != nil {
			return err
		}
		if err := enc.Encode(answer); err != nil {
			return err
		}
	}
	return lines.Err()
}

func (w *Worker) answer(request string) (any, error) {
	if request == planRequest {
		return w.Plan()
	}
	seconds, err := strconv.ParseFloat(request, 64)
	if err != nil || !(seconds >= 0) {
		return nil, fmt.Errorf("request %q: want a number of seconds, or %s", request, planRequest)
	}
	return w.Window(seconds)
}
