package authorize

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// Pushed authorization requests (RFC 9126): a client first sends its request to this
// service, and the browser then brings a reference to it. The reference is the sealed
// request itself, so that nothing is stored and every replica can read it. It can be used
// again until it expires, because people reload pages (section 4). The code is bound to
// the client and its verifier in any case.

// PushedLifetime is how long a request_uri can be used.
const PushedLifetime = time.Minute

const (
	pushedPrefix = "urn:ietf:params:oauth:request_uri:"
	// maxPushed bounds a request_uri, which must fit into a URL.
	maxPushed = 8 << 10
)

// pushedRequest is the content of a request_uri. The issuer is associated data.
type pushedRequest struct {
	ClientID string     `json:"client"`
	Params   url.Values `json:"params"`
}

// pushedDictionary shortens request_uris: it has the texts that most of them contain.
const pushedDictionary = `{"client":"dcr1.","params":{"client_id":[""],"code_challenge":[""],"code_challenge_method":["S256"],"dpop_jkt":[""],` +
	`"redirect_uri":["http://127.0.0.1:/callback"],"resource":["https://mcp.example.com/mcp"],"response_type":["code"],"scope":["notes:read"],"state":[""]}}`

// Push checks the request of a client that has authenticated, and returns its
// request_uri. Errors are those of an authorization request.
func (e *Endpoint) Push(r *http.Request, host *resource.Host, client *registration.Client, params url.Values) (requestURI string, err error) {
	if params.Has("request_uri") {
		return "", oauth.Errorf(oauth.InvalidRequest, "request_uri cannot be pushed")
	}
	kept := url.Values{}
	for name, values := range params {
		switch name {
		case "client_secret", "client_assertion", "client_assertion_type": // they authenticate the push, and are not part of the request
		default:
			kept[name] = values
		}
	}
	kept.Set("client_id", client.ID)
	req := &request{host: host, params: oauth.NewParams(kept, "resource"), pushed: true}
	for _, check := range e.requestChecks() {
		if err := check(r, req); err != nil {
			return "", err
		}
	}
	sealed, err := e.Steps.pushed.Seal(pushedRequest{client.ID, kept}, e.Now().Add(PushedLifetime), host.Issuer)
	if err != nil {
		return "", err
	}
	if len(sealed) > maxPushed {
		return "", oauth.Errorf(oauth.InvalidRequest, "the request is too long to be pushed")
	}
	return pushedPrefix + sealed, nil
}

// openPushed replaces the parameters of the browser by those that were pushed. Of the
// browser's, only client_id counts (RFC 9126, section 4; RFC 9101, section 5).
func (e *Endpoint) openPushed(_ *http.Request, req *request) error {
	if req.params.Duplicated("request_uri") {
		return req.params.CheckDuplicates()
	}
	sealed, ok := strings.CutPrefix(req.params.Get("request_uri"), pushedPrefix)
	if !ok || !e.Pushed {
		return nil // another kind of request_uri is refused later
	}
	pushed, err := e.Steps.pushed.Open(sealed, req.host.Issuer)
	if err == nil && pushed.ClientID != req.params.Get("client_id") {
		return &oauth.Error{Code: oauth.InvalidRequest, Description: "the request_uri is of another client", Reason: reasons.PushedRequestInvalid}
	}
	if err != nil {
		return &oauth.Error{Code: oauth.InvalidRequest, Description: "the request_uri has expired or is not one of this service", Reason: reasons.PushedRequestInvalid, Cause: err}
	}
	req.params, req.pushed = oauth.NewParams(pushed.Params, "resource"), true
	return nil
}

// demandPushed refuses a request that was not pushed, if it had to be.
func (e *Endpoint) demandPushed(_ *http.Request, req *request) error {
	if !req.pushed && (e.PushedOnly || e.Pushed && req.client.PushedOnly) {
		return &oauth.Error{Code: oauth.InvalidRequest, Description: "the authorization request must be pushed (RFC 9126)", Reason: reasons.PushedRequestMissing}
	}
	return nil
}
