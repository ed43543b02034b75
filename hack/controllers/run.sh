#!/usr/bin/env bash
# Asks real ingress controllers what TestGateways asks gateways: Envoy Gateway,
# Contour, Istio and Traefik as plain processes against the control plane of
# hack/cluster, each with the objects of its page and of the chart. Arguments go
# to `go test`. Exit status: 0 all of it passed, 1 something failed, 2 nothing
# failed, but something was not run.
#
# Each controller is a module of its own here, so that nothing of them is in the
# product's go.mod. The first run builds them and Kubernetes: half an hour on two
# processors; after that the Go build cache has them.
#
# CLUSTER_CACHE  where programs are kept (~/.cache/mcp-forward-auth-cluster)
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 1

repository=$(cd ../.. && pwd)
cache=${CLUSTER_CACHE:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/mcp-forward-auth-cluster}
bin=$cache/bin
mkdir -p "$bin"
work=$(mktemp -d) || exit 1
say() { printf '== %4d s  %s\n' "$SECONDS" "$*"; }
not_run() { echo "NOT RUN: $1 because $2"; exit 2; }
plane=
finish() {
  exec {hold}>&- # the control plane ends with its standard input
  [ -z "$plane" ] || wait "$plane"
  rm -rf "$work"
}

command -v go >/dev/null || not_run controllers 'Go is not installed'
[ "$(id -u)" = 0 ] || not_run controllers 'Envoy Gateway and Traefik need a mount namespace, so root'

# The controllers want a newer Go than the product, which the Go command fetches.
build() ( # FOLDER PACKAGE
  cd "$1" && GOTOOLCHAIN=go1.27.3 CGO_ENABLED=0 nice -n 10 go build -buildvcs=false -ldflags='-s -w' -o "$bin/" "$2" >"$work/log" 2>&1
)
say 'Envoy Gateway, Contour, Istio (minutes each, unless the Go build cache has them)'
build envoy-gateway github.com/envoyproxy/gateway/cmd/envoy-gateway &&
  build contour github.com/projectcontour/contour/cmd/contour &&
  build istio istio.io/istio/pilot/cmd/pilot-discovery || not_run controllers "a controller could not be built: $(tail -n 1 "$work/log" | cut -c1-300)"

say 'the control plane'
mkfifo "$work/hold"
CLUSTER_SERVE=$work/kubeconfig ../cluster/run.sh <"$work/hold" >"$work/plane" 2>&1 &
plane=$!
exec {hold}>"$work/hold"
trap finish EXIT
until [ -s "$work/kubeconfig" ]; do
  kill -0 "$plane" 2>/dev/null || { tail -n 20 "$work/plane"; not_run controllers 'there is no control plane'; }
  sleep 1
done
KUBECONFIG=$(cat "$work/kubeconfig")
export KUBECONFIG CONTROLLERS_BIN=$bin

say 'definitions of custom resources, from the modules of the controllers'
dir() { (cd "$1" && go mod download -json "$(go list -m -f '{{.Path}}@{{.Version}}' "$2")" | sed -nE 's/^[[:space:]]*"Dir": "(.*)",?$/\1/p'); }
traefik=$(cd "$work" && go mod download -json github.com/traefik/traefik/v3@v3.7.13 | sed -nE 's/^[[:space:]]*"Dir": "(.*)",?$/\1/p')
mkdir "$work/definitions"
cp "$(dir envoy-gateway sigs.k8s.io/gateway-api)"/config/crd/experimental/gateway.networking*.yaml \
  "$(dir envoy-gateway github.com/envoyproxy/gateway)"/charts/gateway-helm/charts/crds/crds/generated/*.yaml \
  "$(dir contour github.com/projectcontour/contour)/examples/contour/01-crds.yaml" \
  "$(dir istio istio.io/api)/kubernetes/customresourcedefinitions.gen.yaml" \
  "$traefik/docs/content/reference/dynamic-configuration/kubernetes-crd-definition-v1.yml" "$work/definitions/" &&
  "$bin/kubectl" apply --server-side --force-conflicts -f "$work/definitions" >"$work/log" 2>&1 || not_run controllers "the definitions cannot be installed: $(tail -n 1 "$work/log")"
"$bin/kubectl" wait --for=condition=Established --timeout=180s crd --all >/dev/null || exit 1

"$repository/hack/e2e/install.sh" >"$work/log" 2>&1 || tail -n 5 "$work/log"
# Envoy Gateway cuts streams off after 15 seconds, unless its page is heeded.
export E2E_STREAM_SECONDS=${E2E_STREAM_SECONDS:-20}
say 'ready'
(cd "$repository" && go test -tags e2e,controllers -count=1 -timeout 30m -run TestController ./internal/e2e "$@")
status=$?
say "finished with status $status"
exit $status
