package forwardauth

import (
	"net/http"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// answer fills in what the gateway is told.
func (e *Endpoint) answer(q *Request, d *Decision) {
	if d.Reason == Allowed {
		d.Status, d.Headers, d.Remove = http.StatusOK, d.Token.identity, e.remove
		return
	}
	status, code, text := d.Reason.answer()
	if status == http.StatusBadRequest && traits[q.Dialect].strict {
		status = http.StatusForbidden
		if d.Reason == MalformedCredentials {
			status = http.StatusUnauthorized
		}
	}
	d.Status = status
	d.Headers = append(d.Headers, Header{"Content-Type", []string{"application/json"}})
	if d.Reason.challenges() {
		c := oauth.Challenge{Scope: e.baseline(d.Resource), ResourceMetadata: d.Resource.MetadataURL(metadataPath(q, d.Resource))}
		if d.Reason != NoToken { // RFC 6750, section 3.1: no error code without a token
			c.Error, c.ErrorDescription = code, text
		}
		d.Headers = append(d.Headers, Header{"Www-Authenticate", []string{c.String()}})
	}
	d.Body = `{"error":"` + string(code) + `","error_description":"` + text + `"}` + "\n"
}

// metadataPath is the path whose metadata document a challenge names, so that
// the document's resource is the URL the client called (RFC 9728, section 3.3).
func metadataPath(q *Request, r *resource.Resource) string {
	if q.NoPath {
		return r.Path
	}
	return q.Path
}

// maxChallengeScope keeps the challenge within a gateway's header buffer.
const maxChallengeScope = 1 << 10

// baseline is the scope that a client should ask for first.
func (e *Endpoint) baseline(r *resource.Resource) oauth.Scopes {
	scopes := r.DefaultScopes
	if len(scopes) == 0 {
		scopes = e.Scopes(r).Advertised()
	}
	if len(scopes.String()) > maxChallengeScope {
		return nil
	}
	return scopes
}

func hostname(hostport string) string {
	if i := strings.LastIndexByte(hostport, ':'); i > strings.LastIndexByte(hostport, ']') {
		return hostport[:i]
	}
	return hostport
}
