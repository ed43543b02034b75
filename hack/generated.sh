#!/usr/bin/env bash
# Fails if the pages' Go code is not what templ makes of their templates, or if
# a template is not formatted. It changes nothing; `make generate` does.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../internal/page"

templ=(go tool -modfile=../../hack/tools/go.mod templ)
"${templ[@]}" version >/dev/null
status=0
"${templ[@]}" generate -check -keep-orphaned-files -log-level error || status=1
for template in *.templ; do
  "${templ[@]}" fmt -stdout "$template" 2>/dev/null | diff -u --label "$template" --label 'formatted' "$template" - || status=1
done
for code in *_templ.go; do
  [ -e "${code%_templ.go}.templ" ] || { echo "$code has no template" && status=1; }
done
exit $status
