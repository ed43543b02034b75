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

// wayBack returns a link to the client, the only one on our pages. target must be made by
// errorRedirect, for a redirect URI that was matched.
func wayBack(target string) page.Link { return page.Link(target) }

// errorView returns the page for a protocol error.
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

// problem returns the texts for an error: those of its audit reason, or else those of its
// code.
func problem(oe *oauth.Error) page.Problem {
	for _, name := range []reasons.Reason{oe.AuditReason(), reasons.Reason(oe.Code)} {
		if p := page.Problem(name); slices.Contains(page.Problems, p) {
			return p
		}
	}
	return page.InvalidRequest
}

// startAgainView returns the page for a form or callback that cannot be honoured.
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

// soon is after what time a person should try again when something is not available.
const soon = 5 * time.Second

// showError writes an error page. wait is the time until another try may succeed, 0 if
// that is not known.
func showError(pages *page.Pages, w http.ResponseWriter, r *http.Request, view page.Error, wait time.Duration) {
	if wait > 0 {
		(&web.TooMany{Wait: wait}).Headers(w.Header())
	}
	pages.For(r).Error(w, view)
}

// TooMany writes the page for a request over a limit that is checked before a flow is
// known.
func TooMany(pages *page.Pages, w http.ResponseWriter, r *http.Request, slow *web.TooMany) {
	showError(pages, w, r, tooManyView(""), slow.Wait)
}

// Busy writes the page for a request that this service has no capacity to answer.
func Busy(pages *page.Pages, w http.ResponseWriter, r *http.Request, oe *oauth.Error) {
	showError(pages, w, r, errorView(oe, ""), soon)
}
