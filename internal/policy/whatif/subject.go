package whatif

import (
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/provider"
)

// namespace is what the subjects of a provider begin with. Its connector has the
// last word; a test holds the two together.
func namespace(p *connector.Config) string {
	return provider.Prefix(*p) + p.Settings.Namespace()
}
