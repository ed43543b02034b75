#!/usr/bin/env bash
# Prints what a release is about: the commits since the tag before, and how to
# check what was downloaded.
#
#   hack/release/notes.sh v1.2.3
set -euo pipefail
tag=${1:?usage: notes.sh vX.Y.Z}
image=ghcr.io/mcp-forward-auth/mcp-forward-auth
before=$(git describe --tags --abbrev=0 "$tag^" 2>/dev/null || true)
echo "## Changes${before:+ since $before}"
echo
git log --no-merges --format='- %s' ${before:+"$before.."}"$tag" | head -n 300
cat <<END

## Install

    helm install mcp-forward-auth oci://ghcr.io/mcp-forward-auth/charts/mcp-forward-auth --version ${tag#v}

## Check what you got

    cosign verify $image:${tag#v} \\
      --certificate-oidc-issuer https://token.actions.githubusercontent.com \\
      --certificate-identity "https://github.com/mcp-forward-auth/mcp-forward-auth/.github/workflows/release.yml@refs/tags/$tag"
    gh attestation verify mcp-forward-auth-${tag#v}-linux-amd64.tar.gz --repo mcp-forward-auth/mcp-forward-auth

See docs/releases.md.
END
