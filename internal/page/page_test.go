package page

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/a-h/templ"
	"golang.org/x/net/html"
)

// everyPage calls f with each page in each frame.
func everyPage(t *testing.T, f func(t *testing.T, w *httptest.ResponseRecorder)) {
	for frame, r := range renderers() {
		for _, name := range slices.Sorted(maps.Keys(gallery)) {
			t.Run(frame+"/"+name, func(t *testing.T) { f(t, record(r, name)) })
		}
	}
}

func TestHeaders(t *testing.T) {
	everyPage(t, func(t *testing.T, w *httptest.ResponseRecorder) {
		want := map[string]string{
			"Content-Type":           "text/html; charset=utf-8",
			"X-Frame-Options":        "DENY",
			"Cache-Control":          "no-store",
			"X-Content-Type-Options": "nosniff",
		}
		for k, v := range want {
			if got := w.Header()[k]; !slices.Equal(got, []string{v}) {
				t.Errorf("AS-CONS-08 %s: %q, want %q", k, got, v)
			}
		}
		csp := strings.Split(w.Header().Get("Content-Security-Policy"), "; ")
		for _, d := range []string{"default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'"} {
			if !slices.Contains(csp, d) {
				t.Errorf("AS-CONS-09 policy %q lacks %q", csp, d)
			}
		}
		if strings.Contains(strings.Join(csp, ";"), "unsafe") || strings.Contains(strings.Join(csp, ";"), "form-action") {
			t.Errorf("policy %q", csp)
		}
		// A form posted from a no-referrer page says "Origin: null".
		policy := "no-referrer"
		if strings.Contains(w.Body.String(), "<form") {
			policy = "same-origin"
		}
		if got := w.Header().Get("Referrer-Policy"); got != policy {
			t.Errorf("Referrer-Policy %q, want %q", got, policy)
		}
	})
}

func TestStyleIsTheOneThePolicyAllows(t *testing.T) {
	everyPage(t, func(t *testing.T, w *httptest.ResponseRecorder) {
		body := w.Body.String()
		_, rest, _ := strings.Cut(body, "<style>")
		css, _, ok := strings.Cut(rest, "</style>")
		if !ok || css == "" || strings.Count(body, "<style") != 1 {
			t.Fatal("want exactly one style element")
		}
		if want := "style-src '" + styleHash(css) + "'"; !strings.Contains(w.Header().Get("Content-Security-Policy"), want) {
			t.Errorf("policy %q does not allow the page's style (%s)", w.Header().Get("Content-Security-Policy"), want)
		}
		if regexp.MustCompile(`(?i)@import|url\(|@font-face|expression`).MatchString(css) {
			t.Error("the style loads something")
		}
	})
}

func parse(t *testing.T, r io.Reader) *html.Node {
	doc, err := html.Parse(r)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func attr(n *html.Node, key string) (string, bool) {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val, true
		}
	}
	return "", false
}

func elements(doc *html.Node, tag string) []*html.Node {
	var out []*html.Node
	for n := range doc.Descendants() {
		if n.Type == html.ElementNode && (tag == "" || n.Data == tag) {
			out = append(out, n)
		}
	}
	return out
}

func innerText(n *html.Node) string {
	var b strings.Builder
	for c := range n.Descendants() {
		if c.Type == html.TextNode {
			b.WriteString(c.Data)
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// inert fails the test for anything in a page that could run, load or lead away.
func inert(t *testing.T, doc *html.Node) {
	t.Helper()
	banned := []string{"script", "iframe", "object", "embed", "base", "audio", "video", "template", "marquee"}
	for _, n := range elements(doc, "") {
		if slices.Contains(banned, n.Data) {
			t.Errorf("a <%s>", n.Data)
		}
		for _, a := range n.Attr {
			switch {
			case strings.HasPrefix(a.Key, "on"), a.Key == "style", a.Key == "srcdoc", a.Key == "formaction", a.Key == "ping", a.Key == "http-equiv":
				t.Errorf("<%s %s=%q>", n.Data, a.Key, a.Val)
			case a.Key == "src", n.Data == "link" && a.Key == "href":
				if !strings.HasPrefix(a.Val, "data:") {
					t.Errorf("AS-CONS-09 <%s> loads %q", n.Data, a.Val)
				}
			case a.Key == "href":
				if scheme, _, _ := strings.Cut(a.Val, ":"); scheme != "https" && scheme != "cursor" {
					t.Errorf("ATK-42 link to %q", a.Val)
				}
			}
		}
	}
}

func TestPagesAreInert(t *testing.T) {
	everyPage(t, func(t *testing.T, w *httptest.ResponseRecorder) { inert(t, parse(t, w.Body)) })
}

func TestAccessibleStructure(t *testing.T) {
	everyPage(t, func(t *testing.T, w *httptest.ResponseRecorder) {
		doc := parse(t, w.Body)
		ids := map[string]*html.Node{}
		for _, n := range elements(doc, "") {
			if id, ok := attr(n, "id"); ok {
				if ids[id] != nil {
					t.Errorf("id %q twice", id)
				}
				ids[id] = n
			}
		}
		labels := map[string]string{}
		for _, l := range elements(doc, "label") {
			id, _ := attr(l, "for")
			labels[id] = innerText(l)
		}
		for _, in := range elements(doc, "input") {
			kind, _ := attr(in, "type")
			if id, _ := attr(in, "id"); kind != "hidden" && labels[id] == "" {
				t.Errorf("input %q has no label", id)
			}
		}
		for _, n := range elements(doc, "") {
			for _, key := range []string{"aria-describedby", "aria-labelledby", "for"} {
				if id, ok := attr(n, key); ok && ids[id] == nil {
					t.Errorf("%s=%q leads nowhere", key, id)
				}
			}
		}
		for _, b := range slices.Concat(elements(doc, "button"), elements(doc, "a"), elements(doc, "legend"), elements(doc, "summary")) {
			if _, hidden := attr(b, "hidden"); innerText(b) == "" && !hidden {
				t.Errorf("<%s> has no text", b.Data)
			}
		}
		for _, tag := range []string{"h1", "main", "title"} {
			if len(elements(doc, tag)) != 1 {
				t.Errorf("%d of <%s>", len(elements(doc, tag)), tag)
			}
		}
		root := elements(doc, "html")[0]
		if lang, _ := attr(root, "lang"); lang == "" {
			t.Error("no lang")
		}
		if dir, _ := attr(root, "dir"); dir != "ltr" && dir != "rtl" {
			t.Errorf("dir %q", dir)
		}
	})
}

func TestConsentForm(t *testing.T) {
	w := record(english(Brand{}), "consent-loopback")
	doc := parse(t, w.Body)
	form := elements(doc, "form")[0]
	if m, _ := attr(form, "method"); m != "post" {
		t.Errorf("method %q", m)
	}
	if a, _ := attr(form, "action"); a != "/consent" {
		t.Errorf("action %q", a)
	}
	var scopes, ticked, decisions []string
	for _, in := range elements(form, "input") {
		name, _ := attr(in, "name")
		value, _ := attr(in, "value")
		switch name {
		case "request":
			if value != "sealed-value" {
				t.Errorf("request %q", value)
			}
		case "scope":
			scopes = append(scopes, value)
			if _, ok := attr(in, "checked"); ok {
				ticked = append(ticked, value)
			}
		default:
			t.Errorf("input %q", name)
		}
	}
	buttons := elements(doc, "button") // those outside belong to the form too
	for _, b := range buttons[1:] {
		value, _ := attr(b, "value")
		decisions = append(decisions, value)
	}
	if want := []string{"pages:read", "pages:write", "admin"}; !slices.Equal(scopes, want) || !slices.Equal(ticked, want[:2]) {
		t.Errorf("scopes %q, ticked %q", scopes, ticked)
	}
	// Enter in a checkbox presses the first button that is not disabled.
	if name, named := attr(buttons[0], "name"); named {
		t.Errorf("Enter in a checkbox answers the page with %s", name)
	}
	if !slices.Equal(decisions, []string{"deny", "allow"}) {
		t.Errorf("decisions %q", decisions)
	}
	text := innerText(doc)
	for id, want := range map[string]string{
		"AS-CONS-04 client": "Claude Code", "AS-CONS-04 unverified": "Not verified", "AS-CONS-04 server": "https://wiki.mcp.example.com/mcp",
		"AS-CONS-04 readable scope": "Read pages and search the wiki", "AS-CONS-04 raw scope": "pages:read",
		"AS-CONS-05 redirect": "http://127.0.0.1:53682/callback", "AS-CONS-06 loopback": locales["en"].Messages["consent.loopback.title"],
		"tool": "search_pages", "destructive": "Can delete or overwrite", "read only": "· read only", "provider": "sign in with Google", "reference": "9f2c-41ab",
	} {
		t.Run(id, func(t *testing.T) {
			if !strings.Contains(text, want) {
				t.Errorf("%q is not on the page", want)
			}
		})
	}
	t.Run("AS-CONS-04 host that vouches", func(t *testing.T) {
		text := innerText(parse(t, record(english(Brand{}), "consent-few").Body))
		if !strings.Contains(text, "Identified by claude.ai") || strings.Contains(text, "Not verified") {
			t.Error(text)
		}
		if strings.Contains(text, locales["en"].Messages["consent.loopback.title"]) {
			t.Error("AS-CONS-06: a warning of loopback where there is none")
		}
	})
	t.Run("AS-CONS-16 catalogue unavailable", func(t *testing.T) {
		text := innerText(parse(t, record(english(Brand{}), "consent-unavailable").Body))
		if !strings.Contains(text, locales["en"].Messages["consent.unavailable.title"]) {
			t.Error(text)
		}
	})
}

func TestLongListsKeepEveryScope(t *testing.T) {
	for _, name := range []string{"consent-many", "consent-all", "consent-stepup"} {
		t.Run(name, func(t *testing.T) {
			w := record(english(Brand{}), name)
			if w.Body.Len() > 512<<10 {
				t.Errorf("%d bytes", w.Body.Len())
			}
			n := 0
			for _, in := range elements(parse(t, w.Body), "input") {
				if k, _ := attr(in, "type"); k == "checkbox" {
					n++
				}
			}
			if want := map[string]int{"consent-many": 200, "consent-all": 200, "consent-stepup": 3}[name]; n != want {
				t.Errorf("%d boxes, want %d", n, want)
			}
		})
	}
}

// A page with many boxes begins with a way to decline, groups what it asks by risk, and
// has buttons that tick every box or none; a short page has none of that.
func TestManyBoxes(t *testing.T) {
	type page struct {
		buttons, groups []string
		boxes           int
	}
	read := func(name string) (p page) {
		doc := parse(t, record(english(Brand{}), name).Body)
		for _, n := range elements(doc, "") {
			value, _ := attr(n, "value")
			switch kind, _ := attr(n, "type"); {
			case n.Data == "button":
				p.buttons = append(p.buttons, value)
			case n.Data == "h3":
				p.groups = append(p.groups, innerText(n))
			case kind == "checkbox":
				p.boxes++
			}
		}
		return p
	}
	for name, want := range map[string]page{
		// The first button, without a value, is what Enter in a box presses.
		"consent-sixty": {[]string{"", "deny", "none", "all", "deny", "allow"}, []string{"Can delete or overwrite", "Can change something, or does not say", "Only read"}, 60},
		"consent-few":   {[]string{"", "deny", "allow"}, nil, 3},
		"consent-one":   {[]string{"", "deny", "allow"}, nil, 0},
	} {
		got := read(name)
		if name == "consent-sixty" {
			got.groups = slices.Compact(got.groups)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
}

// Names of any length leave a heading short, and their whole text is below it.
func TestLongNames(t *testing.T) {
	doc := parse(t, record(english(Brand{}), "consent-long").Body)
	if text := innerText(elements(doc, "h1")[0]); len([]rune(text)) > 100 {
		t.Errorf("a heading of %d characters: %s", len([]rune(text)), text)
	}
	facts := innerText(elements(doc, "dl")[0])
	for _, whole := range []string{"Die Datenbank der Donaudampfschifffahrtsgesellschaft zu Wien", strings.Repeat("callback/", 40) + "?x=%3Cb%3E&y=%E2%80%AE"} {
		if !strings.Contains(facts, whole) {
			t.Errorf("%q is nowhere on the page", whole)
		}
	}
}

// poison puts s into every string of a view, at any depth.
func poison(v reflect.Value, s string) {
	switch v.Kind() {
	case reflect.String:
		switch v.Addr().Interface().(type) {
		case *Problem, *LoginProblem, *Notice, *Outcome, *AccountNotice, *DeviceProblem: // our own words, from closed sets
		default:
			v.SetString(s)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			poison(v.Field(i), s)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			poison(v.Index(i), s)
		}
	case reflect.Bool:
		v.SetBool(true)
	}
}

func TestForeignTextIsInert(t *testing.T) {
	attacks := []string{
		`"><script>alert(1)</script>`, `'><img src=x onerror=alert(1)>`, `</title><script>alert(1)</script>`,
		`</style><script>alert(1)</script>`, `javascript:alert(1)`, `JaVaScRiPt:alert(1)`, " javascript:alert(1)", "java\tscript:alert(1)", "\x01javascript:alert(1)",
		`data:text/html,<script>alert(1)</script>`, `vbscript:x`, `view-source:javascript:x`, `" autofocus onfocus=alert(1) x="`, "` onclick=alert(1)", `<svg/onload=alert(1)>`,
		`{{.}}`, `{client}`, `<!--`, `]]>`, `&lt;script&gt;`, "\r\nX-Injected: 1\r\n\r\n<script>", "+ADw-script+AD4-",
		`<form action=https://evil.example>`, `<a href=https://evil.example>`, `<meta http-equiv=refresh content=0>`, "\xc0\xbcscript\xc0\xbe", strings.Repeat("<b>", 5000),
	}
	// What the page shows with a harmless word sets which elements it has.
	shape := func(doc *html.Node) (tags []string) {
		for _, n := range elements(doc, "") {
			tags = append(tags, n.Data)
		}
		return tags
	}
	for page, show := range poisonable() {
		for _, attack := range attacks {
			t.Run("ATK-42 "+page+" "+attack[:min(len(attack), 40)], func(t *testing.T) {
				w := httptest.NewRecorder()
				show(w, attack)
				if w.Header().Get("X-Injected") != "" {
					t.Error("ATK-38 a header of theirs")
				}
				doc := parse(t, w.Body)
				inert(t, doc)
				if actions := elements(doc, "form"); len(actions) > 1 && page != "account" {
					t.Error("a form of theirs")
				}
				for _, n := range elements(doc, "a") {
					if href, _ := attr(n, "href"); href != "https://mcp.example.com/account/sign-out" {
						t.Errorf("a link: %v", n.Attr)
					}
				}
				calm := httptest.NewRecorder()
				show(calm, "word two")
				if got, want := shape(doc), shape(parse(t, calm.Body)); len(got) > len(want) {
					t.Errorf("%d elements, a harmless word makes %d", len(got), len(want))
				}
			})
		}
	}
}

// poisonable renders each page with one text in every string field; the brand too.
func poisonable() map[string]func(w http.ResponseWriter, s string) {
	with := func(s string) *Renderer {
		return english(Brand{Name: s, SupportURL: s, PrivacyURL: s, TermsURL: s, LogoDataURI: s, AccentColor: s})
	}
	return map[string]func(w http.ResponseWriter, s string){
		"consent": func(w http.ResponseWriter, s string) {
			var v Consent
			poison(reflect.ValueOf(&v).Elem(), s)
			v.Action, v.Notice = "/consent", NothingChosen
			v.Scopes[0].New, v.Scopes[0].Everything, v.Scopes[1].Everything, v.Scopes[1].Tools[0].Destructive = false, false, false, false
			with(s).Consent(w, 200, v)
		},
		"choose": func(w http.ResponseWriter, s string) {
			var v Choose
			poison(reflect.ValueOf(&v).Elem(), s)
			v.Action, v.Providers[1].Last = "/login", false
			with(s).Choose(w, v)
		},
		"login": func(w http.ResponseWriter, s string) {
			var v Login
			poison(reflect.ValueOf(&v).Elem(), s)
			v.Action, v.Problem = "/login", LoginRejected
			with(s).Login(w, 200, v)
		},
		"error": func(w http.ResponseWriter, s string) {
			var v Error
			poison(reflect.ValueOf(&v).Elem(), s)
			with(s).Error(w, v)
		},
		"account": func(w http.ResponseWriter, s string) {
			var v Account
			poison(reflect.ValueOf(&v).Elem(), s)
			v.EndAction, v.KeyAction, v.SignOut, v.NewKey, v.Notice = "/account/end", "/account/keys", "https://mcp.example.com/account/sign-out", "", AccountEnded
			v.KeyServers[1].Unavailable, v.KeyServers[0].Unavailable = false, false
			with(s).Account(w, v)
		},
		"sign-out": func(w http.ResponseWriter, s string) {
			with(s).SignOut(w, SignOut{Action: "/account/sign-out", Form: s, Host: s, Provider: s})
		},
		"done": func(w http.ResponseWriter, s string) {
			var v Done
			poison(reflect.ValueOf(&v).Elem(), s)
			with(s).Done(w, v)
		},
	}
}

func TestErrorPage(t *testing.T) {
	for _, tc := range []struct {
		name string
		give Error
		code int
		link string
	}{
		{"AS-AUTHZ-04 detail is not a link", Error{Status: 400, Detail: "https://evil.example/cb"}, 400, ""},
		{"AS-AUTHZ-04 address is not a link", Error{Status: 400, Address: "https://evil.example/cb"}, 400, ""},
		{"a status that is no error", Error{Status: 200}, 500, ""},
		{"AS-AUTHZ-06 explicit continue", Error{Status: 400, ContinueURL: "https://app.example/cb?error=x&state=y"}, 400, "https://app.example/cb?error=x&state=y"},
		{"private-use scheme", Error{Status: 403, ContinueURL: "com.example.app:/cb?error=x"}, 403, "com.example.app:/cb?error=x"},
		{"loopback", Error{Status: 403, ContinueURL: "http://[::1]:8/cb"}, 403, "http://[::1]:8/cb"},
		{"javascript", Error{Status: 403, ContinueURL: "javascript:alert(1)"}, 403, ""},
		{"no scheme", Error{Status: 403, ContinueURL: "//evil.example"}, 403, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			english(Brand{}).Error(w, tc.give)
			if w.Code != tc.code {
				t.Errorf("status %d, want %d", w.Code, tc.code)
			}
			if w.Header().Get("Location") != "" {
				t.Error("a Location header")
			}
			doc := parse(t, w.Body)
			var link string
			for _, a := range elements(doc, "a") {
				link, _ = attr(a, "href")
			}
			if link != tc.link {
				t.Errorf("link %q, want %q", link, tc.link)
			}
			if text := innerText(doc); !strings.Contains(text, tc.give.Detail) || !strings.Contains(text, tc.give.Address) {
				t.Error("the detail is not shown")
			}
		})
	}
}

// What a client wrote in place of an address is no message to the person.
func TestAddressIsNoProse(t *testing.T) {
	for give, want := range map[string]string{
		"Your account is locked. Call 555-0100\n":          "Your%20account%20is%20locked.%20Call%20555-0100%0A",
		"https://evil.example/" + strings.Repeat("a", 200): "https://evil.example/" + strings.Repeat("a", maxShortURI-21) + "…",
		"Gesperrt!\u202e": "Gesperrt!%E2%80%AE",
	} {
		w := httptest.NewRecorder()
		english(Brand{}).Error(w, Error{Status: 400, Problem: RedirectURIMismatch, Address: give})
		if text := innerText(parse(t, w.Body)); !strings.Contains(text, want) || strings.Contains(text, give) {
			t.Errorf("%q is shown in %q", give, text)
		}
	}
}

// An address may hold what is markup elsewhere; it must not leave its attribute.
func TestLinksAreEscaped(t *testing.T) {
	const end = `/?a=1&b='"><script>alert(1)</script>`
	for _, address := range []string{"https://help.example.com" + end, "cursor://anysphere.cursor-mcp" + end} {
		w := httptest.NewRecorder()
		english(Brand{SupportURL: address, PrivacyURL: address, TermsURL: address}).Error(w, Error{ContinueURL: Link(address)})
		doc := parse(t, w.Body)
		inert(t, doc)
		want := 4
		if strings.HasPrefix(address, "cursor") {
			want = 1 // no link of an operator's
		}
		links := elements(doc, "a")
		if len(links) != want {
			t.Errorf("%d links with %s, want %d", len(links), address, want)
		}
		for _, a := range links {
			if got, _ := attr(a, "href"); got != address {
				t.Errorf("ATK-42 link to %q, want %q", got, address)
			}
		}
	}
}

func TestBrand(t *testing.T) {
	for _, tc := range []struct {
		give Brand
		want brand
	}{
		{Brand{}, brand{}},
		{Brand{Name: "A\u202eB", SupportURL: "mailto:help@example.com", LogoDataURI: "data:image/png;base64,iVBORw0KGgo="}, brand{Name: "AB", SupportURL: "mailto:help@example.com", Logo: "data:image/png;base64,iVBORw0KGgo="}},
		{Brand{SupportURL: "http://plain.example/", PrivacyURL: "mailto:x@example.com", TermsURL: "https://example.com/terms"}, brand{TermsURL: "https://example.com/terms"}},
		{Brand{SupportURL: "javascript:alert(1)", PrivacyURL: "javascript:alert(1)", TermsURL: "data:text/html,x", LogoDataURI: "https://evil.example/logo.png"}, brand{}},
		{Brand{LogoDataURI: "data:text/html;base64,PHNjcmlwdD4="}, brand{}},
	} {
		if got := checkBrand(tc.give); got != tc.want {
			t.Errorf("%+v: %+v, want %+v", tc.give, got, tc.want)
		}
	}
}

func TestLogin(t *testing.T) {
	doc := parse(t, record(english(Brand{}), "login-rejected").Body)
	want := map[string]string{"username": "username", "password": "current-password"}
	for _, in := range elements(doc, "input") {
		name, _ := attr(in, "name")
		if name == "state" {
			continue
		}
		if got, _ := attr(in, "autocomplete"); got != want[name] || got == "" {
			t.Errorf("%s: autocomplete %q", name, got)
		}
		if by, _ := attr(in, "aria-describedby"); by != "problem" {
			t.Errorf("%s is not described by the problem", name)
		}
		if _, ok := attr(in, "value"); name == "password" && ok {
			t.Error("a password comes back")
		}
	}
	alerts := 0
	for _, n := range elements(doc, "") {
		if role, _ := attr(n, "role"); role == "alert" {
			alerts++
		}
	}
	if alerts != 1 {
		t.Errorf("%d alerts", alerts)
	}
}

func TestFailingTemplateIsAClean500(t *testing.T) {
	for name, show := range map[string]func(r *Renderer, w http.ResponseWriter){
		"in the middle": func(r *Renderer, w http.ResponseWriter) {
			r.render(w, 200, referrerNone, templ.ComponentFunc(func(_ context.Context, w io.Writer) error {
				_, _ = io.WriteString(w, "<p>half a page")
				return errors.New("no")
			}))
		},
		"a message that is not there": func(r *Renderer, w http.ResponseWriter) {
			r.Consent(w, 200, Consent{Notice: "unheard of"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			show(english(Brand{}), w)
			if w.Code != 500 || strings.Contains(w.Body.String(), "half") || strings.Contains(w.Body.String(), "<main") {
				t.Errorf("%d %q", w.Code, w.Body)
			}
			if w.Header().Get("X-Frame-Options") != "DENY" {
				t.Error("AS-CONS-08 missing on a failure")
			}
		})
	}
}
