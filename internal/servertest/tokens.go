package servertest

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard"
)

// WithRefresh is the registration of a client that can refresh.
var WithRefresh = Metadata{"grant_types": []string{"authorization_code", "refresh_token"}}

// CodeOnly is the registration of a client that says that it cannot.
var CodeOnly = Metadata{"grant_types": []string{"authorization_code"}}

// Tokens are what a client holds after a sign-in.
type Tokens struct {
	Client          *Client
	Access, Refresh string
}

// SignIn goes the whole way and returns what the client holds.
func SignIn(t testing.TB, c *Client) Tokens {
	t.Helper()
	a := c.Begin()
	answer := a.Exchange(t, a.Code(t, c.Service.NewBrowser()))
	if answer.Status != 200 || answer.String("refresh_token") == "" {
		t.Fatalf("no refresh token: %d %s", answer.Status, answer.Body)
	}
	return Tokens{c, answer.String("access_token"), answer.String("refresh_token")}
}

// SignInForLess is SignIn for a client that may get less than it asks for.
func SignInForLess(t testing.TB, c *Client) (Tokens, string) {
	t.Helper()
	a := c.Begin()
	answer := a.Exchange(t, a.Code(t, c.Service.NewBrowser()))
	if answer.Status != 200 {
		t.Fatalf("%d %s", answer.Status, answer.Body)
	}
	return Tokens{c, answer.String("access_token"), answer.String("refresh_token")}, answer.String("scope")
}

// RefreshForm is a correct refresh; more is name, value, name, value.
func RefreshForm(c *Client, refreshToken string, more ...string) url.Values {
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refreshToken}, "client_id": {c.ID}}
	if c.Secret != "" {
		form.Set("client_secret", c.Secret)
	}
	for i := 0; i+1 < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	return form
}

// Again refreshes, which has to work, and returns the new tokens.
func (k Tokens) Again(t testing.TB, more ...string) Tokens {
	t.Helper()
	a := k.Client.Token(t, RefreshForm(k.Client, k.Refresh, more...))
	if a.Status != 200 || a.String("access_token") == "" || a.String("refresh_token") == "" {
		t.Fatalf("refresh: %d %s", a.Status, a.Body)
	}
	return Tokens{k.Client, a.String("access_token"), a.String("refresh_token")}
}

// Refused refreshes, which has to fail in this way, for this reason.
func (k Tokens) Refused(t testing.TB, status int, code, reason string, more ...string) {
	t.Helper()
	a := k.Client.Token(t, RefreshForm(k.Client, k.Refresh, more...))
	if a.Status != status || a.String("error") != code || a.JSON["access_token"] != nil || a.JSON["refresh_token"] != nil {
		t.Errorf("refresh: %d %s, want %d %s", a.Status, a.Body, status, code)
	}
	if e := k.Client.Service.Log.Last(audit.TokenRefused); e["reason"] != reason {
		t.Errorf("audit says %v, want reason %s", e, reason)
	}
}

// Stolen refreshes with a token that its owner has used and whose successor is in
// use. That has to fail as soon as the guard, which is told in the background, knows.
func (k Tokens) Stolen(t testing.TB) {
	t.Helper()
	for range guard.MaxRepeats / 2 {
		a := k.Client.Token(t, RefreshForm(k.Client, k.Refresh))
		if a.Status == 200 {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		if e := k.Client.Service.Log.Last(audit.TokenRefused); a.String("error") != "invalid_grant" || e["reason"] != "refresh_token_reused" {
			t.Errorf("%d %s, audit says %v", a.Status, a.Body, e)
		}
		return
	}
	t.Error("the stolen token gets the owner's successor again and again")
}

// Revoke sends a token to the revocation endpoint; more is name, value, name, value.
func Revoke(t testing.TB, c *Client, token string, more ...string) *Answer {
	t.Helper()
	form := url.Values{"token": {token}, "client_id": {c.ID}}
	if c.Secret != "" {
		form.Set("client_secret", c.Secret)
	}
	for i := 0; i+1 < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	return c.Service.Send(t, Request(t, http.MethodPost, Issuer(c.Host)+"/revoke", form.Encode(), "Content-Type", "application/x-www-form-urlencoded"))
}

// MustRevoke is Revoke, which has to work.
func MustRevoke(t testing.TB, c *Client, token string, more ...string) {
	t.Helper()
	if a := Revoke(t, c, token, more...); a.Status != 200 || a.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("revoke: %d %s", a.Status, a.Body)
	}
}

// Metric reads a metric without labels.
func Metric(t testing.TB, s *Service, name string) float64 {
	t.Helper()
	_, metrics := s.Management(t, "/metrics")
	for line := range strings.Lines(metrics) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+" "); ok {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}
