// Package pass holds what every compiler pass shares: the row type of the pass tables, the pipeline runner, the
// options of a compilation, and typed views of the tag operators.
package pass

import (
	"fmt"
	"runtime/debug"
	"time"

	"github.com/asdlc/asdlc/graph"
)

// Prop is a property of a model that a pass needs, gives or drops.
type Prop string

// Properties, in the order in which the training pipeline establishes them.
const (
	Normal    Prop = "normal"    // no Constant nodes, no functions of the file, no identities; opset >= 17; typed
	Layers    Prop = "layers"    // parameters and layers are tagged
	Loss      Prop = "loss"      // a scalar loss is tagged
	Requests  Prop = "requests"  // gradients and captures are requested
	Seeds     Prop = "seeds"     // no loss request (Sample, LossGrad, ...) is left
	Gradients Prop = "gradients" // no Gradient or Tangent request is left
	Directed  Prop = "directed"  // every parameter has a Precond tag
	Updated   Prop = "updated"   // every parameter has its next value among the outputs
	Clean     Prop = "clean"     // no dead code
	Legal     Prop = "legal"     // standard operators and model-local functions only
)

// Pass is a row of a pass table.
type Pass struct {
	Name  string // command-line name
	Doc   string // first line is the summary
	Ref   string // paper or specification, if any
	Needs []Prop // must hold before Run
	Gives []Prop // hold after Run
	Drops []Prop // no longer hold after Run
	Run   func(*Ctx, *graph.Model) error
}

// Ctx is what a running pass sees besides the model.
type Ctx struct {
	Options Options
	Report  *Report
}

// Check tells whether each row of a table finds what it needs given by earlier rows, starting from the properties in
// have, and whether each row is documented.
func Check(table []Pass, have ...Prop) error {
	holds := map[Prop]bool{}
	for _, p := range have {
		holds[p] = true
	}
	for _, row := range table {
		if row.Doc == "" {
			return fmt.Errorf("BUG: pass %q has no Doc", row.Name)
		}
		for _, p := range row.Needs {
			if !holds[p] {
				return fmt.Errorf("pass %q needs %q, which no earlier pass gives", row.Name, p)
			}
		}
		for _, p := range row.Drops {
			delete(holds, p)
		}
		for _, p := range row.Gives {
			holds[p] = true
		}
	}
	return nil
}

// Stat is what one pass did.
type Stat struct {
	Pass          string        `json:"pass"`
	Before, After int           // number of nodes, nested ones included
	Time          time.Duration `json:"ns"`
}

// RunTable runs the rows in order on m. With Options.Verify the invariants are checked after each row. A panic in a pass is a
// bug and comes back as an error that names the pass.
func RunTable(c *Ctx, m *graph.Model, table []Pass) error {
	if c.Report == nil {
		c.Report = &Report{}
	}
	for i := range table {
		if err := runOne(c, m, &table[i]); err != nil {
			return err
		}
	}
	return nil
}

func runOne(c *Ctx, m *graph.Model, row *Pass) (err error) {
	start, before := time.Now(), countNodes(m)
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("pass %s: BUG: %v\n%s", row.Name, r, debug.Stack())
		}
	}()
	if err := row.Run(c, m); err != nil {
		return fmt.Errorf("pass %s: %w", row.Name, err)
	}
	if c.Options.Verify {
		if err := graph.Verify(m); err != nil {
			return fmt.Errorf("pass %s: BUG: %w", row.Name, err)
		}
	}
	c.Report.Stats = append(c.Report.Stats, Stat{row.Name, before, countNodes(m), time.Since(start)})
	return nil
}

func countNodes(m *graph.Model) int {
	n := 0
	for range m.Graph.All() {
		n++
	}
	return n
}
