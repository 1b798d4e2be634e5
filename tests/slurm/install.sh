#!/usr/bin/env bash
# Install Debian's Slurm and Munge without starting them; status 77 where that cannot be.
set -uo pipefail

skip() {
  echo "Slurm tests skipped: $1"
  exit 77
}

missing=0
for program in munged slurmctld slurmd sbatch; do command -v "$program" >/dev/null || missing=1; done
[ "$missing" = 0 ] && exit 0
[ "$(id -u)" = 0 ] || skip "Slurm is not installed, and only root can install and start it"
command -v apt-get >/dev/null || skip "Slurm is not installed, and there is no apt-get to install it"

# The packages must not start daemons, which have no configuration yet.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod +x "$policy"
fi

export DEBIAN_FRONTEND=noninteractive
log=$(mktemp /tmp/install-slurm.XXXXXX.log)
echo "Installing slurm-wlm and munge (they stay installed)"
apt-get update >"$log" 2>&1 </dev/null
apt-get install -y --no-install-recommends slurm-wlm munge >>"$log" 2>&1 </dev/null ||
  skip "apt-get could not install slurm-wlm and munge, see $log"
rm "$log"
