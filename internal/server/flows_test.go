package server_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// TestFunnel signs in with every kind of provider and looks at what an operator
// sees of it: each step counted once, and the flow under the id of its pages.
func TestFunnel(t *testing.T) {
	t.Parallel()
	for name, o := range providers(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := servertest.Start(t, o)
			b := s.NewBrowser()
			c := s.NewClient(t, servertest.Host, servertest.Metadata{})
			a := c.Begin()
			page := b.Submit(t, b.Consent(t, a.URL()), "decision", "allow")
			token := a.Exchange(t, a.Accept(t, b.Walk(t, page, c.RedirectURI))).String("access_token")
			for range 3 {
				s.MustPass(t, servertest.Resource, token)
			}
			status, metrics := s.Management(t, "/metrics")
			if status != 200 {
				t.Fatal(status)
			}
			want := []string{
				`mcp_forward_auth_token_cache_lookups_total{result="hit"} 3`, // known since it was issued
				`mcp_forward_auth_token_cache_lookups_total{result="miss"} 0`,
				`mcp_forward_auth_token_cache_entries 1`,
				`mcp_forward_auth_resource_decisions_total{reason="allowed",resource="` + servertest.Resource + `"} 3`,
				`mcp_forward_auth_decision_duration_seconds_count 3`,
				`mcp_forward_auth_catalogue_known{resource="` + servertest.Resource + `"} 1`,
			}
			for _, step := range audit.Steps {
				want = append(want, fmt.Sprintf("mcp_forward_auth_login_steps_total{step=%q} 1", step))
			}
			operation := "identify"
			if name == "static" {
				operation = "authenticate"
			}
			want = append(want, `mcp_forward_auth_provider_call_duration_seconds_count{operation="`+operation+`",provider="`+name+`",result="ok"} 1`)
			for _, line := range want {
				if !strings.Contains(metrics, line+"\n") {
					t.Errorf("the metrics lack %s", line)
				}
			}

			flow := s.Log.Last(audit.TokenIssued)["flow"]
			var seen struct {
				Step, Reason, Resource, Client string
				Trail                          []struct{ Event string }
			}
			status, text := s.Management(t, "/debug/flows/"+flow)
			if err := json.Unmarshal([]byte(text), &seen); err != nil || status != 200 {
				t.Fatalf("%d %v: %s", status, err, text)
			}
			if seen.Step != "redeemed" || seen.Reason != "" || seen.Resource != servertest.Resource || seen.Client == "" || len(seen.Trail) != 8 {
				t.Errorf("%s", text)
			}
			if last := seen.Trail[len(seen.Trail)-1].Event; last != string(audit.FirstUse) {
				t.Errorf("ends with %s", last)
			}
		})
	}
}

// TestErrorPagesNameAFlow: whatever page a sign-in ends with, its reference leads
// an operator to the reason.
func TestErrorPagesNameAFlow(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{})
	b := s.NewBrowser()
	c := s.NewClient(t, servertest.Host, servertest.Metadata{})
	reference := regexp.MustCompile(`<code dir="ltr">([a-z2-7]{16})</code>`)
	consent := b.Consent(t, c.Begin().URL())
	b.Submit(t, consent, "decision", "deny")
	for _, tt := range []struct {
		reason string
		page   func() *servertest.Page
		step   string
	}{
		{"unknown_client", func() *servertest.Page {
			return b.Open(t, "https://mcp.example.com/authorize?client_id=nobody&response_type=code")
		}, "authorize"},
		{"redirect_uri_mismatch", func() *servertest.Page {
			return b.Open(t, c.Begin().With("redirect_uri", "https://evil.example/").URL())
		}, "authorize"},
		{"used_twice", func() *servertest.Page { return b.Submit(t, consent, "decision", "deny") }, "consent_shown"},
		{"malformed_callback", func() *servertest.Page { return b.Open(t, "https://mcp.example.com/callback?state=a&state=b") }, ""},
		{"other_browser", func() *servertest.Page {
			return b.Open(t, "https://mcp.example.com/login?state="+strings.Repeat("S", 26))
		}, ""},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			page := tt.page()
			found := reference.FindStringSubmatch(page.Body)
			if found == nil {
				t.Fatalf("no reference on the page\n%s", page.Body)
			}
			_, text := s.Management(t, "/debug/flows/"+found[1])
			var seen struct{ Step, Reason, Meaning string }
			if err := json.Unmarshal([]byte(text), &seen); err != nil || seen.Reason != tt.reason || seen.Step != tt.step || seen.Meaning == "" {
				t.Errorf("%v: %s", err, text)
			}
		})
	}
}

func TestFlowsOff(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{Edit: func(f *config.File) { f.Debug.Flows.Enabled = false }})
	for _, path := range []string{"/debug/flows", "/debug/flows/abc"} {
		if status, _ := s.Management(t, path); status != 404 {
			t.Errorf("%s: %d", path, status)
		}
	}
}
