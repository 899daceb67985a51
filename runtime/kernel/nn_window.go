package kernel

import "github.com/asdlc/asdlc/graph"

// window is how a kernel slides over the spatial dimensions of a tensor [N, C, D...]: place o sees elements
// o*stride + k*dilation - padLo for 0 <= k < kernel. For ConvTranspose, in and out are exchanged: places are those of
// its input, elements those of its output.
type window struct {
	in, out                  []int
	kernel, stride, dilation []int
	padLo, padHi             []int
}

// window reads kernel_shape, strides, dilations, pads, auto_pad and ceil_mode for an input of the given spatial shape
// and checks that the outcome is the shape of output 0. kernel is the weight's; nil takes kernel_shape.
func (c *Call) window(in, kernel []int) (*window, error) {
	w, err := c.windowAttrs(in, kernel)
	if err != nil {
		return nil, err
	}
	if err := w.pad(c); err != nil {
		return nil, err
	}
	got := c.Out[0].Shape
	for i, n := range w.out {
		if len(got) != len(in)+2 || got[i+2] != n {
			return nil, c.Errorf(graph.ErrInvalid, "output shape is %v, but windows of %v over %v give spatial dimensions %v",
				got, w.kernel, in, w.out)
		}
	}
	return w, nil
}

func (c *Call) windowAttrs(in, kernel []int) (*window, error) {
	rank := len(in)
	if rank == 0 {
		return nil, c.Errorf(graph.ErrInvalid, "input of shape %v has no spatial dimension", c.In[0].Shape)
	}
	w := &window{in: in, kernel: kernel, out: make([]int, rank)}
	if kernel == nil {
		w.kernel = intsOf(c.Node.IntList("kernel_shape"))
	}
	w.stride, w.dilation = c.intsOr("strides", rank, 1), c.intsOr("dilations", rank, 1)
	pads := c.intsOr("pads", 2*rank, 0)
	if len(w.kernel) != rank || len(w.stride) != rank || len(w.dilation) != rank || len(pads) != 2*rank {
		return nil, c.Errorf(graph.ErrInvalid, "kernel_shape %v, strides %v, dilations %v, pads %v do not fit %d spatial dimensions",
			w.kernel, w.stride, w.dilation, pads, rank)
	}
	w.padLo, w.padHi = pads[:rank:rank], pads[rank:]
	for i, k := range intsOf(c.Node.IntList("kernel_shape")) {
		if len(w.kernel) <= i || k != w.kernel[i] {
			return nil, c.Errorf(graph.ErrInvalid, "kernel_shape %v differs from the weight's %v", c.Node.IntList("kernel_shape"), kernel)
		}
	}
	for i := range rank {
		if w.kernel[i] < 1 || w.stride[i] < 1 || w.dilation[i] < 1 {
			return nil, c.Errorf(graph.ErrInvalid, "kernel %v, strides %v, dilations %v must be positive", w.kernel, w.stride, w.dilation)
		}
	}
	return w, nil
}

func (c *Call) intsOr(name string, n int, def int) []int {
	if list := c.Node.IntList(name); len(list) > 0 {
		return intsOf(list)
	}
	list := make([]int, n)
	for i := range list {
		list[i] = def
	}
	return list
}

func intsOf(list []int64) []int {
	out := make([]int, len(list))
	for i, v := range list {
		out[i] = int(v)
	}
	return out
}

// extent is the number of elements that a kernel spans in dimension i.
func (w *window) extent(i int) int { return (w.kernel[i]-1)*w.dilation[i] + 1 }

// pad settles the padding by auto_pad and the number of places.
func (w *window) pad(c *Call) error {
	mode := c.Node.Str("auto_pad", "NOTSET")
	ceil := c.Node.Int("ceil_mode", 0) != 0 && mode == "NOTSET"
	for i, n := range w.in {
		switch mode {
		case "NOTSET", "":
		case "VALID":
			w.padLo[i], w.padHi[i] = 0, 0
		case "SAME_UPPER", "SAME_LOWER":
			w.out[i] = (n + w.stride[i] - 1) / w.stride[i]
			total := max(0, (w.out[i]-1)*w.stride[i]+w.extent(i)-n)
			w.padLo[i] = total / 2
			if mode == "SAME_LOWER" {
				w.padLo[i] = total - total/2
			}
			w.padHi[i] = total - w.padLo[i]
			continue
		default:
			return c.Errorf(graph.ErrInvalid, "unknown auto_pad %q", mode)
		}
		room := n + w.padLo[i] + w.padHi[i] - w.extent(i)
		if room < 0 {
			return c.Errorf(graph.ErrInvalid, "kernel of extent %d does not fit dimension %d of %d padded by %d and %d",
				w.extent(i), i, n, w.padLo[i], w.padHi[i])
		}
		w.out[i] = room/w.stride[i] + 1
		if ceil && room%w.stride[i] != 0 && w.out[i]*w.stride[i] < n+w.padLo[i] {
			w.out[i]++ // a last window that starts in the padding after the input is not counted
		}
	}
	return nil
}

// patches tells where the elements under a window lie in an image: a plane of one image and channel. Dimensions but the
// last are joined ("lines").
type patches struct {
	kernels, kw   int // elements of the kernel, and of its last dimension
	places, width int // places of the window, and of its last dimension
	image         int // elements of a plane

	lines    int     // places / width
	lineAt   []int32 // [kernels/kw][lines] the offset of the image's line, or -1 outside the image
	step     int     // stride in the last dimension
	dilation int     // dilation in the last dimension
	first    []int   // [kw] element under place 0
	lo, hi   []int   // [kw] range of places that are inside the image
	kLo, kHi []int   // [width] range of kernel elements that are inside the image
}

// newPatches prepares the geometry; image is the shape of the plane that the elements are of.
func newPatches(w *window, image, places []int) *patches {
	last := len(image) - 1
	p := &patches{
		kernels: Count(w.kernel), kw: w.kernel[last], places: Count(places), width: places[last], image: Count(image),
		lines: Count(places[:last]), step: w.stride[last], dilation: w.dilation[last],
	}
	p.lineAt = linesOf(w, image, places[:last])
	for k := range p.kw {
		first := k*p.dilation - w.padLo[last]
		lo := min(p.width, max(0, (-first+p.step-1)/p.step))
		if first >= 0 {
			lo = 0
		}
		hi := 0
		if first < image[last] {
			hi = min(p.width, (image[last]-1-first)/p.step+1)
		}
		p.first, p.lo, p.hi = append(p.first, first), append(p.lo, lo), append(p.hi, max(lo, hi))
	}
	for x := range p.width {
		lo, hi := p.kw, 0
		for k := range p.kw {
			if x >= p.lo[k] && x < p.hi[k] {
				lo, hi = min(lo, k), k+1
			}
		}
		p.kLo, p.kHi = append(p.kLo, min(lo, hi)), append(p.kHi, hi)
	}
	return p
}

// linesOf lists, for each kernel element and each place in all dimensions but the last, the offset of the line.
func linesOf(w *window, image, places []int) []int32 {
	at := []int32{0}
	nk, np := 1, 1
	for d := range places { // append dimension d to the kernels and places so far
		next := make([]int32, 0, nk*w.kernel[d]*np*places[d])
		for k := range nk * w.kernel[d] {
			for p := range np * places[d] {
				before := at[k/w.kernel[d]*np+p/places[d]]
				x := p%places[d]*w.stride[d] + k%w.kernel[d]*w.dilation[d] - w.padLo[d]
				if before < 0 || x < 0 || x >= image[d] {
					next = append(next, -1)
				} else {
					next = append(next, before*int32(image[d])+int32(x))
				}
			}
		}
		at, nk, np = next, nk*w.kernel[d], np*places[d]
	}
	for i := range at {
		if at[i] >= 0 {
			at[i] *= int32(image[len(image)-1])
		}
	}
	return at
}
