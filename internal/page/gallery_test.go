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
)

// rtl is the English catalogue in a right-to-left frame, with marks that show
// whether any text on a page did not come from the catalogue.
func rtl() locale {
	l := locale{Lang: "ar", Dir: "rtl", Messages: maps.Clone(locales["en"].Messages)}
	for id, m := range l.Messages {
		l.Messages[id] = "\u200f" + m + " ⟩"
	}
	return l
}

// arabic is enough of a real right-to-left language to look at.
func arabic() locale {
	l := locale{Lang: "ar", Dir: "rtl", Messages: maps.Clone(locales["en"].Messages)}
	maps.Copy(l.Messages, map[string]string{
		"consent.title": "السماح بالوصول؟", "consent.heading": "هل تسمح لـ {client} باستخدام {server}؟",
		"consent.app": "التطبيق", "consent.app.unverified": "غير موثّق",
		"consent.app.unverified.text": "اختار التطبيق هذا الاسم بنفسه ولم يتحقق منه أحد.",
		"consent.server":              "يريد استخدام", "consent.redirect": "يعيدك إلى", "consent.redirect.local": "هذا الحاسوب",
		"consent.loopback.title": "هذا تطبيق على حاسوبك.", "consent.loopback.text": "تابع فقط إذا بدأت هذا بنفسك الآن.",
		"consent.scopes": "ما يمكن للتطبيق فعله", "consent.scopes.hint": "ألغِ تحديد ما لا تريد السماح به.",
		"consent.allow": "سماح", "consent.deny": "رفض", "consent.next": "بعد ذلك تسجّل الدخول عبر {provider}.",
		"consent.tools.one": "أداة واحدة ({n})", "consent.tools.other": "{n} أدوات",
		"consent.tool.readonly": "للقراءة فقط", "consent.tool.destructive": "قد يحذف", "consent.new": "جديد",
		"consent.tools.destructive.one": "{n} قد تحذف", "consent.broad": "وصول واسع", "footer.reference": "المرجع", "footer.support": "المساعدة",
	})
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
	"consent-stepup": func(r *Renderer, w http.ResponseWriter) {
		v := fewScopes()
		v.NewOnly = true
		v.Scopes[1].New = true
		r.Consent(w, 200, v)
	},
	"consent-notice": func(r *Renderer, w http.ResponseWriter) {
		v := fewScopes()
		v.Notice = "Tick at least one permission, or decline."
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
	"login-error": func(r *Renderer, w http.ResponseWriter) {
		r.Login(w, 401, Login{Action: "/login", State: "s", Username: "ada", ErrorText: "The user name or the password is wrong.", ServerName: "Team Wiki", FlowID: "9f2c-41ab"})
	},
	"error": func(r *Renderer, w http.ResponseWriter) {
		r.Error(w, Error{Status: 400, Title: "This app sent an address that it has not registered",
			What: "To protect you, you were not sent there.", Next: "Go back to the app and sign in again. If it keeps happening, tell whoever makes the app.",
			Detail: "https://evil.example/callback?next=<script>alert(1)</script>", FlowID: "9f2c-41ab"})
	},
	"error-continue": func(r *Renderer, w http.ResponseWriter) {
		r.Error(w, Error{Status: 403, ContinueURL: "cursor://anysphere.cursor-mcp/oauth/callback?error=access_denied", ContinueLabel: "Back to Cursor"})
	},
	"done": func(r *Renderer, w http.ResponseWriter) {
		r.Done(w, Done{ClientName: "Claude Code", FlowID: "9f2c-41ab"})
	},
}

func renderers() map[string]*Renderer {
	b := Brand{Name: "Example Corp", SupportURL: "https://help.example.com/"}
	return map[string]*Renderer{
		"en": New(b), "plain": New(Brand{}), "marked": newRenderer(b, rtl()), "ar": newRenderer(b, arabic()),
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
