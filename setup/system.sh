#!/usr/bin/env bash
# What CI needs from the system: Chromium, for the tests of the report's page. Run as root; does nothing where it is there.
set -euo pipefail
for name in chromium chromium-browser google-chrome; do
  if path=$(command -v "$name"); then
    echo "setup: the system has all we need ($path)"
    exit 0
  fi
done
if [ "$(id -u)" -ne 0 ]; then
  echo "setup: Chromium is missing and only root may install it: sudo make system" >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends chromium
