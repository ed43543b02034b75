package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

// HostsFiles is one entry of `proxy.hostsFiles`.
type HostsFiles struct {
	// Names of the files, such as "/etc/hosts.d/namespace_*.configmap_*.yaml", where an asterisk stands for anything but "/". A relative path starts at the directory of the configuration file. A file that matches several entries belongs to the first. Required.
	Files string `json:"files"`
	// Host names that these files may claim: a name, "*.example.com" for every name below it, or "*" for all. "{1}" stands for what the first asterisk of files matches in the name of a file, "{2}" for the second, as one label of a name: "*.{1}.mcp.example.com". Required.
	Hosts []string `json:"hosts" max:"100"`
	// Hosts of the endpoints that these files may name, in the same way: "*.{1}.svc". Required: without it each of them could have this service ask any server that it reaches.
	Endpoints []string `json:"endpoints" max:"100"`
	// Keys of an entry that only the operator may set, and that these files may set too, such as "serve". Default: none.
	MaySet []string `json:"maySet" max:"50" check:"unique"`
}

// HostsFile is a file that proxy.hostsFiles names, after it was read.
type HostsFile struct {
	Path string
	// Hosts is how many entries are in force, 0 for a file that is left out.
	Hosts int
	// Mistakes are why it is left out.
	Mistakes conf.Errors
}

// hostsDocument is what such a file holds.
type hostsDocument struct {
	// Entries of proxy.hosts.
	Hosts []HostFile `json:"hosts" max:"1000"`
}

// operatorKeys are the keys of an entry of hosts that only the operator may set,
// with the reason: what they do is not about this MCP server alone.
var operatorKeys = map[string]string{
	"caFile":               "it names a file of this service",
	"scheme":               "http is for a loopback host, which is this machine",
	"body":                 "it says what the gateway does, which is the operator's",
	"envoyMCP":             "it says what the gateway does, which is the operator's",
	"extMCP":               "it says what the gateway does, which is the operator's",
	"stepUp":               "it says what the gateway does, which is the operator's",
	"serve":                "each open stream takes memory and a connection of this service, which all share",
	"pages":                "browsers sign in with cookies of this service, on pages that it does not write",
	"deviceGrant":          "it needs two more paths at the gateway, and a page where people type codes",
	"account":              "it shows people their sign-ins on this host",
	"providerToken":        "the MCP server gets people's tokens of the identity provider",
	"tokenExchange":        "it lets the MCP server act for people at others'",
	"serverCredential":     "it names a file of this service, whose content the MCP server gets",
	"kuadrant":             "it names a file of this service, and says what the gateway does",
	"apiKeys":              "the operator gives out the keys",
	"personalKeys":         "it says that people may make keys for themselves",
	"authorizationServers": "it lets in tokens that others issue, and has this service ask their servers",
	"ownTokens":            "it goes with authorizationServers",
}

// teamKeys are the others.
var teamKeys = []string{
	"host", "endpoint", "path", "displayName", "defaultScopes", "toolPolicy", "scopes", "refuseRefreshAfterStepUp", "hideGrantable", "holdChangedTools", "dpop", "cors", "policy",
}

// Bounds of all hosts files together.
const (
	mostHostsFiles = 5000
	mostHosts      = 10_000
)

// claim is one hosts file on its way into the configuration.
type claim struct {
	HostsFile
	rule  HostsFiles
	at    string   // path of the rule
	stars []string // what the asterisks of rule.Files stand for
	names []string // the host names that it claims
	raw   []any    // its hosts, as encoding/json reads them
}

func (c *claim) refuse(at, format string, args ...any) {
	c.Mistakes = append(c.Mistakes, conf.Mistake{Path: at, Problem: fmt.Sprintf(format, args...)})
}

// gather reads the files that rules name, each once, in the order of their names.
// What is wrong with one is in its Mistakes.
func (l *loading) gather(rules []HostsFiles) []*claim {
	var all []*claim
	seen := map[string]bool{}
	for i, rule := range rules {
		pattern := l.below(rule.Files)
		for _, path := range l.read.list(pattern) {
			if seen[path] || len(all) == mostHostsFiles {
				continue
			}
			seen[path] = true
			c := &claim{HostsFile: HostsFile{Path: path}, rule: rule, at: conf.Element("proxy.hostsFiles", i), stars: starsOf(pattern, path)}
			all = append(all, c)
			l.readClaim(c)
		}
	}
	slices.SortFunc(all, func(a, b *claim) int { return strings.Compare(a.Path, b.Path) })
	return all
}

// readClaim reads one file, and checks what can be said of it alone.
func (l *loading) readClaim(c *claim) {
	data, err := conf.ReadBounded(c.Path, conf.MaxFileBytes)
	l.read.add(c.Path, data, err)
	if err != nil {
		c.refuse("", "the file cannot be read: %v", errors.Unwrap(err))
		return
	}
	check := conf.Check{ReadFile: l.file, Below: l.below, Untrusted: true}
	if len(c.rule.MaySet) == 0 {
		check.ReadFile = func(string) ([]byte, error) { return nil, fs.ErrNotExist } // so it can name none
	}
	var document hostsDocument
	check.Decode(data, &document)
	c.raw, _ = check.Written("hosts").([]any)
	err = check.Err()
	c.checkKeys(err != nil)
	if err != nil {
		found, _ := errors.AsType[conf.Errors](err)
		c.addBesides(found)
		return
	}
	for i, h := range document.Hosts {
		c.checkHost(conf.Element("hosts", i), h)
	}
}

// checkKeys refuses the keys that only the operator may set. In a file that is broken
// there may be keys that do not exist, which are refused already.
func (c *claim) checkKeys(broken bool) {
	for i, raw := range c.raw {
		entry, _ := raw.(map[string]any)
		for _, key := range slices.Sorted(maps.Keys(entry)) {
			reason := operatorKeys[key]
			if slices.Contains(teamKeys, key) || slices.Contains(c.rule.MaySet, key) || entry[key] == nil || broken && reason == "" {
				continue
			}
			c.refuse(conf.Element("hosts", i)+"."+key, "is for the operator alone: %s; %s.maySet admits it here", reason, c.at)
		}
	}
}

// addBesides adds mistakes, but for those in what is refused as a whole.
func (c *claim) addBesides(found conf.Errors) {
	refused := slices.Clone(c.Mistakes)
	for _, m := range found {
		if !slices.ContainsFunc(refused, func(r conf.Mistake) bool { return m.Path == r.Path || strings.HasPrefix(m.Path, r.Path+".") }) {
			c.Mistakes = append(c.Mistakes, m)
		}
	}
}

// checkHost holds an entry to what its file may claim.
func (c *claim) checkHost(at string, h HostFile) {
	name, _, problem := splitHost(h.Host)
	if problem != "" {
		c.refuse(at+".host", "%s", problem)
		return
	}
	c.names = append(c.names, name)
	if !c.may(c.rule.Hosts, name) {
		c.refuse(at+".host", "%s is no host name that this file may claim, which are %s", conf.Show(name), conf.Names(c.rule.Hosts))
	}
	u, problem := conf.AbsoluteURL(h.Endpoint)
	if problem != "" {
		c.refuse(at+".endpoint", "%s %s", conf.ShowURL(h.Endpoint), problem)
	} else if !c.may(c.rule.Endpoints, strings.ToLower(u.Hostname())) {
		c.refuse(at+".endpoint", "%s is no host that this file may name, which are %s", conf.Show(u.Hostname()), conf.Names(c.rule.Endpoints))
	}
}

var star = regexp.MustCompile(`\{([0-9]+)\}`)

// may reports whether one of patterns is for a name.
func (c *claim) may(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		known := true
		p = star.ReplaceAllStringFunc(p, func(text string) string {
			n, _ := strconv.Atoi(text[1 : len(text)-1])
			if n < 1 || n > len(c.stars) || !isLabel(c.stars[n-1]) {
				known = false
				return ""
			}
			return c.stars[n-1]
		})
		below, wildcard := strings.CutPrefix(p, "*")
		return known && (p == "*" || p == name || wildcard && len(name) > len(below) && strings.HasSuffix(name, below))
	})
}

// isLabel reports whether s is one label of a DNS name, as namespaces are.
func isLabel(s string) bool {
	return !strings.Contains(s, ".") && conf.DNSNameProblem(s+".example") == ""
}

// starsOf returns what the asterisks of a pattern stand for in a name that fits it.
func starsOf(pattern, name string) []string {
	parts := strings.Split(pattern, "*")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	found := regexp.MustCompile(`^` + strings.Join(parts, `([^/]*?)`) + `$`).FindStringSubmatch(name)
	if found == nil {
		return nil
	}
	return found[1:]
}

// hostsFiles checks the rules. What is in the files is checked before.
func (r *resolver) hostsFiles(rules []HostsFiles) {
	for i, rule := range rules {
		at := conf.Element("proxy.hostsFiles", i)
		if rule.Files == "" {
			r.Add(at+".files", "is required: the names of the files")
		} else if strings.ContainsAny(rule.Files, `?[]\`) {
			r.Add(at+".files", `%s has more than "*", which is all that stands for something else here`, conf.Show(rule.Files))
		}
		for key, patterns := range map[string][]string{"hosts": rule.Hosts, "endpoints": rule.Endpoints} {
			if len(patterns) == 0 {
				r.Add(at+"."+key, `is required: what these files may claim, such as "*.team.example.com"`)
			}
			for n, p := range patterns {
				r.hostsPattern(conf.Element(at+"."+key, n), p, strings.Count(rule.Files, "*"))
			}
		}
		for n, key := range rule.MaySet {
			if operatorKeys[key] == "" {
				r.Add(conf.Element(at+".maySet", n), "%s is no key that only the operator may set; those are %s", conf.Show(key), strings.Join(slices.Sorted(maps.Keys(operatorKeys)), ", "))
			}
		}
	}
}

func (r *resolver) hostsPattern(at, p string, stars int) {
	for _, m := range star.FindAllStringSubmatch(p, -1) {
		if n, err := strconv.Atoi(m[1]); err != nil || n < 1 || n > stars {
			r.Add(at, "%s: files has no asterisk number %s", conf.Show(p), m[1])
			return
		}
	}
	name := star.ReplaceAllString(strings.TrimPrefix(p, "*."), "x")
	if p != "*" && conf.DNSNameProblem(name) != "" {
		r.Add(at, `%s is not a host name, "*.example.com" or "*"`, conf.Show(p))
	}
}

// list returns the files that fit a pattern, and notes which there are.
func (s sums) list(pattern string) []string {
	s.note(listing + pattern)
	files, _ := filepath.Glob(pattern) // a bad pattern is a mistake by itself
	return files
}

// listing stands before a pattern in sums: what is noted is which files fit it.
const listing = "files: "
