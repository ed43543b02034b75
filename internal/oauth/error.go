package oauth

import (
	"fmt"
	"net/http"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
)

// ErrorCode is the value of the "error" member or parameter on the wire.
type ErrorCode string

// Error codes, in the order of the documents that define them.
const (
	// RFC 6749, sections 4.1.2.1 and 5.2.
	InvalidRequest          ErrorCode = "invalid_request"
	InvalidClient           ErrorCode = "invalid_client"
	InvalidGrant            ErrorCode = "invalid_grant"
	UnauthorizedClient      ErrorCode = "unauthorized_client"
	UnsupportedGrantType    ErrorCode = "unsupported_grant_type"
	AccessDenied            ErrorCode = "access_denied"
	UnsupportedResponseType ErrorCode = "unsupported_response_type"
	InvalidScope            ErrorCode = "invalid_scope"
	ServerError             ErrorCode = "server_error"
	TemporarilyUnavailable  ErrorCode = "temporarily_unavailable"
	// RFC 6750, section 3.1.
	InvalidToken      ErrorCode = "invalid_token"
	InsufficientScope ErrorCode = "insufficient_scope"
	// RFC 7009, section 2.2.1.
	UnsupportedTokenType ErrorCode = "unsupported_token_type"
	// RFC 9449, sections 5 and 8.
	InvalidDPoPProof ErrorCode = "invalid_dpop_proof"
	UseDPoPNonce     ErrorCode = "use_dpop_nonce"
	// RFC 7591, section 3.2.2.
	InvalidRedirectURI    ErrorCode = "invalid_redirect_uri"
	InvalidClientMetadata ErrorCode = "invalid_client_metadata"
	// RFC 8628, section 3.5.
	AuthorizationPending ErrorCode = "authorization_pending"
	SlowDown             ErrorCode = "slow_down"
	ExpiredToken         ErrorCode = "expired_token"
	// RFC 8707, section 2.
	InvalidTarget ErrorCode = "invalid_target"
	// OpenID Connect Core, section 3.1.2.6.
	InteractionRequired    ErrorCode = "interaction_required"
	RequestNotSupported    ErrorCode = "request_not_supported"
	RequestURINotSupported ErrorCode = "request_uri_not_supported"
)

// statuses is the one place that turns an error code into an HTTP status.
var statuses = map[ErrorCode]int{
	InvalidRequest:          http.StatusBadRequest,
	InvalidClient:           http.StatusUnauthorized,
	InvalidGrant:            http.StatusBadRequest,
	UnauthorizedClient:      http.StatusBadRequest,
	UnsupportedGrantType:    http.StatusBadRequest,
	AccessDenied:            http.StatusForbidden,
	UnsupportedResponseType: http.StatusBadRequest,
	InvalidScope:            http.StatusBadRequest,
	ServerError:             http.StatusInternalServerError,
	TemporarilyUnavailable:  http.StatusServiceUnavailable,
	InvalidToken:            http.StatusUnauthorized,
	InsufficientScope:       http.StatusForbidden,
	UnsupportedTokenType:    http.StatusBadRequest,
	InvalidRedirectURI:      http.StatusBadRequest,
	InvalidClientMetadata:   http.StatusBadRequest,
	AuthorizationPending:    http.StatusBadRequest,
	SlowDown:                http.StatusBadRequest,
	ExpiredToken:            http.StatusBadRequest,
	InvalidTarget:           http.StatusBadRequest,
	InvalidDPoPProof:        http.StatusBadRequest,
	UseDPoPNonce:            http.StatusBadRequest,
	InteractionRequired:     http.StatusBadRequest,
	RequestNotSupported:     http.StatusBadRequest,
	RequestURINotSupported:  http.StatusBadRequest,
}

// Status returns the HTTP status of a response that carries code in its body.
// An unknown code is a fault of this service.
func (code ErrorCode) Status() int {
	if s, ok := statuses[code]; ok {
		return s
	}
	return http.StatusInternalServerError
}

// Error is a protocol error: what the other side is told, and, apart from it,
// why (Reason, a short slug for the audit log that never leaves the service).
type Error struct {
	Code        ErrorCode
	Description string         // our own fixed text, in the charset of RFC 6749, section 5.2
	Reason      reasons.Reason // for the audit log; defaults to Code
	Cause       error          // for the log only
}

func (e *Error) Error() string {
	if e.Cause != nil {
		return fmt.Sprintf("%s: %s: %v", e.Code, e.Description, e.Cause)
	}
	return fmt.Sprintf("%s: %s", e.Code, e.Description)
}

func (e *Error) Unwrap() error { return e.Cause }

// AuditReason returns the slug for the audit log.
func (e *Error) AuditReason() reasons.Reason {
	if e.Reason != "" {
		return e.Reason
	}
	return reasons.Reason(e.Code)
}

// Errorf makes an Error whose description is built from our own constants.
// Do not format anything into it that came from the request: descriptions are
// shown to people and logged by clients (RFC 6749, section 5.2 limits their charset).
func Errorf(code ErrorCode, format string, args ...any) *Error {
	return &Error{Code: code, Description: fmt.Sprintf(format, args...)}
}
