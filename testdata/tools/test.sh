#!/bin/sh
# test.sh [FLAG...]: run all Go tests, with the interop suite where its virtual environment can be made, and end with a
# summary. What was left out is named in lines that start with LEFT OUT.
set -u
go=${GO:-go}
mkdir -p build
"$go" build -o build/summary testdata/tools/summary.go || exit 1
if sh testdata/tools/venv.sh .venv >build/venv.log 2>&1; then
	tags="-tags interop"
	ASDLC_PYTHON=$PWD/.venv/bin/python
	export ASDLC_PYTHON
	left=
else
	tags=
	left="interop suite (step graphs in onnxruntime): $(tail -n 1 build/venv.log)"
fi
# tags is two words or none
"$go" test -json -timeout 35m $tags "$@" ./... | build/summary
code=$?
[ -z "$left" ] || echo "LEFT OUT: $left"
exit $code
