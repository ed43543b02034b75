// Package reasons lists every reason that an audit entry may carry, with what it
// means to an operator. The set is closed: a reason that is not in the list does
// not compile, and docs/reference/audit.md is made from it.
package reasons

import (
	"maps"
	"slices"
)

// Reason says why something was refused, or what was special about it. It is a
// short name for logs and metrics, and never leaves the service otherwise. The
// empty Reason is none.
type Reason string

// Meaning returns what the reason means to an operator, "" if it is not in the list.
func (r Reason) Meaning() string { return meanings[r] }

// All returns the reasons in the order of their names.
func All() []Reason { return slices.Sorted(maps.Keys(meanings)) }

var meanings = map[Reason]string{}

func define(name Reason, meaning string) Reason {
	meanings[name] = meaning
	return name
}

// The reasons.
var (
	// Requests that are wrong in themselves.
	BodyTooLarge         = define("body_too_large", "the request's body exceeds its bound")
	BodyUnreadable       = define("body_unreadable", "the request's body ended early or came too slowly")
	ClientIDMissing      = define("client_id_missing", "the request names no client")
	DuplicateParameter   = define("duplicate_parameter", "a parameter that must not repeat came more than once")
	MalformedCallback    = define("malformed_callback", "the identity provider's answer has a malformed or repeated parameter")
	MalformedForm        = define("malformed_form", "the body is not a valid form")
	MalformedQuery       = define("malformed_query", "the query is not valid")
	QueryTooLong         = define("query_too_long", "the query exceeds its bound")
	WrongMediaType       = define("wrong_media_type", "the body has another media type than the endpoint takes; of a request to an MCP server, anything but one application/json in UTF-8")
	PushedRequestInvalid = define("pushed_request_invalid", "the request_uri of the authorization request has expired, is of another client, or is not one of this service")
	PushedRequestMissing = define("pushed_request_missing", "the authorization request must be pushed to /par first, and was not")
	RedirectURIMissing   = define("redirect_uri_missing", "the client registered several redirect URIs and the request names none")
	RedirectURIMismatch  = define("redirect_uri_mismatch", "the redirect URI is not one that the client registered, or not the one of the authorization request")

	// Limits.
	TooManyRequestsOfAddress = define("too_many_requests_of_address", "the client's address used up limits.addressRequests")
	TooManyRegistrations     = define("too_many_registrations", "registrations of the client's address, or of all addresses together, used up limits.registrations")
	TooManyPasswords         = define("too_many_passwords", "so many passwords are being checked that this one was not looked at")
	TooManySignIns           = define("too_many_sign_ins", "wrong passwords for the user name used up limits.signInAttempts")
	TooManyRevocations       = define("too_many_revocations", "the client revoked so many tokens that this one was not looked at")

	// Clients.
	UnknownClient                   = define("unknown_client", "the client id was not issued for this host, or the rules no longer admit the client")
	TwoClientAuthentications        = define("two_client_authentications", "the client sent credentials in more than one way")
	ClientDocumentInvalid           = define("client_document_invalid", "what the client publishes about itself is not valid, or its URL is not accepted; the cause is in the entry")
	ClientDocumentUnavailable       = define("client_document_unavailable", "what the client publishes about itself cannot be fetched right now; the cause is in the entry")
	ClientDocumentUnreachable       = define("client_document_unreachable", "what the client publishes about itself cannot be fetched until an operator acts: a name that does not exist, an address that is refused, a certificate that is not trusted, or the proxy; the cause is in the entry")
	ClientAuthenticationThrottled   = define("client_authentication_throttled", "the client failed to authenticate too often")
	TooManyRequestsOfClient         = define("too_many_requests_of_client", "the client used up limits.clientRequests")
	TwoClientIDs                    = define("two_client_ids", "client_id differs from the client that authenticated")
	InvalidClientAssertion          = define("invalid_client_assertion", "the client's signed assertion does not verify; the cause is in the entry")
	ClientAssertionUsedTwice        = define("client_assertion_used_twice", "the client's signed assertion was used before")
	MalformedClientAuthentication   = define("malformed_client_authentication", "the client's credentials are not of a form that the token endpoint takes")
	WrongClientAuthenticationMethod = define("wrong_client_authentication_method", "the client used another authentication method than it registered")
	WrongClientSecret               = define("wrong_client_secret", "the client secret is wrong")

	// Machines.
	InvalidAssertion       = define("invalid_assertion", "the assertion does not verify, or lacks what its kind demands; the cause is in the entry")
	UnknownAssertionIssuer = define("unknown_assertion_issuer", "the assertion is of an issuer that trustedIssuers does not name for its type; nothing was fetched")
	AssertionUsedTwice     = define("assertion_used_twice", "the assertion was used before")
	NoRuleForAssertion     = define("no_rule_for_assertion", "the assertion is genuine, and no rule of its issuer's entry gives it anything here")
	AssertionWithoutClient = define("assertion_without_client", "the assertion is for a client of this service, and the one that shows it is none, or did not prove that it is")

	// Token exchange.
	ExchangeNotForServer = define("exchange_not_for_server", "the client or workload that asks is not one that tokenExchange of the MCP server names whose identity header or handle it shows")
	ExchangeTarget       = define("exchange_target", "the MCP server that is named is not one that tokenExchange lists for this server and caller, or the server gets no token of the identity provider in this way")
	NothingToExchange    = define("nothing_to_exchange", "the caller has no sign-in here to go on with: the identity header is of an API key, a machine or another authorization server's token, or was made before tokenExchange was turned on")
	TooManyActors        = define("too_many_actors", "more MCP servers act one for another than a token can say")
	StillGood            = define("still_good", "the MCP server says that the identity provider's token is dead, but it was replaced meanwhile, or is younger than a minute; nothing is ended")

	// Codes.
	InvalidCode         = define("invalid_code", "the code is not one of this service for this host, or it has expired")
	CodeOfAnotherClient = define("code_of_another_client", "the code was issued to another client")
	CodeUsedTwice       = define("code_used_twice", "the code was redeemed before")
	WrongCodeVerifier   = define("wrong_code_verifier", "the PKCE verifier does not belong to the code")

	// Refresh tokens and revocation.
	InvalidRefreshToken         = define("invalid_refresh_token", "the refresh token is not one of this service for this host, or it has expired")
	RefreshTokenOfAnotherClient = define("refresh_token_of_another_client", "the refresh token was issued to another client")
	ScopesChanged               = define("scopes_changed", "every scope of a refresh token now opens other tools than the user agreed to, so they are asked again")
	RefreshTokenReused          = define("refresh_token_reused", "a refresh token was used after another took its place: two parties hold it, so the family is ended")
	RefreshTokenRepeated        = define("refresh_token_repeated", "a refresh token got the same answer again, within the grace period after it was exchanged: an answer was lost, or several processes hold the token")
	StepUpExpected              = define("step_up_expected", "a refresh came right after the same sign-in was asked for more scopes, and refuseRefreshAfterStepUp makes the client sign in again")
	NoRefreshToken              = define("no_refresh_token", "an access token came without a refresh token: the identity provider gave nothing to ask about the person with later, or its tokens are too large or could not be kept")
	ScopeNotGranted             = define("scope_not_granted", "a refresh asks for more than was granted, or a machine for nothing that it may have")
	ResourceNotForMachine       = define("resource_not_for_machine", "a machine asks for a token for an MCP server that its entry does not name")
	ResourceGone                = define("resource_gone", "the MCP server of the refresh token is not configured any more, or not for this client")
	ProviderSessionOver         = define("provider_session_over", "the identity provider gave nothing to ask about the person with, or that has expired; the person has to sign in again")
	ProviderRemoved             = define("provider_removed", "the identity provider that vouched for the person is not configured any more")
	UserGone                    = define("user_gone", "the identity provider no longer vouches for the person")
	TokenRevoked                = define("token_revoked", "the access token was revoked")
	FamilyRevoked               = define("family_revoked", "the sign-in that the token comes from was revoked")
	PersonEnded                 = define("person_ended", "everything that came of this person's sign-ins until then was ended: by the person, the operator, or an event of the identity provider")
	EndedByPerson               = define("ended_by_person", "the person ended it at /account")
	EndedByProvider             = define("ended_by_provider", "the identity provider sent an event that ends it")
	EventWithoutEffect          = define("event_without_effect", "the security event is of a type that ends nothing, or names no one in a way that its stream may")
	EndedByOperator             = define("ended_by_operator", "an operator ended it at the management listener")
	DeniedByOperator            = define("denied_by_operator", "the operator's deny-list names the person, the client or the sign-in")
	TokenOfAnotherClient        = define("token_of_another_client", "a client asked to revoke a token that is not its own")
	RevocationListFull          = define("revocation_list_full", "the list of revocations is full, so the token could not be revoked")
	IntrospectionNotForClient   = define("introspection_not_for_client", "a client that the operator did not configure with credentials asked about a token")
	RevokedByClient             = define("revoked_by_client", "the client revoked the token")

	// Devices without a browser.
	DeviceCodeExpired = define("device_code_expired", "the device code has expired, or the guard lost what was noted for it: with the guard in memory, at a restart or at another replica")
	InvalidDeviceCode = define("invalid_device_code", "the device code is not one of this service for this host and client")
	UnknownUserCode   = define("unknown_user_code", "a person typed a code that no device shows, or that has expired, was answered or typed too often")
	TooManyUserCodes  = define("too_many_user_codes", "so many wrong codes of devices were typed from one address, or in all, that this one was not looked at")

	// The person's browser.
	CrossSiteForm         = define("cross_site_form", "another site made the browser send a form")
	ConsentExpired        = define("consent_expired", "the consent page was open for too long")
	ForeignConsent        = define("foreign_consent", "the consent form was not made by this service for this browser")
	Displaced             = define("displaced", "the step belongs to a sign-in that this browser dropped when it began many others")
	OtherBrowser          = define("other_browser", "the step does not belong to a sign-in of this browser, or that one has expired")
	UnknownProvider       = define("unknown_provider", "the person chose an identity provider that is not configured, or the sign-in needs one that is not any more")
	ForeignCallback       = define("foreign_callback", "the answer of an identity provider came to proxy.callbackHost with a state that is not one of this service, or too old, or of a host that is gone")
	CallbackOfAnotherHost = define("callback_of_another_host", "the answer of an identity provider belongs to a sign-in at another host")
	OtherProvider         = define("other_provider", "the answer of an identity provider came to the callback of another; an attacker may be mixing them up")
	UsedTwice             = define("used_twice", "the step was done before")
	WrongPassword         = define("wrong_password", "the user name and password do not match an account")
	ProviderCancelled     = define("provider_cancelled", "the person or the identity provider cancelled the sign-in")
	ProviderRejected      = define("provider_rejected", "the identity provider's answer does not verify, or is an error that blames this service")
	ProviderMisconfigured = define("provider_misconfigured", "the identity provider cannot be used until something is changed: its certificate is not trusted, its name does not exist, it refuses this service's secret, scopes or redirect URI; the cause says what to do")
	ProviderUnavailable   = define("provider_unavailable", "the identity provider does not answer")

	// The identity provider's token for an MCP server.
	ProviderTokenMissing  = define("provider_token_missing", "the identity provider gave no token of the kind that the MCP server is to get (providerToken), or it was lost with the guard's memory; the client signs in again")
	ProviderTokenTooLarge = define("provider_token_too_large", "the identity provider's token does not fit where providerToken.form sends it; the cause has the sizes")
	ProviderTokenTooShort = define("provider_token_too_short", "the identity provider's token lives so short that an access token which carries it would be dead at once, see providerToken.minLifetime; the cause has the times")
	ProviderTokenDead     = define("provider_token_dead", "the MCP server says, or was seen to say with 401 at a served host, that the identity provider's token is good no more; the sign-in is ended, so that the client signs in again")
	ProviderFault         = define("provider_fault", "the identity provider's answer makes no sense")
	GuardUnavailable      = define("guard_unavailable", "the memory of what was used and revoked does not answer, so nothing is honoured on it")

	// Policy.
	AccountNotAllowed        = define("account_not_allowed", "the account is in no tenant, hosted domain or organization that is admitted, or did not sign in by a class (acr) that is")
	NoVerifiedEmail          = define("no_verified_email", "the policy needs a verified e-mail address and the account has none")
	EmailDomainNotAllowed    = define("email_domain_not_allowed", "the domain of the account's e-mail address is not allowed")
	NotAllowedByPolicy       = define("not_allowed_by_policy", "the rules of the policy give the person nothing of what was asked for, through this client")
	ClientNotAllowedByPolicy = define("client_not_allowed_by_policy", "no rule of the policy allows any user anything of what was asked for through this client")
	NarrowedByPolicy         = define("narrowed_by_policy", "the rules of the policy gave less than was agreed to; the rest is in withheld")
	PolicyChanged            = define("policy_changed", "the rules of the policy are others than when the access token was made; a refresh makes one by the new rules")
	NobodyIsAdmitted         = define("nobody_is_admitted", "the policy admits no one")

	// OAuth error codes, where there is no finer reason.
	AccessDenied             = define("access_denied", "the person or the policy said no")
	InteractionRequired      = define("interaction_required", "the client wants no page, but the person has to be asked")
	InvalidClient            = define("invalid_client", "client authentication failed")
	InvalidClientMetadata    = define("invalid_client_metadata", "the registration has a member that cannot be used")
	InvalidGrant             = define("invalid_grant", "the grant is not valid")
	InvalidRedirectURI       = define("invalid_redirect_uri", "no redirect URI of the registration can be used")
	InvalidRequest           = define("invalid_request", "a parameter is missing or malformed")
	InvalidScope             = define("invalid_scope", "none of the requested scopes exists at the MCP server, or the parameter is malformed")
	InvalidTarget            = define("invalid_target", "the resource is not an MCP server of this host, or not the one that was authorized")
	RequestNotSupported      = define("request_not_supported", "request objects are not supported")
	RequestURINotSupported   = define("request_uri_not_supported", "request objects are not supported")
	ServerError              = define("server_error", "the service failed; the cause is in the entry")
	TemporarilyUnavailable   = define("temporarily_unavailable", "a part that is needed does not answer")
	UnauthorizedClient       = define("unauthorized_client", "the client may not use this grant type")
	AuthorizationPending     = define("authorization_pending", "the person has not answered what a device asks for yet")
	SlowDown                 = define("slow_down", "a device asks for its answer more often than it may")
	UnsupportedGrantType     = define("unsupported_grant_type", "the grant type is not served")
	UnsupportedResponseType  = define("unsupported_response_type", "the response type is not served")
	RegistrationNotSupported = define("registration_not_supported", "the registration parameter is not supported")

	// Decisions at the gateway.
	Undecided               = define("undecided", "no decision was made, so the request was denied")
	Allowed                 = define("allowed", "the request may pass")
	NoToken                 = define("no_token", "the request carries no access token")
	MalformedCredentials    = define("malformed_credentials", "the request does not carry exactly one well-formed Bearer token")
	MalformedToken          = define("malformed_token", "the access token is not one that this service makes")
	UnknownSigningKey       = define("unknown_signing_key", "the access token names a key that is not published; after a restart with ephemeral keys this is to be expected")
	BadSignature            = define("bad_signature", "the access token's signature does not verify")
	WrongIssuer             = define("wrong_issuer", "the access token was issued for another host")
	WrongAudience           = define("wrong_audience", "the access token was issued for another MCP server")
	UnknownIssuer           = define("unknown_issuer", "the token is of an issuer that the MCP server does not take tokens of")
	OwnTokenNotAccepted     = define("own_token_not_accepted", "the access token is of this service, and the MCP server takes only those of other authorization servers")
	WrongTokenType          = define("wrong_token_type", "the token is no access token: an ID token, a logout token, or of a type that is not configured")
	AlgorithmRefused        = define("algorithm_refused", "the token is signed with an algorithm that is not accepted of its issuer, or not signed")
	ForbiddenTokenHeader    = define("forbidden_token_header", "the token's header names a key, or an extension that this service does not know")
	NoAudience              = define("no_audience", "the token does not say which MCP server it is for")
	TokenNotYetValid        = define("token_not_yet_valid", "the token comes from the future; one of the two clocks is wrong")
	WrongTenant             = define("wrong_tenant", "the token is of a tenant of the issuer that is not accepted")
	ClientNotAccepted       = define("client_not_accepted", "the issuer gave the token to a client that is not accepted, or names none")
	NoSubject               = define("no_subject", "the token does not say whom it is for, or in a form that could be taken for another person")
	BoundToken              = define("bound_token", "the token is bound to a key of the client (cnf), whose proof this service does not check")
	BoundTokenAsBearer      = define("bound_token_as_bearer", "the token is bound to a key of the client (cnf), and came as Bearer, without a proof of that key")
	UnboundToken            = define("unbound_token", "the token is bound to no key: it came with the scheme DPoP, or the MCP server takes bound tokens only")
	DPoPProofMissing        = define("dpop_proof_missing", "the request has no DPoP proof, and needs one")
	DPoPProofRepeated       = define("dpop_proof_repeated", "the request has more than one DPoP header")
	DPoPProofMalformed      = define("dpop_proof_malformed", "the DPoP proof is no signed JWT, is too long, or lacks a claim")
	DPoPProofType           = define("dpop_proof_type", "the DPoP proof has another typ than dpop+jwt")
	DPoPProofAlgorithm      = define("dpop_proof_algorithm", "the DPoP proof is signed with an algorithm that is not accepted, or not signed")
	DPoPProofKey            = define("dpop_proof_key", "the jwk of the DPoP proof is missing, private, symmetric, of a size that is not accepted, or not one of its algorithm")
	DPoPProofSignature      = define("dpop_proof_signature", "the signature of the DPoP proof does not verify")
	DPoPProofMethod         = define("dpop_proof_method", "the DPoP proof is for another HTTP method (htm)")
	DPoPProofURL            = define("dpop_proof_url", "the DPoP proof is for another URL (htu)")
	DPoPProofTime           = define("dpop_proof_time", "the DPoP proof is more than five minutes old, or from the future; one of the two clocks may be wrong")
	DPoPProofToken          = define("dpop_proof_token", "the DPoP proof is for another access token (ath), or names none")
	DPoPProofReplayed       = define("dpop_proof_replayed", "the DPoP proof was used before")
	DPoPWrongKey            = define("dpop_wrong_key", "the DPoP proof is of another key than the one that the token, the code or the refresh token is bound to")
	DPoPNonceNeeded         = define("dpop_nonce_needed", "the DPoP proof has no nonce of this host that is fresh; the client gets one with this answer and tries again")
	DPoPNotCheckable        = define("dpop_not_checkable", "the token is bound to a key, and the gateway does not tell the method or the path of the request, without which no proof can be checked")
	DelegatedToken          = define("delegated_token", "another party acts for the person of the token (act), and this service has no rules for such tokens")
	InactiveToken           = define("inactive_token", "the authorization server says that the token is not active")
	IssuerKeysUnavailable   = define("issuer_keys_unavailable", "the issuer's keys cannot be had right now; the log says why")
	VerifierUnavailable     = define("verifier_unavailable", "who has to be asked about the credential does not answer; the log says why")
	TooManyWaiting          = define("too_many_waiting", "so many requests wait for an answer about their credentials that this one was not looked at")
	APIKeyMalformed         = define("api_key_malformed", "the API key was cut or mistyped: its checksum is wrong")
	APIKeyUnknown           = define("api_key_unknown", "there is no such API key, or it was removed")
	APIKeyExpired           = define("api_key_expired", "the API key has expired")
	APIKeyRevoked           = define("api_key_revoked", "the API key was revoked")
	APIKeyNotAccepted       = define("api_key_not_accepted", "the API key is not for this MCP server, or the MCP server takes none")
	APIKeyWrongSource       = define("api_key_wrong_source", "the API key is not for the network that the request came from, or the gateway does not tell it")
	APIKeyNotEnough         = define("api_key_not_enough", "neither the scopes nor the tools of the API key open what was asked for")
	APIKeyRefused           = define("api_key_refused", "the webhook refuses the API key")
	NotAnAPIKey             = define("not_an_api_key", "the header for API keys holds another kind of credential")
	TwoCredentials          = define("two_credentials", "the request carries an API key in its own header, and that twice or beside an Authorization header")
	NoSuchPage              = define("no_such_page", "the address to come back to after a sign-in is none of the pages of the host")
	NoSession               = define("no_session", "a request for a page carries no browser session, so the person has to sign in")
	SessionExpired          = define("session_expired", "the browser session was not used for too long, or it is too long ago that the person signed in or the identity provider was asked")
	SessionInvalid          = define("session_invalid", "the browser session was not made by this service for this host, or came twice")
	SessionDue              = define("session_due", "the browser is sent to renew its session, and comes back at once")
	SessionReplaced         = define("session_replaced", "the person signed in again in the same browser")
	SignedOut               = define("signed_out", "the person signed out")
	SessionReused           = define("session_reused", "a browser session was used after it had been renewed: two browsers hold it, so it is ended")
	CrossSiteRequest        = define("cross_site_request", "another site made the browser send a request to a page")
	ExpiredToken            = define("expired_token", "the access token has expired, or comes from the future")
	UnknownHost             = define("unknown_host", "the gateway asks about a host that is not configured")
	UnknownResource         = define("unknown_resource", "the gateway asks about a path that belongs to no MCP server")
	Preflight               = define("preflight", "a browser's preflight of an allowed origin; it carries no token")
	AllowedByAdvisoryPolicy = define("allowed_by_advisory_policy", "the request may pass, because the tool policy of the MCP server only advises")
	ForbiddenOrigin         = define("forbidden_origin", "a web page of an origin that is not allowed")
	RepeatedMCPHeader       = define("repeated_mcp_header", "MCP-Protocol-Version, Mcp-Method or Mcp-Name came more than once")
	MissingMCPHeader        = define("missing_mcp_header", "Mcp-Method or Mcp-Name is missing in a request of a revision that needs them")
	MalformedMCPHeader      = define("malformed_mcp_header", "Mcp-Method or Mcp-Name holds a character that it must not, or bad Base64")
	HeaderBodyMismatch      = define("header_body_mismatch", "Mcp-Method or Mcp-Name does not say what the body says")
	MalformedBody           = define("malformed_body", "the body is not JSON-RPC, or parsers could read it differently")
	MediaTypeMissing        = define("media_type_missing", "the body decides about this MCP server's requests, and the request has no Content-Type, or the gateway did not forward it")
	EncodedBody             = define("encoded_body", "the body decides about this MCP server's requests, and its Content-Encoding is another than identity")
	BodyMissing             = define("body_missing", "the body decides about this MCP server's requests, and the gateway did not forward it")
	OldProtocolVersion      = define("old_protocol_version", "the tool policy is strict, and the request is of a revision whose headers prove nothing")
	InsufficientScope       = define("insufficient_scope", "the access token lacks a scope")
	NoScopeOpensIt          = define("no_scope_opens_it", "no scope opens the tool, resource or prompt; it may not exist")
	CatalogueUnavailable    = define("catalogue_unavailable", "this replica has not read the MCP server's list, and no entry of `proxy.hosts[].scopes` names the tool")
	AmbiguousURI            = define("ambiguous_uri", "the resource's URI can be read in two ways, so no pattern can judge it")
	UnknownDialect          = define("unknown_dialect", "the gateway is configured with a path below /authenticate that does not exist")
	MethodNotAllowed        = define("method_not_allowed", "the request has an HTTP method that no MCP server takes")
	ConnectionNamesHeader   = define("connection_names_header", "the request's header Connection names a header that is for the MCP server, which would take it away on the way there")
	UnknownSession          = define("unknown_session", "the request names a session of the MCP server that this person did not begin with this client, or that began before a restart with other keys")
	MCPServerUnreachable    = define("mcp_server_unreachable", "the MCP server behind a served host does not answer, or its answer is broken; the cause is in the entry")
	MCPServerTimeout        = define("mcp_server_timeout", "the MCP server behind a served host did not begin its answer within `serve.idleTimeout`")
	MCPServerUnauthorized   = define("mcp_server_unauthorized", "the MCP server behind a served host answered 401, 403 or 407 to a request that was let through; it must trust the identity headers")
	MCPServerCredential     = define("mcp_server_credential", "the MCP server behind a served host answered 401 to a request with the credential of `serverCredential`; the file may hold an old one")
	MCPServerRedirect       = define("mcp_server_redirect", "the MCP server behind a served host answered with a redirect to an address that is not its own")
	MCPServerAnswer         = define("mcp_server_answer", "the answer of the MCP server behind a served host cannot be passed on; the cause says why")
	NotServedThatWay        = define("not_served_that_way", "a gateway asks about an MCP server that this service relays to itself (`serve`), or the other way round, or agentgateway asks about a message at a host without `extMCP`")
	AmbiguousTarget         = define("ambiguous_target", "the gateway's question can be read in more than one way")
)
