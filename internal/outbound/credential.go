package outbound

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

// CredentialFile is the `proxy.hosts[].serverCredential` section.
type CredentialFile struct {
	// File with a credential that the MCP server requires, the same for all people. This service sends it with the requests that it relays (serve), and when it lists the server's tools. It is read again within two seconds of a change. Clients never get it. Default: none.
	File string `json:"file"`
	// Header that it is sent in. Default "Authorization".
	Header string `json:"header"`
	// What precedes it in the header, followed by a space: "Bearer" or "Basic", for Authorization only. Default "Bearer".
	Scheme string `json:"scheme" enum:"Bearer Basic"`
	// The gateway gets it too, with the identity headers of each allowed request; docs/server-credential.md says what the gateway needs for that. Every answer of /authenticate that allows a request then contains it, so let only the gateway ask there. Default false.
	ToGateway bool `json:"toGateway"`
}

// authorization is the header of RFC 9110, section 11.6.2.
const authorization = "Authorization"

// maxCredential bounds a credential: a gateway has some 4 KB for the headers of an answer.
const maxCredential = 2048

// Credential is what this service shows to one MCP server, the same for every request.
// It does not print. Its value may change while it is in use.
type Credential struct {
	Path      string // of its file
	Header    string // canonical
	ToGateway bool

	scheme  string
	value   atomic.Pointer[conf.Secret]
	refused atomic.Bool
}

// Format keeps the credential out of every kind of print.
func (*Credential) Format(f fmt.State, _ rune) { io.WriteString(f, conf.Redacted) }

// Resolve checks the section; nil is no credential. served says that this service
// relays to the server, and taken are headers that have a meaning already.
func (f *CredentialFile) Resolve(c conf.Section, served bool, taken []string) *Credential {
	if f.File == "" {
		for _, key := range []string{"header", "scheme", "toGateway"} {
			if c.IsSet(c.Key(key)) {
				c.Add(c.Key(key), "has no effect without %s", c.Key("file"))
			}
		}
		return nil
	}
	out := &Credential{Path: c.Path(f.File), Header: http.CanonicalHeaderKey(cmp.Or(f.Header, authorization)), ToGateway: f.ToGateway}
	switch {
	case slices.Contains(taken, out.Header):
		c.Add(c.Key("header"), "%s has another meaning here already; each header needs one", out.Header)
	case out.Header == authorization:
		out.scheme = cmp.Or(f.Scheme, "Bearer")
	case f.Scheme != "":
		c.Add(c.Key("scheme"), "is for Authorization; another header holds the credential alone")
	default:
		KeyHeader(c.Check, c.Key("header"), f.Header)
	}
	if served && f.ToGateway {
		c.Add(c.Key("toGateway"), "has no use beside serve, which has no gateway; remove it")
	}
	content, ok := c.SecretFile(c.Key("file"), f.File)
	if !ok {
		return nil
	}
	if err := out.Set([]byte(content)); err != nil {
		c.Add(c.Key("file"), "the file %s", err)
		return nil
	}
	c.NotReplaced(c.Key("file"), strings.TrimRight(content, "\r\n"))
	return out
}

var (
	errEmpty  = errors.New("is empty")
	errLong   = errors.New("holds more than 2048 bytes")
	errPlain  = errors.New("holds more than one line, or what no header can hold")
	errScheme = errors.New("holds a space: write the credential alone, without the word before it")
)

// Set takes the content of the file as the credential from now on. An error changes nothing.
func (c *Credential) Set(content []byte) error {
	value := strings.TrimRight(string(content), "\r\n")
	switch {
	case value == "":
		return errEmpty
	case len(value) > maxCredential:
		return errLong
	case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r >= 0x7f }), strings.TrimSpace(value) != value:
		return errPlain
	case c.scheme != "" && strings.Contains(value, " "):
		return errScheme
	case c.scheme != "":
		value = c.scheme + " " + value
	}
	secret := conf.NewSecret(value)
	c.value.Store(&secret)
	return nil
}

// Value is the header's value now. Call it only where the value is used.
func (c *Credential) Value() string { return c.value.Load().Reveal() }

// Answered notes whether the server refused the credential the last time.
func (c *Credential) Answered(refused bool) {
	if c.refused.Load() != refused { // most answers change nothing
		c.refused.Store(refused)
	}
}

// Refused reports whether the server refused the credential the last time.
func (c *Credential) Refused() bool { return c.refused.Load() }
