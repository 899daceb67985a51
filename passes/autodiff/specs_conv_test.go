package autodiff_test

// convSpecs are the rows of convolution, pooling and interpolation.
var convSpecs = []spec{
	// convolution and pooling
	{op: "Conv", sig: "(double[2,2,5,4] x, double[3,2,3,2] w, double[3] b) => (z)", body: "z = Conv(x, w, b)", fixed: "w"},
	{op: "Conv", name: "padded", sig: "(double[2,2,5,4] x, double[3,2,3,3] w) => (z)", body: "z = Conv<pads: ints = [1,1,1,1]>(x, w)", fixed: "w"},
	{op: "Conv", name: "strided", sig: "(double[2,2,7,6] x, double[3,2,3,2] w) => (z)", body: "z = Conv<pads: ints = [1,0,2,1], strides: ints = [2,3]>(x, w)", fixed: "w"},
	{op: "Conv", name: "strided, rest cut", sig: "(double[1,1,8,8] x, double[1,1,3,3] w) => (z)", body: "z = Conv<strides: ints = [3,3]>(x, w)", fixed: "w"},
	{op: "Conv", name: "dilated", sig: "(double[2,1,7,8] x, double[2,1,3,2] w) => (z)", body: "z = Conv<dilations: ints = [2,3], pads: ints = [1,1,0,2], strides: ints = [1,2]>(x, w)", fixed: "w"},
	{op: "Conv", name: "groups", sig: "(double[2,4,5] x, double[6,2,3] w, double[6] b) => (z)", body: "z = Conv<group: int = 2, pads: ints = [1,1], strides: ints = [2]>(x, w, b)", fixed: "w"},
	{op: "Conv", name: "depthwise", sig: "(double[2,3,4,5] x, double[3,1,3,3] w) => (z)", body: "z = Conv<group: int = 3, pads: ints = [1,1,1,1]>(x, w)", fixed: "w"},
	{op: "Conv", name: "3d", sig: "(double[1,2,3,4,3] x, double[2,2,2,2,2] w) => (z)", body: "z = Conv<strides: ints = [1,2,1]>(x, w)", fixed: "w"},
	{op: "Conv", name: "1x1", sig: "(double[2,3,2,2] x, double[4,3,1,1] w) => (z)", body: "z = Conv(x, w)", fixed: "w"},
	{op: "Conv", name: "same", sig: "(double[1,1,5,6] x, double[1,1,3,2] w) => (z)", body: `z = Conv<auto_pad: string = "SAME_UPPER", strides: ints = [2,2]>(x, w)`, open: "static"},
	{op: "Conv", name: "same lower", sig: "(double[1,1,5,6] x, double[1,1,3,2] w) => (z)", body: `z = Conv<auto_pad: string = "SAME_LOWER">(x, w)`, fixed: "w"},
	{op: "Conv", name: "valid", sig: "(double[1,1,5,6] x, double[1,1,3,2] w) => (z)", body: `z = Conv<auto_pad: string = "VALID">(x, w)`, fixed: "w"},
	{op: "Conv", name: "only bias", sig: "(double[3] b) => (z) <double[1,1,2] x = {1, 2}, double[3,1,1] w = {1, 2, 3}>", body: "y = Conv(x, w, b) z = Mul(y, y)", fixed: "b"},
	{op: "ConvTranspose", sig: "(double[2,2,3,4] x, double[2,3,3,2] w, double[3] b) => (z)", body: "z = ConvTranspose(x, w, b)", fixed: "w"},
	{op: "ConvTranspose", name: "strided", sig: "(double[2,2,3,4] x, double[2,3,3,2] w) => (z)", body: "z = ConvTranspose<strides: ints = [2,3], pads: ints = [1,0,1,1], output_padding: ints = [1,2]>(x, w)", fixed: "w"},
	{op: "ConvTranspose", name: "groups", sig: "(double[2,4,3] x, double[4,3,2] w, double[6] b) => (z)", body: "z = ConvTranspose<group: int = 2, dilations: ints = [2]>(x, w, b)", fixed: "w"},
	{op: "ConvTranspose", name: "output shape", sig: "(double[1,1,3,4] x, double[1,2,3,3] w) => (z)", body: "z = ConvTranspose<strides: ints = [2,2], output_shape: ints = [6,8]>(x, w)", open: "static"},
	{op: "MaxPool", sig: "(double[2,2,4,6] x) => (z)", body: "z = MaxPool<kernel_shape: ints = [2,2], strides: ints = [2,2]>(x)"},
	{op: "MaxPool", name: "overlap", sig: "(double[1,2,5,5] x) => (z)", body: "z = MaxPool<kernel_shape: ints = [3,3], strides: ints = [2,2], pads: ints = [1,1,1,1]>(x)"},
	{op: "MaxPool", name: "ceil", sig: "(double[1,1,6] x) => (z)", body: "z, i = MaxPool<kernel_shape: ints = [3], strides: ints = [2], ceil_mode: int = 1>(x)"},
	{op: "MaxPool", name: "dilated", sig: "(double[1,1,7,7] x) => (z)", body: "z = MaxPool<kernel_shape: ints = [2,3], dilations: ints = [2,1]>(x)"},
	{op: "MaxPool", name: "column order", sig: "(double[1,2,4,4] x) => (z)", body: "z, i = MaxPool<kernel_shape: ints = [2,2], storage_order: int = 1>(x)"},
	{op: "AveragePool", sig: "(double[2,2,4,6] x) => (z)", body: "y = AveragePool<kernel_shape: ints = [2,3], strides: ints = [2,3]>(x) z = Mul(y, y)"},
	{op: "AveragePool", name: "overlap", sig: "(double[1,2,5,5] x) => (z)", body: "z = AveragePool<kernel_shape: ints = [3,3], strides: ints = [2,2], pads: ints = [1,1,1,1]>(x)"},
	{op: "AveragePool", name: "with pads", sig: "(double[1,2,5,5] x) => (z)", body: "z = AveragePool<kernel_shape: ints = [3,2], strides: ints = [2,1], pads: ints = [1,0,1,1], count_include_pad: int = 1>(x)"},
	{op: "AveragePool", name: "ceil", sig: "(double[1,2,6,7] x) => (z)", body: "z = AveragePool<kernel_shape: ints = [3,2], strides: ints = [2,3], ceil_mode: int = 1>(x)"},
	{op: "AveragePool", name: "ceil with pads", opset: 19, sig: "(double[1,1,6,7] x) => (z)", body: "z = AveragePool<kernel_shape: ints = [3,3], strides: ints = [2,3], pads: ints = [1,1,1,1], ceil_mode: int = 1, count_include_pad: int = 1>(x)"},
	{op: "AveragePool", name: "dilated", opset: 19, sig: "(double[1,1,6,7] x) => (z)", body: "z = AveragePool<kernel_shape: ints = [2,2], dilations: ints = [2,3], pads: ints = [0,1,1,0]>(x)"},
	{op: "GlobalAveragePool", sig: "(double[2,3,2,3] x) => (z)", body: "z = GlobalAveragePool(x)"},
	{op: "GlobalMaxPool", sig: "(double[2,3,2,3] x) => (z)", body: "z = GlobalMaxPool(x)"},

	// interpolation
	{op: "Resize", sig: "(double[1,2,3,2] x) => (z) <float[4] s = {1, 1, 2, 3}>", body: "z = Resize(x, , s)"},
	{op: "Resize", name: "repeat", sig: "(double[1,2,3,2] x) => (z) <float[4] s = {1, 1, 2, 3}>", body: `z = Resize<coordinate_transformation_mode: string = "asymmetric", nearest_mode: string = "floor">(x, , s)`},
	{op: "Resize", name: "nearest", sig: "(double[1,2,5,3] x) => (z) <float[4] s = {1, 1, 0.6, 1.5}>", body: `z = Resize<coordinate_transformation_mode: string = "align_corners", nearest_mode: string = "ceil">(x, , s)`},
	{op: "Resize", name: "linear", sig: "(double[1,2,3,4] x) => (z) <float[4] s = {1, 1, 2, 0.75}>", body: `z = Resize<mode: string = "linear">(x, , s)`},
	{op: "Resize", name: "sizes", sig: "(double[2,1,3,4] x) => (z) <int64[4] s = {2, 1, 5, 3}>", body: `z = Resize<mode: string = "linear", coordinate_transformation_mode: string = "align_corners">(x, , , s)`, fixed: "x"},
	{op: "Resize", name: "cubic", opset: 18, sig: "(double[1,1,4,5] x) => (z) <float[2] s = {0.5, 1.5}>", body: `z = Resize<mode: string = "cubic", antialias: int = 1, axes: ints = [3, -2]>(x, , s)`},
	{
		op: "Resize", name: "crop", sig: "(double[1,1,4,5] x) => (z) <float[8] r = {0, 0, 0.4, 0.2, 1, 1, 1.2, 0.8}, int64[4] s = {1, 1, 3, 3}>",
		body: `z = Resize<mode: string = "linear", coordinate_transformation_mode: string = "tf_crop_and_resize", extrapolation_value: float = 7>(x, r, , s)`,
	},
	{op: "Resize", name: "one axis", sig: "(double[3,2,2] x) => (z) <float[3] s = {2.5, 1, 1}>", body: `z = Resize<mode: string = "linear", coordinate_transformation_mode: string = "pytorch_half_pixel">(x, , s)`},
}
