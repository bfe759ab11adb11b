#!/usr/bin/env bash
# What CI needs from the system: Chromium, for the tests of the report's page, and Slurm with munge, of which the tests
# start a cluster of their own. Run as root; does nothing where all of it is there.
set -euo pipefail
export PATH="$PATH:/usr/sbin:/sbin"

# Print the first of several programs that is there.
first() {
  for name in "$@"; do
    command -v "$name" && return
  done
  return 1
}

packages=()
first chromium chromium-browser google-chrome >/dev/null || packages+=(chromium)
first slurmctld >/dev/null && first slurmd >/dev/null && first sbatch >/dev/null || packages+=(slurm-wlm)
first munged >/dev/null || packages+=(munge)

if [ "${#packages[@]}" -eq 0 ]; then
  echo "setup: the system has all we need"
  exit 0
fi
if [ "$(id -u)" -ne 0 ]; then
  echo "setup: ${packages[*]} missing, and only root may install them: sudo make system" >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${packages[@]}"
