package refusal

import (
	"strconv"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
)

func TestMemory(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	m := New(func() time.Time { return now })
	m.Note("https://a.example/mcp", "client", "static:jane", oauth.Scopes{"write"})
	m.Note("https://a.example/mcp", "client", "static:jane", oauth.Scopes{"delete"})
	if got := m.Recent("https://a.example/mcp", "client", Person("static:jane")).String(); got != "delete write" {
		t.Errorf("remembered %q", got)
	}
	for name, got := range map[string]oauth.Scopes{
		"another person":   m.Recent("https://a.example/mcp", "client", Person("static:joe")),
		"nobody":           m.Recent("https://a.example/mcp", "client", ""),
		"another client":   m.Recent("https://a.example/mcp", "other", Person("static:jane")),
		"another resource": m.Recent("https://a.example/wiki", "client", Person("static:jane")),
		"no memory":        (*Memory)(nil).Recent("https://a.example/mcp", "client", Person("static:jane")),
	} {
		if len(got) > 0 {
			t.Errorf("%s is told %q", name, got)
		}
	}
	for i := range 2 * mostOf {
		m.Note("https://a.example/mcp", "client", "static:jane", oauth.Scopes{"s" + strconv.Itoa(i)})
	}
	if got := m.Recent("https://a.example/mcp", "client", Person("static:jane")); len(got) != mostOf || got[0] != "s31" {
		t.Errorf("%q", got)
	}
	for i := range 2 * most {
		m.Note("https://a.example/mcp", "client", strconv.Itoa(i), oauth.Scopes{"write"})
	}
	if got := m.Recent("https://a.example/mcp", "client", Person(strconv.Itoa(2*most-1))); len(got) != 1 {
		t.Errorf("the newest is forgotten where all is full: %q", got)
	}
	if now = now.Add(lifetime + time.Second); len(m.Recent("https://a.example/mcp", "client", Person(strconv.Itoa(2*most-1)))) > 0 {
		t.Error("it does not forget")
	}
}
