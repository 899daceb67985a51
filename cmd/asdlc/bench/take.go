package bench

// Windows is a source of windows: a process, or a worker.
type Windows interface {
	Window(seconds float64) (Window, error)
}

// Series is the windows of one source, one a round; after an error there are no more.
type Series struct {
	Windows []Window
	Err     error
}

// Take has each source run a window in every round, in turn: forwards in the first round, backwards in the next, and so on,
// so that a drift of the machine's speed falls on all alike and each has the ones beside it before and after. A source that
// fails is left out from then on. done, if set, is called after each window.
func Take(sources []Windows, rounds int, seconds float64, done func()) []Series {
	series := make([]Series, len(sources))
	for round := range rounds {
		for k := range sources {
			i := k
			if round%2 == 1 {
				i = len(sources) - 1 - k
			}
			s := &series[i]
			if s.Err != nil {
				continue
			}
			var w Window
			if w, s.Err = sources[i].Window(seconds); s.Err == nil {
				s.Windows = append(s.Windows, w)
			}
			if done != nil {
				done()
			}
		}
	}
	return series
}
