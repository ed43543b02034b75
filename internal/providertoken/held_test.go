package providertoken_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/oidc"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/providertoken"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

const handleHeader = header + "-Handle"

func held(edit func(*providertoken.File)) func(*providertoken.File) {
	return func(s *providertoken.File) {
		s.Form, s.AccessTokenLifetime = "held", 24*time.Hour
		if edit != nil {
			edit(s)
		}
	}
}

func startHeld(t *testing.T, edit func(*providertoken.File), more ...func(*config.File)) fixture {
	t.Helper()
	f := start(t, held(edit), more...)
	f.provider.SetLife(10 * time.Minute)
	return f
}

// eventually waits for what happens in the background.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for range 3000 {
		if holds() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s: never", what)
}

// One access token of a day, and the token in the header is always a good one,
// though the client never refreshes.
func TestHeldForm(t *testing.T) {
	t.Parallel()
	f := startHeld(t, nil)
	k := servertest.SignIn(t, f.client)
	first := f.token(t, k.Access)
	asked := f.provider.Count(oauthtest.Token)
	f.token(t, k.Access)
	if f.provider.Count(oauthtest.Token) != asked {
		t.Error("the provider is asked for a token that is young")
	}
	// Half over: the request gets the one there is, and a renewal begins.
	f.Clock.Advance(5*time.Minute + time.Second)
	if got := f.token(t, k.Access); got != first {
		t.Error("a request waited for a renewal that it does not need")
	}
	eventually(t, "a new token", func() bool { return f.token(t, k.Access) != first })
	if n := f.provider.Count(oauthtest.Token); n != asked+1 {
		t.Errorf("%d requests to the provider for one renewal", n-asked)
	}
	// Long unused: the next request waits for a new one.
	second := f.token(t, k.Access)
	f.Clock.Advance(20 * time.Hour)
	if got := f.token(t, k.Access); got == second {
		t.Error("a token that has died")
	}
	if n := f.provider.Count(oauthtest.Token); n != asked+2 {
		t.Errorf("%d requests to the provider for two renewals", n-asked)
	}
	f.Clock.Advance(4 * time.Hour)
	f.MustNotPass(t, servertest.Resource, k.Access, "invalid_token")
}

// However many requests and replicas, a refresh token is used once.
func TestRenewedOnce(t *testing.T) {
	t.Parallel()
	f := startHeld(t, nil)
	k := servertest.SignIn(t, f.client)
	f.Clock.Advance(11 * time.Minute)
	asked := f.provider.Count(oauthtest.Token)
	var all sync.WaitGroup
	for range 40 {
		all.Go(func() {
			if a := f.Ask(t, servertest.Resource, k.Access); a.Status != 200 {
				t.Errorf("status %d, want 200: %s", a.Status, a.Body)
			}
		})
	}
	all.Wait()
	if n := f.provider.Count(oauthtest.Token); n != asked+1 {
		t.Errorf("%d requests to the provider", n-asked)
	}
	f.token(t, k.Access)
}

// A client that does refresh asks about the person, and gets tokens as ever.
func TestHeldRefresh(t *testing.T) {
	t.Parallel()
	f := startHeld(t, nil)
	k := servertest.SignIn(t, f.client)
	asked := f.provider.Count(oauthtest.Token)
	k = k.Again(t)
	if n := f.provider.Count(oauthtest.Token); n != asked {
		t.Errorf("%d requests about a person whom the provider told of a moment ago", n-asked)
	}
	f.Clock.Advance(2 * time.Minute)
	k = k.Again(t)
	if n := f.provider.Count(oauthtest.Token); n != asked+1 {
		t.Errorf("%d requests about a person", n-asked)
	}
	f.token(t, k.Access)
	f.Clock.Advance(2 * time.Minute)
	f.provider.Remove(servertest.Person.Subject)
	k.Refused(t, 400, "invalid_grant", "provider_session_over")
	if e := f.Log.Last(audit.FamilyEnded); e["reason"] != "user_gone" {
		t.Errorf("audit: %v", e)
	}
}

// The person is asked about while the client does nothing: a change shows in the
// headers, and who is gone is out.
func TestHeldPerson(t *testing.T) {
	t.Parallel()
	f := startHeld(t, nil)
	k := servertest.SignIn(t, f.client)
	f.token(t, k.Access)
	moved := servertest.Person
	moved.Email = "jane.married@example.com"
	f.provider.Change(moved)
	f.Clock.Advance(6 * time.Minute)
	eventually(t, "the new address", func() bool {
		return f.MustPass(t, servertest.Resource, k.Access).Header.Get("X-Auth-Request-Email") == moved.Email
	})
	f.provider.Remove(servertest.Person.Subject)
	f.Clock.Advance(6 * time.Minute)
	eventually(t, "the end", func() bool { return f.Ask(t, servertest.Resource, k.Access).Status == 401 })
	f.MustNotPass(t, servertest.Resource, k.Access, "invalid_token")
	if e := f.Log.Last(audit.FamilyEnded); e["reason"] != "user_gone" {
		t.Errorf("audit: %v", e)
	}
	k.Refused(t, 400, "invalid_grant", "family_revoked")
}

func TestHeldIsDropped(t *testing.T) {
	t.Parallel()
	f := startHeld(t, nil)
	k := servertest.SignIn(t, f.client)
	f.token(t, k.Access)
	servertest.MustRevoke(t, f.client, k.Refresh)
	f.MustNotPass(t, servertest.Resource, k.Access, "invalid_token")
	asked := f.provider.Count(oauthtest.Token)
	f.Clock.Advance(time.Hour)
	f.MustNotPass(t, servertest.Resource, k.Access, "invalid_token")
	if n := f.provider.Count(oauthtest.Token); n != asked {
		t.Errorf("%d renewals of a sign-in that was revoked", n-asked)
	}
}

// Trap: the guard lost the session, as a memory does in a restart. The client signs in
// again, once, and is told why.
func TestGuardForgot(t *testing.T) {
	t.Parallel()
	f := startHeld(t, nil)
	k := servertest.SignIn(t, f.client)
	f.Restart()
	f.MustNotPass(t, servertest.Resource, k.Access, "invalid_token")
	if e := f.Log.Last(audit.AccessDenied); e["reason"] != "provider_session_over" {
		t.Errorf("audit: %v", e)
	}
	k.Refused(t, 400, "invalid_grant", "provider_session_over")
	f.token(t, servertest.SignIn(t, f.client).Access)
}

// Trap: the provider answers 500 after it has spent the refresh token. Nothing can
// bring the session back at a strict provider: that is one more sign-in, and no dead
// token is handed out before.
func TestSpentThenFailed(t *testing.T) {
	t.Parallel()
	f := startHeld(t, nil)
	k := servertest.SignIn(t, f.client)
	f.provider.AfterSpending(func() { panic(http.ErrAbortHandler) })
	f.Clock.Advance(11 * time.Minute)
	eventually(t, "the end", func() bool {
		a := f.Ask(t, servertest.Resource, k.Access)
		if a.Status == 200 {
			t.Fatal("a dead token is handed out")
		}
		return a.Status == 401
	})
	f.provider.AfterSpending(nil)
	f.token(t, servertest.SignIn(t, f.client).Access)
}

// Trap: a token of 6 KB goes as a handle.
func TestLargeTokenGoesAsHandle(t *testing.T) {
	t.Parallel()
	f := startHeld(t, nil)
	f.provider.SetSizes(oauthtest.Sizes{Access: 6000, Refresh: 1900})
	k := servertest.SignIn(t, f.client)
	a := f.MustPass(t, servertest.Resource, k.Access)
	size := 0
	for name, values := range a.Header {
		size += len(name) + len(values[0]) + 4
	}
	if a.Header.Get(header) != "-" || len(a.Header.Get(handleHeader)) < 50 || size > 3900 {
		t.Errorf("%d bytes of headers: %v", size, a.Header)
	}
	// A gateway with larger buffers takes it whole.
	f = startHeld(t, func(s *providertoken.File) { s.HeaderBytes = 12000 })
	f.provider.SetSizes(oauthtest.Sizes{Access: 6000, Refresh: 1900})
	k = servertest.SignIn(t, f.client)
	if got := f.token(t, k.Access); len(got) < 6000 {
		t.Errorf("%d bytes", len(got))
	}
	if got := f.MustPass(t, servertest.Resource, k.Access).Header.Get(handleHeader); got != "-" {
		t.Errorf("and a handle %q, want %q", got, "-")
	}
}

// Trap: a refresh brings no new refresh token, so the old one stays good.
func TestOmittedRefreshToken(t *testing.T) {
	t.Parallel()
	for _, form := range []string{"client", "held"} {
		f := start(t, func(s *providertoken.File) { s.Form = form })
		f.provider.SetLife(10 * time.Minute)
		k := servertest.SignIn(t, f.client)
		f.provider.KeepRefreshTokens(true)
		for range 3 {
			f.Clock.Advance(8 * time.Minute)
			k = k.Again(t)
			f.token(t, k.Access)
		}
	}
}

// Trap: a bad ID token beside a good access token. The new refresh token is kept, and
// the next try goes on with it.
func TestBadIDToken(t *testing.T) {
	t.Parallel()
	for _, form := range []string{"client", "held"} {
		f := start(t, func(s *providertoken.File) { s.Form = form })
		f.provider.SetLife(10 * time.Minute)
		k := servertest.SignIn(t, f.client)
		f.Clock.Advance(2 * time.Minute)
		f.provider.Commit(oauthtest.WrongKey)
		a := f.client.Token(t, servertest.RefreshForm(f.client, k.Refresh))
		if a.Status != 503 {
			t.Errorf("%s: %d %s", form, a.Status, a.Body)
		}
		f.provider.Commit(oauthtest.None)
		f.token(t, k.Again(t).Access)
	}
}

// Trap: the client id at the provider changed. Nothing of the old client reaches the
// provider under the new name, and no person is taken for gone.
func TestClientIDChanged(t *testing.T) {
	t.Parallel()
	for _, form := range []string{"client", "held"} {
		f := start(t, func(s *providertoken.File) { s.Form = form })
		k := servertest.SignIn(t, f.client)
		asked := f.provider.Count(oauthtest.Token)
		renamed := f.options
		renamed.Edit = servertest.Edits(f.options.Edit, func(c *config.File) { c.Provider.Settings.(*oidc.Settings).ClientID = "another" })
		f.MustReload(renamed)
		f.Clock.Advance(2 * time.Minute)
		k.Refused(t, 400, "invalid_grant", "provider_session_over")
		if n := f.provider.Count(oauthtest.Token); n != asked {
			t.Errorf("%s: %d requests to the provider", form, n-asked)
		}
	}
}

// Trap: the clock is set forwards and backwards.
func TestClockSteps(t *testing.T) {
	t.Parallel()
	f := startHeld(t, nil)
	k := servertest.SignIn(t, f.client)
	asked := f.provider.Count(oauthtest.Token)
	f.Clock.Advance(3 * time.Hour)
	f.token(t, k.Access)
	f.Clock.Advance(-2 * time.Hour)
	f.token(t, k.Access)
	f.Clock.Advance(-30 * time.Minute)
	f.token(t, k.Access)
	if n := f.provider.Count(oauthtest.Token) - asked; n != 3 {
		t.Errorf("%d renewals, want 3", n)
	}
}

// Trap: the provider takes ten seconds. What it gives is not lost, and requests with a
// live token do not wait.
func TestSlowProvider(t *testing.T) {
	t.Parallel()
	f := startHeld(t, nil)
	k := servertest.SignIn(t, f.client)
	first := f.token(t, k.Access)
	f.provider.AfterSpending(func() { time.Sleep(11 * time.Second) })
	f.Clock.Advance(6 * time.Minute)
	began := time.Now()
	f.token(t, k.Access)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("a request waited for %s", took)
	}
	time.Sleep(11 * time.Second)
	eventually(t, "the new token", func() bool { return f.token(t, k.Access) != first })
}

// Another configuration takes over while sessions are held: tokens go on, no one is asked
// again, and what a renewal brings that was under way is not lost.
func TestHeldOverReload(t *testing.T) {
	t.Parallel()
	f := startHeld(t, nil)
	k := servertest.SignIn(t, f.client)
	first, asked := f.token(t, k.Access), f.provider.Count(oauthtest.Token)
	renamed := f.options
	renamed.Edit = servertest.Edits(f.options.Edit, func(c *config.File) { c.Proxy.Hosts[0].DisplayName = "Other notes" })
	f.MustReload(renamed)
	if got := f.token(t, k.Access); got != first || f.provider.Count(oauthtest.Token) != asked {
		t.Errorf("after a reload %q for %q, and %d requests", got, first, f.provider.Count(oauthtest.Token)-asked)
	}
	goOn := make(chan struct{})
	f.provider.AfterSpending(func() { <-goOn })
	f.Clock.Advance(6 * time.Minute)
	f.token(t, k.Access) // the old one, and a renewal begins
	eventually(t, "the renewal", func() bool { return f.provider.Count(oauthtest.Token) == asked+1 })
	f.MustReload(f.options)
	close(goOn)
	f.provider.AfterSpending(nil)
	eventually(t, "the new token", func() bool { return f.token(t, k.Access) != first })
	if n := len(f.provider.Reused()); n != 0 {
		t.Errorf("%d refresh tokens were used twice, want 0", n)
	}
	// A server that is to get nothing any more gets nothing, and the session is given up.
	none := f.options
	none.Edit = servertest.Edits(f.options.Edit, func(c *config.File) {
		c.Proxy.Hosts[0].ProviderToken = servertest.NewHost("", "").ProviderToken
	})
	f.MustReload(none)
	if got := f.MustPass(t, servertest.Resource, k.Access).Header.Get(header); got != "" && got != "-" {
		t.Errorf("a server that gets nothing any more gets %q", got)
	}
}

func TestNothingIsShown(t *testing.T) {
	t.Parallel()
	f := startHeld(t, nil)
	k := servertest.SignIn(t, f.client)
	secret := f.token(t, k.Access)
	f.Clock.Advance(6 * time.Minute)
	f.token(t, k.Access)
	for what, text := range map[string]string{
		"the log": f.Log.String(), "a print": fmt.Sprintf("%v %+v %#v", providertoken.Token{Value: "at-secret"}, providertoken.Token{Value: "at-secret"}, providertoken.View{Token: "at-secret"}),
	} {
		if strings.Contains(text, secret) || strings.Contains(text, "at-secret") {
			t.Errorf("%s shows the provider's token", what)
		}
	}
}
