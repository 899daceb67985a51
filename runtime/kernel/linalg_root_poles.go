package kernel

import (
	"math"

	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// poleSum is a sum of poles c/(x+s) that is x^(-1/p) on the interval from poleLow to 1, to poleError of it: the best one of so many
// poles, by Remez' exchange. x^(-1/p) is an average of 1/(x+s) over s > 0 (a Stieltjes function), and so are its best
// approximations: no s and no c is negative.
type poleSum struct {
	p    int
	s, c [poleCount]float64
}

// Below the interval a pole sum levels off. A matrix of a smaller side is less work by the iteration, or not much more.
const (
	poleSide  = 48
	poleCount = 10
	poleLow   = 1e-6
	poleError = 3e-5
)

// rootOfPoles is asdl.InverseRoot(A[n,n]) -> X[n,n] in single precision, as the pole sum of A over a bound of its norm: ten
// inverses of shifted matrices, which are a quarter of the work of an iteration by products, and independent of each other. A's
// eigenvalues below 1e-6 of the bound are hardly more than rounding leaves of them. Where that makes a shifted matrix indefinite, A gets
// poleRidge of the bound on its diagonal. An A that is indefinite then, zero or not finite gives NaN.
type rootOfPoles struct {
	pool   *Pool
	n      int
	sum    *poleSum
	groups [2]poleGroup
	each   *tasks // a group a worker, where there are few; nil: the pool shares each product
	a      []float32
	bound  float64
	ridge  float64
	gain   float64 // of all terms
}

// poleRidge is 10 times poleLow.
const poleRidge = 1e-5

// poleGroup adds half of the terms up, in order, so that results do not depend on the pool.
type poleGroup struct {
	inverse choleskyInverse[float32]
	total   []float32
	ok      bool
}

// fewWorkers is the size of a pool up to which groups side by side are faster than shared products.
const fewWorkers = 3

func newRootOfPoles(c *Call, n, p int) Run {
	r := &rootOfPoles{pool: c.Pool, n: n, sum: poleSumOf(p)}
	inner := c.Pool
	if k := c.Pool.Size(); k > 1 && k <= fewWorkers {
		r.each = newTasks(c.Pool, len(r.groups), func(_, g int) { r.group(g) })
		inner = r.each.inner
	}
	for g := range r.groups {
		r.groups[g].inverse = choleskyInverse[float32]{pool: inner, n: n}
	}
	size := n * n
	buffers := c.Scratch(5 * sizeOf[float32]() * size)
	ws := c.slotScratch(len(r.groups), r.groups[0].inverse.workspace(n))
	return func(in, out []*Tensor) error {
		b, x := ScratchOf[float32](buffers), Data[float32](out[0])
		r.a = Data[float32](in[0])
		for g := range r.groups {
			v := &r.groups[g].inverse
			v.a, v.inv, v.ws = b[2*g*size:(2*g+1)*size], b[(2*g+1)*size:(2*g+2)*size], ws.at(g)
		}
		r.groups[0].total, r.groups[1].total = x, b[4*size:5*size]
		r.solve(x)
		r.a = nil
		return nil
	}
}

// poleSumOf is the row of p, or nil.
func poleSumOf(p int) *poleSum {
	for i := range poleSums {
		if poleSums[i].p == p {
			return &poleSums[i]
		}
	}
	return nil
}

func (r *rootOfPoles) solve(x []float32) {
	r.bound = normFrom(r.a, r.n)
	if r.n == 0 || !(r.bound > 0) || math.IsInf(r.bound, 0) {
		setAll(x, float32(math.NaN()))
		return
	}
	r.gain = math.Pow(r.bound, 1-1/float64(r.sum.p))
	for _, r.ridge = range []float64{0, poleRidge} {
		if r.each != nil {
			r.each.run()
		} else {
			r.group(0)
			r.group(1)
		}
		if r.groups[0].ok && r.groups[1].ok {
			for i, v := range r.groups[1].total[:len(x)] {
				x[i] += v
			}
			return
		}
	}
	setAll(x, float32(math.NaN()))
}

// normFrom is a bound of the spectral norm of a symmetric matrix: the least of its Frobenius norm and its largest absolute row sum.
// NaN or infinite if a number is.
func normFrom(a []float32, n int) float64 {
	rows := 0.0
	for i := range n {
		sum := float32(0)
		for _, v := range a[i*n : (i+1)*n] {
			sum += math.Float32frombits(math.Float32bits(v) &^ (1 << 31))
		}
		rows = max(rows, float64(sum))
	}
	return min(math.Sqrt(squaresAbout(a, 0)), rows)
}

// group adds up the terms g, g+2, ...
func (r *rootOfPoles) group(g int) {
	group, n := &r.groups[g], r.n
	v := &group.inverse
	beta := float32(0)
	for i := g; i < poleCount; i += len(r.groups) {
		clear(v.inv)
		for row := range n { // all are finite, or the bound were not
			copy(v.a[row*n:], r.a[row*n:row*n+row+1])
		}
		shift := float32((r.sum.s[i] + r.ridge) * r.bound)
		for d := range n {
			v.a[d*n+d] += shift
		}
		if group.ok = v.factor(0, n); !group.ok {
			return
		}
		last := i+len(r.groups) >= poleCount
		addSquare(v.pool, n, float32(r.sum.c[i]*r.gain), v.inv, beta, group.total, !last, v.ws)
		beta = 1
	}
}

// addSquare is C = alpha L^T L + beta C, for a lower triangular L; of C both triangles, or half of it: the lower one.
func addSquare[T amd64.Float](p *Pool, n int, alpha T, l []T, beta T, c []T, half bool, ws []byte) {
	spec := gemmSpec[T]{
		transA: true, m: n, n: n, k: n, batch: 1, alpha: alpha, beta: beta,
		a: l, lda: n, b: l, ldb: n, c: c, ldc: n, lower: true, half: half, ta: upperTriangle, tb: lowerTriangle,
	}
	spec.check()
	runGemm(p, &spec, ws)
}

// poleSums is the table of pole sums, with their errors relative to x^(-1/p).
var poleSums = []poleSum{
	{
		2,
		[poleCount]float64{1.820654207e-07, 2.53070723e-06, 1.531549226e-05, 8.256265308e-05, 0.0004359051321, 0.002294077143, 0.01211201388, 0.06529336328, 0.3951464587, 5.49253118},
		[poleCount]float64{0.000574073139, 0.0009921531255, 0.002132805056, 0.0048269308, 0.01103910687, 0.02532456275, 0.05846385285, 0.1392580153, 0.3920457941, 3.153114616},
	}, // 2.7e-05
	{
		4,
		[poleCount]float64{3.096071991e-07, 3.280677036e-06, 1.926539491e-05, 0.0001033800712, 0.0005457514284, 0.00287484684, 0.01521169016, 0.08268039735, 0.5231315012, 12.55623857},
		[poleCount]float64{9.921386386e-06, 3.28333576e-05, 0.0001113770953, 0.0003848328317, 0.001335416829, 0.004645468408, 0.01630611527, 0.05998262404, 0.2850482021, 9.962005204},
	}, // 1.9e-05
	{
		6,
		[poleCount]float64{3.582271123e-07, 3.564105704e-06, 2.077072183e-05, 0.0001113664722, 0.0005881518469, 0.00310042946, 0.01642520266, 0.08960568698, 0.5779217588, 19.74274066},
		[poleCount]float64{2.15038441e-06, 8.606294892e-06, 3.388112995e-05, 0.0001347671172, 0.0005375520103, 0.002149297838, 0.008681549048, 0.03699662409, 0.2118966856, 17.01616471},
	}, // 1.4e-05
	{
		8,
		[poleCount]float64{3.83750394e-07, 3.712645896e-06, 2.156251042e-05, 0.0001155807529, 0.0006105977797, 0.003220210157, 0.01707172179, 0.09332180773, 0.6082906362, 26.9678699},
		[poleCount]float64{9.187840897e-07, 4.03074065e-06, 1.708754319e-05, 7.292765727e-05, 0.0003119050932, 0.001337156649, 0.00579491865, 0.02659372104, 0.1677052428, 24.16292603},
	}, // 1.1e-05
}
