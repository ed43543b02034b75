package authorize_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// What a page says that a person comes back to is what became of the request.
func TestComingBack(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{})
	c := s.NewClient(t, servertest.Host, nil)
	says := func(t *testing.T, p *servertest.Page, want, not string) {
		t.Helper()
		if text := p.Text(); want != "" && !strings.Contains(text, want) || not != "" && strings.Contains(text, not) {
			t.Errorf("%s says %q", p.URL.Path, text)
		}
	}
	const signedIn, declined = "You have already signed in", "You declined this request"
	t.Run("after a sign-in", func(t *testing.T) {
		b, a := s.NewBrowser(), c.Begin()
		says(t, b.Consent(t, a.URL()), "", signedIn)
		login := servertest.Follow(t, b, b.Submit(t, b.Consent(t, a.URL()), "decision", "allow"))
		a.Accept(t, b.Walk(t, login, c.RedirectURI))
		says(t, b.Open(t, login.URL.String()), signedIn, "already done")
		again := b.Consent(t, a.URL())
		says(t, again, signedIn, declined)
		if len(again.Form.Offered) == 0 {
			t.Error("an app that shows its link twice cannot be answered")
		}
		says(t, b.Consent(t, c.Begin().URL()), "", signedIn)         // another request
		says(t, s.NewBrowser().Consent(t, a.URL()), "", signedIn)    // another browser
		a.Accept(t, b.Walk(t, b.Consent(t, a.URL()), c.RedirectURI)) // nothing keeps the person from answering again
	})
	t.Run("after declining", func(t *testing.T) {
		b, a := s.NewBrowser(), c.Begin()
		page := b.Consent(t, a.URL())
		b.Submit(t, page, "decision", "deny")
		says(t, b.Consent(t, a.URL()), declined, signedIn)
		twice := b.Submit(t, page, "decision", "allow") // the page from before, kept open
		if twice.Status != http.StatusForbidden {
			t.Errorf("a page that was answered is answered again: %d %s", twice.Status, twice.Location())
		}
		says(t, twice, declined, "")
	})
	t.Run("in the middle", func(t *testing.T) {
		b, a := s.NewBrowser(), c.Begin()
		login := servertest.Follow(t, b, b.Submit(t, b.Consent(t, a.URL()), "decision", "allow"))
		says(t, b.Consent(t, a.URL()), "", signedIn)
		a.Accept(t, b.Walk(t, login, c.RedirectURI))
	})
}

// The sign-in page and the page to choose a provider have a way back to the app.
func TestGivingUp(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{})
	c := s.NewClient(t, servertest.Host, nil)
	b, a := s.NewBrowser(), c.Begin()
	login := servertest.Follow(t, b, b.Submit(t, b.Consent(t, a.URL()), "decision", "allow"))
	if !strings.Contains(login.Body, `name="decision" value="deny"`) {
		t.Fatalf("the page has no way back: %s", login.Body)
	}
	back := b.Submit(t, login, "decision", "deny") // whatever is typed already
	to, err := url.Parse(back.Location())
	if err != nil || back.Status != http.StatusSeeOther || !strings.HasPrefix(back.Location(), c.RedirectURI+"?") {
		t.Fatalf("%d %s", back.Status, back.Location())
	}
	if q := to.Query(); q.Get("error") != "access_denied" || q.Get("state") != a.State() || q.Get("iss") != servertest.Issuer(servertest.Host) {
		t.Errorf("%v", q)
	}
	if again := b.Submit(t, login, "", ""); again.Status != http.StatusForbidden {
		t.Errorf("a sign-in that was given up goes on: status %d, want %v: %s", again.Status, http.StatusForbidden, again.Location())
	}
}

// The buttons that tick every box or none answer nothing.
func TestSelectAllAndNone(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{Edit: manyScopes})
	c := s.NewClient(t, servertest.Host, nil)
	b := s.NewBrowser()
	page := b.Consent(t, c.Begin().URL())
	none := b.Submit(t, page, "select", "none")
	if none.Status != http.StatusOK || len(none.Form.Values["scope"]) != 0 || len(none.Form.Offered) < 60 {
		t.Fatalf("none: status %d, %d of %d ticked; want %v, 0", none.Status, len(none.Form.Values["scope"]), len(none.Form.Offered), http.StatusOK)
	}
	all := b.Submit(t, none, "select", "all")
	if got := all.Form.Values["scope"]; !slices.Contains(got, "notes:delete") || len(got) < 50 {
		t.Errorf("all: %d ticked", len(got))
	}
	// What is beside a decision is of no account.
	form := url.Values{"request": all.Form.Values["request"], "decision": {"allow"}, "select": {"all"}, "scope": {"notes:read"}}
	login := servertest.Follow(t, b, b.Post(t, servertest.Issuer(servertest.Host)+"/consent", form))
	if login.Form == nil || !login.Form.Values.Has("password") {
		t.Fatalf("%d %s", login.Status, login.Text())
	}
}

// A single permission has no box: to allow it is to press the button.
func TestOnePermissionHasNoBox(t *testing.T) {
	t.Parallel()
	dead := httptest.NewServer(http.NotFoundHandler()) // its list is not known, so there is the one scope that stands in
	t.Cleanup(dead.Close)
	s := servertest.Start(t, servertest.Options{Edit: func(f *config.File) { f.Proxy.Hosts[0].Endpoint = dead.URL + "/mcp" }})
	c := s.NewClient(t, servertest.Host, nil)
	b, a := s.NewBrowser(), c.Begin()
	page := b.Consent(t, a.URL())
	if strings.Contains(page.Body, "checkbox") || len(page.Form.Offered) != 0 {
		t.Errorf("boxes: %v", page.Form.Offered)
	}
	if got := a.Exchange(t, a.Accept(t, b.Walk(t, page, c.RedirectURI))).String("scope"); got != "mcp" {
		t.Errorf("granted %q, want %q", got, "mcp")
	}
	for _, forged := range []url.Values{{"scope": {"admin"}}, {}} {
		form := url.Values{"request": b.Consent(t, c.Begin().URL()).Form.Values["request"], "decision": {"allow"}, "scope": forged["scope"]}
		if p := b.Post(t, servertest.Issuer(servertest.Host)+"/consent", form); p.Status != http.StatusOK {
			t.Errorf("%v: %d %s", forged, p.Status, p.Location())
		}
	}
}
