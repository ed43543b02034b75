package forwardauth

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// remote is a kind of credential that another server has to be asked about:
// "remote-" and a name. What it was told it knows from then on.
type remote struct {
	mu        sync.Mutex
	told      map[string]credential.Principal
	until     int64
	withdrawn atomic.Bool
	verified  int
	asked     int
	// answer is called for each question; nil knows everyone.
	answer func(ctx context.Context, name string) error
}

func (k *remote) Recognises(raw string, _ *resource.Resource) bool {
	return strings.HasPrefix(raw, "remote-")
}

func (k *remote) Verify(raw string, r *resource.Resource) (credential.Principal, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.verified++
	if k.withdrawn.Load() {
		return credential.Principal{}, credential.Refused{Reason: reasons.APIKeyRevoked}
	}
	if p, known := k.told[raw+r.URI]; known {
		return p, nil
	}
	return credential.Principal{}, credential.ErrUnknown
}

func (k *remote) Ask(ctx context.Context, raw string, r *resource.Resource) (credential.Principal, error) {
	name := strings.TrimPrefix(raw, "remote-")
	if k.answer != nil {
		if err := k.answer(ctx, name); err != nil {
			return credential.Principal{}, err
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked++
	id := connector.Identity{Provider: "https://as.example", Namespace: "as.example", Subject: name, Email: name + "@example.com", Groups: []string{"staff"}}
	p := credential.Principal{
		Issuer: "https://as.example", Audience: r.URI, Subject: id.FullSubject(), Email: id.Email, Groups: id.Groups, Client: "as.example:cli", Scope: "read write",
		Outsider: &policy.Outsider{Person: id, Client: policy.Client{Kind: rule.KindExternal}, ClientID: "cli"},
		ID:       raw, IssuedAt: start.Unix(), Expires: start.Add(time.Hour).Unix(), Until: k.until, Withdrawn: &k.withdrawn,
	}
	k.told[raw+r.URI] = p
	return p, nil
}

func withRemote(tb testing.TB, k *remote) *fixture {
	tb.Helper()
	f := newFixture(tb, defaultHosts, nil)
	k.told = map[string]credential.Principal{}
	f.Credentials = append(f.Credentials, k)
	f.asking = make(asking, len(f.Credentials))
	return f
}

// A kind that asks is asked once, and again when it said so.
func TestKindThatAsks(t *testing.T) {
	k := &remote{until: start.Add(time.Minute).Unix()}
	f := withRemote(t, k)
	for range 3 {
		if status, identity := f.present(t, "list", "remote-jane"); status != 200 || identity[0] != "as.example:jane" {
			t.Fatal(status, identity, f.reasons)
		}
	}
	if k.asked != 1 || k.verified != 1 {
		t.Errorf("asked %d times, verified %d times; want once each", k.asked, k.verified)
	}
	f.now = start.Add(time.Minute)
	for range 2 {
		if status, _ := f.present(t, "list", "remote-jane"); status != 200 {
			t.Error(status)
		}
	}
	if k.asked != 1 || k.verified != 3 {
		t.Errorf("asked %d times, verified %d times; a credential past its time is verified for each request", k.asked, k.verified)
	}
	if n := strings.Count(f.audit.String(), `"event":"access.first_use"`); n != 1 {
		t.Errorf("%d entries of first use, want 1", n)
	}
}

// What a kind withdraws is refused with the next request, however long the cache
// would have kept it.
func TestWithdrawnCredential(t *testing.T) {
	k := &remote{}
	f := withRemote(t, k)
	if status, _ := f.present(t, "list", "remote-jane"); status != 200 {
		t.Fatal(status)
	}
	k.withdrawn.Store(true)
	if status, _ := f.present(t, "list", "remote-jane"); status != 401 || f.reasons[APIKeyRevoked] != 1 {
		t.Errorf("status %d, want 401: %v", status, f.reasons)
	}
}

// A credential that is good at one resource says nothing about another: the kind
// decides about each.
func TestCredentialForTwoResources(t *testing.T) {
	k := &remote{}
	f := withRemote(t, k)
	for _, uri := range []string{aMCP, "https://a.example/two", aMCP} {
		resp := f.ask(t, nginxRequest("POST", uri, append(call("list"), "Authorization", "Bearer remote-jane")...))
		if resp.StatusCode != 200 {
			t.Error(uri, resp.StatusCode)
		}
	}
	if k.asked != 2 {
		t.Errorf("asked %d times, want once for each resource", k.asked)
	}
}

// While all places for questions are taken, more are refused at once, without a
// word that would make a client sign in again, and known credentials pass.
func TestManyQuestionsDelayNothingElse(t *testing.T) {
	release, waiting := make(chan struct{}), make(chan struct{}, maxAsking)
	k := &remote{}
	f := withRemote(t, k)
	if status, _ := f.present(t, "list", "remote-jane"); status != 200 {
		t.Fatal(status)
	}
	k.answer = func(ctx context.Context, name string) error {
		waiting <- struct{}{}
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	var wg sync.WaitGroup
	for range maxAsking {
		wg.Go(func() { f.present(t, "list", "remote-slow") })
		<-waiting
	}
	began := time.Now()
	resp := f.ask(t, nginxRequest("POST", aMCP, append(call("list"), "Authorization", "Bearer remote-more")...))
	if resp.StatusCode != 503 || resp.Header.Get("WWW-Authenticate") != "" || f.reasons[TooManyWaiting] != 1 {
		t.Errorf("status %d, want 503: %v %v", resp.StatusCode, resp.Header, f.reasons)
	}
	own := f.token(t, aMCP, "read")
	for _, raw := range []string{"remote-jane", own} {
		if status, _ := f.present(t, "list", raw); status != 200 {
			t.Errorf("%s: %d", raw, status)
		}
	}
	if took := time.Since(began); took > askTime/2 {
		t.Errorf("that took %s", took)
	}
	close(release)
	wg.Wait()
	if status, _ := f.present(t, "list", "remote-late"); status != 200 {
		t.Errorf("after the answers came: %d, %v", status, f.reasons)
	}
}

// A question without an answer is no verdict on the credential.
func TestQuestionWithoutAnswer(t *testing.T) {
	k := &remote{answer: func(context.Context, string) error { return credential.Refused{Reason: reasons.VerifierUnavailable} }}
	f := withRemote(t, k)
	for _, dialect := range []Dialect{NGINX, Forwarded} {
		r := nginxRequest("POST", aMCP, append(call("list"), "Authorization", "Bearer remote-jane")...)
		if dialect == Forwarded {
			r = forwardedRequest("POST", aMCP, "", append(call("list"), "Authorization", "Bearer remote-jane")...)
		}
		resp := f.ask(t, r)
		if resp.StatusCode != 503 || resp.Header.Get("WWW-Authenticate") != "" {
			t.Errorf("%s: %d %v", dialect, resp.StatusCode, resp.Header)
		}
	}
	k.answer = func(context.Context, string) error { return credential.ErrUnknown }
	if status, _ := f.present(t, "list", "remote-jane"); status != 503 {
		t.Errorf("an asker that does not know either: status %d, want 503", status)
	}
	k.answer = func(context.Context, string) error { return credential.Refused{Reason: reasons.Allowed} }
	if status, _ := f.present(t, "list", "remote-jane"); status != 401 {
		t.Errorf("an error cannot allow: status %d, want 401", status)
	}
	if f.Remembered() != 0 {
		t.Errorf("%d remembered, want 0", f.Remembered())
	}
}

// The rules hold for people of other issuers by the same words.
func TestRulesHoldForOutsiders(t *testing.T) {
	f := newFixture(t, "a.example/mcp", nil)
	k := &remote{told: map[string]credential.Principal{}}
	r, _ := f.Resources.Host("a.example").Default()
	r.Policy = []rule.Rule{
		{Allow: true, Groups: []string{"staff"}, Scopes: []string{"read"}},
		{Allow: true, Users: []string{"as.example:root"}},
		{Users: []string{"as.example:joe"}},
	}
	f.Policy = policy.New(f.Resources.All(), []string{"oidc"}, func(string, string) ([]string, bool) { return nil, false })
	f.Credentials = append(f.Credentials, k)
	f.asking = make(asking, len(f.Credentials))
	for raw, want := range map[string][2]Reason{
		"remote-jane": {Allowed, NotAllowed}, "remote-root": {Allowed, Allowed}, "remote-joe": {NotAllowed, NotAllowed},
	} {
		for i, tool := range []string{"list", "put"} {
			before := f.reasons[want[i]]
			if f.present(t, tool, raw); f.reasons[want[i]] != before+1 {
				t.Errorf("%s calls %s: want %s, reasons %v", raw, tool, want[i], f.reasons)
			}
		}
	}
}

// BenchmarkDecideCachedOutsider is BenchmarkDecideCached for a credential of a kind
// that can withdraw it, and whose rules were matched here.
func BenchmarkDecideCachedOutsider(b *testing.B) {
	f, own := cached(b)
	k := &remote{told: map[string]credential.Principal{}, until: start.Add(time.Hour).Unix()}
	f.Credentials = append(f.Credentials, k)
	f.asking = make(asking, len(f.Credentials))
	raw := "remote-" + strings.Repeat("x", len(own.Header.Get("Authorization"))-len("Bearer remote-")) // as long as an own token
	r := nginxRequest("POST", aMCP, append(call("list"), "Authorization", "Bearer "+raw)...)
	f.ask(b, r)
	b.ReportAllocs()
	for b.Loop() {
		q := read(r)
		if d := f.Decide(b.Context(), &q); !d.Allowed() {
			b.Fatal(d.Reason)
		}
	}
}
