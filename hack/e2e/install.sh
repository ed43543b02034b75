#!/bin/sh
# Installs what the end-to-end tests need: nginx, Chromium and the packages of
# package-lock.json. It may run again at any time. It does not fail when
# something cannot be had: the tests that need it then fail as "not run".
set -u
cd "$(dirname "$0")" || exit 1

missing=''
[ -x /usr/sbin/nginx ] || command -v nginx >/dev/null || missing="$missing nginx"
[ -x /usr/bin/chromium ] || command -v chromium >/dev/null || missing="$missing chromium"
command -v npm >/dev/null || missing="$missing npm"

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

echo 'install: what there is now:'
for program in /usr/sbin/nginx /usr/bin/chromium node_modules/.bin/node; do
  case $program in *nginx) flag=-v ;; *) flag=--version ;; esac
  if [ -x $program ]; then
    echo "  $program: $($program $flag 2>&1 | tail -n 1)"
  else
    echo "  $program: MISSING"
  fi
done
exit 0
