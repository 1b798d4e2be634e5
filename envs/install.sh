#!/bin/sh
# Install the two locks into the environment of a Python: sh envs/install.sh PYTHON [FURTHER_LOCK]
# For `make setup` and, under --use-conda, for the environment of the jobs.
set -eu
python=$1
cd "$(dirname "$0")/.."
log=$(mktemp)
trap 'rm -f "$log"' EXIT

pip() {
  "$python" -m pip --quiet --disable-pip-version-check "$@" > "$log" 2>&1 && return
  if grep -q 'No space left on device' "$log"; then
    reason="no space is left: an environment takes 2.5 GB, with NVIDIA's libraries 6.5 GB (pip's \
downloads go to TMPDIR, ${TMPDIR:-/tmp})"
  elif grep -q -e 'NewConnectionError' -e 'ConnectTimeout' -e 'ProxyError' -e 'Name or service' \
    -e 'Connection refused' -e 'ConnectionError' "$log"; then
    reason="pip does not reach its package index, $("$python" -m pip config get global.index-url \
      2> /dev/null || echo PyPI): is there a network, or a mirror to name in PIP_INDEX_URL?"
  elif grep -q 'DO NOT MATCH THE HASHES' "$log"; then
    reason="a file of the package index is not the one that requirements.lock names"
  elif grep -q -e 'No matching distribution' -e 'Could not find a version' "$log"; then
    reason="the package index lacks a package for $("$python" --version)"
  else
    reason="pip failed"
  fi
  tail -n 15 "$log" >&2
  echo "vmm's environment: $reason." >&2
  exit 1
}

echo "  packages, by their hashes"
pip install --require-hashes --no-deps -r requirements.lock
echo "  PyTorch"
pip install --no-warn-conflicts -r requirements-torch.lock
if [ $# -gt 1 ]; then
  echo "  $2"
  pip install --require-hashes --no-deps -r "$2"
fi
