package config

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/static"
)

// restartKey is a key, with all below it, that takes effect at the next start alone.
type restartKey struct {
	key, reason string
	of          func(*Config) any // pointer to what it comes to
}

// restartKeys are all of them. Everything else takes effect when the file is read again.
var restartKeys = []restartKey{
	{"listen.http", "the process listens there since it began, and connections are open", func(c *Config) any { return &c.Listen.HTTP }},
	{"listen.h2c", "it is how connections that are open are spoken on", func(c *Config) any { return &c.Listen.H2C }},
	{"listen.management", "the process listens there since it began", func(c *Config) any { return &c.Listen.Management }},
	{"listen.grpc", "the process listens there since it began, and connections are open", func(c *Config) any { return &c.Listen.GRPC }},
	{"keys", "what was sealed and signed with them has to be opened and verified", func(c *Config) any { return &c.Keys }},
	{"guard", "what is in one memory is not in another, and would happen twice", func(c *Config) any { return &c.Guard }},
	{"tls.acme", "certificates are renewed in the background, and the authority counts who asks", func(c *Config) any { return &c.TLS.ACME }},
	{"tls.redirect", "the process listens there since it began", func(c *Config) any { return &c.TLS.Redirect }},
	{"audit.file", "entries are written to the file that was opened at the start", func(c *Config) any { return &c.AuditFile }},
	{"tracing", "spans under way go to the collector that was named at the start", func(c *Config) any { return &c.Tracing }},
}

// tlsOn is pending where TLS itself is turned on or off. Which certificates there
// are may change at any time.
const tlsOn = "tls.certificates"

// needsRestart returns the keys in which next differs from what the process began
// with, and which take effect at the next start alone.
func (c *Config) needsRestart(next *Config) []string {
	var keys []string
	for _, k := range restartKeys {
		if !reflect.DeepEqual(k.of(c), k.of(next)) {
			keys = append(keys, k.key)
		}
	}
	if c.TLS.Enabled() != next.TLS.Enabled() && !slices.Contains(keys, "tls.acme") {
		keys = append(keys, tlsOn)
	}
	return keys
}

// keep takes what needs a restart from started.
func (c *Config) keep(started *Config) {
	for _, k := range restartKeys {
		reflect.ValueOf(k.of(c)).Elem().Set(reflect.ValueOf(k.of(started)).Elem())
	}
}

// pinnedKeys are the parts of the document that others depend on and that stand as
// they were at the start where they, or something in them, is pending.
var pinnedKeys = []string{"listen.http", "listen.h2c", "listen.management", "listen.grpc", "tls"}

// pins returns what to put in place of what the document says at pending keys.
func (c *Config) pins(pending []string) map[string]any {
	pins := map[string]any{}
	for _, key := range pinnedKeys {
		if slices.ContainsFunc(pending, func(p string) bool { return p == key || strings.HasPrefix(p, key+".") }) {
			pins[key] = c.written[key]
		}
	}
	return pins
}

// Reader reads one configuration file again and again. It is not for concurrent use.
type Reader struct {
	path    string
	started *Config // the first
	last    *Config // the last good one
	read    sums    // of the last attempt
	seen    sums    // of the last look
	looks   int     // in a row that found other files than the look before
}

// mostLooks is how often files that go on changing are left alone. Each team may
// change its own, and must not keep the changes of all others from being read.
const mostLooks = 10

// sums are the files that were read, and what was in them.
type sums map[string][sha256.Size]byte

// NewReader returns a Reader of the file at path.
func NewReader(path string) *Reader { return &Reader{path: path} }

// Load reads and checks the file, and what it names. From the second time on, keys
// that need a restart have the values of the first, and Pending names those that
// differ. Errors are those of the function Load.
func (r *Reader) Load() (*Config, error) {
	r.read, r.looks = sums{}, 0
	load := func(pins map[string]any, read sums) (*Config, error) {
		l := loading{path: r.path, pins: pins, read: read}
		if r.last != nil {
			l.owners = r.last.owners
		}
		return l.load()
	}
	c, err := load(nil, r.read)
	r.seen = r.read
	if err != nil {
		return nil, err
	}
	for _, name := range followed(c) {
		delete(r.read, name)
	}
	if r.started == nil {
		r.started, r.last = c, c
		return c, nil
	}
	c.Pending = r.started.needsRestart(c)
	if pins := r.started.pins(c.Pending); len(pins) > 0 {
		pending := c.Pending
		if c, err = load(pins, sums{}); err != nil {
			return nil, withoutRestart(pending, err)
		}
		c.Pending = pending
	}
	c.keep(r.started)
	r.last = c
	return c, nil
}

// withoutRestart says that mistakes are there only because some keys wait for a restart.
func withoutRestart(pending []string, err error) error {
	found, ok := err.(conf.Errors)
	if !ok {
		return err
	}
	return append(conf.Errors{{Problem: fmt.Sprintf("the change of %s takes effect at the next start, and what else changed needs it; restart the service", strings.Join(pending, ", "))}}, found...)
}

// Changed reports whether something else is in the files than Load read, and stays:
// it was there at the last look, so that a file that is half written is left alone.
// Where something changes at every look, the tenth counts.
func (r *Reader) Changed() bool {
	now := sums{}
	for name := range r.read {
		now.note(name)
	}
	settled := maps.Equal(now, r.seen)
	r.seen = now
	if r.looks++; settled {
		r.looks = 0
	}
	return (settled || r.looks >= mostLooks) && !maps.Equal(now, r.read)
}

// note reads a file for what is in it.
func (s sums) note(name string) {
	if pattern, ok := strings.CutPrefix(name, listing); ok {
		files, _ := filepath.Glob(pattern)
		s.add(name, []byte(strings.Join(files, "\n")), nil)
		return
	}
	data, err := conf.ReadBounded(name, conf.MaxFileBytes)
	s.add(name, data, err)
}

func (s sums) add(name string, data []byte, err error) {
	if err != nil {
		data = []byte("error: " + err.Error())
	}
	s[name] = sha256.Sum256(data)
}

// followed are the files that the parts which use them read again by themselves.
func followed(c *Config) []string {
	files := []string{c.DenyList, c.APIKeys.File}
	for _, p := range c.TLS.Files {
		files = append(files, p.CertFile, p.KeyFile)
	}
	for _, p := range c.Providers {
		if s, ok := p.Settings.(*static.Settings); ok {
			files = append(files, s.UsersFile)
		}
	}
	for _, of := range c.AuthorizationServers {
		for _, as := range of {
			files = append(files, as.JWKSFile)
		}
	}
	return files
}
