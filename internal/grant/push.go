package grant

import (
	"net/http"
	"net/url"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/web"
)

// PushPath is the path of the endpoint for pushed authorization requests (RFC 9126).
const PushPath = "/par"

// Push checks and seals an authorization request of a client that has authenticated. It
// returns the request_uri and for how many seconds it can be used.
type Push func(r *http.Request, host *resource.Host, client *registration.Client, params url.Values) (requestURI string, seconds int, err error)

type pushed struct {
	RequestURI string `json:"request_uri"`
	ExpiresIn  int    `json:"expires_in"`
}

// PushRequest answers POST /par. The client authenticates as at /token. What it proves
// itself with is not used up: to push a request twice gains nothing, and remembering
// every proof would let strangers fill the guard.
func (e *Endpoint) PushRequest(w http.ResponseWriter, r *http.Request, host *resource.Host) {
	c := &call{Request: r, host: host, entry: audit.Entry{Host: host.Name}, refused: audit.AuthorizeRefused}
	answer, err := e.push(w, c)
	if err != nil {
		e.refuse(w, c, err)
		return
	}
	web.JSON(w, http.StatusCreated, answer)
}

func (e *Endpoint) push(w http.ResponseWriter, c *call) (*pushed, error) {
	if err := e.begin(w, c); err != nil {
		return nil, err
	}
	if err := e.readKeyProof(w, c, PushPath); err != nil {
		return nil, err
	}
	params := c.form
	if c.proof != nil { // the code will be bound to its key (RFC 9449, section 10.1)
		if jkt := c.params.Get("dpop_jkt"); jkt != "" && jkt != c.proof.Thumbprint {
			return nil, &oauth.Error{Code: oauth.InvalidDPoPProof, Description: "dpop_jkt is not the thumbprint of the proof's key", Reason: reasons.DPoPWrongKey}
		}
		params.Set("dpop_jkt", c.proof.Thumbprint)
	}
	uri, seconds, err := e.Push(c.Request, c.host, c.client, params)
	if err != nil {
		return nil, err
	}
	return &pushed{uri, seconds}, nil
}

// PushRoute returns the route of pushed authorization requests.
func (e *Endpoint) PushRoute() web.Route {
	return web.Route{Pattern: PushPath, Methods: []string{http.MethodPost}, Serve: e.PushRequest, Public: true, Waits: true, Begins: true, Refused: audit.AuthorizeRefused}
}
