#!/usr/bin/env bash
# Compare what two versions of Python make of the same synthetic archives, with equal libraries.
# supply/determinism.sh UV PYTHON OTHER_PYTHON
set -euo pipefail
cd "$(dirname "$0")/.."
uv=$(realpath "$1") first=$2 place=.venv-other-python
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
"$uv" venv --quiet --clear --python "$3" $place
# pinned as in the first, so that Python alone differs
"$uv" pip freeze --quiet --python "$first" --exclude-editable | grep -v '^-e' >"$out/installed.txt"
"$uv" pip compile --quiet --python $place/bin/python --constraint "$out/installed.txt" \
  pyproject.toml -o "$out/pinned.txt"
sed -i 's/^opencv-python==/opencv-python-headless==/' "$out/pinned.txt"
"$uv" pip install --quiet --python $place/bin/python -r "$out/pinned.txt"
export PYTHONPATH=src
for name in bcdr cbis cdd csaw inbreast; do
  "$first" -m bcseg synth "$name" "$out/original/$name" --images 6 --scale 0.1 >/dev/null
  "$first" -m bcseg refactor "$name" "$out/original/$name" -o "$out/one" --quiet >/dev/null
  $place/bin/python -m bcseg refactor "$name" "$out/original/$name" -o "$out/other" --quiet -j 2 >/dev/null
  diff -r --exclude=logs --exclude='.*' "$out/one/$name" "$out/other/$name"
done
"$first" --version
$place/bin/python --version
echo "the same bytes: $(find "$out/other" -type f -not -path '*/logs/*' -not -name '.*' | wc -l) files"
