package doctor

// Fault is something that can be wrong. Its id is stable: scripts rely on it.
type Fault struct {
	ID     string `json:"id"`
	Title  string `json:"title"`
	Why    string `json:"why"`    // which client breaks, and how
	Remedy string `json:"remedy"` // for any gateway
	// Topic is the section of a gateway's recipe that sets it right, "" where
	// the gateway is not at fault.
	Topic Topic `json:"topic,omitempty"`
}

// Topic is a heading that every recipe has.
type Topic string

// Topics of the recipes.
const (
	TopicGate      Topic = "Gate"
	TopicPublic    Topic = "Public paths"
	TopicStepUp    Topic = "Step-up"
	TopicCORS      Topic = "Browser clients"
	TopicHeaders   Topic = "Header size"
	TopicStreaming Topic = "Streaming"
)

// Topics lists the headings in the order in which recipes have them.
var Topics = []Topic{TopicGate, TopicPublic, TopicStepUp, TopicCORS, TopicHeaders, TopicStreaming}

// problem is what can be wrong with an answer, whatever was asked for.
type problem string

const (
	fine        problem = ""
	missing     problem = "missing"
	protected   problem = "protected"
	swallowed   problem = "swallowed"
	redirected  problem = "redirected"
	failing     problem = "failing"
	misdirected problem = "misdirected"
	malformed   problem = "malformed"
	unreachable problem = "unreachable"
)

// family is the faults of one document or endpoint, one for each problem.
type family map[problem]Fault

// problems in the order of the reference.
var problems = []problem{missing, protected, swallowed, redirected, failing, misdirected, malformed, unreachable}

func (f family) all() (out []Fault) {
	for _, p := range problems {
		out = append(out, f[p])
	}
	return out
}

// newFamily names the faults of what, which check looks at. why is the cost of
// not having it.
func newFamily(check, what, why string) family {
	fault := func(p problem, title, remedy string) Fault {
		return Fault{ID: check + "." + string(p), Title: what + " " + title, Why: why, Remedy: remedy, Topic: TopicPublic}
	}
	return family{
		missing: fault(missing, "is not there",
			"Route this path to the authorization service, on the same host as the MCP server, with its path unchanged."),
		protected: fault(protected, "is behind the token check",
			"Exempt this path from forward auth: a client reads it before it has a token."),
		swallowed: fault(swallowed, "is answered by something else",
			"The path reaches the MCP server, a login page or a catch-all route. Route it to the authorization service, before any catch-all."),
		redirected: fault(redirected, "is answered with a redirect",
			"Answer at this very URL: no redirect to another host, to https, to a trailing slash or to a login page."),
		failing: fault(failing, "fails",
			"The gateway got no good answer from the authorization service. Look into the gateway's error log, and check the service's address, port and network policy."),
		misdirected: fault(misdirected, "is refused for this host",
			"The service does not know the host it was called with. Pass the client's Host header on unchanged, and list the host in proxy.hosts."),
		malformed: fault(malformed, "cannot be read",
			"The answer must be a JSON object with Content-Type application/json. See what rewrites it on the way."),
		unreachable: fault(unreachable, "cannot be reached",
			"The address is not one that clients can connect to. It comes from the authorization server's configuration: use the public host name there."),
	}
}

// The faults, check by check.

var (
	urlForm = Fault{
		ID: "url.form", Title: "this is not a URL for an MCP server",
		Why:    "A client needs an absolute URL without user, password or fragment (MCP authorization, \"Canonical Server URI\").",
		Remedy: "Give the URL as in a client's configuration, for example https://mcp.example.com/mcp",
	}
	urlInsecure = Fault{
		ID: "url.insecure", Title: "the URL is plain http",
		Why:    "Tokens would travel in the clear; clients refuse http except on a loopback address (OAuth 2.1, section 1.5).",
		Remedy: "Terminate TLS at the gateway and use the https URL.",
	}

	reachDNS = Fault{
		ID: "reach.dns", Title: "the host name does not resolve",
		Why:    "No client can connect. Hosted clients, such as claude.ai or ChatGPT, need a public name.",
		Remedy: "Create the DNS record, or look at the name's spelling.",
	}
	reachTLS = Fault{
		ID: "reach.tls", Title: "the TLS handshake fails",
		Why:    "Clients do not connect to a server whose certificate they cannot verify.",
		Remedy: "Install a certificate for this host name from a public authority, with its intermediate certificates. For a private authority, run the doctor with SSL_CERT_FILE and expect hosted clients to fail.",
	}
	reachConnect = Fault{
		ID: "reach.connect", Title: "no connection",
		Why:    "No client can connect from where the doctor runs.",
		Remedy: "Check that the gateway listens on this port and that no firewall is in between.",
	}
	reachTimeout = Fault{
		ID: "reach.timeout", Title: "no answer in time",
		Why:    "Clients give up after some seconds.",
		Remedy: "Look at the gateway's log: it may be waiting for the authorization service, or a firewall may drop the packets.",
	}
)

func postFault(id, title, why, remedy string, topic Topic) Fault {
	return Fault{ID: "post." + id, Title: title, Why: why, Remedy: remedy, Topic: topic}
}

var (
	postUnprotected = postFault("unprotected", "the MCP server answers without a token",
		"Anybody can use the MCP server. Clients never ask their user to sign in, because nothing tells them to.",
		"Put forward auth on this very route. Look for a second route, host or path spelling that leads past it.", TopicGate)
	postRedirected = postFault("redirected", "a POST is redirected",
		"Clients lose the POST's body or method on the way, or stop at a login page meant for browsers; none starts to sign in.",
		"Use the final URL in the client's configuration if it differs only in a slash. If this is a login page, take the sign-in redirect away from this route: an MCP client needs the 401.", TopicGate)
	postForbidden = postFault("forbidden", "403 instead of 401",
		"403 means that no sign-in will help: clients report an error and never start one.",
		"The service answers 403 to hosts and paths that it does not know: list this one in proxy.hosts, and pass the original host and URL on. Or the gateway makes 403 of a 401 or of a failed call.", TopicGate)
	postMissing = postFault("missing", "there is nothing at this path",
		"Clients report that the server does not exist.",
		"Check the path in the URL and the route at the gateway.", TopicGate)
	postMethod = postFault("method", "POST is not allowed",
		"Every MCP message is a POST.",
		"Allow POST, GET and DELETE on the route, and check that this is the MCP endpoint.", TopicGate)
	postFailing = postFault("failing", "the gateway fails",
		"Clients report a server error and never start to sign in.",
		"The gateway could not get an answer that it understands from the authorization service. nginx turns everything but 2xx, 401 and 403 into 500. Look into its error log, and check the service's address, port and path.", TopicGate)
	postMisdirected = postFault("misdirected", "the host is not known",
		"Clients report an error and never start to sign in.",
		"List the host in proxy.hosts, and pass the client's Host header on unchanged.", TopicGate)
	postUnexpected = postFault("unexpected", "an answer that tells a client nothing",
		"Only 401 makes a client sign its user in (MCP authorization, \"Token requirements\").",
		"Find out what answers here: the request should be refused with 401 before it gets to the MCP server.", TopicGate)
)

var postFaults = []Fault{postUnprotected, postRedirected, postForbidden, postMissing, postMethod, postFailing, postMisdirected, postUnexpected}

var (
	challengeMissing = Fault{
		ID: "challenge.missing", Title: "the 401 has no WWW-Authenticate header", Topic: TopicGate,
		Why:    "Clients learn neither that OAuth is meant nor where; many report only that they cannot connect.",
		Remedy: "Let the gateway pass the header of the service's 401 on to the client.",
	}
	challengeStripped = Fault{
		ID: "challenge.stripped", Title: "the challenge has no resource_metadata", Topic: TopicGate,
		Why:    "Clients must find the metadata by guessing, and some do not (RFC 9728, section 5.1).",
		Remedy: "Something on the way rewrites WWW-Authenticate. Pass the service's header on as it is.",
	}
	challengeScheme = Fault{
		ID: "challenge.scheme", Title: "the challenge is not for a Bearer token", Topic: TopicGate,
		Why:    "MCP clients speak OAuth only; at Basic or Negotiate they give up, or ask for a password.",
		Remedy: "Take the other authentication off this route, or let forward auth answer first.",
	}
	challengeSeveral = Fault{
		ID: "challenge.several", Title: "there is more than one Bearer challenge", Topic: TopicGate,
		Why:    "Clients take one of them, or fail to parse the two that were joined.",
		Remedy: "Add the header once: with nginx, an add_header for the 403 must be empty for a 401, which nginx copies by itself.",
	}
	challengeMalformed = Fault{
		ID: "challenge.malformed", Title: "the challenge cannot be parsed", Topic: TopicGate,
		Why:    "Clients see no challenge at all.",
		Remedy: "Pass the service's WWW-Authenticate on byte by byte.",
	}
)

var challengeFaults = []Fault{challengeMissing, challengeStripped, challengeScheme, challengeSeveral, challengeMalformed}

var (
	metadataURLRelative = Fault{
		ID: "metadata-url.relative", Title: "resource_metadata is not an absolute URL",
		Why:    "Clients cannot resolve it (RFC 9728, section 5.1).",
		Remedy: "Send an absolute URL: with this service it comes from proxy.hosts and needs no setting.",
	}
	metadataURLInsecure = Fault{
		ID: "metadata-url.insecure", Title: "resource_metadata is a plain http URL",
		Why:    "Clients refuse it, or follow a redirect that they should not.",
		Remedy: "The server believes that it is called over http, because TLS ends at the gateway. With this service leave proxy.hosts[].scheme at https; with others set their public URL.",
	}
	metadataURLForeign = Fault{
		ID: "metadata-url.foreign", Title: "resource_metadata names another origin",
		Why:    "Clients check that the document is about the URL they called (RFC 9728, section 3.3) and refuse another host's, scheme's or port's.",
		Remedy: "Use the public host and port in proxy.hosts. A port such as :8080 is that of an inner listener; another host is one that the gateway put in place of the client's.",
	}
)

var metadataURLFaults = []Fault{metadataURLRelative, metadataURLInsecure, metadataURLForeign}

var (
	metadataFaults = newFamily("metadata", "the resource metadata",
		"Without this document no client finds out where to sign in.")
	metadataPathFaults = newFamily("metadata-path", "the metadata with the path inserted",
		"Clients that lose the challenge, or browsers that may not read it, try this URL first (RFC 9728, section 3.1).")
	asFaults = newFamily("as", "the authorization server metadata",
		"Without it no client knows where to send its user; some stop at the first variant that answers with something else.")
	authorizeFaults = newFamily("authorize", "the authorization endpoint",
		"The user's browser ends up on an error page instead of the sign-in.")
	tokenFaults = newFamily("token", "the token endpoint",
		"The user signs in and consents, and then the client cannot turn the code into a token.")
	keysFaults = newFamily("keys", "the key set",
		"Whoever verifies the tokens cannot: every request is refused, or nobody checks.")
)

func resourceFault(id, title, remedy string) Fault {
	return Fault{ID: "resource." + id, Title: title, Remedy: remedy,
		Why: "Clients compare `resource` with the URL they were given and stop if it is another (RFC 9728, section 3.3); the Go SDK does so byte by byte."}
}

var (
	resourceAbsent = resourceFault("absent", "the document names no resource", "Add `resource`, the MCP server's URL.")
	resourceSlash  = resourceFault("trailing-slash", "`resource` differs in the trailing slash",
		"Give clients the URL exactly as in the document, or make the server publish the one that clients are given.")
	resourceScheme = resourceFault("scheme", "`resource` has another scheme",
		"The server believes that it is called over http, because TLS ends at the gateway. With this service leave proxy.hosts[].scheme at https; with others set their public URL.")
	resourcePort = resourceFault("port", "`resource` has another port",
		"An inner port got into the document. Put the public host, with its port only if that is not 443, into proxy.hosts.")
	resourceHost = resourceFault("host", "`resource` has another host",
		"The gateway passes a Host other than the client's, or the server has another public name in its configuration.")
	resourcePath = resourceFault("path", "`resource` has another path",
		"Give clients the URL that the document names, or publish a document for this path at the path-inserted address. A gateway that strips a prefix must not do so for the metadata.")
)

var resourceFaults = []Fault{resourceAbsent, resourceSlash, resourceScheme, resourcePort, resourceHost, resourcePath}

var (
	serversNone = Fault{
		ID: "servers.none", Title: "the document names no authorization server",
		Why:    "Clients do not know where to sign in (MCP authorization requires authorization_servers).",
		Remedy: "Publish authorization_servers with the issuer's URL.",
	}
	serversUnusable = Fault{
		ID: "servers.unusable", Title: "the authorization server's URL is no https URL",
		Why:    "Clients refuse it.",
		Remedy: "Use the issuer's public https URL, without query and fragment. With this service it comes from proxy.hosts.",
	}
)

var serversFaults = []Fault{serversNone, serversUnusable}

var (
	issuerMismatch = Fault{
		ID: "issuer.mismatch", Title: "`issuer` is not what the resource metadata says",
		Why:    "Clients must refuse such a document (RFC 8414, section 3.3): it could be a mix-up attack.",
		Remedy: "Both must be the same string, to the slash. An inner name, scheme or port here means that the server builds URLs from Host or X-Forwarded-Host, which the gateway rewrites; this service takes them from proxy.hosts.",
	}
	endpointsMissing = Fault{
		ID: "endpoints.missing", Title: "an endpoint is not named",
		Why:    "Clients need authorization_endpoint and token_endpoint.",
		Remedy: "Publish both in the authorization server metadata.",
	}
	endpointsInsecure = Fault{
		ID: "endpoints.insecure", Title: "an endpoint is no https URL",
		Why:    "Clients refuse to send codes and tokens to it.",
		Remedy: "The server builds URLs with the scheme of the inner connection. Set its public https URL.",
	}
	pkceMissing = Fault{
		ID: "pkce.missing", Title: "S256 is not advertised",
		Why:    "MCP clients must refuse a server without code_challenge_methods_supported (MCP authorization, \"Authorization Code Protection\").",
		Remedy: "Publish \"code_challenge_methods_supported\": [\"S256\"], and check the verifier at the token endpoint.",
	}
	clientsNone = Fault{
		ID: "clients.none", Title: "clients can neither register nor bring a metadata document",
		Why:    "Only clients whose id somebody has typed in can connect; most cannot be told one.",
		Remedy: "Turn on dynamic registration or client ID metadata documents, or register each client by hand and give its users the id.",
	}
	keysPrivate = Fault{
		ID: "keys.private", Title: "private keys are published",
		Why:    "Anybody can sign tokens that every server accepts.",
		Remedy: "Take these keys out of use now, and publish only the public members.",
	}
	keysWeak = Fault{
		ID: "keys.weak", Title: "an RSA key is shorter than 2048 bits",
		Why:    "Libraries refuse it (RFC 7518, section 3.3), and it can be broken.",
		Remedy: "Use keys of 2048 bits or more.",
	}
	keysUnusable = Fault{
		ID: "keys.unusable", Title: "there is no key to verify tokens with",
		Why:    "Nobody can verify a token.",
		Remedy: "Publish an RSA, EC or Ed25519 key for signatures.",
	}
)

var (
	registerRefused = Fault{
		ID: "register.refused", Title: "registration is refused",
		Why:    "Clients that register themselves cannot connect.",
		Remedy: "See the server's answer. A redirect policy must admit http://127.0.0.1 with any port for clients on a computer (RFC 8252, section 7.3).",
	}
	registerMissing = Fault{
		ID: "register.missing", Title: "the registration endpoint is not there", Topic: TopicPublic,
		Why:    "Clients that register themselves cannot connect.",
		Remedy: "Route this path to the authorization service, or stop advertising it.",
	}
	registerProtected = Fault{
		ID: "register.protected", Title: "the registration endpoint is behind a token check", Topic: TopicPublic,
		Why:    "A client has no token before it has registered.",
		Remedy: "Exempt this path from forward auth.",
	}
	registerMalformed = Fault{
		ID: "register.malformed", Title: "the registration answer cannot be read", Topic: TopicPublic,
		Why:    "Clients get no id.",
		Remedy: "The answer must be 201 with JSON that has client_id (RFC 7591, section 3.2.1).",
	}
)

var registerFaults = []Fault{registerRefused, registerMissing, registerProtected, registerMalformed}

const browsersOnly = "Only clients that run in a web page break, such as MCP Inspector in direct mode; all others do not notice. "

var (
	preflightGated = Fault{
		ID: "cors-preflight.gated", Title: "the preflight is asked for a token", Topic: TopicCORS,
		Why:    browsersOnly + "A browser sends no token with a preflight, and a refused one ends the request.",
		Remedy: "Answer OPTIONS at the gateway before forward auth.",
	}
	preflightRefused = Fault{
		ID: "cors-preflight.refused", Title: "the preflight is not granted", Topic: TopicCORS,
		Why:    browsersOnly + "Without Access-Control-Allow-Origin the browser sends nothing.",
		Remedy: "Answer OPTIONS with 204 and the Access-Control-Allow- headers, for the origins that may use the server. Try others with --origin.",
	}
	preflightHeaders = Fault{
		ID: "cors-preflight.headers", Title: "the preflight does not allow the headers that clients send", Topic: TopicCORS,
		Why:    browsersOnly + "The browser does not send the request. \"*\" does not cover Authorization (Fetch standard).",
		Remedy: "Name Authorization, Content-Type, MCP-Protocol-Version, Mcp-Session-Id, Mcp-Method, Mcp-Name and Last-Event-ID in Access-Control-Allow-Headers.",
	}
	corsChallengeHidden = Fault{
		ID: "cors-challenge.hidden", Title: "scripts may not read WWW-Authenticate", Topic: TopicCORS,
		Why:    browsersOnly + "They see a network error, or a 401 without the challenge.",
		Remedy: "Put Access-Control-Allow-Origin and \"Access-Control-Expose-Headers: WWW-Authenticate, Mcp-Session-Id\" on every answer, the 401 too.",
	}
	corsDocumentsHidden = Fault{
		ID: "cors-documents.hidden", Title: "scripts may not read a metadata document", Topic: TopicCORS,
		Why:    browsersOnly + "They cannot find out where to sign in.",
		Remedy: "Send Access-Control-Allow-Origin: * with the documents; this service does, so look for what takes it off.",
	}
	corsDocumentsGated = Fault{
		ID: "cors-documents.gated", Title: "the preflight for a metadata document is asked for a token", Topic: TopicPublic,
		Why:    browsersOnly + "Some send MCP-Protocol-Version, which makes the browser ask first.",
		Remedy: "Exempt the path from forward auth for every method, OPTIONS too.",
	}
	corsEndpointsHidden = Fault{
		ID: "cors-endpoints.hidden", Title: "scripts may not use an endpoint", Topic: TopicCORS,
		Why:    browsersOnly + "They can neither register nor get a token.",
		Remedy: "Send Access-Control-Allow-Origin: * from the token and the registration endpoint, and answer their preflight; this service does, so look for what takes it off.",
	}
	corsEndpointsGated = Fault{
		ID: "cors-endpoints.gated", Title: "the preflight for an endpoint is asked for a token", Topic: TopicPublic,
		Why:    browsersOnly + "A refused preflight ends the request.",
		Remedy: "Exempt the path from forward auth for every method, OPTIONS too.",
	}
)

const openWhy = "Whatever the MCP server does on this method is open to everybody: GET listens to a session's events, DELETE ends it."

var (
	getOpen    = Fault{ID: "get.open", Title: "GET gets past the token check", Why: openWhy, Remedy: "Put forward auth on the route for every method, not for POST alone.", Topic: TopicGate}
	deleteOpen = Fault{ID: "delete.open", Title: "DELETE gets past the token check", Why: openWhy, Remedy: "Put forward auth on the route for every method, not for POST alone.", Topic: TopicGate}

	badTokenAccepted = Fault{
		ID: "bad-token.accepted", Title: "an invented token is accepted", Topic: TopicGate,
		Why:    "Anybody can use the MCP server.",
		Remedy: "The gateway tests for the presence of a header and not for its content, or it lets requests pass when the service fails: make it fail closed.",
	}
	badTokenStatus = Fault{
		ID: "bad-token.status", Title: "a bad token does not get 401", Topic: TopicGate,
		Why:    "When a token expires, clients must see 401 to refresh it; at anything else they report an error until their user signs in again.",
		Remedy: "Pass the service's 401 on. nginx makes 500 of every status but 2xx, 401 and 403.",
	}
	badTokenCode = Fault{
		ID: "bad-token.code", Title: "the 401 does not say invalid_token", Topic: TopicGate,
		Why:    "Some clients refresh only at error=\"invalid_token\" (RFC 6750, section 3.1).",
		Remedy: "Pass the service's WWW-Authenticate on as it is, and do not cache it between requests.",
	}
	largeTokenRejected = Fault{
		ID: "large-token.rejected", Title: "a large Authorization header is refused", Topic: TopicHeaders,
		Why:    "Users with many groups or long scopes get large tokens: they sign in and are then locked out.",
		Remedy: "Let every hop take request headers of at least 16 KB.",
	}
	spoofAdmitted = Fault{
		ID: "spoof.admitted", Title: "a client's own header gets it past the token check", Topic: TopicGate,
		Why:    "Anybody can use the MCP server by claiming to be on a public path or in a preflight.",
		Remedy: "Set X-Original-URL, X-Original-Method and X-Forwarded-* at the gateway, over whatever the client sent, and give the service only the path of your gateway's dialect.",
	}
	spoofReflected = Fault{
		ID: "spoof.reflected", Title: "a client's X-Forwarded-Host gets into addresses", Topic: TopicGate,
		Why:    "Behind a cache, one request can send every client to a stranger's sign-in.",
		Remedy: "Overwrite X-Forwarded-Host at the gateway, and make the server use a configured public URL.",
	}
)

var (
	preflightFaults = []Fault{preflightGated, preflightRefused, preflightHeaders}
	badTokenFaults  = []Fault{badTokenAccepted, badTokenStatus, badTokenCode}
)

var (
	loginRefused = Fault{
		ID: "login.refused", Title: "the sign-in ends with an error",
		Why:    "Clients show this error to their user.",
		Remedy: "See the error: access_denied is a person's or a policy's no; invalid_scope and invalid_target are about what the doctor asked for.",
	}
	loginTimeout = Fault{
		ID: "login.timeout", Title: "the browser did not come back",
		Why:    "Clients wait in vain, too.",
		Remedy: "See where the browser stopped: an error page, a redirect to a foreign host, or a Content-Security-Policy with form-action. The browser must run on this computer.",
	}
	loginState = Fault{
		ID: "login.state", Title: "`state` came back changed",
		Why:    "Clients refuse the answer, as they must.",
		Remedy: "Nothing on the way may touch the query of the redirect.",
	}
	loginIss = Fault{
		ID: "login.iss", Title: "`iss` is not the issuer",
		Why:    "Clients refuse the answer (RFC 9207, section 2.4).",
		Remedy: "Send the issuer exactly as in the metadata, on errors too, or stop advertising it.",
	}
	exchangeRefused = Fault{
		ID: "exchange.refused", Title: "the token endpoint refuses the code",
		Why:    "The user has signed in and the client still cannot connect.",
		Remedy: "See the error. With several replicas, all need the same keys; a code is good for a minute and once.",
	}
	exchangeMalformed = Fault{
		ID: "exchange.malformed", Title: "the token answer cannot be used", Topic: TopicPublic,
		Why:    "The user has signed in and the client still cannot connect.",
		Remedy: "The answer must be 200 with JSON that has access_token and token_type Bearer (RFC 6749, section 5.1).",
	}
	sessionDenied = Fault{
		ID: "session.denied", Title: "the new token is refused", Topic: TopicGate,
		Why:    "Clients sign in again and again.",
		Remedy: "See the refusal. The gateway may drop or replace Authorization, or pass another host to the service than the one the token was made for; with several replicas, all need the same keys.",
	}
	sessionFailed = Fault{
		ID: "session.failed", Title: "the MCP server does not answer behind the gate", Topic: TopicGate,
		Why:    "Clients are signed in and have no tools.",
		Remedy: "The token was accepted, what comes after fails: check the route from the gateway to the MCP server and its own host checks.",
	}
	streamBuffered = Fault{
		ID: "stream.buffered", Title: "an event stream is held back", Topic: TopicStreaming,
		Why:    "Progress, notifications and long answers arrive late or not at all, and clients run into time-outs.",
		Remedy: "Turn response buffering off on this route and raise its read time-out.",
	}
	stepUpBare = Fault{
		ID: "step-up.bare", Title: "the 403 arrives without its challenge", Topic: TopicStepUp,
		Why:    "Clients cannot ask for the missing scope; they report that the tool is forbidden.",
		Remedy: "Let the gateway pass WWW-Authenticate with a 403, or let the service answer 401 with the scope.",
	}
	headersUnchecked = Fault{
		ID: "headers.unchecked", Title: "a request passes whose headers name another method than its body", Topic: TopicGate,
		Why:    "Tools are decided by Mcp-Method and Mcp-Name. Who writes a harmless name there over another body uses any tool with any valid token.",
		Remedy: "Have the MCP server refuse such requests with 400, as MCP 2026-07-28 demands, or forward the body to the service and set `body: true`.",
	}
	stepUpVague = Fault{
		ID: "step-up.vague", Title: "the 403 does not name the scope",
		Why:    "Clients do not know what to ask for (MCP authorization, \"Scope Challenge Handling\").",
		Remedy: "Send error=\"insufficient_scope\" with scope and resource_metadata.",
	}
)

var loginFaults = []Fault{loginRefused, loginTimeout, loginState, loginIss}
