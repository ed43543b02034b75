package config

import (
	"net/netip"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

// Bounds.
const (
	maxRate = 1_000_000
	// Fewer at once is a mistake: one browser opens several.
	leastInFlight = 8
)

func (r *resolver) limits(f LimitsFile, proxied bool) Limits {
	l := Limits{
		Registrations:  r.rate("limits.registrations", f.Registrations, 600),
		ClientRequests: r.rate("limits.clientRequests", f.ClientRequests, 0),
		SignInAttempts: r.rate("limits.signInAttempts", f.SignInAttempts, 10),

		RequestsInFlight: r.rate("limits.requestsInFlight", f.RequestsInFlight, 512),
		ProviderRequests: r.rate("limits.providerRequests", f.ProviderRequests, 64),
	}
	standard := 0
	if proxied {
		standard = 600
	}
	const inFlight = "limits.requestsInFlight"
	if l.RequestsInFlight > 0 && l.RequestsInFlight < leastInFlight {
		r.Add(inFlight, "%d is too few for people to sign in at the same time: at least %d, or 0 for no bound", l.RequestsInFlight, leastInFlight)
	}
	const at = "limits.addressRequests"
	if l.AddressRequests = r.rate(at, f.AddressRequests, standard); l.AddressRequests > 0 && !proxied {
		r.Add(at, "needs listen.trustedProxies; else all clients behind a gateway would share one address")
	}
	return l
}

// rate returns value, or standard if it is absent.
func (r *resolver) rate(at string, value *int, standard int) int {
	if value == nil {
		return standard
	}
	if *value < 0 || *value > maxRate {
		r.Add(at, "%d is not between 0 and %d", *value, maxRate)
	}
	return *value
}

// networks checks a list of CIDRs.
func (r *resolver) networks(at string, list []string) []netip.Prefix {
	out := r.Networks(at, list)
	for i, p := range out {
		if p.IsValid() && p.Bits() == 0 {
			r.Add(conf.Element(at, i), "%s is every address: a client could choose the address that it is counted by", conf.Show(list[i]))
		}
	}
	return out
}
