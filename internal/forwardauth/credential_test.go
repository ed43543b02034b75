package forwardauth

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/revocation"
)

// ticket is a kind of credential that only this test knows: "ticket-" and a
// name. It is all that a new kind needs beside a line where kinds are listed.
type ticket struct {
	change func(*credential.Principal)
	asked  *atomic.Int32
}

func (ticket) Recognises(raw string, _ *resource.Resource) bool {
	return strings.HasPrefix(raw, "ticket-")
}

func (k ticket) Verify(raw string, r *resource.Resource) (credential.Principal, error) {
	k.asked.Add(1)
	name := strings.TrimPrefix(raw, "ticket-")
	if name == "forged" {
		return credential.Principal{}, credential.Refused{Reason: reasons.BadSignature}
	}
	p := credential.Principal{
		Issuer: "https://tickets.example", Audience: r.URI, Subject: "tickets:" + name, Client: "booth", Scope: "read", Email: name + "@example.com",
		Groups: []string{"visitors"}, ID: raw, Family: "f-" + name, Flow: "flow-" + name, Generation: 3, IssuedAt: start.Unix(), Expires: start.Add(time.Minute).Unix(),
	}
	if k.change != nil {
		k.change(&p)
	}
	return p, nil
}

// withTickets accepts tickets beside the service's own access tokens.
func withTickets(tb testing.TB, change func(*credential.Principal)) (f *fixture, asked *atomic.Int32) {
	f, asked = newFixture(tb, defaultHosts, nil), new(atomic.Int32)
	f.Credentials = append(f.Credentials, ticket{change, asked}) // the one line
	return f, asked
}

func (f *fixture) present(tb testing.TB, tool, raw string) (status int, identity []string) {
	tb.Helper()
	resp := f.ask(tb, nginxRequest("POST", aMCP, append(call(tool), "Authorization", "Bearer "+raw)...))
	h := resp.Header
	return resp.StatusCode, []string{h.Get("X-Auth-Request-User"), h.Get("X-Auth-Request-Email"), h.Get("X-Auth-Request-Groups")}
}

// One more kind of credential goes through the same decision, is remembered as
// the others are, and can be revoked, denied and seen in the audit log.
func TestAnotherKindOfCredential(t *testing.T) {
	f, asked := withTickets(t, nil)
	f.Ended = revocation.New(8, f.Now)
	var used []string
	f.Used = func(family string, generation int, issued time.Time) { used = append(used, family) }
	for range 3 {
		status, identity := f.present(t, "list", "ticket-jane")
		if status != 200 || strings.Join(identity, " ") != "tickets:jane jane@example.com visitors" {
			t.Fatal(status, identity)
		}
	}
	if asked.Load() != 1 {
		t.Errorf("the kind verified %d times, want once", asked.Load())
	}
	if len(used) != 1 || used[0] != "f-jane" {
		t.Errorf("used: %q", used)
	}
	if got := f.audit.String(); !strings.Contains(got, `"event":"access.first_use","flow":"flow-jane","subject":"tickets:jane","email":"jane@example.com","client":"booth"`) {
		t.Errorf("audit: %s", got)
	}
	if status, _ := f.present(t, "put", "ticket-jane"); status != 401 || f.reasons[InsufficientScope] != 1 {
		t.Errorf("another scope: status %d, want 401: %v", status, f.reasons)
	}
	if err := f.Ended.RevokeToken("ticket-jane", start.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if status, _ := f.present(t, "list", "ticket-jane"); status != 401 || f.reasons[Revoked] != 1 {
		t.Errorf("revoked: status %d, want 401: %v", status, f.reasons)
	}
	f.present(t, "list", "ticket-joe")
	f.now = start.Add(time.Minute)
	if status, _ := f.present(t, "list", "ticket-joe"); status != 401 || f.reasons[Expired] != 1 {
		t.Errorf("expired while remembered: status %d, want 401: %v", status, f.reasons)
	}
	held := f.Remembered()
	if status, _ := f.present(t, "list", "ticket-jim"); status != 401 || f.reasons[Expired] != 2 || f.Remembered() != held {
		t.Errorf("expired before its first use: status %d, want 401: %v", status, f.reasons)
	}
}

// The form of a credential alone chooses its kind, before any work is done.
func TestKindIsChosenByForm(t *testing.T) {
	f, asked := withTickets(t, nil)
	own := f.token(t, aMCP, "read")
	if status, _ := f.present(t, "list", own); status != 200 {
		t.Error(status)
	}
	f.present(t, "list", own[:len(own)-8]+"AAAAAAAA")
	f.present(t, "list", "opaque")
	if asked.Load() != 0 {
		t.Errorf("the kind of tickets was asked %d times about what is no ticket", asked.Load())
	}
	if status, _ := f.present(t, "list", "ticket-forged"); status != 401 || f.reasons[BadSignature] != 2 || f.reasons[MalformedToken] != 1 {
		t.Errorf("status %d, want 401: %v", status, f.reasons)
	}
	f.Credentials = nil
	if status, _ := f.present(t, "list", f.token(t, aMCP, "read")); status != 401 {
		t.Errorf("without any kind: status %d, want 401", status)
	}
}

// A kind that forgets something of its principal lets no one in.
func TestIncompletePrincipalIsRefused(t *testing.T) {
	for name, forget := range map[string]func(*credential.Principal){
		"everything":                func(p *credential.Principal) { *p = credential.Principal{} },
		"the issuer":                func(p *credential.Principal) { p.Issuer = "" },
		"the audience":              func(p *credential.Principal) { p.Audience = "" },
		"that it is for another":    func(p *credential.Principal) { p.Audience = "https://b.example" },
		"the subject":               func(p *credential.Principal) { p.Subject = "" },
		"the client":                func(p *credential.Principal) { p.Client = "" },
		"what it can be revoked by": func(p *credential.Principal) { p.ID = "" },
		"the expiry":                func(p *credential.Principal) { p.Expires = 0 },
		"the scope":                 func(p *credential.Principal) { p.Scope = "" },
	} {
		t.Run(name, func(t *testing.T) {
			f, asked := withTickets(t, forget)
			status, identity := f.present(t, "list", "ticket-jane")
			if status == 200 || strings.Join(identity, "") != "" || asked.Load() != 1 {
				t.Errorf("%d %q, asked %d times", status, identity, asked.Load())
			}
		})
	}
}

// Another kind costs the decisions about remembered credentials nothing.
func TestKindsCostRememberedCredentialsNothing(t *testing.T) {
	f, r := cached(t)
	f.Credentials = append(f.Credentials, ticket{asked: new(atomic.Int32)})
	for _, raw := range []string{strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), "ticket-jane"} {
		r := nginxRequest("POST", aMCP, append(call("list"), "Authorization", "Bearer "+raw)...)
		if allocs := testing.AllocsPerRun(200, func() {
			q := read(r)
			if d := f.Decide(t.Context(), &q); !d.Allowed() {
				t.Fatal(d.Reason)
			}
		}); allocs > 0 {
			t.Errorf("a decision allocates %v times", allocs)
		}
	}
}
