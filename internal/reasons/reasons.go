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
	BodyTooLarge = define("body_too_large", "the request's body is too large",
		"nothing for an honest client; larger requests are refused. Where the body decides about MCP requests the limit is 1 MiB")
	BodyUnreadable = define("body_unreadable", "the request's body ended early or came too slowly",
		"the client tries again; if it keeps happening look for a slow network or a gateway that cuts requests off")
	ClientIDMissing = define("client_id_missing", "the request names no client",
		"the app's maker fixes the app: client_id is required")
	DuplicateParameter = define("duplicate_parameter", "a parameter that must not repeat came more than once",
		"the app's maker fixes the app, or look for a gateway that adds parameters")
	MalformedCallback = define("malformed_callback", "the identity provider's answer has a malformed or repeated parameter",
		"look at the provider's own log; a proxy may have rewritten the address")
	MalformedForm = define("malformed_form", "the body is not a valid form",
		"the app's maker fixes the app: the body is application/x-www-form-urlencoded")
	MalformedQuery = define("malformed_query", "the query is not valid",
		"the app's maker fixes the app; a gateway that decodes and encodes the query again can be the cause")
	QueryTooLong = define("query_too_long", "the query is too long",
		"the app's maker makes the request shorter; POST to /authorize, or push it to /par if that is on")
	WrongMediaType = define("wrong_media_type", "the body has a media type that the endpoint does not accept; a request to an MCP server needs exactly one application/json in UTF-8",
		"the app's maker sends the media type that the endpoint accepts")
	PushedRequestInvalid = define("pushed_request_invalid", "the request_uri of the authorization request has expired, is of another client, or is not one of this service",
		"the app begins again at /par; a request_uri is valid for a short time and for one client")
	PushedRequestMissing = define("pushed_request_missing", "the authorization request must be pushed to /par first, and was not",
		"the app's maker uses /par, or set `pushedRequests.required` to false")
	RedirectURIMissing = define("redirect_uri_missing", "the client registered several redirect URIs and the request names none",
		"the app's maker sends redirect_uri")
	RedirectURIMismatch = define("redirect_uri_mismatch", "the redirect URI is not one that the client registered, or differs from that of the authorization request",
		"add the address to the client's redirect URIs if the client is under `clients`; otherwise the app registers again")

	// Limits.
	TooManyRequestsOfAddress = define("too_many_requests_of_address", "the client's address used up limits.addressRequests",
		"wait a minute; if honest clients share the address raise `limits.addressRequests`, or check that the gateway sends the client's address (`listen.trustedProxies`)")
	TooManyRegistrations = define("too_many_registrations", "registrations of the client's address, or of all addresses together, used up limits.registrations",
		"wait; a client that registers at each start needs `limits.registrations` raised, or an entry under `clients`")
	TooManyPasswords = define("too_many_passwords", "too many passwords are being checked at once, so this one was not checked",
		"wait; look for an attack in `login.refused`")
	TooManySignIns = define("too_many_sign_ins", "wrong passwords for the user name used up limits.signInAttempts",
		"the person waits; look for an attack on the name, or raise `limits.signInAttempts`")
	TooManyRevocations = define("too_many_revocations", "the client revoked too many tokens, so this one was not revoked",
		"the client tries again later")

	// Clients.
	UnknownClient = define("unknown_client", "the client id was not issued for this host, or the rules no longer admit the client",
		"see the cause. Usually: sign out in the client and in again, so that it registers. An id of the operator's making needs an entry under `clients`; redirect URIs need `proxy.allowedRedirectURLs`")
	TwoClientAuthentications = define("two_client_authentications", "the client sent credentials in more than one way",
		"the app's maker sends the secret once: in the header or in the form")
	ClientDocumentInvalid = define("client_document_invalid", "the client's metadata document is not valid, or its URL is not accepted; the cause is in the entry",
		"the app's maker fixes the document at its client id; the cause names the member")
	ClientDocumentUnavailable = define("client_document_unavailable", "the client's metadata document cannot be fetched right now; the cause is in the entry",
		"wait and try again; the app's own server does not answer")
	ClientDocumentUnreachable = define("client_document_unreachable", "the client's metadata document cannot be fetched until an operator acts: its name does not exist, its address is refused, its certificate is not trusted, or the proxy fails; the cause is in the entry",
		"allow this service to reach the host that the cause names: DNS, egress rules or `egress.proxy`")
	ClientAuthenticationThrottled = define("client_authentication_throttled", "the client failed to authenticate too often",
		"put the right secret in the client, then wait a minute")
	TooManyRequestsOfClient = define("too_many_requests_of_client", "the client used up limits.clientRequests",
		"find out why the client sends so many requests; raise `limits.clientRequests` if it must")
	TwoClientIDs = define("two_client_ids", "client_id differs from the client that authenticated",
		"the app's maker sends one client_id")
	InvalidClientAssertion = define("invalid_client_assertion", "the client's signed assertion does not verify; the cause is in the entry",
		"correct the client's public key, or the audience, which is the address of this service; the cause says which")
	ClientAssertionUsedTwice = define("client_assertion_used_twice", "the client's signed assertion was used before",
		"the app's maker makes a new assertion for each request; if it does, someone else may hold it")
	MalformedClientAuthentication = define("malformed_client_authentication", "the client's credentials have a form that the token endpoint does not accept",
		"the app's maker fixes the header: Basic with id and secret, each percent-encoded")
	WrongClientAuthenticationMethod = define("wrong_client_authentication_method", "the client used an authentication method that it did not register",
		"use the method that the client registered, or change the client's entry under `clients`")
	WrongClientSecret = define("wrong_client_secret", "the client secret is wrong",
		"put the secret of the client's entry under `clients` into the client; a client that registered by itself registers again. If all of these get it, the seed was replaced")

	// Machines.
	InvalidAssertion = define("invalid_assertion", "the assertion does not verify, or lacks what its kind requires; the cause is in the entry",
		"see the cause: it names the claim, the key or the time. `check-config --as-agent FILE` tests an assertion without sending a request")
	UnknownAssertionIssuer = define("unknown_assertion_issuer", "trustedIssuers does not name the issuer of the assertion for its type; nothing was fetched",
		"add the issuer under `trustedIssuers` if it is to be trusted; the cause has its name")
	AssertionUsedTwice = define("assertion_used_twice", "the assertion was used before",
		"the workload gets a new assertion for each request; if it does, someone else may hold it")
	NoRuleForAssertion = define("no_rule_for_assertion", "the assertion is genuine, but no rule of its issuer's entry gives it anything here",
		"add a rule to the issuer's entry; `check-config --as-agent FILE` shows what an assertion gets")
	AssertionWithoutClient = define("assertion_without_client", "the assertion is for a client of this service, but the sender is not that client, or did not authenticate",
		"the client authenticates itself together with the assertion; give it an entry under `clients`")

	// Token exchange.
	ExchangeNotForServer = define("exchange_not_for_server", "the identity header or handle is of an MCP server whose tokenExchange does not name the client or workload that presents it",
		"name the server's client or workload under `tokenExchange` of its host, if it may have the token")
	ExchangeTarget = define("exchange_target", "tokenExchange does not list the requested MCP server for this server and caller, or the server does not get the identity provider's token in this way",
		"add the MCP server to `tokenExchange` of the host, if it may be called for the caller")
	NothingToExchange = define("nothing_to_exchange", "the caller has no sign-in here that could be exchanged: the identity header is of an API key, a machine or another authorization server's token, or was made before tokenExchange was turned on",
		"nothing for machines and keys; a person who signed in earlier signs in again")
	TooManyActors = define("too_many_actors", "the chain of MCP servers that act for each other is longer than a token can hold",
		"let one MCP server call the last one itself")
	StillGood = define("still_good", "the MCP server says that the identity provider's token is dead, but it has already been replaced, or is younger than a minute; nothing is ended",
		"nothing; if the server keeps saying so, find out how it decides that a token is dead")

	// Codes.
	InvalidCode = define("invalid_code", "the code is not one of this service for this host",
		"the client begins again; if it happens at random the replicas have different seeds: compare `mcp_forward_auth_seed_info`")
	CodeExpired = define("code_expired", "the client redeemed the code more than a minute after it was issued",
		"the client begins again. Find the cause of the delay: a person who confirms in the app, a slow network, or replicas whose clocks differ")
	CodeOfAnotherClient = define("code_of_another_client", "the code was issued to another client",
		"look at the two clients: one of them holds a code that is not its own")
	CodeUsedTwice = define("code_used_twice", "the code was redeemed before",
		"the client begins again; if it did not send the code twice itself, someone else holds it")
	WrongCodeVerifier = define("wrong_code_verifier", "the PKCE verifier does not belong to the code",
		"the app's maker keeps code_verifier with the request it belongs to; two sign-ins at once may have mixed them up")

	// Refresh tokens and revocation.
	InvalidRefreshToken = define("invalid_refresh_token", "the refresh token is not one of this service for this host",
		"the person signs in again; if everyone has to, the seed was replaced, and if only some requests are refused the replicas have different seeds (compare `mcp_forward_auth_seed_info`)")
	RefreshTokenExpired = define("refresh_token_expired", "the refresh token was not used for too long, or the person signed in too long ago",
		"nothing; the person signs in again. `tokens.refreshTokenIdleLifetime` and `tokens.refreshTokenLifetime` say how long")
	RefreshTokenOfAnotherClient = define("refresh_token_of_another_client", "the refresh token was issued to another client",
		"the app's maker keeps the tokens of two registrations apart")
	ScopesChanged = define("scopes_changed", "every scope of a refresh token now opens other tools than the user agreed to, so they are asked again",
		"the person agrees again; the MCP server's tools changed, `token.refused` entries of other people show how many are affected")
	RefreshTokenReused = define("refresh_token_reused", "a refresh token was used after it had been replaced: two parties hold it, so the family is ended",
		"the person signs in again. The usual cause is a client that runs twice on one machine; the other is theft, so ask the person")
	RefreshTokenRepeated = define("refresh_token_repeated", "a refresh token got the same answer again, within the grace period after it was exchanged: an answer was lost, or several processes hold the token",
		"nothing; many of one client mean that it loses answers or runs twice")
	StepUpExpected = define("step_up_expected", "a refresh came right after the same sign-in was asked for more scopes, and refuseRefreshAfterStepUp makes the client sign in again",
		"the client lets the person sign in with the scopes of the challenge; nothing is lost")
	NoRefreshToken = define("no_refresh_token", "an access token came without a refresh token: the identity provider gave no token with which to ask about the person later, or its tokens are too large or could not be kept",
		"make the provider give refresh tokens (offline_access, access_type=offline), or accept a new sign-in after each `tokens.accessTokenLifetime`; see the cause")
	ScopeNotGranted = define("scope_not_granted", "a refresh asks for more than was granted, or a machine asks only for scopes that it may not have",
		"the client asks for scopes that were granted, or signs in again for more; a machine needs them in its entry or rule")
	ResourceNotForMachine = define("resource_not_for_machine", "a machine asks for a token for an MCP server that its entry does not name",
		"add the MCP server to the resources of the machine's entry")
	ResourceGone = define("resource_gone", "the MCP server of the refresh token is no longer configured, or no longer for this client",
		"put the host back into `proxy.hosts`, or sign in at the one that replaced it")
	ProviderSessionOver = define("provider_session_over", "the identity provider gave no token with which to ask about the person later, or it has expired; the person has to sign in again",
		"the person signs in again; the provider's session or refresh token has ended")
	ProviderRemoved = define("provider_removed", "the identity provider with which the person signed in is no longer configured",
		"the person signs in again with a provider that is configured")
	UserGone = define("user_gone", "the identity provider no longer accepts the person",
		"nothing if the person left; otherwise look at the account at the provider: disabled, password changed, or consent withdrawn")
	TokenRevoked = define("token_revoked", "the access token, or the sign-in that it comes from, was revoked",
		"the client signs in again; the `token.revoked`, `family.ended` or `person.ended` entry of the same sign-in says why")
	FamilyRevoked = define("family_revoked", "the sign-in that the token comes from was revoked",
		"the person signs in again, unless the deny-list names the sign-in; the `family.ended` or `token.revoked` entry of the same sign-in says why it was revoked")
	PersonEnded = define("person_ended", "all of this person's sign-ins until then were ended: by the person, the operator, or an event of the identity provider",
		"the person signs in again")
	EndedByPerson = define("ended_by_person", "the person ended it at /account",
		"nothing; the person wanted it")
	EndedByProvider = define("ended_by_provider", "the identity provider sent an event that ends it",
		"nothing; the person signs in again when the provider lets them")
	EventWithoutEffect = define("event_without_effect", "the security event has a type that ends nothing, or names its subject in a way that its stream does not allow",
		"nothing; see the cause if an event was meant to end something")
	EndedByOperator = define("ended_by_operator", "an operator ended it at the management listener",
		"nothing; an operator wanted it")
	DeniedByOperator = define("denied_by_operator", "the operator's deny-list names the person, the client or the sign-in",
		"remove the entry from the deny-list if access should be restored")
	TokenOfAnotherClient = define("token_of_another_client", "a client asked to revoke a token that is not its own",
		"the app revokes only its own tokens")
	RevocationListFull = define("revocation_list_full", "the list of revocations is full, so the token could not be revoked",
		"raise the guard's limit, or find the client that revokes so many; the token expires by itself")
	IntrospectionNotForClient = define("introspection_not_for_client", "a client that the operator did not configure with credentials asked about a token",
		"give the client an entry with a secret under `clients`")
	RevokedByClient = define("revoked_by_client", "the client revoked the token",
		"nothing; the client wanted it")

	// Devices without a browser.
	DeviceCodeExpired = define("device_code_expired", "the device code has expired, or the guard lost its record: with the guard in memory, at a restart or at another replica",
		"begin again at the device; several replicas need a shared guard")
	InvalidDeviceCode = define("invalid_device_code", "the device code is not one of this service for this host and client",
		"begin again at the device")
	UnknownUserCode = define("unknown_user_code", "a person typed a code that no device shows, or that has expired, was answered or typed too often",
		"the person types the code that the device shows now")
	TooManyUserCodes = define("too_many_user_codes", "too many wrong device codes were typed from one address, or in all, so this one was not checked",
		"wait a minute; look for an attack")

	// The person's browser.
	CrossSiteForm = define("cross_site_form", "another site made the browser send a form",
		"the person opens the page from the app; if it always happens, a gateway drops or changes Origin or Sec-Fetch-Site")
	ConsentExpired = define("consent_expired", "the consent page was open for too long",
		"the person begins again at the app")
	ForeignConsent = define("foreign_consent", "the consent form was not made by this service for this browser",
		"the person begins again at the app; if it happens to all, the replicas have different seeds (compare `mcp_forward_auth_seed_info`)")
	Displaced = define("displaced", "the step belongs to a sign-in that this browser dropped when it began many others",
		"the person finishes the sign-in that was begun last")
	SignInExpired = define("sign_in_expired", "the person came back to the sign-in more than ten minutes after the page before",
		"the person begins again at the app; if it happens to many, see what keeps them at the identity provider's page")
	OtherBrowser = define("other_browser", "the step does not belong to a sign-in of this browser, or that one has expired",
		"the person begins again and stays in one browser; if it happens to all, cookies do not come back (another host name, http for https) or the replicas have different seeds (compare `mcp_forward_auth_seed_info`)")
	UnknownProvider = define("unknown_provider", "the person chose an identity provider that is not configured, or the sign-in needs one that is no longer configured",
		"put the provider back, or the person begins again")
	ForeignCallback = define("foreign_callback", "the answer of an identity provider came to proxy.callbackHost with a state that this service did not make, that is too old, or that names a removed host",
		"the person begins again; check that `proxy.callbackHost` leads to the service that began the sign-in")
	CallbackOfAnotherHost = define("callback_of_another_host", "the answer of an identity provider belongs to a sign-in at another host",
		"the person begins again at the right host; check which redirect URI is registered at the provider")
	OtherProvider = define("other_provider", "the answer of an identity provider came to the callback of another; an attacker may be mixing them up",
		"check that each provider has its own callback registered (/callback/ID); if so, someone tries to mix them up")
	UsedTwice = define("used_twice", "the step has already been done",
		"nothing, if the app has its answer: the person pressed Back or reloaded. If the page before was an error, its entry has the cause: the `login.refused` just before, of the same sign-in or at the same host")
	WrongPassword = define("wrong_password", "the user name and password do not match an account",
		"the person tries again; `hash-password` makes a new line for the users' file")
	ProviderCancelled = define("provider_cancelled", "the person or the identity provider cancelled the sign-in",
		"nothing; the person begins again if they want to. If the provider itself cancels, see its log")
	ProviderRejected = define("provider_rejected", "the identity provider's answer does not verify, or is an error that blames this service",
		"see the cause, and the provider's own log of that time; `check-config --online` compares the clocks and reads the keys")
	ProviderMisconfigured = define("provider_misconfigured", "the identity provider cannot be used until something is changed: its certificate is not trusted, its name does not exist, it refuses this service's secret, scopes or redirect URI; the cause says what to do",
		"do what the cause says: secret, redirect URI, scopes, certificate or name")
	ProviderUnavailable = define("provider_unavailable", "the identity provider does not answer",
		"wait; `check-config --online` asks the provider from here")

	// The identity provider's token for an MCP server.
	ProviderTokenMissing = define("provider_token_missing", "the identity provider did not give the kind of token that the MCP server should get (providerToken), or the guard lost it; the client signs in again",
		"the person signs in again; see the scopes and the kind of token under `proxy.hosts[].providerToken`")
	ProviderTokenTooLarge = define("provider_token_too_large", "the identity provider's token is too large for providerToken.form; the cause has the sizes",
		"use `providerToken.form: held`, and raise the gateway's header buffers; docs/provider-tokens.md has them")
	ProviderTokenTooShort = define("provider_token_too_short", "the identity provider's token expires so soon that an access token with it would be useless, see providerToken.minLifetime; the cause has the times",
		"make the provider give tokens that live longer, or lower `proxy.hosts[].providerToken.minLifetime`")
	ProviderTokenDead = define("provider_token_dead", "the MCP server reported, or showed by a 401 at a served host, that the identity provider's token no longer works; the sign-in is ended, and the client signs in again",
		"the person signs in again; they may have withdrawn the app's access at the provider")
	ProviderFault = define("provider_fault", "the identity provider's answer breaks the protocol",
		"see the cause, and report it to the provider")
	GuardUnavailable = define("guard_unavailable", "the guard's back end does not answer, so nothing that depends on it is accepted",
		"bring the guard's store (`guard.redis`, `guard.postgres`) back; `/readyz` says what is wrong")

	// Policy.
	AccountNotAllowed = define("account_not_allowed", "the account is in no allowed tenant, hosted domain or organization, or its sign-in had no allowed class (acr)",
		"add the tenant, domain, organization or acr to the provider's settings, or the person signs in with another account")
	NoVerifiedEmail = define("no_verified_email", "the policy needs a verified e-mail address and the account has none",
		"the person verifies the address at the provider, or write the rule without an e-mail address")
	EmailDomainNotAllowed = define("email_domain_not_allowed", "the domain of the account's e-mail address is not allowed",
		"add the domain to `provider.allowedEmailDomains`, or the person signs in with another account")
	NotAllowedByPolicy = define("not_allowed_by_policy", "the rules of the policy allow the person none of the requested scopes through this client",
		"`check-config --as` shows which rule decides; change the policy, or the person asks for what it allows")
	ClientNotAllowedByPolicy = define("client_not_allowed_by_policy", "no rule of the policy allows any user the requested scopes through this client",
		"`check-config --as` with client= shows which rule decides; add the client to one")
	NarrowedByPolicy = define("narrowed_by_policy", "the rules of the policy allow less than the person agreed to; the rest is in withheld",
		"nothing, if that is intended; `check-config --as` shows which rule withholds the rest")
	PolicyChanged = define("policy_changed", "the rules of the policy have changed since the access token was issued; a refresh gives a token by the new rules",
		"nothing; the client refreshes by itself")
	NobodyIsAdmitted = define("nobody_is_admitted", "the policy admits no one",
		"say whom the provider or the policy admits: `provider.allowedEmailDomains`, `proxy.hosts[].policy`")

	// OAuth error codes, where there is no finer reason.
	AccessDenied = define("access_denied", "the person declined, or the policy denied it",
		"nothing if the person declined; otherwise see the entry before it")
	InteractionRequired = define("interaction_required", "the client asked for no page (prompt=none), but the person has to be asked",
		"the app's maker sends the request without prompt=none when the person has to be asked")
	InvalidClient = define("invalid_client", "client authentication failed",
		"see the entry's cause; the client registers again, or gets the right credential")
	InvalidClientMetadata = define("invalid_client_metadata", "the registration has a member that cannot be used",
		"the app's maker fixes the registration; the answer names the member")
	InvalidGrant = define("invalid_grant", "the grant is not valid",
		"the client begins again")
	InvalidRedirectURI = define("invalid_redirect_uri", "no redirect URI of the registration can be used",
		"admit the address in `proxy.allowedRedirectURLs`, or the app's maker uses loopback or https")
	InvalidRequest = define("invalid_request", "a parameter is missing or malformed",
		"the app's maker fixes the request; the answer names the parameter")
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
	TemporarilyUnavailable = define("temporarily_unavailable", "a required part does not answer",
		"wait; `/readyz` says which part does not answer")
	UnauthorizedClient = define("unauthorized_client", "the client may not use this grant type",
		"add the grant to `clients[].grantTypes` of the client's entry, or the app registers with it")
	AuthorizationPending = define("authorization_pending", "the person has not yet answered the device's request",
		"nothing; the device asks again")
	SlowDown = define("slow_down", "a device asks too often whether the person has answered",
		"nothing; the device waits longer")
	UnsupportedGrantType = define("unsupported_grant_type", "the grant type is not served",
		"turn the grant on in the configuration, if you want it; the metadata lists the active ones")
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
		"nothing; the client signs in. If a signed-in client sends no token, a gateway drops Authorization: `doctor URL --login` names it")
	MalformedCredentials = define("malformed_credentials", "the request does not carry exactly one well-formed Bearer token",
		"the app's maker sends one Authorization: Bearer header; a gateway may add a second")
	MalformedToken = define("malformed_token", "the access token is not one that this service makes",
		"the client signs in again; the token is of another system")
	UnknownSigningKey = define("unknown_signing_key", "the access token names a key that is not published; this is normal after a restart with ephemeral keys",
		"nothing after a restart with ephemeral keys; otherwise set `keys.source` to seed, the same seed at each replica, and compare `mcp_forward_auth_seed_info`")
	BadSignature = define("bad_signature", "the access token's signature does not verify",
		"the client signs in again; if it happens to everyone, the replicas have different seeds (compare `mcp_forward_auth_seed_info`); otherwise someone forges tokens")
	WrongIssuer = define("wrong_issuer", "the access token was issued for another host",
		"the client signs in at the host that it calls; check that the gateway passes the Host header on unchanged")
	WrongAudience = define("wrong_audience", "the access token was issued for another MCP server",
		"the client signs in at the MCP server that it calls")
	UnknownIssuer = define("unknown_issuer", "the MCP server does not accept tokens of this issuer",
		"add the issuer to `proxy.hosts[].authorizationServers` of the host, if its tokens should be accepted")
	OwnTokenNotAccepted = define("own_token_not_accepted", "the access token is of this service, but the MCP server accepts only those of other authorization servers",
		"set `ownTokens: true` at the host, or the client signs in at the other authorization server")
	WrongTokenType = define("wrong_token_type", "the token is of a type that is not accepted here, such as an ID token instead of an access token",
		"the client sends its access token, not its ID token")
	AlgorithmRefused = define("algorithm_refused", "the token is signed with an algorithm that is not accepted from its issuer, or not signed",
		"add the algorithm to the issuer's entry, if the issuer uses it")
	ForbiddenTokenHeader = define("forbidden_token_header", "the token's header names a key, or an extension that this service does not know",
		"the issuer makes tokens without jwk, jku, x5u and crit")
	NoAudience = define("no_audience", "the token does not say which MCP server it is for",
		"make the authorization server put the MCP server's URL into `aud` (RFC 8707, or its setting for the audience)")
	TokenNotYetValid = define("token_not_yet_valid", "the token is not valid yet; one of the two clocks is wrong",
		"synchronise the clocks (NTP) here and at the issuer")
	WrongTenant = define("wrong_tenant", "the token is of a tenant that is not accepted",
		"add the tenant to the issuer's entry, or the person uses an account of an accepted tenant")
	ClientNotAccepted = define("client_not_accepted", "the issuer gave the token to a client that is not accepted, or names none",
		"add the client to the issuer's entry")
	NoSubject = define("no_subject", "the token names no subject, or one in a form that could be confused with another person's",
		"make the issuer put a stable sub into its tokens")
	BoundToken = define("bound_token", "the token is bound to a key of the client (cnf), whose proof this service does not check",
		"turn `dpop` on at the host, or make the issuer give tokens that are not bound")
	BoundTokenAsBearer = define("bound_token_as_bearer", "the token is bound to a key of the client (cnf), and came as Bearer, without a proof of that key",
		"the app's maker sends the token with the scheme DPoP and a proof; if the app does, the gateway drops the DPoP header")
	UnboundToken = define("unbound_token", "the token is not bound to a key, but came with the scheme DPoP, or the MCP server accepts only bound tokens",
		"the client signs in again with a DPoP proof, or do not set `dpop` to required")
	DPoPProofMissing = define("dpop_proof_missing", "the request has no DPoP proof, and needs one",
		"the app's maker sends a proof; if the app does, the gateway drops the DPoP header")
	DPoPProofRepeated = define("dpop_proof_repeated", "the request has more than one DPoP header",
		"the app's maker sends one proof; a gateway may add a second")
	DPoPProofMalformed = define("dpop_proof_malformed", "the DPoP proof is not a signed JWT, is too long, or lacks a claim",
		"the app's maker fixes what the cause names: RFC 9449, section 4.2")
	DPoPProofType = define("dpop_proof_type", "the typ of the DPoP proof is not dpop+jwt",
		"the app's maker fixes the proof: typ is dpop+jwt")
	DPoPProofAlgorithm = define("dpop_proof_algorithm", "the DPoP proof is signed with an algorithm that is not accepted, or not signed",
		"the app's maker signs with one of dpop_signing_alg_values_supported")
	DPoPProofKey = define("dpop_proof_key", "the jwk of the DPoP proof is missing, private, symmetric, of a size that is not accepted, or not one of its algorithm",
		"the app's maker puts the public key in jwk, and nothing else")
	DPoPProofSignature = define("dpop_proof_signature", "the signature of the DPoP proof does not verify",
		"the app's maker signs with the key of jwk")
	DPoPProofMethod = define("dpop_proof_method", "the DPoP proof is for another HTTP method (htm)",
		"the cause has both. If the proof is wrong, the app's maker puts the method of the request in htm; if the request is, check which method the gateway sends")
	DPoPProofURL = define("dpop_proof_url", "the DPoP proof is for another URL (htu)",
		"the cause has both. If the proof is wrong, the app's maker puts the URL of the request in htu; if the request is, check which host and path the gateway sends, and `scheme`, `host` and `path` in `proxy.hosts`")
	DPoPProofTime = define("dpop_proof_time", "the DPoP proof is more than five minutes old, or from the future; one of the two clocks may be wrong, or the app uses a proof again",
		"the cause has the difference. Synchronise the clocks (NTP); the app makes a new proof for each request")
	DPoPProofToken = define("dpop_proof_token", "the DPoP proof is for another access token (ath), or names none",
		"the app's maker puts the hash of the access token that the request carries in ath; after a refresh that is the new one")
	DPoPProofReplayed = define("dpop_proof_replayed", "the DPoP proof was used before",
		"the app's maker makes a proof for each request; if the app does, the gateway asks twice, or someone else holds the proof")
	DPoPWrongKey = define("dpop_wrong_key", "the key of the DPoP proof is not the one that the token, the code or the refresh token is bound to",
		"the client keeps one key for a sign-in; otherwise someone else holds the token")
	DPoPNonceNeeded = define("dpop_nonce_needed", "the DPoP proof has no fresh nonce of this host; the client gets one with this answer and tries again",
		"nothing; the client tries again with the nonce. If it does not, the gateway drops DPoP-Nonce: docs/dpop.md")
	DPoPNotCheckable = define("dpop_not_checkable", "the token is bound to a key, but the gateway does not send the method or the path of the request, without which no proof can be checked",
		"make the gateway send the method and the path: docs/dpop.md has the lines")
	DelegatedToken = define("delegated_token", "another party acts for the person of the token (act), and this service has no rules for such tokens",
		"set `delegation: true` at the issuer's entry, if such tokens should be accepted")
	InactiveToken = define("inactive_token", "the authorization server says that the token is not active",
		"the client gets a new token from its authorization server")
	IssuerKeysUnavailable = define("issuer_keys_unavailable", "the issuer's keys cannot be fetched right now; the log says why",
		"make the issuer's keys available again; the log has the address and the error")
	VerifierUnavailable = define("verifier_unavailable", "the server that must be asked about the credential does not answer; the log says why",
		"make the introspection endpoint, webhook or issuer available again; the log has the error")
	TooManyWaiting = define("too_many_waiting", "too many requests wait for an answer about their credentials, so this one was not checked",
		"find out why the verifier is slow; requests pass again when it answers")
	APIKeyMalformed = define("api_key_malformed", "the API key was cut or mistyped: its checksum is wrong",
		"copy the whole key again")
	APIKeyUnknown = define("api_key_unknown", "there is no such API key, or it was removed",
		"compare the id in the cause with the hashes of the entries, which begin with it. Make a key with `new-api-key` and put its entry under `apiKeys.keys` or into the file of `apiKeys.file`, or use one that is there")
	APIKeyExpired = define("api_key_expired", "the API key has expired",
		"make a new key, or set a later date in `apiKeys.keys[].expires` of this one; a person makes theirs at `/account`")
	APIKeySignInDue = define("api_key_sign_in_due", "the identity provider has not confirmed the person who made the API key for longer than `personalKeys.signInEvery`",
		"the person signs in, at `/account` or with an app; then the key works again")
	APIKeyRevoked = define("api_key_revoked", "the API key was revoked",
		"make a new key if its owner should have access again")
	APIKeyNotAccepted = define("api_key_not_accepted", "the API key is not for this MCP server, or the MCP server accepts none",
		"the cause says which: set `proxy.hosts[].apiKeys.enabled` (`personalKeys` for keys that people make), or add the MCP server to `apiKeys.keys[].resources` of the key")
	APIKeyWrongSource = define("api_key_wrong_source", "the API key is not for the network that the request came from, or the gateway does not send the client's address",
		"the cause says which: add the network to `apiKeys.keys[].sources` of the key, or make the gateway send X-Forwarded-For, from an address in `listen.trustedProxies`")
	APIKeyNotEnough = define("api_key_not_enough", "neither the scopes nor the tools of the API key open what was asked for",
		"the cause says which: add the scope to `apiKeys.keys[].scopes` of the key, or the tool to `apiKeys.keys[].tools`; the rules of the policy hold for keys, too")
	APIKeyRefused = define("api_key_refused", "the webhook refuses the API key",
		"see the webhook's own log")
	NotAnAPIKey = define("not_an_api_key", "the header for API keys holds another kind of credential",
		"the client sends an API key in that header, and tokens in Authorization")
	TwoCredentials = define("two_credentials", "the request carries an API key in its own header twice, or beside an Authorization header",
		"the client sends one credential")
	NoSuchPage = define("no_such_page", "the address to return to after a sign-in is not one of the host's pages",
		"add the path to `pages` of the host, if it is a page")
	NoSession = define("no_session", "a request for a page carries no browser session, so the person has to sign in",
		"nothing; the browser is sent to sign in")
	SessionExpired = define("session_expired", "the browser session was not used for too long, or the last sign-in or check at the identity provider is too long ago",
		"nothing; the browser is sent to sign in")
	SessionInvalid = define("session_invalid", "the browser session was not made by this service for this host, or was sent twice",
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
	ExpiredToken = define("expired_token", "the access token has expired, or is not valid yet",
		"nothing; the client refreshes. If new tokens seem expired, synchronise the clocks")
	UnknownHost = define("unknown_host", "the gateway asks about a host that is not configured",
		"add the host to `proxy.hosts`, or check that the gateway passes the Host header on unchanged")
	UnknownResource = define("unknown_resource", "the gateway asks about a path that belongs to no MCP server",
		"check `path` in `proxy.hosts`; /mcp and /mcp/ are different")
	Preflight = define("preflight", "a browser's preflight of an allowed origin; it carries no token",
		"nothing")
	AllowedByAdvisoryPolicy = define("allowed_by_advisory_policy", "the request may pass only because the tool policy of the MCP server is advisory",
		"nothing now; with `toolPolicy: enforce` it would be refused")
	ForbiddenOrigin = define("forbidden_origin", "a web page of an origin that is not allowed",
		"add the origin to `proxy.hosts[].cors.allowedOrigins` of the host, if its pages may use the MCP server")
	RepeatedMCPHeader = define("repeated_mcp_header", "MCP-Protocol-Version, Mcp-Method or Mcp-Name came more than once",
		"the app's maker sends each header once; a gateway may add one")
	MissingMCPHeader = define("missing_mcp_header", "Mcp-Method or Mcp-Name is missing in a request of a revision that needs them",
		"the app's maker sends the headers of its revision; a gateway may drop them: `doctor URL --login` names it")
	MalformedMCPHeader = define("malformed_mcp_header", "Mcp-Method or Mcp-Name holds a character that it must not, or bad Base64",
		"the app's maker writes the header as the standard says: =?base64?…?= where the name needs it")
	HeaderBodyMismatch = define("header_body_mismatch", "Mcp-Method or Mcp-Name differs from the body",
		"the app's maker writes the same in header and body; if the app does, someone tries to call a tool under another's name")
	MalformedBody = define("malformed_body", "the body is not JSON-RPC, or parsers could read it differently",
		"the app's maker sends one JSON-RPC message, in UTF-8, without members that repeat")
	MediaTypeMissing = define("media_type_missing", "the body decides about this MCP server's requests, and the request has no Content-Type, or the gateway did not forward it",
		"make the gateway forward Content-Type")
	EncodedBody = define("encoded_body", "the body decides about this MCP server's requests, and its Content-Encoding is not identity",
		"the app's maker sends the body without compression")
	BodyMissing = define("body_missing", "the body decides about this MCP server's requests, and the gateway did not forward it",
		"make the gateway forward the body, or set `body: false` at the host")
	OldProtocolVersion = define("old_protocol_version", "which tool is called decides about this request, and it is of a revision whose headers prove nothing: the tool policy is strict, `holdChangedTools` is set, or the API key or the rules of the policy name single tools",
		"use a newer client, or let the body decide: `body`, `envoyMCP` or `serve` at the host; docs/tool-policy.md")
	InsufficientScope = define("insufficient_scope", "the access token lacks a scope",
		"the client asks the person for the scope in the entry; if no one gets it, `check-config --as` says why")
	ToolChanged = define("tool_changed", "`holdChangedTools`: the tool is new, or has changed since the person agreed; they have to agree again",
		"the client has the person sign in, and they agree to the tool; see `tools.changed` for what the MCP server changed")
	ToolNotListed = define("tool_not_listed", "`holdChangedTools`: the MCP server does not list the tool, so no person can have agreed to it",
		"make the MCP server list the tool in tools/list, if people may use it")
	NoScopeOpensIt = define("no_scope_opens_it", "no scope opens the tool, resource or prompt; it may not exist",
		"add the tool to `proxy.hosts[].scopes`, if it may be used; the name may be mistyped")
	CatalogueUnavailable = define("catalogue_unavailable", "this replica has not read the MCP server's list, and no entry of `proxy.hosts[].scopes` names the tool",
		"make the MCP server available again, or set `serverCredential` if it requires one; the log has the error")
	AmbiguousURI = define("ambiguous_uri", "the resource's URI can be read in two ways, so no pattern can match it reliably",
		"the app's maker writes the URI without .., encoded dots and slashes, and backslashes")
	UnknownDialect = define("unknown_dialect", "the gateway is configured with a path below /authenticate that does not exist",
		"correct the path in the gateway's configuration; its page under docs/gateways has it")
	MethodNotAllowed = define("method_not_allowed", "the request has an HTTP method that MCP does not use",
		"nothing; MCP uses GET, POST and DELETE")
	ConnectionNamesHeader = define("connection_names_header", "the request's header Connection names a header for the MCP server, which would remove it on the way",
		"nothing for an honest client; someone tries to have the identity headers removed")
	UnknownSession = define("unknown_session", "the request names a session of the MCP server that this person did not begin with this client, or that began before a restart with other keys",
		"nothing; the client begins a new session with the MCP server by itself")
	MCPServerUnreachable = define("mcp_server_unreachable", "the MCP server behind a served host does not answer, or its answer is broken; the cause is in the entry",
		"make the MCP server available again; check `endpoint` in `proxy.hosts`, and see the cause")
	MCPServerTimeout = define("mcp_server_timeout", "the MCP server behind a served host did not begin its answer within `serve.idleTimeout`",
		"see what the MCP server is doing; raise `proxy.hosts[].serve.idleTimeout` if it needs more time")
	MCPServerUnauthorized = define("mcp_server_unauthorized", "the MCP server behind a served host answered 401, 403 or 407 to a request that was let through; it must trust the identity headers",
		"make the MCP server trust the identity headers and require no sign-in of its own; or set `serverCredential`")
	MCPServerCredential = define("mcp_server_credential", "the MCP server behind a served host answered 401 to a request with the credential of `serverCredential`; the file may hold an old one",
		"put a valid credential into the file of `serverCredential`")
	MCPServerRedirect = define("mcp_server_redirect", "the MCP server behind a served host answered with a redirect to an address that is not its own",
		"put the address that the redirect leads to into `endpoint`, if it is right")
	MCPServerAnswer = define("mcp_server_answer", "the answer of the MCP server behind a served host cannot be passed on; the cause says why",
		"see the cause; the MCP server's answer breaks HTTP or MCP")
	NotServedThatWay = define("not_served_that_way", "a gateway asks about an MCP server that this service relays to itself (`serve`), or the other way round, or agentgateway asks about a message at a host without `extMCP`",
		"make the gateway pass requests on instead of asking, or correct `serve` and `extMCP` of the host; docs/served-hosts.md")
	AmbiguousTarget = define("ambiguous_target", "the gateway's question can be read in more than one way",
		"correct the gateway: it must overwrite each X-Forwarded or X-Original header, and send it once")
)
