package oauthtest

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
)

// MicrosoftTenant is where those live whose Subject names no tenant.
const MicrosoftTenant = "72f988bf-86f1-41af-91ab-2d7cd011db47"

// microsoftTokenGroups is how many groups an ID token holds at most.
const microsoftTokenGroups = 200

// Microsoft is a fake Entra ID with its Graph; reach both through Client.
type Microsoft struct {
	*OIDCProvider
	pageSize   int
	nextLink   string
	graphFault int
	keyIssuer  string
}

// NewMicrosoft starts one that calls itself https://login.microsoftonline.com.
func NewMicrosoft(t testing.TB) *Microsoft {
	t.Helper()
	const login = "https://login.microsoftonline.com/"
	p := &OIDCProvider{kid: "key-1", now: time.Now}
	p.key, p.otherKey = testKeys()
	m := &Microsoft{OIDCProvider: p, pageSize: 999, keyIssuer: login + "{tenantid}/v2.0"}
	p.describe = func(r *http.Request, d map[string]any) {
		tenant := r.PathValue("tenant")
		d["issuer"] = login + tenant + "/v2.0"
		if !strings.Contains(tenant, "-") { // common, organizations
			d["issuer"] = login + "{tenantid}/v2.0"
		}
		d["authorization_endpoint"] = login + tenant + "/oauth2/v2.0/authorize"
		d["token_endpoint"] = login + tenant + "/oauth2/v2.0/token"
		d["jwks_uri"] = login + tenant + "/discovery/v2.0/keys"
		d["userinfo_endpoint"] = "https://graph.microsoft.com/oidc/userinfo"
		d["token_endpoint_auth_methods_supported"] = []string{"client_secret_post", "private_key_jwt", "client_secret_basic"}
		d["id_token_signing_alg_values_supported"] = []string{"RS256"}
		d["subject_types_supported"] = []string{"pairwise"}
		d["scopes_supported"] = []string{"openid", "profile", "email", "offline_access"}
		d["cloud_graph_host_name"], d["msgraph_host"] = "graph.windows.net", "graph.microsoft.com"
		delete(d, "authorization_response_iss_parameter_supported")
		delete(d, "code_challenge_methods_supported")
	}
	p.shape = m.claims
	p.addKey = func(key map[string]any) { key["issuer"] = m.keyIssuer }
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{tenant}/v2.0/.well-known/openid-configuration", p.at(Discovery, p.serveDiscovery))
	mux.HandleFunc("GET /{tenant}/oauth2/v2.0/authorize", p.at(Authorization, noResource(m.serveAuthorization)))
	mux.HandleFunc("POST /{tenant}/oauth2/v2.0/token", p.at(Token, noResource(p.serveToken)))
	mux.HandleFunc("GET /{tenant}/discovery/v2.0/keys", p.at(Keys, p.serveKeys))
	mux.HandleFunc("GET /v1.0/me/transitiveMemberOf", p.at(Graph, m.serveMemberships))
	mux.HandleFunc("/elsewhere", p.at(Elsewhere, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	p.start(t, mux)
	return m
}

// noResource: the endpoints of version 2.0 refuse the parameter of 1.0.
func noResource(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Form.Has("resource") {
			http.Error(w, "AADSTS901002: The 'resource' request parameter is not supported.", http.StatusBadRequest)
			return
		}
		serve(w, r)
	}
}

// serveAuthorization sends no iss, unless one that is wrong.
func (m *Microsoft) serveAuthorization(w http.ResponseWriter, r *http.Request) {
	extra := url.Values{"session_state": {"3c5f1ba2-0f9c-4b1b-a3ad-1d1c4ee5a9ce"}}
	if m.committed() == WrongResponseIssuer {
		extra.Set("iss", "https://attacker.example")
	}
	m.beginVisit(w, r, extra)
}

// Commit implements Provider.
func (m *Microsoft) Commit(fault Fault) bool {
	switch fault {
	case NoResponseIssuer, OtherUserInfo:
		return false
	}
	return m.OIDCProvider.Commit(fault)
}

// PageSize bounds a page of Graph. NextLink replaces the address of the next page.
// RefuseGraph answers with a status. KeyIssuer labels the key.
func (m *Microsoft) PageSize(n int)          { m.set(func() { m.pageSize = n }) }
func (m *Microsoft) NextLink(address string) { m.set(func() { m.nextLink = address }) }
func (m *Microsoft) RefuseGraph(status int)  { m.set(func() { m.graphFault = status }) }
func (m *Microsoft) KeyIssuer(issuer string) { m.set(func() { m.keyIssuer = issuer }) }

// claims are those of a version 2.0 ID token. sub is pairwise: it says nothing
// about oid.
func (m *Microsoft) claims(u User, claims map[string]any) {
	tenant, object, ok := strings.Cut(u.Subject, "/")
	if !ok {
		tenant, object = MicrosoftTenant, fmt.Sprintf("00000000-0000-0000-0000-%012s", u.Subject)
	}
	claims["iss"] = "https://login.microsoftonline.com/" + tenant + "/v2.0"
	claims["tid"], claims["oid"], claims["ver"] = tenant, object, "2.0"
	claims["sub"] = fmt.Sprintf("%.20x", sha256.Sum256([]byte(u.Subject)))
	claims["preferred_username"] = u.Login
	claims["nbf"] = claims["iat"]
	delete(claims, "at_hash") // only in the hybrid flow
	delete(claims, "email_verified")
	delete(claims, "groups")
	if u.EmailVerified {
		claims["xms_edov"] = true
	}
	if u.Roles != nil {
		claims["roles"] = u.Roles
	}
	switch {
	case len(u.Groups) > microsoftTokenGroups:
		claims["_claim_names"] = map[string]string{"groups": "src1"}
		claims["_claim_sources"] = map[string]any{"src1": map[string]string{
			"endpoint": "https://graph.windows.net/" + tenant + "/users/" + object + "/getMemberObjects",
		}}
	case u.Groups != nil:
		claims["groups"] = u.Groups
	}
	if m.fault == NoSubject {
		delete(claims, "oid")
	}
}

// serveMemberships is Graph's paged list of everything the person is in.
func (m *Microsoft) serveMemberships(w http.ResponseWriter, r *http.Request) {
	user, ok := m.bearer(r)
	m.mu.Lock()
	defer m.mu.Unlock()
	status := m.graphFault
	if !ok {
		status = http.StatusUnauthorized
	}
	if status != 0 {
		writeJSON(w, status, map[string]any{"error": map[string]any{
			"code": "Authorization_RequestDenied", "message": "Insufficient privileges to complete the operation.",
			"innerError": map[string]string{"date": "2026-01-02T03:04:05", "request-id": "r", "client-request-id": "r"},
		}})
		return
	}
	objects := []map[string]any{{"@odata.type": "#microsoft.graph.directoryRole", "id": "ffffffff-0000-0000-0000-000000000000"}}
	for _, g := range user.Groups {
		objects = append(objects, map[string]any{"@odata.type": "#microsoft.graph.group", "id": g})
	}
	start, _ := strconv.Atoi(r.Form.Get("$skiptoken"))
	end := min(start+min(m.pageSize, number(r, "$top", 100, 999)), len(objects))
	page := map[string]any{
		"@odata.context": "https://graph.microsoft.com/v1.0/$metadata#directoryObjects(id)",
		"value":          objects[min(start, end):end],
	}
	if end < len(objects) {
		next := fmt.Sprintf("https://graph.microsoft.com/v1.0/me/transitiveMemberOf?$select=id&$top=%s&$skiptoken=%d", r.Form.Get("$top"), end)
		if m.nextLink != "" {
			next = m.nextLink
		}
		page["@odata.nextLink"] = next
	}
	writeJSON(w, http.StatusOK, page)
}
