package op_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
)

// ruleCases are calls with symbolic sizes: inputs, constants, the nodes that compute y (and y1, ...), and the types that the outputs y must get.
// A want that starts with "!" is a part of the error message.
var ruleCases = []struct {
	opset                      int
	inputs, consts, body, want string
}{
	// Broadcasting.
	{17, "float[N,1,4] a, float[3,1] b", "", "y = Add(a, b)", "float[N,3,4]"},
	{17, "float[N,3] a, float[N,1] b", "", "y = Mul(a, b)", "float[N,3]"},
	{17, "float[N] a, float[M] b", "", "y = Sub(a, b)", "float[?]"},
	{17, "float[N] a, float[5] b", "", "y = Div(a, b)", "float[5]"},
	{17, "float[4] a, float[5] b", "", "y = Div(a, b)", "!sizes 4 and 5 do not broadcast"},
	{17, "float[4] a, double[4] b", "", "y = Add(a, b)", "!insert a Cast"},
	{17, "bool[N] c, float[1] a, float b", "", "y = Where(c, a, b)", "float[N]"},
	{17, "float[N,4] a, float[1,4] b", "", "y = Greater(a, b)", "bool[N,4]"},
	{17, "float[N] a, int64 b", "", "y = Pow(a, b)", "float[N]"},
	{11, "float[N] a, int64 b", "", "y = Pow(a, b)", "!element type int64"},
	{17, "float[N,2] a, float[2] b, float[N,1] c", "", "y = Max(a, b, c)", "float[N,2]"},
	{17, "float[N,2] a", "", "y = Relu(a, a)", "!2 inputs, want at most 1"},
	{17, "float[N,2] a", "", "y = Add(a)", "!input 1 (B) is missing"},
	{17, "float[N,2] a", "", "y = Add <axis: int = 1> (a, a)", `!attribute "axis" is not known`},
	{17, "float[N,2] a", "", "y = Nonsense(a)", "!operator Nonsense is not known in version 17"},
	{19, "float[N,2] a", "", "y = Gelu(a)", "!operator Gelu is not known in version 19"},
	{20, "float[N,2] a", "", "y = Gelu(a)", "float[N,2]"},
	{10, "float[N,2] a", "", "y = Clip <max: float = 6.0, min: float = 0.0> (a)", "float[N,2]"},
	{11, "float[N,2] a, float lo", "", `y = Clip(a, lo)`, "float[N,2]"},

	// Products.
	{17, "float[B,T,8] a, float[8,5] b", "", "y = MatMul(a, b)", "float[B,T,5]"},
	{17, "float[B,1,N,8] a, float[4,8,M] b", "", "y = MatMul(a, b)", "float[B,4,N,M]"},
	{17, "float[8] a, float[8] b", "", "y = MatMul(a, b)", "float"},
	{17, "float[N,8] a, float[8] b", "", "y = MatMul(a, b)", "float[N]"},
	{17, "float[N,8] a, float[7,2] b", "", "y = MatMul(a, b)", "!has 8 columns"},
	{17, "float[8,N] a, float[3,8] b, float[3] c", "", "y = Gemm <transA: int = 1, transB: int = 1> (a, b, c)", "float[N,3]"},
	{17, "float[N,8] a, float[8,3] b, float[4] c", "", "y = Gemm(a, b, c)", "!does not broadcast"},
	{10, "float[N,8] a, float[8,3] b", "", "y = Gemm(a, b)", "!input 2 (C) is missing"},
	{17, "float[B,N,K] a, float[B,K,5] b", "", `y = Einsum <equation: string = "bij,bjk->bki"> (a, b)`, "float[B,5,N]"},
	{17, "float[B,N,K] a, float[K] b", "", `y = Einsum <equation: string = "...j,j"> (a, b)`, "float[B,N]"},
	{17, "float[N,N] a", "", `y = Einsum <equation: string = "ii->"> (a)`, "float"},
	{17, "float[N,3] a", "", `y = Einsum <equation: string = "ij->ik"> (a)`, "!letter k"},

	// Convolution and pooling.
	{17, "float[N,3,32,32] x, float[8,3,3,3] w", "", "y = Conv <pads: ints = [1,1,1,1]> (x, w)", "float[N,8,32,32]"},
	{17, "float[N,3,H,W] x, float[8,3,3,3] w", "", "y = Conv <pads: ints = [1,1,1,1], strides: ints = [2,2]> (x, w)", `float[N,8,"floor(H-1,2)+1","floor(W-1,2)+1"]`},
	{17, "float[N,3,H,5] x, float[8,3,3,3] w", "", `y = Conv <auto_pad: string = "SAME_UPPER", strides: ints = [2,2]> (x, w)`, `float[N,8,"floor(H+1,2)",3]`},
	{17, "float[N,4,7] x, float[6,2,3] w", "", "y = Conv <dilations: ints = [2], group: int = 2> (x, w)", "float[N,6,3]"},
	{17, "float[N,4,7] x, float[6,3,3] w", "", "y = Conv <group: int = 2> (x, w)", "!has 4 channels"},
	{17, "float[N,4,7] x, float[6,2,3] w", "", "y = Conv <group: int = 0> (x, w)", "!group is 0"},
	{17, "float[N,4,2] x, float[6,4,3] w", "", "y = Conv(x, w)", "!does not fit"},
	{17, "float[N,4,7] x, float[6,4,3] w", "", "y = Conv <strides: ints = [-1]> (x, w)", "!want at least 1"},
	{17, "float[N,4,7] x, float[6,4,3] w", "", "y = Conv <strides: ints = [1,1]> (x, w)", "!has 2 numbers, want 1"},
	{17, "float[N,8,H,5] x, float[8,2,3,3] w", "", "y = ConvTranspose <group: int = 2, output_padding: ints = [1,1], pads: ints = [1,1,1,1], strides: ints = [2,2]> (x, w)", "float[N,4,2*H,10]"},
	{17, "float[N,3,32,32] x", "", "y, y1 = MaxPool <kernel_shape: ints = [3,3], pads: ints = [1,1,1,1], strides: ints = [2,2]> (x)", "float[N,3,16,16]; int64[N,3,16,16]"},
	{17, "float[N,3,6] x", "", "y = MaxPool <ceil_mode: int = 1, kernel_shape: ints = [3], strides: ints = [2]> (x)", "float[N,3,3]"},
	{17, "float[N,3,1] x", "", "y = AveragePool <ceil_mode: int = 1, kernel_shape: ints = [1], pads: ints = [0,1], strides: ints = [3]> (x)", "float[N,3,1]"},
	{9, "float[N,3,6] x", "", "y = MaxPool <dilations: ints = [2], kernel_shape: ints = [2]> (x)", `!attribute "dilations" is not known`},
	{7, "float[N,3,6] x", "", "y, y1 = MaxPool <kernel_shape: ints = [2]> (x)", "!2 outputs, want at most 1"},
	{17, "float[N,C,H,W] x", "", "y = GlobalAveragePool(x)", "float[N,C,1,1]"},

	// Normalisation.
	{9, "float[N,3,H] x, float[3] s, float[3] b, float[3] m, float[3] v", "", "y, y1, y2, y3, y4 = BatchNormalization(x, s, b, m, v)", "float[N,3,H]; float[3]; float[3]; float[3]; float[3]"},
	{15, "float[N,3,H] x, float[3] s, float[3] b, float[3] m, float[3] v", "", "y, y1, y2 = BatchNormalization <training_mode: int = 1> (x, s, b, m, v)", "float[N,3,H]; float[3]; float[3]"},
	{13, "float[N,3,H] x, float[3] s, float[3] b, float[3] m, float[3] v", "", "y = BatchNormalization <training_mode: int = 1> (x, s, b, m, v)", `!attribute "training_mode"`},
	{17, "float[N,4,H] x, float[3] s, float[3] b, float[3] m, float[3] v", "", "y = BatchNormalization(x, s, b, m, v)", "!want 4 numbers"},
	{17, "double[N,T,8] x, double[8] s", "", "y, y1, y2 = LayerNormalization(x, s)", "double[N,T,8]; float[N,T,1]; float[N,T,1]"},
	{17, "float[N,T,8] x, float[7] s", "", "y = LayerNormalization(x, s)", "!does not broadcast"},
	{13, "float[N,6] x", "", "y = LRN <size: int = 3> (x)", "float[N,6]"},
	{13, "float[N,6] x", "", "y = LRN <size: int = 0> (x)", "!size is 0"},
	{13, "float[6] x", "", "y = LRN <size: int = 3> (x)", "!want [N, C, ...]"},
	{18, "float[N,6,H] x, float[3] s", "", "y = GroupNormalization <num_groups: int = 3> (x, s, s)", "float[N,6,H]"},
	{18, "float[N,6,H] x, float[6] s", "", "y = GroupNormalization <num_groups: int = 3> (x, s, s)", "!want 3 numbers"},
	{21, "float[N,6,H] x, float[6] s", "", "y = GroupNormalization <num_groups: int = 3> (x, s, s)", "float[N,6,H]"},
	{21, "float[N,6,H] x, float[3] s", "", "y = GroupNormalization <num_groups: int = 3> (x, s, s)", "!want 6 numbers"},
	{17, "float[N,3,H] x, int64[3] s", "", `y = Resize(x, "", "", s)`, "float[?,?,?]"},
	{17, "float[N,3,H] x", "float[3] f = {1,1,2}", `y = Resize(x, "", f)`, "float[N,3,2*H]"},
	{17, "float[N,3,H] x", "float[3] f = {1,1,0.5}", `y = Resize(x, "", f)`, `float[N,3,"floor(H,2)"]`},
	{17, "float[N,3,H] x", "float[3] f = {1,1,-1}", `y = Resize(x, "", f)`, "!is not positive"},
	{12, "float[N,T,8] x", "", "y = Softmax <axis: int = 3> (x)", "float[N,T,8]"},
	{13, "float[N,T,8] x", "", "y = Softmax <axis: int = 3> (x)", "!axis is 3, want -3..2"},
	{11, "float[N,8] x", "", "y, y1 = Dropout <ratio: float = 0.1> (x)", "float[N,8]; bool[N,8]"},
	{9, "float[N,8] x", "", "y, y1 = Dropout(x)", "float[N,8]; float[N,8]"},
	{12, "float[N,8] x, float r, bool t", "", "y, y1 = Dropout(x, r, t)", "float[N,8]; bool[N,8]"},
	{12, "float[N,8] x", "", "y = Dropout <ratio: float = 0.1> (x)", `!attribute "ratio"`},

	// Reductions.
	{11, "float[N,3,4] x", "", "y = ReduceSum <axes: ints = [-1]> (x)", "float[N,3,1]"},
	{13, "float[N,3,4] x", "int64[1] a = {1}", "y = ReduceSum <keepdims: int = 0> (x, a)", "float[N,4]"},
	{13, "float[N,3,4] x", "", "y = ReduceSum <axes: ints = [-1]> (x)", `!attribute "axes"`},
	{17, "float[N,3,4] x", "", "y = ReduceMean <axes: ints = [0,2], keepdims: int = 0> (x)", "float[3]"},
	{18, "float[N,3,4] x", "int64[2] a = {0,2}", "y = ReduceMean(x, a)", "float[1,3,1]"},
	{18, "float[N,3,4] x", "", "y = ReduceMean <noop_with_empty_axes: int = 1> (x)", "float[N,3,4]"},
	{18, "float[N,3,4] x, int64[1] a", "", "y = ReduceMean <keepdims: int = 0> (x, a)", "float[?,?]"},
	{17, "float[N,3] x", "", "y = ReduceMax <axes: ints = [1,-1]> (x)", "!name axis 1 twice"},
	{17, "float[N,3] x", "", "y = ReduceMax <axes: ints = [2]> (x)", "!axes is 2, want -2..1"},
	{17, "float[N,3] x", "", "y = ArgMax <axis: int = 1, keepdims: int = 0> (x)", "int64[N]"},
	{17, "float[N,9] x", "int64[1] k = {4}", "y, y1 = TopK(x, k)", "float[N,4]; int64[N,4]"},

	// Shapes.
	{17, "float[N,3,4] x", "int64[2] s = {0,-1}", "y = Reshape(x, s)", "float[N,12]"},
	{17, "float[N,3,4] x", "int64[2] s = {-1,12}", "y = Reshape(x, s)", "float[N,12]"},
	{17, "float[N,3,4] x", "int64[2] s = {-1,6}", "y = Reshape(x, s)", "float[2*N,6]"},
	{17, "float[?,3,4] x", "int64[2] s = {0,-1}", "y = Reshape(x, s)", "float[?,12]"},
	{17, "float[6,4] x", "int64[2] s = {5,-1}", "y = Reshape(x, s)", "!cannot take the shape"},
	{17, "float[6,4] x", "int64[2] s = {5,5}", "y = Reshape(x, s)", "!cannot take the shape"},
	{17, "float[6,4] x", "int64[2] s = {-1,-1}", "y = Reshape(x, s)", "!has -1 twice"},
	{17, "float[6,0] x", "int64[2] s = {0,3}", "y = Reshape <allowzero: int = 1> (x, s)", "float[0,3]"},
	{17, "float[6,4] x, int64[3] s", "", "y = Reshape(x, s)", "float[?,?,?]"},
	{17, "float[N,3,4] x", "", "y = Flatten(x)", "float[N,12]"},
	{17, "float[N,3,4] x", "", "y = Flatten <axis: int = 2> (x)", "float[3*N,4]"},
	{17, "float[N,3,4] x", "", "y = Transpose <perm: ints = [2,0,1]> (x)", "float[4,N,3]"},
	{17, "float[N,3,4] x", "", "y = Transpose <perm: ints = [2,0,2]> (x)", "!no permutation"},
	{17, "float[N,3] x, float[M,3] z", "", "y = Concat <axis: int = 0> (x, z)", "float[M+N,3]"},
	{17, "float[N,3] x, float[M,4] z", "", "y = Concat <axis: int = 0> (x, z)", "!differ in dimension 1"},
	{12, "float[N,6] x", "", "y, y1 = Split <axis: int = 1, split: ints = [2,4]> (x)", "float[N,2]; float[N,4]"},
	{13, "float[N,6] x", "int64[2] s = {2,4}", "y, y1 = Split <axis: int = 1> (x, s)", "float[N,2]; float[N,4]"},
	{17, "float[N,6] x", "", "y, y1 = Split <axis: int = 1> (x)", "float[N,3]; float[N,3]"},
	{17, `float["2*N",6] x`, "", "y, y1 = Split(x)", "float[N,6]; float[N,6]"},
	{18, "float[7] x", "", "y, y1 = Split <num_outputs: int = 2> (x)", "float[4]; float[3]"},
	{17, "float[7] x", "", "y, y1 = Split(x)", "!does not split into 2"},
	{17, "float[7] x", "int64[2] s = {2,4}", "y, y1 = Split(x, s)", "!does not add up"},
	{9, "float[N,6] x", "", "y = Slice <axes: ints = [1], ends: ints = [-1], starts: ints = [1]> (x)", "float[N,4]"},
	{17, "float[N,6] x", "int64[1] s = {1}, int64[1] e = {9223372036854775807}, int64[1] a = {0}", "y = Slice(x, s, e, a)", "float[N-1,6]"},
	{17, "float[N,6] x", "int64[1] s = {-1}, int64[1] e = {-9223372036854775807}, int64[1] a = {0}, int64[1] t = {-1}", "y = Slice(x, s, e, a, t)", "float[N,6]"},
	{17, "float[N,6] x", "int64[1] s = {5}, int64[1] e = {0}, int64[1] a = {1}, int64[1] t = {-2}", "y = Slice(x, s, e, a, t)", "float[N,3]"},
	{17, "float[N,6] x", "int64[1] s = {0}, int64[1] e = {5}, int64[1] a = {0}", "y = Slice(x, s, e, a)", "float[?,6]"},
	{17, "float[N,6] x", "int64[1] s = {0}, int64[1] e = {5}, int64[1] a = {0}, int64[1] t = {0}", "y = Slice(x, s, e, a, t)", "!step of axis 0 is 0"},
	{12, "float[N,1,3] x", "", "y = Squeeze <axes: ints = [1]> (x)", "float[N,3]"},
	{13, "float[N,1,3] x", "int64[1] a = {-2}", "y = Squeeze(x, a)", "float[N,3]"},
	{17, "float[2,1,3] x", "", "y = Squeeze(x)", "float[2,3]"},
	{17, "float[N,1,3] x", "", "y = Squeeze(x)", "float[]"},
	{17, "float[N,1,3] x", "int64[1] a = {2}", "y = Squeeze(x, a)", "!has not size 1"},
	{12, "float[N,3] x", "", "y = Unsqueeze <axes: ints = [0,3]> (x)", "float[1,N,3,1]"},
	{13, "float[N,3] x", "int64[2] a = {0,-1}", "y = Unsqueeze(x, a)", "float[1,N,3,1]"},
	{17, "float[N,1] x", "int64[2] s = {1,5}", "y = Expand(x, s)", "float[N,5]"},
	{17, "float[N,2] x", "int64[2] s = {3,1}", "y = Tile(x, s)", "float[3*N,2]"},
	{17, "float[N,2] x", "int64[2] s = {4611686018427387904,4611686018427387904}", "y = Tile(x, s)", "!overflow"},
	{10, "float[N,2] x", "", "y = Pad <pads: ints = [0,1,0,2]> (x)", "float[N,5]"},
	{13, "float[N,2] x", "int64[4] p = {0,1,0,2}", "y = Pad(x, p)", "float[N,5]"},
	{18, "float[N,2] x", "int64[2] p = {1,2}, int64[1] a = {1}, float v = {0}", "y = Pad(x, p, v, a)", "float[N,5]"},
	{17, "float[N,2] x", "int64[4] p = {0,-3,0,0}", "y = Pad(x, p)", "!negative size -1"},
	{17, "float[N,8,H,W] x", "", "y = DepthToSpace <blocksize: int = 2> (x)", "float[N,2,2*H,2*W]"},
	{17, `float[N,2,"2*H",6] x`, "", "y = SpaceToDepth <blocksize: int = 2> (x)", "float[N,8,H,3]"},
	{17, "float[N,8] x", "", "y = Shape <start: int = 1> (x)", "int64[1]"},
	{17, "", "int64[2] s = {1048576,1048576}, float v = {0}", "y = Expand(v, s)", "!too many elements"},

	// Indices.
	{17, "float[V,8] w, int64[N,T] i", "", "y = Gather(w, i)", "float[N,T,8]"},
	{17, "float[N,V,8] w, int64 i", "", "y = Gather <axis: int = 1> (w, i)", "float[N,8]"},
	{17, "float[3,8] w", "int64[1] i = {3}", "y = Gather(w, i)", "!index 3 is outside"},
	{17, "float[N,8] x, int64[N,2] i", "", "y = GatherElements <axis: int = 1> (x, i)", "float[N,2]"},
	{17, "float[N,4,8] x, int64[N,2,1] i", "", "y = GatherND <batch_dims: int = 1> (x, i)", "float[N,2,8]"},
	{17, "float[N,8] x, int64[N,2] i, float[N,2] u", "", `y = ScatterElements <axis: int = 1, reduction: string = "add"> (x, i, u)`, "float[N,8]"},
	{17, "float[N,8] x, int64[N,2] i, float[N,2] u", "", `y = ScatterElements <axis: int = 1, reduction: string = "max"> (x, i, u)`, "!needs opset 18"},
	{17, "float[V,8] x, int64[M,1] i, float[M,8] u", "", "y = ScatterND(x, i, u)", "float[V,8]"},
	{17, "float[V,8] x, int64[M,1] i, float[M,7] u", "", "y = ScatterND(x, i, u)", "!updates have type"},
	{17, "int64[N] i, float[2] v", "int64 d = {10}", "y = OneHot(i, d, v)", "float[N,10]"},
	{17, "float[N,3] x", "", "y = NonZero(x)", "int64[2,?]"},

	// Losses, recurrent layers, random numbers.
	{13, "float[N,C,T] x, int64[N,T] t", "", `y, y1 = SoftmaxCrossEntropyLoss <reduction: string = "none"> (x, t)`, "float[N,T]; float[N,C,T]"},
	{13, "float[N,C] x, int64[N] t", "", "y = NegativeLogLikelihoodLoss(x, t)", "float"},
	{13, "float[4,C] x, int64[5] t", "", "y = NegativeLogLikelihoodLoss(x, t)", "!want shape [4]"},
	{14, "float[T,N,8] x, float[2,20,8] w, float[2,20,5] r", "", `y, y1, y2 = LSTM <direction: string = "bidirectional", hidden_size: int = 5> (x, w, r)`, "float[T,2,N,5]; float[2,N,5]; float[2,N,5]"},
	{17, "float[N,3] x", "", "y = Bernoulli <dtype: int = 11> (x)", "double[N,3]"},
	{17, "", "", "y = RandomNormal <shape: ints = [2,3]> ()", "float[2,3]"},

	// Values: what exporters write to compute shapes.
	{17, "float[N,4,8] x", "int64 i = {0}, int64[1] a = {0}, int64[1] m = {-1}", "s = Shape(x) n = Gather(s, i) u = Unsqueeze(n, a) c = Concat <axis: int = 0> (u, m) y = Reshape(x, c)", "float[N,32]"},
	{17, "float[N,T,8] x, float[1,1,8] p", "int64[3] e = {-1,-1,-1}, int64[1] k = {3}, int64 q = {-1}", "s = Shape(x) ones = ConstantOfShape <value: tensor = int64[1] {1}> (k) c = Equal(s, q) w = Where(c, ones, s) y = Expand(p, w)", "float[N,T,8]"},
	{17, "float[N,T] x", "int64 z = {0}, int64 o = {1}", "s = Shape(x) n = Gather(s, o) y = Range(z, n, o)", "int64[T]"},
	{17, "float[N,T,8] x, float[1024,1024] mask", "int64 o = {1}, int64[1] a = {0}, int64[1] z = {0}", "s = Shape(x) n = Gather(s, o) e = Unsqueeze(n, a) y = Slice(mask, z, e, z)", "float[T,1024]"},
	{17, "float[N,T] x", "int64 o = {1}, int64 two = {2}, int64[1] a = {0}", "s = Shape(x) n = Gather(s, o) h = Mul(n, two) d = Div(h, two) u = Unsqueeze(d, a) y = ConstantOfShape(u)", "float[T]"},
	{17, "float[N,7,H] x", "float f = {0.5}, int64 o = {1}, int64[1] a = {0}", "s = Shape(x) n = Gather(s, o) c = Cast <to: int = 1> (n) h = Mul(c, f) r = Floor(h) i = Cast <to: int = 7> (r) u = Unsqueeze(i, a) y = ConstantOfShape(u)", "float[3]"},
	{17, "float[N,3] x", "int64[1] a = {0}", "s = Size(x) u = Unsqueeze(s, a) y = Reshape(x, u)", "float[3*N]"},
	{17, "float[N,T,3] x", "int64[2] i = {0,1}", "s = Shape(x) y, y1, y2 = Split(s) p = ReduceProd <keepdims: int = 0> (s) z = ConstantOfShape(y)", "int64[1]; int64[1]; int64[1]"},

	{17, "float[N,T] x", "int64 q = {1}, int64[2] k = {5,6}", "s = Shape(x) c = Equal(s, q) w = Where(c, k, s) y = ConstantOfShape(w)", "float[?,?]"},
	{17, "float[N,T] x", "int64 q = {0}, int64[2] k = {5,6}", "s = Shape(x) c = Greater(s, q) w = Where(c, s, k) y = ConstantOfShape(w)", "float[N,T]"},
	{17, "float[N,T] x", "int64[2] k = {1,4}", "s = Shape(x) m = Max(s, k) y = ConstantOfShape(m)", "float[N,?]"},
	{17, "float[N,6] x", "int64[2] k = {4,4}", "s = Shape(x) m = Mod(s, k) y = ConstantOfShape(m)", "float[?,2]"},

	// Nested graphs.
	{17, "float[N,3] x, bool c", "", "y = If (c) <then_branch: graph = t () => (a) { a = Identity(x) }, else_branch: graph = e () => (b) { b = Neg(x) }>", "float[N,3]"},
	{17, "float[N,3] x, float[N,4] z, bool c", "", "y = If (c) <then_branch: graph = t () => (a) { a = Identity(x) }, else_branch: graph = e () => (b) { b = Neg(z) }>", "float[N,?]"},
	{17, "float[N,3] x", "bool c = {1}, int64[1] a = {0}", "y = If (c) <then_branch: graph = t () => (p) { p = Identity(x) }, else_branch: graph = e () => (b) { k = Concat <axis: int = 7> (x, x) b = Neg(k) }>", "float[N,3]"},
	{17, "float[N,3] x, bool c", "", "y = If (c) <then_branch: graph = t () => (p) { p = Identity(x) }, else_branch: graph = e () => (b) { b = Cast <to: int = 7> (x) }>", "!is float[N,3] in then_branch"},
	{17, "float[N,3] x, int64 m", "bool c = {1}", "y, y1 = Loop (m, c, x) <body: graph = b (i, k, s) => (k2, s2, o) { k2 = Identity(k) s2 = Add(s, s) o = ReduceSum(s) }>", "float[N,3]; float[?,1,1]"},
	{17, "float[N,3] x", "bool c = {1}, int64 m = {5}", "y, y1 = Loop (m, c, x) <body: graph = b (i, k, s) => (k2, s2, o) { k2 = Identity(k) s2 = Concat <axis: int = 0> (s, s) o = ReduceSum(s) }>", "float[?,3]; float[5,1,1]"},
	{17, "float[N,3] x", "bool c = {1}, int64 m = {5}", "y = Loop (m, c, x) <body: graph = b (i, k, s) => (k2, s2) { k2 = Identity(k) s2 = Shape(s) }>", "!starts as float"},
	{17, "float[3] h, float[T,N,3] x", "", "y, y1 = Scan (h, x) <num_scan_inputs: int = 1, body: graph = b (s, e) => (s2, o) { s2 = Tanh(s) o = Add(s, e) }>", "float[3]; float[T,N,3]"},

	// Tags.
	{17, "float[N,3] x, float[3,2] w", "", `y = asdl.Layer <kind: string = "linear"> (x, x, w)`, "float[N,3]"},
	{17, "float l, float[3,2] w, float[2] b", "", `y, y1 = asdl.Gradient <ys: int = 1> (l, l, w, b)`, "float[3,2]; float[2]"},
	{17, "float[N,2] z, float[3,2] t, float[3,2] w", "", `y = asdl.Tangent <ys: int = 1> (z, t, w)`, "float[N,2]"},
	{17, "", "", `y = asdl.State <dtype: int = 1, shape: ints = [3,3]> ()`, "float[3,3]"},
	{17, "", "int64[2] s = {4,5}", `y = asdl.Noise(s)`, "float[4,5]"},
}

func TestRules(t *testing.T) {
	for _, c := range ruleCases {
		t.Run(fmt.Sprintf("%d/%s", c.opset, c.body), func(t *testing.T) {
			m := parse(t, c.opset, c.inputs, c.consts, c.body)
			err := op.InferGraph(m)
			if message, fails := strings.CutPrefix(c.want, "!"); fails {
				var ne *graph.NodeError
				if err == nil || !strings.Contains(err.Error(), message) || !errors.As(err, &ne) {
					t.Errorf("error %v, want %q", err, message)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, v := range m.Graph.Outputs() {
				got = append(got, v.Type.String())
			}
			if got, want := strings.Join(got, "; "), strings.ReplaceAll(c.want, `"`, ""); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

// parse makes a model of the inputs, constants and nodes; the outputs are the values named y, y1, ... of the last node that has them.
func parse(t *testing.T, opset int, inputs, consts, body string) *graph.Model {
	t.Helper()
	outputs := []string{"y"}
	for i := 1; strings.Contains(body, fmt.Sprintf("y%d", i)); i++ {
		outputs = append(outputs, fmt.Sprintf("y%d", i))
	}
	if consts != "" {
		consts = "<" + consts + ">"
	}
	src := fmt.Sprintf(`<ir_version: 8, opset_import: ["" : %d, "asdl" : 1]> g (%s) => (%s) %s { %s }`,
		opset, inputs, strings.Join(outputs, ", "), consts, body)
	m, err := graph.Parse(src)
	if err != nil {
		t.Fatalf("%v in %s", err, src)
	}
	return m
}
