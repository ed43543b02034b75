package authorize_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	. "github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// A page that is opened again, late, or in another browser shows the reference under
// which the audit log has the sign-in.
func TestReferenceStays(t *testing.T) {
	t.Parallel()
	s, idp := Quick(t)
	idp.RefuseToken("invalid_client")
	c := s.NewClient(t, Host, nil)
	for name, tt := range map[string]struct {
		again  func(b *Browser, callback string) *Page
		reason string
	}{
		"reloaded": {func(b *Browser, callback string) *Page {
			b.Open(t, callback)
			return b.Open(t, callback)
		}, "used_twice"},
		"in another browser": {func(_ *Browser, callback string) *Page { return s.NewBrowser().Open(t, callback) }, "other_browser"},
		"too late": {func(b *Browser, callback string) *Page {
			s.Clock.Advance(11 * time.Minute)
			defer s.Clock.Advance(-11 * time.Minute)
			return b.Open(t, callback)
		}, "sign_in_expired"},
		"too late, and the cookie is gone": {func(_ *Browser, callback string) *Page {
			s.Clock.Advance(11 * time.Minute)
			defer s.Clock.Advance(-11 * time.Minute)
			return s.NewBrowser().Open(t, callback)
		}, "sign_in_expired"},
	} {
		b := s.NewBrowser()
		away := b.Open(t, c.Begin().URL())
		flow := s.Log.Last(audit.LoginStarted)["flow"]
		page := tt.again(b, Follow(t, b, away).Location())
		last := s.Log.Last(audit.LoginRefused)
		if page.Status != http.StatusForbidden || last["reason"] != tt.reason || flow == "" || last["flow"] != flow || !strings.Contains(page.Text(), flow) {
			t.Errorf("%s: %d, audit %v, the sign-in is %s and the page says: %s", name, page.Status, last, flow, page.Text())
		}
	}
}

// The same of the consent page.
func TestReferenceOfConsent(t *testing.T) {
	t.Parallel()
	s := Start(t, Options{})
	c := s.NewClient(t, Host, nil)
	for name, tt := range map[string]struct {
		answer func(b *Browser, page *Page) *Page
		reason string
	}{
		"no cookie comes back": {func(_ *Browser, page *Page) *Page { return s.NewBrowser().Submit(t, page, "decision", "allow") }, "other_browser"},
		"another browser": {func(_ *Browser, page *Page) *Page {
			other := s.NewBrowser()
			other.Consent(t, c.Begin().URL())
			return other.Submit(t, page, "decision", "allow")
		}, "foreign_consent"},
		"too late": {func(b *Browser, page *Page) *Page {
			s.Clock.Advance(31 * time.Minute)
			defer s.Clock.Advance(-31 * time.Minute)
			return b.Submit(t, page, "decision", "allow")
		}, "consent_expired"},
	} {
		b := s.NewBrowser()
		consent := b.Consent(t, c.Begin().URL())
		flow := s.Log.Last(audit.ConsentShown)["flow"]
		page := tt.answer(b, consent)
		last := s.Log.Last(audit.LoginRefused)
		if page.Status != http.StatusForbidden || last["reason"] != tt.reason || flow == "" || last["flow"] != flow || !strings.Contains(page.Text(), flow) {
			t.Errorf("%s: %d, audit %v, the sign-in is %s and the page says: %s", name, page.Status, last, flow, page.Text())
		}
	}
}
