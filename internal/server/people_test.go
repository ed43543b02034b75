package server_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

const htmlAccept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

// People who open an address that is for programs read a page; programs get what the
// protocols say.
func TestPagesForPeople(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{})
	for path, want := range map[string]struct {
		status int
		says   string
	}{
		"/":           {404, "There is nothing to see here"},
		"/nowhere":    {404, "There is nothing to see here"},
		"/mcp":        {404, "This is an MCP server"},
		"/mcp/deeper": {404, "This is an MCP server"},
		"/consent":    {405, "There is nothing to see here"},
		"/token":      {405, "There is nothing to see here"},
		"/register":   {405, "There is nothing to see here"},
		"/revoke":     {405, "There is nothing to see here"},
	} {
		t.Run(path, func(t *testing.T) {
			get := func(header ...string) *servertest.Answer {
				return s.Send(t, servertest.Request(t, http.MethodGet, servertest.Issuer(servertest.Host)+path, "", header...))
			}
			for _, header := range [][]string{{"Accept", htmlAccept}, {"Accept", htmlAccept, "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}} {
				a := get(header...)
				if a.Status != want.status || !strings.Contains(a.Body, want.says) || a.Header.Get("Content-Type") != "text/html; charset=utf-8" || a.Header.Get("Content-Security-Policy") == "" {
					t.Errorf("a person gets %d %v %.300s", a.Status, a.Header, a.Body)
				}
				if want.status == 405 && a.Header.Get("Allow") != "POST" {
					t.Errorf("Allow is %q", a.Header.Get("Allow"))
				}
			}
			for name, header := range map[string][]string{
				"curl": {"Accept", "*/*"}, "an MCP client": {"Accept", "application/json, text/event-stream"},
				"a page's fetch": {"Accept", htmlAccept, "Sec-Fetch-Mode", "cors"}, "a client with a token": {"Accept", htmlAccept, "Authorization", "Bearer x"},
			} {
				if a := get(header...); a.Status != want.status || a.Header.Get("Content-Type") != "application/json" {
					t.Errorf("%s gets %d %s", name, a.Status, a.Header.Get("Content-Type"))
				}
			}
		})
	}
}

// The page instead of a refusal keeps its status and its challenge.
func TestRefusalsForPeople(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{Edit: func(f *config.File) { f.Proxy.Hosts[0].Serve.Enabled = true }})
	gateways := servertest.Start(t, servertest.Options{})
	person := []string{"Accept", htmlAccept, "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}
	forwarded := []string{"X-Forwarded-Host", servertest.Host, "X-Forwarded-Proto", "https", "X-Forwarded-Uri", "/mcp", "X-Forwarded-Method", "GET"}
	served := func(header ...string) *servertest.Answer {
		return s.Send(t, servertest.Request(t, http.MethodGet, servertest.Issuer(servertest.Host)+"/mcp", "", header...))
	}
	asked := func(header ...string) *servertest.Answer {
		return gateways.Send(t, servertest.Request(t, http.MethodGet, servertest.Issuer(servertest.Host)+"/authenticate", "", append(header, forwarded...)...))
	}
	for name, get := range map[string]func(...string) *servertest.Answer{"served": served, "behind a gateway": asked} {
		t.Run(name, func(t *testing.T) {
			a, program := get(person...), get("Accept", "text/event-stream")
			if a.Status != http.StatusUnauthorized || !strings.Contains(a.Body, "This is an MCP server") || strings.Contains(a.Body, `"error"`) {
				t.Errorf("a person gets %d %.200s", a.Status, a.Body)
			}
			if program.Status != http.StatusUnauthorized || strings.Contains(program.Body, "<html") {
				t.Errorf("a program gets %d %.200s", program.Status, program.Body)
			}
			for _, answer := range []*servertest.Answer{a, program} { // the scope in it depends on when the MCP server was asked
				if got := answer.Header.Get("WWW-Authenticate"); !strings.Contains(got, `resource_metadata="https://mcp.example.com/.well-known/oauth-protected-resource/mcp"`) {
					t.Errorf("challenge %q", got)
				}
			}
		})
	}
}
