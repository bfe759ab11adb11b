#!/usr/bin/env bash
# Make the virtual environment: setup/venv.sh PYTHON VENV. uv takes seconds; pip is the fallback.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-python3} venv=${2:-.venv}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "salt needs Python >= 3.11; $python is older: make setup PYTHON=python3.12" >&2; exit 1; }
echo "setup: making $venv"
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
[ -n "${UV_FIND_LINKS:-}" ] || unset UV_FIND_LINKS
if "$venv/bin/python" -m pip install --quiet --disable-pip-version-check uv 2>/dev/null && VIRTUAL_ENV="$venv" "$venv/bin/uv" pip install \
     --quiet -e '.[simulate]' --group dev -c constraints.txt; then
  :
else
  echo "setup: uv could not do it, going on with pip"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "pip>=25.1"  # the first with --group
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -e '.[simulate]' --group dev -c constraints.txt
fi
