package grant_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// Some clients answer a request for more scopes with a refresh, and give up when
// that does not help.
func TestRefreshAfterStepUp(t *testing.T) {
	t.Parallel()
	scopes := func(refuse bool) func(*config.File) {
		return func(f *config.File) {
			f.Proxy.Hosts[0].RefuseRefreshAfterStepUp = refuse
			f.Proxy.Hosts[0].Scopes = []rule.Scope{{Name: "see", Tools: []string{"notes_list"}}, {Name: "destroy", Tools: []string{"notes_delete"}}}
		}
	}
	begin := func(t *testing.T, refuse bool) (*servertest.Service, servertest.Tokens) {
		s := servertest.Start(t, servertest.Options{Edit: scopes(refuse)})
		c := s.NewClient(t, servertest.Host, servertest.WithRefresh)
		c.Scope = "see"
		return s, servertest.SignIn(t, c)
	}
	challenge := func(t *testing.T, s *servertest.Service, access string) {
		t.Helper()
		a := s.Ask(t, servertest.Resource, access, "MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", "notes_delete")
		if a.Status != http.StatusUnauthorized || !strings.Contains(a.Header.Get("WWW-Authenticate"), `scope="see destroy"`) {
			t.Fatalf("%d %v", a.Status, a.Header)
		}
	}
	t.Run("on: the client has to sign in", func(t *testing.T) {
		t.Parallel()
		s, k := begin(t, true)
		bystander := servertest.SignIn(t, k.Client)
		k = k.Again(t) // no challenge yet
		challenge(t, s, k.Access)
		refused := false
		for range 20 { // the guard is told in the background
			a := k.Client.Token(t, servertest.RefreshForm(k.Client, k.Refresh))
			if refused = a.Status != http.StatusOK; refused {
				if e := s.Log.Last(audit.TokenRefused); a.Status != http.StatusBadRequest || a.String("error") != "invalid_grant" || e["reason"] != "step_up_expected" {
					t.Fatalf("status %d, want %v: %s, audit says %v", a.Status, http.StatusBadRequest, a.Body, e)
				}
				break
			}
			k.Refresh = a.String("refresh_token")
			time.Sleep(20 * time.Millisecond)
		}
		if !refused {
			t.Fatal("refreshes work on")
		}
		bystander.Again(t)
		a := k.Client.Begin().With("scope", "see destroy")
		if answer := a.Exchange(t, a.Code(t, s.NewBrowser())); answer.String("scope") != "see destroy" {
			t.Errorf("signed in again: %d %s", answer.Status, answer.Body)
		}
		s.Clock.Advance(6 * time.Second)
		k.Again(t) // nothing was ended
	})
	t.Run("off: a refresh is a refresh", func(t *testing.T) {
		t.Parallel()
		s, k := begin(t, false)
		for range 5 {
			challenge(t, s, k.Access)
			k = k.Again(t)
		}
	})
}
