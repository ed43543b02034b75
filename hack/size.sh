#!/usr/bin/env bash
# Fails if the program is larger than a release may be, or if something in it
# calls methods by names that the linker cannot know (text/template does). Then
# the linker keeps every exported method of every type, some 8 MB of them.
#
# The flags are the release's, but for those that would compile everything once
# more for 25 KB: -trimpath and the FIPS module.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

limit=32000000
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0

for file in Dockerfile Makefile hack/release/build.sh; do
  grep -q 'go build.* -tags grpcnotrace ' "$file" || { echo "$file: builds without -tags grpcnotrace, so with golang.org/x/net/trace and its templates"; status=1; }
done

CGO_ENABLED=0 GOOS=linux GOARCH=amd64 GOFLAGS='' \
  go build -buildvcs=false -tags grpcnotrace -ldflags='-s -w -dumpdep' -o "$work/program" ./cmd/mcp-forward-auth >"$work/log" 2>&1 ||
  { grep -v ' -> ' "$work/log"; exit 1; }
grep -q '^main\.main -> ' "$work/log" || { echo 'the linker does not say what depends on what'; exit 1; }
if grep '<ReflectMethod> -> ' "$work/log" | sed 's/ <ReflectMethod> .*//' | sort -u | grep .; then
  echo 'these call methods by name, so that the linker keeps all'
  status=1
fi
size=$(wc -c <"$work/program")
echo "$size bytes of $limit"
[ "$size" -le $limit ] || { echo "too large: go tool nm -size -sort size says of what"; status=1; }
exit $status
