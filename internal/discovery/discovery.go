// Package discovery publishes what clients find out by themselves: protected
// resource metadata, authorization server metadata in its OAuth and OpenID
// forms, and the signing keys. Every URL comes from the configuration; an
// unknown path is 404, never another issuer's document.
package discovery

import (
	"net/http"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/catalog"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/web"
)

// Paths of the documents.
const (
	OAuthPath  = "/.well-known/oauth-authorization-server"
	OpenIDPath = "/.well-known/openid-configuration"
	JWKSPath   = "/openid/v1/jwks"
)

// Features says what the other endpoints do, so that nothing is advertised that
// does not work.
type Features struct {
	AuthorizationPath string
	TokenPath         string
	RegistrationPath  string // "" when dynamic registration is off
	RevocationPath    string
	IntrospectionPath string // "" when introspection is off
	DevicePath        string // "" where no host lets devices sign in
	// IntrospectionAuthMethods are those of its callers.
	IntrospectionAuthMethods []string
	GrantTypes               func(*resource.Host) []string
	// GrantProfiles are profiles of those grants that need a name of their own.
	GrantProfiles func(*resource.Host) []string
	AuthMethods   []string
	// AuthSigningAlgs are those of private_key_jwt; empty where that is off.
	AuthSigningAlgs []string
	// MetadataDocuments reports whether clients should be told that a client id may
	// be the URL of a document; nil where it may not.
	MetadataDocuments func() bool
	// PushPath is "" where no requests can be pushed; PushedOnly: they must be.
	PushPath   string
	PushedOnly bool
	// DPoPAlgs are the algorithms of DPoP proofs.
	DPoPAlgs []string
	// OfflineAccess: asking for that scope has an effect.
	OfflineAccess bool
}

// Endpoint serves the documents.
type Endpoint struct {
	Features Features
	// Catalogue returns what is known of a resource's scopes, without I/O.
	Catalogue func(r *resource.Resource) *catalog.Catalogue
	// JWKS returns the published keys as a JWK Set.
	JWKS func() []byte
}

// ServerMetadata is the document of RFC 8414, section 2, with the members that
// OpenID Connect Discovery, section 3, requires besides.
type ServerMetadata struct {
	Issuer                string `json:"issuer"`
	AuthorizationEndpoint string `json:"authorization_endpoint"`
	TokenEndpoint         string `json:"token_endpoint"`
	JWKSURI               string `json:"jwks_uri"`
	RegistrationEndpoint  string `json:"registration_endpoint,omitempty"`
	// RFC 8628, section 4.
	DeviceAuthorizationEndpoint       string   `json:"device_authorization_endpoint,omitempty"`
	IntrospectionEndpoint             string   `json:"introspection_endpoint,omitempty"`
	IntrospectionAuthMethodsSupported []string `json:"introspection_endpoint_auth_methods_supported,omitempty"`
	IntrospectionAuthSigningAlgs      []string `json:"introspection_endpoint_auth_signing_alg_values_supported,omitempty"`
	RevocationEndpoint                string   `json:"revocation_endpoint,omitempty"`
	ScopesSupported                   []string `json:"scopes_supported,omitempty"`
	ResponseTypesSupported            []string `json:"response_types_supported"`
	ResponseModesSupported            []string `json:"response_modes_supported"`
	GrantTypesSupported               []string `json:"grant_types_supported"`
	// draft-ietf-oauth-identity-assertion-authz-grant, section 7.2.
	GrantProfilesSupported            []string `json:"authorization_grant_profiles_supported,omitempty"`
	TokenEndpointAuthMethodsSupported []string `json:"token_endpoint_auth_methods_supported"`
	// RFC 8414, section 2: required where the methods have private_key_jwt.
	TokenEndpointAuthSigningAlgs  []string `json:"token_endpoint_auth_signing_alg_values_supported,omitempty"`
	RevocationAuthSigningAlgs     []string `json:"revocation_endpoint_auth_signing_alg_values_supported,omitempty"`
	CodeChallengeMethodsSupported []string `json:"code_challenge_methods_supported"`
	// draft-ietf-oauth-client-id-metadata-document, section 5.
	ClientIDMetadataDocumentSupported bool     `json:"client_id_metadata_document_supported,omitempty"`
	RevocationAuthMethodsSupported    []string `json:"revocation_endpoint_auth_methods_supported,omitempty"`
	// RFC 9207, section 3.
	AuthorizationResponseIssParameterSupported bool `json:"authorization_response_iss_parameter_supported"`
	// RFC 9126, section 5.
	PushedRequestEndpoint string `json:"pushed_authorization_request_endpoint,omitempty"`
	PushedRequestsOnly    bool   `json:"require_pushed_authorization_requests,omitempty"`
	// RFC 9449, section 5.1; there where tokens can be bound.
	DPoPSigningAlgs []string `json:"dpop_signing_alg_values_supported,omitempty"`
	// draft-ietf-oauth-refresh-token-expiration, section 8.
	RefreshTokenExpirationTypes []string `json:"refresh_token_expiration_types_supported,omitempty"`
	// OpenID Connect Discovery, section 3.
	SubjectTypesSupported            []string `json:"subject_types_supported,omitempty"`
	IDTokenSigningAlgValuesSupported []string `json:"id_token_signing_alg_values_supported,omitempty"`
}

// ResourceMetadata is the document of RFC 9728, section 2.
type ResourceMetadata struct {
	Resource               string   `json:"resource"`
	AuthorizationServers   []string `json:"authorization_servers"`
	ScopesSupported        []string `json:"scopes_supported,omitempty"`
	BearerMethodsSupported []string `json:"bearer_methods_supported"`
	ResourceName           string   `json:"resource_name,omitempty"`
	// Both are there where tokens can be bound to keys (RFC 9449).
	DPoPSigningAlgs         []string `json:"dpop_signing_alg_values_supported,omitempty"`
	DPoPBoundTokensRequired *bool    `json:"dpop_bound_access_tokens_required,omitempty"`
}

// cacheFor lets clients keep a document for a few minutes. Signing keys are
// published a whole period, ten minutes at least, before they are used.
const cacheFor = "public, max-age=300"

// OAuth serves RFC 8414 metadata at its root and with a path inserted. MCP
// clients of the 2025-03-26 revision and some later ones insert the path of the
// MCP server, so a path is accepted if a resource of the host covers it; the
// issuer stays the same.
func (e *Endpoint) OAuth(w http.ResponseWriter, r *http.Request, host *resource.Host) {
	e.server(w, r, host, OAuthPath, e.metadata(host))
}

// OpenID serves the same as an OpenID provider document (OpenID Connect
// Discovery, section 4), for clients that look only there.
func (e *Endpoint) OpenID(w http.ResponseWriter, r *http.Request, host *resource.Host) {
	doc := e.metadata(host)
	doc.SubjectTypesSupported = []string{"public"}
	doc.IDTokenSigningAlgValuesSupported = []string{"RS256"}
	e.server(w, r, host, OpenIDPath, doc)
}

func (e *Endpoint) server(w http.ResponseWriter, r *http.Request, host *resource.Host, prefix string, doc ServerMetadata) {
	if path := strings.TrimPrefix(r.URL.EscapedPath(), prefix); !host.TakesOwnTokens() || !knownPath(host, path) {
		notFound(w)
		return
	}
	write(w, doc)
}

// Appended serves /<path>/.well-known/openid-configuration, the form OpenID
// Connect Discovery has for issuers with a path and that some clients try.
func (e *Endpoint) Appended(w http.ResponseWriter, r *http.Request, host *resource.Host) {
	path, suffix, _ := strings.Cut(r.URL.EscapedPath(), "/.well-known/")
	if path == "" || !knownPath(host, path) {
		notFound(w)
		return
	}
	switch "/.well-known/" + suffix {
	case OpenIDPath:
		r.URL.Path, r.URL.RawPath = OpenIDPath, ""
		e.OpenID(w, r, host)
	case OAuthPath:
		r.URL.Path, r.URL.RawPath = OAuthPath, ""
		e.OAuth(w, r, host)
	default:
		notFound(w)
	}
}

// IsAppended reports whether the path has the form that Appended serves.
func IsAppended(path string) bool {
	return strings.HasSuffix(path, OpenIDPath) && path != OpenIDPath || strings.HasSuffix(path, OAuthPath) && path != OAuthPath
}

func (e *Endpoint) metadata(host *resource.Host) ServerMetadata {
	f := e.Features
	doc := ServerMetadata{
		Issuer:                            host.Issuer,
		AuthorizationEndpoint:             host.Issuer + f.AuthorizationPath,
		TokenEndpoint:                     host.Issuer + f.TokenPath,
		JWKSURI:                           host.Issuer + JWKSPath,
		ResponseTypesSupported:            []string{"code"},
		ResponseModesSupported:            []string{"query"},
		GrantTypesSupported:               f.GrantTypes(host),
		GrantProfilesSupported:            f.GrantProfiles(host),
		TokenEndpointAuthMethodsSupported: f.AuthMethods,
		TokenEndpointAuthSigningAlgs:      f.AuthSigningAlgs,
		CodeChallengeMethodsSupported:     []string{"S256"},
		ClientIDMetadataDocumentSupported: f.MetadataDocuments != nil && f.MetadataDocuments(),

		AuthorizationResponseIssParameterSupported: true,
	}
	if f.RegistrationPath != "" {
		doc.RegistrationEndpoint = host.Issuer + f.RegistrationPath
	}
	if f.RevocationPath != "" {
		doc.RevocationEndpoint = host.Issuer + f.RevocationPath
		doc.RevocationAuthMethodsSupported = f.AuthMethods
		doc.RevocationAuthSigningAlgs = f.AuthSigningAlgs
	}
	if f.DevicePath != "" && host.SignsInDevices() {
		doc.DeviceAuthorizationEndpoint = host.Issuer + f.DevicePath
	}
	if f.IntrospectionPath != "" {
		doc.IntrospectionEndpoint = host.Issuer + f.IntrospectionPath
		doc.IntrospectionAuthMethodsSupported = f.IntrospectionAuthMethods
		doc.IntrospectionAuthSigningAlgs = f.AuthSigningAlgs
	}
	if f.PushPath != "" {
		doc.PushedRequestEndpoint, doc.PushedRequestsOnly = host.Issuer+f.PushPath, f.PushedOnly
	}
	if host.BindsTokens() {
		doc.DPoPSigningAlgs = f.DPoPAlgs
	}
	if f.OfflineAccess {
		doc.RefreshTokenExpirationTypes = []string{"authorization", "token_timeout"}
		doc.ScopesSupported = e.scopes(host).Union(oauth.Scopes{oauth.OfflineAccess})
	}
	return doc
}

// scopes are those of all the host's resources. They stand beside
// offline_access because some clients ask for all of this list and nothing else.
func (e *Endpoint) scopes(host *resource.Host) oauth.Scopes {
	var all oauth.Scopes
	for _, res := range host.Resources {
		if !res.OwnTokensOff {
			all = all.Union(e.baseline(res))
		}
	}
	return all
}

// baseline is what a client should ask of a resource at first.
func (e *Endpoint) baseline(res *resource.Resource) oauth.Scopes {
	if len(res.DefaultScopes) > 0 {
		return res.DefaultScopes
	}
	return e.Catalogue(res).Advertised()
}

// Resource serves RFC 9728 metadata. The document's resource is exactly the URL
// that its own URL derives from (section 3.3): the root document speaks for the
// origin, the one at a path for that path, if a resource of the host covers it.
func (e *Endpoint) Resource(w http.ResponseWriter, r *http.Request, host *resource.Host) {
	path := strings.TrimSuffix(strings.TrimPrefix(r.URL.EscapedPath(), resource.WellKnown), "/")
	res, ok := host.Requested(host.Issuer + path)
	if !ok || !oauth.PlainPath(path) || res.KeysOnly() { // nothing to sign in to
		notFound(w)
		return
	}
	doc := ResourceMetadata{
		Resource:               host.Issuer + path,
		AuthorizationServers:   res.Servers(),
		BearerMethodsSupported: []string{"header"},
		ResourceName:           res.DisplayName,
	}
	doc.ScopesSupported = res.Named("", e.baseline(res))
	if res.DPoP.Accepts() {
		doc.DPoPSigningAlgs, doc.DPoPBoundTokensRequired = e.Features.DPoPAlgs, new(res.DPoP.Requires())
	}
	write(w, doc)
}

// Keys serves the signing keys as a JWK Set (RFC 7517, section 5).
func (e *Endpoint) Keys(w http.ResponseWriter, _ *http.Request, _ *resource.Host) {
	h := w.Header()
	h.Set("Content-Type", "application/json") // what every client accepts; jwk-set+json is refused by some
	h.Set("Cache-Control", cacheFor)
	h.Set("X-Content-Type-Options", "nosniff")
	w.Write(e.JWKS())
}

// knownPath: "" and "/" are the issuer itself; another path must belong to a
// resource that takes its tokens.
func knownPath(host *resource.Host, path string) bool {
	path = strings.TrimSuffix(path, "/")
	if path == "" {
		return true
	}
	res := host.Covering(path)
	return res != nil && !res.OwnTokensOff
}

func write(w http.ResponseWriter, doc any) {
	w.Header().Set("Cache-Control", cacheFor)
	web.JSON(w, http.StatusOK, doc)
}

func notFound(w http.ResponseWriter) {
	web.JSON(w, http.StatusNotFound, web.ErrorBody{Error: "not_found", Description: "there is no such document here"})
}

// Routes returns the routes of the documents, but for Appended.
func (e *Endpoint) Routes() []web.Route {
	return []web.Route{
		document(resource.WellKnown, e.Resource),
		document(resource.WellKnown+"/", e.Resource),
		document(OAuthPath, e.OAuth),
		document(OAuthPath+"/", e.OAuth),
		document(OpenIDPath, e.OpenID),
		document(OpenIDPath+"/", e.OpenID),
		document(JWKSPath, e.Keys),
	}
}

// AppendedRoute returns the route of Appended: every path without another route
// for which IsAppended is true. No pattern of http.ServeMux can say so.
func (e *Endpoint) AppendedRoute() web.Route { return document("/", e.Appended) }

func document(pattern string, serve web.HostHandler) web.Route {
	return web.Route{Pattern: pattern, Methods: []string{http.MethodGet}, Serve: serve, Public: true}
}
