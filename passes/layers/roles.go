package layers

import "github.com/asdlc/asdlc/graph"

// role tells what an initializer at some input of an operator is.
type role uint8

const (
	operand  role = iota // a parameter, unless it looks like a constant (see looks.go)
	weight               // a parameter whatever it looks like; even from a Constant node if it is a matrix
	vector               // a parameter whatever it looks like, but not from a Constant node
	affine               // scale or shift of a normalisation: as vector, unless it is there to do nothing
	constant             // not differentiable, or a setting
	buffer               // running statistics
)

// slot is a row: input Index (-1: every one not listed) of operator Op has role Role. Inputs of operators that are not
// listed are operands.
type slot struct {
	Op    string
	Index int
	Role  role
}

var slots = []slot{
	{"Gemm", 0, weight},
	{"Gemm", 1, weight},
	{"Gemm", 2, vector},
	{"MatMul", 0, weight},
	{"MatMul", 1, weight},
	{"Conv", 1, weight},
	{"Conv", 2, vector},
	{"ConvTranspose", 1, weight},
	{"ConvTranspose", 2, vector},
	{"Gather", 0, weight},
	{"RNN", 1, weight},
	{"RNN", 2, weight},
	{"RNN", 3, vector},
	{"RNN", 5, constant},
	{"GRU", 1, weight},
	{"GRU", 2, weight},
	{"GRU", 3, vector},
	{"GRU", 5, constant},
	{"LSTM", 1, weight},
	{"LSTM", 2, weight},
	{"LSTM", 3, vector},
	{"LSTM", 5, constant},
	{"LSTM", 6, constant},
	{"LSTM", 7, vector},
	{"BatchNormalization", 1, affine},
	{"BatchNormalization", 2, affine},
	{"BatchNormalization", 3, buffer},
	{"BatchNormalization", 4, buffer},
	{"LayerNormalization", 1, affine},
	{"LayerNormalization", 2, affine},
	{"InstanceNormalization", 1, affine},
	{"InstanceNormalization", 2, affine},
	{"GroupNormalization", 1, affine},
	{"GroupNormalization", 2, affine},
	{"RMSNormalization", 1, affine},
	{"PRelu", 1, vector},

	{"Pow", 1, constant},
	{"Clip", 1, constant},
	{"Clip", 2, constant},
	{"Pad", 2, constant},
	{"Dropout", 1, constant},
	{"Resize", 1, constant},
	{"Resize", 2, constant},
	{"OneHot", 2, constant},
	{"Where", 0, constant},
	{"Attention", 3, constant},
	{"RotaryEmbedding", 1, constant},
	{"RotaryEmbedding", 2, constant},
	{"SoftmaxCrossEntropyLoss", 1, constant},
	{"SoftmaxCrossEntropyLoss", 2, constant},
	{"NegativeLogLikelihoodLoss", 1, constant},
	{"NegativeLogLikelihoodLoss", 2, constant},

	// Operators whose derivative is zero.
	{"Shape", -1, constant},
	{"Size", -1, constant},
	{"Floor", -1, constant},
	{"Ceil", -1, constant},
	{"Round", -1, constant},
	{"Sign", -1, constant},
	{"ArgMax", -1, constant},
	{"ArgMin", -1, constant},
	{"Equal", -1, constant},
	{"Less", -1, constant},
	{"LessOrEqual", -1, constant},
	{"Greater", -1, constant},
	{"GreaterOrEqual", -1, constant},
	{"IsNaN", -1, constant},
	{"IsInf", -1, constant},
	{"NonZero", -1, constant},
	{"Range", -1, constant},
	{"EyeLike", -1, constant},
	{"ConstantOfShape", -1, constant},
	{"RandomNormalLike", -1, constant},
	{"RandomUniformLike", -1, constant},
	{"Bernoulli", -1, constant},
	{"Multinomial", -1, constant},
	{"Hardmax", -1, constant},
}

// roleOf is the role of input i of n.
func roleOf(n *graph.Node, i int) role {
	if n.Domain != "" {
		return operand
	}
	found := operand
	for _, s := range slots {
		if s.Op == n.Op && (s.Index == i || s.Index == -1) {
			found = s.Role
		}
	}
	return found
}
