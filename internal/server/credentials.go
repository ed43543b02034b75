package server

import (
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/outbound"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reload"
)

// credentialsByEndpoint are the credentials to send to MCP servers, by their endpoints.
func credentialsByEndpoint(cfg *config.Config) map[string]*outbound.Credential {
	out := map[string]*outbound.Credential{}
	for i, h := range cfg.Hosts {
		if c := cfg.ServerCredentials[i]; c != nil {
			out[h.Endpoint.String()] = c
		}
	}
	return out
}

// followCredentials follows the files of credentials that MCP servers get.
func (b *builder) followCredentials() error {
	for i, c := range b.cfg.ServerCredentials {
		if c == nil {
			continue
		}
		what := "credential for the MCP server of " + b.table.All()[i].URI
		b.files.add(&reload.File{
			What: what, Path: c.Path, MaxBytes: conf.MaxSecretBytes,
			Apply: func(data []byte) (int, error) { return 1, c.Set(data) },
			Loaded: func(_ int, err error) {
				if err == nil {
					b.log.Info("read the " + what)
				}
			},
		}, b.log)
	}
	return nil
}

// refusedCredentials says which MCP servers refuse their credential.
func (b *builder) refusedCredentials() (out []string) {
	for i, c := range b.cfg.ServerCredentials {
		if c != nil && c.Refused() {
			out = append(out, "the MCP server of "+b.table.All()[i].URI+" refuses the credential of serverCredential")
		}
	}
	return out
}

// credentials are the credentials that MCP servers get, by the URIs of their resources.
func (b *builder) credentials() map[string]*outbound.Credential {
	out := map[string]*outbound.Credential{}
	for i, c := range b.cfg.ServerCredentials {
		if c != nil {
			out[b.table.All()[i].URI] = c
		}
	}
	return out
}
