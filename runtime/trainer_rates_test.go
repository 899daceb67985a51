package runtime

import (
	"slices"
	"testing"
)

// TestScheduledOf: the rates of methods for some layers follow the schedule too; the rate that is reported comes first.
func TestScheduledOf(t *testing.T) {
	names := map[string]bool{"damping/adam": true, "fallback_lr": true, "lr/adam": true, "lr": true, "momentum": true, "fallback_lr/shampoo.2": true, "lr_max": true}
	if got, want := scheduledOf(names), []string{"lr", "fallback_lr", "fallback_lr/shampoo.2", "lr/adam"}; !slices.Equal(got, want) {
		t.Errorf("%q follow the schedule, want %q", got, want)
	}
}
