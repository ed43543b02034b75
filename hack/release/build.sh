#!/usr/bin/env bash
# Builds what a release consists of, but for the image, into dist/:
#
#   hack/release/build.sh v1.2.3 [linux/amd64 ...]
#
# an archive for each platform (all by default), the packaged chart, and
# SHA256SUMS. The same commit and compiler give the same bytes: times come from
# the commit, and nothing of the machine is written into them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

version=${1:?usage: build.sh vX.Y.Z [os/arch ...]}
shift
[[ $version =~ ^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$ ]] || { echo "build.sh: $version is no version: want vX.Y.Z" >&2; exit 2; }
version=${version#v}
platforms=("$@")
[ ${#platforms[@]} -gt 0 ] || platforms=(linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64)

when=$(git log -1 --format=%ct)
commit=$(git log -1 --format=%H)
rm -rf dist
mkdir dist
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# archive FILE PARENT DIRECTORY: entries in one order, of one time and nobody's.
archive() {
  tar --sort=name --mtime="@$when" --owner=0 --group=0 --numeric-owner --format=gnu -C "$2" -cf - "$3" | gzip -n9 >"dist/$1"
}

mkdir "$work/man"
SOURCE_DATE_EPOCH=$when go run -tags man ./cmd/mcp-forward-auth man "$work/man"

for platform in "${platforms[@]}"; do
  os=${platform%/*} arch=${platform#*/}
  name=mcp-forward-auth-$version-$os-$arch
  echo "build.sh: $name"
  mkdir "$work/$name"
  binary=$work/$name/mcp-forward-auth
  [ "$os" = windows ] && binary=$binary.exe
  CGO_ENABLED=0 GOOS=$os GOARCH=$arch GOFIPS140=${GOFIPS140:-certified} GOFLAGS='' \
    go build -trimpath -buildvcs=false -tags grpcnotrace -ldflags "-s -w -X main.version=$version -X main.commit=$commit" -o "$binary" ./cmd/mcp-forward-auth
  cp LICENSE README.md SECURITY.md "$work/$name"
  cp -r "$work/man" "$work/$name"
  archive "$name.tar.gz" "$work" "$name"
done

if command -v helm >/dev/null; then
  # A pre-release of the program is one of the chart.
  prerelease=false
  [[ $version == *-* ]] && prerelease=true
  cp -r charts/mcp-forward-auth "$work/chart"
  sed -i "s/^  artifacthub.io\/prerelease: .*/  artifacthub.io\/prerelease: \"$prerelease\"/; s/\(mcp-forward-auth:\)[0-9][^ ]*$/\1$version/" "$work/chart/Chart.yaml"
  mv "$work/chart" "$work/mcp-forward-auth"
  helm package "$work/mcp-forward-auth" --version "$version" --app-version "$version" --destination "$work" >/dev/null
  rm -rf "$work/mcp-forward-auth"
  tar -xzf "$work/mcp-forward-auth-$version.tgz" -C "$work" # packed again, for Helm writes the time of day
  archive "mcp-forward-auth-$version.tgz" "$work" mcp-forward-auth
  echo "build.sh: chart mcp-forward-auth-$version.tgz"
else
  echo 'build.sh: NO CHART, because there is no helm on PATH' >&2
  [ -z "${RELEASE:-}" ] || exit 1
fi

(cd dist && sha256sum -- * >SHA256SUMS)
cat dist/SHA256SUMS
