package kernel

import (
	"hash/fnv"
	"math"

	"github.com/asdlc/asdlc/graph"
)

// randomTable has the operators that draw random numbers. ONNX leaves the numbers to the runtime; here element i of run r
// of a node takes hash(seed, r, i), with seed the attribute or else a hash of the node's name. A session thus repeats its
// numbers from its first run on, whatever the number of threads. They are not those of onnxruntime.
var randomTable = []Row{
	{Op: "RandomUniform", Elems: floats, Decide: -1, Note: "portable", Make: byOutput(makeUniform[float32], makeUniform[float64])},
	{Op: "RandomUniformLike", Elems: floats, Decide: -1, Note: "portable", Make: byOutput(makeUniform[float32], makeUniform[float64])},
	{Op: "RandomNormal", Elems: floats, Decide: -1, Note: "portable", Make: byOutput(makeNormal[float32], makeNormal[float64])},
	{Op: "RandomNormalLike", Elems: floats, Decide: -1, Note: "portable", Make: byOutput(makeNormal[float32], makeNormal[float64])},
	{Op: "Bernoulli", Elems: floats, Note: "portable", Make: byFloat(makeBernoulli[float32], makeBernoulli[float64])},
	{Op: "Multinomial", Elems: floats, Note: "portable", Make: byFloat(makeMultinomial[float32], makeMultinomial[float64])},
}

// byOutput makes a call with the kernel of output 0's element type.
func byOutput(f32, f64 func(*Call) (Run, error)) func(*Call) (Run, error) {
	return func(c *Call) (Run, error) {
		if c.Out[0].Elem == graph.Float64 {
			return f64(c)
		}
		return f32(c)
	}
}

// draws numbers the random numbers of a node.
type draws struct{ seed, runs, key uint64 }

// newDraws takes the attribute seed, an int of Dropout and a float elsewhere.
func newDraws(n *graph.Node) *draws {
	a, ok := n.Attr("seed")
	switch {
	case ok && a.Kind == graph.AttrFloat:
		return &draws{seed: uint64(math.Float32bits(a.F))}
	case ok:
		return &draws{seed: uint64(a.I)}
	}
	h := fnv.New64a()
	h.Write([]byte(n.String()))
	return &draws{seed: h.Sum64()}
}

// next goes on to the numbers of the next run.
func (d *draws) next() {
	d.runs++
	d.key = mix64(d.seed + mix64(d.runs))
}

// uniform is number i of the run, in [0, 1).
func (d *draws) uniform(i int) float64 { return float64(mix64(d.key+uint64(i))>>11) * 0x1p-53 }

// mix64 is the finaliser of SplitMix64 (Steele, Lea, Flood 2014) after its increment.
func mix64(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// fillRandom is a kernel that writes number(d, i) to element i of the output.
func fillRandom[T floating](c *Call, number func(d *draws, i int) T) (Run, error) {
	d := newDraws(c.Node)
	var y []T
	body := func(lo, hi int) {
		for i := lo; i < hi; i++ {
			y[i] = number(d, i)
		}
	}
	return func(_, out []*Tensor) error {
		d.next()
		y = Data[T](out[0])
		c.Pool.For(len(y), grainFor(8), body)
		y = nil
		return nil
	}, nil
}

// makeUniform draws from [low, high).
func makeUniform[T floating](c *Call) (Run, error) {
	low, high := float64(c.Node.Float("low", 0)), float64(c.Node.Float("high", 1))
	return fillRandom(c, func(d *draws, i int) T {
		if v := T(low + (high-low)*d.uniform(i)); float64(v) < high {
			return v
		}
		return T(low) // rounded up to high
	})
}

// makeNormal draws from the normal distribution (Box and Muller 1958).
func makeNormal[T floating](c *Call) (Run, error) {
	mean, scale := float64(c.Node.Float("mean", 0)), float64(c.Node.Float("scale", 1))
	return fillRandom(c, func(d *draws, i int) T {
		radius := math.Sqrt(-2 * math.Log(1-d.uniform(2*i)))
		return T(mean + scale*radius*math.Cos(2*math.Pi*d.uniform(2*i+1)))
	})
}

// makeBernoulli gives 1 where a uniform number is below the probability.
func makeBernoulli[T floating](c *Call) (Run, error) {
	cast := casterOf(graph.Bool, c.Out[0].Elem)
	if cast == nil {
		return nil, c.Errorf(graph.ErrUnsupported, "no conversion from bool to %s", c.Out[0].Elem)
	}
	d, n := newDraws(c.Node), c.In[0].Len()
	held := c.Scratch(n)
	return func(in, out []*Tensor) error {
		d.next()
		for i, p := range Data[T](in[0]) {
			held.Raw[i] = 0
			if d.uniform(i) < float64(p) {
				held.Raw[i] = 1
			}
		}
		cast(out[0].Raw, held.Raw[:n])
		return nil
	}, nil
}

// makeMultinomial draws, for each row of unnormalised log-probabilities [batch, classes], sample_size classes.
func makeMultinomial[T floating](c *Call) (Run, error) {
	classes, samples := c.In[0].Shape[1], c.Out[0].Shape[1]
	d := newDraws(c.Node)
	held := c.Scratch(8 * classes)
	return func(in, out []*Tensor) error {
		d.next()
		x, upTo := Data[T](in[0]), ScratchOf[float64](held)
		for row := range in[0].Shape[0] {
			if !cumulate(upTo, x[row*classes:(row+1)*classes]) && samples > 0 {
				return c.Errorf(graph.ErrInvalid, "row %d has no class with a probability that is a positive number", row)
			}
			last := math.Nextafter(upTo[classes-1], 0) // the greatest number below the sum
			for s := range samples {
				i := row*samples + s
				at, class := min(d.uniform(i)*upTo[classes-1], last), 0
				for upTo[class] <= at {
					class++
				}
				setIndex(out[0], i, class)
			}
		}
		return nil
	}, nil
}

// cumulate sums the exponentials of x, less the greatest; it fails if they are no numbers.
func cumulate[T floating](sums []float64, x []T) bool {
	if len(x) == 0 {
		return false
	}
	greatest := math.Inf(-1)
	for _, v := range x {
		greatest = max(greatest, float64(v))
	}
	if math.IsInf(greatest, 0) || greatest != greatest {
		return false
	}
	sum := 0.0
	for i, v := range x {
		sum += math.Exp(float64(v) - greatest)
		sums[i] = sum
	}
	return true
}

// setIndex writes element i of an int32 or int64 tensor.
func setIndex(t *Tensor, i, v int) {
	if t.Elem == graph.Int32 {
		Data[int32](t)[i] = int32(v)
		return
	}
	Data[int64](t)[i] = int64(v)
}
