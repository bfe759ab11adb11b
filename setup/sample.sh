#!/usr/bin/env bash
# Make the sample that ships with the package, salt/configs/{sample.h5,norm_dict.yaml,class_dict.yaml}:
# setup/sample.sh [PYTHON]. The same jets every time; run it again when sample.MODEL_VERSION has changed.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-.venv/bin/python}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
"$python" -c 'import sys; from salt.simulate.command import main; sys.exit(main(sys.argv[1:]))' \
  --process ttbar --seed 42 --jets 2000 400 400 --out "$out/sample"
install -m 644 "$out/sample/pp_output_train.h5" salt/configs/sample.h5
install -m 644 "$out/sample/norm_dict.yaml" "$out/sample/class_dict.yaml" salt/configs/
ls -l salt/configs/sample.h5
