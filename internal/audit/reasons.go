package audit

// Reasons lists every reason that an entry may carry, with what it means to an
// operator. The set is closed: a test reads the log of all flows against it, and
// docs/reference/audit.md is generated from it.
var Reasons = map[string]string{
	// Requests that are wrong in themselves.
	"body_too_large":        "the request's body exceeds its bound",
	"body_unreadable":       "the request's body ended early or came too slowly",
	"client_id_missing":     "the request names no client",
	"duplicate_parameter":   "a parameter that must not repeat came more than once",
	"malformed_callback":    "the identity provider's answer has a malformed or repeated parameter",
	"malformed_form":        "the body is not a valid form",
	"malformed_query":       "the query is not valid",
	"query_too_long":        "the query exceeds its bound",
	"wrong_media_type":      "the body has another media type than the endpoint takes",
	"redirect_uri_missing":  "the client registered several redirect URIs and the request names none",
	"redirect_uri_mismatch": "the redirect URI is not one that the client registered, or not the one of the authorization request",

	// Clients.
	"unknown_client":                     "the client id was not issued for this host, or the rules no longer admit the client",
	"two_client_authentications":         "the client sent credentials in more than one way",
	"client_document_invalid":            "what the client publishes about itself is not valid, or its URL is not accepted; the cause is in the entry",
	"client_document_unavailable":        "what the client publishes about itself cannot be fetched right now; the cause is in the entry",
	"client_authentication_throttled":    "the client failed to authenticate too often",
	"two_client_ids":                     "client_id differs from the client that authenticated",
	"invalid_client_assertion":           "the client's signed assertion does not verify; the cause is in the entry",
	"client_assertion_used_twice":        "the client's signed assertion was used before",
	"malformed_client_authentication":    "the client's credentials are not of a form that the token endpoint takes",
	"wrong_client_authentication_method": "the client used another authentication method than it registered",
	"wrong_client_secret":                "the client secret is wrong",

	// Codes.
	"invalid_code":           "the code is not one of this service for this host, or it has expired",
	"code_of_another_client": "the code was issued to another client",
	"code_used_twice":        "the code was redeemed before",
	"wrong_code_verifier":    "the PKCE verifier does not belong to the code",

	// Refresh tokens and revocation.
	"invalid_refresh_token":           "the refresh token is not one of this service for this host, or it has expired",
	"refresh_token_of_another_client": "the refresh token was issued to another client",
	"refresh_token_reused":            "a refresh token was used after another took its place: two parties hold it, so the family is ended",
	"scope_not_granted":               "a refresh asks for more than was granted",
	"resource_gone":                   "the MCP server of the refresh token is not configured any more",
	"provider_session_over":           "the identity provider gave nothing to ask about the person with, or that has expired; the person has to sign in again",
	"user_gone":                       "the identity provider no longer vouches for the person",
	"token_revoked":                   "the access token was revoked",
	"family_revoked":                  "the sign-in that the token comes from was revoked",
	"denied_by_operator":              "the operator's deny-list names the person, the client or the sign-in",
	"token_of_another_client":         "a client asked to revoke a token that is not its own",
	"revocation_list_full":            "the list of revocations is full, so the token could not be revoked",
	"revoked_by_client":               "the client revoked the token",

	// The person's browser.
	"cross_site_form":      "another site made the browser send a form",
	"consent_expired":      "the consent page was open for too long",
	"foreign_consent":      "the consent form was not made by this service for this browser",
	"other_browser":        "the step does not belong to a sign-in of this browser, or that one has expired",
	"used_twice":           "the step was done before",
	"wrong_password":       "the user name and password do not match an account",
	"provider_cancelled":   "the person or the identity provider cancelled the sign-in",
	"provider_rejected":    "the identity provider's answer does not verify or does not qualify",
	"provider_unavailable": "the identity provider does not answer",
	"provider_fault":       "the identity provider's answer makes no sense",
	"guard_unavailable":    "the memory of used codes cannot tell, so nothing is honoured",

	// Policy.
	"no_verified_email":        "the policy needs a verified e-mail address and the account has none",
	"email_domain_not_allowed": "the domain of the account's e-mail address is not allowed",
	"nobody_is_admitted":       "the policy admits nobody",

	// OAuth error codes, where there is no finer reason.
	"access_denied":              "the person or the policy said no",
	"interaction_required":       "the client wants no page, but the person has to be asked",
	"invalid_client":             "client authentication failed",
	"invalid_client_metadata":    "the registration has a member that cannot be used",
	"invalid_grant":              "the grant is not valid",
	"invalid_redirect_uri":       "no redirect URI of the registration can be used",
	"invalid_request":            "a parameter is missing or malformed",
	"invalid_scope":              "none of the requested scopes exists at the MCP server, or the parameter is malformed",
	"invalid_target":             "the resource is not an MCP server of this host, or not the one that was authorized",
	"request_not_supported":      "request objects are not supported",
	"request_uri_not_supported":  "request objects are not supported",
	"server_error":               "the service failed; the cause is in the entry",
	"temporarily_unavailable":    "a part that is needed does not answer",
	"unauthorized_client":        "the client may not use this grant type",
	"unsupported_grant_type":     "the grant type is not served",
	"unsupported_response_type":  "the response type is not served",
	"registration_not_supported": "the registration parameter is not supported",

	// Decisions at the gateway.
	"undecided":             "no decision was made, so the request was denied",
	"allowed":               "the request may pass",
	"no_token":              "the request carries no access token",
	"malformed_credentials": "the request does not carry exactly one well-formed Bearer token",
	"malformed_token":       "the access token is not one that this service makes",
	"unknown_signing_key":   "the access token names a key that is not published; after a restart with ephemeral keys this is to be expected",
	"bad_signature":         "the access token's signature does not verify",
	"wrong_issuer":          "the access token was issued for another host",
	"wrong_audience":        "the access token was issued for another MCP server",
	"expired_token":         "the access token has expired, or comes from the future",
	"unknown_host":          "the gateway asks about a host that is not configured",
	"unknown_resource":      "the gateway asks about a path that belongs to no MCP server",
	"unknown_dialect":       "the gateway is configured with a path below /authenticate that does not exist",
	"ambiguous_target":      "the gateway's question can be read in more than one way",
}
