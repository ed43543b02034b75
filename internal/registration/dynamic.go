package registration

import (
	"bytes"
	"compress/flate"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
)

// Bounds on a registration (AS-DCR-14).
const (
	MaxBodyBytes    = 16 << 10
	maxRedirectURIs = 20
	maxNameRunes    = 200
	// An id travels in every access token (RFC 9068 wants client_id), and a
	// token must fit a header.
	maxDynamicIDBytes = 1000
)

// Request is what we read of RFC 7591 client metadata; the rest is ignored, as
// section 2 asks.
type Request struct {
	RedirectURIs    []string `json:"redirect_uris"`
	ClientName      string   `json:"client_name"`
	AuthMethod      string   `json:"token_endpoint_auth_method"`
	GrantTypes      []string `json:"grant_types"`
	ResponseTypes   []string `json:"response_types"`
	ApplicationType string   `json:"application_type"`
	Scope           string   `json:"scope"`
}

// Response is the registration response of RFC 7591, section 3.2.1.
type Response struct {
	ClientID              string   `json:"client_id"`
	ClientIDIssuedAt      int64    `json:"client_id_issued_at"`
	ClientSecret          string   `json:"client_secret,omitempty"`
	ClientSecretExpiresAt *int64   `json:"client_secret_expires_at,omitempty"`
	RedirectURIs          []string `json:"redirect_uris"`
	ClientName            string   `json:"client_name,omitempty"`
	AuthMethod            string   `json:"token_endpoint_auth_method"`
	GrantTypes            []string `json:"grant_types"`
	ResponseTypes         []string `json:"response_types"`
	ApplicationType       string   `json:"application_type,omitempty"`
	Scope                 string   `json:"scope,omitempty"`
}

// Dynamic registers clients and recognises them again by their id alone.
// Registration is open to everybody, so the id needs no signature: whoever
// forges one could as well have registered it. What it says is checked again
// each time it is used.
type Dynamic struct {
	Redirects RedirectPolicy
	Keys      *seal.Keyring // for client secrets
	Now       func() time.Time
}

// record is what an id carries. Names are short because the id travels in URLs.
type record struct {
	Host     string   `json:"h"` // hash of the issuer (AS-DCR-17)
	IssuedAt int64    `json:"t"`
	Nonce    []byte   `json:"r"`
	URIs     []string `json:"u"`
	Name     string   `json:"n,omitempty"`
	Method   string   `json:"m,omitempty"` // "" is none
	Refresh  bool     `json:"f,omitempty"`
}

const idPrefix = "dcr1."

var supportedGrants = []string{"authorization_code", "refresh_token"}

// Register validates req and returns the client's registration at host.
func (d *Dynamic) Register(host *resource.Host, req Request) (Response, error) {
	rec := record{Host: hostHash(host), IssuedAt: d.Now().Unix(), Nonce: make([]byte, 6), Name: req.ClientName}
	rand.Read(rec.Nonce)
	var err error
	if rec.URIs, err = d.redirectURIs(req.RedirectURIs); err != nil {
		return Response{}, err
	}
	if rec.Method, err = authMethod(req.AuthMethod); err != nil {
		return Response{}, err
	}
	if rec.Refresh, err = grantTypes(req); err != nil {
		return Response{}, err
	}
	if n := []rune(rec.Name); len(n) > maxNameRunes {
		rec.Name = string(n[:maxNameRunes])
	}
	if req.ApplicationType != "" && req.ApplicationType != "web" && req.ApplicationType != "native" {
		return Response{}, oauth.Errorf(oauth.InvalidClientMetadata, "application_type must be web or native")
	}
	if _, err := oauth.ParseScopes(req.Scope); err != nil {
		return Response{}, oauth.Errorf(oauth.InvalidClientMetadata, "scope is malformed")
	}
	id := rec.encode()
	if len(id) > maxDynamicIDBytes {
		return Response{}, oauth.Errorf(oauth.InvalidClientMetadata, "redirect_uris and client_name are too long together")
	}
	client := d.client(id, rec)
	resp := Response{
		ClientID: id, ClientIDIssuedAt: rec.IssuedAt, RedirectURIs: rec.URIs, ClientName: rec.Name,
		AuthMethod: client.AuthMethod, GrantTypes: client.GrantTypes, ResponseTypes: []string{"code"},
		ApplicationType: req.ApplicationType, Scope: req.Scope,
	}
	if client.AuthMethod != AuthNone {
		if resp.ClientSecret, err = d.secret(id); err != nil {
			return Response{}, err
		}
		resp.ClientSecretExpiresAt = new(int64) // RFC 7591, section 3.2.1: 0 is never
	}
	return resp, nil
}

// redirectURIs keeps the entries that policy admits. One bad entry does not
// cost a client its registration (AS-DCR-09), but an unsafe or unusable list does.
func (d *Dynamic) redirectURIs(uris []string) ([]string, error) {
	if len(uris) == 0 {
		return nil, oauth.Errorf(oauth.InvalidRedirectURI, "redirect_uris must have at least one entry")
	}
	if len(uris) > maxRedirectURIs {
		return nil, oauth.Errorf(oauth.InvalidRedirectURI, "redirect_uris has more than %d entries", maxRedirectURIs)
	}
	var kept []string
	var why error
	for _, u := range uris {
		if err := d.Redirects.Check(u); err != nil {
			why = err
		} else if !slices.Contains(kept, u) {
			kept = append(kept, u)
		}
	}
	if len(kept) == 0 {
		return nil, &oauth.Error{Code: oauth.InvalidRedirectURI, Description: "no entry of redirect_uris can be used; the last one " + why.Error()}
	}
	return kept, nil
}

// authMethod returns the recorded form of a method. Nearly all MCP clients are
// public; one that says nothing becomes one, and the response says so (RFC 7591,
// section 3.2.1, lets the server substitute values).
func authMethod(m string) (string, error) {
	switch m {
	case "", AuthNone:
		return "", nil
	case AuthSecretBasic, AuthSecretPost:
		return m, nil
	}
	return "", oauth.Errorf(oauth.InvalidClientMetadata, "token_endpoint_auth_method must be one of %s", strings.Join(AuthMethods, ", "))
}

// grantTypes drops what we do not do and reports whether refresh is asked for.
func grantTypes(req Request) (refresh bool, err error) {
	if len(req.GrantTypes) > 0 && !slices.Contains(req.GrantTypes, "authorization_code") {
		return false, oauth.Errorf(oauth.InvalidClientMetadata, "grant_types must include authorization_code")
	}
	if len(req.ResponseTypes) > 0 && !slices.Contains(req.ResponseTypes, "code") {
		return false, oauth.Errorf(oauth.InvalidClientMetadata, "response_types must include code")
	}
	return slices.Contains(req.GrantTypes, "refresh_token"), nil
}

// Client recognises an id of ours at host.
func (d *Dynamic) Client(host *resource.Host, id string) (*Client, error) {
	rec, err := decodeRecord(id)
	if err != nil || rec.Host != hostHash(host) {
		return nil, ErrUnknown
	}
	// Policy may have changed since the client registered, or the id may be forged.
	uris, err := d.redirectURIs(rec.URIs)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	if _, err := authMethod(rec.Method); err != nil {
		return nil, ErrUnknown
	}
	rec.URIs = uris
	return d.client(id, rec), nil
}

func (d *Dynamic) client(id string, rec record) *Client {
	c := &Client{ID: id, Name: rec.Name, RedirectURIs: rec.URIs, AuthMethod: rec.Method, GrantTypes: supportedGrants[:1], Trusted: d.Redirects.trusted(rec.URIs)}
	if c.AuthMethod == "" {
		c.AuthMethod = AuthNone
	}
	if rec.Refresh {
		c.GrantTypes = supportedGrants
	}
	return c
}

// secret derives the client's secret from its id: 256 bits that need no storage.
func (d *Dynamic) secret(id string) (string, error) {
	b, err := d.Keys.Derive(secretLabel+id, 32)
	return base64.RawURLEncoding.EncodeToString(b), err
}

// CheckSecret compares in constant time. Secrets derived from any root of the
// keyring count, so that a replaced seed ends no client.
func (d *Dynamic) CheckSecret(id, secret string) bool {
	derived, err := d.Keys.DeriveAll(secretLabel+id, 32)
	if err != nil {
		return false
	}
	match := 0
	for _, want := range derived {
		match |= subtle.ConstantTimeCompare([]byte(base64.RawURLEncoding.EncodeToString(want)), []byte(secret))
	}
	return match == 1
}

const secretLabel = "client secret "

func hostHash(host *resource.Host) string {
	sum := sha256.Sum256([]byte(host.Issuer))
	return base64.RawURLEncoding.EncodeToString(sum[:6])
}

// dictionary shortens ids; it is part of the format "dcr1" and must never change.
const dictionary = `"https://vscode.dev/redirect","https://insiders.vscode.dev/redirect","https://chatgpt.com/connector/oauth/"` +
	`"https://www.cursor.com/agents/mcp/oauth/callback","cursor://anysphere.cursor-mcp/oauth/callback"` +
	`"https://claude.ai/api/mcp/auth_callback","https://claude.com/api/mcp/auth_callback"],"n":"Claude` +
	`client_secret_post client_secret_basic"http://localhost/oauth/callback"http://[::1]:` +
	`"http://127.0.0.1/callback","http://localhost:6274/oauth/callback/debug","http://localhost:` +
	`/callback"],"n":"","m":"client_secret_","f":true}{"h":"","t":17,"r":"","u":["https://`

func (r record) encode() string {
	plain, err := json.Marshal(r)
	if err != nil {
		panic("internal error: " + err.Error()) // strings, numbers and bytes only
	}
	var b bytes.Buffer
	w, err := flate.NewWriterDict(&b, flate.BestCompression, []byte(dictionary))
	if err != nil {
		panic("internal error: " + err.Error()) // the level is a constant
	}
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
	// An id need not come from Register: anybody can write one.
	if utf8.RuneCountInString(rec.Name) > maxNameRunes {
		return rec, ErrUnknown
	}
	return rec, nil
}

// ParseRequest reads a registration request. Go's decoder takes member names in
// any case; a security decision must not, so names are checked first.
func ParseRequest(body []byte) (Request, error) {
	var req Request
	bad := func(text string) (Request, error) {
		return Request{}, oauth.Errorf(oauth.InvalidClientMetadata, "%s", text)
	}
	members, err := objectMembers(body)
	if err != nil {
		return bad("the body is not one JSON object without repeated members")
	}
	fields := []struct {
		name string
		into any
	}{
		{"redirect_uris", &req.RedirectURIs}, {"client_name", &req.ClientName}, {"token_endpoint_auth_method", &req.AuthMethod},
		{"grant_types", &req.GrantTypes}, {"response_types", &req.ResponseTypes}, {"application_type", &req.ApplicationType}, {"scope", &req.Scope},
	}
	for _, f := range fields {
		raw, ok := members[f.name]
		if !ok || string(raw) == "null" {
			continue
		}
		if err := json.Unmarshal(raw, f.into); err != nil {
			return bad(f.name + " has the wrong type")
		}
	}
	return req, nil
}

// objectMembers splits a JSON object into its members, refusing repeated names,
// trailing data and anything that is not an object (RFC 8259, section 4).
func objectMembers(body []byte) (map[string]json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("not an object")
	}
	out := map[string]json.RawMessage{}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, err
		}
		name := t.(string)
		if _, dup := out[name]; dup {
			return nil, fmt.Errorf("repeated member")
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return nil, err
		}
		out[name] = raw
	}
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("trailing data")
	}
	return out, nil
}
