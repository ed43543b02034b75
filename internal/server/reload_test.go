package server_test

import (
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// denyJane is a rule that leaves the person of the tests nothing.
func denyJane(f *config.File) {
	f.Policy.Rules = []rule.Rule{{Effect: "allow", Anyone: true}, {Effect: "deny", Emails: []string{servertest.Email}}}
}

// Keys, sign-ins under way, what was revoked and what was used up go on; what the
// configuration says holds at the next request.
func TestReload(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{})
	c, b := s.NewClient(t, servertest.Host, nil), s.NewBrowser()
	token, revoked := c.AccessToken(t, b), c.AccessToken(t, b)
	s.MustPass(t, servertest.Resource, token)
	form := url.Values{"token": {revoked}, "client_id": {c.ID}}
	s.Send(t, servertest.Request(t, http.MethodPost, servertest.Issuer(c.Host)+"/revoke", form.Encode(), "Content-Type", "application/x-www-form-urlencoded"))
	s.MustNotPass(t, servertest.Resource, revoked, "invalid_token")
	begun := c.Begin()
	page := b.Consent(t, begun.URL())
	used := c.Begin()
	code := used.Code(t, b)
	used.Exchange(t, code)
	_, before := s.Management(t, "/metrics")

	s.MustReload(servertest.Options{Edit: func(f *config.File) { f.Proxy.Hosts[0].DisplayName = "Renamed notes" }})

	s.MustPass(t, servertest.Resource, token)
	s.MustNotPass(t, servertest.Resource, revoked, "invalid_token")
	if a := used.Exchange(t, code); a.Status != http.StatusBadRequest {
		t.Errorf("a code that was redeemed before: %d %s", a.Status, a.Body)
	}
	answer := begun.Exchange(t, begun.Accept(t, b.Walk(t, b.Submit(t, page, "decision", "allow"), c.RedirectURI)))
	if answer.Status != http.StatusOK {
		t.Errorf("a sign-in that began before: %d %s", answer.Status, answer.Body)
	}
	if text := b.Consent(t, c.Begin().URL()).Text(); !strings.Contains(text, "Renamed notes") {
		t.Errorf("the page does not have the new name: %s", text)
	}
	_, after := s.Management(t, "/metrics")
	for _, name := range []string{`mcp_forward_auth_events_total{event="token.issued"}`, `mcp_forward_auth_decisions_total{dialect="nginx",reason="allowed"}`} {
		if was, is := metric(before, name), metric(after, name); was == "" || was == "0" || is < was {
			t.Errorf("%s was %q and is %q", name, was, is)
		}
	}

	s.MustReload(servertest.Options{Edit: denyJane})
	if a := s.Ask(t, servertest.Resource, token); a.Status == http.StatusOK {
		t.Error("what was decided under the rules before still holds")
	}
	s.MustReload(servertest.Options{})
	s.MustPass(t, servertest.Resource, c.AccessToken(t, b))
}

// metric returns the value of a series.
func metric(all, series string) string {
	_, rest, _ := strings.Cut("\n"+all, "\n"+series+" ")
	value, _, _ := strings.Cut(rest, "\n")
	return value
}

// What was used up stays so, whatever is reloaded.
func TestReloadKeepsLimits(t *testing.T) {
	t.Parallel()
	few := func(f *config.File) { f.Limits.Registrations = 1 }
	s := servertest.Start(t, servertest.Options{Edit: few})
	s.NewClient(t, servertest.Host, nil)
	s.MustReload(servertest.Options{Edit: servertest.Edits(few, denyJane)})
	if a := s.Register(t, servertest.Host, nil); a.Status != http.StatusTooManyRequests {
		t.Errorf("a second registration: %d %s", a.Status, a.Body)
	}
	s.MustReload(servertest.Options{})
	if a := s.Register(t, servertest.Host, nil); a.Status != http.StatusCreated {
		t.Errorf("with a higher limit: %d %s", a.Status, a.Body)
	}
}

// Neither memory nor goroutines grow with reloads.
func TestReloadsLeaveNothing(t *testing.T) {
	s := servertest.Start(t, servertest.Options{})
	token := s.NewClient(t, servertest.Host, nil).AccessToken(t, s.NewBrowser())
	reload := func(times int) {
		for i := range times {
			o := servertest.Options{}
			if i%2 == 0 {
				o.Edit = func(f *config.File) {
					f.Proxy.Hosts = append(f.Proxy.Hosts, servertest.NewHost("other.example.com", s.MCPServer+"/mcp"))
				}
			}
			s.MustReload(o)
			s.MustPass(t, servertest.Resource, token)
		}
	}
	measure := func() (goroutines int, heap uint64) {
		for range 50 { // what ends needs a moment
			runtime.GC()
			time.Sleep(10 * time.Millisecond)
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return runtime.NumGoroutine(), m.HeapAlloc
	}
	reload(10)
	goroutines, heap := measure()
	reload(200)
	after, heapAfter := measure()
	t.Logf("goroutines %d and %d, heap %d KB and %d KB", goroutines, after, heap>>10, heapAfter>>10)
	if after > goroutines+20 {
		t.Errorf("%d goroutines before, %d after 200 reloads", goroutines, after)
	}
	if heapAfter > heap+2<<20 {
		t.Errorf("%d bytes before, %d after 200 reloads", heap, heapAfter)
	}
}
