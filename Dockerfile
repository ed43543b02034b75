# A static binary in an image with nothing else but CA certificates.
ARG BUILD_IMAGE=golang:1.26
ARG BASE_IMAGE=gcr.io/distroless/static-debian12:nonroot

FROM ${BUILD_IMAGE} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY cmd cmd
COPY internal internal
ARG VERSION=
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /mcp-forward-auth ./cmd/mcp-forward-auth

FROM ${BASE_IMAGE}
COPY --from=build /mcp-forward-auth /mcp-forward-auth
COPY LICENSE /LICENSE
USER 65532:65532
EXPOSE 8080 9090
ENTRYPOINT ["/mcp-forward-auth"]
CMD ["serve", "--config", "/etc/mcp-forward-auth/config.yaml"]
