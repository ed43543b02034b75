#!/usr/bin/env bash
# Builds the site of docs/ into dist/site, and fails for a dead link or anchor.
# MkDocs is a Python package, in a cache of this user. Exits 2 if it could not be had.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
home=${E2E_CACHE:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/mcp-forward-auth-e2e}/site-$(sha256sum requirements.txt | cut -c1-12)
if [ ! -x "$home/bin/mkdocs" ]; then
  if ! { python3 -m venv --clear "$home" && "$home/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: --no-deps --requirement requirements.txt; } >"${TMPDIR:-/tmp}/site-install.$$" 2>&1; then
    tail -n 3 "${TMPDIR:-/tmp}/site-install.$$"
    rm -rf "$home" "${TMPDIR:-/tmp}/site-install.$$"
    echo 'MkDocs could not be installed: it needs python3-venv and PyPI'
    exit 2
  fi
  rm -f "${TMPDIR:-/tmp}/site-install.$$"
fi
export NO_MKDOCS_2_WARNING=1
exec "$home/bin/mkdocs" build --strict --clean
