#!/bin/sh
# The tests with the newest of all that the metadata allow, whatever the lock says, in an
# environment that is thrown away next time: sh envs/latest.sh PYTHON
set -eu
cd "$(dirname "$0")/.."
folder=build/latest
rm -rf "$folder"
"$1" -m venv "$folder"
echo "Installing the newest libraries in $folder"
"$folder/bin/python" -m pip --quiet --disable-pip-version-check install --upgrade \
  --editable '.[api,pipeline,dev]'
status=0
"$folder/bin/python" -m pytest -n 2 --dist loadfile || status=$?
echo "With these versions instead of the lock's:"
PYTHONPATH=tests/support "$folder/bin/python" -c '
import locks
for name, version in locks.differing().items():
    print(f"  {name} {version} (lock: {locks.locked()[name]})")
import torch
print(f"  torch {torch.__version__}")'
exit $status
