package account

import (
	"bytes"
	"cmp"
	"net/http"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/session"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/page"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/revocation"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/web"
)

// Refused answers GET /account/refused, which a gateway asks that has no place for a
// body in the answer to its question. The decision was made, and written down, before:
// here the person reads it, and nothing depends on what this page says.
func (e *Endpoint) Refused(w http.ResponseWriter, r *http.Request, host *resource.Host) {
	if !host.SignsIn() {
		notHere(w)
		return
	}
	v := e.enter(w, r, host)
	if v == nil {
		return
	}
	query, err := web.Query(r)
	if err != nil {
		web.FormError(w, err)
		return
	}
	e.refusedPage(w, r, host, &v.session, query.Get(web.ReturnParam))
}

// Refusal is the page of Refused as a part of another answer.
type Refusal struct {
	Header http.Header
	Body   string
	// Reference is what the page shows for one.
	Reference string
}

// Refusal renders the page for a request to host with these Cookie and Accept-Language
// lines. ok is false where there is no good session.
func (e *Endpoint) Refusal(host *resource.Host, target string, cookies, languages []string) (refusal Refusal, ok bool) {
	raw, several := session.Presented(cookies, host)
	if raw == "" || several {
		return Refusal{}, false
	}
	v, err := e.Sessions.Open(raw, host)
	if err != nil || e.Ended.Check(v.Facts()) != revocation.None {
		return Refusal{}, false
	}
	w := recorder{header: http.Header{}}
	e.refusedPage(&w, &http.Request{Header: http.Header{"Accept-Language": languages}}, host, &v, target)
	w.header.Del("Cache-Control") // every answer says it
	w.header.Del("Content-Length")
	return Refusal{w.header, w.body.String(), v.Flow}, true
}

// refusedPage tells a person that a page is not for their account.
func (e *Endpoint) refusedPage(w http.ResponseWriter, r *http.Request, host *resource.Host, v *session.Session, target string) {
	e.Pages.For(r).Error(w, page.Error{
		Status: http.StatusForbidden, Problem: page.PageNotAllowed, FlowID: v.Flow,
		Account: cmp.Or(v.Identity.Email, v.Identity.Name, v.Identity.Subject),
		Retry:   page.Link(web.SignInAgain(host, target)), SignOut: page.Link(host.Issuer + SignOutPath),
	})
}

// recorder keeps what is written. The status of a page that stands in an answer is
// that of the answer.
type recorder struct {
	header http.Header
	body   bytes.Buffer
}

func (w *recorder) Header() http.Header         { return w.header }
func (w *recorder) WriteHeader(int)             {}
func (w *recorder) Write(b []byte) (int, error) { return w.body.Write(b) }
