package authorize_test

import (
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// A client that comes back for more is shown what is new, and everybody else
// the page as it always is.
func TestConsentMarksWhatIsNew(t *testing.T) {
	t.Parallel()
	const stepUp, isNew = "to do more on", `class="badge new"`
	s := servertest.Start(t, servertest.Options{})
	b := s.NewBrowser()
	client := s.NewClient(t, servertest.Host, nil)
	page := func(c *servertest.Client, scope string) string {
		c.Scope = scope
		return b.Consent(t, c.Begin().URL()).Body
	}
	first := page(client, "notes:read")
	if strings.Contains(first, isNew) || strings.Contains(first, stepUp) {
		t.Error("the first page speaks of a step-up")
	}
	client.Scope = "notes:read"
	client.AccessToken(t, b)

	again := page(client, "notes:read")
	if strings.Contains(again, isNew) {
		t.Error("nothing is new, and a scope is marked")
	}
	more := page(client, "notes:read notes:write")
	if strings.Count(more, isNew) != 1 || !strings.Contains(more[strings.Index(more, "notes:write"):], isNew) {
		t.Errorf("one scope is new: %s", more)
	}
	stranger := s.NewClient(t, servertest.Host, nil)
	if strings.Contains(page(stranger, "notes:read notes:write"), isNew) {
		t.Error("AS-CONS-03: another client profits from what this one was granted")
	}
	elsewhere := s.NewBrowser()
	client.Scope = "notes:read notes:write"
	if strings.Contains(elsewhere.Consent(t, client.Begin().URL()).Body, isNew) {
		t.Error("another browser knows what was granted in this one")
	}
}
