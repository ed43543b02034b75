package forwardauth

import (
	"net/http"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/token"
)

// Where the operator wants it a tool that changed since the person agreed is closed
// until they agree again, and no other is.
func TestChangedToolIsHeld(t *testing.T) {
	f := newFixture(t, "a.example/mcp open.example/mcp advisory.example/mcp body.example/mcp", func(uri string, r *rule.Rules) {
		r.HoldChanged = !strings.Contains(uri, "open")
		r.Body = strings.Contains(uri, "body")
		if strings.Contains(uri, "advisory") {
			r.ToolPolicy = rule.Advisory
		}
	})
	const here = "https://a.example/mcp"
	ask := func(uri, agreed string, headers ...string) *http.Response {
		raw := f.mint(t, f.issuer, uri, "read write", token.Person{Agreed: agreed})
		return f.ask(t, nginxRequest("POST", uri, append(headers, "Authorization", "Bearer "+raw)...))
	}
	for _, tt := range []struct {
		name, uri, agreed string
		headers           []string
		want              Reason
	}{
		{"as it was", here, "list get", call("list"), Allowed},
		{"changed", here, "list get", call("put"), ToolChanged},
		{"the person agreed to nothing", here, "-", call("list"), ToolChanged},
		{"a tool that the list does not have", here, "list ghost", call("ghost"), NoScope},
		{"an operation without a tool", here, "-", []string{"MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/list"}, Allowed},
		{"no person was asked", here, "", call("put"), Allowed},
		{"an older revision, of which nothing is known", here, "list get put", nil, OldProtocol},
		{"an older revision where no person was asked", here, "", nil, Allowed},
		{"the operator does not want it", "https://open.example/mcp", "-", call("put"), Allowed},
		{"only written down", "https://advisory.example/mcp", "-", call("put"), Advised},
	} {
		before := f.reasons[tt.want]
		if resp := ask(tt.uri, tt.agreed, tt.headers...); f.reasons[tt.want] != before+1 {
			t.Errorf("%s: %d, not %v", tt.name, resp.StatusCode, tt.want)
		}
	}
	challenge := ask(here, "list", call("put")...).Header.Get("Www-Authenticate")
	if !strings.Contains(challenge, `error="insufficient_scope"`) || !strings.Contains(challenge, `scope="read write"`) || !strings.Contains(challenge, "has changed since the person agreed") {
		t.Errorf("challenge %s", challenge)
	}
	raw := f.mint(t, f.issuer, "https://body.example/mcp", "read write", token.Person{Agreed: "list"})
	for tool, want := range map[string]int{"list": http.StatusOK, "put": http.StatusForbidden} {
		old := forwardedRequest("POST", "https://body.example/mcp", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"`+tool+`"}}`, "Authorization", "Bearer "+raw)
		if got := f.ask(t, old).StatusCode; got != want {
			t.Errorf("an older revision with its body, %s: %d", tool, got)
		}
	}
}

// A list shows what a call would get, and what the person can agree to unless that is hidden.
func TestChangedToolInList(t *testing.T) {
	for _, hide := range []bool{false, true} {
		f := newFixture(t, "a.example/mcp", func(_ string, r *rule.Rules) { r.HoldChanged, r.HideGrantable = true, hide })
		q := read(nginxRequest("POST", "https://a.example/mcp", "MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/list",
			"Authorization", "Bearer "+f.mint(t, f.issuer, "https://a.example/mcp", "read write", token.Person{Agreed: "list"})))
		d := f.Decide(t.Context(), &q)
		if !d.Allowed() {
			t.Fatal(d.Reason)
		}
		if v := f.View(&d); !v.Shows(toolsCall, "list") || v.Shows(toolsCall, "put") == hide || v.Shows(toolsCall, "ghost") {
			t.Errorf("hide %v: list %v put %v ghost %v", hide, v.Shows(toolsCall, "list"), v.Shows(toolsCall, "put"), v.Shows(toolsCall, "ghost"))
		}
	}
}

// unlisted is a server that lists no tool, and of which any name is opened by "write".
type unlisted struct{ fixed }

func (unlisted) ScopesForTool(string) []string { return []string{"write"} }

// A list that is not known now holds everything back, and one that no longer has a tool
// says so.
func TestHeldWithoutList(t *testing.T) {
	f := newFixture(t, "a.example/mcp", func(_ string, r *rule.Rules) { r.HoldChanged = true })
	raw := f.mint(t, f.issuer, "https://a.example/mcp", "read write", token.Person{Agreed: "list"})
	ask := func() {
		f.ask(t, nginxRequest("POST", "https://a.example/mcp", append(call("anything"), "Authorization", "Bearer "+raw)...))
	}
	f.Endpoint.Scopes = func(*resource.Resource) Scopes { return unlisted{fixed{names: []string{"write"}, known: true}} }
	if ask(); f.reasons[ToolNotListed] != 1 {
		t.Errorf("%v", f.reasons)
	}
	f.Endpoint.Scopes = func(*resource.Resource) Scopes { return unlisted{fixed{known: true}} }
	if ask(); f.reasons[CatalogueUnavailable] != 1 {
		t.Errorf("%v", f.reasons)
	}
}
