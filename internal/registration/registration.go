// Package registration knows the clients: what they call themselves, which redirect URIs
// they may use, and how they authenticate. Clients.Client finds a client by its id, in
// this order:
//
//	Static     the operator wrote the client into the configuration
//	Documents  the id is the URL of a metadata document, which is fetched and kept for a while
//	Dynamic    the client registered at Endpoint; its id contains its metadata
//
// Nothing about a dynamic client is stored. Its id is enough, so it survives restarts and
// the rotation of keys, and every replica knows it. What an id says is checked again at
// each use: the operator's policy may have changed, and anyone can write an id.
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
	Name         string // as it calls itself; not verified, and not escaped for display
	RedirectURIs []string
	AuthMethod   string
	GrantTypes   []string
	// VouchedBy is the host of the client's metadata document, "" if it has none.
	VouchedBy string
	// Trusted says that the operator vouches for the places that the redirect URIs lead
	// to, so that errors may be sent there without asking the person (RFC 9700, section
	// 4.11.2).
	Trusted bool
	// PreRegistered says that the client is in the configuration, whose grant types are
	// then a limit and not a wish of the client.
	PreRegistered bool
	// Scopes and Resources (canonical URIs) are all that the client may have; empty means
	// everything.
	Scopes    oauth.Scopes
	Resources []string

	// DPoPBound says that all access tokens of the client must be bound to its key (RFC
	// 9449, section 5.2).
	DPoPBound bool

	// PushedOnly says that all authorization requests of the client must be pushed (RFC
	// 9126, section 6).
	PushedOnly bool

	// One of these is set if the client uses private_key_jwt, see Clients.Keys.
	keys    []jose.JSONWebKey
	jwksURI string
}

// Kind returns rule.KindStatic, KindDocument or KindDynamic.
func (c *Client) Kind() string {
	switch {
	case c.PreRegistered:
		return rule.KindStatic
	case c.VouchedBy != "":
		return rule.KindDocument
	}
	return rule.KindDynamic
}

// Key returns a short name of fixed size for the client, which is as unique as its id.
func (c *Client) Key() string { return oauth.ClientKey(c.ID) }

// ShortID returns the client id, shortened for logs.
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

// LoopbackOnly reports whether every redirect URI leads to the person's own computer.
func (c *Client) LoopbackOnly() bool {
	for _, u := range c.RedirectURIs {
		if k, err := oauth.ClassifyRedirectURI(u); err != nil || k != oauth.RedirectLoopback {
			return false
		}
	}
	return len(c.RedirectURIs) > 0
}

// ErrUnknown is the error for an id that no client has at this host.
var ErrUnknown = errors.New("unknown client")

// Clients finds clients by their ids. A kind of client that is nil is not accepted.
type Clients struct {
	Static    *Static
	Documents *Documents
	Dynamic   *Dynamic
	KeySets   *KeySets
}

// Client returns the client with this id at host. The configuration comes first, even for
// an id that looks like one of another kind. Errors wrap ErrUnknown or ErrUnavailable.
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

// Reaches reports whether a client of the configuration has both this grant type and this
// resource.
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

// RedirectPolicy says which redirect URIs clients may use.
type RedirectPolicy struct {
	// Allowed are the operator's anchored patterns. If there are none, https, loopback
	// and well-known private-use schemes are allowed.
	Allowed []*regexp.Regexp
	// Schemes are private-use schemes that are allowed in addition.
	Schemes []string
}

// Check returns why a client may not use uri, nil if it may.
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

// keep returns those of a client's redirect URIs that it may use. Others are dropped
// (AS-DCR-09), because clients for several platforms register the URIs of all of them. It
// is an error if none is left.
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

// Listed reports whether the operator's patterns allow uri.
func (p RedirectPolicy) Listed(uri string) bool {
	// "http://localhost/cb" stands for every port, so patterns see it as registered.
	for _, re := range p.Allowed {
		if re.MatchString(uri) {
			return true
		}
	}
	return false
}

// trusted reports whether the operator's patterns allow all of uris.
func (p RedirectPolicy) trusted(uris []string) bool {
	for _, u := range uris {
		if !p.Listed(u) {
			return false
		}
	}
	return len(p.Allowed) > 0 && len(uris) > 0
}
