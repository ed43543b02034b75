#!/bin/sh
# Runs every fuzz target of the repository for FUZZTIME each. Minimizing what is
# found new takes a second at most: with the default of a minute the slow targets
# would do nothing else.
set -eu
cd "$(dirname "$0")/.."
for file in $(grep -rl --include='*_test.go' '^func Fuzz' internal); do
  for target in $(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$file"); do
    echo "== $target in $(dirname "$file")"
    go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-10s}" -fuzzminimizetime 1s "./$(dirname "$file")"
  done
done
