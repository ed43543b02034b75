package whatif

import (
	"net/url"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/provider"
)

// namespace is what the subjects of a provider begin with. Its connector has the
// last word; a test holds the two together.
func namespace(p *connector.Config) string {
	name := p.Name
	at := func(address, usual string) {
		if u, err := url.Parse(address); err == nil && u.Host != "" && u.Host != usual {
			name += "@" + strings.ToLower(u.Host)
		}
	}
	switch p.Name {
	case "github":
		at(p.BaseURL, "github.com")
	case "microsoft":
		at(p.BaseURL, "login.microsoftonline.com")
	case "oauth2":
		at(p.UserinfoURL, "")
	case "oidc":
		_, name, _ = strings.Cut(p.IssuerURL, "://")
	}
	return provider.Prefix(*p) + name
}
