package server_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/limit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// limited starts a service for two hosts with these limits. Tests reach it from
// 127.0.0.1, which is the gateway's address where proxies names it. The clock
// stands, so that no allowance comes back while a slow machine hashes passwords.
func limited(t *testing.T, limits func(*limit.Settings), proxies ...string) *servertest.Service {
	t.Helper()
	clock := new(servertest.Clock)
	clock.Freeze()
	return servertest.Start(t, servertest.Options{Clock: clock, Edit: func(f *config.File) {
		if limits != nil {
			limits(&f.Limits)
		}
		for _, p := range proxies {
			f.Listen.TrustedProxies = append(f.Listen.TrustedProxies, netip.MustParsePrefix(p))
		}
		second := f.Proxy.Hosts[0]
		second.Host = "second.example.com"
		f.Proxy.Hosts = append(f.Proxy.Hosts, second)
	}})
}

// wantSlow checks an answer of 429 and returns when to come back.
func wantSlow(t *testing.T, s *servertest.Service, event audit.Event, reason string, status int, h http.Header) time.Duration {
	t.Helper()
	seconds, err := strconv.Atoi(h.Get("Retry-After"))
	if status != 429 || err != nil || seconds < 1 || seconds > 60 || h.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %v, want 429 with Retry-After", status, h)
	}
	if e := s.Log.Last(event); e["reason"] != reason || e["host"] == "" {
		t.Errorf("audit says %v, want %s", e, reason)
	}
	if _, body := s.Management(t, "/metrics"); strings.Contains(body, `limited_requests_total{reason="`+reason+`"} 0`) || !strings.Contains(body, `limited_requests_total{reason="`+reason+`"}`) {
		t.Errorf("the metric does not count %s", reason)
	}
	return time.Duration(seconds) * time.Second
}

// wantSlowJSON is wantSlow for an answer that a program reads.
func wantSlowJSON(t *testing.T, s *servertest.Service, event audit.Event, reason string, a *servertest.Answer) time.Duration {
	t.Helper()
	if a.String("error") != "temporarily_unavailable" || a.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("%v %s", a.Header, a.Body)
	}
	return wantSlow(t, s, event, reason, a.Status, a.Header)
}

// wantSlowPage is wantSlow for an answer that a person reads.
func wantSlowPage(t *testing.T, s *servertest.Service, event audit.Event, reason string, p *servertest.Page) time.Duration {
	t.Helper()
	if p.Location() != "" || !strings.HasPrefix(p.Header.Get("Content-Type"), "text/html") || !strings.Contains(p.Text(), "Too many") {
		t.Errorf("%v %s", p.Header, p.Text())
	}
	return wantSlow(t, s, event, reason, p.Status, p.Header)
}

func TestRegistrationsAreLimited(t *testing.T) {
	t.Parallel()
	s := limited(t, func(l *limit.Settings) { l.Registrations = 3 })
	for i := range 3 {
		if a := s.Register(t, servertest.Host, nil); a.Status != 201 {
			t.Fatalf("registration %d: %d", i+1, a.Status)
		}
	}
	t.Run("AS-DCR-14 a flood of registrations", func(t *testing.T) {
		wait := wantSlowJSON(t, s, audit.RegistrationRefused, "too_many_registrations", s.Register(t, servertest.Host, nil))
		if a := s.Register(t, "second.example.com", nil); a.Status != 201 {
			t.Errorf("another host: %d", a.Status)
		}
		s.Clock.Advance(wait)
		if a := s.Register(t, servertest.Host, nil); a.Status != 201 {
			t.Errorf("after Retry-After: %d", a.Status)
		}
	})
}

func TestRegistrationsOfAddresses(t *testing.T) {
	t.Parallel()
	register := func(s *servertest.Service, forwarded string) *servertest.Answer {
		body := `{"redirect_uris":["` + servertest.RedirectURI + `"]}`
		return s.Send(t, servertest.Request(t, http.MethodPost, servertest.Issuer(servertest.Host)+"/register", body, "Content-Type", "application/json", "X-Forwarded-For", forwarded))
	}
	unbounded := func(l *limit.Settings) { l.AddressRequests = 0; l.Registrations = 2 }
	t.Run("AS-DCR-14 a stranger's flood keeps no other address out", func(t *testing.T) {
		s := limited(t, unbounded, "127.0.0.0/8")
		for i := range 300 { // more than all addresses together have
			if a := register(s, "2001:db8::1"); a.Status != 201 && i < 2 {
				t.Fatalf("registration %d: %d", i+1, a.Status)
			}
		}
		wantSlowJSON(t, s, audit.RegistrationRefused, "too_many_registrations", register(s, "2001:db8::2")) // of the same /64
		for _, other := range []string{"2001:db8:0:1::1", "192.0.2.1", "192.0.2.1, 127.0.0.2"} {
			if a := register(s, other); a.Status != 201 {
				t.Errorf("%s: %d %s", other, a.Status, a.Body)
			}
		}
	})
	t.Run("AS-DCR-14 all addresses together are bounded", func(t *testing.T) {
		s := limited(t, unbounded, "127.0.0.0/8")
		for i := range 200 {
			if a := register(s, fmt.Sprintf("192.0.2.%d", i)); a.Status != 201 {
				t.Fatalf("registration %d: %d", i+1, a.Status)
			}
		}
		wantSlowJSON(t, s, audit.RegistrationRefused, "too_many_registrations", register(s, "192.0.2.250"))
	})
	t.Run("ATK-51 without trusted proxies X-Forwarded-For says nothing", func(t *testing.T) {
		s := limited(t, func(l *limit.Settings) { l.Registrations = 2 })
		for range 2 {
			register(s, "192.0.2.1")
		}
		wantSlowJSON(t, s, audit.RegistrationRefused, "too_many_registrations", register(s, "192.0.2.2"))
	})
}

func TestClientsAreLimited(t *testing.T) {
	t.Parallel()
	s := limited(t, func(l *limit.Settings) { l.ClientRequests = 4 })
	loud, quiet := s.NewClient(t, servertest.Host, nil), s.NewClient(t, servertest.Host, servertest.Metadata{"client_name": "Another"})
	b := s.NewBrowser()
	token := func(c *servertest.Client) *servertest.Answer { return c.Token(t, c.Begin().TokenForm("x")) }

	t.Run("ATK-51 /authorize", func(t *testing.T) {
		for range 4 {
			b.Consent(t, loud.Begin().URL())
		}
		wait := wantSlowPage(t, s, audit.AuthorizeRefused, "too_many_requests_of_client", b.Open(t, loud.Begin().URL()))
		b.Consent(t, quiet.Begin().URL())
		s.Clock.Advance(wait)
		b.Consent(t, loud.Begin().URL())
	})
	t.Run("ATK-51 /token", func(t *testing.T) {
		for range 4 { // those of /authorize do not count here
			if a := token(loud); a.String("error") != "invalid_grant" {
				t.Fatalf("%d %s", a.Status, a.Body)
			}
		}
		wait := wantSlowJSON(t, s, audit.TokenRefused, "too_many_requests_of_client", token(loud))
		if a := token(quiet); a.String("error") != "invalid_grant" {
			t.Errorf("another client: %d %s", a.Status, a.Body)
		}
		s.Clock.Advance(wait)
		if a := token(loud); a.String("error") != "invalid_grant" {
			t.Errorf("after Retry-After: %d %s", a.Status, a.Body)
		}
	})
	t.Run("ATK-51 whoever lacks the secret uses up nothing", func(t *testing.T) {
		c := s.NewClient(t, servertest.Host, servertest.Metadata{"token_endpoint_auth_method": "client_secret_post"})
		thief := *c
		thief.Secret = "wrong"
		for range 10 {
			if a := token(&thief); a.Status != 401 {
				t.Fatalf("%d %s", a.Status, a.Body)
			}
		}
		if a := token(c); a.String("error") != "invalid_grant" {
			t.Errorf("%d %s", a.Status, a.Body)
		}
	})
	t.Run("a client that is not known counts for nobody", func(t *testing.T) {
		for range 10 {
			if p := b.Open(t, loud.Begin().With("client_id", "made-up").URL()); p.Status != 400 {
				t.Fatalf("%d", p.Status)
			}
		}
	})
}

// addressed is a request to a limited route from behind the gateway.
func addressed(t *testing.T, path, forwarded string) *http.Request {
	method, body := http.MethodPost, "x=y"
	if path == "/authorize" {
		method = http.MethodGet
	}
	req := servertest.Request(t, method, "https://"+servertest.Host+path, body, "Content-Type", "application/x-www-form-urlencoded")
	if forwarded != "" {
		req.Header.Set("X-Forwarded-For", forwarded)
	}
	return req
}

func TestAddressesAreLimited(t *testing.T) {
	t.Parallel()
	all := []string{"/register", "/authorize", "/token", "/login", "/revoke", "/consent"}
	s := limited(t, func(l *limit.Settings) { l.AddressRequests = 6 }, "127.0.0.0/8", "10.0.0.0/8")
	for _, path := range all {
		if a := s.Send(t, addressed(t, path, "192.0.2.1")); a.Status == 429 {
			t.Fatalf("%s: %d", path, a.Status)
		}
	}
	var wait time.Duration
	for path, event := range map[string]audit.Event{"/register": audit.RegistrationRefused, "/token": audit.TokenRefused, "/revoke": audit.RevocationRefused} {
		wait = wantSlowJSON(t, s, event, "too_many_requests_of_address", s.Send(t, addressed(t, path, "192.0.2.1")))
	}
	for path, event := range map[string]audit.Event{"/authorize": audit.AuthorizeRefused, "/login": audit.LoginRefused, "/consent": audit.LoginRefused} {
		wantSlowPage(t, s, event, "too_many_requests_of_address", s.NewBrowser().Send(t, addressed(t, path, "192.0.2.1")))
	}
	t.Run("ATK-51 spoofed X-Forwarded-For", func(t *testing.T) {
		for i := range 20 {
			if a := s.Send(t, addressed(t, "/token", fmt.Sprintf("198.51.100.%d, 192.0.2.1, 10.0.0.7", i))); a.Status != 429 {
				t.Fatalf("%d", a.Status)
			}
		}
	})
	t.Run("others are answered", func(t *testing.T) {
		for i := range 20 {
			if a := s.Send(t, addressed(t, "/token", fmt.Sprintf("192.0.2.%d", i+2))); a.Status == 429 {
				t.Fatal("another address is refused")
			}
		}
	})
	t.Run("a /64 of IPv6 is one address", func(t *testing.T) {
		for i := range 6 {
			s.Send(t, addressed(t, "/token", fmt.Sprintf("2001:db8::%d", i)))
		}
		if a := s.Send(t, addressed(t, "/token", "2001:db8::ffff")); a.Status != 429 {
			t.Errorf("%d", a.Status)
		}
		if a := s.Send(t, addressed(t, "/token", "2001:db8:0:1::1")); a.Status == 429 {
			t.Errorf("the next /64: %d", a.Status)
		}
	})
	t.Run("what is not limited", func(t *testing.T) {
		for _, path := range []string{"/.well-known/oauth-authorization-server", "/openid/v1/jwks", "/callback?code=x&state=y"} {
			req := servertest.Request(t, "GET", "https://"+servertest.Host+path, "", "X-Forwarded-For", "192.0.2.1")
			if a := s.Send(t, req); a.Status == 429 {
				t.Errorf("%s: %d", path, a.Status)
			}
		}
		for range 20 {
			if a := s.Ask(t, servertest.Resource, "", "X-Forwarded-For", "192.0.2.1"); a.Status != 401 {
				t.Fatalf("/authenticate: %d", a.Status)
			}
		}
	})
	s.Clock.Advance(wait)
	if a := s.Send(t, addressed(t, "/token", "192.0.2.1")); a.Status == 429 {
		t.Error("refused after Retry-After")
	}
}

func TestUntrustedPeer(t *testing.T) {
	t.Parallel()
	t.Run("ATK-51 an untrusted peer counts for itself", func(t *testing.T) {
		s := limited(t, func(l *limit.Settings) { l.AddressRequests = 5 }, "10.0.0.0/8")
		for i := range 5 {
			if a := s.Send(t, addressed(t, "/token", fmt.Sprintf("192.0.2.%d", i))); a.Status == 429 {
				t.Fatalf("request %d: %d", i+1, a.Status)
			}
		}
		wantSlowJSON(t, s, audit.TokenRefused, "too_many_requests_of_address", s.Send(t, addressed(t, "/token", "192.0.2.99")))
	})
	t.Run("without trusted proxies no address counts", func(t *testing.T) {
		s := limited(t, nil)
		for range 700 {
			if a := s.Send(t, addressed(t, "/revoke", "192.0.2.1")); a.Status == 429 {
				t.Fatalf("%d", a.Status)
			}
		}
	})
}

func TestZeroIsNoLimit(t *testing.T) {
	t.Parallel()
	s := limited(t, func(l *limit.Settings) {
		l.Registrations = 0
		l.ClientRequests = 0
		l.SignInAttempts = 0
		l.AddressRequests = 0
	}, "127.0.0.1/32")
	c := s.NewClient(t, servertest.Host, nil)
	for range 1300 {
		if a := c.Token(t, url.Values{"client_id": {c.ID}, "grant_type": {"x"}}); a.Status == 429 {
			t.Fatal("refused")
		}
	}
	for range 700 {
		if a := s.Register(t, servertest.Host, nil); a.Status != 201 {
			t.Fatalf("%d", a.Status)
		}
	}
}

// login is a login page to try passwords on.
func login(t *testing.T, s *servertest.Service, host string) (try func(username, password string) *servertest.Page) {
	t.Helper()
	b := s.NewBrowser()
	p := b.Submit(t, b.Consent(t, s.NewClient(t, host, nil).Begin().URL()), "decision", "allow")
	form := b.Open(t, "https://"+host+p.Location())
	return func(username, password string) *servertest.Page {
		t.Helper()
		b.Username, b.Password = username, password
		return b.Submit(t, form, "", "")
	}
}

// loginFrom is login in this browser and from this address.
func loginFrom(t *testing.T, s *servertest.Service, b *servertest.Browser, address string) (try func(username, password string) int) {
	t.Helper()
	p := b.Submit(t, b.Consent(t, s.NewClient(t, servertest.Host, nil).Begin().URL()), "decision", "allow")
	state := b.Open(t, "https://"+servertest.Host+p.Location()).URL.Query().Get("state")
	return func(username, password string) int {
		t.Helper()
		form := url.Values{"state": {state}, "username": {username}, "password": {password}}
		req := b.FormRequest(t, "https://"+servertest.Host+"/login", form)
		req.Header.Set("X-Forwarded-For", address)
		return b.Send(t, req).Status
	}
}

// A stranger's guesses used to keep the user out.
func TestSignInsOfOthers(t *testing.T) {
	t.Parallel()
	wrong := func(t *testing.T, try func(username, password string) int, n int) {
		t.Helper()
		for range n {
			if status := try(servertest.Username, "wrong"); status != 401 && status != 429 {
				t.Fatalf("status %d", status)
			}
		}
	}
	t.Run("ATK-51 a browser that knows the user counts for itself", func(t *testing.T) {
		t.Parallel()
		s := limited(t, func(l *limit.Settings) { l.SignInAttempts = 3 }) // no proxy is trusted: one address for all
		own := s.NewBrowser()
		if status := loginFrom(t, s, own, "192.0.2.1")(servertest.Username, servertest.Password); status != 303 {
			t.Fatalf("status %d", status)
		}
		wrong(t, loginFrom(t, s, s.NewBrowser(), "192.0.2.9"), 10)
		if status := loginFrom(t, s, s.NewBrowser(), "192.0.2.1")(servertest.Username, servertest.Password); status != 429 {
			t.Errorf("a new browser: %d", status)
		}
		try := loginFrom(t, s, own, "192.0.2.1")
		if status := try("nobody", servertest.Password); status != 401 {
			t.Errorf("another name: %d", status)
		}
		if status := loginFrom(t, s, own, "192.0.2.1")(servertest.Username, servertest.Password); status != 303 {
			t.Errorf("the known browser: %d", status)
		}
		wrong(t, loginFrom(t, s, own, "192.0.2.1"), 3)
		if status := loginFrom(t, s, own, "192.0.2.1")(servertest.Username, servertest.Password); status != 429 {
			t.Errorf("too many in the known browser: %d", status)
		}
	})
	t.Run("ATK-51 each address counts for itself, and all together", func(t *testing.T) {
		t.Parallel()
		s := limited(t, func(l *limit.Settings) { l.SignInAttempts = 3; l.AddressRequests = 0 }, "127.0.0.1/32")
		wrong(t, loginFrom(t, s, s.NewBrowser(), "192.0.2.9"), 10)
		if status := loginFrom(t, s, s.NewBrowser(), "192.0.2.9")(servertest.Username, servertest.Password); status != 429 {
			t.Errorf("the stranger's address: %d", status)
		}
		if status := loginFrom(t, s, s.NewBrowser(), "192.0.2.1")(servertest.Username, servertest.Password); status != 303 {
			t.Errorf("another address: %d", status)
		}
		for i := range 12 {
			wrong(t, loginFrom(t, s, s.NewBrowser(), fmt.Sprintf("198.51.100.%d", i)), 3)
		}
		if status := loginFrom(t, s, s.NewBrowser(), "203.0.113.1")(servertest.Username, servertest.Password); status != 429 {
			t.Errorf("after 30 wrong ones from everywhere: %d", status)
		}
	})
}

func TestSignInsAreLimited(t *testing.T) {
	t.Parallel()
	s := limited(t, func(l *limit.Settings) { l.SignInAttempts = 3 })
	try, elsewhere := login(t, s, servertest.Host), login(t, s, "second.example.com")
	guess := func(username string) (last *servertest.Page) {
		for range 3 {
			if p := try(username, "wrong"); p.Status != 401 {
				t.Fatalf("%s: %d", username, p.Status)
			}
		}
		return try(username, "wrong")
	}
	known, unknown := guess(servertest.Username), guess("nobody")
	t.Run("AS-CA-05 wrong passwords are slowed down", func(t *testing.T) {
		wantSlowPage(t, s, audit.LoginRefused, "too_many_sign_ins", known)
	})
	t.Run("the answer does not tell who exists", func(t *testing.T) {
		same := strings.ReplaceAll(known.Body, `value="`+servertest.Username+`"`, `value="nobody"`)
		if unknown.Status != known.Status || unknown.Header.Get("Retry-After") == "" || same != unknown.Body {
			t.Errorf("%d %v\n%s", unknown.Status, unknown.Header, unknown.Text())
		}
	})
	t.Run("ATK-51 the right password does not show itself", func(t *testing.T) {
		if p := try(servertest.Username, servertest.Password); p.Status != 429 {
			t.Errorf("%d", p.Status)
		}
	})
	t.Run("another host", func(t *testing.T) {
		if p := elsewhere(servertest.Username, servertest.Password); p.Status != 303 {
			t.Errorf("%d", p.Status)
		}
	})
	t.Run("after a while", func(t *testing.T) {
		s.Clock.Advance(20 * time.Second)
		if p := try(servertest.Username, servertest.Password); p.Status != 303 {
			t.Errorf("%d", p.Status)
		}
	})
	t.Run("right passwords do not count", func(t *testing.T) {
		s.Clock.Advance(time.Minute)
		for range 5 {
			if p := login(t, s, servertest.Host)(servertest.Username, servertest.Password); p.Status != 303 {
				t.Fatalf("%d", p.Status)
			}
		}
	})
}
