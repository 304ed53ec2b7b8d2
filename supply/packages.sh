#!/usr/bin/env bash
# Build sdist and wheel, install them in clean environments, and try them there.
# supply/packages.sh UV PYTHON [OTHER_PYTHON]    PYTHON: of the development environment; OTHER_PYTHON:
# else the newest that is on this machine or can be installed
set -euo pipefail
cd "$(dirname "$0")/.."
uv=$(realpath "$1") python=$(realpath -s "$2") other=${3:-}
export PYTHONPATH= PIP_DISABLE_PIP_VERSION_CHECK=1
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

newest() { # the newest Python above 3.11
  local minor python
  for minor in 15 14 13 12; do
    for python in "$("$uv" python find --no-python-downloads "3.$minor" 2>/dev/null)" \
        "${PYENV_ROOT:-$HOME/.pyenv}/versions/3.$minor".*/bin/python; do
      if [ -x "$python" ] && "$python" -c '' 2>/dev/null; then echo "$python"; return; fi
    done
  done
  "$uv" python install --quiet 2>/dev/null && "$uv" python find '>3.11' 2>/dev/null || true
}

# a server without libGL wants the headless build of the same module
headless() { # PYTHON
  "$1" -c 'import cv2' 2>/dev/null && return
  "$uv" pip uninstall --quiet --python "$1" opencv-python
  "$uv" pip install --quiet --python "$1" --reinstall --no-deps opencv-python-headless
}

try() { # PROGRAM NAME: what a user does first, far from the source
  mkdir "$out/$2"
  ( cd "$out/$2"
    "$1" --version
    "$1" --version --json >versions.json
    "$1" synth inbreast original --images 6 >log.txt 2>&1
    "$1" refactor inbreast original --jobs 1 >>log.txt 2>&1
    "$1" stats >>log.txt 2>&1
    "$1" score --jobs 1 >>log.txt 2>&1
    "$1" verify --jobs 1 >>log.txt 2>&1 ) || { cat "$out/$2/log.txt"; exit 1; }
}

echo "building"
"$uv" build --quiet --out-dir "$out/dist" . # the sdist, and the wheel out of it
"$uv" build --quiet --wheel --out-dir "$out/tree" .
sdist=$(echo "$out"/dist/*.tar.gz) wheel=$(echo "$out"/dist/*.whl)
"$python" supply/packed.py "$sdist" "$wheel" "$out"/tree/*.whl

echo "the tests that read the documents, in the sdist"
tar -xzf "$sdist" -C "$out"
( cd "$out"/bcseg-*/
  export PYTHONPATH=$PWD/src
  "$python" -m pytest -q -p no:cacheprovider tests/test_supply.py tests/test_docs.py \
    tests/test_adding_a_dataset.py -k "not sessions" >"$out/tested.txt" ||
    { tail -n 40 "$out/tested.txt"; exit 1; }
  tail -n 1 "$out/tested.txt" )

echo "pip install . with $("$python" --version)"
"$python" -m venv "$out/venv"
"$out/venv/bin/pip" install --quiet --quiet --no-compile .
headless "$out/venv/bin/python"
try "$out/venv/bin/bcseg" pip-tried

[ -n "$other" ] || other=$(newest)
if [ -z "$other" ]; then
  echo "no newer Python is here or can be installed: $("$python" --version) alone is tried"
  other=$python
fi
echo "pipx install, of the wheel out of the sdist, with $("$other" --version)"
export PIPX_HOME=$out/pipx PIPX_BIN_DIR=$out/pipx-bin
"$uv" tool run --quiet --python "$python" pipx install --python "$other" --pip-args=--no-compile \
  "$wheel" >"$out/pipx.txt" 2>&1 || { cat "$out/pipx.txt"; exit 1; }
headless "$out/pipx/venvs/bcseg/bin/python"
try "$out/pipx-bin/bcseg" pipx-tried
( cd "$out" && "$out/pipx-bin/bcseg" demo >demo.txt 2>&1 ) || { cat "$out/demo.txt"; exit 1; }
tail -n 1 "$out/demo.txt"

echo "CITATION.cff"
"$uv" tool run --quiet --python "$python" cffconvert --validate
