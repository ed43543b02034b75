package authorize_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/page"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// What an operator puts on the pages is on all of them, and they stay as closed
// as they were.
func TestBranding(t *testing.T) {
	t.Parallel()
	const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><path d="M0 0h8"/></svg>`
	s := servertest.Start(t, servertest.Options{
		Edit: func(f *config.File) {
			f.Branding = page.Brand{
				Name: "Example Corp", LogoFile: "logo.svg", AccentColor: "#ffdd00",
				SupportURL: "mailto:help@example.com", PrivacyURL: "https://example.com/privacy", TermsURL: "https://example.com/terms",
			}
		},
		Files: map[string]string{"logo.svg": svg},
	})
	c := s.NewClient(t, servertest.Host, nil)
	b := s.NewBrowser()
	consent := b.Consent(t, c.Begin().URL())
	login := b.Open(t, servertest.Issuer(servertest.Host)+b.Submit(t, consent, "decision", "allow").Location())
	refused := b.Open(t, c.Begin().With("redirect_uri", "https://evil.example/").URL())
	for name, p := range map[string]*servertest.Page{"consent": consent, "login": login, "refused": refused} {
		for _, want := range []string{
			"Example Corp", `src="data:image/svg&#43;xml;base64,PHN2`, "--fill: #ffdd00;", `href="mailto:help@example.com"`, `href="https://example.com/privacy"`, `href="https://example.com/terms"`,
		} {
			if !strings.Contains(p.Body, want) && !strings.Contains(p.Body, strings.ReplaceAll(want, "&#43;", "+")) {
				t.Errorf("%s lacks %s", name, want)
			}
		}
		if csp := p.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "img-src data:;") || strings.Contains(csp, "unsafe") {
			t.Errorf("AS-CONS-09 %s: %q", name, csp)
		}
	}
}

// An error page has a reference, which the audit log knows too.
func TestErrorPagesHaveAReference(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{})
	c := s.NewClient(t, servertest.Host, nil)
	b := s.NewBrowser()
	reference := regexp.MustCompile(`<code dir="ltr">([a-z2-7]{16})</code></span>`)
	for name, address := range map[string]string{
		"foreign redirect": c.Begin().With("redirect_uri", "https://evil.example/").URL(),
		"bad request":      c.Begin().With("response_type", "token").URL(),
		"bad callback":     servertest.Issuer(servertest.Host) + "/callback?state=x",
	} {
		p := b.Open(t, address)
		found := reference.FindStringSubmatch(p.Body)
		if p.Status < 400 || found == nil {
			t.Errorf("%s: %d without a reference: %s", name, p.Status, p.Text())
			continue
		}
		if !strings.Contains(s.Log.String(), found[1]) {
			t.Errorf("%s: the audit log does not know %s", name, found[1])
		}
	}
}

func TestPagesInTheBrowsersLanguage(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{})
	c := s.NewClient(t, servertest.Host, nil)
	for header, want := range map[string]string{"de-AT,de;q=0.9,en;q=0.8": "zugreifen?", "ar": `dir="rtl"`, "fr": "to use"} {
		req := servertest.Request(t, http.MethodGet, c.Begin().URL(), "", "Accept-Language", header)
		if a := s.Send(t, req); a.Status != 200 || !strings.Contains(a.Body, want) || a.Header.Get("Vary") != "Accept-Language" {
			t.Errorf("%s: %d %.300s", header, a.Status, a.Body)
		}
	}
}
