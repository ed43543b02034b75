package registration

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
)

// Static knows the clients of the configuration. A nil Static knows none.
type Static struct {
	clients map[string]*staticClient
	offers  map[offer]bool
}

// offer is a grant type and a resource that one client may use together.
type offer struct{ grantType, resource string }

type staticClient struct {
	Client
	secrets [][sha256.Size]byte // hashes of the secrets; several while they are rotated
}

// NewStatic returns the clients of a configuration that has been checked. Redirect URIs
// must be valid, but need not follow the policy for other clients, because the operator
// wrote them. The error names every client that breaks a rule, one in each line.
func NewStatic(clients []Known, sets *KeySets) (*Static, error) {
	s := &Static{clients: map[string]*staticClient{}, offers: map[offer]bool{}}
	var problems []error
	for i, c := range clients {
		at := fmt.Sprintf("clients[%d]", i)
		if strings.HasPrefix(c.ID, idPrefix) {
			problems = append(problems, fmt.Errorf("%s.id: ids that begin with %q are made by this service", at, idPrefix))
		}
		sc := &staticClient{Client: Client{
			ID: c.ID, Name: c.Name, RedirectURIs: c.RedirectURIs, AuthMethod: c.AuthMethod, GrantTypes: c.GrantTypes,
			Scopes: oauth.Scopes(c.Scopes), Resources: c.Resources, Trusted: true, PreRegistered: true, DPoPBound: c.DPoPBound, PushedOnly: c.PushedOnly,
		}}
		for j, u := range c.RedirectURIs {
			if _, err := oauth.ClassifyRedirectURI(u); err != nil {
				problems = append(problems, fmt.Errorf("%s.redirectURIs[%d]: %q %w", at, j, u, err))
			}
		}
		for _, secret := range c.Secrets {
			sc.secrets = append(sc.secrets, sha256.Sum256([]byte(secret.Reveal())))
		}
		if err := sc.setKeys(c, sets); err != nil {
			problems = append(problems, fmt.Errorf("%s.%w", at, err))
		}
		s.clients[c.ID] = sc
		for _, g := range c.GrantTypes {
			for _, uri := range c.Resources {
				s.offers[offer{g, uri}] = true
			}
		}
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return s, nil
}

func (c *staticClient) setKeys(f Known, sets *KeySets) (err error) {
	if f.JWKSURI != "" {
		if err := sets.urls.Egress.CheckURL(f.JWKSURI); err != nil {
			return fmt.Errorf("jwksURI: %q %w", f.JWKSURI, err)
		}
		c.jwksURI = f.JWKSURI
	}
	if len(f.JWKS) > 0 {
		if c.keys, err = parseKeySet(f.JWKS); err != nil {
			return fmt.Errorf("jwksFile: the file %w", err)
		}
	}
	return nil
}

// Client returns the client with this id, or nil.
func (s *Static) Client(id string) *Client {
	if s == nil || s.clients[id] == nil {
		return nil
	}
	c := s.clients[id].Client
	c.RedirectURIs, c.GrantTypes = slices.Clone(c.RedirectURIs), slices.Clone(c.GrantTypes)
	return &c
}

func (s *Static) checkSecret(id, secret string) bool {
	got := sha256.Sum256([]byte(secret))
	found := 0
	for _, want := range s.clients[id].secrets {
		found |= subtle.ConstantTimeCompare(want[:], got[:])
	}
	return found == 1
}
