// Package registration knows clients: who they say they are, where their codes
// may go, and how they prove themselves. There are three kinds. The operator
// wrote some into the configuration. Some have the URL of a metadata document
// for an id; it is fetched, and kept for a while. The rest registered here, and
// such a client is its client id: the id carries the metadata, so nothing is
// stored, and it survives restarts, replicas and key rotation.
package registration

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// Client authentication methods (RFC 7591, section 2).
const (
	AuthNone         = "none"
	AuthSecretBasic  = "client_secret_basic"
	AuthSecretPost   = "client_secret_post"
	AuthPrivateKey   = "private_key_jwt"
	maxClientIDBytes = 2 << 10
)

// AuthMethods lists the methods that work at the token endpoint.
var AuthMethods = []string{AuthNone, AuthSecretBasic, AuthSecretPost, AuthPrivateKey}

// Client is a client as the endpoints see it.
type Client struct {
	ID           string
	Name         string // as it calls itself; not trustworthy, not yet safe to show
	RedirectURIs []string
	AuthMethod   string
	GrantTypes   []string
	// VouchedBy is the host that vouches for the client, "" if it only registered itself.
	VouchedBy string
	// Trusted: the operator vouches for where its redirect URIs lead, so that
	// an error may be sent there without asking (RFC 9700, section 4.11.2).
	Trusted bool
	// PreRegistered: the operator wrote the client down, so its grant types are
	// a limit and not a wish.
	PreRegistered bool
	// Scopes and Resources (canonical URIs) are all that the client may have;
	// empty means no limit of its own.
	Scopes    oauth.Scopes
	Resources []string

	// DPoPBound: the client wants access tokens that are bound to its key, and no
	// others (RFC 9449, section 5.2).
	DPoPBound bool

	// PushedOnly: the client wants no authorization requests but pushed ones (RFC
	// 9126, section 6).
	PushedOnly bool

	// For private_key_jwt, one of the two, see Clients.Keys.
	keys    []jose.JSONWebKey
	jwksURI string
}

// Kind returns one of config's kinds of clients.
func (c *Client) Kind() string {
	switch {
	case c.PreRegistered:
		return rule.KindStatic
	case c.VouchedBy != "":
		return rule.KindDocument
	}
	return rule.KindDynamic
}

// Key returns a short fixed-size name for the client that is as unique as its id.
func (c *Client) Key() string { return oauth.ClientKey(c.ID) }

// ShortID is the client id, cut for logs.
func (c *Client) ShortID() string { return oauth.ShortClientID(c.ID) }

// MayUse reports whether the client registered this grant type.
func (c *Client) MayUse(grantType string) bool {
	return slices.Contains(c.GrantTypes, grantType)
}

// MayReach reports whether the client may have tokens for this resource.
func (c *Client) MayReach(resourceURI string) bool {
	return len(c.Resources) == 0 || slices.Contains(c.Resources, resourceURI)
}

// Narrow returns those of scopes that the client may have.
func (c *Client) Narrow(scopes oauth.Scopes) oauth.Scopes {
	if len(c.Scopes) == 0 {
		return scopes
	}
	return scopes.Intersect(c.Scopes)
}

// LoopbackOnly reports whether every redirect URI leads to the user's own computer.
func (c *Client) LoopbackOnly() bool {
	for _, u := range c.RedirectURIs {
		if k, err := oauth.ClassifyRedirectURI(u); err != nil || k != oauth.RedirectLoopback {
			return false
		}
	}
	return len(c.RedirectURIs) > 0
}

// ErrUnknown: no such client at this host.
var ErrUnknown = errors.New("unknown client")

// Clients finds clients by id. What is nil is off.
type Clients struct {
	Static    *Static
	Documents *Documents
	Dynamic   *Dynamic
	KeySets   *KeySets
}

// Client returns the client with this id at host. Errors wrap ErrUnknown or
// ErrUnavailable. The operator's word comes first, even for an id that looks
// like one of the other kinds.
func (c *Clients) Client(ctx context.Context, host *resource.Host, id string) (*Client, error) {
	if id == "" || len(id) > maxClientIDBytes {
		return nil, fmt.Errorf("%w: its id has %d bytes, of at most %d", ErrUnknown, len(id), maxClientIDBytes)
	}
	if client := c.Static.Client(id); client != nil {
		return client, nil
	}
	if c.Documents != nil && c.Documents.IsDocumentURL(id) {
		return c.Documents.Client(ctx, id)
	}
	switch dynamic := strings.HasPrefix(id, idPrefix); {
	case dynamic && c.Dynamic != nil:
		return c.Dynamic.Client(host, id)
	case dynamic:
		return nil, fmt.Errorf("%w: it registered by itself, and registration.dynamic is off", ErrUnknown)
	}
	return nil, fmt.Errorf("%w: no entry of clients has the id %q", ErrUnknown, oauth.ShortClientID(id))
}

// Reaches reports whether an entry of the configuration names both the grant type
// and the resource.
func (c *Clients) Reaches(grantType, resourceURI string) bool {
	return c.Static != nil && c.Static.offers[offer{grantType, resourceURI}]
}

// CheckSecret reports whether secret is the client's, in constant time.
func (c *Clients) CheckSecret(client *Client, secret string) bool {
	if c.Static.Client(client.ID) != nil {
		return c.Static.checkSecret(client.ID, secret)
	}
	return c.Dynamic != nil && isDynamicID(client.ID) && c.Dynamic.CheckSecret(client.ID, secret)
}

// RedirectPolicy says which redirect URIs clients may have.
type RedirectPolicy struct {
	// Allowed are anchored patterns of the operator; empty admits https,
	// loopback and well-known private-use schemes.
	Allowed []*regexp.Regexp
	// Schemes of private-use URIs are admitted in addition.
	Schemes []string
}

// Check returns why a client may not have uri.
func (p RedirectPolicy) Check(uri string) error {
	kind, err := oauth.ClassifyRedirectURI(uri)
	if err != nil {
		return err
	}
	if scheme, _, _ := strings.Cut(uri, ":"); kind == oauth.RedirectPrivateUse && slices.Contains(p.Schemes, scheme) {
		return nil
	}
	if len(p.Allowed) > 0 {
		if p.Listed(uri) {
			return nil
		}
		return errors.New("is not among the redirect URLs this service allows")
	}
	if kind == oauth.RedirectPrivateUse && !oauth.WellKnownScheme(uri) {
		return errors.New("has a private scheme that is neither a reversed domain name nor that of a known MCP client")
	}
	return nil
}

// keep returns the entries of a client's list that it may have. One that it may
// not have does not cost a client its registration (AS-DCR-09), because clients
// of several platforms list them all; a list of nothing else does.
func (p RedirectPolicy) keep(uris []string) ([]string, error) {
	if len(uris) == 0 {
		return nil, errors.New("has no redirect_uris")
	}
	if len(uris) > maxRedirectURIs {
		return nil, fmt.Errorf("has more than %d redirect_uris", maxRedirectURIs)
	}
	var kept []string
	var why error
	for _, u := range uris {
		if err := p.Check(u); err != nil {
			why = err
		} else if !slices.Contains(kept, u) {
			kept = append(kept, u)
		}
	}
	if len(kept) == 0 {
		return nil, fmt.Errorf("has no entry in redirect_uris that can be used; the last one %w", why)
	}
	return kept, nil
}

// Listed reports whether the operator's list names uri.
func (p RedirectPolicy) Listed(uri string) bool {
	// "http://localhost/cb" stands for every port, so patterns see it as registered.
	for _, re := range p.Allowed {
		if re.MatchString(uri) {
			return true
		}
	}
	return false
}

// trusted reports whether the operator named every one of uris.
func (p RedirectPolicy) trusted(uris []string) bool {
	for _, u := range uris {
		if !p.Listed(u) {
			return false
		}
	}
	return len(p.Allowed) > 0 && len(uris) > 0
}
