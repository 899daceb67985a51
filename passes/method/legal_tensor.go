package method

// tensorRules are those of methods that see parameters as tensors.
var tensorRules = []rule{
	{func(r Record) bool { return (r.Representation.Format == "matrix") != (r.Solve.Kind == "polar") },
		"the polar factor is taken of the gradient itself: solve.kind polar and representation.format matrix go together"},
	{func(r Record) bool { return r.Representation.Format == "matrix" && r.Curvature.Source != "none" },
		"the polar factor needs no statistic: curvature.source must be none"},
	{func(r Record) bool {
		return r.Solve.Kind == "polar" && !oneOf(r.Solve.Kernel, "keller", "polar_express", "cubic", "exact")
	}, "the polar factor is iterated for: solve.kernel must be keller, polar_express, cubic or exact"},
	{func(r Record) bool {
		return r.Solve.Kind != "polar" && oneOf(r.Solve.Kernel, "keller", "polar_express", "cubic", "exact")
	}, "keller, polar_express, cubic and exact are kernels of solve.kind polar"},
	{func(r Record) bool {
		return r.Solve.Kind == "polar" && (!oneOf(r.Fallback.Embedding, "grad", "adam") || r.Fallback.Head == "")
	}, "a row of an embedding or of the head is a token or a class, not a direction to be made orthogonal to others: with solve.kind polar, fallback.embedding and fallback.head must be grad or adam"},
	{func(r Record) bool { return r.Apply.Nesterov && r.Apply.Beta == 0 },
		"apply.nesterov looks ahead along a moving average: apply.beta must not be 0"},
	{func(r Record) bool { return r.Apply.Nesterov && r.Representation.Format == "diag" },
		"apply.nesterov is for tensors; representation.format diag has none"},
	{func(r Record) bool { return !oneOf(r.Apply.LRScale, "", "none") && r.Representation.Format != "matrix" },
		"apply.lr_scale makes up for the norm of a polar factor: it needs representation.format matrix"},
}
