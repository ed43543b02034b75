package authorize

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
)

func testSteps(t testing.TB) (Steps, *resource.Host) {
	t.Helper()
	keys, err := seal.NewKeyring(time.Now, []byte(strings.Repeat("k", 32)))
	if err != nil {
		t.Fatal(err)
	}
	host, err := resource.NewHost("mcp.example.com", "https")
	if err != nil {
		t.Fatal(err)
	}
	return NewSteps(keys, time.Now), host
}

// browserOf returns a request of a browser that kept the cookies of w.
func browserOf(responses ...*httptest.ResponseRecorder) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	kept := map[string]string{}
	var order []string
	for _, w := range responses {
		for _, c := range w.Result().Cookies() {
			if _, known := kept[c.Name]; !known {
				order = append(order, c.Name)
			}
			if kept[c.Name] = c.Value; c.MaxAge < 0 {
				delete(kept, c.Name)
			}
		}
	}
	for _, name := range order {
		if v, ok := kept[name]; ok {
			r.AddCookie(&http.Cookie{Name: name, Value: v})
		}
	}
	return r
}

// A ticket opens in the browser that began, for the visit that was begun last,
// however long it is; the page to choose a provider stays good.
func TestTickets(t *testing.T) {
	steps, host := testSteps(t)
	for name, state := range map[string]string{"short": "s", "long": strings.Repeat("0123456789abcdefghijklmnopqrstuvwxyzABCD", 50), "longest": longState(4000)} {
		t.Run(name, func(t *testing.T) {
			st := newLogin(pending{Flow: "f", State: state}, oauth.Scopes{"a", "b"})
			begin := func(r *http.Request, visit string) (string, *httptest.ResponseRecorder) {
				st.Visit, st.Provider = visit, ""
				if visit != "" {
					st.Provider = "corp"
				}
				ticket, cookies, err := steps.ticket(r, host, st)
				if err != nil {
					t.Fatal(err)
				}
				w := httptest.NewRecorder()
				keepLogin(w, r, host, st.Handle, cookies)
				return ticket, w
			}
			chooser, w0 := begin(browserOf(), "")
			first, w1 := begin(browserOf(w0), "AAAAAAAAAAAAA")
			second, w2 := begin(browserOf(w0, w1), "BBBBBBBBBBBBB")
			b := browserOf(w0, w1, w2)
			if got, err := steps.currentLogin(b, host, second); err != nil || got.State != state || got.Provider != "corp" || got.Granted.String() != "a b" {
				t.Errorf("the last visit: %+v %v", got, err)
			}
			if got, err := steps.currentLogin(b, host, first); err == nil {
				t.Errorf("a visit before the last: %+v", got)
			}
			if got, err := steps.currentLogin(b, host, chooser); err != nil || got.chosen() || got.Provider != "" {
				t.Errorf("the page to choose: %+v %v", got, err)
			}
			if _, err := steps.currentLogin(browserOf(), host, second); err == nil {
				t.Error("it opens in another browser")
			}
			other, _ := resource.NewHost("other.example.com", "https")
			if _, err := steps.currentLogin(b, other, second); err == nil {
				t.Error("it opens at another host")
			}
		})
	}
}

// longState is text that does not compress well.
func longState(n int) string {
	var b strings.Builder
	for i := range n/43 + 1 {
		b.WriteString(oauth.S256(strings.Repeat("v", 43) + string(rune('a'+i%26)) + strings.Repeat("w", i/26)))
	}
	return b.String()[:n]
}

// FuzzCookies: whatever a browser sends, nothing opens but what was sealed for
// its key, and what a page answers keeps within bounds.
func FuzzCookies(f *testing.F) {
	steps, host := testSteps(f)
	st := newLogin(pending{Flow: "f"}, oauth.Scopes{"a"})
	st.Handle, st.Visit, st.key = strings.Repeat("H", handleSize), "AAAAAAAAAAAAA", strings.Repeat("K", handleSize)
	ticket, cookies, err := steps.ticket(browserOf(), host, st)
	if err != nil {
		f.Fatal(err)
	}
	name := cookieName(host, loginCookie(st.Handle, 0))
	f.Add(name+"="+cookies[0], ticket)
	f.Add(name+"=3."+st.key+"; "+cookieName(host, loginCookie(st.Handle, 1))+"=x", st.Handle)
	f.Add("__Host-mcp-ends=eHHHHHHHH.dAAAAAAAA", ticket)
	f.Add("__Host-mcp-login--=; __Host-mcp-login-HHHHHHHH-9="+strings.Repeat("x", 6000), ticket+"A")
	f.Fuzz(func(t *testing.T, header, asked string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Cookie", header)
		got, err := steps.currentLogin(r, host, asked)
		if err == nil && (got.Handle != st.Handle || !strings.Contains(header, st.key) || got.Flow != "f") {
			t.Fatalf("%q with %q opened %+v", asked, header, got)
		}
		w := httptest.NewRecorder()
		keepLogin(w, r, host, strings.Repeat("N", handleSize), []string{"0." + st.key})
		steps.endLogin(w, r, host, strings.Repeat("N", handleSize))
		steps.remembered(r, host, pending{})
		for _, c := range w.Result().Cookies() {
			if len(c.Value) > 4000 || c.Valid() != nil {
				t.Fatalf("%q sets %v", header, c)
			}
		}
	})
}
