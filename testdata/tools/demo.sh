#!/bin/sh
# demo.sh: a network, its Shampoo training step, training on drawn digits, and the accuracy. No network access, no Python.
set -eu
run() {
	echo "\$ $*"
	"$@"
}
mkdir -p demo
run bin/asdlc new mlp --widths 784,256,128,10 -o demo/mlp.onnx -f
run bin/asdlc instrument demo/mlp.onnx --method shampoo -o demo/mlp.shampoo.onnx -f
run bin/asdlc train demo/mlp.shampoo.onnx --model demo/mlp.onnx --data digits --epochs 2 -o demo/mlp.trained.onnx -f
run bin/asdlc eval demo/mlp.trained.onnx --data digits
echo "Files:"
ls -l demo
