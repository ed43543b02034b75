package server_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// A client is told which scope it lacks, asks for that, and may then use the
// tool: with the scopes of the MCP server, and with those of the operator.
func TestStepUp(t *testing.T) {
	s := servertest.Start(t, servertest.Options{Edit: func(f *config.File) {
		f.Proxy.Hosts[0].Scopes = []rule.Scope{
			{Name: "notes:destroy", Description: "Delete notes for ever", Tools: []string{"notes_delete"}},
			{Name: "notes:all", Includes: []string{"notes:read", "notes:write", "notes:destroy"}},
		}
	}})
	c := s.NewClient(t, servertest.Host, nil)
	call := func(token, tool string) *servertest.Answer {
		return s.Ask(t, servertest.Resource, token, "MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", tool)
	}
	grant := func(scope string) string {
		t.Helper()
		a := c.Begin().With("scope", scope)
		answer := a.Exchange(t, a.Code(t, s.NewBrowser()))
		if answer.String("scope") != scope {
			t.Fatalf("asked for %q: %s", scope, answer.Body)
		}
		return answer.String("access_token")
	}
	token := grant("notes:read")
	t.Run("a call right after a start", func(t *testing.T) {
		for range 20 {
			s.Restart()
			if answer := call(token, "notes_list"); answer.Status != http.StatusOK {
				t.Fatalf("%d %s", answer.Status, answer.Body)
			}
		}
	})
	for tool, want := range map[string]string{"notes_create": "notes:read notes:write", "notes_delete": "notes:read notes:destroy"} {
		t.Run("RS-ERR-04 "+tool, func(t *testing.T) {
			answer := call(token, tool)
			challenge := answer.Header.Get("WWW-Authenticate")
			if answer.Status != http.StatusUnauthorized || !strings.Contains(challenge, `error="insufficient_scope"`) || !strings.Contains(challenge, `scope="`+want+`"`) {
				t.Fatalf("%d %s", answer.Status, challenge)
			}
			if answer := call(grant(want), tool); answer.Status != http.StatusOK {
				t.Errorf("with what was asked for: %d %v", answer.Status, answer.Header)
			}
		})
	}
	t.Run("RS-ERR-06 a scope that includes all", func(t *testing.T) {
		token := grant("notes:all")
		for _, tool := range []string{"notes_list", "notes_create", "notes_delete"} {
			if answer := call(token, tool); answer.Status != http.StatusOK {
				t.Errorf("%s: %d", tool, answer.Status)
			}
		}
	})
	t.Run("RS-HDR-11 a tool that is not there", func(t *testing.T) {
		if answer := call(token, "notes_burn"); answer.Status != http.StatusForbidden || answer.Header.Get("WWW-Authenticate") != "" {
			t.Errorf("%d %v", answer.Status, answer.Header)
		}
	})
	t.Run("the operator's scopes are on the consent page", func(t *testing.T) {
		page := s.NewBrowser().Consent(t, c.Begin().URL())
		if !strings.Contains(page.Text(), "Delete notes for ever") {
			t.Error(page.Text())
		}
	})
}
