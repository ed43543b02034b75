package grant

import (
	"errors"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/provider"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/revocation"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
)

// Each check before the exchange refuses what it is there for: all of them pass a
// good refresh, and one change makes the list refuse it for this reason.
func TestRefreshChecks(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	keys, err := seal.NewKeyring(clock, []byte(strings.Repeat("s", 32)))
	if err != nil {
		t.Fatal(err)
	}
	table, err := resource.NewTable([]resource.Entry{{Host: "mcp.example.com", Scheme: "https", Path: "/mcp", Endpoint: &url.URL{Scheme: "http", Host: "mcp"}}})
	if err != nil {
		t.Fatal(err)
	}
	spent := errors.New("spent")
	for name, tt := range map[string]struct {
		change func(e *Endpoint, c *call, token *refreshToken, form url.Values)
		reason string
	}{
		"good":             {func(*Endpoint, *call, *refreshToken, url.Values) {}, "spent"},
		"no token":         {func(_ *Endpoint, _ *call, _ *refreshToken, form url.Values) { form.Set("refresh_token", "") }, "invalid_request"},
		"forged":           {func(_ *Endpoint, _ *call, _ *refreshToken, form url.Values) { form.Set("refresh_token", "x") }, "invalid_refresh_token"},
		"another client":   {func(_ *Endpoint, c *call, _ *refreshToken, _ url.Values) { c.client.ID = "other" }, "refresh_token_of_another_client"},
		"grant withdrawn":  {func(_ *Endpoint, c *call, _ *refreshToken, _ url.Values) { c.client.PreRegistered = true }, "unauthorized_client"},
		"shorter lifetime": {func(e *Endpoint, _ *call, _ *refreshToken, _ url.Values) { e.Refresh.Absolute = time.Hour }, "refresh_token_expired"},
		"provider removed": {func(e *Endpoint, _ *call, _ *refreshToken, _ url.Values) { e.Refresh.Providers = nil }, "provider_removed"},
		"resource removed": {func(_ *Endpoint, _ *call, token *refreshToken, _ url.Values) {
			token.Resource = "https://mcp.example.com/gone"
		}, "resource_gone"},
		"resource closed to the client": {func(_ *Endpoint, c *call, _ *refreshToken, _ url.Values) {
			c.client.Resources = []string{"https://mcp.example.com/other"}
		}, "resource_gone"},
		"another resource": {func(_ *Endpoint, _ *call, _ *refreshToken, form url.Values) {
			form.Set("resource", "https://mcp.example.com/gone")
		}, "invalid_target"},
		"more scopes":     {func(_ *Endpoint, _ *call, _ *refreshToken, form url.Values) { form.Set("scope", "read admin") }, "scope_not_granted"},
		"scope withdrawn": {func(_ *Endpoint, c *call, _ *refreshToken, _ url.Values) { c.client.Scopes = oauth.Scopes{"other"} }, "scope_not_granted"},
		"scopes changed": {func(e *Endpoint, _ *call, _ *refreshToken, _ url.Values) {
			e.Refresh.Changed = func(string, []string, string) []string { return []string{"read", "write"} }
		}, "scopes_changed"},
		"client denied": {func(e *Endpoint, _ *call, _ *refreshToken, _ url.Values) {
			e.Policy = nil // allows nothing
		}, string(reasons.ClientNotAllowedByPolicy)},
		"family ended": {func(e *Endpoint, _ *call, token *refreshToken, _ url.Values) {
			if err := e.Ended.RevokeFamily(token.Family, now.Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
		}, string(reasons.FamilyRevoked)},
	} {
		t.Run(name, func(t *testing.T) {
			client := &registration.Client{ID: "client", GrantTypes: []string{"authorization_code"}}
			e := &Endpoint{
				Policy: policy.New(table.All(), nil, nil), Ended: revocation.New(8, clock),
				Refresh: NewRefresh(keys, Refresh{
					Providers: provider.Set{{ID: "idp"}}, Idle: 24 * time.Hour, Absolute: 24 * time.Hour, Now: clock,
					Exists: func(string, string) bool { return true }, Changed: func(string, []string, string) []string { return nil },
				}),
			}
			c := &call{Request: httptest.NewRequest("POST", Path, nil), host: table.Host("mcp.example.com"), client: client, spend: func() error { return spent }}
			token := refreshToken{
				Family: "f", AuthTime: now.Add(-2 * time.Hour).Unix(), ClientKey: client.Key(), Provider: "idp", Namespace: "idp", Subject: "jane",
				Resource: "https://mcp.example.com/mcp", Scopes: oauth.Scopes{"read", "write"},
			}
			form := url.Values{}
			tt.change(e, c, &token, form)
			raw, err := e.Refresh.tokens.Seal(token, now.Add(time.Hour), c.host.Issuer)
			if err != nil {
				t.Fatal(err)
			}
			if !form.Has("refresh_token") {
				form.Set("refresh_token", raw)
			}
			c.params = oauth.NewParams(form, "resource")
			got := (&refreshing{call: c}).pass(e.refreshChecks())
			reason := "none"
			if oe, ok := errors.AsType[*oauth.Error](got); ok {
				reason = string(oe.AuditReason())
			} else if errors.Is(got, spent) {
				reason = "spent"
			}
			if reason != tt.reason {
				t.Errorf("%s (%v), want %s", reason, got, tt.reason)
			}
		})
	}
}
