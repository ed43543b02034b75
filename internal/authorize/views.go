package authorize

import (
	"net/http"
	"slices"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/page"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/web"
)

// wayBack is a link to the client. Target is a response to a matched redirect
// URI, made by errorRedirect; it is the one door from our pages to a client.
func wayBack(target string) page.Link { return page.Link(target) }

// errorView is the page for a protocol error.
func errorView(oe *oauth.Error, flow string) page.Error {
	v := page.Error{Status: oe.Code.Status(), Problem: problem(oe), FlowID: flow}
	if oe.Code == oauth.InvalidClient {
		v.Status = http.StatusBadRequest // 401 is for the token endpoint; here no credential would help
	}
	if v.Problem == page.InvalidRequest || v.Problem == page.ClientDocumentUnreachable {
		v.Detail = oe.Description // for the app's maker or the operator, who read it in English everywhere
	}
	return v
}

// problem finds the texts for an error: by its audit reason, which is the more
// exact, else by its code.
func problem(oe *oauth.Error) page.Problem {
	for _, name := range []reasons.Reason{oe.AuditReason(), reasons.Reason(oe.Code)} {
		if p := page.Problem(name); slices.Contains(page.Problems, p) {
			return p
		}
	}
	return page.InvalidRequest
}

// startAgainView is the page for a form or callback that is not ours to honour.
func startAgainView(reason reasons.Reason, flow string) page.Error {
	v := page.Error{Status: http.StatusForbidden, Problem: page.OtherBrowser, FlowID: flow}
	if reason == reasons.SignInExpired {
		v.Problem = page.ConsentExpired
	}
	switch p := page.Problem(reason); p {
	case page.ConsentExpired, page.UsedTwice, page.CrossSiteForm, page.UnknownProvider, page.OtherProvider, page.Displaced:
		v.Problem = p
	}
	return v
}

func tooManyView(flow string) page.Error {
	return page.Error{Status: http.StatusTooManyRequests, Problem: page.TooManyRequests, FlowID: flow}
}

// soon is when a person may try again what is not possible now.
const soon = 5 * time.Second

// showError writes an error page; wait is until it is worth another try, 0 where
// that is not known.
func showError(pages *page.Pages, w http.ResponseWriter, r *http.Request, view page.Error, wait time.Duration) {
	if wait > 0 {
		(&web.TooMany{Wait: wait}).Headers(w.Header())
	}
	pages.For(r).Error(w, view)
}

// TooMany writes the page for a limit that is reached, before a flow is known.
func TooMany(pages *page.Pages, w http.ResponseWriter, r *http.Request, slow *web.TooMany) {
	showError(pages, w, r, tooManyView(""), slow.Wait)
}

// Busy writes the page for a request that is not answered now.
func Busy(pages *page.Pages, w http.ResponseWriter, r *http.Request, oe *oauth.Error) {
	showError(pages, w, r, errorView(oe, ""), soon)
}
