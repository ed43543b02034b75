package page

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func english(b Brand) *Renderer { return newRenderer(b, locales["en"]) }

// rtl is the English catalogue in a right-to-left frame, with marks that show
// whether any text on a page did not come from the catalogue.
func rtl() locale {
	l := locale{Lang: "en", Dir: "rtl", Messages: maps.Clone(locales["en"].Messages)}
	for id, m := range l.Messages {
		l.Messages[id] = "\u200f" + m + " ⟩"
	}
	return l
}

func fewScopes() Consent {
	return Consent{
		Action: "/consent", Sealed: "sealed-value", ClientName: "Claude Code", ClientHost: "claude.ai",
		RedirectURI: "https://claude.ai/api/mcp/auth_callback", RedirectHost: "claude.ai",
		ServerName: "Team Wiki", ServerURL: "https://wiki.mcp.example.com/mcp", ProviderName: "Google", FlowID: "9f2c-41ab",
		Scopes: []ConsentScope{
			{Name: "pages:read", Description: "Read pages and search the wiki", Checked: true, Tools: []ConsentTool{
				{Name: "search_pages", Title: "Search pages", Description: "Full-text search over all spaces you can see.", ReadOnly: true},
				{Name: "get_page", Description: "Returns one page as Markdown.", ReadOnly: true},
			}},
			{Name: "pages:write", Description: "Create and change pages in your spaces", Checked: true, Tools: []ConsentTool{
				{Name: "create_page", Title: "Create a page"},
				{Name: "update_page", Title: "Update a page", Description: "Replaces the page's content. Older versions stay in the history."},
				{Name: "delete_page", Title: "Delete a page", Description: "Moves a page and everything below it to the bin.", Destructive: true},
			}},
			{Name: "admin", Description: "Manage spaces, members and settings", Broad: true, Tools: []ConsentTool{{Name: "set_member"}}},
		},
	}
}

func loopback() Consent {
	v := fewScopes()
	v.ClientHost, v.LoopbackOnly = "", true
	v.RedirectURI, v.RedirectHost = "http://127.0.0.1:53682/callback", "127.0.0.1:53682"
	return v
}

func manyScopes(ticked bool) Consent {
	v := fewScopes()
	v.Scopes = nil
	for i := range 200 {
		s := ConsentScope{Name: fmt.Sprintf("area-%03d:use", i), Description: fmt.Sprintf("Use area %d of the warehouse", i), Checked: ticked || i < 4}
		for j := range 2 + i%2 {
			s.Tools = append(s.Tools, ConsentTool{Name: fmt.Sprintf("tool_%d_%d", i, j), ReadOnly: j == 0, Destructive: j == 2, Description: "Does one thing."})
		}
		v.Scopes = append(v.Scopes, s)
	}
	return v
}

// sixtyScopes are as many as some servers have, of every risk.
func sixtyScopes() Consent {
	v := manyScopes(true)
	v.Scopes = v.Scopes[:60]
	for i := range v.Scopes {
		for j := range v.Scopes[i].Tools {
			t := &v.Scopes[i].Tools[j]
			t.ReadOnly, t.Destructive = i%3 == 0, i%3 == 1 && j == 0
		}
	}
	return v
}

func oneScope() Consent {
	v := fewScopes()
	v.Scopes = v.Scopes[1:2]
	return v
}

var gallery = map[string]func(r *Renderer, w http.ResponseWriter){
	"consent-few":      func(r *Renderer, w http.ResponseWriter) { r.Consent(w, 200, fewScopes()) },
	"consent-loopback": func(r *Renderer, w http.ResponseWriter) { r.Consent(w, 200, loopback()) },
	"consent-many":     func(r *Renderer, w http.ResponseWriter) { r.Consent(w, 200, manyScopes(false)) },
	"consent-all":      func(r *Renderer, w http.ResponseWriter) { r.Consent(w, 200, manyScopes(true)) },
	"consent-unavailable": func(r *Renderer, w http.ResponseWriter) {
		v := loopback()
		v.CatalogueUnavailable = true
		v.Scopes = []ConsentScope{{Name: "mcp", Checked: true}}
		r.Consent(w, 200, v)
	},
	"consent-none": func(r *Renderer, w http.ResponseWriter) {
		v := fewScopes()
		v.ClientName, v.ClientHost, v.ServerName, v.Scopes, v.ProviderName = "", "", "", nil, ""
		v.RedirectURI, v.RedirectHost = "com.example.desktop:/oauth/return", "com.example.desktop:"
		r.Consent(w, 200, v)
	},
	"consent-everything": func(r *Renderer, w http.ResponseWriter) {
		v := loopback()
		tools := slices.Concat(v.Scopes[0].Tools, v.Scopes[1].Tools)
		v.Scopes = []ConsentScope{{Name: "mcp", Checked: true, Everything: true, Broad: true, Tools: tools}}
		r.Consent(w, 200, v)
	},
	"consent-100-tools": func(r *Renderer, w http.ResponseWriter) {
		v := fewScopes()
		v.Scopes = v.Scopes[:2]
		for i := range 100 {
			t := ConsentTool{Name: fmt.Sprintf("warehouse_query_%03d", i), Description: "Reads rows of one table of the warehouse.", ReadOnly: i%3 == 0, Destructive: i%10 == 1}
			if i%2 == 0 {
				t.Title = fmt.Sprintf("Query number %d", i)
			}
			v.Scopes[1].Tools = append(v.Scopes[1].Tools, t)
		}
		r.Consent(w, 200, v)
	},
	"consent-hostile": func(r *Renderer, w http.ResponseWriter) {
		v := loopback()
		v.ClientName = "\u202eedoC edualC\u2066\u200b" + strings.Repeat("\u0301", 40) + "\r\nAllow <b>everything</b> &amp; שלום مرحبا"
		v.ServerName = "Team\u202e ikiW\u202c (verified ✓)"
		v.RedirectURI, v.RedirectHost, v.LoopbackOnly = "https://cl\u0430ude.ai/\u202egnp.exe", "cl\u0430ude.ai", false
		v.Scopes[0].Description = "Read only\u202e.gnihtyreve eteled dna"
		v.Scopes[1].Tools[0].Title = "\u2067Harmless\u2069 \u202dtool"
		r.Consent(w, 200, v)
	},
	"consent-stepup": func(r *Renderer, w http.ResponseWriter) {
		v := fewScopes()
		v.NewOnly = true
		v.Scopes[1].New = true
		r.Consent(w, 200, v)
	},
	"consent-changed": func(r *Renderer, w http.ResponseWriter) {
		v := fewScopes()
		v.NewOnly = true
		v.Scopes[1].Changed = true
		for i := range v.Scopes[1].Tools {
			v.Scopes[1].Tools[i].Changed = i == 0
		}
		r.Consent(w, 200, v)
	},
	"consent-changed-and-new": func(r *Renderer, w http.ResponseWriter) {
		v := fewScopes()
		v.NewOnly = true
		v.Scopes[0].Changed, v.Scopes[1].New = true, true
		r.Consent(w, 200, v)
	},
	"consent-notice": func(r *Renderer, w http.ResponseWriter) {
		v := fewScopes()
		v.Notice = NothingChosen
		for i := range v.Scopes {
			v.Scopes[i].Checked = false
		}
		r.Consent(w, 400, v)
	},
	"consent-long": func(r *Renderer, w http.ResponseWriter) {
		v := loopback()
		v.ClientName = strings.Repeat("Donaudampfschifffahrtsgesellschaft", 8)
		v.ServerName = "Die Datenbank der Donaudampfschifffahrtsgesellschaft zu Wien"
		v.RedirectURI = "https://claude.ai.login.very-long-host-name-that-hides-its-end.evil.example/" + strings.Repeat("callback/", 40) + "?x=<b>&y=\u202e"
		v.RedirectHost, v.LoopbackOnly = "claude.ai.login.very-long-host-name-that-hides-its-end.evil.example", false
		v.Scopes[0].Description = strings.Repeat("A long description. ", 40)
		v.Scopes[1].Name = strings.Repeat("very_long_scope_name", 8)
		r.Consent(w, 200, v)
	},
	"consent-more": func(r *Renderer, w http.ResponseWriter) {
		v := fewScopes()
		v.More, v.Scopes = []ConsentScope{{Name: "pages:delete", Description: "Delete pages", Needed: true, Tools: []ConsentTool{{Name: "delete_page", Destructive: true}}}, {Name: "audit:read", Description: "Read the audit log"}, {Name: "users:read"}}, v.Scopes[:1]
		v.Held = HeldRecent
		r.Consent(w, 200, v)
	},
	"consent-acts": func(r *Renderer, w http.ResponseWriter) {
		v := fewScopes()
		v.ActsAs, v.ActsAt = true, "Google"
		v.ActsWith = []string{"https://www.googleapis.com/auth/drive.readonly", "https://www.googleapis.com/auth/calendar.events"}
		r.Consent(w, 200, v)
	},
	"consent-acts-here": func(r *Renderer, w http.ResponseWriter) {
		v := fewScopes()
		v.Calls = []Call{{Server: "Warehouse", Scopes: []string{"stock:read", "stock:write"}}, {Server: strings.Repeat("Donaudampfschifffahrtsgesellschaft", 2), Scopes: []string{"x"}}}
		r.Consent(w, 200, v)
	},
	"consent-withheld": func(r *Renderer, w http.ResponseWriter) {
		v := fewScopes()
		v.Withheld, v.WithheldBefore = []string{"admin:all", strings.Repeat("very_long_scope_name", 8)}, []string{"pages:delete"}
		r.Consent(w, 200, v)
	},
	"login-to-client": func(r *Renderer, w http.ResponseWriter) {
		r.Login(w, 200, Login{Action: "/login", Sealed: "s", ClientName: "Claude Code", FlowID: "9f2c-41ab"})
	},
	"account-nothing": func(r *Renderer, w http.ResponseWriter) {
		v := fullAccount()
		v.Apps, v.Keys, v.Browsers = nil, nil, nil
		r.Account(w, v)
	},
	"consent-acts-somewhere": func(r *Renderer, w http.ResponseWriter) {
		v := fewScopes()
		v.ActsAs = true
		r.Consent(w, 200, v)
	},
	"consent-advisory": func(r *Renderer, w http.ResponseWriter) {
		v := fewScopes()
		v.Held, v.CatalogueUnavailable = HeldNone, true
		r.Consent(w, 200, v)
	},
	"choose": func(r *Renderer, w http.ResponseWriter) {
		r.Choose(w, Choose{Action: "/login", State: "s", ServerName: "Team Wiki", ClientName: "Claude Code", FlowID: "9f2c-41ab",
			Providers: []ChooseProvider{{ID: "google", Name: "Google"}, {ID: "github", Name: "GitHub"}, {ID: "guests"}}})
	},
	"choose-last": func(r *Renderer, w http.ResponseWriter) {
		r.Choose(w, Choose{Action: "/login", State: "s", ServerName: "Team Wiki", FlowID: "9f2c-41ab",
			Providers: []ChooseProvider{{ID: "google", Name: "Google"}, {ID: "corp", Name: "Example Corp single sign-on", Last: true}}})
	},
	"login-chooser": func(r *Renderer, w http.ResponseWriter) {
		r.Login(w, 200, Login{Action: "/login", State: "s", Others: true, ServerName: "Team Wiki", FlowID: "9f2c-41ab"})
	},
	"login": func(r *Renderer, w http.ResponseWriter) {
		r.Login(w, 200, Login{Action: "/login", Sealed: "s", ServerName: "Team Wiki", ClientName: "Claude Code", FlowID: "9f2c-41ab"})
	},
	"account": func(r *Renderer, w http.ResponseWriter) { r.Account(w, fullAccount()) },
	"account-empty": func(r *Renderer, w http.ResponseWriter) {
		r.Account(w, Account{Form: "f", EndAction: "https://wiki.mcp.example.com/account/end", KeyAction: "https://wiki.mcp.example.com/account/keys", SignOut: "https://wiki.mcp.example.com/account/sign-out", Subject: "corp:accounts.example.com:1234", Complete: true,
			Browsers: fullAccount().Browsers[:1]})
	},
	"account-memory": func(r *Renderer, w http.ResponseWriter) {
		v := fullAccount()
		v.Complete, v.Forgotten, v.Notice = false, true, AccountEnded
		v.KeyServers[0].Unavailable = true
		v.KeyServers[1].Scopes = nil
		r.Account(w, v)
	},
	"account-key": func(r *Renderer, w http.ResponseWriter) {
		v := fullAccount()
		v.NewKey = "mfp_" + strings.Repeat("AbC-_9", 120)
		r.Account(w, v)
	},
	"account-hostile": func(r *Renderer, w http.ResponseWriter) {
		v := fullAccount()
		v.Email = "\u202emoc.elpmaxe@\u2066enaj"
		v.Apps[0].Name = strings.Repeat("Donaudampfschifffahrtsgesellschaft", 4)
		v.Apps[1].Name, v.Apps[1].Server = "\u202eedoC <b>edualC</b>", strings.Repeat("\u0301", 40)+"שלום"
		v.Apps[0].Scopes = []string{strings.Repeat("very_long_scope_name", 8), "a\u202eb"}
		r.Account(w, v)
	},
	"sign-out": func(r *Renderer, w http.ResponseWriter) {
		r.SignOut(w, SignOut{Action: "https://wiki.mcp.example.com/account/sign-out", Form: "f", Host: "wiki.mcp.example.com"})
	},
	"sign-out-provider": func(r *Renderer, w http.ResponseWriter) {
		r.SignOut(w, SignOut{Action: "https://wiki.mcp.example.com/account/sign-out", Form: "f", Host: "wiki.mcp.example.com", Provider: "Example Corp single sign-on"})
	},
	"signed-out": func(r *Renderer, w http.ResponseWriter) {
		r.SignedOut(w, SignedOut{Host: "wiki.mcp.example.com", Again: "https://wiki.mcp.example.com/account/sign-in"})
	},
	"device": func(r *Renderer, w http.ResponseWriter) { r.Device(w, 200, Device{Action: "/device"}) },
	"device-unknown": func(r *Renderer, w http.ResponseWriter) {
		r.Device(w, 400, Device{Action: "/device", Code: "BCDF-GHJX", Problem: DeviceUnknown})
	},
	"device-throttled": func(r *Renderer, w http.ResponseWriter) {
		r.Device(w, 429, Device{Action: "/device", Problem: DeviceThrottled})
	},
	"consent-device": func(r *Renderer, w http.ResponseWriter) {
		v := fewScopes()
		v.ClientHost, v.RedirectURI, v.RedirectHost, v.UserCode = "", "", "", "BCDF-GHJK"
		r.Consent(w, 200, v)
	},
	"error-page-again": func(r *Renderer, w http.ResponseWriter) {
		r.Error(w, Error{Status: 403, Problem: ConsentExpired, FlowID: "9f2c-41ab", Retry: "https://wiki.mcp.example.com/account/sign-in"})
	},
	"error-page-account": func(r *Renderer, w http.ResponseWriter) {
		r.Error(w, Error{Status: 403, Problem: SessionRefused, FlowID: "9f2c-41ab", Account: "ada@analytical-engines.example.com", Retry: "https://wiki.mcp.example.com/account/sign-in?rd=%2Fui"})
	},
	"login-rejected":  loginPage(401, LoginRejected),
	"login-throttled": loginPage(429, LoginThrottled),
	"login-busy":      loginPage(503, LoginBusy),
	"consent-before": func(r *Renderer, w http.ResponseWriter) {
		v := fewScopes()
		v.Before = SignedIn
		r.Consent(w, 200, v)
	},
	"consent-sixty": func(r *Renderer, w http.ResponseWriter) { r.Consent(w, 200, sixtyScopes()) },
	"consent-one":   func(r *Renderer, w http.ResponseWriter) { r.Consent(w, 200, oneScope()) },
	"consent-all-again": func(r *Renderer, w http.ResponseWriter) {
		v := sixtyScopes()
		v.Again, v.ToStranger = true, true
		r.Consent(w, 200, v)
	},
}

func fullAccount() Account {
	at := time.Date(2026, 11, 3, 9, 41, 0, 0, time.UTC)
	entry := func(id, name, by, server string, scopes ...string) AccountEntry {
		return AccountEntry{ID: id, Name: name, VouchedBy: by, Server: server, Host: "wiki.mcp.example.com", Scopes: scopes, Since: at, Used: at.Add(50 * time.Hour), Until: at.AddDate(0, 3, 0)}
	}
	few := fewScopes()
	v := Account{
		Form: "f", EndAction: "/account/end", KeyAction: "/account/keys", SignOut: "https://wiki.mcp.example.com/account/sign-out", Back: "https://wiki.mcp.example.com/account",
		Email: "jane@example.com", Subject: "google:1234", Complete: true,
		Apps: []AccountEntry{entry("a", "Claude Code", "claude.ai", "Team Wiki", "pages:read", "pages:write"), entry("b", "", "", "Warehouse", "mcp")},
		Keys: []AccountEntry{entry("c", "Nightly export", "", "Team Wiki", "pages:read")},
		KeyServers: []KeyServer{
			{URI: "https://wiki.mcp.example.com/mcp", Name: "Team Wiki", Scopes: few.Scopes, Days: []int{7, 30, 90}, SignInDays: 30},
			{URI: "https://wiki.mcp.example.com/other", Name: "Warehouse", Scopes: []ConsentScope{{Name: "mcp", Everything: true}}, Days: []int{1}},
		},
		Browsers: []AccountEntry{entry("d", "", "", ""), entry("e", "", "", "")},
	}
	v.Apps[0].Tools, v.Apps[1].MoreScopes, v.Browsers[0].This = 5, 3, true
	return v
}

func loginPage(status int, problem LoginProblem) func(*Renderer, http.ResponseWriter) {
	return func(r *Renderer, w http.ResponseWriter) {
		r.Login(w, status, Login{Action: "/login", State: "s", Username: "ada", Problem: problem, ServerName: "Team Wiki", FlowID: "9f2c-41ab"})
	}
}

func init() {
	for _, n := range []Notice{TooMuchChosen, ScopesChanged} {
		gallery["consent-notice-"+string(n)] = func(r *Renderer, w http.ResponseWriter) {
			v := fewScopes()
			v.Notice = n
			r.Consent(w, 400, v)
		}
	}
	for _, n := range AccountNotices {
		gallery["account-notice-"+string(n)] = func(r *Renderer, w http.ResponseWriter) {
			v := fullAccount()
			v.Notice = n
			r.Account(w, v)
		}
	}
	for _, o := range Outcomes {
		gallery["done-"+string(o)] = func(r *Renderer, w http.ResponseWriter) { r.Done(w, Done{Outcome: o, FlowID: "9f2c-41ab"}) }
	}
	for _, p := range Problems {
		v := Error{Status: 400, Problem: p, FlowID: "9f2c-41ab"}
		switch p {
		case RedirectURIMismatch:
			v.Address = "https://evil.example/callback?next=<script>alert(1)</script>"
		case InvalidRequest:
			v.Detail = "code_challenge is missing; PKCE is required"
			v.ContinueURL, v.ContinueHost = "https://claude.ai/api/mcp/auth_callback?error=invalid_request", "claude.ai"
		case PageNotAllowed:
			v.Account = "ada.lovelace+private@analytical-engines.example.com"
			v.Retry, v.SignOut = "https://wiki.mcp.example.com/account/sign-in?prompt=select_account&rd=%2Fui", "https://wiki.mcp.example.com/account/sign-out"
		case AccountNotAllowed, NotAllowed:
			v.Account, v.Action, v.Another = "ada.lovelace+private@analytical-engines.example.com", "/consent", "ticket"
			v.ContinueURL, v.ContinueHost = "https://claude.ai/api/mcp/auth_callback?error=access_denied", "claude.ai"
		case InvalidScope:
			v.ContinueURL, v.ContinueHost = "cursor://anysphere.cursor-mcp/oauth/callback?error=invalid_scope", "anysphere.cursor-mcp"
		}
		gallery["error-"+strings.ReplaceAll(string(p), "_", "-")] = func(r *Renderer, w http.ResponseWriter) { r.Error(w, v) }
	}
}

// logo is a company's mark, as an operator may configure it.
const logo = "data:image/svg+xml;base64,PHN2ZyB4bWxucz0iaHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmciIHZpZXdCb3g9IjAgMCAzMiAzMiI+PHJlY3Qgd2lkdGg9IjMyIiBoZWlnaHQ9IjMyIiByeD0iOCIgZmlsbD0iIzBhN2Q1NSIvPjxwYXRoIGQ9Ik05IDE2LjVsNSA1IDktMTEiIGZpbGw9Im5vbmUiIHN0cm9rZT0iI2ZmZiIgc3Ryb2tlLXdpZHRoPSIzIiBzdHJva2UtbGluZWNhcD0icm91bmQiIHN0cm9rZS1saW5lam9pbj0icm91bmQiLz48L3N2Zz4="

// renderers are the frames of the gallery: each language, and brands.
func renderers() map[string]*Renderer {
	b := Brand{Name: "Example Corp", SupportURL: "https://help.example.com/"}
	full := Brand{
		Name: "Example Corp", LogoDataURI: logo, AccentColor: "#0a7d55",
		SupportURL: "https://help.example.com/", PrivacyURL: "https://example.com/privacy", TermsURL: "https://example.com/terms",
	}
	yellow := full
	yellow.AccentColor = "#ffdd00"
	return map[string]*Renderer{
		"en": english(b), "de": newRenderer(b, locales["de"]), "ar": newRenderer(b, locales["ar"]),
		"plain": english(Brand{}), "marked": newRenderer(b, rtl()),
		"brand": english(full), "yellow": english(yellow),
	}
}

func record(r *Renderer, name string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	gallery[name](r, w)
	return w
}

// TestGallery renders every page in every frame. With PAGE_GALLERY set to a
// folder it leaves the pages and their headers there, to be looked at in a browser.
func TestGallery(t *testing.T) {
	dir := os.Getenv("PAGE_GALLERY")
	for frame, r := range renderers() {
		for _, name := range slices.Sorted(maps.Keys(gallery)) {
			w := record(r, name)
			if w.Code == http.StatusInternalServerError {
				t.Errorf("%s in %s: %s", name, frame, w.Body)
			}
			if dir == "" {
				continue
			}
			var head strings.Builder
			_ = w.Header().Write(&head)
			base := filepath.Join(dir, frame+"-"+name)
			if err := os.WriteFile(base+".html", w.Body.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(base+".head", []byte(head.String()), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}
