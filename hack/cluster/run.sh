#!/usr/bin/env bash
# Runs the Helm chart on a real Kubernetes of one node, without Docker and
# without a registry: see doc.go. Exit status: 0 all of it passed, 1 something
# failed, 2 nothing failed, but something was not run.
#
# CLUSTER_CACHE          where programs are kept (~/.cache/mcp-forward-auth-cluster)
# CLUSTER_BUILD_SECONDS  bound of their build (1800)
# CLUSTER_PODS           "no" for the control plane alone
# CLUSTER_SERVE          no tests: keep the control plane until standard input ends, and
#                        write the name of its kubeconfig into this file
# CLUSTER_IMAGE          OCI archive of hack/image/test.sh, if there is one already
# CLUSTER_SIDECAR        OCI archive of the image in hostsFiles.sidecar of the chart's values;
#                        without it a registry is asked
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 1

repository=$(cd ../.. && pwd)
cache=${CLUSTER_CACHE:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/mcp-forward-auth-cluster}
bin=$cache/bin
mkdir -p "$bin"
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
say() { printf '== %4d s  %s\n' "$SECONDS" "$*"; }
not_run() { echo "NOT RUN: $1 because $2"; exit 2; }
# no_pods REASON: the control plane is tested anyway.
no_pods() { pods=${pods:-$1}; }
pods=

export GOFLAGS=${GOFLAGS:-} CGO_ENABLED=0
command -v go >/dev/null || not_run cluster 'Go is not installed'

[ -z "${CLUSTER_SERVE:-}" ] || no_pods 'only the control plane is wanted'
[ "${CLUSTER_PODS:-yes}" = yes ] || no_pods "CLUSTER_PODS is $CLUSTER_PODS"
[ "$(id -u)" = 0 ] || no_pods 'containers need root here'
unshare --net --mount --pid --fork --mount-proc --propagation private true 2>/dev/null ||
  no_pods 'this machine allows no namespaces'

# What only the system has.
packages=()
[ -x /usr/sbin/nginx ] || packages+=(nginx)
[ -x /usr/lib/cni/ptp ] || packages+=(containernetworking-plugins)
[ -x /usr/sbin/iptables ] || packages+=(iptables)
command -v ip >/dev/null || packages+=(iproute2)
command -v buildah >/dev/null || packages+=(buildah)
command -v gcc >/dev/null || packages+=(gcc libc6-dev)
command -v pkg-config >/dev/null || packages+=(pkg-config)
[ -e /usr/include/seccomp.h ] || packages+=(libseccomp-dev)
command -v npm >/dev/null || packages+=(npm)
if [ -z "$pods" ] && [ "${#packages[@]}" -gt 0 ]; then
  say "apt-get install ${packages[*]}"
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${packages[@]}"; } >"$work/log" 2>&1 ||
    no_pods "these packages could not be installed: ${packages[*]}: $(tail -n 1 "$work/log")"
fi

# build OUTPUT ARGUMENTS... is `go build` within the time that is left for all of them.
deadline=$((SECONDS + ${CLUSTER_BUILD_SECONDS:-1800}))
build() {
  local output=$1
  shift
  timeout --foreground --kill-after=10 $((deadline > SECONDS ? deadline - SECONDS : 1)) go build -buildvcs=false -o "$output" "$@" >"$work/log" 2>&1 && return
  [ $? = 124 ] && echo "not finished after ${CLUSTER_BUILD_SECONDS:-1800} s" >>"$work/log"
  return 1
}
log() { tail -n 1 "$work/log" | cut -c1-300; }

# A Kubernetes built by anything but its own scripts does not know its version.
kubernetes=$(go list -m -f '{{.Version}}' k8s.io/kubernetes) || not_run cluster 'the modules cannot be had'
minor=${kubernetes#v1.}
stamp="-s -w -X k8s.io/component-base/version.gitVersion=$kubernetes -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=${minor%%.*}"
say "Kubernetes $kubernetes: the API server (minutes, unless the Go build cache has it)"
build "$bin/" -ldflags="$stamp" k8s.io/kubernetes/cmd/{kube-apiserver,kubectl} || not_run cluster "Kubernetes could not be built: $(log)"
say 'etcd, controller manager, scheduler, Helm 3 and 4'
build "$bin/" -ldflags="$stamp" k8s.io/kubernetes/cmd/{kube-controller-manager,kube-scheduler} &&
  build "$bin/etcd" -ldflags='-s -w' go.etcd.io/etcd/server/v3 &&
  build "$bin/helm4" -ldflags='-s -w' helm.sh/helm/v4/cmd/helm &&
  { [ -n "${CLUSTER_SERVE:-}" ] || build "$bin/helm3" -ldflags='-s -w' helm.sh/helm/v3/cmd/helm; } || not_run cluster "a program could not be built: $(log)"
if [ -z "$pods" ]; then
  say 'kubelet, kube-proxy, containerd, runc, CoreDNS'
  build "$bin/" -ldflags="$stamp" k8s.io/kubernetes/cmd/{kubelet,kube-proxy} github.com/containerd/containerd/v2/cmd/{containerd,containerd-shim-runc-v2,ctr} github.com/coredns/coredns &&
    CGO_ENABLED=1 build "$bin/runc" -tags seccomp -ldflags='-s -w' github.com/opencontainers/runc ||
    no_pods "a program could not be built: $(log)"
fi

say 'definitions of custom resources, from the modules of those who make them'
mkdir "$work/crds"
while read -r module file; do
  case $module in '#'* | '') continue ;; esac
  dir=$(cd "$work" && go mod download -json "$module" | sed -nE 's/^[[:space:]]*"Dir": "(.*)",?$/\1/p')
  [ -f "$dir/$file" ] || not_run cluster "$module cannot be had"
  cp "$dir/$file" "$work/crds/"
done <../chart/crds.txt

# image NAME BINARY ARCHIVE: the image that has one program and nothing else.
image() {
  local b=(buildah --storage-driver vfs --root "$work/buildah" --runroot "$work/buildah-run") c
  c=$("${b[@]}" from scratch) && "${b[@]}" copy -q "$c" "$2" "/$1" >/dev/null &&
    "${b[@]}" config --entrypoint "[\"/$1\"]" --user 65532:65532 "$c" && "${b[@]}" commit -q "$c" "localhost/$1:test" >/dev/null &&
    "${b[@]}" push -q "localhost/$1:test" "oci-archive:$3:localhost/$1:test"
}
if [ -z "$pods" ]; then
  say "images: this repository's Dockerfile, an MCP server, a client of its own, pause"
  mkdir "$work/images"
  if [ -f "${CLUSTER_IMAGE:-}" ]; then
    cp "$CLUSTER_IMAGE" "$work/images/mcp-forward-auth.tar"
  else
    IMAGE_OUT=$work/images/mcp-forward-auth.tar ../image/test.sh >"$work/log" 2>&1
    case $? in
      0) ;;
      2) no_pods "$(log)" ;;
      *) tail -n 30 "$work/log"; echo 'FAILED: the image'; exit 1 ;;
    esac
  fi
fi
if [ -z "$pods" ]; then
  (cd "$repository" && build "$work/mcpserver" ./hack/mcpserver && build "$work/workload" ./hack/workload) && build "$work/pause" ./pause || { cat "$work/log"; echo 'FAILED: the build of the test programs'; exit 1; }
  build "$work/collector" ./collector || { cat "$work/log"; echo 'FAILED: the build of the test programs'; exit 1; }
  for name in mcpserver workload pause collector; do
    image $name "$work/$name" "$work/images/$name.tar" >"$work/log" 2>&1 || { no_pods "buildah makes no image here: $(log)"; break; }
  done
fi
# The sidecar that gathers the hosts of teams. Without it a stand-in does, and the test says so.
sidecar() {
  local values=$repository/charts/mcp-forward-auth/values.yaml name
  name=$(sed -nE '/^hostsFiles:/,/^[a-z]/{s/^ *repository: (.*)/\1/p;s/^ *tag: (.*)/:\1/p}' "$values" | tr -d '\n')
  if [ -f "${CLUSTER_SIDECAR:-}" ]; then
    cp "$CLUSTER_SIDECAR" "$work/images/sidecar.tar"
  else
    local b=(buildah --storage-driver vfs --root "$work/buildah" --runroot "$work/buildah-run")
    timeout --kill-after=5 60 "${b[@]}" pull -q "docker://$name" && "${b[@]}" push -q "$name" "oci-archive:$work/images/sidecar.tar:$name"
  fi
}
if [ -z "$pods" ]; then
  sidecar >"$work/log" 2>&1 && export CLUSTER_SIDECAR_REAL=yes || say "the sidecar's image cannot be had: $(log)"
fi
if [ -z "$pods" ]; then
  e2e=$repository/hack/e2e
  if ! cmp -s "$e2e/package-lock.json" "$e2e/node_modules/.installed"; then
    say 'npm: the MCP client'
    (cd "$e2e" && npm ci --no-audit --no-fund --loglevel=error && cp package-lock.json node_modules/.installed) >"$work/log" 2>&1 ||
      no_pods "the npm packages could not be installed: $(log)"
  fi
  if ! "$e2e/node_modules/.bin/node" --version >/dev/null 2>&1; then
    (cd "$e2e/node_modules/node" && npm rebuild --prefix ../.. --loglevel=error node) >"$work/log" 2>&1
    "$e2e/node_modules/.bin/node" --version >/dev/null 2>&1 || no_pods "there is no Node of package-lock.json: $(log)"
  fi
  "$e2e/install.sh" traefik # without it one test is not run, and says so
fi

go test -buildvcs=false -c -o "$work/cluster.test" . || exit 1
export CLUSTER_BIN=$bin CLUSTER_WORK=$work CLUSTER_NO_PODS=$pods
say "ready to test${pods:+, without pods}"
run=("$work/cluster.test" -test.v -test.count=1 -test.timeout=25m "$@")
if [ -z "$pods" ]; then
  # Nothing in these namespaces reaches the network, and all of it ends with them.
  unshare --net --mount --pid --fork --kill-child --mount-proc --propagation private "${run[@]}"
else
  "${run[@]}"
fi
status=$?
say "finished with status $status"
exit $status
