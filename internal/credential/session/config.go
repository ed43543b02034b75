package session

import (
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

// Settings is the `browserSessions` section.
type Settings struct {
	// How long a session lives unused, "5m" to "24h". A page that the person opens in the second half of it renews it.
	Idle time.Duration `json:"idleLifetime" default:"30m" min:"5m" max:"24h"`
	// How long after the sign-in a session ends in any case, "5m" to "168h", and not less than idleLifetime.
	Lifetime time.Duration `json:"lifetime" default:"8h" min:"5m" max:"168h"`
	// How often the identity provider is asked whether the person may still sign in, "1m" to "24h". Twice that without an answer ends the session.
	Recheck time.Duration `json:"recheckInterval" default:"15m" min:"1m" max:"24h"`
}

// Resolve checks the section.
func (s *Settings) Resolve(c conf.Section) {
	at := c.Key("lifetime")
	if s.Lifetime >= s.Idle {
		return
	}
	if !c.IsSet(at) {
		s.Lifetime = s.Idle
		return
	}
	c.Add(at, "%q is less than idleLifetime, %q", conf.ShowDuration(s.Lifetime), conf.ShowDuration(s.Idle))
}

// PageFile is one entry of `proxy.hosts[].pages`.
type PageFile struct {
	// Public path of the page and of what is below it, such as "/ui"; "/" is the rest of the host. Where paths of pages and MCP servers overlap, the longest counts. Required.
	Path string `json:"path"`
	// Scope that the rules of the policy must allow a person, through the client "browser", before the page opens. Default: everyone who may sign in may open it.
	Scope string `json:"scope"`
	// Tokens and API keys of the MCP server open the page as well, for programs. Default false.
	Tokens bool `json:"tokens"`
}
