package whatif

import (
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/google"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// What a server gets for a person at another is bounded by its entry, and by what the
// rules there say of who acts.
func TestExchange(t *testing.T) {
	const there = "https://calendar.example.com/mcp"
	s := Service{
		Providers: []connector.Config{{Name: "google", Settings: &google.Settings{}}},
		Clients:   []registration.Known{{ID: "notes-server"}, {ID: "other"}},
		Hosts: []resource.Entry{
			{Scheme: "https", Host: "notes.example.com", Path: "/mcp", Exchange: &resource.Exchange{Clients: []string{"notes-server"}, Targets: []resource.Target{
				{Resource: there, Scopes: []string{"events:read"}}, {Resource: there, Scopes: []string{"events:write"}, Requires: []string{"notes:write"}},
			}}},
			{Scheme: "https", Host: "calendar.example.com", Path: "/mcp", Policy: []rule.Rule{
				{Allow: true, Users: []string{"1234"}, At: "policy.rules[0]"},
				{Actors: []string{"client:*"}, Scopes: []string{"events:write"}, At: "policy.rules[1]"},
			}},
		},
	}
	for _, tt := range []struct {
		client, scope, rule string
		allowed             bool
	}{
		{"notes-server", "events:read", "policy.rules[0]", true},
		{"notes-server", "events:write", "policy.rules[1]", false},
		{"notes-server", "events:admin", "proxy.hosts[0].tokenExchange.targets", false},
		{"other", "events:write", "policy.rules[0]", true},
	} {
		d, err := s.Decide(Question{As: "user=1234,client=" + tt.client, Resource: there, Scopes: tt.scope})
		if err != nil {
			t.Fatal(err)
		}
		if got := d.Scopes[0]; got.Allowed != tt.allowed || !strings.Contains(got.Rule, tt.rule) {
			t.Errorf("%s for %s: %+v", tt.scope, tt.client, got)
		}
		if acts := strings.Contains(d.String(), "acted for by client:notes-server") && strings.Contains(d.String(), "only for a caller with notes:write"); acts != (tt.client == "notes-server") {
			t.Errorf("for %s it says\n%s", tt.client, d)
		}
	}
}
