package op

import "github.com/asdlc/asdlc/graph"

// window is the geometry of a convolution or pooling over the last dimensions.
type window struct {
	kernel             []graph.Dim
	strides, dilations []int64
	pads               []int64 // begins, then ends
	autoPad            string
	ceil               bool
}

// maxStep bounds strides, pads and dilations, so that sums of them cannot overflow.
const maxStep = 1 << 31

// window reads and checks the attributes for rank spatial dimensions.
func (c *Context) window(kernel []graph.Dim) (w window, err error) {
	rank := len(kernel)
	w = window{kernel: kernel, autoPad: c.Str("auto_pad"), ceil: c.Int("ceil_mode") != 0}
	if w.strides, err = c.perAxis("strides", rank, 1); err != nil {
		return w, err
	}
	if w.dilations, err = c.perAxis("dilations", rank, 1); err != nil {
		return w, err
	}
	if w.pads, err = c.perAxis("pads", 2*rank, 0); err != nil {
		return w, err
	}
	for _, k := range kernel {
		if n, ok := k.Int(); ok && (n < 1 || n > maxStep) {
			return w, c.fail("kernel %v has the size %d", kernel, n)
		}
	}
	switch w.autoPad {
	case "", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER":
	default:
		return w, c.fail("auto_pad is %q, want NOTSET, VALID, SAME_UPPER or SAME_LOWER", w.autoPad)
	}
	return w, nil
}

// perAxis is an ints attribute of n numbers that are at least low; left out, it is all low.
func (c *Context) perAxis(name string, n int, low int64) ([]int64, error) {
	v, ok := c.Ints(name)
	if !ok || len(v) == 0 && n > 0 {
		v = make([]int64, n)
		for i := range v {
			v[i] = low
		}
		return v, nil
	}
	if len(v) != n {
		return nil, c.fail("%s %v has %d numbers, want %d", name, v, len(v), n)
	}
	for _, x := range v {
		if x < low || x > maxStep {
			return nil, c.fail("%s %v has the number %d, want at least %d", name, v, x, low)
		}
	}
	return v, nil
}

// kernelShape is the attribute kernel_shape as dimensions; rank -1 accepts any length.
func (c *Context) kernelShape(rank int) ([]graph.Dim, bool, error) {
	k, ok := c.Ints("kernel_shape")
	if !ok {
		return nil, false, nil
	}
	if rank >= 0 && len(k) != rank {
		return nil, false, c.fail("kernel_shape %v has %d numbers, want %d", k, len(k), rank)
	}
	return knownDims(k), true, nil
}

// extent is the size of the dilated kernel along axis i.
func (w *window) extent(i int) graph.Dim {
	return w.kernel[i].Sub(graph.Known(1)).Mul(graph.Known(w.dilations[i])).Add(graph.Known(1))
}

// slide is the number of window positions along spatial axis i of size in.
func (c *Context) slide(w *window, in graph.Dim, i int) (graph.Dim, error) {
	stride := graph.Known(w.strides[i])
	if w.autoPad == "SAME_UPPER" || w.autoPad == "SAME_LOWER" {
		return in.Add(graph.Known(w.strides[i] - 1)).Div(stride), nil
	}
	padded := in
	if w.autoPad != "VALID" {
		padded = addDim(in, graph.Known(w.pads[i]+w.pads[len(w.pads)/2+i]))
	}
	span := padded.Sub(w.extent(i))
	if n, ok := span.Int(); ok && n < 0 {
		return in, c.fail("kernel of extent %s does not fit into axis %d, of size %s with padding", w.extent(i), 2+i, padded)
	}
	if !w.ceil || w.strides[i] == 1 {
		return span.Div(stride).Add(graph.Known(1)), nil
	}
	n, ok := span.Int()
	if !ok {
		return graph.UnknownDim, nil // rounding up depends on the size
	}
	out := (n+w.strides[i]-1)/w.strides[i] + 1
	if size, _ := in.Size(); (out-1)*w.strides[i] >= size+w.beginPad(i) {
		out-- // a window must not start in the end padding
	}
	return graph.Known(out), nil
}

func (w *window) beginPad(i int) int64 {
	if w.autoPad == "VALID" {
		return 0
	}
	return w.pads[i]
}

func inferConv(c *Context) error {
	x, w, kernel, err := c.convInputs()
	if err != nil || kernel == nil {
		return err
	}
	geo, err := c.window(kernel)
	if err != nil {
		return err
	}
	m, batch := graph.UnknownDim, graph.UnknownDim
	if w != nil {
		m = w[0]
	}
	if err := c.convChannels(x, w); err != nil {
		return err
	}
	if err := c.checkBias(2, m); err != nil {
		return err
	}
	out := []graph.Dim{batch, m}
	if x != nil {
		out[0] = x[0]
	}
	for i := range kernel {
		d := graph.UnknownDim
		if x != nil {
			if d, err = c.slide(&geo, x[2+i], i); err != nil {
				return err
			}
		}
		out = append(out, d)
	}
	c.Set(0, out...)
	return nil
}

// convInputs are the shapes of X and W (nil where not known) and the kernel; the kernel is nil if its rank is unknown.
func (c *Context) convInputs() (x, w, kernel []graph.Dim, err error) {
	x, okx := c.Dims(0)
	w, okw := c.Dims(1)
	rank := -1
	for i, ok := range []bool{okx, okw} {
		if !ok {
			continue
		}
		if n := len(c.Type(i).Dims); n < 3 || rank >= 0 && n != rank {
			return nil, nil, nil, c.fail("X has type %s and W %s, want equal ranks of at least 3", c.Type(0), c.Type(1))
		}
		rank = len(c.Type(i).Dims)
	}
	if rank < 0 {
		return nil, nil, nil, nil
	}
	if !okx {
		x = nil
	}
	kernel, given, err := c.kernelShape(rank - 2)
	if err != nil {
		return nil, nil, nil, err
	}
	switch {
	case !okw && !given:
		return x, nil, unknownDims(rank - 2), nil
	case !okw:
		return x, nil, kernel, nil
	case given && !sameDims(kernel, w[2:]):
		return nil, nil, nil, c.fail("kernel_shape %v does not agree with W of type %s", kernel, c.Type(1))
	}
	return x, w, w[2:], nil
}

func (c *Context) convChannels(x, w []graph.Dim) error {
	group := c.Int("group")
	if group < 1 {
		return c.fail("group is %d", group)
	}
	if w == nil {
		return nil
	}
	if m, ok := w[0].Size(); ok && m%group != 0 {
		return c.fail("%d output channels do not divide into %d groups", m, group)
	}
	per, ok := w[1].Size()
	if x == nil || !ok {
		return nil
	}
	if ch, ok := x[1].Size(); ok && (per > maxStep || group > maxStep || ch != per*group) {
		return c.fail("X of type %s has %d channels, but W of type %s and group %d take %d", c.Type(0), ch, c.Type(1), group, per*group)
	}
	return nil
}

// checkBias checks that input i, if given, is a vector of m numbers.
func (c *Context) checkBias(i int, m graph.Dim) error {
	if !c.Has(i) {
		return nil
	}
	if err := c.wantRank(i, 1); err != nil {
		return err
	}
	if b, ok := c.Dims(i); ok {
		if _, ok := mergeDim(b[0], m); !ok {
			return c.fail("%s has type %s, want %s numbers", c.inputName(i), c.Type(i), m)
		}
	}
	return nil
}

func inferConvTranspose(c *Context) error {
	x, w, kernel, err := c.convInputs()
	if err != nil || kernel == nil {
		return err
	}
	geo, err := c.window(kernel)
	if err != nil {
		return err
	}
	group := c.Int("group")
	if group < 1 || group > maxStep {
		return c.fail("group is %d", group)
	}
	m := graph.UnknownDim
	if w != nil {
		var ok bool
		if m, ok = mulDim(w[1], graph.Known(group)); !ok {
			return c.fail("channels of W of type %s overflow", c.Type(1))
		}
		if n, ok := w[0].Size(); ok && n%group != 0 {
			return c.fail("%d input channels do not divide into %d groups", n, group)
		}
		if x != nil {
			if _, ok := mergeDim(x[1], w[0]); !ok {
				return c.fail("X has type %s, but W of type %s takes %s channels", c.Type(0), c.Type(1), w[0])
			}
		}
	}
	if err := c.checkBias(2, m); err != nil {
		return err
	}
	batch := graph.UnknownDim
	if x != nil {
		batch = x[0]
	}
	spatial, err := c.transposedSizes(&geo, x)
	if err != nil {
		return err
	}
	c.Set(0, append([]graph.Dim{batch, m}, spatial...)...)
	return nil
}

// transposedSizes: stride*(in-1) + output_padding + extent - pads, or the attribute output_shape.
func (c *Context) transposedSizes(w *window, x []graph.Dim) ([]graph.Dim, error) {
	rank := len(w.kernel)
	if shape, ok := c.Ints("output_shape"); ok && len(shape) > 0 {
		if len(shape) > rank {
			shape = shape[len(shape)-rank:]
		}
		if len(shape) != rank {
			return nil, c.fail("output_shape %v, want %d numbers", shape, rank)
		}
		return knownDims(shape), nil
	}
	extra, err := c.perAxis("output_padding", rank, 0)
	if err != nil {
		return nil, err
	}
	out := unknownDims(rank)
	for i := range out {
		if x == nil {
			continue
		}
		stride := graph.Known(w.strides[i])
		scaled, ok := mulDim(stride, x[2+i])
		if !ok {
			return nil, c.fail("size of axis %d overflows", 2+i)
		}
		if w.autoPad == "SAME_UPPER" || w.autoPad == "SAME_LOWER" {
			out[i] = scaled
			continue
		}
		out[i] = scaled.Sub(stride).Add(graph.Known(extra[i])).Add(w.extent(i))
		if w.autoPad != "VALID" {
			out[i] = out[i].Sub(graph.Known(w.pads[i] + w.pads[rank+i]))
		}
	}
	return out, nil
}

// inferPool types pooling; a second output has the shape of the first.
func inferPool(c *Context) error {
	x, ranked := c.Dims(0)
	if !ranked {
		if k, ok, _ := c.kernelShape(-1); ok {
			c.Set(0, unknownDims(2+len(k))...)
		}
		return nil
	}
	if len(x) < 3 {
		return c.fail("X has type %s, want [N, C, ...]", c.Type(0))
	}
	kernel, _, err := c.kernelShape(len(x) - 2)
	if err != nil {
		return err
	}
	w, err := c.window(kernel)
	if err != nil {
		return err
	}
	out := append([]graph.Dim{}, x[:2]...)
	for i := range kernel {
		d, err := c.slide(&w, x[2+i], i)
		if err != nil {
			return err
		}
		out = append(out, d)
	}
	c.Set(0, out...)
	c.Set(1, out...)
	return nil
}

func inferGlobalPool(c *Context) error {
	x, ranked := c.Dims(0)
	if !ranked {
		return nil
	}
	if len(x) < 2 {
		return c.fail("X has type %s, want [N, C, ...]", c.Type(0))
	}
	out := append([]graph.Dim{}, x[:2]...)
	for range x[2:] {
		out = append(out, graph.Known(1))
	}
	c.Set(0, out...)
	return nil
}

// inferCol2Im: [N, C*prod(block), L] and image_shape give [N, C, image...].
func inferCol2Im(c *Context) error {
	if err := c.wantRank(0, 3); err != nil {
		return err
	}
	image, ok, err := c.shapeInput(1)
	if err != nil || !ok {
		return err
	}
	block, okb, err := c.shapeInput(2)
	if err != nil {
		return err
	}
	if okb && len(block) != len(image) {
		return c.fail("image_shape has %d numbers and block_shape %d", len(image), len(block))
	}
	batch, channels := graph.UnknownDim, graph.UnknownDim
	if x, ok := c.Dims(0); ok {
		batch = x[0]
		if okb {
			size, err := c.product(block)
			if err != nil {
				return err
			}
			n, known := x[1].Size()
			if b, ok := size.Size(); ok && (b == 0 || known && n%b != 0) {
				return c.fail("%s rows do not divide into blocks of shape %v", x[1], block)
			}
			channels = x[1].Div(size)
		}
	}
	for _, name := range []string{"strides", "dilations"} {
		if _, err := c.perAxis(name, len(image), 1); err != nil {
			return err
		}
	}
	if _, err := c.perAxis("pads", 2*len(image), 0); err != nil {
		return err
	}
	c.Set(0, append([]graph.Dim{batch, channels}, image...)...)
	return nil
}
