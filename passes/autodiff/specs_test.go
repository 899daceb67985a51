package autodiff_test

import "slices"

// specs has rows for every differentiable row of the rule table.
var specs = slices.Concat(mathSpecs, nnSpecs, convSpecs, tensorSpecs, attentionSpecs, controlSpecs)
