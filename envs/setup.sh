#!/bin/sh
# Make the virtual environment of this project: sh envs/setup.sh FOLDER [PYTHON]
set -eu
folder=$1 python=${2:-}
cd "$(dirname "$0")/.."

fail() {
  echo "make setup: $1" >&2
  exit 1
}
version() { "$1" -c 'import platform; print(platform.python_version())' 2> /dev/null; }
suitable() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; }

if [ -x "$folder/bin/python" ]; then
  python=$folder/bin/python
  suitable "$python" ||
    fail "$folder has a Python that does not run or is older than 3.11; remove that folder"
elif [ -n "$python" ]; then
  suitable "$python" || fail "PYTHON=$python is $(version "$python" || echo "no Python that runs"); \
3.11 or newer is needed"
else
  # The newest that the tests are run with; then what may do as well.
  for one in python3.13 python3.12 python3.11 python3.14 python3; do
    if suitable "$one"; then python=$one && break; fi
  done
  [ -n "$python" ] || fail "no Python 3.11 or newer on the PATH (python3 is $(version python3 ||
    echo missing)); install one, or name it: make setup PYTHON=/path/to/python3.13"
fi
echo "Setting up $folder with Python $(version "$python") ($(command -v "$python")): \
2.5 GB, with NVIDIA's libraries 6.5 GB; some minutes, once."

if [ ! -x "$folder/bin/python" ]; then
  "$python" -c 'import ensurepip, venv' 2> /dev/null ||
    fail "$python has no venv; install it (Debian, Ubuntu: apt install python3-venv), or name \
another Python: make setup PYTHON=..."
  mkdir -p "$folder"
  free=$(df -Pk "$folder" | awk 'NR == 2 {print $4}')
  if [ "$free" -lt 3000000 ]; then
    rmdir "$folder" 2> /dev/null || true
    fail "$((free / 1000)) MB are free where $folder would be, at least 3000 are needed; \
make room, or name another place: make setup VENV=/path/to/folder"
  fi
  "$python" -m venv "$folder"
fi
sh envs/install.sh "$folder/bin/python"
echo "  vmm"
"$folder/bin/python" -m pip --quiet --disable-pip-version-check install \
  --no-deps --no-build-isolation --editable .
