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
	// Refresh tokens, with which clients continue without a new sign-in. At each use the identity provider is asked whether the user may still sign in.
	Refresh conf.Switch `json:"refreshTokens"`
	// How long a refresh token stays valid unused, "1h" to "8760h"; limited by refreshTokenLifetime if that is set.
	RefreshIdle time.Duration `json:"refreshTokenIdleLifetime" default:"720h" min:"1h" max:"8760h"`
	// How long after the sign-in refresh tokens work, "1h" to "8760h", and not less than refreshTokenIdleLifetime, to which an unset value is raised.
	RefreshAbsolute time.Duration `json:"refreshTokenLifetime" default:"2160h" min:"1h" max:"8760h"`
	// How many verified access tokens a replica remembers, 1024 to 16777216, in some 450 bytes each. Each request
	// with a token beyond that number costs a signature check.
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
