//go:build linux

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/hack/watched"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/apikey"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/dpop/dpoptest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/keyset"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/sample"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/token"
)

const (
	host   = "mcp.example.com"
	issuer = "https://" + host
	// driveHost is that of an MCP server that gets the identity provider's token.
	driveHost = "drive.example.com"
	// boundHost is that of an MCP server that takes tokens bound to a key.
	boundHost = "bound.example.com"
)

// service is the program under measurement with its configuration: one MCP
// server, and a seed that is known here too, so that tokens can be made.
type service struct {
	program, config string
	tools           *httptest.Server
	issuer          *token.Issuer
	external        *external
	apiKey          string
}

func newService(dir, program string) (*service, error) {
	s := &service{program: program, config: filepath.Join(dir, "config.yaml")}
	s.tools = httptest.NewServer(http.StripPrefix("/mcp", sample.Handler(sample.Options{Stateless: true})))
	seed := make([]byte, 32)
	rand.Read(seed)
	key, hash := apikey.NewKey()
	s.apiKey = key
	text := fmt.Sprintf(`
listen: {http: "127.0.0.1:0", management: "127.0.0.1:0", grpc: "127.0.0.1:0"}
provider: {name: oidc, issuerURL: "https://idp.example.com", clientID: bench, clientSecret: bench}
proxy:
  hosts:
  - host: %s
    endpoint: %q
    scopes: [{name: "notes:read", tools: ["tool_1*", "tool_2*", "tool_3*"]}]
    authorizationServers: [{issuer: %q, jwksFile: keys.json}]
    apiKeys: {enabled: true}
  - host: %s
    endpoint: %q
    scopes: [{name: "notes:read", tools: ["tool_1*", "tool_2*", "tool_3*"]}]
    providerToken: {token: access}
  - {host: %s, endpoint: %q, body: true, scopes: [{name: "notes:read", tools: ["tool_1*", "tool_2*", "tool_3*"]}]}
  - {host: %s, endpoint: %q, envoyMCP: true, scopes: [{name: "notes:read", tools: ["tool_1*", "tool_2*", "tool_3*"]}]}
  - {host: %s, endpoint: %q, dpop: accepted, scopes: [{name: "notes:read", tools: ["tool_1*", "tool_2*", "tool_3*"]}]}
apiKeys: {keys: [{name: bench, hashes: [%q], scopes: ["notes:read"], neverExpires: true}]}
keys: {source: seed, seedFiles: [seed]}
`, host, s.tools.URL+"/mcp", externalIssuer, driveHost, s.tools.URL+"/mcp", bodyHost, s.tools.URL+"/mcp", readingHost, s.tools.URL+"/mcp", boundHost, s.tools.URL+"/mcp", hash)
	var set []byte
	var err error
	if s.external, set, err = newExternal(); err != nil {
		return nil, err
	}
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "keys.json"), set, 0o600), os.WriteFile(s.config, []byte(text), 0o600), os.WriteFile(filepath.Join(dir, "seed"), seed, 0o600)); err != nil {
		return nil, err
	}
	sealing, err := seal.NewKeyring(time.Now, seed)
	if err != nil {
		return nil, err
	}
	keys, err := keyset.New(keyset.Options{
		Sources: []keyset.Source{keyset.Seed{Secret: seed, Period: time.Hour}}, Period: time.Hour, TokenLifetime: time.Hour, Now: time.Now,
	})
	s.issuer = &token.Issuer{Keys: keys, Persons: token.NewPersons(sealing), Lifetime: time.Hour, Now: time.Now}
	return s, err
}

func (s *service) close() { s.tools.Close() }

// start starts the program and waits until it listens.
func (s *service) start(ctx context.Context) (*watched.Process, error) {
	return watched.Start(ctx, s.program, "serve", "--config", s.config)
}

// mint makes tokens as the service would: of many people, who use clients that
// registered themselves.
func (s *service) mint(n int) ([]string, error) { return s.mintFor(host, "", "", n) }

// mintFor is mint for the MCP server of a host, with a token of the identity provider in
// each, and bound to the key with a thumbprint; "" for none of either.
func (s *service) mintFor(host string, provider token.Provider, thumbprint string, n int) ([]string, error) {
	tokens := make([]string, n)
	failed := make([]error, runtime.NumCPU())
	var wg sync.WaitGroup
	for worker := range failed {
		wg.Go(func() {
			for at := worker; at < n && failed[worker] == nil; at += len(failed) {
				user := rand.Text()[:12]
				tokens[at], _, failed[worker] = s.issuer.Mint(
					token.Claims{
						Issuer: "https://" + host, Audience: "https://" + host + "/mcp", Subject: "idp.example.com:" + user, ClientID: "dcr1." + strings.Repeat(rand.Text(), 11),
						Scope: "notes:read notes:write", Family: rand.Text(),
						Confirmation: token.Confirmation{Thumbprint: thumbprint},
					},
					token.Person{Email: user + "@example.com", Name: "A User", Groups: []string{"engineering", "admins"}, Provider: provider})
			}
		})
	}
	wg.Wait()
	return tokens, errors.Join(failed...)
}

// mintBound makes n keys of clients, and a token that is bound to each.
func (s *service) mintBound(n int) (keys []*dpoptest.Key, tokens []string, err error) {
	for range n {
		key := dpoptest.New("ES256")
		one, err := s.mintFor(boundHost, "", key.Thumbprint(), 1)
		if err != nil {
			return nil, nil, err
		}
		keys, tokens = append(keys, key), append(tokens, one[0])
	}
	return keys, tokens, nil
}

// forge returns tokens with other claims, and so with another seal and signature
// than would hold.
func forge(tokens []string) []string {
	out := make([]string, len(tokens))
	for i, t := range tokens {
		at := strings.IndexByte(t, '.') + 40
		out[i] = t[:at] + "AAAA" + t[at+4:]
	}
	return out
}

// spoil returns tokens whose signatures do not hold.
func spoil(tokens []string) []string {
	out := make([]string, len(tokens))
	for i, t := range tokens {
		dot := strings.LastIndexByte(t, '.')
		out[i] = t[:dot+1] + "AAAA" + t[dot+5:]
	}
	return out
}
