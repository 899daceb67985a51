package bench

import (
	"errors"
	"slices"
	"testing"
)

// recorder is a source that notes when it is asked, and fails from some window on.
type recorder struct {
	name  byte
	log   *[]byte
	fails int // at the window of this number, from 1; 0 is never
	asked int
}

var errBroken = errors.New("broken")

func (r *recorder) Window(seconds float64) (Window, error) {
	*r.log = append(*r.log, r.name)
	r.asked++
	if r.asked == r.fails {
		return Window{}, errBroken
	}
	return Window{Steps: int64(r.asked), Seconds: seconds}, nil
}

func TestTakeAlternates(t *testing.T) {
	var log []byte
	sources := []Windows{&recorder{name: 'a', log: &log}, &recorder{name: 'b', log: &log}, &recorder{name: 'c', log: &log}}
	told := 0
	series := Take(sources, 3, 0.25, func() { told++ })
	if got, want := string(log), "abccbaabc"; got != want {
		t.Errorf("windows in the order %s, want %s", got, want)
	}
	if told != 9 {
		t.Errorf("told of %d windows, want 9", told)
	}
	for i, s := range series {
		want := []Window{{Steps: 1, Seconds: 0.25}, {Steps: 2, Seconds: 0.25}, {Steps: 3, Seconds: 0.25}}
		if !slices.Equal(s.Windows, want) || s.Err != nil {
			t.Errorf("source %d: %v, %v, want %v", i, s.Windows, s.Err, want)
		}
	}
}

func TestTakeLeavesOutWhatFails(t *testing.T) {
	var log []byte
	sources := []Windows{&recorder{name: 'a', log: &log}, &recorder{name: 'b', log: &log, fails: 2}}
	series := Take(sources, 4, 0, nil)
	if got, want := string(log), "abbaaa"; got != want {
		t.Errorf("windows in the order %s, want %s", got, want)
	}
	if !errors.Is(series[1].Err, errBroken) || len(series[1].Windows) != 1 || len(series[0].Windows) != 4 {
		t.Errorf("got %v", series)
	}
}
