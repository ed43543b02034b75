package doctor

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// serverDocument holds the members that are read of RFC 8414 metadata.
type serverDocument struct {
	Issuer                 string   `json:"issuer"`
	AuthorizationEndpoint  string   `json:"authorization_endpoint"`
	TokenEndpoint          string   `json:"token_endpoint"`
	RegistrationEndpoint   string   `json:"registration_endpoint"`
	JWKSURI                string   `json:"jwks_uri"`
	ScopesSupported        []string `json:"scopes_supported"`
	CodeChallengeMethods   []string `json:"code_challenge_methods_supported"`
	AuthMethods            []string `json:"token_endpoint_auth_methods_supported"`
	IssParameter           bool     `json:"authorization_response_iss_parameter_supported"`
	ClientMetadataDocument bool     `json:"client_id_metadata_document_supported"`
	Grants                 []string `json:"grant_types_supported"`
	Profiles               []string `json:"authorization_grant_profiles_supported"`
	ProofAlgorithms        []string `json:"dpop_signing_alg_values_supported"`
}

// variant is one address where the metadata may be.
type variant struct {
	at      string
	problem problem
	saw     string
	doc     serverDocument
}

const (
	wellKnownOAuth  = "/.well-known/oauth-authorization-server"
	wellKnownOpenID = "/.well-known/openid-configuration"
)

// addresses lists where clients look, in the order of the MCP specification
// ("Authorization Server Metadata Discovery").
func addresses(issuer *url.URL) []string {
	at := []string{inserted(issuer, wellKnownOAuth), inserted(issuer, wellKnownOpenID)}
	if path := strings.TrimSuffix(issuer.EscapedPath(), "/"); path != "" {
		at = append(at, origin(issuer)+path+wellKnownOpenID)
	}
	return at
}

// checkAS reads every variant. Clients use the first valid one; they skip a 404, but
// many stop at a page or a server error.
func (w *walk) checkAS(ctx context.Context) outcome {
	issuer, err := url.Parse(w.issuer)
	if err != nil { // it was parsed before
		return fail("servers.unusable", w.issuer)
	}
	var shown []string
	var worst *variant
	for _, at := range addresses(issuer) {
		v := variant{at: at}
		v.problem, v.saw = w.read(ctx, at, &v.doc)
		w.variants = append(w.variants, v)
		if v.problem == fine {
			shown = append(shown, strings.TrimPrefix(at, origin(issuer)))
			if w.server == nil {
				w.server, w.serverAt = &v.doc, at
			}
		} else if w.server == nil && (worst == nil || worst.problem == missing) {
			worst = &v
		}
	}
	if worst != nil && (w.server == nil || stopsClients(worst.problem)) {
		return fail("as."+string(worst.problem), worst.saw)
	}
	return pass("at " + strings.Join(shown, " and "))
}

func stopsClients(p problem) bool { return p != missing && p != protected && p != filtered }

func (w *walk) checkIssuer(context.Context) outcome {
	for _, v := range w.variants {
		if v.problem == fine && v.doc.Issuer != w.issuer {
			saw := fmt.Sprintf("authorization_servers has %q, %s has issuer %q", w.issuer, v.at, v.doc.Issuer)
			return fail("issuer.mismatch", saw+difference(w.issuer, v.doc.Issuer))
		}
	}
	return pass(w.issuer)
}

// difference says how two URLs differ, if that helps to find the mistake.
func difference(want, got string) string {
	a, err1 := url.Parse(want)
	b, err2 := url.Parse(got)
	switch {
	case err1 != nil || err2 != nil || b.Host == "":
		return ""
	case strings.TrimSuffix(want, "/") == strings.TrimSuffix(got, "/"):
		return ": they differ in the trailing slash"
	case !strings.EqualFold(a.Hostname(), b.Hostname()):
		return ": another host, perhaps one that the gateway put in place of the client's"
	case a.Scheme != b.Scheme:
		return ": another scheme, perhaps because TLS ends at the gateway"
	case port(a) != port(b):
		return ": another port, perhaps that of an inner listener"
	}
	return ""
}

func (w *walk) checkEndpoints(context.Context) outcome {
	issuer, _ := url.Parse(w.issuer)
	var elsewhere []string
	for _, e := range []struct {
		name, at string
		needed   bool
	}{
		{"authorization_endpoint", w.server.AuthorizationEndpoint, true},
		{"token_endpoint", w.server.TokenEndpoint, true},
		{"registration_endpoint", w.server.RegistrationEndpoint, false},
		{"jwks_uri", w.server.JWKSURI, false},
	} {
		if e.at == "" {
			if e.needed {
				return fail("endpoints.missing", w.serverAt+" has no "+e.name)
			}
			continue
		}
		u, err := url.Parse(e.at)
		if err != nil || !w.probe.usable(u) {
			return fail("endpoints.insecure", e.name+" is "+e.at)
		}
		if !sameOrigin(u, issuer) {
			elsewhere = append(elsewhere, e.name+" is at "+origin(u))
		}
	}
	if elsewhere != nil {
		return pass("not on the issuer's origin: " + strings.Join(elsewhere, ", "))
	}
	return pass("on the issuer's origin")
}

// usableAt reports whether the endpoint can be asked; if not, checkEndpoints has said why.
func (w *walk) usableAt(endpoint string) bool {
	u, err := url.Parse(endpoint)
	return err == nil && w.probe.usable(u)
}

const noEndpoint = "the metadata names no usable one"

// checkAuthorize asks without parameters: an error page or a redirect is right.
func (w *walk) checkAuthorize(ctx context.Context) outcome {
	at := w.server.AuthorizationEndpoint
	if !w.usableAt(at) {
		return skip(noEndpoint)
	}
	a, err := w.probe.do(ctx, request{http.MethodGet, at, []string{"Accept", "text/html"}, ""})
	if err != nil {
		return fail("authorize.unreachable", "GET "+at+": "+transport(err))
	}
	saw := "GET " + at + ": " + a.String()
	if fault := endpointFault(a, a.header.Get("WWW-Authenticate") != ""); fault != "" {
		return fail("authorize."+fault, saw)
	}
	return pass(at)
}

// endpointFault returns the fault that a status reveals at an endpoint that should not
// be behind forward auth, "" for none.
func endpointFault(a *answer, challenged bool) string {
	if p := front(a); p != fine {
		return string(p)
	}
	switch s := a.status; {
	case s == http.StatusNotFound || s == http.StatusMethodNotAllowed:
		return "missing"
	case s == http.StatusMisdirectedRequest:
		return "misdirected"
	case s == http.StatusForbidden || s == http.StatusUnauthorized && challenged:
		return "protected"
	case s >= 500:
		return "failing"
	}
	return ""
}

// checkToken sends a code that was never issued: an OAuth error is right.
func (w *walk) checkToken(ctx context.Context) outcome {
	at := w.server.TokenEndpoint
	if !w.usableAt(at) {
		return skip(noEndpoint)
	}
	a, err := w.postForm(ctx, at, url.Values{
		"grant_type": {"authorization_code"}, "code": {"doctor"}, "client_id": {"mcp-forward-auth-doctor"},
		"redirect_uri": {"http://127.0.0.1/callback"}, "code_verifier": {strings.Repeat("doctor", 8)},
	})
	if err != nil {
		return fail("token.unreachable", "POST "+at+": "+transport(err))
	}
	saw := "POST " + at + ": " + a.String()
	var refusal struct {
		Error string `json:"error"`
	}
	isOAuth := a.isJSON() && json.Unmarshal(a.body, &refusal) == nil && refusal.Error != ""
	bearer, _, _ := bearerChallenges(a.header.Values("WWW-Authenticate"))
	if fault := endpointFault(a, bearer != nil); fault != "" {
		return fail("token."+fault, saw)
	}
	switch s := a.status; {
	case s >= 300 && s < 400:
		return fail("token.redirected", saw)
	case s >= 400 && isOAuth:
		return pass(at)
	case s >= 400 && a.media() != "text/html" && a.media() != "text/plain":
		return fail("token.malformed", saw)
	}
	return fail("token.swallowed", saw)
}

func (w *walk) postForm(ctx context.Context, at string, form url.Values, header ...string) (*answer, error) {
	return w.probe.do(ctx, request{http.MethodPost, at, append([]string{
		"Content-Type", "application/x-www-form-urlencoded", "Accept", "application/json"}, header...), form.Encode()})
}

func (w *walk) checkPKCE(context.Context) outcome {
	if !slices.Contains(w.server.CodeChallengeMethods, "S256") {
		return fail("pkce.missing", fmt.Sprintf("code_challenge_methods_supported is %q", w.server.CodeChallengeMethods))
	}
	return pass("")
}

// checkIss warns: `iss` protects clients that use several servers, and none breaks
// without it (RFC 9207).
func (w *walk) checkIss(context.Context) outcome {
	if !w.server.IssParameter {
		return warn("iss.missing", "authorization_response_iss_parameter_supported is not set")
	}
	return pass("")
}

func (w *walk) checkClients(context.Context) outcome {
	var ways []string
	if w.server.RegistrationEndpoint != "" {
		ways = append(ways, "dynamic registration")
	}
	if w.server.ClientMetadataDocument {
		ways = append(ways, "client ID metadata documents")
	}
	if ways == nil {
		return fail("clients.none", w.serverAt+" has neither registration_endpoint nor client_id_metadata_document_supported")
	}
	detail := strings.Join(ways, " and ")
	if w.server.ClientMetadataDocument && !slices.Contains(w.server.AuthMethods, "none") {
		detail += "; some clients use the latter only if token_endpoint_auth_methods_supported has \"none\""
	}
	return pass(detail)
}

// jwk is what is read of a key (RFC 7517, section 4).
type jwk struct {
	Type string `json:"kty"`
	Use  string `json:"use"`
	ID   string `json:"kid"`
	Alg  string `json:"alg"`
	N    string `json:"n"`
	// Members that only a private or a shared key has (RFC 7518, section 6).
	D, P, Q, DP, DQ, QI, K, Oth json.RawMessage
}

func (k *jwk) private() bool {
	for _, m := range []json.RawMessage{k.D, k.P, k.Q, k.DP, k.DQ, k.QI, k.K, k.Oth} {
		if m != nil {
			return true
		}
	}
	return false
}

// bits is the length of an RSA modulus, 0 if it is not a number.
func (k *jwk) bits() int {
	n, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(k.N, "="))
	if err != nil {
		return 0
	}
	return new(big.Int).SetBytes(n).BitLen()
}

func (w *walk) checkKeys(ctx context.Context) outcome {
	at := w.server.JWKSURI
	if at == "" {
		return skip("no jwks_uri; the tokens may be opaque")
	}
	if !w.usableAt(at) {
		return skip(noEndpoint)
	}
	var set struct {
		Keys []jwk `json:"keys"`
	}
	p, saw := w.read(ctx, at, &set)
	if p != fine {
		return fail("keys."+string(p), saw)
	}
	var good []string
	for _, k := range set.Keys {
		switch {
		case k.private():
			return fail("keys.private", fmt.Sprintf("key %q at %s", k.ID, at))
		case k.Use == "enc":
		case k.Type == "RSA" && k.bits() < 2048:
			return fail("keys.weak", fmt.Sprintf("key %q has %d bits", k.ID, k.bits()))
		case k.Type == "RSA" || k.Type == "EC" || k.Type == "OKP":
			good = append(good, strings.TrimSpace(k.Type+" "+k.Alg))
		}
	}
	if good == nil {
		return fail("keys.unusable", fmt.Sprintf("%s has %d keys, none for signatures", at, len(set.Keys)))
	}
	return pass(fmt.Sprintf("%d, %s", len(good), strings.Join(slices.Compact(slices.Sorted(slices.Values(good))), ", ")))
}

// registered is what the doctor got from the registration endpoint.
type registered struct {
	ID         string `json:"client_id"`
	Secret     string `json:"client_secret"`
	AuthMethod string `json:"token_endpoint_auth_method"`
}

// checkRegister registers only when asked to: other servers than this one
// store each client.
func (w *walk) checkRegister(ctx context.Context) outcome {
	if w.opt.ClientID != "" {
		w.client = &registered{ID: w.opt.ClientID}
		return skip("--client-id is used instead")
	}
	if !w.opt.Register && !w.opt.Login {
		return skip("a server may store what registers; --register tries it")
	}
	at := w.server.RegistrationEndpoint
	if at == "" {
		return skip("dynamic registration is not offered")
	}
	if !w.usableAt(at) {
		return skip(noEndpoint)
	}
	redirect := "http://127.0.0.1:33418/callback"
	if w.opt.Login {
		if err := w.listen(); err != nil {
			return skip("no port to listen on: " + err.Error())
		}
		redirect = w.callback.url
	}
	a, err := w.register(ctx, redirect)
	if err != nil {
		return fail("register.missing", "POST "+at+": "+transport(err))
	}
	saw := "POST " + at + ": " + a.String()
	var client registered
	switch s := a.status; {
	case s == http.StatusTooManyRequests:
		return fail("register.limited", saw)
	case s == http.StatusNotFound || s == http.StatusMethodNotAllowed || s >= 300 && s < 400:
		return fail("register.missing", saw)
	case s == http.StatusUnauthorized || s == http.StatusForbidden && !a.isJSON():
		return fail("register.protected", saw)
	case s >= 400:
		return fail("register.refused", saw)
	case !a.isJSON() || json.Unmarshal(a.body, &client) != nil || client.ID == "":
		return fail("register.malformed", saw)
	}
	w.client, w.redirect = &client, redirect
	return pass("as a public client with the redirect URI " + redirect)
}

// register sends what a public client on a computer registers.
func (w *walk) register(ctx context.Context, redirect string) (*answer, error) {
	body, _ := json.Marshal(map[string]any{
		"client_name": "mcp-forward-auth doctor", "redirect_uris": []string{redirect}, "token_endpoint_auth_method": "none",
		"grant_types": []string{"authorization_code"}, "response_types": []string{"code"}, "application_type": "native",
	})
	return w.probe.do(ctx, request{http.MethodPost, w.server.RegistrationEndpoint, []string{"Content-Type", "application/json", "Accept", "application/json"}, string(body)})
}

// checkRedirects registers addresses at which a browser would run a script, or send the code
// in the clear over the network (RFC 9700, section 4.1).
func (w *walk) checkRedirects(ctx context.Context) outcome {
	for _, redirect := range []string{"javascript:alert(1)", "data:text/html,x", "http://" + stranger + "/callback", "https://*/callback"} {
		a, err := w.register(ctx, redirect)
		if err != nil {
			return skip(transport(err))
		}
		var client registered
		if a.status < 300 && json.Unmarshal(a.body, &client) == nil && client.ID != "" && strings.Contains(string(a.body), redirect[:5]) {
			return fail("redirects.taken", "redirect_uris "+redirect+": "+a.String())
		}
	}
	return pass("scripts and plain http are refused")
}

// authorizeURL is a request for a sign-in of the registered client, with parameters changed;
// an empty one is left out.
func (w *walk) authorizeURL(changed map[string]string) string {
	q := url.Values{
		"response_type": {"code"}, "client_id": {w.client.ID}, "redirect_uri": {w.redirect}, "state": {"doctor"},
		"code_challenge": {"47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"}, "code_challenge_method": {"S256"},
	}
	if w.resource != nil {
		q.Set("resource", w.resource.Resource)
	}
	for name, value := range changed {
		if q.Set(name, value); value == "" {
			q.Del(name)
		}
	}
	separator := "?"
	if strings.Contains(w.server.AuthorizationEndpoint, "?") {
		separator = "&"
	}
	return w.server.AuthorizationEndpoint + separator + q.Encode()
}

// checkState leaves out state, which is optional: PKCE protects the client (OAuth 2.1,
// section 4.1.1).
func (w *walk) checkState(ctx context.Context) outcome {
	with, err := w.probe.do(ctx, request{http.MethodGet, w.authorizeURL(nil), []string{"Accept", "text/html"}, ""})
	if err != nil {
		return skip(transport(err))
	}
	without, err := w.probe.do(ctx, request{http.MethodGet, w.authorizeURL(map[string]string{"state": ""}), []string{"Accept", "text/html"}, ""})
	if err != nil {
		return skip(transport(err))
	}
	if refusesAuthorization(with) {
		return skip("the request is refused with state too: " + with.String())
	}
	if refusesAuthorization(without) {
		return fail("state.required", "without state: "+without.String())
	}
	return pass("")
}

func refusesAuthorization(a *answer) bool {
	to, err := url.Parse(a.header.Get("Location"))
	return a.status >= 400 || err == nil && to.Query().Get("error") != ""
}

// checkErrorRedirect makes a mistake that only the redirect could tell the client about. A
// server that sends every browser on to an address that a stranger has just registered is an
// open redirector (RFC 9700, section 4.11.2).
func (w *walk) checkErrorRedirect(ctx context.Context) outcome {
	a, err := w.probe.do(ctx, request{http.MethodGet, w.authorizeURL(map[string]string{"scope": "doctor:no-such-scope-" + stranger, "response_type": "token"}), []string{"Accept", "text/html"}, ""})
	if err != nil {
		return skip(transport(err))
	}
	if to := a.header.Get("Location"); a.status >= 300 && a.status < 400 && strings.HasPrefix(to, w.redirect) {
		return warn("error-redirect.open", a.String())
	}
	return pass("an error is shown before the browser goes on")
}
