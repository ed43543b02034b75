package servertest

import (
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/issuer"
)

// UseIssuer has the first host take the tokens of another authorization server. The
// edit may be nil.
func UseIssuer(url string, edit func(*issuer.File)) func(*config.File) {
	return func(f *config.File) {
		var entry config.AuthorizationServerFile
		conf.SetDefaults(&entry)
		entry.Issuer = url
		if edit != nil {
			edit(&entry.File)
		}
		h := &f.Proxy.Hosts[0]
		h.AuthorizationServers = append(h.AuthorizationServers, entry)
	}
}

// WithoutOwnTokens has no host take tokens of the service, so that there is no
// identity provider either.
func WithoutOwnTokens(f *config.File) {
	for i := range f.Proxy.Hosts {
		f.Proxy.Hosts[i].OwnTokens = false
	}
	f.Provider = config.ProviderFile{}
}
