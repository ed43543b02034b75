// Package kuadrant makes the header by which Kuadrant's MCP gateway filters lists:
// X-Mcp-Authorized, a token for its broker that names what one request may see. With the
// key anything could be shown, so it stays here; a token lives for a few minutes, says nothing
// of a person, and what it does not name is not shown.
package kuadrant

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/clientauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

// Header is the header's name, in canonical form.
const Header = "X-Mcp-Authorized"

// Nothing is a value that the gateway takes for nothing at all.
const Nothing = "-"

const (
	// lifetime of a token. It is replaced when half of it is over.
	lifetime = 5 * time.Minute
	// maxBytes bounds a token: Envoy takes 60 KiB of headers in all.
	maxBytes = 32 << 10
	// maxRemembered bounds how many different tokens are remembered.
	maxRemembered = 256
)

// File is the `proxy.hosts[].kuadrant` section.
type File struct {
	// File with the private key that signs the header x-mcp-authorized, in PEM, for P-256; the public key is the trustedHeadersKey of Kuadrant's MCP gateway. Default: none, and no such header.
	SigningKeyFile string `json:"signingKeyFile"`
	// The MCP servers behind Kuadrant's MCP gateway, which this service sees as one.
	Servers []Server `json:"servers" max:"100"`
}

// Server is one entry of `proxy.hosts[].kuadrant.servers`.
type Server struct {
	// Name of the server at the gateway: namespace and name of its MCPServerRegistration, such as "team/notes". Required.
	Name string `json:"name" check:"text"`
	// Prefix that the gateway adds to the names of its tools and prompts. Default: nothing.
	Prefix string `json:"prefix" check:"text"`
}

// Settings are what a Signer is made of; the zero value is none.
type Settings struct {
	key     clientauth.Key
	servers []Server
}

// On reports whether there is a key to sign with.
func (s Settings) On() bool { return !s.key.IsZero() }

// Resolve checks the section.
func (f *File) Resolve(c conf.Section) (s Settings) {
	servers := c.Key("servers")
	if f.SigningKeyFile == "" {
		if len(f.Servers) > 0 {
			c.Add(servers, "has no effect without %s", c.Key("signingKeyFile"))
		}
		return s
	}
	if len(f.Servers) == 0 {
		c.Add(servers, "is required with %s", c.Key("signingKeyFile"))
	}
	for i, server := range f.Servers {
		if server.Name == "" {
			c.Add(conf.Element(servers, i)+".name", "is required")
		}
		if slices.ContainsFunc(f.Servers[:i], func(o Server) bool { return o.Name == server.Name }) {
			c.Add(conf.Element(servers, i)+".name", "%s is listed twice", conf.Show(server.Name))
		}
	}
	content, ok := c.SecretFile(c.Key("signingKeyFile"), f.SigningKeyFile)
	if !ok {
		return s
	}
	key, err := clientauth.ParseKey([]byte(content))
	if err != nil {
		c.Add(c.Key("signingKeyFile"), "%s", err.Error())
		return s
	}
	private, ok := key.Signer().(*ecdsa.PrivateKey)
	if !ok || private.Curve != elliptic.P256() {
		c.Add(c.Key("signingKeyFile"), "the key must be one for P-256, because the gateway takes ES256 alone")
		return s
	}
	return Settings{clientauth.NewKey(private, "ES256", key.ID), f.Servers}
}

// Shown is what lists may show. A list without bounds is All.
type Shown struct {
	Tools, Prompts                     []string
	AllTools, AllPrompts, AllResources bool
}

// Signer makes the header's values for one MCP server, as this service sees it.
type Signer struct {
	Settings
	Issuer string
	Log    *slog.Logger
	Now    func() time.Time

	mu   sync.Mutex
	last map[any]*made
}

// made is a value that was made before.
type made struct {
	value string
	renew time.Time
}

// Value is the header's value for those who see what shown says. of is comparable,
// and equal ones see the same; shown is asked where there is no value yet. It is Nothing
// where no token can be made.
func (s *Signer) Value(of any, shown func() Shown) string {
	now := s.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.last[of]; m != nil && now.Before(m.renew) {
		return m.value
	}
	value, err := s.sign(shown(), now)
	if err != nil {
		s.Log.Error("the header for Kuadrant's MCP gateway cannot be made, so it shows nothing", "issuer", s.Issuer, "error", err)
		value = Nothing
	}
	if s.last == nil || len(s.last) >= maxRemembered {
		s.last = map[any]*made{}
	}
	s.last[of] = &made{value, now.Add(lifetime / 2)}
	return value
}

var errTooLarge = fmt.Errorf("the names of what may be shown take more than %d bytes", maxBytes)

func (s *Signer) sign(shown Shown, now time.Time) (string, error) {
	capabilities, err := json.Marshal(s.capabilities(shown))
	if err != nil {
		return "", err
	}
	value, err := clientauth.Sign(s.key, map[string]any{
		"iss": s.Issuer, "iat": now.Unix(), "exp": now.Add(lifetime).Unix(), "allowed-capabilities": string(capabilities),
	})
	if err == nil && len(value) > maxBytes {
		err = errTooLarge
	}
	if err != nil {
		return "", errors.Join(errors.New("signing failed"), err)
	}
	return value, nil
}

// capabilities are the names by kind and server. A kind that is missing is shown whole.
// The gateway tells resources apart by the authority of their URIs alone, which is not
// enough to decide by, so where there are bounds none is shown.
func (s *Signer) capabilities(shown Shown) map[string]map[string][]string {
	out := map[string]map[string][]string{}
	if !shown.AllTools {
		out["tools"] = s.byServer(shown.Tools)
	}
	if !shown.AllPrompts {
		out["prompts"] = s.byServer(shown.Prompts)
	}
	if !shown.AllResources {
		out["resources"] = s.byServer(nil)
	}
	return out
}

// byServer sorts names by the servers whose they can be, without the prefix.
func (s *Signer) byServer(names []string) map[string][]string {
	out := make(map[string][]string, len(s.servers))
	for _, server := range s.servers {
		mine := []string{}
		for _, name := range names {
			if rest, ok := strings.CutPrefix(name, server.Prefix); ok {
				mine = append(mine, rest)
			}
		}
		out[server.Name] = mine
	}
	return out
}
