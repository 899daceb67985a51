#!/bin/sh
# venv.sh DIR [FILE]: make a virtual environment at DIR with what FILE lists (testdata/interop/requirements.txt), unless it is
# there already. On failure the last line says why, and the exit code is 1.
set -u
dir=$1
wanted=${2:-testdata/interop/requirements.txt}
stamp=$dir/requirements.txt

if [ -f "$stamp" ] && cmp -s "$stamp" "$wanted"; then
	exit 0
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
fail() {
	cat "$log"
	rm -rf "$dir"
	echo "no virtual environment: $1"
	exit 1
}
command -v "${PYTHON:-python3}" >/dev/null 2>&1 || fail "${PYTHON:-python3} is not installed"
"${PYTHON:-python3}" -m venv "$dir" >"$log" 2>&1 || fail "${PYTHON:-python3} -m venv failed (Debian: install python3-venv)"
"$dir/bin/python" -m pip install --disable-pip-version-check --quiet -r "$wanted" >"$log" 2>&1 ||
	fail "pip could not install $wanted (no network, or no wheels for $("$dir/bin/python" --version 2>&1))"
cp "$wanted" "$stamp"
