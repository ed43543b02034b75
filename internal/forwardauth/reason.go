package forwardauth

import (
	"net/http"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
)

// Reason says why a request was allowed or denied. It is an audit slug and a
// metric label; a client learns no more than the answer's error code.
type Reason uint8

// Reasons. Allowed is not the zero value: what was never decided is denied.
const (
	Undecided Reason = iota
	Allowed
	NoToken
	MalformedCredentials
	MalformedToken
	UnknownKey
	BadSignature
	WrongIssuer
	WrongAudience
	Expired
	Revoked
	DeniedByOperator
	UnknownHost
	UnknownResource
	AmbiguousTarget
	UnknownDialect
	reasons // how many there are
)

var slugs = [reasons]string{
	Undecided: "undecided", Allowed: "allowed", NoToken: "no_token", MalformedCredentials: "malformed_credentials",
	MalformedToken: "malformed_token", UnknownKey: "unknown_signing_key", BadSignature: "bad_signature",
	WrongIssuer: "wrong_issuer", WrongAudience: "wrong_audience", Expired: "expired_token",
	Revoked: "token_revoked", DeniedByOperator: "denied_by_operator",
	UnknownHost: "unknown_host", UnknownResource: "unknown_resource", AmbiguousTarget: "ambiguous_target",
	UnknownDialect: "unknown_dialect",
}

// Reasons lists every reason, for metrics and documentation.
func Reasons() []Reason {
	out := make([]Reason, reasons)
	for i := range out {
		out[i] = Reason(i)
	}
	return out
}

func (r Reason) String() string { return slugs[r] }

// answer is what a denial tells the client at a gateway that passes every status
// on. Everything that can be wrong with a token looks alike (RFC 6750, section 3.1).
func (r Reason) answer() (status int, code oauth.ErrorCode, description string) {
	switch r {
	case NoToken:
		return http.StatusUnauthorized, oauth.InvalidToken, "an access token is required"
	case MalformedCredentials:
		return http.StatusBadRequest, oauth.InvalidRequest, "the request must carry one Authorization header with one Bearer token"
	case MalformedToken, UnknownKey, BadSignature, WrongIssuer, WrongAudience, Expired, Revoked, DeniedByOperator:
		return http.StatusUnauthorized, oauth.InvalidToken, "the access token is expired or not valid for this MCP server"
	case UnknownHost, UnknownResource:
		return http.StatusForbidden, oauth.AccessDenied, "no MCP server is configured at this address"
	case AmbiguousTarget:
		return http.StatusForbidden, oauth.AccessDenied, "the address of this request can be read in more than one way"
	}
	return http.StatusForbidden, oauth.AccessDenied, "access denied"
}

// challenges reports whether a denial carries a challenge: where another token
// could help, or the same one sent properly.
func (r Reason) challenges() bool {
	status, _, _ := r.answer()
	return status == http.StatusUnauthorized || r == MalformedCredentials
}
