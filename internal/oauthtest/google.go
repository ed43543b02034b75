package oauthtest

import (
	"crypto"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// What the fake Google Workspace knows.
const (
	WorkspaceAdmin   = "admin@corp.example"
	WorkspaceAccount = "mcp@project.iam.gserviceaccount.com"
	// WorkloadToken is what a platform outside of Google gives a workload, for
	// WorkloadAudience.
	WorkloadToken    = "workload-token"
	WorkloadAudience = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/a/providers/b"
)

// Account is a user of the directory.
type Account struct {
	Suspended, Archived bool
	Groups              []string
}

// Google is a fake of Google's accounts, of the directory of one Workspace, and
// of what stands before it; reach all through Client.
type Google struct {
	*OIDCProvider
	keys      map[string]crypto.PublicKey // of the service account, by kid
	delegated []string                    // scopes
	accounts  map[string]Account
	pageSize  int
	refusal   string // reason
	service   map[string][]string
	workload  string // the token that may sign
}

// NewGoogle starts one that calls itself https://accounts.google.com.
func NewGoogle(t testing.TB) *Google {
	t.Helper()
	g := &Google{
		keys: map[string]crypto.PublicKey{}, accounts: map[string]Account{}, pageSize: 200, service: map[string][]string{}, workload: "ya29-" + rand.Text(),
		delegated: []string{
			"https://www.googleapis.com/auth/admin.directory.user.readonly", "https://www.googleapis.com/auth/admin.directory.group.readonly",
		},
	}
	g.OIDCProvider = newOIDCProvider(t, "https://accounts.google.com", func(p *OIDCProvider, mux *http.ServeMux) {
		g.OIDCProvider = p
		g.keys["managed"] = p.otherKey.Public() // Google's own key of the account
		mux.HandleFunc("POST oauth2.googleapis.com/token", p.at(ServiceToken, g.serveServiceToken))
		mux.HandleFunc("POST sts.googleapis.com/v1/token", p.at(Exchange, g.serveExchange))
		mux.HandleFunc("POST iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{call}", p.at(SignJWT, g.serveSign))
		mux.HandleFunc("GET metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token", p.at(Metadata, g.serveMetadata))
		mux.HandleFunc("GET admin.googleapis.com/admin/directory/v1/users/{id}", p.at(Directory, g.directory("user", g.serveAccount)))
		mux.HandleFunc("GET admin.googleapis.com/admin/directory/v1/groups", p.at(Memberships, g.directory("group", g.serveGroups)))
	})
	return g
}

// AddKey makes a key one of the service account's. SetAccount puts a user into
// the directory and DeleteAccount takes it out. Delegate sets the scopes of the
// domain-wide delegation. GroupPage bounds a page of groups. RefuseDirectory
// makes the directory answer as documented for a reason, such as "notAuthorized"
// or "rateLimitExceeded"; "" ends that.
func (g *Google) AddKey(kid string, key crypto.PublicKey) { g.set(func() { g.keys[kid] = key }) }
func (g *Google) SetAccount(id string, a Account)         { g.set(func() { g.accounts[id] = a }) }
func (g *Google) DeleteAccount(id string)                 { g.set(func() { delete(g.accounts, id) }) }
func (g *Google) Delegate(scopes ...string)               { g.set(func() { g.delegated = scopes }) }
func (g *Google) GroupPage(n int)                         { g.set(func() { g.pageSize = n }) }
func (g *Google) RefuseDirectory(reason string)           { g.set(func() { g.refusal = reason }) }

// apiError is Google's JSON error format.
func apiError(w http.ResponseWriter, status int, reason, message string) {
	writeJSON(w, status, map[string]any{"error": map[string]any{
		"code": status, "message": message,
		"errors": []map[string]string{{"message": message, "domain": "global", "reason": reason}},
	}})
}

func (g *Google) serveServiceToken(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	refuse := func(status int, code, description string) {
		writeJSON(w, status, map[string]string{"error": code, "error_description": description})
	}
	if r.PostForm.Get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
		refuse(http.StatusBadRequest, "unsupported_grant_type", "Invalid grant_type: "+r.PostForm.Get("grant_type"))
		return
	}
	var claims struct {
		jwt.Claims
		Scope string `json:"scope"`
	}
	token, err := jwt.ParseSigned(r.PostForm.Get("assertion"), []jose.SignatureAlgorithm{jose.RS256})
	if err != nil || g.keys[token.Headers[0].KeyID] == nil || token.Claims(g.keys[token.Headers[0].KeyID], &claims) != nil {
		refuse(http.StatusBadRequest, "invalid_grant", "Invalid JWT Signature.")
		return
	}
	now := time.Now()
	switch {
	case claims.Issuer != WorkspaceAccount || !slices.Equal(claims.Audience, jwt.Audience{"https://oauth2.googleapis.com/token"}),
		claims.Expiry == nil || claims.Expiry.Time().Before(now) || claims.Expiry.Time().After(now.Add(61*time.Minute)):
		refuse(http.StatusBadRequest, "invalid_grant", "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe.")
		return
	case claims.Subject != WorkspaceAdmin:
		refuse(http.StatusBadRequest, "invalid_grant", "Invalid email or User ID")
		return
	}
	scopes := strings.Fields(claims.Scope)
	for _, scope := range scopes {
		if !slices.Contains(g.delegated, scope) {
			refuse(http.StatusUnauthorized, "unauthorized_client", "Client is unauthorized to retrieve access tokens using this method, or client not authorized for any of the scopes requested.")
			return
		}
	}
	access := "ya29-" + rand.Text()
	g.service[access] = scopes
	writeJSON(w, http.StatusOK, map[string]any{"access_token": access, "expires_in": 3599, "token_type": "Bearer"})
}

func (g *Google) serveExchange(w http.ResponseWriter, r *http.Request) {
	for name, want := range map[string]string{
		"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "audience": WorkloadAudience, "subject_token": WorkloadToken,
		"subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "scope": "https://www.googleapis.com/auth/cloud-platform",
		"requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
	} {
		if r.PostForm.Get(name) != want {
			writeJSON(w, http.StatusBadRequest, map[string]string{"error": "invalid_grant", "error_description": "The " + name + " is not valid"})
			return
		}
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"access_token": g.workload, "issued_token_type": "urn:ietf:params:oauth:token-type:access_token", "token_type": "Bearer", "expires_in": 3599,
	})
}

func (g *Google) serveMetadata(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Metadata-Flavor") != "Google" {
		http.Error(w, "Missing Metadata-Flavor:Google header.", http.StatusForbidden)
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"access_token": g.workload, "expires_in": 3599, "token_type": "Bearer"})
}

func (g *Google) serveSign(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Payload string `json:"payload"`
	}
	if r.PathValue("call") != WorkspaceAccount+":signJwt" || r.Header.Get("Authorization") != "Bearer "+g.workload {
		writeJSON(w, http.StatusForbidden, map[string]any{"error": map[string]any{
			"code": 403, "status": "PERMISSION_DENIED", "message": "Permission 'iam.serviceAccounts.signJwt' denied on resource (or it may not exist).",
		}})
		return
	}
	if json.NewDecoder(r.Body).Decode(&body) != nil || body.Payload == "" {
		writeJSON(w, http.StatusBadRequest, map[string]any{"error": map[string]any{"code": 400, "status": "INVALID_ARGUMENT", "message": "payload"}})
		return
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: g.otherKey}, (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", "managed"))
	if err != nil {
		panic("oauthtest: " + err.Error())
	}
	jws, err := signer.Sign([]byte(body.Payload))
	if err != nil {
		panic("oauthtest: " + err.Error())
	}
	signed, _ := jws.CompactSerialize()
	writeJSON(w, http.StatusOK, map[string]string{"keyId": "managed", "signedJwt": signed})
}

// directory wraps what every request of the directory needs.
func (g *Google) directory(kind string, serve func(http.ResponseWriter, *http.Request)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		defer g.mu.Unlock()
		scopes, ok := g.service[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
		switch {
		case !ok:
			apiError(w, http.StatusUnauthorized, "authError", "Invalid Credentials")
		case !slices.Contains(scopes, "https://www.googleapis.com/auth/admin.directory."+kind+".readonly"):
			apiError(w, http.StatusForbidden, "insufficientPermissions", "Request had insufficient authentication scopes.")
		case g.refusal == "notAuthorized":
			apiError(w, http.StatusForbidden, "forbidden", "Not Authorized to access this resource/api")
		case g.refusal == "rateLimitExceeded":
			apiError(w, http.StatusTooManyRequests, "rateLimitExceeded", "Quota exceeded for quota metric 'Queries'")
		case g.refusal != "": // userRateLimitExceeded, quotaExceeded
			apiError(w, http.StatusForbidden, g.refusal, "Request rate higher than configured.")
		default:
			serve(w, r)
		}
	}
}

func (g *Google) serveAccount(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	account, ok := g.accounts[id]
	if !ok {
		apiError(w, http.StatusNotFound, "notFound", "Resource Not Found: userKey")
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"kind": "admin#directory#user", "id": id, "primaryEmail": "person@corp.example", "suspended": account.Suspended, "archived": account.Archived,
	})
}

func (g *Google) serveGroups(w http.ResponseWriter, r *http.Request) {
	all := g.accounts[r.Form.Get("userKey")].Groups
	start, _ := strconv.Atoi(strings.TrimPrefix(r.Form.Get("pageToken"), "opaque/+="))
	end := min(start+min(g.pageSize, number(r, "maxResults", 200, 200)), len(all))
	groups := []map[string]any{}
	for _, email := range all[min(start, end):end] {
		groups = append(groups, map[string]any{"kind": "admin#directory#group", "id": "0" + strconv.Itoa(len(groups)), "email": email, "name": email})
	}
	page := map[string]any{"kind": "admin#directory#groups"}
	if len(groups) > 0 { // absent when there are none
		page["groups"] = groups
	}
	if end < len(all) {
		page["nextPageToken"] = "opaque/+=" + strconv.Itoa(end)
	}
	writeJSON(w, http.StatusOK, page)
}
