package limit

import (
	"fmt"
	"strconv"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

// leastInFlight: one browser opens several connections.
const leastInFlight = 8

// Settings is the `limits` section: events a minute, and how many requests may be
// under way; 0 is no limit.
type Settings struct {
	// Registrations of one address (IPv6: of one /64) at /register, for each host; all addresses together have a hundred times as many. Without listen.trustedProxies the address is the gateway's, which all clients share.
	Registrations int `json:"registrations" default:"600" min:"0" max:"1000000"`
	// Requests of one client to /authorize, and as many to /token, for each host. All installations of a client with a metadata document count as one client, and anyone who knows the id of a client without credentials can use up its requests. So a limit can shut others out; set one only if all clients are your own. 0 is no limit.
	ClientRequests int `json:"clientRequests" default:"0" min:"0" max:"1000000"`
	// Wrong passwords for one user name, whether there is such a user or not, for each host; for provider.name "static" only. Until the next attempt is due the right password is refused too, except in a browser where that user has signed in before, which is counted separately. With listen.trustedProxies each address is counted separately too, and all of them together have ten times as many.
	SignInAttempts int `json:"signInAttempts" default:"10" min:"0" max:"1000000"`
	// Requests of one address (IPv6: of one /64) to /register, /authorize, /consent, /login, /token and /revoke together. Many people share an address, and so do all users of a client that runs in a cloud, so set it high. Needs listen.trustedProxies. Default: 600 where listen.trustedProxies is set, else no limit.
	AddressRequests int `json:"addressRequests" default:"600" min:"0" max:"1000000"`
	// Requests to /register, /authorize, /consent, /login, /callback, /token, /revoke and /introspect that one replica handles at the same time; one more gets 503 and Retry-After. Requests that begin a sign-in may use three quarters of it. /authenticate does not count and is never refused for this. 0 is no limit.
	RequestsInFlight int `json:"requestsInFlight" default:"512" min:"0" max:"1000000"`
	// Requests to each identity provider that one replica makes at the same time; one more fails at once, as if the provider did not answer. 0 is no limit.
	ProviderRequests int `json:"providerRequests" default:"64" min:"0" max:"1000000"`
}

// Resolve checks the section. Without proxied all clients behind a gateway have
// the address of the gateway.
func (s *Settings) Resolve(c conf.Section, proxied bool) {
	if n := s.RequestsInFlight; n > 0 && n < leastInFlight {
		c.Add(c.Key("requestsInFlight"), "%d is too few for people to sign in at the same time: at least %d, or 0 for no bound", n, leastInFlight)
	}
	switch at := c.Key("addressRequests"); {
	case !proxied && !c.IsSet(at):
		s.AddressRequests = 0
	case !proxied && s.AddressRequests > 0:
		c.Add(at, "needs listen.trustedProxies; else all clients behind a gateway would share one address")
	}
}

// Summary is for the operator.
func (s *Settings) Summary() string {
	rate := func(n int) string {
		if n == 0 {
			return "any number of"
		}
		return strconv.Itoa(n)
	}
	return fmt.Sprintf("%s registrations, %s requests of a client, %s wrong passwords, %s requests of an address",
		rate(s.Registrations), rate(s.ClientRequests), rate(s.SignInAttempts), rate(s.AddressRequests))
}
