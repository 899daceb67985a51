package runtime

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Schedule is how a rate changes in the course of training, as a factor on its base value. The zero value is constant.
type Schedule struct {
	// Kind is "constant" (also ""), "cosine" or "step".
	Kind string `json:"kind"`
	// Floor is the factor that cosine ends at.
	Floor float64 `json:"floor,omitempty"`
	// Every is the number of epochs after which step multiplies the factor by Gamma, again and again.
	Every float64 `json:"every,omitempty"`
	Gamma float64 `json:"gamma,omitempty"`
	// Warmup is the number of epochs in which the factor first rises linearly to what it would be.
	Warmup float64 `json:"warmup,omitempty"`
}

// ParseSchedule reads what a command line says: constant, cosine, cosine:FLOOR, or step:EPOCHS,FACTOR.
func ParseSchedule(text string) (Schedule, error) {
	bad := func(why string) (Schedule, error) {
		return Schedule{}, fmt.Errorf("schedule %q: %s; want constant, cosine, cosine:FLOOR or step:EPOCHS,FACTOR", text, why)
	}
	kind, rest, given := strings.Cut(text, ":")
	var numbers []float64
	if given {
		for part := range strings.SplitSeq(rest, ",") {
			v, err := strconv.ParseFloat(part, 64)
			if err != nil {
				return bad(fmt.Sprintf("%q is no number", part))
			}
			numbers = append(numbers, v)
		}
	}
	s := Schedule{Kind: kind}
	switch {
	case kind == "constant" && len(numbers) == 0, kind == "cosine" && len(numbers) == 0:
	case kind == "cosine" && len(numbers) == 1:
		s.Floor = numbers[0]
	case kind == "step" && len(numbers) == 2:
		s.Every, s.Gamma = numbers[0], numbers[1]
	case kind == "step":
		return bad("it needs two numbers")
	case kind == "constant" || kind == "cosine":
		return bad("too many numbers")
	default:
		return bad("unknown kind")
	}
	return s, s.Validate()
}

// Validate names the field that cannot be as it is.
func (s Schedule) Validate() error {
	bad := func(v float64) bool { return v < 0 || v-v != 0 }
	switch {
	case s.Kind != "" && s.Kind != "constant" && s.Kind != "cosine" && s.Kind != "step":
		return fmt.Errorf("schedule kind %q: want constant, cosine or step", s.Kind)
	case bad(s.Floor) || s.Floor > 1:
		return fmt.Errorf("schedule floor %g: want 0 to 1", s.Floor)
	case s.Kind == "step" && (bad(s.Every) || s.Every == 0):
		return fmt.Errorf("schedule step every %g epochs: want more than 0", s.Every)
	case bad(s.Gamma):
		return fmt.Errorf("schedule factor %g: want 0 or more", s.Gamma)
	case bad(s.Warmup):
		return fmt.Errorf("schedule warm-up of %g epochs: want 0 or more", s.Warmup)
	}
	return nil
}

// Factor is the factor at a step of a training of so many epochs of so many steps.
//
//	cosine  Floor + (1-Floor)/2 (1 + cos(pi t/T)), t counted from the end of the warm-up (Loshchilov & Hutter 2017)
//	step    Gamma^floor(epoch/Every)
func (s Schedule) Factor(step, stepsPerEpoch, epochs int) float64 {
	warm := s.Warmup * float64(stepsPerEpoch)
	at, end := float64(step), float64(stepsPerEpoch*epochs)
	factor := 1.0
	switch s.Kind {
	case "cosine":
		t := 0.0
		if end > warm {
			t = min(max((at-warm)/(end-warm), 0), 1)
		}
		factor = s.Floor + (1-s.Floor)/2*(1+math.Cos(math.Pi*t))
	case "step":
		factor = math.Pow(s.Gamma, math.Floor(at/float64(stepsPerEpoch)/s.Every))
	}
	if at < warm {
		factor *= (at + 1) / (warm + 1)
	}
	return factor
}
