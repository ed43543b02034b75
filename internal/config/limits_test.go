package config

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/limit"
)

func TestLimits(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       limit.Settings
	}{
		{"absent", "", limit.Settings{Registrations: 600, SignInAttempts: 10, RequestsInFlight: 512, ProviderRequests: 64}},
		{"absent behind trusted proxies", "listen: {trustedProxies: [10.0.0.0/8]}\n", limit.Settings{Registrations: 600, SignInAttempts: 10, AddressRequests: 600, RequestsInFlight: 512, ProviderRequests: 64}},
		{"0 turns one off", "listen: {trustedProxies: [10.0.0.0/8]}\nlimits: {clientRequests: 0, addressRequests: 0}\n", limit.Settings{Registrations: 600, SignInAttempts: 10, RequestsInFlight: 512, ProviderRequests: 64}},
		{"0 needs no proxies", "limits: {addressRequests: 0}\n", limit.Settings{Registrations: 600, SignInAttempts: 10, RequestsInFlight: 512, ProviderRequests: 64}},
		{"as Helm writes large numbers", "limits: {registrations: 1e+06}\n", limit.Settings{Registrations: 1_000_000, SignInAttempts: 10, RequestsInFlight: 512, ProviderRequests: 64}},
		{"nothing is absent", "limits: {registrations: }\n", limit.Settings{Registrations: 600, SignInAttempts: 10, RequestsInFlight: 512, ProviderRequests: 64}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := mustParse(t, minimal+tt.text).Limits; got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
	c := mustParse(t, minimal+"listen: {trustedProxies: [10.0.0.0/8, '2001:db8::/32', 192.0.2.7/32]}\n")
	want := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("192.0.2.7/32")}
	if !slices.Equal(c.Listen.TrustedProxies, want) {
		t.Errorf("got %v", c.Listen.TrustedProxies)
	}
	if p := mustParse(t, minimal).Listen.TrustedProxies; p != nil {
		t.Errorf("the zero value trusts %v", p)
	}
}

func TestLimitsMistakes(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"limits: {registrations: -1}", "limits.registrations: -1 is not between 0"},
		{"limits: {clientRequests: 1000001}", "limits.clientRequests: 1000001 is not between 0"},
		{"limits: {clientRequests: 1e+30}", "limits.clientRequests: must be a whole number"},
		{"limits: {signInAttempts: 1.5}", "limits.signInAttempts: must be a whole number"},
		{"limits: {signInAttempts: '10'}", "limits.signInAttempts: must be a whole number, not text"},
		{"limits: {signInAttempts: true}", "limits.signInAttempts: must be a whole number, not true or false"},
		{"limits: {addressRequests: 600}", "limits.addressRequests: needs listen.trustedProxies"},
		{"limits: {requestsInFlight: 7}", "limits.requestsInFlight: 7 is too few"},
		{"limits: {requestsInFlight: -1}", "limits.requestsInFlight: -1 is not between 0"},
		{"limits: {providerRequests: x}", "limits.providerRequests: must be a whole number"},
		{"limits: {requests: 1}", "limits.requests: unknown key"},
		{"listen: {trustedProxies: [10.0.0.1]}", "listen.trustedProxies[0]: \"10.0.0.1\" is not a network"},
		{"listen: {trustedProxies: [10.0.0.1/8]}", "listen.trustedProxies[0]: \"10.0.0.1/8\" has bits beyond"},
		{"listen: {trustedProxies: [0.0.0.0/0]}", "listen.trustedProxies[0]: \"0.0.0.0/0\" is every address"},
		{"listen: {trustedProxies: ['::/0']}", "listen.trustedProxies[0]: \"::/0\" is every address"},
		{"listen: {trustedProxies: ['::ffff:10.0.0.0/104']}", "listen.trustedProxies[0]: \"::ffff:10.0.0.0/104\" is not a network"},
		{"listen: {trustedProxies: [10.0.0.0/8, 10.0.0.0/8]}", "listen.trustedProxies[1]: \"10.0.0.0/8\" is listed twice"},
		{"listen: {trustedProxies: 10.0.0.0/8}", "listen.trustedProxies: must be a list"},
	} {
		t.Run(tt.text, func(t *testing.T) { refused(t, minimal+tt.text+"\n", tt.want) })
	}
}
