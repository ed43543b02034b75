package forwardauth

import (
	"context"
	"sync"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// unread makes the list of f's MCP server unknown, as after a start. The
// function it returns makes it known.
func (f *fixture) unread() (read func()) {
	var mu sync.Mutex
	known := fixed{}
	f.Endpoint.Scopes = func(*resource.Resource) Scopes {
		mu.Lock()
		defer mu.Unlock()
		return &known
	}
	return func() {
		mu.Lock()
		defer mu.Unlock()
		known = f.scopes
	}
}

func (f *fixture) learnBy(learn func(context.Context) bool) {
	f.Endpoint.Learn = func(ctx context.Context, _ *resource.Resource) bool { return learn(ctx) }
}

// A call that comes before the MCP server has been read waits for that, and is
// then decided as every other.
func TestLearn(t *testing.T) {
	for _, tt := range []struct {
		name, tool string
		read       bool // the server can be read
		want       Reason
		asked      int
	}{
		{"a tool of the token", "list", true, Allowed, 1},
		{"a tool of another scope", "put", true, InsufficientScope, 1},
		{"a server that does not answer", "list", false, CatalogueUnavailable, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, "a.example/mcp", nil)
			read, asked := f.unread(), 0
			f.learnBy(func(context.Context) bool {
				if asked++; tt.read {
					read()
				}
				return tt.read
			})
			f.present(t, tt.tool, f.token(t, aMCP, "read"))
			if f.reasons[tt.want] != 1 || asked != tt.asked {
				t.Errorf("%v, asked %d times", f.reasons, asked)
			}
		})
	}
}

// What needs no list does not wait for one: other methods, a policy that only
// advises, and a request without a good token.
func TestNothingToLearn(t *testing.T) {
	f := newFixture(t, "a.example/mcp b.example/mcp", func(uri string, r *rule.Rules) {
		if uri == "https://b.example/mcp" {
			r.ToolPolicy = rule.Advisory
		}
	})
	f.unread()
	f.learnBy(func(context.Context) bool {
		t.Error("waits")
		return false
	})
	for _, uri := range []string{aMCP, "https://b.example/mcp"} {
		headers := []string{"Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/list", "Authorization", "Bearer " + f.token(t, uri, "read")}
		if resp := f.ask(t, nginxRequest("POST", uri, headers...)); resp.StatusCode != 200 {
			t.Errorf("tools/list at %s: %d", uri, resp.StatusCode)
		}
	}
	if resp := f.ask(t, nginxRequest("POST", "https://b.example/mcp", append(call("put"), "Authorization", "Bearer "+f.token(t, "https://b.example/mcp", "read"))...)); resp.StatusCode != 200 {
		t.Errorf("advisory: status %d, want 200", resp.StatusCode)
	}
	f.present(t, "list", "not-a-token")
}

// Requests that wait are bounded; one too many is refused at once, and places are free again afterwards.
func TestFewWaitToLearn(t *testing.T) {
	f := newFixture(t, "a.example/mcp", nil)
	read := f.unread()
	release, waiting := make(chan struct{}), make(chan struct{}, maxAsking)
	f.learnBy(func(context.Context) bool {
		waiting <- struct{}{}
		<-release
		return true
	})
	raw := f.token(t, aMCP, "read")
	var wg sync.WaitGroup
	for range maxAsking {
		wg.Go(func() { f.present(t, "list", raw) })
		<-waiting
	}
	if f.present(t, "list", raw); f.reasons[CatalogueUnavailable] != 1 {
		t.Errorf("one too many: %v", f.reasons)
	}
	read()
	close(release)
	wg.Wait()
	if f.present(t, "list", raw); f.reasons[Allowed] != maxAsking+1 || f.learning.Load() != 0 {
		t.Errorf("%v, %d still wait", f.reasons, f.learning.Load())
	}
}

// A list that is filtered waits as well, because an empty one looks like an answer.
func TestListWaits(t *testing.T) {
	w := &world{fixture: newFixture(t, "a.example/mcp", func(_ string, r *rule.Rules) { r.Body = true })}
	w.raw = w.token(t, worldURI, "read")
	read, asked := w.unread(), 0
	w.learnBy(func(context.Context) bool {
		asked++
		read()
		return true
	})
	d := Decision{Resource: w.Resources.All()[0], asked: []operation{{method: toolsList}}}
	q := &Request{Headers: Headers{Authorization: []string{"Bearer " + w.raw}}}
	if reason := w.find(t.Context(), w.raw, &d); reason != Allowed {
		t.Fatal(reason)
	}
	if w.View(&d).Shows(toolsCall, "list") {
		t.Fatal("a list that was not read shows a tool: this test proves nothing")
	}
	if reason := w.readList(t.Context(), q, &d); reason != Allowed || asked != 1 || !w.View(&d).Shows(toolsCall, "list") {
		t.Errorf("%s, asked %d times; want %v, 1", reason, asked, Allowed)
	}
}
