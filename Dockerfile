# syntax=docker/dockerfile:1
# A static binary in an image with nothing else but CA certificates.
#
#   docker build --build-arg VERSION=1.2.3 .
#
# Releases pin both images by digest: --build-arg BUILD_IMAGE=golang:1.26@sha256:...
# Where there is no internet, name images and a module proxy of your own.
ARG BUILD_IMAGE=docker.io/library/golang:1.26
ARG BASE_IMAGE=gcr.io/distroless/static-debian12:nonroot

# The compiler runs on the builder's platform and writes for the target's.
FROM --platform=${BUILDPLATFORM} ${BUILD_IMAGE} AS build
WORKDIR /src
# Not another toolchain than the image's, and the proxies of whoever builds.
ENV CGO_ENABLED=0 GOTOOLCHAIN=local
ARG GOPROXY=
ARG GOSUMDB=
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY cmd cmd
COPY internal internal
# The recipes, which the doctor quotes.
COPY docs/gateways docs/gateways
# The Go Cryptographic Module that CMVP has validated, in FIPS 140-3 mode;
# "off" for Go's own, outside of that mode. See docs/image.md.
ARG GOFIPS140=certified
ARG VERSION=
ARG REVISION=
ARG TARGETOS=
ARG TARGETARCH=
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    GOOS=${TARGETOS} GOARCH=${TARGETARCH} go build -trimpath -buildvcs=false -tags grpcnotrace \
    -ldflags "-s -w -X main.version=${VERSION} -X main.commit=${REVISION}" -o /mcp-forward-auth ./cmd/mcp-forward-auth

FROM ${BASE_IMAGE}
ARG VERSION=
ARG REVISION=
LABEL org.opencontainers.image.title="mcp-forward-auth" \
      org.opencontainers.image.description="OAuth 2.1 for MCP servers behind any gateway" \
      org.opencontainers.image.source="https://github.com/mcp-forward-auth/mcp-forward-auth" \
      org.opencontainers.image.documentation="https://github.com/mcp-forward-auth/mcp-forward-auth/tree/main/docs" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /mcp-forward-auth /mcp-forward-auth
COPY LICENSE /LICENSE
USER 65532:65532
EXPOSE 8080 9090
ENTRYPOINT ["/mcp-forward-auth"]
CMD ["serve", "--config", "/etc/mcp-forward-auth/config.yaml"]
