package apikey

import (
	"cmp"
	"crypto/sha256"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

// Bounds on keys. They are far above any need.
const (
	// MaxFileBytes bounds the content of apiKeys.file.
	MaxFileBytes = 64 << 20
)

// File is the `apiKeys` section.
type File struct {
	// The keys. Each may also stand in `file`.
	Keys []KeyFile `json:"keys" max:"200000"`
	// File that holds more keys, as a YAML or JSON document with the one key keys; for instance of a mounted Secret. It is read again every two seconds. Content with a mistake changes nothing and is logged; at the start, the service refuses to start. A relative path starts at the directory of the configuration file.
	File string `json:"file"`
	// Your own endpoint, which is asked about keys that you issue, instead of entries here.
	Webhook Webhook `json:"webhook"`
}

// KeyFile is one entry of `apiKeys.keys`.
type KeyFile struct {
	// Name of the key, unique: up to 48 of a-z, A-Z, 0-9, ".", "_" and "-". The audit log, rules and the deny-list know the key as the client "apikey:NAME". Required.
	Name string `json:"name"`
	// Hashes of the key, as `mcp-forward-auth new-api-key` prints them: "ID:sha256:DIGITS". Name two while the key is rotated: both keys are accepted. Required: at least one.
	Hashes []string `json:"hashes" max:"4"`
	// Whom the key stands for, with the characters of a name; the subject is "apikey:SUBJECT", so it never equals a person's. Several keys may have the same. Default: the name.
	Subject string `json:"subject"`
	// Groups, for rules of the policy and the identity headers.
	Groups []string `json:"groups" max:"100" check:"groups"`
	// Scopes that the key has, where the rules of the policy allow them; a server that declares none has the scope "mcp". Required: at least one.
	Scopes []string `json:"scopes" max:"100" check:"scopes"`
	// MCP servers that the key is for, by public URL such as "https://mcp.example.com/mcp". Default: all that take API keys.
	Resources []string `json:"resources" max:"1000"`
	// Tools that the key may call, of those that its scopes open; an asterisk at the end stands for anything. A request whose tool is not known is then refused. Default: all that its scopes open.
	Tools []string `json:"tools" max:"1000" check:"patterns"`
	// When the key expires: a date, at the end of that day in UTC, or a time such as "2027-01-31T12:00:00Z". Required unless neverExpires is set.
	Expires string `json:"expires" like:"2027-01-31"`
	// The key does not expire. Default false.
	NeverExpires bool `json:"neverExpires"`
	// Networks that the key may come from, such as "10.0.0.0/8". Needs listen.trustedProxies, and a gateway that sends X-Forwarded-For; a request without a known client address is refused. Default: everywhere.
	Sources []netip.Prefix `json:"sources" max:"100" check:"unique"`
}

// HostFile is the `proxy.hosts[].apiKeys` section.
type HostFile struct {
	// Whether the MCP server accepts API keys, in the header Authorization as "Bearer KEY". Default false.
	Enabled bool `json:"enabled"`
	// Header in which a key may come instead, such as "X-API-Key". It must come once, without another credential. It does not reach the MCP server if the gateway can remove headers; see docs/api-keys.md. Default: none.
	Header string `json:"header"`
}

// keysDocument is the content of apiKeys.file.
type keysDocument struct {
	Keys []KeyFile `json:"keys" max:"200000"`
}

// Config is the section when it is checked.
type Config struct {
	Keys []Key
	File string // path, "" for none
	// Webhook is asked about keys of the operator's making, if it is On.
	Webhook Webhook
	// Where says at which MCP servers keys can be used.
	Where Where
}

// Where is what keys of the configuration and of a file are checked against.
type Where struct {
	// Resources are the URIs of all MCP servers, and whether each takes API keys.
	Resources map[string]bool
	// Addresses: the addresses of clients are known, by listen.trustedProxies.
	Addresses bool
}

// Key is one entry, checked.
type Key struct {
	Name    string
	Subject string // without its namespace
	Hashes  map[string][sha256.Size]byte
	Groups  []string
	Scopes  []string
	// Resources are URIs, none for everywhere.
	Resources []string
	Tools     []string       // patterns, none for every tool
	Sources   []netip.Prefix // none for everywhere
	Expires   time.Time      // zero for never
}

// Resolve checks the section. What is in the file is checked when it is read, by Parse.
func (f File) Resolve(c conf.Section, where Where, now time.Time) Config {
	f.Webhook.resolve(c.Sub("webhook"))
	out := Config{File: c.Path(f.File), Webhook: f.Webhook, Where: where}
	out.Keys = newReader(c.Check, where, nil, now).keys(c.Key("keys"), f.Keys)
	if f.File != "" {
		c.Exists(c.Key("file"), f.File)
	}
	if (len(f.Keys) > 0 || f.File != "" || f.Webhook.On()) && !where.used() {
		c.Warn(c.At, "no entry of proxy.hosts takes API keys; set proxy.hosts[].apiKeys.enabled where they are for")
	}
	return out
}

func (w Where) used() bool {
	for _, taken := range w.Resources {
		if taken {
			return true
		}
	}
	return false
}

// Parse reads the content of apiKeys.file. No key in it may have the name or the
// id of one of inline. Warnings are about keys that cannot be used any more. The
// error is a conf.Errors.
func Parse(data []byte, inline []Key, where Where, now time.Time) (list []Key, warnings conf.Errors, err error) {
	c := &conf.Check{}
	var file keysDocument
	c.Decode(data, &file)
	list = newReader(c, where, inline, now).keys("keys", file.Keys)
	return list, c.Warnings, c.Err()
}

// All returns the keys of the configuration and of the file as it is now.
func (c Config) All(now time.Time) ([]Key, error) {
	if c.File == "" {
		return c.Keys, nil
	}
	data, err := conf.ReadBounded(c.File, MaxFileBytes)
	if err != nil {
		return nil, err
	}
	more, _, err := Parse(data, c.Keys, c.Where, now)
	return append(slices.Clone(c.Keys), more...), err
}

// reader checks keys and what no two of them may share.
type reader struct {
	*conf.Check
	where Where
	now   time.Time
	names map[string]string // name → where it stands
	ids   map[string]string
}

func newReader(c *conf.Check, where Where, inline []Key, now time.Time) *reader {
	r := &reader{Check: c, where: where, now: now, names: map[string]string{}, ids: map[string]string{}}
	for i, k := range inline {
		at := conf.Element("apiKeys.keys", i)
		r.names[k.Name] = at
		for id := range k.Hashes {
			r.ids[id] = at
		}
	}
	return r
}

func (r *reader) keys(at string, files []KeyFile) []Key {
	list := make([]Key, 0, len(files))
	for i, f := range files {
		list = append(list, r.key(conf.Element(at, i), f))
	}
	return list
}

func (r *reader) key(at string, f KeyFile) Key {
	k := Key{
		Name: f.Name, Subject: cmp.Or(f.Subject, f.Name), Groups: f.Groups, Scopes: f.Scopes, Resources: f.Resources, Tools: f.Tools,
		Hashes: r.hashes(at+".hashes", f.Hashes), Expires: r.expiry(at, f), Sources: f.Sources,
	}
	r.name(at+".name", f.Name)
	if f.Subject != "" && !plainName(f.Subject) {
		r.Add(at+".subject", "%s %s", conf.Show(f.Subject), notAName)
	}
	if len(f.Scopes) == 0 {
		r.Add(at+".scopes", `is required: what the key may do; a server that declares no scopes has the scope "mcp"`)
	}
	r.resources(at+".resources", f.Resources)
	if len(f.Sources) > 0 && !r.where.Addresses {
		r.Add(at+".sources", "needs listen.trustedProxies: without it no address is believed, and the key would always be refused")
	}
	return k
}

// maxName bounds a name: with what stands before it, it is a client id that no
// log shortens.
const maxName = 48

const notAName = `is not a name: up to 48 of a-z, A-Z, 0-9, ".", "_" and "-"`

func plainName(s string) bool {
	return s != "" && len(s) <= maxName && !conf.HasOther(s, conf.Letters+"0123456789._-")
}

func (r *reader) name(at, name string) {
	switch first, taken := r.names[name]; {
	case name == "":
		r.Add(at, "is required: the audit log and the deny-list call the key by it")
	case strings.HasPrefix(name, Prefix):
		r.Add(at, "is a key; give it a name of its own, because names are written to logs")
	case !plainName(name):
		r.Add(at, "%s %s", conf.Show(name), notAName)
	case name == webhookName:
		r.Add(at, "%q is what the keys of the webhook are called", name)
	case taken:
		r.Add(at, "%s is the name of %s too", conf.Show(name), first)
	default:
		r.names[name] = strings.TrimSuffix(at, ".name")
	}
}

// hashes never shows an entry that is wrong: it may be a secret.
func (r *reader) hashes(at string, lines []string) map[string][sha256.Size]byte {
	if len(lines) == 0 {
		r.Add(at, "is required: the hash that `mcp-forward-auth new-api-key` prints")
		return nil
	}
	out := make(map[string][sha256.Size]byte, len(lines))
	for i, line := range lines {
		id, sum, problem := parseHash(line)
		if problem != "" {
			r.Add(conf.Element(at, i), "%s", problem)
			continue
		}
		if first, taken := r.ids[id]; taken {
			r.Add(conf.Element(at, i), "%s is the id of a key of %s already", conf.Show(id), first)
			continue
		}
		r.ids[id] = strings.TrimSuffix(at, ".hashes")
		out[id] = sum
	}
	return out
}

// expiry returns when the key ends, zero for never.
func (r *reader) expiry(at string, f KeyFile) time.Time {
	switch {
	case f.NeverExpires && f.Expires != "":
		r.Add(at+".neverExpires", "excludes expires; set one of the two")
		return time.Time{}
	case f.NeverExpires:
		return time.Time{}
	case f.Expires == "":
		r.Add(at+".expires", "is required: the last day of the key, such as \"2027-01-31\"; or set neverExpires")
		return time.Time{}
	}
	end, err := time.Parse(time.RFC3339, f.Expires)
	if day, notDay := time.Parse(time.DateOnly, f.Expires); notDay == nil {
		end, err = day.AddDate(0, 0, 1), nil
	}
	switch {
	case err != nil || end.Year() < 1970 || end.Year() > 9999:
		r.Add(at+".expires", "%s is neither a date such as \"2027-01-31\" nor a time such as \"2027-01-31T12:00:00Z\"", conf.Show(f.Expires))
	case !end.After(r.now):
		r.Warn(at+".expires", "%s has passed, so the key is refused; remove it", conf.Show(f.Expires))
	}
	return end
}

func (r *reader) resources(at string, uris []string) {
	for i, uri := range uris {
		at := conf.Element(at, i)
		switch taken, known := r.where.Resources[uri]; {
		case !known:
			r.Add(at, "%s is not one of proxy.hosts; write its public URL with its path, such as \"https://mcp.example.com/mcp\"", conf.ShowURL(uri))
		case !taken:
			r.Add(at, "%s takes no API keys; set apiKeys.enabled in its entry of proxy.hosts", conf.ShowURL(uri))
		case slices.Index(uris, uri) < i:
			r.Add(at, "%s is listed twice", conf.ShowURL(uri))
		}
	}
}
