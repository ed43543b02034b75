package doctor

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
)

// withPages is a set-up with a page and a place for security events.
func withPages(t *testing.T) *stack {
	t.Helper()
	token := t.TempDir() + "/push-token"
	if err := os.WriteFile(token, []byte("a-token-of-at-least-32-characters-x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return newStackOf(t, ", pages: [{path: /ui}]", func(string) string {
		return "securityEvents: {streams: [{id: corp, issuer: https://sso.example.com, audience: https://mcp.example.com, push: {tokenFile: " + token + "}}]}\n"
	})
}

func TestPagesForPeople(t *testing.T) {
	st := withPages(t)
	r := st.run(t, Options{Pages: []string{st.origin() + "/ui", st.origin() + "/ui/deep?x=1"}, Events: st.origin() + "/security-events/corp"})
	if got := faults(r); got != "" {
		t.Errorf("faults in a good set-up: %s\n%s", got, text(r, ""))
	}
	for _, id := range []string{"pages", "page-mcp", "account", "events"} {
		if f := finding(r, id); f.Status != Passed {
			t.Errorf("%s: %s %s", id, f.Status, f.Detail)
		}
	}
}

func TestBrokenPages(t *testing.T) {
	st := withPages(t)
	at := func(path string) func(*http.Request) bool {
		return func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, path) }
	}
	by := func(mode, path string) func(*http.Request) bool {
		return func(r *http.Request) bool { return at(path)(r) && r.Header.Get("Sec-Fetch-Mode") == mode }
	}
	person := func(r *http.Request) bool { return by("navigate", "/mcp")(r) }
	cookies := func(old, new string) func(*stack, http.Handler) http.Handler {
		return rewrite(at("/account/"), func(_ *stack, a *httptest.ResponseRecorder) {
			for i, c := range a.Header()["Set-Cookie"] {
				a.Header()["Set-Cookie"][i] = strings.ReplaceAll(c, old, new)
			}
		})
	}
	without := func(name string) func(*stack, http.Handler) http.Handler {
		return rewrite(at("/account/"), func(_ *stack, a *httptest.ResponseRecorder) { a.Header().Del(name) })
	}
	foreign := func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://"+r.Host+"/oauth2/start?rd="+r.URL.Path, http.StatusFound)
	}
	for name, b := range map[string]struct {
		broken
		page, events string
	}{
		"an address that is none":              {broken: broken{want: "pages.form"}, page: "ftp://x/ui"},
		"a page that is away":                  {broken: broken{want: "pages.unreachable"}, page: "http://127.0.0.1:1/ui"},
		"a page that fails":                    {broken: broken{want: "pages.failing", wrap: when(at("/ui"), status(http.StatusBadGateway))}},
		"a page that no one asks about":        {broken: broken{want: "pages.open", wrap: when(at("/ui"), page)}},
		"a page that is open to people alone":  {broken: broken{want: "pages.open", wrap: when(by("navigate", "/ui"), page)}},
		"a script that is redirected":          {broken: broken{want: "pages.script", wrap: when(by("cors", "/ui"), redirect("/account/sign-in?rd=/ui"))}},
		"nginx without error_page":             {broken: broken{want: "pages.dead-end", wrap: when(by("navigate", "/ui"), status(http.StatusUnauthorized))}},
		"another proxy's sign-in":              {broken: broken{want: "pages.elsewhere", wrap: when(by("navigate", "/ui"), foreign)}},
		"a sign-in without a way back":         {broken: broken{want: "pages.elsewhere", wrap: when(by("navigate", "/ui"), redirect("/account/sign-in"))}},
		"an MCP server that is open to people": {broken: broken{want: "page-mcp.open", wrap: when(person, page)}},
		"an MCP server with a sign-in page":    {broken: broken{want: "page-mcp.redirected", wrap: when(person, redirect("/account/sign-in?rd=/mcp"))}},
		"an error page for 401":                {broken: broken{want: "page-mcp.bare", wrap: when(person, status(http.StatusUnauthorized))}},
		"/account without a route":             {broken: broken{want: "account.missing", wrap: when(at("/account"), status(http.StatusNotFound))}},
		"/account behind the gate":             {broken: broken{want: "account.missing", wrap: when(at("/account"), gate)}},
		"an open redirect":                     {broken: broken{want: "account.redirect", wrap: rewrite(at("/account/sign-in"), func(_ *stack, a *httptest.ResponseRecorder) { a.Code = http.StatusFound })}},
		"cookies for scripts":                  {broken: broken{want: "account.cookies", wrap: cookies("HttpOnly", "")}},
		"cookies for other sites":              {broken: broken{want: "account.cookies", wrap: cookies("SameSite=Lax", "SameSite=None")}},
		"cookies for the whole domain":         {broken: broken{want: "account.cookies", wrap: cookies("; Path", "; Domain=example.com; Path")}},
		"no cookies":                           {broken: broken{want: "account.cookies", wrap: without("Set-Cookie")}},
		"a policy that is taken away":          {broken: broken{want: "account.frames", wrap: without("Content-Security-Policy")}},
		"frames that are allowed":              {broken: broken{want: "account.frames", wrap: without("X-Frame-Options")}},
		"events that are all taken":            {broken: broken{want: "events.open", wrap: when(at("/security-events"), status(http.StatusAccepted))}},
		"events behind the gate":               {broken: broken{want: "events.gated", wrap: when(at("/security-events"), gate)}},
		"events for another stream":            {broken: broken{want: "events.missing"}, events: "/security-events/other"},
	} {
		t.Run(name, func(t *testing.T) {
			front := st.good
			if b.wrap != nil {
				front = b.wrap(st, st.good)
			}
			st.put(front)
			o := Options{Pages: []string{st.origin() + "/ui"}, Events: st.origin() + "/security-events/corp"}
			if b.page != "" {
				o.Pages[0] = b.page
			}
			if b.events != "" {
				o.Events = st.origin() + b.events
			}
			r := st.run(t, o)
			got := faults(r)
			if b.page != "" { // there is no sign-in there either
				got = strings.TrimSuffix(got, ", account.missing")
			}
			if got != b.want {
				t.Errorf("found %q, want %q\n%s", got, b.want, text(r, ""))
			}
		})
	}
}

// Attributes that only a host with https can have.
func TestCookiesOverTLS(t *testing.T) {
	for cookie, weak := range map[string]string{
		"__Host-mcp-login=x; Path=/; HttpOnly; Secure; SameSite=Lax": "",
		"mcp-login=x; Path=/; HttpOnly; Secure; SameSite=Lax":        "without the prefix",
		"__Host-mcp-login=x; Path=/; HttpOnly; SameSite=Lax":         "without Secure",
	} {
		a := &answer{header: http.Header{"Set-Cookie": {cookie}}}
		if got := weakCookies(a, true); weak == "" && got != "" || !strings.Contains(got, weak) {
			t.Errorf("%s: %q, want %q", cookie, got, weak)
		}
	}
}
