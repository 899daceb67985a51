package loss

import (
	"fmt"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
)

// siteOf brings logits and target to rows.
func siteOf(b *op.Builder, set settings, logits, target *graph.Value) (site, error) {
	s := site{settings: set, weight: 1}
	axis, r := set.axis, set.row
	if r.Name == outputRow {
		s.z, s.examples = b.Reshape(logits, -1, 1), target
		return s, nil
	}
	count, ok := logits.Type.Dims[axis].Size()
	if !ok {
		return s, fmt.Errorf("%w: the number of classes of logits %s (type %s) is not known; fix it in the model", graph.ErrUnsupported, logits, logits.Type)
	}
	s.z = rowsOf(b, logits, axis, count)
	if !r.Labels && set.reduction == "mean" {
		s.weight = 1 / float64(count)
	}
	switch {
	case target == nil:
	case r.Labels:
		s.target = flatLabels(b, target)
	default:
		s.target = rowsOf(b, target, axis, count)
	}
	return s, nil
}

// flatLabels brings labels to [R].
func flatLabels(b *op.Builder, labels *graph.Value) *graph.Value {
	if labels.Type.Rank() != 1 {
		return b.Reshape(labels, -1)
	}
	return labels
}

// rowsOf brings v to [R, C].
func rowsOf(b *op.Builder, v *graph.Value, axis int, classes int64) *graph.Value {
	rank := v.Type.Rank()
	if axis != rank-1 {
		v = b.Transpose(v, toLast(rank, axis)...)
	}
	if rank == 2 {
		return v
	}
	return b.Reshape(v, -1, classes)
}

// unrows is the inverse of rowsOf.
func unrows(b *op.Builder, tag *graph.Node, v, logits *graph.Value) *graph.Value {
	rank, axis := logits.Type.Rank(), int(tag.Int("axis", 1))
	if axis < 0 {
		return b.ReshapeTo(v, b.ShapeOf(logits))
	}
	if axis == rank-1 {
		if rank == 2 {
			return v
		}
		return b.ReshapeTo(v, b.ShapeOf(logits))
	}
	perm := toLast(rank, axis)
	back := make([]int64, rank)
	for i, p := range perm {
		back[p] = int64(i)
	}
	moved := b.Gather(b.ShapeOf(logits), b.Ints(perm...), 0)
	return b.Transpose(b.ReshapeTo(v, moved), back...)
}

// likeTarget gives sampled targets the shape that the loss's target has.
func likeTarget(b *op.Builder, tag *graph.Node, r *row, v, logits *graph.Value) *graph.Value {
	if !r.Labels {
		return unrows(b, tag, v, logits)
	}
	if logits.Type.Rank() == 2 {
		return v
	}
	return b.ReshapeLike(v, tag.In(1))
}

func toLast(rank, axis int) []int64 {
	var perm []int64
	for i := range rank {
		if i != axis {
			perm = append(perm, int64(i))
		}
	}
	return append(perm, int64(axis))
}

// countRows is the number of rows that count, a float scalar; at least 1, so that a batch of ignored labels gives a
// loss of zero.
func countRows(b *op.Builder, s site) *graph.Value {
	e := s.z.Type.Elem
	if s.scalar {
		return b.CountOf(s.examples, e, 0)
	}
	if s.ignore == nil {
		return b.CountOf(s.z, e, 0)
	}
	n := b.Sum(b.Cast(counted(b, s, s.target), e))
	return b.Op("Max", []*graph.Value{n, b.Float(e, 1)})
}

// counted is a bool [R]: whether a row's label is not ignore_index.
func counted(b *op.Builder, s site, target *graph.Value) *graph.Value {
	return b.Unary("Not", b.Compare("Equal", target, b.Int(*s.ignore)))
}
