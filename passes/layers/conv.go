package layers

import (
	"github.com/asdlc/asdlc/graph"
)

// conv recognises Conv and ConvTranspose with a weight parameter. All attributes are made explicit, on the node too.
func conv(f *finder, n *graph.Node) (*layer, error) {
	w, ok := param(n.In(1))
	if !ok || !f.data[n.In(0)] || w.Type.Rank() < 3 {
		return nil, nil
	}
	shape, ok := w.Type.Static()
	if !ok {
		return nil, nil
	}
	trouble := explicit(n, shape[2:])
	l := &layer{z: n.Out(0), x: n.In(0), w: w, trouble: trouble}
	for _, name := range []string{"kernel_shape", "strides", "pads", "dilations"} {
		l.attrs = append(l.attrs, graph.Is(name, n.IntList(name)...))
	}
	l.attrs = append(l.attrs, graph.I("group", n.Int("group", 1)))
	if n.Op == "ConvTranspose" {
		l.attrs = append(l.attrs, graph.Is("output_padding", n.IntList("output_padding")...))
	}
	if b := n.In(2); b != nil && isParam(b, 1) {
		l.b = b
	}
	return l, nil
}

// explicit gives n all attributes of a convolution with kernel k. It returns why it cannot, or "".
func explicit(n *graph.Node, k []int64) string {
	d := len(k)
	n.SetAttr(graph.Is("kernel_shape", k...))
	setDefault(n, "strides", ones(d))
	setDefault(n, "dilations", ones(d))
	n.SetAttr(graph.I("group", n.Int("group", 1)))
	if n.Op == "ConvTranspose" {
		setDefault(n, "output_padding", make([]int64, d))
	}
	auto := n.Str("auto_pad", "NOTSET")
	if out := n.IntList("output_shape"); out != nil {
		return transposedPads(n, k, auto, out)
	}
	if auto == "SAME_UPPER" || auto == "SAME_LOWER" {
		return samePads(n, k, auto)
	}
	n.RemoveAttr("auto_pad")
	if auto == "VALID" {
		n.RemoveAttr("pads")
	}
	setDefault(n, "pads", make([]int64, 2*d))
	return ""
}

func setDefault(n *graph.Node, name string, v []int64) {
	if n.IntList(name) == nil {
		n.SetAttr(graph.Is(name, v...))
	}
}

func ones(d int) []int64 {
	v := make([]int64, d)
	for i := range v {
		v[i] = 1
	}
	return v
}

// samePads replaces auto_pad SAME by pads: the output has ceil(size / stride) elements for Conv, size * stride for
// ConvTranspose.
func samePads(n *graph.Node, k []int64, auto string) string {
	d := len(k)
	strides, dilations := n.IntList("strides"), n.IntList("dilations")
	totals := make([]int64, d)
	for i := range d {
		extent := (k[i]-1)*dilations[i] + 1
		if n.Op == "ConvTranspose" {
			totals[i] = extent - strides[i] + n.IntList("output_padding")[i]
		} else if strides[i] == 1 {
			totals[i] = extent - 1
		} else {
			if n.In(0).Type.Rank() != d+2 {
				return "padding by auto_pad depends on a shape that is not known"
			}
			size, ok := n.In(0).Type.Dims[i+2].Size()
			if !ok {
				return "padding by auto_pad with strides depends on a size that is not known"
			}
			out := (size + strides[i] - 1) / strides[i]
			totals[i] = (out-1)*strides[i] + extent - size
		}
	}
	setPads(n, totals, auto)
	return ""
}

// transposedPads replaces output_shape of a ConvTranspose by pads.
func transposedPads(n *graph.Node, k []int64, auto string, out []int64) string {
	d := len(k)
	if len(out) > d {
		out = out[len(out)-d:]
	}
	totals := make([]int64, d)
	for i := range d {
		if n.In(0).Type.Rank() != d+2 {
			return "padding by output_shape depends on a shape that is not known"
		}
		size, ok := n.In(0).Type.Dims[i+2].Size()
		if !ok {
			return "padding by output_shape depends on a size that is not known"
		}
		totals[i] = n.IntList("strides")[i]*(size-1) + n.IntList("output_padding")[i] + (k[i]-1)*n.IntList("dilations")[i] + 1 - out[i]
	}
	n.RemoveAttr("output_shape")
	// ONNX: the extra element goes to the end for SAME_UPPER, else to the beginning.
	setPads(n, totals, auto)
	return ""
}

// setPads splits totals between the two ends; an odd one goes to the end for SAME_UPPER, to the beginning otherwise.
func setPads(n *graph.Node, totals []int64, auto string) {
	d := len(totals)
	pads := make([]int64, 2*d)
	for i, t := range totals {
		t = max(t, 0)
		pads[i], pads[d+i] = t-t/2, t/2
		if auto == "SAME_UPPER" {
			pads[i], pads[d+i] = t/2, t-t/2
		}
	}
	n.RemoveAttr("auto_pad")
	n.SetAttr(graph.Is("pads", pads...))
}
