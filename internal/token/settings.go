package token

import (
	"fmt"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

// Settings is the `tokens` section.
type Settings struct {
	// Lifetime of an access token, "1m" to "1h".
	AccessTokenLifetime time.Duration `json:"accessTokenLifetime" default:"1h" min:"1m" max:"1h"`
	// Refresh tokens, with which clients go on without asking the user to sign in again. At each use the identity provider is asked whether the user is still there.
	Refresh conf.Switch `json:"refreshTokens"`
	// How long a refresh token lives unused, "1h" to "8760h"; refreshTokenLifetime, where it is set, bounds this too.
	RefreshIdle time.Duration `json:"refreshTokenIdleLifetime" default:"720h" min:"1h" max:"8760h"`
	// How long after the sign-in refresh tokens work at all, "1h" to "8760h", and not less than refreshTokenIdleLifetime, which raises it where it is not set.
	RefreshAbsolute time.Duration `json:"refreshTokenLifetime" default:"2160h" min:"1h" max:"8760h"`
	// How many verified access tokens a replica remembers, 1024 to 16777216, in some 450 bytes each once they are seen. A token
	// beyond costs a signature check per request.
	Remembered int `json:"remembered" default:"65536" min:"1024" max:"16777216"`
}

// Resolve checks the section. A long idle lifetime alone means as long a lifetime,
// and a short lifetime alone as short an idle one.
func (s *Settings) Resolve(c conf.Section) {
	at := c.Key("refreshTokenLifetime")
	switch {
	case !c.IsSet(at):
		s.RefreshAbsolute = max(s.RefreshAbsolute, s.RefreshIdle)
	case !c.IsSet(c.Key("refreshTokenIdleLifetime")):
		s.RefreshIdle = min(s.RefreshIdle, s.RefreshAbsolute)
	case s.RefreshAbsolute < s.RefreshIdle:
		c.Add(at, "%q is less than tokens.refreshTokenIdleLifetime", conf.ShowDuration(s.RefreshAbsolute))
	}
}

// RefreshSummary says how long refresh tokens work, for the operator.
func (s *Settings) RefreshSummary() string {
	if !s.Refresh.Enabled {
		return "off"
	}
	return fmt.Sprintf("valid for %s unused, at most %s after the sign-in", conf.ShowDuration(s.RefreshIdle), conf.ShowDuration(s.RefreshAbsolute))
}
