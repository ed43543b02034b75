// Package resource is the table of protected MCP servers: which resource a host
// and path belong to, and every URL that is derived from it. The table is made
// once from the configuration and never changes; lookups do not allocate. It is
// the only place that puts issuer, resource and metadata URLs together.
package resource

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
)

// WellKnown is the path prefix of protected resource metadata (RFC 9728, section 3).
const WellKnown = "/.well-known/oauth-protected-resource"

// Resource is one MCP server. Do not change its fields.
type Resource struct {
	// URI is the canonical resource identifier, the audience of its tokens.
	URI string
	// Path is "" or "/mcp".
	Path          string
	Host          *Host
	Endpoint      *url.URL
	DisplayName   string
	DefaultScopes oauth.Scopes
	// Rules say what is asked of a request beyond a valid token.
	Rules rule.Rules
	// Policy says who may do what there; nil is no policy, so that everyone may
	// ask for every scope.
	Policy []rule.Rule
	// Serving is nil where a gateway stands in front of the server.
	Serving *Serving
	// Authorities are as in Entry.
	Authorities []byte
	// Issuers are the other authorization servers whose tokens are taken, by their
	// issuer URLs.
	Issuers []string
	// ScopeNames are what scopes are called by an issuer that has other names for
	// them: by issuer, from the name here.
	ScopeNames map[string]map[string]string
	// OwnTokensOff: tokens of this service are not taken.
	OwnTokensOff bool
	// DPoP says whether tokens may or must be bound to a key of the client.
	DPoP DPoP
	// APIKeys: API keys are taken, in Authorization and, if it is not "", in the
	// header KeyHeader, a canonical name.
	APIKeys   bool
	KeyHeader string
	// DeviceGrant: devices without a browser may have people sign in for it.
	DeviceGrant bool
	// PersonalKeys: keys that people make for themselves are taken.
	PersonalKeys bool
	// Page is set for a page, and the rest of Resource is then what a page has of the
	// MCP server beside it, Beside: no credential of an MCP client opens it.
	Page   *Page
	Beside *Resource
	// ProviderToken is nil where the server gets no token of the identity provider.
	ProviderToken *ProviderToken
	// Exchange is nil where the server exchanges no tokens.
	Exchange *Exchange
	// Index is the place in the configuration.
	Index int
}

// KeysOnly reports whether API keys are all that is taken, so that no sign-in helps.
func (r *Resource) KeysOnly() bool { return r.APIKeys && r.OwnTokensOff && len(r.Issuers) == 0 }

// Server is the MCP server whose rules hold: r itself, or the one beside a page.
func (r *Resource) Server() *Resource {
	if r.Page != nil {
		return r.Beside
	}
	return r
}

// MetadataURL returns the URL of the metadata document of the resource at path,
// which the resource covers (RFC 9728, section 3.1).
func (r *Resource) MetadataURL(path string) string {
	return r.Host.Issuer + WellKnown + strings.TrimSuffix(path, "/")
}

// Servers are the issuers of the tokens that the resource takes, this service
// first.
func (r *Resource) Servers() []string {
	if r.OwnTokensOff {
		return r.Issuers
	}
	return append([]string{r.Host.Issuer}, r.Issuers...)
}

// Named returns the names by which a client asks issuer for scopes of the
// resource. Those of "" are for a client that has no token yet, and will ask the
// first of Servers.
func (r *Resource) Named(issuer string, scopes oauth.Scopes) oauth.Scopes {
	if issuer == "" && r.OwnTokensOff && len(r.Issuers) > 0 {
		issuer = r.Issuers[0]
	}
	names := r.ScopeNames[issuer]
	if names == nil {
		return scopes
	}
	out := make(oauth.Scopes, len(scopes))
	for i, s := range scopes {
		out[i] = cmp.Or(names[s], s)
	}
	return out
}

// Host is one public host: one issuer, one or more resources.
type Host struct {
	// Name is the canonical host with its port, if not the default.
	Name string
	// Issuer is scheme and host (RFC 8414, section 2): no path, no trailing slash.
	Issuer string
	// Secure is false only for plain http on loopback.
	Secure bool
	// Resources are ordered by path, longest first, and so are Pages.
	Resources []*Resource
	Pages     []*Resource
	// Account: the host has the pages where people see what they allowed.
	Account bool
}

// SignsIn reports whether people have a browser session at h.
func (h *Host) SignsIn() bool { return h.Account || len(h.Pages) > 0 }

// Serves reports whether this service relays to one of the host's servers itself.
func (h *Host) Serves() bool {
	return slices.ContainsFunc(h.Resources, func(r *Resource) bool { return r.Serving != nil })
}

// ServesAll reports whether this service relays to all of the host's servers itself.
func (h *Host) ServesAll() bool {
	return !slices.ContainsFunc(h.Resources, func(r *Resource) bool { return r.Serving == nil })
}

// NewHost returns a host without resources, such as one that is for callbacks alone.
func NewHost(host, scheme string) (*Host, error) {
	name, err := oauth.CanonicalHost(host, scheme)
	if err != nil {
		return nil, fmt.Errorf("%q %w", host, err)
	}
	return &Host{Name: name, Issuer: scheme + "://" + name, Secure: scheme == "https"}, nil
}

// Is reports whether a request with this Host header is for h.
func (h *Host) Is(header string) bool {
	scheme := "http"
	if h.Secure {
		scheme = "https"
	}
	name, err := oauth.CanonicalHost(header, scheme)
	return err == nil && name == h.Name
}

// Covering returns the resource that path belongs to: the longest whose path is
// a prefix of it on a segment border. The path is as sent, percent-encoded.
// Paths that could be read in two ways belong to nothing.
func (h *Host) Covering(path string) *Resource {
	if !oauth.PlainPath(path) {
		return nil
	}
	for _, r := range h.Resources {
		rest, ok := strings.CutPrefix(path, r.Path)
		if ok && (rest == "" || rest[0] == '/') {
			return r
		}
	}
	return nil
}

// At returns what is at path: a page or an MCP server, whichever has the longer path.
func (h *Host) At(path string) *Resource {
	r := h.Covering(path)
	if len(h.Pages) == 0 || !oauth.PlainPath(path) {
		return r
	}
	for _, p := range h.Pages {
		rest, ok := strings.CutPrefix(path, p.Path)
		if ok && (rest == "" || rest[0] == '/') && (r == nil || len(p.Path) > len(r.Path)) {
			return p
		}
	}
	return r
}

// Requested finds the resource that a client names in a resource parameter
// (RFC 8707, section 2): any spelling of a URL that one of this host's
// resources covers, or the bare origin where the host has exactly one resource.
func (h *Host) Requested(uri string) (*Resource, bool) {
	canonical, err := oauth.CanonicalResource(uri)
	if err != nil {
		return nil, false
	}
	path, ok := strings.CutPrefix(canonical, h.Issuer)
	if !ok || path != "" && path[0] != '/' {
		return nil, false
	}
	if r := h.Covering(path); r != nil {
		return r, true
	}
	if path == "" && len(h.Resources) == 1 {
		return h.Resources[0], true
	}
	return nil, false
}

// ForSignIn is Requested for a sign-in here, and for its tokens: a resource that takes
// no tokens of this service is not found.
func (h *Host) ForSignIn(uri string) (*Resource, bool) {
	r, ok := h.Requested(uri)
	return r, ok && !r.OwnTokensOff
}

// TakesOwnTokens reports whether a resource of h takes tokens of this service.
// Where none does, h is no issuer.
func (h *Host) TakesOwnTokens() bool {
	return slices.ContainsFunc(h.Resources, func(r *Resource) bool { return !r.OwnTokensOff })
}

// BindsTokens reports whether a resource of h takes tokens of this service that are
// bound to a key. Where none does, h as an issuer knows nothing of DPoP.
func (h *Host) BindsTokens() bool {
	return slices.ContainsFunc(h.Resources, func(r *Resource) bool { return !r.OwnTokensOff && r.DPoP.Accepts() })
}

// Exchanges reports whether a server of h exchanges tokens.
func (h *Host) Exchanges() bool {
	return slices.ContainsFunc(h.Resources, func(r *Resource) bool { return r.Exchange != nil })
}

// SignsInDevices reports whether devices without a browser may have people sign in for
// a resource of h.
func (h *Host) SignsInDevices() bool { return slices.ContainsFunc(h.Resources, signsInDevices) }

func signsInDevices(r *Resource) bool { return r.DeviceGrant && !r.OwnTokensOff }

// DeviceDefault returns the resource of devices that name none: the only one of the
// host that lets them sign in.
func (h *Host) DeviceDefault() (*Resource, bool) {
	var found *Resource
	for _, r := range h.Resources {
		if !signsInDevices(r) {
			continue
		}
		if found != nil {
			return nil, false
		}
		found = r
	}
	return found, found != nil
}

// Default returns the resource of requests that name none: the host's only one.
func (h *Host) Default() (*Resource, bool) {
	if len(h.Resources) == 1 {
		return h.Resources[0], true
	}
	return nil, false
}

// Table finds hosts and resources.
type Table struct {
	hosts map[string]*Host
	all   []*Resource
	pages int // how many there are
}

// HasPages reports whether some path is open to browser sessions.
func (t *Table) HasPages() bool { return t.pages > 0 }

// SignsIn reports whether people have a browser session anywhere.
func (t *Table) SignsIn() bool {
	for _, h := range t.hosts {
		if h.SignsIn() {
			return true
		}
	}
	return false
}

// NewTable builds the table. The configuration has been checked; what is left
// to find are two hosts that become one when canonical.
func NewTable(hosts []Entry) (*Table, error) {
	t := &Table{hosts: make(map[string]*Host, len(hosts))}
	for i, c := range hosts {
		fresh, err := NewHost(c.Host, c.Scheme)
		if err != nil {
			return nil, fmt.Errorf("proxy.hosts[%d].host: %w", i, err)
		}
		h := t.hosts[fresh.Name]
		if h == nil {
			h = fresh
			t.hosts[h.Name] = h
		}
		r := &Resource{
			URI: h.Issuer + c.Path, Path: c.Path, Host: h, Endpoint: c.Endpoint,
			DisplayName: cmp.Or(c.DisplayName, h.Name), DefaultScopes: c.DefaultScopes, Rules: c.Rules, Policy: c.Policy,
			Serving: c.Serving, Authorities: c.Authorities,
			Issuers: c.Issuers, ScopeNames: c.ScopeNames, OwnTokensOff: c.OwnTokensOff, APIKeys: c.APIKeys, KeyHeader: c.KeyHeader, DPoP: c.DPoP, PersonalKeys: c.PersonalKeys, DeviceGrant: c.DeviceGrant,
			ProviderToken: c.ProviderToken, Exchange: c.Exchange, Index: i,
		}
		if slices.ContainsFunc(h.Resources, func(o *Resource) bool { return o.Path == r.Path }) {
			return nil, fmt.Errorf("proxy.hosts[%d]: %s is already taken by another entry", i, r.URI)
		}
		h.Resources = append(h.Resources, r)
		h.Account = h.Account || c.Account
		t.all = append(t.all, r)
	}
	if err := t.addPages(hosts); err != nil {
		return nil, err
	}
	longest := func(a, b *Resource) int { return cmp.Compare(len(b.Path), len(a.Path)) }
	for _, h := range t.hosts {
		slices.SortFunc(h.Resources, longest)
		slices.SortFunc(h.Pages, longest)
	}
	return t, nil
}

// addPages puts the pages beside their MCP servers. No path is both.
func (t *Table) addPages(hosts []Entry) error {
	for i, c := range hosts {
		beside := t.all[i]
		h := beside.Host
		for j := range c.Pages {
			p := &c.Pages[j]
			taken := func(o *Resource) bool { return o.Path == p.Path }
			if slices.ContainsFunc(h.Resources, taken) || slices.ContainsFunc(h.Pages, taken) {
				return fmt.Errorf("proxy.hosts[%d].pages[%d]: %s%s is already taken by another page or MCP server", i, j, h.Issuer, p.Path)
			}
			h.Pages = append(h.Pages, &Resource{
				URI: h.Issuer + cmp.Or(p.Path, "/"), Path: p.Path, Host: h, Endpoint: beside.Endpoint, DisplayName: beside.DisplayName,
				Serving: beside.Serving, Authorities: beside.Authorities, Page: p, Beside: beside, Index: len(t.all) + t.pages,
			})
			t.pages++
		}
	}
	return nil
}

// Host returns the host with this Host header, nil if it is not ours. Case, a
// default port and a trailing dot do not matter; a header already in canonical
// form, the usual case, is found without allocating.
func (t *Table) Host(header string) *Host {
	if h := t.hosts[header]; h != nil {
		return h
	}
	for _, scheme := range []string{"https", "http"} {
		name, err := oauth.CanonicalHost(header, scheme)
		if err != nil {
			return nil
		}
		if h := t.hosts[name]; h != nil && h.Secure == (scheme == "https") {
			return h
		}
	}
	return nil
}

// Named returns the MCP server with this URI, in its canonical form, nil for none.
func (t *Table) Named(uri string) *Resource {
	for _, r := range t.all {
		if r.URI == uri {
			return r
		}
	}
	return nil
}

// All returns every resource, in the order of the configuration.
func (t *Table) All() []*Resource { return t.all }
