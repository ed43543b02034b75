package authorize_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// A person with the wrong account reads which one it was, with the reference and the way
// back, and can sign in with another without agreeing again.
func TestAnotherAccount(t *testing.T) {
	t.Parallel()
	oidc := oauthtest.NewOIDCProvider(t)
	wrong, right := servertest.Person, servertest.Person
	wrong.Email, wrong.Subject = "ada@private.example", "ada-at-home"
	s := servertest.Start(t, servertest.Options{
		Edit: servertest.Edits(servertest.UseOIDC(oidc), func(f *config.File) {
			f.Provider.AllowedEmailDomains = []string{strings.ReplaceAll(emailDomain(right.Email), ".", `\.`)}
		}),
		Files: servertest.ProviderFiles,
	})
	c := s.NewClient(t, servertest.Host, nil)
	b, a := s.NewBrowser(), c.Begin()
	oidc.SignInAs(wrong)
	refused := servertest.Follow(t, b, servertest.Follow(t, b, b.Submit(t, b.Consent(t, a.URL()), "decision", "allow")))
	flow := s.Log.Last(audit.LoginRefused)["flow"]
	if text := refused.Text(); refused.Status != http.StatusForbidden || !strings.Contains(text, "ada@private.example") || !strings.Contains(text, flow) || flow == "" {
		t.Fatalf("status %d, want %v: %s", refused.Status, http.StatusForbidden, text)
	}
	servertest.CheckPage(t, refused)
	if len(refused.Links) != 1 || !strings.HasPrefix(refused.Links[0], c.RedirectURI+"?") {
		t.Fatalf("links %q", refused.Links)
	}
	to, _ := url.Parse(refused.Links[0])
	if q := to.Query(); q.Get("error") != "access_denied" || q.Get("state") != a.State() || !strings.Contains(q.Get("error_description"), flow) {
		t.Errorf("the app is told %v", q)
	}
	oidc.SignInAs(right)
	again := b.Submit(t, refused, "", "")
	at, err := url.Parse(again.Location())
	if err != nil || again.Status != http.StatusSeeOther {
		t.Fatalf("status %d, want %v: %s", again.Status, http.StatusSeeOther, again.Text())
	}
	if p := at.Query().Get("prompt"); p != "select_account" && p != "login" {
		t.Errorf("the provider is not told to let the person choose: prompt %q", p)
	}
	if answer := a.Exchange(t, a.Accept(t, b.Walk(t, again, c.RedirectURI))); answer.Status != http.StatusOK {
		t.Errorf("status %d, want %v: %s", answer.Status, http.StatusOK, answer.Body)
	}
	if p := s.NewBrowser().Submit(t, refused, "", ""); p.Status != http.StatusForbidden {
		t.Errorf("in another browser: status %d, want %v: %s", p.Status, http.StatusForbidden, p.Location())
	}
}

func emailDomain(email string) string {
	_, domain, _ := strings.Cut(email, "@")
	return domain
}
