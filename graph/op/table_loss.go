package op

import "github.com/asdlc/asdlc/graph"

// lossTable has the losses of the standard.
var lossTable = []Schema{
	{
		Name: "SoftmaxCrossEntropyLoss", Since: 12,
		Inputs:  []Param{one("scores", "T", floatElem), one("labels", "", indexElem), opt("weights", "T", floatElem)},
		Outputs: []Param{one("output", "T", floatElem), opt("log_prob", "T", floatElem)},
		Attrs:   []AttrSpec{may("ignore_index", graph.AttrInt), attrStr("reduction", "mean")}, Infer: inferLoss, Doc: "cross-entropy of scores and labels",
	},
	{
		Name: "NegativeLogLikelihoodLoss", Since: 12,
		Inputs:  []Param{one("input", "T", floatElem), one("target", "", indexElem), opt("weight", "T", floatElem)},
		Outputs: []Param{one("loss", "T", floatElem)},
		Attrs:   []AttrSpec{may("ignore_index", graph.AttrInt), attrStr("reduction", "mean")}, Infer: inferLoss, Doc: "negative log-likelihood of labels",
	},
}

func inferLoss(c *Context) error {
	none := false
	switch r := c.Str("reduction"); r {
	case "none":
		none = true
	case "sum", "mean":
	default:
		return c.fail("reduction is %q, want none, sum or mean", r)
	}
	if err := c.wantRank(2, 1); err != nil && c.Has(2) {
		return err
	}
	scores, ok0 := c.Dims(0)
	labels, ok1 := c.Dims(1)
	if ok0 && len(scores) < 2 {
		return c.fail("%s has type %s, want [N, C, ...]", c.inputName(0), c.Type(0))
	}
	if ok0 && ok1 {
		want := append([]graph.Dim{scores[0]}, scores[2:]...)
		if !sameDims(labels, want) {
			return c.fail("%s has type %s, want shape %v for %s", c.inputName(1), c.Type(1), want, c.Type(0))
		}
		merged := make([]graph.Dim, len(want))
		for i := range want {
			merged[i], _ = mergeDim(labels[i], want[i])
		}
		labels = merged
	}
	c.like(1, 0)
	switch {
	case !none:
		c.Set(0)
	case ok1:
		c.Set(0, labels...)
	case ok0:
		c.Set(0, append([]graph.Dim{scores[0]}, scores[2:]...)...)
	}
	return nil
}
