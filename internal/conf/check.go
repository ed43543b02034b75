package conf

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"
)

// Bounds on what a section may hold. They are far above what is needed, and keep
// an error of a template from becoming a slow start.
const (
	MaxNames   = 1000 // entries of a list of names or patterns
	MaxScopes  = 100
	MaxGroups  = 100  // of one person or key that the configuration describes
	MaxText    = 200  // bytes of a name, a claim or a header
	MaxPattern = 1000 // bytes of one pattern
	MaxURL     = 2048 // bytes
	// MaxFileBytes bounds a configuration file. A Kubernetes ConfigMap holds no more.
	MaxFileBytes = 1 << 20
	// MaxSecretBytes bounds each file that the configuration names.
	MaxSecretBytes = 64 << 10
)

// Check collects the mistakes of one document while it is decoded and while its
// sections are checked.
type Check struct {
	// ReadFile reads a file that the document names. It is needed where a section
	// can name one.
	ReadFile func(name string) ([]byte, error)
	// Below returns where a file is; nil leaves names as they are.
	Below func(name string) string
	// Exposed reports whether every user of the machine may read a file; nil does
	// not look.
	Exposed func(name string) bool
	// Pinned are paths of mappings, and what stands there whatever the document says;
	// nil is an absent key.
	Pinned map[string]any
	// Untrusted: the document is not the operator's own, so it may hold no YAML alias.
	// A short document can say a long text very often with them.
	Untrusted bool
	// Warnings are not mistakes; the operator should know them.
	Warnings Errors
	// Inline: the document itself holds a secret.
	Inline bool

	list Errors
	// malformed holds the paths whose value could not be decoded. What a rule
	// would say about them, or about what is below them, is noise: the zero value
	// it looks at is not what the operator wrote.
	malformed map[string]bool
	document  reflect.Type
	tree      any // the document, as encoding/json reads it
}

// Warn notes what is not a mistake, but what the operator should know.
func (c *Check) Warn(at, format string, args ...any) {
	c.Warnings = append(c.Warnings, Mistake{at, fmt.Sprintf(format, args...)})
}

// File reads a file. Messages do not show its name: the likeliest error is a
// secret in place of the name.
func (c *Check) File(at, name string) (content string, ok bool) {
	if name == "" {
		c.Add(at, "is empty; name a file")
		return "", false
	}
	if c.IsMalformed(at) {
		return "", false
	}
	data, err := c.ReadFile(name)
	var problem string
	switch {
	case err == nil && len(data) <= MaxSecretBytes:
		return string(data), true
	case err == nil, errors.Is(err, ErrTooLarge):
		problem = "the file is larger than 64 KiB"
	case errors.Is(err, fs.ErrNotExist):
		problem = "there is no such file; a relative path starts at the directory of the configuration file"
	case errors.Is(err, fs.ErrPermission):
		problem = "permission to read the file is denied"
	case errors.Is(err, syscall.EISDIR):
		problem = "is a directory, not a file"
	default:
		problem = "the file cannot be read"
	}
	c.Add(at, "%s", problem)
	return "", false
}

// Path returns where a file is that is read later, when the working directory may be
// another.
func (c *Check) Path(name string) string {
	if name == "" || c.Below == nil {
		return name
	}
	return c.Below(name)
}

// Exists reports a file that is not there or that may not be read. Its content,
// which may change at any time, is for the reader that follows it.
func (c *Check) Exists(at, name string) {
	if _, err := c.ReadFile(name); errors.Is(err, fs.ErrNotExist) {
		c.Add(at, "there is no such file; a relative path starts at the directory of the configuration file")
	} else if errors.Is(err, fs.ErrPermission) {
		c.Add(at, "permission to read the file is denied")
	}
}

// Authorities reads certificates of authorities; nil for those of the system.
func (c *Check) Authorities(at, name string) []byte {
	if name == "" {
		return nil
	}
	content, ok := c.File(at, name)
	if ok && !x509.NewCertPool().AppendCertsFromPEM([]byte(content)) {
		c.Add(at, "the file holds no certificate in PEM")
	}
	return []byte(content)
}

// SecretFile is File for content that others must not read: a file that every
// user of the machine may read gets a warning.
func (c *Check) SecretFile(at, name string) (content string, ok bool) {
	content, ok = c.File(at, name)
	if ok && c.Exposed != nil && c.Exposed(name) {
		c.Warn(at, "every user of this machine may read the file; take that right away (chmod o-r, or defaultMode: 0440 for a Kubernetes Secret)")
	}
	return content, ok
}

// placeholder matches what a template or a shell should have replaced, and words
// that stand in examples.
var placeholder = regexp.MustCompile(`^(\$[A-Za-z_][A-Za-z0-9_]*|\$\([^)]*\)|<[^<>]*>|%[A-Za-z_][A-Za-z0-9_]*%|(?i:change-?_?me|replace-?_?me|your[-_].*|todo|x{3,}|\*{3,}))$`)

// NotReplaced refuses a secret or an id that is still a placeholder. The message
// does not show it: it may be a real one after all.
func (c *Check) NotReplaced(at, value string) {
	if placeholder.MatchString(value) {
		c.Add(at, "is still a placeholder; write the real value (variables are not expanded, here or in the files that this one names)")
	}
}

// ScopeTokens checks a list of RFC 6749, section 3.3, scope tokens.
func (c *Check) ScopeTokens(at string, scopes []string) {
	if c.TooMany(at, len(scopes), MaxScopes) {
		return
	}
	for i, scope := range scopes {
		switch {
		case !IsScopeToken(scope):
			c.Add(Element(at, i), `%s is not a scope: write one per entry, in printable ASCII without spaces, '"' and '\'`, Show(scope))
		case slices.Index(scopes, scope) < i:
			c.Add(Element(at, i), "%s is listed twice", Show(scope))
		}
	}
}

// IsScopeToken reports whether s is a scope token (RFC 6749, section 3.3) of at most MaxText bytes.
func IsScopeToken(s string) bool {
	if s == "" || len(s) > MaxText {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f || s[i] == '"' || s[i] == '\\' {
			return false
		}
	}
	return true
}

// TooMany reports a list that is longer than most.
func (c *Check) TooMany(at string, n, most int) bool {
	if n > most {
		c.Add(at, "has %d entries; at most %d are allowed", n, most)
	}
	return n > most
}

// LowerNames checks names that are compared without regard to case, and returns
// them in lower case.
func (c *Check) LowerNames(at string, names []string, problem func(string) string) []string {
	if c.TooMany(at, len(names), MaxNames) {
		return nil
	}
	var lower []string
	for i, name := range names {
		low := strings.ToLower(name)
		if text := problem(low); text != "" {
			c.Add(Element(at, i), "%s %s", Show(name), text)
		} else if slices.Contains(lower, low) {
			c.Add(Element(at, i), "%s is listed twice", Show(name))
		}
		lower = append(lower, low)
	}
	return lower
}

// NamePatterns checks names, or beginnings of names with an asterisk at the end.
func (c *Check) NamePatterns(at string, patterns []string) {
	if c.TooMany(at, len(patterns), MaxNames) {
		return
	}
	for i, p := range patterns {
		switch {
		case p == "" || len(p) > MaxPattern || !utf8.ValidString(p) || strings.ContainsFunc(p, func(c rune) bool { return !unicode.IsPrint(c) }):
			c.Add(Element(at, i), "is not a name: printable text of at most %d bytes", MaxPattern)
		case strings.Contains(strings.TrimSuffix(p, "*"), "*"):
			c.Add(Element(at, i), "%s has an asterisk that is not at its end", Show(p))
		}
	}
}

// Groups checks names of groups. A comma separates groups in the identity header.
func (c *Check) Groups(at string, groups []string) {
	if c.TooMany(at, len(groups), MaxGroups) {
		return
	}
	for i, group := range groups {
		at := Element(at, i)
		switch {
		case group == "":
			c.Add(at, "is empty")
		case strings.Contains(group, ","):
			c.Add(at, "%s holds a comma; write one group per entry", Show(group))
		case slices.Index(groups, group) < i:
			c.Add(at, "%s is listed twice", Show(group))
		}
		c.Text(at, group)
	}
}

// SecureURL checks where credentials will be sent: https, or a process on
// the same machine. It returns nil after a mistake.
func (c *Check) SecureURL(at, value string) *url.URL {
	u, problem := AbsoluteURL(value)
	switch {
	case problem != "":
	case u.Scheme == "http" && !IsLoopback(u.Hostname()):
		problem = "must use https; http is for localhost, 127.0.0.0/8 and [::1]"
	case u.RawQuery != "" || u.ForceQuery:
		problem = "must not have a query"
	default:
		return u
	}
	c.Add(at, "%s %s", ShowURL(value), problem)
	return nil
}

func (c *Check) serverAddresses(at string, list []string) {
	for i, address := range list {
		c.ServerAddress(Element(at, i), address)
	}
}

// ServerAddress checks where one connects to.
func (c *Check) ServerAddress(at, value string) {
	if host, port, err := net.SplitHostPort(value); err != nil || host == "" || !ValidPort(port) || badHost(host) {
		c.Add(at, "%s is not an address such as \"redis.default.svc:6379\"", Show(value))
	}
}

func badHost(host string) bool {
	return net.ParseIP(host) == nil && DNSNameProblem(host) != ""
}

// PasswordFile reads a secret from a file with one line; "" is no secret.
func (c *Check) PasswordFile(at, name string) Secret {
	if name == "" {
		return Secret{}
	}
	content, ok := c.SecretFile(at, name)
	value := strings.TrimRight(content, "\r\n")
	switch {
	case !ok:
	case value == "":
		c.Add(at, "the file is empty")
	case strings.ContainsAny(value, "\r\n\x00"):
		c.Add(at, "the file holds more than one line")
	}
	return NewSecret(value)
}

// Text checks a string that people will read: bounded, and without characters
// that hide or reorder others.
func (c *Check) Text(at, value string) {
	if problem := TextProblem(value); problem != "" {
		c.Add(at, "%s", problem)
	}
}

// ErrTooLarge is the error of ReadBounded for a file beyond the limit.
var ErrTooLarge = errors.New("file is too large")

// ReadBounded reads a file of at most limit bytes.
func ReadBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s: %w", path, ErrTooLarge)
	}
	return data, nil
}
