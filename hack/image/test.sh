#!/usr/bin/env bash
# Builds the repository's Dockerfile, unmodified, with buildah and stand-ins for
# its two base images, and runs what comes out as Kubernetes would: as no one in
# particular, with a file system that cannot be written to, asked by its probes.
# No registry and no daemon are needed. It proves the Dockerfile's logic, not
# the content of the real base images. IMAGE_OUT, if set, becomes an OCI archive.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

if ! command -v buildah >/dev/null; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends buildah; } >/dev/null 2>&1 || true
  fi
  command -v buildah >/dev/null || { echo 'NOT RUN: image because buildah is not installed'; exit 2; }
fi
unshare --mount true 2>/dev/null || { echo 'NOT RUN: image because this machine allows no mounts'; exit 2; }

work=$(mktemp -d)
b() { buildah --storage-driver vfs --root "$work/root" --runroot "$work/run" "$@"; }
server=
cleanup() {
  [ -z "$server" ] || kill "$server" 2>/dev/null || true
  b rm --all >/dev/null 2>&1 || true
  b rmi --all --force >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap cleanup EXIT
fail() { echo "FAILED: $*" >&2; exit 1; }

build_image=docker.io/library/golang:1.26
base_image=gcr.io/distroless/static-debian12:nonroot
grep -q "^ARG BUILD_IMAGE=$build_image$" Dockerfile || fail "the Dockerfile builds with another image than $build_image"
grep -q "^ARG BASE_IMAGE=$base_image$" Dockerfile || fail "the Dockerfile runs on another image than $base_image"

echo '== stand-ins for the base images'
# The compiler's: this machine's Go, its shell and what they need.
c=$(b from scratch)
m=$(b mount "$c")
mkdir -p "$m"/{usr/bin,usr/local,etc/ssl/certs,tmp,root,go,lib64}
ln -s usr/bin "$m/bin"
cp -a "$(go env GOROOT)" "$m/usr/local/go"
for program in /bin/sh /bin/dash /bin/mkdir /bin/rm /bin/cat; do
  [ -e "$program" ] || continue
  cp -L "$program" "$m/usr/bin/"
  { ldd "$program" 2>/dev/null || true; } | grep -o '/[^ ]*' | while read -r lib; do mkdir -p "$m$(dirname "$lib")" && cp -L "$lib" "$m$lib"; done
done
cp -L /etc/ssl/certs/ca-certificates.crt "$m/etc/ssl/certs/"
echo 'root:x:0:0::/root:/bin/sh' >"$m/etc/passwd"
echo 'hosts: files dns' >"$m/etc/nsswitch.conf"
b umount "$c" >/dev/null
b config --env PATH=/usr/local/go/bin:/usr/bin:/bin --env GOPATH=/go --env HOME=/root "$c"
b commit -q --rm "$c" "$build_image" >/dev/null
# The one to run on: certificates and a user.
c=$(b from scratch)
m=$(b mount "$c")
mkdir -p "$m"/{etc/ssl/certs,home/nonroot,tmp}
cp -L /etc/ssl/certs/ca-certificates.crt "$m/etc/ssl/certs/"
echo 'nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin' >"$m/etc/passwd"
echo 'nonroot:x:65532:' >"$m/etc/group"
b umount "$c" >/dev/null
b config --user 65532 "$c"
b commit -q --rm "$c" "$base_image" >/dev/null

echo '== build'
modules=$(go env GOMODCACHE)
go mod download
build() {
  b bud -q --isolation chroot --pull-never --layers=false --volume "$modules:/go/pkg/mod" \
    --build-arg "GOPROXY=file://$modules/cache/download,off" --build-arg GOSUMDB=off "$@" . >/dev/null
}
build --build-arg VERSION=9.9.9-test --build-arg REVISION=0123456 --tag localhost/mcp-forward-auth:test
# The sample MCP server of docs/kind.md; BuildKit finds this ignore file by its name.
build --file hack/mcpserver/Dockerfile --ignorefile hack/mcpserver/Dockerfile.dockerignore --tag localhost/mcpserver:test

echo '== what is in it'
b inspect --type image --format '{{.OCIv1.Config.User}} {{.OCIv1.Config.Entrypoint}} {{index .OCIv1.Config.Labels "org.opencontainers.image.version"}}' localhost/mcp-forward-auth:test >"$work/inspect"
cat "$work/inspect"
echo
grep -q '^65532:65532 \[/mcp-forward-auth\] 9.9.9-test$' "$work/inspect" || fail 'user, entry point or labels'
[ "$(b inspect --type image --format '{{.OCIv1.Config.User}} {{.OCIv1.Config.Entrypoint}}' localhost/mcpserver:test)" = '65532:65532 [/mcpserver]' ] || fail 'user or entry point of the MCP server'
c=$(b from --pull-never localhost/mcp-forward-auth:test)
m=$(b mount "$c")
size=$(stat -c %s "$m/mcp-forward-auth")
echo "binary: $((size / 1024 / 1024)) MiB"
go version -m "$m/mcp-forward-auth" | grep -E 'CGO_ENABLED=0|GOFIPS140|fips140=on|-trimpath=true' | tee "$work/build"
[ "$(wc -l <"$work/build")" -ge 4 ] || fail 'it is not built as the Dockerfile says'

echo '== run as Kubernetes would'
mkdir "$work/config"
read -r http management < <(python3 - <<'P' 2>/dev/null || echo 18480 18490
import socket
s = [socket.socket(), socket.socket()]
[x.bind(("127.0.0.1", 0)) for x in s]
print(*[x.getsockname()[1] for x in s])
P
)
cat >"$work/config/config.yaml" <<Y
listen: {http: "127.0.0.1:$http", management: "127.0.0.1:$management"}
provider:
  name: static
  users: [{username: alice, passwordHash: "\$2a\$12\$NWixWItEFWBe.fUFGG/yYukXR3gOBRhKEaqCUj39Zm9FkkV7b/kdW"}]
proxy: {hosts: [{host: mcp.example.com, endpoint: "http://127.0.0.1:9/mcp"}]}
Y
chmod -R a+rX "$work/config"
run() { b run --isolation chroot --user 65532:65532 --cap-drop all --volume "$work/config:/etc/mcp-forward-auth:ro" "$c" -- "$@"; }
[[ "$(run /mcp-forward-auth version)" == 'mcp-forward-auth 9.9.9-test (commit 0123456) go'* ]] || fail 'version'
run /mcp-forward-auth check-config --config /etc/mcp-forward-auth/config.yaml >/dev/null
run /mcp-forward-auth serve --config /etc/mcp-forward-auth/config.yaml >"$work/log" 2>&1 &
server=$!
for _ in $(seq 100); do
  run /mcp-forward-auth probe "http://127.0.0.1:$management/readyz" >/dev/null 2>&1 && break
  sleep 0.2
done
run /mcp-forward-auth probe "http://127.0.0.1:$management/readyz" || { cat "$work/log"; fail 'it does not get ready'; }
run /mcp-forward-auth probe "http://127.0.0.1:$management/healthz"
run /mcp-forward-auth probe --host mcp.example.com --status 401 --header 'X-Original-URL: https://mcp.example.com/mcp' "http://127.0.0.1:$http/authenticate"
run /mcp-forward-auth probe --host mcp.example.com "http://127.0.0.1:$http/.well-known/oauth-authorization-server"
# Whose process is it, and can it become more?
pid=
for p in /proc/[0-9]*; do
  [ "$(tr '\0' ' ' <"$p/cmdline" 2>/dev/null)" = '/mcp-forward-auth serve --config /etc/mcp-forward-auth/config.yaml ' ] || continue
  grep -q "$management" "$p/root/etc/mcp-forward-auth/config.yaml" 2>/dev/null && pid=${p#/proc/}
done
[ -n "$pid" ] || fail 'no such process'
[ "$(awk '/^Uid:/ {print $2, $3}' "/proc/$pid/status")" = '65532 65532' ] || fail "it runs as $(grep ^Uid: "/proc/$pid/status")"
[ "$(awk '/^CapEff:/ {print $2}' "/proc/$pid/status")" = 0000000000000000 ] || fail 'it has capabilities'
# It has written nothing (the three files are buildah's): a read-only root would have made no difference.
changed=$(find "$m" -xdev -newer "$work/config/config.yaml" -type f ! -path "$m/etc/hosts" ! -path "$m/etc/hostname" ! -path "$m/etc/resolv.conf" ! -path "$m/run/*" | head)
[ -z "$changed" ] || fail "it wrote to its file system: $changed"
kill -TERM "$pid"
for _ in $(seq 100); do [ -d "/proc/$pid" ] || break; sleep 0.1; done
[ ! -d "/proc/$pid" ] || fail 'it does not stop'
grep -q '"draining"' "$work/log" || fail 'it stopped without draining'
if [ -n "${IMAGE_OUT:-}" ]; then
  b push -q localhost/mcp-forward-auth:test "oci-archive:$IMAGE_OUT:localhost/mcp-forward-auth:test"
fi
echo 'image: ok'
