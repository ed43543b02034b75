package doctor

import (
	"context"
	"net/http"
	"net/url"
	"strings"
)

// Paths of the pages that sign people in, below the origin of a page.
const (
	signInPath = "/account/sign-in"
	returnTo   = "rd"
)

// window are the headers of a browser that opens an address, and script those of a
// script on the page.
var (
	window = []string{"Accept", "text/html", "Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}
	script = []string{"Accept", "*/*", "Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty"}
)

func hasPages(w *walk) string {
	return unless(len(w.opt.Pages) > 0, "not asked for; --page URL names a page that people sign in for")
}

func hasEvents(w *walk) string {
	return unless(w.opt.Events != "", "not asked for; --security-events URL names where events are pushed to")
}

// given returns the URL of a page or endpoint that the doctor was given.
func (w *walk) given(raw string) (*url.URL, string) {
	u, err := url.Parse(raw)
	if err != nil || !w.probe.usable(u) {
		return nil, printable(raw) + " is no address that a browser or a transmitter would use"
	}
	return u, ""
}

// checkPages asks for each page without a session: as a script, and as a person.
func (w *walk) checkPages(ctx context.Context) outcome {
	for _, raw := range w.opt.Pages {
		u, bad := w.given(raw)
		if bad != "" {
			return fail("pages.form", bad)
		}
		for _, as := range [][]string{script, window} {
			a, err := w.probe.do(ctx, request{http.MethodGet, raw, as, ""})
			if err != nil {
				return fail("pages.unreachable", raw+": "+transport(err))
			}
			if o, ok := pageFault(u, a, as[1] == window[1]); ok {
				return o
			}
		}
	}
	return pass("")
}

// pageFault returns what is wrong with an answer to a request for a page without a
// session.
func pageFault(page *url.URL, a *answer, person bool) (outcome, bool) {
	saw := page.String() + " asked for by a script: " + a.String()
	if person {
		saw = page.String() + " opened without a session: " + a.String()
	}
	switch {
	case a.status < 300:
		return fail("pages.open", saw), true
	case a.status >= 500 || a.status == http.StatusNotFound:
		return fail("pages.failing", saw), true
	case !person && a.status < 400:
		return fail("pages.script", saw), true
	case !person:
		return outcome{}, false
	case a.status >= 400:
		return fail("pages.dead-end", saw), true
	}
	to, err := page.Parse(a.header.Get("Location"))
	if err != nil || to.Scheme != page.Scheme || to.Host != page.Host || to.Path != signInPath || to.Query().Get(returnTo) == "" {
		return fail("pages.elsewhere", saw), true
	}
	return outcome{}, false
}

// checkPageMCP opens the MCP server itself like a page, with a cookie like that of a
// session; it must accept only tokens.
func (w *walk) checkPageMCP(ctx context.Context) outcome {
	if w.getOpen {
		return skip("GET is open anyway")
	}
	made := strings.Repeat("0", 64)
	a, err := w.probe.do(ctx, request{http.MethodGet, w.url.String(), append([]string{"Cookie", "__Host-mcp-session=" + made + "; mcp-session=" + made}, window...), ""})
	if err != nil {
		return skip(transport(err))
	}
	saw := "opened in a window, with a cookie: " + a.String()
	switch {
	case a.status >= 300 && a.status < 400:
		return fail("page-mcp.redirected", saw)
	case a.status < 300:
		return fail("page-mcp.open", saw)
	case a.status == http.StatusUnauthorized && a.header.Get("WWW-Authenticate") == "" && w.anonymous.header.Get("WWW-Authenticate") != "":
		return fail("page-mcp.bare", saw+shownHeader(a, "WWW-Authenticate"))
	}
	return pass("refused like any other request without a token")
}

// checkAccount checks the start of a sign-in for the first page: the cookies that bind
// it to the browser, and whether its pages can be framed.
func (w *walk) checkAccount(ctx context.Context) outcome {
	page, bad := w.given(w.opt.Pages[0])
	if bad != "" {
		return skip(bad)
	}
	at := func(to string) string {
		return page.Scheme + "://" + page.Host + signInPath + "?" + url.Values{returnTo: {to}}.Encode()
	}
	a, err := w.probe.do(ctx, request{http.MethodGet, at(page.EscapedPath()), window, ""})
	if err != nil {
		return fail("account.missing", transport(err))
	}
	if a.status < 300 || a.status >= 400 {
		return fail("account.missing", at(page.EscapedPath())+": "+a.String())
	}
	if weak := weakCookies(a, page.Scheme == "https"); weak != "" {
		return fail("account.cookies", weak)
	}
	// An address of another site is refused with a page; its headers are those of all
	// pages.
	if a, err = w.probe.do(ctx, request{http.MethodGet, at("//elsewhere.example/"), window, ""}); err != nil {
		return fail("account.missing", transport(err))
	}
	if to := a.header.Get("Location"); a.status < 400 || to != "" {
		return fail("account.redirect", at("//elsewhere.example/")+": "+a.String())
	}
	if !strings.Contains(a.header.Get("Content-Security-Policy"), "frame-ancestors 'none'") || !strings.EqualFold(a.header.Get("X-Frame-Options"), "DENY") {
		return fail("account.frames", a.String()+shownHeader(a, "Content-Security-Policy")+shownHeader(a, "X-Frame-Options"))
	}
	return pass("")
}

// weakCookies says what is wrong with the cookies of an answer, "" for nothing.
func weakCookies(a *answer, secure bool) string {
	cookies := (&http.Response{Header: a.header}).Cookies()
	if len(cookies) == 0 {
		return "the sign-in sets no cookie"
	}
	for _, c := range cookies {
		switch {
		case !c.HttpOnly:
			return c.Name + " without HttpOnly"
		case c.SameSite != http.SameSiteLaxMode && c.SameSite != http.SameSiteStrictMode:
			return c.Name + " without SameSite"
		case c.Domain != "":
			return c.Name + " for the whole of " + c.Domain
		case secure && !c.Secure:
			return c.Name + " without Secure"
		case secure && !strings.HasPrefix(c.Name, "__Host-") && !strings.HasPrefix(c.Name, "__Secure-"):
			return c.Name + " without the prefix __Host-"
		}
	}
	return ""
}

// checkEvents pushes an event that no one signed, without the transmitter's token and
// with a wrong one.
func (w *walk) checkEvents(ctx context.Context) outcome {
	if _, bad := w.given(w.opt.Events); bad != "" {
		return fail("events.missing", bad)
	}
	for _, token := range []string{"", "not-a-token-but-a-question-of-the-doctor"} {
		header := []string{"Content-Type", "application/secevent+jwt", "Accept", "application/json"}
		if token != "" {
			header = append(header, "Authorization", "Bearer "+token)
		}
		a, err := w.probe.do(ctx, request{http.MethodPost, w.opt.Events, header, "e30.e30.ZG9jdG9y"}) // {}, {} and no signature
		if err != nil {
			return fail("events.missing", transport(err))
		}
		saw := "an event without the transmitter's token: " + a.String()
		switch challenge := a.header.Get("WWW-Authenticate"); {
		case a.status < 300:
			return fail("events.open", saw)
		case strings.Contains(challenge, "resource_metadata"):
			return fail("events.gated", saw+shownHeader(a, "WWW-Authenticate"))
		case a.status != http.StatusUnauthorized && a.status != http.StatusForbidden:
			return fail("events.missing", saw)
		}
	}
	return pass("refused")
}
