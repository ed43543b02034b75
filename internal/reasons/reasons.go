// Package reasons lists every reason that an audit entry may carry, with what it
// means to an operator and what to do about it. The set is closed: a reason that is not in the list does
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
func (r Reason) Meaning() string { return texts[r].meaning }

// Remedy returns what to do about it, and who does it, "" if it is not in the list.
func (r Reason) Remedy() string { return texts[r].remedy }

// All returns the reasons in the order of their names.
func All() []Reason { return slices.Sorted(maps.Keys(texts)) }

type text struct{ meaning, remedy string }

var texts = map[Reason]text{}

func define(name Reason, meaning, remedy string) Reason {
	texts[name] = text{meaning, remedy}
	return name
}

// The reasons.
var (
	// Requests that are wrong in themselves.
	BodyTooLarge = define("body_too_large", "the request's body exceeds its bound",
		"nothing for an honest client; a larger request is not taken. Where the body decides about MCP requests the bound is 1 MiB")
	BodyUnreadable = define("body_unreadable", "the request's body ended early or came too slowly",
		"the client tries again; if it keeps happening look for a slow network or a gateway that cuts requests")
	ClientIDMissing = define("client_id_missing", "the request names no client",
		"the app's maker mends the app: client_id is required")
	DuplicateParameter = define("duplicate_parameter", "a parameter that must not repeat came more than once",
		"the app's maker mends the app, or look for a gateway that adds parameters")
	MalformedCallback = define("malformed_callback", "the identity provider's answer has a malformed or repeated parameter",
		"look at the provider's own log; a proxy between may have rewritten the address")
	MalformedForm = define("malformed_form", "the body is not a valid form",
		"the app's maker mends the app: the body is application/x-www-form-urlencoded")
	MalformedQuery = define("malformed_query", "the query is not valid",
		"the app's maker mends the app; a gateway that decodes and encodes the query again can be the cause")
	QueryTooLong = define("query_too_long", "the query exceeds its bound",
		"the app's maker makes the request shorter; POST to /authorize, or push it to /par where that is on")
	WrongMediaType = define("wrong_media_type", "the body has another media type than the endpoint takes; of a request to an MCP server, anything but one application/json in UTF-8",
		"the app's maker sends the media type that the endpoint takes")
	PushedRequestInvalid = define("pushed_request_invalid", "the request_uri of the authorization request has expired, is of another client, or is not one of this service",
		"the app begins again at /par; a request_uri is good for a short time and for one client")
	PushedRequestMissing = define("pushed_request_missing", "the authorization request must be pushed to /par first, and was not",
		"the app's maker uses /par, or set `pushedRequests.required` to false")
	RedirectURIMissing = define("redirect_uri_missing", "the client registered several redirect URIs and the request names none",
		"the app's maker sends redirect_uri")
	RedirectURIMismatch = define("redirect_uri_mismatch", "the redirect URI is not one that the client registered, or not the one of the authorization request",
		"add the address to the client's redirect URIs if you wrote it down under `clients`; otherwise the app registers again")

	// Limits.
	TooManyRequestsOfAddress = define("too_many_requests_of_address", "the client's address used up limits.addressRequests",
		"wait a minute; if honest clients share the address raise `limits.addressRequests`, or see that the gateway tells the client's address (`listen.trustedProxies`)")
	TooManyRegistrations = define("too_many_registrations", "registrations of the client's address, or of all addresses together, used up limits.registrations",
		"wait; a client that registers at each start needs `limits.registrations` raised, or an entry under `clients`")
	TooManyPasswords = define("too_many_passwords", "so many passwords are being checked that this one was not looked at",
		"wait; look for an attack in `login.refused`")
	TooManySignIns = define("too_many_sign_ins", "wrong passwords for the user name used up limits.signInAttempts",
		"the person waits; look for an attack on the name, or raise `limits.signInAttempts`")
	TooManyRevocations = define("too_many_revocations", "the client revoked so many tokens that this one was not looked at",
		"the client tries again later")

	// Clients.
	UnknownClient = define("unknown_client", "the client id was not issued for this host, or the rules no longer admit the client",
		"sign out in the client and in again, so that it registers; if all clients get it the seed was replaced, and if only some requests do the replicas have different seeds: compare `mcp_forward_auth_seed_info`")
	TwoClientAuthentications = define("two_client_authentications", "the client sent credentials in more than one way",
		"the app's maker sends the secret once: in the header or in the form")
	ClientDocumentInvalid = define("client_document_invalid", "what the client publishes about itself is not valid, or its URL is not accepted; the cause is in the entry",
		"the app's maker mends the document at its client id; the cause names the member")
	ClientDocumentUnavailable = define("client_document_unavailable", "what the client publishes about itself cannot be fetched right now; the cause is in the entry",
		"wait and try again; the app's own server does not answer")
	ClientDocumentUnreachable = define("client_document_unreachable", "what the client publishes about itself cannot be fetched until an operator acts: a name that does not exist, an address that is refused, a certificate that is not trusted, or the proxy; the cause is in the entry",
		"let this service out to the host that the cause names: DNS, egress rules or `egress.proxy`")
	ClientAuthenticationThrottled = define("client_authentication_throttled", "the client failed to authenticate too often",
		"put the right secret in the client, then wait a minute")
	TooManyRequestsOfClient = define("too_many_requests_of_client", "the client used up limits.clientRequests",
		"find out why the client asks so often; raise `limits.clientRequests` if it has to")
	TwoClientIDs = define("two_client_ids", "client_id differs from the client that authenticated",
		"the app's maker sends one client_id")
	InvalidClientAssertion = define("invalid_client_assertion", "the client's signed assertion does not verify; the cause is in the entry",
		"put the client's public key, and the address of this service as audience, right; the cause says which")
	ClientAssertionUsedTwice = define("client_assertion_used_twice", "the client's signed assertion was used before",
		"the app's maker makes a new assertion for each request; if it does, someone else may hold it")
	MalformedClientAuthentication = define("malformed_client_authentication", "the client's credentials are not of a form that the token endpoint takes",
		"the app's maker mends the header: Basic with id and secret, each percent-encoded")
	WrongClientAuthenticationMethod = define("wrong_client_authentication_method", "the client used another authentication method than it registered",
		"use the method that the client registered, or change the client's entry under `clients`")
	WrongClientSecret = define("wrong_client_secret", "the client secret is wrong",
		"put the secret of the client's entry under `clients` into the client; a client that registered by itself registers again")

	// Machines.
	InvalidAssertion = define("invalid_assertion", "the assertion does not verify, or lacks what its kind demands; the cause is in the entry",
		"see the cause: it names the claim, the key or the time. `check-config --as-agent FILE` tries an assertion without asking")
	UnknownAssertionIssuer = define("unknown_assertion_issuer", "the assertion is of an issuer that trustedIssuers does not name for its type; nothing was fetched",
		"add the issuer under `trustedIssuers` if it is to be trusted; the cause has its name")
	AssertionUsedTwice = define("assertion_used_twice", "the assertion was used before",
		"the workload gets a new assertion for each request; if it does, someone else may hold it")
	NoRuleForAssertion = define("no_rule_for_assertion", "the assertion is genuine, and no rule of its issuer's entry gives it anything here",
		"add a rule to the issuer's entry; `check-config --as-agent FILE` shows what an assertion gets")
	AssertionWithoutClient = define("assertion_without_client", "the assertion is for a client of this service, and the one that shows it is none, or did not prove that it is",
		"the client authenticates as itself beside the assertion; give it an entry under `clients`")

	// Token exchange.
	ExchangeNotForServer = define("exchange_not_for_server", "the client or workload that asks is not one that tokenExchange of the MCP server names whose identity header or handle it shows",
		"name the server's client or workload under `tokenExchange` of its host, if it is to have the token")
	ExchangeTarget = define("exchange_target", "the MCP server that is named is not one that tokenExchange lists for this server and caller, or the server gets no token of the identity provider in this way",
		"add the MCP server to `tokenExchange` of the host, if the caller is to go on to it")
	NothingToExchange = define("nothing_to_exchange", "the caller has no sign-in here to go on with: the identity header is of an API key, a machine or another authorization server's token, or was made before tokenExchange was turned on",
		"nothing for machines and keys; a person who signed in earlier signs in again")
	TooManyActors = define("too_many_actors", "more MCP servers act one for another than a token can say",
		"let one MCP server call the last one itself")
	StillGood = define("still_good", "the MCP server says that the identity provider's token is dead, but it was replaced meanwhile, or is younger than a minute; nothing is ended",
		"nothing; if the server says it again and again, see what it takes for a dead token")

	// Codes.
	InvalidCode = define("invalid_code", "the code is not one of this service for this host",
		"the client begins again; if it happens at random the replicas have different seeds: compare `mcp_forward_auth_seed_info`")
	CodeExpired = define("code_expired", "the client redeemed the code later than a minute after it was made",
		"the client begins again. See what held it up: a person who confirms in the app, a slow network, or replicas whose clocks differ")
	CodeOfAnotherClient = define("code_of_another_client", "the code was issued to another client",
		"look at the two clients: one of them holds a code that is not its own")
	CodeUsedTwice = define("code_used_twice", "the code was redeemed before",
		"the client begins again; if it did not send the code twice itself, someone else holds it")
	WrongCodeVerifier = define("wrong_code_verifier", "the PKCE verifier does not belong to the code",
		"the app's maker keeps code_verifier with the request it belongs to; two sign-ins at once may have mixed them up")

	// Refresh tokens and revocation.
	InvalidRefreshToken = define("invalid_refresh_token", "the refresh token is not one of this service for this host",
		"the person signs in again; if all have to, the seed was replaced")
	RefreshTokenExpired = define("refresh_token_expired", "the refresh token was not used for too long, or it is too long ago that the person signed in",
		"nothing; the person signs in again. `tokens.refreshTokenIdleLifetime` and `tokens.refreshTokenLifetime` say how long")
	RefreshTokenOfAnotherClient = define("refresh_token_of_another_client", "the refresh token was issued to another client",
		"the app's maker keeps the tokens of two registrations apart")
	ScopesChanged = define("scopes_changed", "every scope of a refresh token now opens other tools than the user agreed to, so they are asked again",
		"the person agrees again; the MCP server's tools changed, see `token.refused` entries of other people for how many it concerns")
	RefreshTokenReused = define("refresh_token_reused", "a refresh token was used after another took its place: two parties hold it, so the family is ended",
		"the person signs in again. A client that runs twice on one machine is the usual cause; a thief is the other, so ask")
	RefreshTokenRepeated = define("refresh_token_repeated", "a refresh token got the same answer again, within the grace period after it was exchanged: an answer was lost, or several processes hold the token",
		"nothing; many of one client mean that it loses answers or runs twice")
	StepUpExpected = define("step_up_expected", "a refresh came right after the same sign-in was asked for more scopes, and refuseRefreshAfterStepUp makes the client sign in again",
		"the client lets the person sign in with the scopes of the challenge; nothing is lost")
	NoRefreshToken = define("no_refresh_token", "an access token came without a refresh token: the identity provider gave nothing to ask about the person with later, or its tokens are too large or could not be kept",
		"let the provider give refresh tokens (offline_access, access_type=offline), or accept a sign-in each `tokens.accessTokenLifetime`; the cause says which")
	ScopeNotGranted = define("scope_not_granted", "a refresh asks for more than was granted, or a machine for nothing that it may have",
		"the client asks for scopes that were granted, or signs in again for more; a machine needs them in its entry or rule")
	ResourceNotForMachine = define("resource_not_for_machine", "a machine asks for a token for an MCP server that its entry does not name",
		"add the MCP server to the resources of the machine's entry")
	ResourceGone = define("resource_gone", "the MCP server of the refresh token is not configured any more, or not for this client",
		"put the host back in `proxy.hosts`, or sign in at the one that took its place")
	ProviderSessionOver = define("provider_session_over", "the identity provider gave nothing to ask about the person with, or that has expired; the person has to sign in again",
		"the person signs in again; the provider's session or refresh token has ended")
	ProviderRemoved = define("provider_removed", "the identity provider that vouched for the person is not configured any more",
		"the person signs in again with a provider that is configured")
	UserGone = define("user_gone", "the identity provider no longer vouches for the person",
		"nothing if the person left; otherwise look at the account at the provider: disabled, password changed, or consent withdrawn")
	TokenRevoked = define("token_revoked", "the access token was revoked",
		"the client signs in again")
	FamilyRevoked = define("family_revoked", "the sign-in that the token comes from was revoked",
		"the person signs in again, if the deny-list no longer names the sign-in")
	PersonEnded = define("person_ended", "everything that came of this person's sign-ins until then was ended: by the person, the operator, or an event of the identity provider",
		"the person signs in again")
	EndedByPerson = define("ended_by_person", "the person ended it at /account",
		"nothing; the person wanted it")
	EndedByProvider = define("ended_by_provider", "the identity provider sent an event that ends it",
		"nothing; the person signs in again when the provider lets them")
	EventWithoutEffect = define("event_without_effect", "the security event is of a type that ends nothing, or names no one in a way that its stream may",
		"nothing; see the cause if an event was meant to end something")
	EndedByOperator = define("ended_by_operator", "an operator ended it at the management listener",
		"nothing; an operator wanted it")
	DeniedByOperator = define("denied_by_operator", "the operator's deny-list names the person, the client or the sign-in",
		"take the entry out of the deny-list if the person is to come back")
	TokenOfAnotherClient = define("token_of_another_client", "a client asked to revoke a token that is not its own",
		"the app's maker revokes its own tokens only")
	RevocationListFull = define("revocation_list_full", "the list of revocations is full, so the token could not be revoked",
		"raise the guard's bound, or find the client that revokes so many; the token ends by itself")
	IntrospectionNotForClient = define("introspection_not_for_client", "a client that the operator did not configure with credentials asked about a token",
		"give the client an entry with a secret under `clients`, and introspection")
	RevokedByClient = define("revoked_by_client", "the client revoked the token",
		"nothing; the client wanted it")

	// Devices without a browser.
	DeviceCodeExpired = define("device_code_expired", "the device code has expired, or the guard lost what was noted for it: with the guard in memory, at a restart or at another replica",
		"begin again at the device; with several replicas the guard must be a shared one")
	InvalidDeviceCode = define("invalid_device_code", "the device code is not one of this service for this host and client",
		"begin again at the device")
	UnknownUserCode = define("unknown_user_code", "a person typed a code that no device shows, or that has expired, was answered or typed too often",
		"the person types the code that the device shows now")
	TooManyUserCodes = define("too_many_user_codes", "so many wrong codes of devices were typed from one address, or in all, that this one was not looked at",
		"wait a minute; look for an attack")

	// The person's browser.
	CrossSiteForm = define("cross_site_form", "another site made the browser send a form",
		"the person opens the page from the app; if it is always so, a gateway drops or changes Origin or Sec-Fetch-Site")
	ConsentExpired = define("consent_expired", "the consent page was open for too long",
		"the person begins again at the app")
	ForeignConsent = define("foreign_consent", "the consent form was not made by this service for this browser",
		"the person begins again at the app; if it happens to all, the replicas have different seeds (compare `mcp_forward_auth_seed_info`)")
	Displaced = define("displaced", "the step belongs to a sign-in that this browser dropped when it began many others",
		"the person finishes the sign-in that was begun last")
	OtherBrowser = define("other_browser", "the step does not belong to a sign-in of this browser, or that one has expired",
		"the person begins again and stays in one browser; if it happens to all, cookies do not come back (another host name, http for https) or the replicas have different seeds (compare `mcp_forward_auth_seed_info`)")
	UnknownProvider = define("unknown_provider", "the person chose an identity provider that is not configured, or the sign-in needs one that is not any more",
		"put the provider back, or the person begins again")
	ForeignCallback = define("foreign_callback", "the answer of an identity provider came to proxy.callbackHost with a state that is not one of this service, or too old, or of a host that is gone",
		"the person begins again; see that `proxy.callbackHost` leads to the service that began the sign-in")
	CallbackOfAnotherHost = define("callback_of_another_host", "the answer of an identity provider belongs to a sign-in at another host",
		"the person begins again at the right host; see which redirect URI is registered at the provider")
	OtherProvider = define("other_provider", "the answer of an identity provider came to the callback of another; an attacker may be mixing them up",
		"see that each provider has its own callback registered (/callback/ID); if it has, someone tries to mix them up")
	UsedTwice = define("used_twice", "the step was done before",
		"nothing, if the app has its answer: the person pressed Back or reloaded. If the page before was an error, its entry has the cause: the `login.refused` just before, at the same host")
	WrongPassword = define("wrong_password", "the user name and password do not match an account",
		"the person tries again; `hash-password` makes a new line for the users' file")
	ProviderCancelled = define("provider_cancelled", "the person or the identity provider cancelled the sign-in",
		"nothing; the person begins again if they want to. If the provider cancels by itself see its log")
	ProviderRejected = define("provider_rejected", "the identity provider's answer does not verify, or is an error that blames this service",
		"see the cause, and the provider's own log of that time; `check-config --online` compares the clocks and reads the keys")
	ProviderMisconfigured = define("provider_misconfigured", "the identity provider cannot be used until something is changed: its certificate is not trusted, its name does not exist, it refuses this service's secret, scopes or redirect URI; the cause says what to do",
		"do what the cause says: secret, redirect URI, scopes, certificate or name")
	ProviderUnavailable = define("provider_unavailable", "the identity provider does not answer",
		"wait; `check-config --online` asks the provider from here")

	// The identity provider's token for an MCP server.
	ProviderTokenMissing = define("provider_token_missing", "the identity provider gave no token of the kind that the MCP server is to get (providerToken), or it was lost with the guard's memory; the client signs in again",
		"the person signs in again; see the scopes and the kind of token under `proxy.hosts[].providerToken`")
	ProviderTokenTooLarge = define("provider_token_too_large", "the identity provider's token does not fit where providerToken.form sends it; the cause has the sizes",
		"use `providerToken.form: held`, and raise the gateway's header buffers; docs/provider-tokens.md has them")
	ProviderTokenTooShort = define("provider_token_too_short", "the identity provider's token lives so short that an access token which carries it would be dead at once, see providerToken.minLifetime; the cause has the times",
		"let the provider give tokens that live longer, or lower `proxy.hosts[].providerToken.minLifetime`")
	ProviderTokenDead = define("provider_token_dead", "the MCP server says, or was seen to say with 401 at a served host, that the identity provider's token is good no more; the sign-in is ended, so that the client signs in again",
		"the person signs in again; at the provider the person may have withdrawn the app's access")
	ProviderFault = define("provider_fault", "the identity provider's answer makes no sense",
		"see the cause; the provider answers what no provider should")
	GuardUnavailable = define("guard_unavailable", "the memory of what was used and revoked does not answer, so nothing is honoured on it",
		"bring the guard's store (`guard.redis`, `guard.postgres`) back; `/readyz` says what is wrong")

	// Policy.
	AccountNotAllowed = define("account_not_allowed", "the account is in no tenant, hosted domain or organization that is admitted, or did not sign in by a class (acr) that is",
		"add the tenant, domain, organization or acr to the provider's settings, or the person signs in with another account")
	NoVerifiedEmail = define("no_verified_email", "the policy needs a verified e-mail address and the account has none",
		"the person has the address verified at the provider, or write the rule without an e-mail address")
	EmailDomainNotAllowed = define("email_domain_not_allowed", "the domain of the account's e-mail address is not allowed",
		"add the domain to `provider.allowedEmailDomains`, or the person signs in with another account")
	NotAllowedByPolicy = define("not_allowed_by_policy", "the rules of the policy give the person nothing of what was asked for, through this client",
		"`check-config --as` shows which rule decides; change the policy, or the person asks for what it gives")
	ClientNotAllowedByPolicy = define("client_not_allowed_by_policy", "no rule of the policy allows any user anything of what was asked for through this client",
		"`check-config --as` with client= shows which rule decides; add the client to one")
	NarrowedByPolicy = define("narrowed_by_policy", "the rules of the policy gave less than was agreed to; the rest is in withheld",
		"nothing, if the policy means it; `check-config --as` shows which rule keeps the rest")
	PolicyChanged = define("policy_changed", "the rules of the policy are others than when the access token was made; a refresh makes one by the new rules",
		"nothing; the client refreshes by itself")
	NobodyIsAdmitted = define("nobody_is_admitted", "the policy admits no one",
		"write whom the provider or the policy admits: `provider.allowedEmailDomains`, `proxy.hosts[].policy`")

	// OAuth error codes, where there is no finer reason.
	AccessDenied = define("access_denied", "the person or the policy said no",
		"nothing if the person declined; otherwise see the entry before it")
	InteractionRequired = define("interaction_required", "the client wants no page, but the person has to be asked",
		"the app's maker sends the request without prompt=none when the person has to be asked")
	InvalidClient = define("invalid_client", "client authentication failed",
		"see the entry's cause; the client registers again, or gets the right credential")
	InvalidClientMetadata = define("invalid_client_metadata", "the registration has a member that cannot be used",
		"the app's maker mends the registration; the answer names the member")
	InvalidGrant = define("invalid_grant", "the grant is not valid",
		"the client begins again")
	InvalidRedirectURI = define("invalid_redirect_uri", "no redirect URI of the registration can be used",
		"admit the address in `proxy.allowedRedirectURLs`, or the app's maker uses loopback or https")
	InvalidRequest = define("invalid_request", "a parameter is missing or malformed",
		"the app's maker mends the request; the answer names the parameter")
	InvalidScope = define("invalid_scope", "none of the requested scopes exists at the MCP server, or the parameter is malformed",
		"the client asks for scopes that the MCP server has; its metadata lists them")
	InvalidTarget = define("invalid_target", "the resource is not an MCP server of this host, or not the one that was authorized",
		"put the MCP server's public URL, path included, into the client")
	RequestNotSupported = define("request_not_supported", "request objects are not supported",
		"the app's maker sends the parameters themselves")
	RequestURINotSupported = define("request_uri_not_supported", "request objects are not supported",
		"the app's maker sends the parameters themselves, or uses /par where it is on")
	ServerError = define("server_error", "the service failed; the cause is in the entry",
		"see the cause, and the log lines of the same time; it is a fault of this service or its configuration")
	TemporarilyUnavailable = define("temporarily_unavailable", "a part that is needed does not answer",
		"wait; `/readyz` says which part does not answer")
	UnauthorizedClient = define("unauthorized_client", "the client may not use this grant type",
		"add the grant to `clients[].grantTypes` of the client's entry, or the app registers with it")
	AuthorizationPending = define("authorization_pending", "the person has not answered what a device asks for yet",
		"nothing; the device asks again")
	SlowDown = define("slow_down", "a device asks for its answer more often than it may",
		"nothing; the device waits longer")
	UnsupportedGrantType = define("unsupported_grant_type", "the grant type is not served",
		"turn the grant on in the configuration, if you want it; the metadata lists those that are")
	UnsupportedResponseType = define("unsupported_response_type", "the response type is not served",
		"the app's maker uses response_type=code")
	RegistrationNotSupported = define("registration_not_supported", "the registration parameter is not supported",
		"the app's maker leaves the member out")

	// Decisions at the gateway.
	Undecided = define("undecided", "no decision was made, so the request was denied",
		"report it: a request must not end without a decision. The log lines of the same time help")
	Allowed = define("allowed", "the request may pass",
		"nothing")
	NoToken = define("no_token", "the request carries no access token",
		"nothing; the client signs in. If it did and comes without its token, a gateway drops Authorization: `doctor URL --login` names it")
	MalformedCredentials = define("malformed_credentials", "the request does not carry exactly one well-formed Bearer token",
		"the app's maker sends one Authorization: Bearer header; a gateway may add a second")
	MalformedToken = define("malformed_token", "the access token is not one that this service makes",
		"the client signs in again; the token is of another system")
	UnknownSigningKey = define("unknown_signing_key", "the access token names a key that is not published; after a restart with ephemeral keys this is to be expected",
		"nothing after a restart with ephemeral keys; otherwise set `keys.source` to seed, the same seed at each replica, and compare `mcp_forward_auth_seed_info`")
	BadSignature = define("bad_signature", "the access token's signature does not verify",
		"the client signs in again; if it happens to all, the replicas have different seeds (compare `mcp_forward_auth_seed_info`); else someone forges tokens")
	WrongIssuer = define("wrong_issuer", "the access token was issued for another host",
		"the client signs in at the host that it calls; see that the gateway passes the Host header on unchanged")
	WrongAudience = define("wrong_audience", "the access token was issued for another MCP server",
		"the client signs in at the MCP server that it calls")
	UnknownIssuer = define("unknown_issuer", "the token is of an issuer that the MCP server does not take tokens of",
		"add the issuer to `proxy.hosts[].authorizationServers` of the host, if its tokens are to be taken")
	OwnTokenNotAccepted = define("own_token_not_accepted", "the access token is of this service, and the MCP server takes only those of other authorization servers",
		"set `ownTokens: true` at the host, or the client signs in at the other authorization server")
	WrongTokenType = define("wrong_token_type", "the token is no access token: an ID token, a logout token, or of a type that is not configured",
		"the client sends its access token; an ID token is none")
	AlgorithmRefused = define("algorithm_refused", "the token is signed with an algorithm that is not accepted of its issuer, or not signed",
		"add the algorithm to the issuer's entry, if it is one of its own")
	ForbiddenTokenHeader = define("forbidden_token_header", "the token's header names a key, or an extension that this service does not know",
		"the issuer makes tokens without jwk, jku, x5u and crit")
	NoAudience = define("no_audience", "the token does not say which MCP server it is for",
		"let the authorization server put the MCP server's URL in `aud` (RFC 8707, or its setting for the audience)")
	TokenNotYetValid = define("token_not_yet_valid", "the token comes from the future; one of the two clocks is wrong",
		"set the clocks right, by NTP, here and at the issuer")
	WrongTenant = define("wrong_tenant", "the token is of a tenant of the issuer that is not accepted",
		"add the tenant to the issuer's entry, or the person uses an account of another")
	ClientNotAccepted = define("client_not_accepted", "the issuer gave the token to a client that is not accepted, or names none",
		"add the client to the issuer's entry")
	NoSubject = define("no_subject", "the token does not say whom it is for, or in a form that could be taken for another person",
		"let the issuer put a stable sub in its tokens")
	BoundToken = define("bound_token", "the token is bound to a key of the client (cnf), whose proof this service does not check",
		"turn `dpop` on at the host, or let the issuer give tokens that are not bound")
	BoundTokenAsBearer = define("bound_token_as_bearer", "the token is bound to a key of the client (cnf), and came as Bearer, without a proof of that key",
		"the app's maker sends the token with the scheme DPoP and a proof; if the app does, the gateway drops the DPoP header")
	UnboundToken = define("unbound_token", "the token is bound to no key: it came with the scheme DPoP, or the MCP server takes bound tokens only",
		"the client signs in again with a DPoP proof, or set `dpop` so that it is not required")
	DPoPProofMissing = define("dpop_proof_missing", "the request has no DPoP proof, and needs one",
		"the app's maker sends a proof; if the app does, the gateway drops the DPoP header")
	DPoPProofRepeated = define("dpop_proof_repeated", "the request has more than one DPoP header",
		"the app's maker sends one proof; a gateway may add a second")
	DPoPProofMalformed = define("dpop_proof_malformed", "the DPoP proof is no signed JWT, is too long, or lacks a claim",
		"the app's maker mends the proof: RFC 9449, section 4.2")
	DPoPProofType = define("dpop_proof_type", "the DPoP proof has another typ than dpop+jwt",
		"the app's maker mends the proof: typ is dpop+jwt")
	DPoPProofAlgorithm = define("dpop_proof_algorithm", "the DPoP proof is signed with an algorithm that is not accepted, or not signed",
		"the app's maker signs with one of dpop_signing_alg_values_supported")
	DPoPProofKey = define("dpop_proof_key", "the jwk of the DPoP proof is missing, private, symmetric, of a size that is not accepted, or not one of its algorithm",
		"the app's maker puts the public key in jwk, and nothing else")
	DPoPProofSignature = define("dpop_proof_signature", "the signature of the DPoP proof does not verify",
		"the app's maker signs with the key of jwk")
	DPoPProofMethod = define("dpop_proof_method", "the DPoP proof is for another HTTP method (htm)",
		"the app's maker puts the method of the request in htm; if it does, see which method the gateway tells")
	DPoPProofURL = define("dpop_proof_url", "the DPoP proof is for another URL (htu)",
		"the app's maker puts the URL of the request in htu; if it does, see which host and path the gateway tells, and `proxy.hosts`")
	DPoPProofTime = define("dpop_proof_time", "the DPoP proof is more than five minutes old, or from the future; one of the two clocks may be wrong",
		"set the clocks right, by NTP; the app's maker makes a proof for each request")
	DPoPProofToken = define("dpop_proof_token", "the DPoP proof is for another access token (ath), or names none",
		"the app's maker puts the hash of the access token in ath")
	DPoPProofReplayed = define("dpop_proof_replayed", "the DPoP proof was used before",
		"the app's maker makes a proof for each request; if the app does, the gateway asks twice, or someone else holds the proof")
	DPoPWrongKey = define("dpop_wrong_key", "the DPoP proof is of another key than the one that the token, the code or the refresh token is bound to",
		"the client keeps one key for a sign-in; otherwise someone else holds the token")
	DPoPNonceNeeded = define("dpop_nonce_needed", "the DPoP proof has no nonce of this host that is fresh; the client gets one with this answer and tries again",
		"nothing; the client tries again with the nonce. If it does not, the gateway drops DPoP-Nonce: docs/dpop.md")
	DPoPNotCheckable = define("dpop_not_checkable", "the token is bound to a key, and the gateway does not tell the method or the path of the request, without which no proof can be checked",
		"let the gateway tell the method and the path: docs/dpop.md has the lines")
	DelegatedToken = define("delegated_token", "another party acts for the person of the token (act), and this service has no rules for such tokens",
		"set `delegation: true` at the issuer's entry, if those who act for people are to be let in")
	InactiveToken = define("inactive_token", "the authorization server says that the token is not active",
		"the client gets a new token from its authorization server")
	IssuerKeysUnavailable = define("issuer_keys_unavailable", "the issuer's keys cannot be had right now; the log says why",
		"bring the issuer's keys back; the log has its address and the error")
	VerifierUnavailable = define("verifier_unavailable", "who has to be asked about the credential does not answer; the log says why",
		"bring back what has to be asked: introspection endpoint, webhook or issuer; the log has the error")
	TooManyWaiting = define("too_many_waiting", "so many requests wait for an answer about their credentials that this one was not looked at",
		"find out why the verifier is slow; requests are let in again as it answers")
	APIKeyMalformed = define("api_key_malformed", "the API key was cut or mistyped: its checksum is wrong",
		"copy the key again, whole")
	APIKeyUnknown = define("api_key_unknown", "there is no such API key, or it was removed",
		"make a key with `new-api-key` and put its line into the keys' file, or use one that is there")
	APIKeyExpired = define("api_key_expired", "the API key has expired",
		"make a new key, or move the end of this one")
	APIKeySignInDue = define("api_key_sign_in_due", "the identity provider has not vouched for the person who made the API key for longer than `personalKeys.signInEvery`",
		"the person signs in, at `/account` or with an app; then the key is good again")
	APIKeyRevoked = define("api_key_revoked", "the API key was revoked",
		"make a new key if its owner is to come back")
	APIKeyNotAccepted = define("api_key_not_accepted", "the API key is not for this MCP server, or the MCP server takes none",
		"set `apiKeys` at the host, or add the host to the key's line")
	APIKeyWrongSource = define("api_key_wrong_source", "the API key is not for the network that the request came from, or the gateway does not tell it",
		"add the network to the key's line, or see that the gateway tells the client's address (`listen.trustedProxies`)")
	APIKeyNotEnough = define("api_key_not_enough", "neither the scopes nor the tools of the API key open what was asked for",
		"add the scope or the tool to the key's line")
	APIKeyRefused = define("api_key_refused", "the webhook refuses the API key",
		"see the webhook's own log")
	NotAnAPIKey = define("not_an_api_key", "the header for API keys holds another kind of credential",
		"the client sends an API key in that header, and tokens in Authorization")
	TwoCredentials = define("two_credentials", "the request carries an API key in its own header, and that twice or beside an Authorization header",
		"the client sends one credential")
	NoSuchPage = define("no_such_page", "the address to come back to after a sign-in is none of the pages of the host",
		"add the path to `pages` of the host, if it is one")
	NoSession = define("no_session", "a request for a page carries no browser session, so the person has to sign in",
		"nothing; the browser is sent to sign in")
	SessionExpired = define("session_expired", "the browser session was not used for too long, or it is too long ago that the person signed in or the identity provider was asked",
		"nothing; the browser is sent to sign in")
	SessionInvalid = define("session_invalid", "the browser session was not made by this service for this host, or came twice",
		"the person signs in again; if it happens to all, the replicas have different seeds (compare `mcp_forward_auth_seed_info`)")
	SessionDue = define("session_due", "the browser is sent to renew its session, and comes back at once",
		"nothing; the browser comes back at once")
	SessionReplaced = define("session_replaced", "the person signed in again in the same browser",
		"nothing")
	SignedOut = define("signed_out", "the person signed out",
		"nothing; the person wanted it")
	SessionReused = define("session_reused", "a browser session was used after it had been renewed: two browsers hold it, so it is ended",
		"the person signs in again; ask whether they copied a browser profile. If not, someone else held the cookie")
	CrossSiteRequest = define("cross_site_request", "another site made the browser send a request to a page",
		"nothing; the person opens the page itself. The other site needs `proxy.hosts[].cors.allowedOrigins` for calls of its own")
	ExpiredToken = define("expired_token", "the access token has expired, or comes from the future",
		"nothing; the client refreshes. If its tokens seem expired at once, set the clocks right")
	UnknownHost = define("unknown_host", "the gateway asks about a host that is not configured",
		"add the host to `proxy.hosts`, or see that the gateway passes the Host header on unchanged")
	UnknownResource = define("unknown_resource", "the gateway asks about a path that belongs to no MCP server",
		"see `path` in `proxy.hosts`; /mcp and /mcp/ are two")
	Preflight = define("preflight", "a browser's preflight of an allowed origin; it carries no token",
		"nothing")
	AllowedByAdvisoryPolicy = define("allowed_by_advisory_policy", "the request may pass, because the tool policy of the MCP server only advises",
		"nothing now; with `toolPolicy: enforce` it would be refused")
	ForbiddenOrigin = define("forbidden_origin", "a web page of an origin that is not allowed",
		"add the origin to `proxy.hosts[].cors.allowedOrigins` of the host, if its page may call")
	RepeatedMCPHeader = define("repeated_mcp_header", "MCP-Protocol-Version, Mcp-Method or Mcp-Name came more than once",
		"the app's maker sends each header once; a gateway may add one")
	MissingMCPHeader = define("missing_mcp_header", "Mcp-Method or Mcp-Name is missing in a request of a revision that needs them",
		"the app's maker sends the headers of its revision; a gateway may drop them: `doctor URL --login` names it")
	MalformedMCPHeader = define("malformed_mcp_header", "Mcp-Method or Mcp-Name holds a character that it must not, or bad Base64",
		"the app's maker writes the header as the standard says: =?base64?…?= where the name needs it")
	HeaderBodyMismatch = define("header_body_mismatch", "Mcp-Method or Mcp-Name does not say what the body says",
		"the app's maker writes the same in header and body; if the app does, someone tries a tool under another's name")
	MalformedBody = define("malformed_body", "the body is not JSON-RPC, or parsers could read it differently",
		"the app's maker sends one JSON-RPC message, in UTF-8, without members that repeat")
	MediaTypeMissing = define("media_type_missing", "the body decides about this MCP server's requests, and the request has no Content-Type, or the gateway did not forward it",
		"let the gateway forward Content-Type")
	EncodedBody = define("encoded_body", "the body decides about this MCP server's requests, and its Content-Encoding is another than identity",
		"the app's maker sends the body as it is, without compression")
	BodyMissing = define("body_missing", "the body decides about this MCP server's requests, and the gateway did not forward it",
		"let the gateway forward the body, or set `body: false` at the host")
	OldProtocolVersion = define("old_protocol_version", "the tool policy is strict, and the request is of a revision whose headers prove nothing",
		"use a newer client, or let the body decide: `body`, `envoyMCP` or `serve` at the host; docs/tool-policy.md")
	InsufficientScope = define("insufficient_scope", "the access token lacks a scope",
		"the client asks the person for the scope in the entry; if no one can have it, `check-config --as` says why")
	ToolChanged = define("tool_changed", "`holdChangedTools`: the tool is new, or not as it was when the person agreed; they have to agree again",
		"the client has the person sign in, and they agree to the tool; see `tools.changed` for what the MCP server changed")
	ToolNotListed = define("tool_not_listed", "`holdChangedTools`: the MCP server does not list the tool, so no person can have agreed to it",
		"the MCP server lists the tool in tools/list, if people are to have it")
	NoScopeOpensIt = define("no_scope_opens_it", "no scope opens the tool, resource or prompt; it may not exist",
		"add the tool to `proxy.hosts[].scopes`, if it is to be used; the name may be mistyped")
	CatalogueUnavailable = define("catalogue_unavailable", "this replica has not read the MCP server's list, and no entry of `proxy.hosts[].scopes` names the tool",
		"bring the MCP server back, or give `serverCredential` if it wants one; the log has the error")
	AmbiguousURI = define("ambiguous_uri", "the resource's URI can be read in two ways, so no pattern can judge it",
		"the app's maker writes the URI without .., encoded dots and slashes, and backslashes")
	UnknownDialect = define("unknown_dialect", "the gateway is configured with a path below /authenticate that does not exist",
		"mend the path in the gateway's configuration; its page under docs/gateways has it")
	MethodNotAllowed = define("method_not_allowed", "the request has an HTTP method that no MCP server takes",
		"nothing; MCP takes GET, POST and DELETE")
	ConnectionNamesHeader = define("connection_names_header", "the request's header Connection names a header that is for the MCP server, which would take it away on the way there",
		"nothing for an honest client; someone tries to have the identity headers removed")
	UnknownSession = define("unknown_session", "the request names a session of the MCP server that this person did not begin with this client, or that began before a restart with other keys",
		"nothing; the client begins a new session with the MCP server by itself")
	MCPServerUnreachable = define("mcp_server_unreachable", "the MCP server behind a served host does not answer, or its answer is broken; the cause is in the entry",
		"bring the MCP server back; see `endpoint` in `proxy.hosts`, and the cause")
	MCPServerTimeout = define("mcp_server_timeout", "the MCP server behind a served host did not begin its answer within `serve.idleTimeout`",
		"see what the MCP server is doing; raise `proxy.hosts[].serve.idleTimeout` if it needs so long")
	MCPServerUnauthorized = define("mcp_server_unauthorized", "the MCP server behind a served host answered 401, 403 or 407 to a request that was let through; it must trust the identity headers",
		"let the MCP server trust the identity headers and ask for no sign-in of its own; or give it `serverCredential`")
	MCPServerCredential = define("mcp_server_credential", "the MCP server behind a served host answered 401 to a request with the credential of `serverCredential`; the file may hold an old one",
		"put a credential that is good into the file of `serverCredential`")
	MCPServerRedirect = define("mcp_server_redirect", "the MCP server behind a served host answered with a redirect to an address that is not its own",
		"put the address that the redirect leads to into `endpoint`, if it is right")
	MCPServerAnswer = define("mcp_server_answer", "the answer of the MCP server behind a served host cannot be passed on; the cause says why",
		"see the cause; the MCP server's answer breaks HTTP or MCP")
	NotServedThatWay = define("not_served_that_way", "a gateway asks about an MCP server that this service relays to itself (`serve`), or the other way round, or agentgateway asks about a message at a host without `extMCP`",
		"let the gateway pass requests on instead of asking, or take `serve` or `extMCP` out of the host; docs/served-hosts.md")
	AmbiguousTarget = define("ambiguous_target", "the gateway's question can be read in more than one way",
		"mend the gateway: each X-Forwarded or X-Original header once, and overwritten by it")
)
