package servertest

import (
	"net/http"
	"net/url"
	"regexp"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
)

// WithAccount turns on /account and personal keys at the first host. Its keys are
// random, because what a memory of one process forgets may outlive it otherwise.
func WithAccount(f *config.File) {
	f.Proxy.Hosts[0].Account, f.Proxy.Hosts[0].PersonalKeys.Enabled = true, true
	f.Keys.Source, f.Keys.SeedFiles = "", nil
}

// Account is a person who goes to /account of the default host, and signs in if need be.
func Account(t testing.TB, b *Browser) *Page {
	t.Helper()
	const account = "https://" + Host + "/account"
	page := b.Open(t, account)
	for range 8 {
		switch {
		case page.Location() != "":
			page = Follow(t, b, page)
		case page.Form != nil && page.Form.Values.Has("password"):
			page = b.Submit(t, page, "", "")
		default:
			if page.Status != http.StatusOK || page.URL.String() != account {
				t.Fatalf("%s: %d %s", page.URL, page.Status, page.Text())
			}
			CheckPage(t, page)
			return page
		}
	}
	t.Fatal("the sign-in does not end")
	return nil
}

var personalKey = regexp.MustCompile(`mfp_[A-Za-z0-9_-]+`)

// PersonalKey makes a key at /account for the default MCP server.
func PersonalKey(t testing.TB, b *Browser, scopes ...string) string {
	t.Helper()
	page := Account(t, b)
	made := b.Post(t, page.URL.String()+"/keys", url.Values{
		"form": {page.Form.Values.Get("form")}, "server": {Resource}, "name": {"nightly"}, "scope": scopes, "days": {"30"},
	})
	key := personalKey.FindString(made.Body)
	if made.Status != http.StatusOK || key == "" {
		t.Fatalf("no key: %d %s", made.Status, made.Text())
	}
	return key
}
