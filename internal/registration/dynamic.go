package registration

import (
	"bytes"
	"cmp"
	"compress/flate"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
)

// Bounds on a registration (AS-DCR-14).
const (
	MaxBodyBytes    = 16 << 10
	maxRedirectURIs = 20
	maxNameRunes    = 200
	// maxDynamicIDBytes bounds an id. It travels in every access token (RFC 9068 wants
	// client_id), which must fit into a header.
	maxDynamicIDBytes = 1000
)

// Request is what is used of the client metadata of RFC 7591. Other members are ignored,
// as section 2 demands, and so are software statements (section 2.3).
type Request struct {
	RedirectURIs    []string
	ClientName      string
	AuthMethod      string
	GrantTypes      []string
	ResponseTypes   []string
	ApplicationType string
	Scope           string
	DPoPBound       bool
	PushedOnly      bool

	keys    []jose.JSONWebKey
	jwksURI string
}

// Response is the registration response of RFC 7591, section 3.2.1: what is registered,
// which may differ from what was asked for.
type Response struct {
	ClientID              string              `json:"client_id"`
	ClientIDIssuedAt      int64               `json:"client_id_issued_at"`
	ClientSecret          string              `json:"client_secret,omitempty"`
	ClientSecretExpiresAt *int64              `json:"client_secret_expires_at,omitempty"`
	RedirectURIs          []string            `json:"redirect_uris"`
	ClientName            string              `json:"client_name,omitempty"`
	AuthMethod            string              `json:"token_endpoint_auth_method"`
	GrantTypes            []string            `json:"grant_types"`
	ResponseTypes         []string            `json:"response_types"`
	ApplicationType       string              `json:"application_type"`
	Scope                 string              `json:"scope,omitempty"`
	JWKSURI               string              `json:"jwks_uri,omitempty"`
	JWKS                  *jose.JSONWebKeySet `json:"jwks,omitempty"`
	DPoPBound             bool                `json:"dpop_bound_access_tokens,omitempty"`
	PushedOnly            bool                `json:"require_pushed_authorization_requests,omitempty"`
}

// Dynamic registers clients, and recognises them by their ids alone. Registration is open
// to everyone, so an id needs no signature: who forges one could as well have registered
// it. What an id says is checked at each use.
type Dynamic struct {
	Redirects RedirectPolicy
	Keys      *seal.Keyring // for client secrets
	KeySets   *KeySets      // fetches keys; nil if clients must put them into their registration
	Now       func() time.Time
	// Grants are the grant types that a client may register. Clients that use a browser
	// always have authorization_code.
	Grants []string
	// RefreshOff says that no refresh tokens are issued. A client that asks for no grant
	// then does not get refresh_token.
	RefreshOff bool
	// Pushed says that clients can push authorization requests.
	Pushed bool
}

// record is what an id contains. Its JSON names are short because the id travels in URLs.
type record struct {
	Host     string   `json:"h"` // hash of the issuer (AS-DCR-17)
	IssuedAt int64    `json:"t"`
	Nonce    []byte   `json:"r"`
	URIs     []string `json:"u"`
	Name     string   `json:"n,omitempty"`
	Method   string   `json:"m,omitempty"` // "" stands for "none"
	Refresh  bool     `json:"f,omitempty"`
	Grants   []string `json:"g,omitempty"` // without authorization_code and refresh_token
	JWKSURI  string   `json:"j,omitempty"`
	// DPoPBound is recorded only if the host binds tokens to keys.
	DPoPBound bool `json:"d,omitempty"`
	// PushedOnly is recorded only if requests can be pushed.
	PushedOnly bool `json:"p,omitempty"`

	// PublicKeys are JWKs.
	PublicKeys []jose.JSONWebKey `json:"k,omitempty"`
}

const idPrefix = oauth.DynamicIDPrefix

// The grant types of a person's sign-in.
const (
	authorizationCode = "authorization_code"
	refreshToken      = "refresh_token"
	deviceCode        = "urn:ietf:params:oauth:grant-type:device_code"
)

// Register validates req and returns the client's registration at host.
func (d *Dynamic) Register(host *resource.Host, req Request) (Response, error) {
	rec := record{Host: hostHash(host), IssuedAt: d.Now().Unix(), Nonce: make([]byte, 6), Name: req.ClientName}
	rand.Read(rec.Nonce)
	var err error
	served := d.served(host)
	onDevice := slices.Contains(served, deviceCode) && deviceOnly(req.GrantTypes, req.RedirectURIs)
	if rec.URIs, err = d.Redirects.keep(req.RedirectURIs); err != nil && !onDevice {
		return Response{}, oauth.Errorf(oauth.InvalidRedirectURI, "the registration %s", err)
	}
	if rec.Method, err = d.authMethod(req, rec.URIs); err != nil {
		return Response{}, err
	}
	if rec.Method == AuthPrivateKey {
		rec.JWKSURI, rec.PublicKeys = req.jwksURI, req.keys
	}
	grants, err := grantTypes(served, req.GrantTypes, req.ResponseTypes, rec.Method == "" && !d.RefreshOff)
	if onDevice {
		grants, err = keepGrants(served, req.GrantTypes)[1:], nil
	}
	if err != nil {
		return Response{}, oauth.Errorf(oauth.InvalidClientMetadata, "the registration %s", err)
	}
	rec.setGrants(grants)
	rec.Name = clipName(rec.Name)
	if req.ApplicationType != "" && req.ApplicationType != "web" && req.ApplicationType != "native" {
		return Response{}, oauth.Errorf(oauth.InvalidClientMetadata, "application_type must be web or native")
	}
	if _, err := oauth.ParseScopes(req.Scope); err != nil {
		return Response{}, oauth.Errorf(oauth.InvalidClientMetadata, "scope is malformed")
	}
	rec.DPoPBound = req.DPoPBound && host.BindsTokens()
	rec.PushedOnly = req.PushedOnly && d.Pushed
	id := rec.encode()
	if len(id) > maxDynamicIDBytes {
		what := "redirect_uris and client_name"
		if len(rec.PublicKeys) > 0 {
			what = "jwks, redirect_uris and client_name" // keys are part of the id
		}
		return Response{}, oauth.Errorf(oauth.InvalidClientMetadata, "%s are too long together; use fewer or shorter ones, or jwks_uri", what)
	}
	client := d.client(host, id, rec)
	resp := Response{
		ClientID: id, ClientIDIssuedAt: rec.IssuedAt, RedirectURIs: rec.URIs, ClientName: rec.Name,
		AuthMethod: client.AuthMethod, GrantTypes: client.GrantTypes, ResponseTypes: responseTypes(client),
		ApplicationType: applicationType(req.ApplicationType, rec.URIs), Scope: req.Scope, JWKSURI: rec.JWKSURI, DPoPBound: rec.DPoPBound, PushedOnly: rec.PushedOnly,
	}
	if len(rec.PublicKeys) > 0 {
		resp.JWKS = &jose.JSONWebKeySet{Keys: rec.PublicKeys}
	}
	if isSecretMethod(client.AuthMethod) {
		if resp.ClientSecret, err = d.secret(id); err != nil {
			return Response{}, err
		}
		resp.ClientSecretExpiresAt = new(int64) // RFC 7591, section 3.2.1: 0 is never
	}
	return resp, nil
}

func isSecretMethod(m string) bool { return m == AuthSecretBasic || m == AuthSecretPost }

// needSecret are the beginnings of redirect URIs of clients that register with "none" and
// then fail without a secret. A secret that is made here is harmless: it is worth nothing
// unless the code goes to the same place.
var needSecret = []string{"https://www.perplexity.ai/", "https://perplexity.ai/"}

// authMethod returns the authentication method as it is recorded. A client that names
// none becomes a public one, as nearly all MCP clients are, and the response says so: the
// server may replace what was asked for (RFC 7591, section 3.2.1).
func (d *Dynamic) authMethod(req Request, uris []string) (string, error) {
	switch req.AuthMethod {
	case "", AuthNone:
		for _, prefix := range needSecret {
			if len(uris) > 0 && !slices.ContainsFunc(uris, func(u string) bool { return !strings.HasPrefix(u, prefix) }) {
				return AuthSecretPost, nil
			}
		}
		return "", nil
	case AuthSecretBasic, AuthSecretPost:
		return req.AuthMethod, nil
	case AuthPrivateKey:
		if req.jwksURI == "" && len(req.keys) == 0 {
			return "", oauth.Errorf(oauth.InvalidClientMetadata, "private_key_jwt needs jwks or jwks_uri")
		}
		return AuthPrivateKey, nil
	}
	return "", oauth.Errorf(oauth.InvalidClientMetadata, "token_endpoint_auth_method must be one of %s", strings.Join(AuthMethods, ", "))
}

// grantTypes returns the grants that a client gets, among those that are served. A public
// client that names none (asked is nil) gets refresh_token too. The default of RFC 7591,
// section 2, is authorization_code alone, and would make people sign in each time an
// access token expires; section 3.2.1 lets the server choose.
func grantTypes(served, asked, responses []string, public bool) ([]string, error) {
	if len(asked) > 0 && !slices.Contains(asked, authorizationCode) {
		return nil, errors.New("has grant_types without authorization_code")
	}
	if len(responses) > 0 && !slices.Contains(responses, "code") {
		return nil, errors.New("has response_types without code")
	}
	if asked == nil && public {
		asked = []string{refreshToken}
	}
	return keepGrants(served, asked), nil
}

// keepGrants returns authorization_code, and those of asked that are served.
func keepGrants(served, asked []string) []string {
	kept := []string{authorizationCode}
	for _, g := range served {
		if g != authorizationCode && slices.Contains(asked, g) {
			kept = append(kept, g)
		}
	}
	return kept
}

func (r *record) setGrants(grants []string) {
	for _, g := range grants {
		switch g {
		case authorizationCode: // every client has it
		case refreshToken:
			r.Refresh = true
		default:
			r.Grants = append(r.Grants, g)
		}
	}
}

func (r *record) grants() []string {
	if r.Refresh {
		return append([]string{refreshToken}, r.Grants...)
	}
	return r.Grants
}

// applicationType returns "native" if a redirect URI leads to the person's own computer,
// whatever the client says (OpenID Connect Registration, section 2); else what it says,
// or "web". Cursor says nothing and registers all three kinds of redirect URIs.
func applicationType(said string, uris []string) string {
	for _, u := range uris {
		if kind, err := oauth.ClassifyRedirectURI(u); err != nil || kind != oauth.RedirectHTTPS {
			return "native"
		}
	}
	return cmp.Or(said, "web")
}

// Client returns the client with an id that Dynamic issued for host. The error wraps
// ErrUnknown.
func (d *Dynamic) Client(host *resource.Host, id string) (*Client, error) {
	rec, err := decodeRecord(id)
	if err != nil {
		return nil, fmt.Errorf("%w: its id was cut or changed, or is of a later version", ErrUnknown)
	}
	if rec.Host != hostHash(host) {
		return nil, fmt.Errorf("%w: it registered at another host, or this host had another name then", ErrUnknown)
	}
	// The policy may have changed since the client registered, and anyone can write an id.
	onDevice := slices.Contains(d.served(host), deviceCode) && deviceOnly(rec.grants(), rec.URIs)
	if rec.URIs, err = d.Redirects.keep(rec.URIs); err != nil && !onDevice {
		return nil, fmt.Errorf("%w: the registration %w", ErrUnknown, err)
	}
	if err := d.checkMethod(&rec); err != nil {
		return nil, fmt.Errorf("%w: the registration %w", ErrUnknown, err)
	}
	return d.client(host, id, rec), nil
}

// served returns those of d.Grants that host has.
func (d *Dynamic) served(host *resource.Host) []string {
	if host.SignsInDevices() {
		return d.Grants
	}
	return slices.DeleteFunc(slices.Clone(d.Grants), func(g string) bool { return g == deviceCode })
}

// deviceOnly reports whether a client is only for devices without a browser, and so needs
// no redirect URI (RFC 7591, section 2).
func deviceOnly(grants, uris []string) bool {
	return len(uris) == 0 && slices.Contains(grants, deviceCode) && !slices.Contains(grants, authorizationCode)
}

// responseTypes returns "code" for a client that can use /authorize, else nothing.
func responseTypes(c *Client) []string {
	if len(c.RedirectURIs) == 0 {
		return []string{}
	}
	return []string{"code"}
}

// checkMethod checks what an id says about authentication, as Register would.
func (d *Dynamic) checkMethod(rec *record) error {
	switch rec.Method {
	case "", AuthSecretBasic, AuthSecretPost:
		if rec.JWKSURI != "" || len(rec.PublicKeys) > 0 {
			return errors.New("has keys without a use")
		}
		return nil
	case AuthPrivateKey:
	default:
		return errors.New("has an unknown authentication method")
	}
	if rec.JWKSURI != "" {
		if len(rec.PublicKeys) > 0 || d.KeySets == nil {
			return errors.New("has a jwks_uri that cannot be used")
		}
		return d.KeySets.urls.check(rec.JWKSURI)
	}
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: rec.PublicKeys})
	if err != nil {
		return err
	}
	rec.PublicKeys, err = parseKeySet(set)
	return err
}

func (d *Dynamic) client(host *resource.Host, id string, rec record) *Client {
	grants := keepGrants(d.served(host), rec.grants())
	if len(rec.URIs) == 0 {
		grants = grants[1:] // without a redirect URI it cannot use authorization_code
	}
	return &Client{
		ID: id, Name: rec.Name, RedirectURIs: rec.URIs, AuthMethod: cmp.Or(rec.Method, AuthNone), GrantTypes: grants,
		Trusted: d.Redirects.trusted(rec.URIs), DPoPBound: rec.DPoPBound, PushedOnly: rec.PushedOnly, keys: rec.PublicKeys, jwksURI: rec.JWKSURI,
	}
}

// secret derives the client's secret from its id: 256 bits, which are not stored.
func (d *Dynamic) secret(id string) (string, error) {
	b, err := d.Keys.Derive(secretLabel+id, 32)
	return base64.RawURLEncoding.EncodeToString(b), err
}

// CheckSecret reports whether secret is the client's, in constant time. It tries every
// seed, so that clients keep their secrets while seeds are rotated.
func (d *Dynamic) CheckSecret(id, secret string) bool {
	all, err := d.Keys.DeriveAll(secretLabel+id, 32)
	if err != nil {
		return false
	}
	found := 0
	for _, want := range all {
		found |= subtle.ConstantTimeCompare([]byte(base64.RawURLEncoding.EncodeToString(want)), []byte(secret))
	}
	return found == 1
}

const secretLabel = "client secret "

func isDynamicID(id string) bool { return strings.HasPrefix(id, idPrefix) }

func hostHash(host *resource.Host) string {
	sum := sha256.Sum256([]byte(host.Issuer))
	return base64.RawURLEncoding.EncodeToString(sum[:6])
}

// dictionary shortens the compressed ids. It belongs to the format "dcr1" and must never
// change.
const dictionary = `"https://vscode.dev/redirect","https://insiders.vscode.dev/redirect","https://chatgpt.com/connector/oauth/"` +
	`"https://www.cursor.com/agents/mcp/oauth/callback","cursor://anysphere.cursor-mcp/oauth/callback"` +
	`"https://claude.ai/api/mcp/auth_callback","https://claude.com/api/mcp/auth_callback"],"n":"Claude` +
	`client_secret_post client_secret_basic"http://localhost/oauth/callback"http://[::1]:` +
	`"http://127.0.0.1/callback","http://localhost:6274/oauth/callback/debug","http://localhost:` +
	`/callback"],"n":"","m":"client_secret_","f":true}{"h":"","t":17,"r":"","u":["https://`

// compressors are shared because each needs much memory, and anyone can register.
var compressors = sync.Pool{New: func() any {
	w, err := flate.NewWriterDict(io.Discard, flate.BestCompression, []byte(dictionary))
	if err != nil {
		panic("internal error: " + err.Error()) // the level is a constant
	}
	return w
}}

func (r record) encode() string {
	plain, err := json.Marshal(r)
	if err != nil {
		panic("internal error: " + err.Error()) // strings, numbers and bytes only
	}
	var b bytes.Buffer
	w := compressors.Get().(*flate.Writer)
	defer compressors.Put(w)
	w.Reset(&b)
	w.Write(plain)
	w.Close()
	return idPrefix + base64.RawURLEncoding.EncodeToString(b.Bytes())
}

func decodeRecord(id string) (record, error) {
	var rec record
	packed, ok := strings.CutPrefix(id, idPrefix)
	if !ok || len(id) > maxDynamicIDBytes {
		return rec, ErrUnknown
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(packed)
	if err != nil || base64.RawURLEncoding.EncodedLen(len(raw)) != len(packed) {
		return rec, ErrUnknown
	}
	packedBytes := bytes.NewReader(raw)
	plain, err := io.ReadAll(io.LimitReader(flate.NewReaderDict(packedBytes, []byte(dictionary)), MaxBodyBytes))
	if err != nil || packedBytes.Len() > 0 {
		return rec, ErrUnknown
	}
	dec := json.NewDecoder(bytes.NewReader(plain))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&rec); err != nil || dec.InputOffset() != int64(len(plain)) {
		return rec, ErrUnknown
	}
	// An id need not come from Register: anyone can write one.
	if utf8.RuneCountInString(rec.Name) > maxNameRunes {
		return rec, ErrUnknown
	}
	return rec, nil
}

// App returns the same value for all ids that a client got by registering again with the
// same metadata: that metadata. For a client with a secret or keys, and for every client
// that did not register itself, it returns the id. An id proves nothing but what it says,
// so App identifies a client as well as its id does.
func App(id string) string {
	rec, err := decodeRecord(id)
	if err != nil || rec.Method != "" {
		return id
	}
	rec.IssuedAt, rec.Nonce = 0, nil
	words, err := json.Marshal(rec)
	if err != nil {
		panic("internal error: " + err.Error()) // it was read from JSON
	}
	return string(words)
}

// parseRequest reads a registration request. Go's decoder accepts member names in any
// case, which a security decision must not depend on, so the names are checked first.
func (d *Dynamic) parseRequest(body []byte) (Request, error) {
	var req Request
	bad := func(err error) (Request, error) {
		return Request{}, oauth.Errorf(oauth.InvalidClientMetadata, "the body %s", printable(err))
	}
	members, err := objectMembers(body)
	if err != nil {
		return bad(err)
	}
	for _, m := range []struct {
		name string
		into any
	}{
		{"redirect_uris", &req.RedirectURIs}, {"client_name", &req.ClientName}, {"token_endpoint_auth_method", &req.AuthMethod},
		{"grant_types", &req.GrantTypes}, {"response_types", &req.ResponseTypes}, {"application_type", &req.ApplicationType}, {"scope", &req.Scope},
		{"dpop_bound_access_tokens", &req.DPoPBound}, {"require_pushed_authorization_requests", &req.PushedOnly},
	} {
		if err := member(members, m.name, m.into); err != nil {
			return bad(err)
		}
	}
	if req.ClientName == "" {
		req.ClientName = taggedName(members)
	}
	if present(members, "jwks") && present(members, "jwks_uri") {
		return bad(errors.New("has both jwks and jwks_uri"))
	}
	if req.AuthMethod != AuthPrivateKey {
		return req, nil // keys without a use are ignored, as other members are
	}
	if req.keys, req.jwksURI, err = clientKeys(members, d.KeySets); err != nil {
		return bad(err)
	}
	return req, nil
}

// taggedName returns a client_name with a language tag (RFC 7591, section 2.2), for
// clients that have no plain one: the English one, or else the first by its tag.
func taggedName(members map[string]json.RawMessage) string {
	const prefix = "client_name#"
	var tags []string
	for name := range members {
		if strings.HasPrefix(name, prefix) {
			tags = append(tags, name)
		}
	}
	slices.SortFunc(tags, func(a, b string) int {
		english := func(s string) int { return strings.Index("en", s[len(prefix):min(len(s), len(prefix)+2)]) }
		return cmp.Or(-cmp.Compare(english(a), english(b)), cmp.Compare(a, b))
	})
	for _, tag := range tags {
		var name string
		if json.Unmarshal(members[tag], &name) == nil && name != "" {
			return name
		}
	}
	return ""
}

// printable replaces characters that error_description may not have (RFC 6749, section
// 5.2).
func printable(err error) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e || r == '"' || r == '\\' {
			return '\''
		}
		return r
	}, err.Error())
}
