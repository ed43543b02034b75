package config

import (
	"fmt"
	"strings"
	"testing"
)

func TestProviders(t *testing.T) {
	const (
		corp   = "{id: corp, name: oidc, issuerURL: 'https://idp.example.com/', clientID: id, clientSecret: " + marker + "}"
		google = "{id: google, name: google, clientID: id, clientSecret: " + marker + ", allowedEmailDomains: ['example\\.com']}"
		guests = "{id: guests, name: static, users: [{username: jane, passwordHash: '" + hash10 + "'}]}"
	)
	list := func(entries ...string) string { return "providers: [" + strings.Join(entries, ", ") + "]\n" + proxy }
	edit := func(entry, old, new string) string { return strings.Replace(entry, old, new, 1) }

	t.Run("several", func(t *testing.T) {
		c := mustParse(t, list(google, edit(corp, "name:", "keepSubjects: true, displayName: Example Corp, name:"), guests))
		got := ""
		for _, p := range c.Providers {
			got += fmt.Sprintf("%s %s %q %v\n", p.ID, p.Name, p.DisplayName, p.KeepSubjects)
		}
		if want := "google google \"Google\" false\ncorp oidc \"Example Corp\" true\nguests static \"\" false\n"; got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
		summary := c.Summary()
		for _, line := range []string{"google: google, client \"id\"", "corp: every account of the identity provider", "google: https://mcp.example.com/callback/google\n", "corp: https://mcp.example.com/callback/corp\n", "guests: static, 1 user(s)"} {
			if !strings.Contains(summary, line) {
				t.Errorf("the summary lacks %q:\n%s", line, summary)
			}
		}
	})
	t.Run("a provider section that says nothing", func(t *testing.T) { // as the chart's defaults make it
		mustParse(t, list(corp)+"provider: {name: '', clientID: '', allowedEmailDomains: [], allowAnyUser: false, authorizationParams: {}}\n")
	})
	t.Run("the only provider has no id", func(t *testing.T) {
		if p := mustParse(t, minimal).Providers; len(p) != 1 || p[0].ID != "" || p[0].KeepSubjects {
			t.Errorf("got %+v", p)
		}
	})
	for name, tt := range map[string]struct {
		text string
		want []string
	}{
		"both forms":           {list(corp) + accounts, []string{"providers: excludes provider"}},
		"neither":              {proxy, []string{"provider.name: is required"}},
		"an id for one":        {"provider: " + corp + "\n" + proxy, []string{"provider.id: is for entries of providers"}},
		"keepSubjects for one": {"provider: " + edit(corp, "id: corp,", "keepSubjects: true,") + "\n" + proxy, []string{"provider.keepSubjects: is for entries of providers"}},
		"no id":                {list(edit(corp, "id: corp, ", ""), google), []string{"providers[0].id: is required"}},
		"the same id":          {list(corp, edit(google, "id: google", "id: corp")), []string{`providers[1].id: "corp" is the id of providers[0] too`}},
		"capitals":             {list(edit(corp, "id: corp", "id: Corp")), []string{"providers[0].id: is not an id"}},
		"colon":                {list(edit(corp, "id: corp", "id: 'a:b'")), []string{"providers[0].id: is not an id"}},
		"slash":                {list(edit(corp, "id: corp", "id: a/b")), []string{"providers[0].id: is not an id"}},
		"dots":                 {list(edit(corp, "id: corp", "id: ..")), []string{"providers[0].id: is not an id"}},
		"hyphen at the end":    {list(edit(corp, "id: corp", "id: corp-")), []string{"providers[0].id: is not an id"}},
		"too long":             {list(edit(corp, "id: corp", "id: "+strings.Repeat("a", 33))), []string{"providers[0].id: is not an id"}},
		"the same name": {list(google, edit(google, "id: google", "id: google2")),
			[]string{"providers[1].displayName: people could not tell it from providers[0]"}},
		"two of our own without a name": {list(guests, edit(guests, "id: guests", "id: staff")),
			[]string{"providers[1].displayName: people could not tell it from providers[0]"}},
		"two keep their subjects": {list(edit(corp, "name:", "keepSubjects: true, name:"), edit(google, "name:", "keepSubjects: true, name:")),
			[]string{"providers[1].keepSubjects: is set in providers[0] too"}},
		"an id that is a kind, beside one that keeps its subjects": {list(edit(google, "id: google", "keepSubjects: true, id: old"), edit(corp, "id: corp", "id: google")),
			[]string{`providers[1].id: "google" is how the subjects of providers[0] begin`}},
		"an id that is a host, beside one that keeps its subjects": {list(edit(edit(corp, "idp.example.com", "dex:5556"), "name:", "keepSubjects: true, name:"), edit(google, "id: google", "id: dex")),
			[]string{`providers[1].id: "dex" is how the subjects of providers[0] begin`}},
		"mistakes of each, with its path": {list(edit(corp, "issuerURL", "tenants: [x], baseURL"), edit(google, "allowedEmailDomains: ['example\\.com']", "scopes: [email]")), []string{
			"providers[0].baseURL: has no meaning for provider \"oidc\"",
			"providers[0].tenants: has no meaning for provider \"oidc\"",
			"providers[0].issuerURL: is required for \"oidc\"",
			"providers[1].scopes: must include \"openid\"",
			"providers[1].allowedEmailDomains: or providers[1].hostedDomains is; to admit everyone, set providers[1].allowAnyUser: true",
		}},
		"a user twice": {list(edit(guests, "}]}", "}, {username: jane, passwordHash: '"+hash10+"'}]}")),
			[]string{`providers[0].users[1].username: "jane" is the name of providers[0].users[0] too`}},
		"not a list": {"providers: {id: x}\n" + proxy, []string{"providers: must be a list, not a mapping"}},
		"too many":   {list(strings.Split(strings.Repeat("{};", 20)+"{}", ";")...), []string{"providers: has 21 entries; at most 20"}},
	} {
		t.Run(name, func(t *testing.T) { refused(t, tt.text, tt.want...) })
	}
}

func TestCallbackHost(t *testing.T) {
	config := func(callback, hosts string) string {
		return oidc + "proxy: {callbackHost: '" + callback + "', hosts: [" + hosts + "]}\n"
	}
	const public, local = "{host: mcp.example.com, endpoint: 'http://mcp/'}", "{host: '127.0.0.1:8443', scheme: http, endpoint: 'http://mcp/'}"
	for name, tt := range map[string]struct{ callback, hosts, want string }{
		"of its own":                {"login.example.com", public, "https://login.example.com"},
		"the default port":          {"login.example.com:443", public, "https://login.example.com"},
		"another port":              {"login.example.com:8443", public, "https://login.example.com:8443"},
		"one of the hosts":          {"mcp.example.com", public, "https://mcp.example.com"},
		"none":                      {"", public, "://"},
		"loopback":                  {"localhost:8080", local, "http://localhost:8080"},
		"a name beside loopback":    {"login.example.com", local, "https://login.example.com"},
		"loopback beside the world": {"localhost:8080", public + "," + local, "https://localhost:8080"},
	} {
		t.Run(name, func(t *testing.T) {
			if c := mustParse(t, config(tt.callback, tt.hosts)).CallbackHost; c.Scheme+"://"+c.Host != tt.want {
				t.Errorf("got %+v", c)
			}
		})
	}
	refused(t, config("https://login.example.com", public), "proxy.callbackHost: is a URL; write the host alone")
	refused(t, config("login.example.com/callback", public), "proxy.callbackHost: has more than a host")
	refused(t, config("*.example.com", public), "proxy.callbackHost: has a wildcard")
	refused(t, config("Login.example.com", public), "proxy.callbackHost: must be in lower case")
	refused(t, config("127.0.0.1:8443", local+","+public), `proxy.callbackHost: is proxy.hosts[0], whose scheme is "http"`)
	if s := mustParse(t, config("login.example.com", public)).Summary(); !strings.Contains(s, " https://login.example.com/callback\n") {
		t.Errorf("the summary does not say it:\n%s", s)
	}
}
