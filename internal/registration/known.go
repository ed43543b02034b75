package registration

import "github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"

// Known is a client that the configuration names.
type Known struct {
	ID           string
	Name         string
	RedirectURIs []string
	AuthMethod   string
	Secrets      []conf.Secret // any of them is right
	JWKS         []byte        // content of a JWK set file
	JWKSURI      string
	GrantTypes   []string
	Scopes       []string // empty means no limit
	Resources    []string // canonical URLs; empty means all
}
