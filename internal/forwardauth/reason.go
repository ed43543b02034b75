package forwardauth

import (
	"errors"
	"net/http"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/dpop"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
)

// Reason says why a request was allowed or denied. Its name is an audit reason and the
// value of a metric label. The client learns no more than the answer's error code and
// text.
type Reason uint8

// Reasons. The zero value is Undecided, which denies.
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
	NotServedThatWay
	Preflight // passes: the question that a browser asks before a request, see preflight
	Advised   // passes: an advisory policy would deny it
	ForbiddenOrigin
	RepeatedHeader
	MissingHeader
	MalformedHeader
	HeaderMismatch
	MalformedBody
	MediaTypeMissing
	WrongMediaType
	EncodedBody
	BodyMissing
	BodyTooLarge
	OldProtocol
	InsufficientScope
	ToolChanged
	ToolNotListed
	NoScope
	NotAllowed
	PolicyChanged
	CatalogueUnavailable
	AmbiguousURI
	UnknownIssuer
	OwnTokenNotAccepted
	WrongTokenType
	AlgorithmRefused
	ForbiddenTokenHeader
	NoAudience
	TokenNotYetValid
	WrongTenant
	ClientNotAccepted
	NoSubject
	BoundToken
	BoundTokenAsBearer
	UnboundToken
	ProofMissing
	ProofRepeated
	ProofMalformed
	ProofType
	ProofAlgorithm
	ProofKey
	ProofSignature
	ProofMethod
	ProofURL
	ProofTime
	ProofToken
	ProofReplayed
	ProofWrongKey
	NonceNeeded
	NotCheckable
	DelegatedToken
	InactiveToken
	IssuerKeysUnavailable
	VerifierUnavailable
	TooManyWaiting
	ProviderSessionOver
	APIKeyMalformed
	APIKeyUnknown
	APIKeyExpired
	APIKeySignInDue
	APIKeyRevoked
	APIKeyNotAccepted
	APIKeyWrongSource
	APIKeyNotEnough
	APIKeyRefused
	NotAnAPIKey
	TwoCredentials
	NoSession
	SessionExpired
	SessionInvalid
	SessionDue
	CrossSiteRequest
	numReasons
)

// NumReasons is the number of reasons.
const NumReasons = int(numReasons)

// slugs are the names of the reasons, in the audit log and in metrics.
var slugs = [numReasons]reasons.Reason{
	Undecided: reasons.Undecided, Allowed: reasons.Allowed, NoToken: reasons.NoToken, MalformedCredentials: reasons.MalformedCredentials,
	MalformedToken: reasons.MalformedToken, UnknownKey: reasons.UnknownSigningKey, BadSignature: reasons.BadSignature,
	WrongIssuer: reasons.WrongIssuer, WrongAudience: reasons.WrongAudience, Expired: reasons.ExpiredToken,
	Revoked: reasons.TokenRevoked, DeniedByOperator: reasons.DeniedByOperator,
	UnknownHost: reasons.UnknownHost, UnknownResource: reasons.UnknownResource, AmbiguousTarget: reasons.AmbiguousTarget,
	UnknownDialect: reasons.UnknownDialect, NotServedThatWay: reasons.NotServedThatWay, Preflight: reasons.Preflight, Advised: reasons.AllowedByAdvisoryPolicy, ForbiddenOrigin: reasons.ForbiddenOrigin,
	RepeatedHeader: reasons.RepeatedMCPHeader, MissingHeader: reasons.MissingMCPHeader, MalformedHeader: reasons.MalformedMCPHeader,
	HeaderMismatch: reasons.HeaderBodyMismatch, MalformedBody: reasons.MalformedBody,
	MediaTypeMissing: reasons.MediaTypeMissing, WrongMediaType: reasons.WrongMediaType, EncodedBody: reasons.EncodedBody, BodyMissing: reasons.BodyMissing, BodyTooLarge: reasons.BodyTooLarge,
	OldProtocol: reasons.OldProtocolVersion, InsufficientScope: reasons.InsufficientScope, ToolChanged: reasons.ToolChanged, ToolNotListed: reasons.ToolNotListed, NoScope: reasons.NoScopeOpensIt, NotAllowed: reasons.NotAllowedByPolicy, PolicyChanged: reasons.PolicyChanged,
	CatalogueUnavailable: reasons.CatalogueUnavailable, AmbiguousURI: reasons.AmbiguousURI,
	UnknownIssuer: reasons.UnknownIssuer, OwnTokenNotAccepted: reasons.OwnTokenNotAccepted, WrongTokenType: reasons.WrongTokenType,
	AlgorithmRefused: reasons.AlgorithmRefused, ForbiddenTokenHeader: reasons.ForbiddenTokenHeader, NoAudience: reasons.NoAudience,
	TokenNotYetValid: reasons.TokenNotYetValid, WrongTenant: reasons.WrongTenant, ClientNotAccepted: reasons.ClientNotAccepted,
	NoSubject: reasons.NoSubject, BoundToken: reasons.BoundToken, DelegatedToken: reasons.DelegatedToken, InactiveToken: reasons.InactiveToken, IssuerKeysUnavailable: reasons.IssuerKeysUnavailable,
	BoundTokenAsBearer: reasons.BoundTokenAsBearer, UnboundToken: reasons.UnboundToken,
	ProofMissing: reasons.DPoPProofMissing, ProofRepeated: reasons.DPoPProofRepeated, ProofMalformed: reasons.DPoPProofMalformed, ProofType: reasons.DPoPProofType,
	ProofAlgorithm: reasons.DPoPProofAlgorithm, ProofKey: reasons.DPoPProofKey, ProofSignature: reasons.DPoPProofSignature, ProofMethod: reasons.DPoPProofMethod,
	ProofURL: reasons.DPoPProofURL, ProofTime: reasons.DPoPProofTime, ProofToken: reasons.DPoPProofToken, ProofReplayed: reasons.DPoPProofReplayed,
	ProofWrongKey: reasons.DPoPWrongKey, NonceNeeded: reasons.DPoPNonceNeeded, NotCheckable: reasons.DPoPNotCheckable,
	VerifierUnavailable: reasons.VerifierUnavailable, TooManyWaiting: reasons.TooManyWaiting,
	ProviderSessionOver: reasons.ProviderSessionOver,
	APIKeyMalformed:     reasons.APIKeyMalformed, APIKeyUnknown: reasons.APIKeyUnknown, APIKeyExpired: reasons.APIKeyExpired,
	APIKeySignInDue: reasons.APIKeySignInDue,
	APIKeyRevoked:   reasons.APIKeyRevoked, APIKeyNotAccepted: reasons.APIKeyNotAccepted, APIKeyWrongSource: reasons.APIKeyWrongSource,
	APIKeyNotEnough: reasons.APIKeyNotEnough, APIKeyRefused: reasons.APIKeyRefused, NotAnAPIKey: reasons.NotAnAPIKey, TwoCredentials: reasons.TwoCredentials,
	NoSession: reasons.NoSession, SessionExpired: reasons.SessionExpired, SessionInvalid: reasons.SessionInvalid, SessionDue: reasons.SessionDue,
	CrossSiteRequest: reasons.CrossSiteRequest,
}

// bySlug finds a reason by its name.
var bySlug = func() map[reasons.Reason]Reason {
	known := make(map[reasons.Reason]Reason, numReasons)
	for i, slug := range slugs {
		known[slug] = Reason(i)
	}
	return known
}()

// reasonOf returns the reason of an error of a kind of credential. An error without a
// known reason counts as a malformed token. No error can give a reason that allows.
func reasonOf(err error) Reason {
	refused, ok := errors.AsType[credential.Refused](err)
	r := bySlug[refused.Reason]
	if code := answers[r].code; ok && (code == oauth.InvalidToken || code == oauth.TemporarilyUnavailable) {
		return r
	}
	return MalformedToken
}

// Reasons lists every reason, for metrics and documentation.
func Reasons() []Reason {
	out := make([]Reason, numReasons)
	for i := range out {
		out[i] = Reason(i)
	}
	return out
}

// asksForMore reports whether the person can get what was denied by agreeing to more.
func (r Reason) asksForMore() bool { return r == InsufficientScope || r == ToolChanged }

// String returns the reason's name.
func (r Reason) String() string { return string(slugs[r]) }

// answer is what the client is told about a denial.
type answer struct {
	// status is for gateways that pass every status on to the client. strict is for
	// gateways that pass on only 401, with its challenge, and 403, and that turn every
	// other denial into a 500.
	status, strict int
	code           oauth.ErrorCode
	text           string
	// challenge says that the answer has WWW-Authenticate: another token could help, or
	// the same one sent properly.
	challenge bool
	body      string // JSON with code and text, unless it is set
}

// status returns the status of a denial at gateways of this dialect.
func (r Reason) status(d Dialect) int {
	if own := traits[d].statuses[r]; own != 0 {
		return own
	}
	if traits[d].strict {
		return answers[r].strict
	}
	return answers[r].status
}

// headerMismatch is MCP's error code for headers that are missing or do not say the same
// as the body ("Server Validation").
const headerMismatch = "-32020"

// answers has the answer to each reason. Everything that can be wrong with an access
// token gets the same answer (RFC 6750, section 3.1). The holder of an API key is told
// what is wrong with the key, because a new sign-in would not help.
var answers = func() (all [numReasons]answer) {
	denied := func(text string) answer {
		return answer{status: http.StatusForbidden, strict: http.StatusForbidden, code: oauth.AccessDenied, text: text}
	}
	badHeaders := func(text string) answer {
		return answer{
			status: http.StatusBadRequest, strict: http.StatusForbidden, code: oauth.InvalidRequest, text: text,
			body: `{"jsonrpc":"2.0","id":null,"error":{"code":` + headerMismatch + `,"message":"` + text + `"}}` + "\n",
		}
	}
	unauthorized := func(code oauth.ErrorCode, text string) answer {
		return answer{status: http.StatusUnauthorized, strict: http.StatusUnauthorized, code: code, text: text, challenge: true}
	}
	badToken := unauthorized(oauth.InvalidToken, "the access token is expired or not valid for this MCP server")
	for r := range all {
		all[r] = denied("access denied")
	}
	all[NoToken] = unauthorized(oauth.InvalidToken, "an access token is required")
	all[MalformedCredentials] = unauthorized(oauth.InvalidRequest, "the request must carry one Authorization header with one Bearer token")
	all[MalformedCredentials].status = http.StatusBadRequest
	for _, r := range []Reason{
		MalformedToken, UnknownKey, BadSignature, WrongIssuer, WrongAudience, Expired, Revoked, DeniedByOperator, PolicyChanged,
		UnknownIssuer, OwnTokenNotAccepted, WrongTokenType, AlgorithmRefused, ForbiddenTokenHeader, NoAudience, TokenNotYetValid,
		WrongTenant, ClientNotAccepted, NoSubject, BoundToken, DelegatedToken, InactiveToken,
	} {
		all[r] = badToken
	}
	for _, r := range []Reason{BoundTokenAsBearer, UnboundToken} {
		all[r] = unauthorized(oauth.InvalidToken, "this MCP server needs the access token with the scheme DPoP and a proof of the key that it is bound to")
	}
	for _, r := range []Reason{
		ProofMissing, ProofRepeated, ProofMalformed, ProofType, ProofAlgorithm, ProofKey, ProofSignature, ProofMethod, ProofURL, ProofTime, ProofToken, ProofReplayed, ProofWrongKey,
	} {
		all[r] = unauthorized(oauth.InvalidDPoPProof, dpop.Told(slugs[r]))
	}
	all[NonceNeeded] = unauthorized(oauth.UseDPoPNonce, dpop.Told(slugs[NonceNeeded]))
	all[NotCheckable] = denied("the gateway does not tell the method and path of this request, without which no DPoP proof can be checked")
	all[ProviderSessionOver] = unauthorized(oauth.InvalidToken, "the sign-in at the identity provider that this MCP server needs has ended; sign in again")
	// The holder of an API key has to get another key; a sign-in would not help.
	all[APIKeyMalformed] = unauthorized(oauth.InvalidToken, "the API key is incomplete or mistyped")
	all[APIKeyUnknown] = unauthorized(oauth.InvalidToken, "the API key is not known here")
	all[APIKeyExpired] = unauthorized(oauth.InvalidToken, "the API key has expired")
	all[APIKeySignInDue] = unauthorized(oauth.InvalidToken, "the person who made the API key has to sign in here again, in a browser or with an app")
	all[APIKeyRevoked] = unauthorized(oauth.InvalidToken, "the API key was revoked")
	all[APIKeyNotAccepted] = unauthorized(oauth.InvalidToken, "the API key is not for this MCP server")
	all[APIKeyWrongSource] = unauthorized(oauth.InvalidToken, "the API key may not be used from this network")
	all[APIKeyRefused] = unauthorized(oauth.InvalidToken, "the API key is refused")
	all[NotAnAPIKey] = unauthorized(oauth.InvalidToken, "the header for API keys holds something else")
	all[APIKeyNotEnough] = denied("the API key does not allow this")
	all[TwoCredentials] = unauthorized(oauth.InvalidRequest, "the request must carry one credential, in one header")
	all[TwoCredentials].status = http.StatusBadRequest
	// The credential may be good: a client must not throw it away, or sign in again.
	for _, r := range []Reason{IssuerKeysUnavailable, VerifierUnavailable, TooManyWaiting} {
		all[r] = answer{
			status: http.StatusServiceUnavailable, strict: http.StatusServiceUnavailable, code: oauth.TemporarilyUnavailable,
			text: "the credential cannot be checked right now; try again",
		}
	}
	for _, r := range []Reason{NoSession, SessionExpired, SessionInvalid, SessionDue} {
		all[r] = unauthorized(oauth.InvalidToken, "a person has to sign in here, in a browser")
	}
	all[CrossSiteRequest] = denied("another site made the browser send this")
	all[UnknownHost] = denied("no MCP server is configured at this address")
	all[UnknownResource] = all[UnknownHost]
	all[AmbiguousTarget] = denied("the address of this request can be read in more than one way")
	all[UnknownDialect] = denied("the gateway asks at an address that does not exist")
	all[NotServedThatWay] = all[UnknownHost]
	all[ForbiddenOrigin] = denied("this page may not use the MCP server")
	all[RepeatedHeader] = badHeaders("MCP-Protocol-Version, Mcp-Method and Mcp-Name must not repeat")
	all[MissingHeader] = badHeaders("this revision of MCP needs the header Mcp-Method, and for this method Mcp-Name")
	all[MalformedHeader] = badHeaders("Mcp-Method or Mcp-Name holds a value that is not properly encoded")
	all[HeaderMismatch] = badHeaders("the headers of the request do not say what its body says")
	unsupported := func(text string) answer {
		a := denied(text)
		a.status, a.code = http.StatusUnsupportedMediaType, oauth.InvalidRequest
		return a
	}
	all[MediaTypeMissing] = unsupported("the request must have one header Content-Type: application/json, and the gateway must forward it")
	all[WrongMediaType] = unsupported("the Content-Type of the request must be application/json, in UTF-8")
	all[EncodedBody] = unsupported("the body of the request must not be compressed")
	all[MalformedBody] = denied("the body is not JSON-RPC that every server reads in the same way")
	all[MalformedBody].status, all[MalformedBody].code = http.StatusBadRequest, oauth.InvalidRequest
	all[BodyMissing] = denied("the body of the request could not be seen")
	all[BodyTooLarge] = denied("the body of the request is too large")
	all[OldProtocol] = denied("this MCP server is open to revision 2026-07-28 of MCP and later only")
	all[InsufficientScope] = answer{
		status: http.StatusForbidden, strict: http.StatusUnauthorized, code: oauth.InsufficientScope,
		text: "the access token lacks a scope that this request needs", challenge: true,
	}
	all[ToolChanged] = all[InsufficientScope]
	all[ToolChanged].text = "this tool is new, or has changed since the person agreed; they have to agree again"
	all[ToolNotListed] = denied("the MCP server does not list this tool, so the person cannot have agreed to it")
	all[NoScope] = denied("no scope opens this to anyone")
	all[NotAllowed] = denied("the rules of this service do not allow this")
	all[CatalogueUnavailable] = denied("the tools of this MCP server are not known here, so only those that the configuration names are open")
	all[AmbiguousURI] = denied("the URI of the resource can be read in more than one way")
	for r := range all {
		all[r] = all[r].withBody()
	}
	return all
}()

// noKey is the answer to a request without a credential at a resource that takes API keys
// alone.
var noKey = answer{
	status: http.StatusUnauthorized, strict: http.StatusUnauthorized, code: oauth.InvalidToken, text: "an API key is required", challenge: true,
}.withBody()

// withBody returns a with its body filled in.
func (a answer) withBody() answer {
	if a.body == "" {
		a.body = `{"error":"` + string(a.code) + `","error_description":"` + a.text + `"}` + "\n"
	}
	return a
}
