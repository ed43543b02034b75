package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

// loading is one reading of a configuration file and of what it names.
type loading struct {
	path  string
	pins  map[string]any // what stands in the document whatever it says
	read  sums           // what was read
	files map[string]fileContent
	// owners are the hosts files in force, by the host names that they claim.
	owners map[string]string
}

// below returns where a file is that the configuration names.
func (l *loading) below(name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(l.path), name)
}

// fileContent is what was in a file, or why that is not known.
type fileContent struct {
	data []byte
	err  error
}

// file reads a file that the configuration names, once: the document is checked
// several times, which must not differ by what changes meanwhile.
func (l *loading) file(name string) ([]byte, error) {
	path := l.below(name)
	if known, ok := l.files[path]; ok {
		return known.data, known.err
	}
	l.read.note(path) // before, so that a change while it is read is seen later
	data, err := conf.ReadBounded(path, conf.MaxSecretBytes)
	if l.files == nil {
		l.files = map[string]fileContent{}
	}
	l.files[path] = fileContent{data, err}
	return data, err
}

// load reads and checks the file. It has to be good by itself; then the hosts files
// are added, and one with a mistake is left out.
func (l *loading) load() (*Config, error) {
	data, err := conf.ReadBounded(l.path, conf.MaxFileBytes)
	l.read.add(l.path, data, err)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	c, err := l.parse(data, nil)
	if err != nil || len(c.hostsRules) == 0 {
		return c, err
	}
	claims := l.gather(c.hostsRules)
	l.settle(c, claims)
	return l.add(data, c, claims)
}

// parse checks the document with the hosts of claims after its own.
func (l *loading) parse(data []byte, claims []*claim) (*Config, error) {
	pins := map[string]any{}
	for at, value := range l.pins {
		pins[at] = value
	}
	r := &resolver{Check: &conf.Check{ReadFile: l.file, Below: l.below, Exposed: func(name string) bool { return worldReadable(l.below(name)) }, Pinned: pins}}
	if len(claims) > 0 {
		own := conf.Check{ReadFile: l.file, Below: l.below}
		own.Decode(data, new(File))
		hosts, _ := own.Written("proxy.hosts").([]any)
		hosts = slices.Clone(hosts)
		for _, c := range claims {
			hosts = append(hosts, c.raw...)
		}
		pins["proxy.hosts"] = hosts
	}
	c, err := r.parse(data)
	if err == nil && worldReadable(l.path) && r.Inline {
		c.Warnings = append(conf.Errors{{Problem: "every user of this machine may read this file, which holds a secret; take that right away (chmod o-r), or put the secret into a file of its own"}}, c.Warnings...)
	}
	return c, err
}

// settle decides who has a host name that several claim: the configuration file,
// then the hosts file that has it now, then the first by name. A host name belongs
// to one file, whatever its ports and paths: it is an origin that people trust.
func (l *loading) settle(own *Config, claims []*claim) {
	owner, hosts := map[string]string{}, len(own.Hosts)
	for _, h := range own.Hosts {
		name, _, _ := splitHost(h.Host)
		owner[name] = "the configuration file"
	}
	if name, _, problem := splitHost(own.CallbackHost.Host); problem == "" {
		owner[name] = "the configuration file"
	}
	inForce := func(c *claim) bool {
		return slices.ContainsFunc(c.names, func(name string) bool { return l.owners[name] == c.Path })
	}
	for _, now := range []bool{true, false} {
		for _, c := range claims {
			if len(c.Mistakes) > 0 || inForce(c) != now {
				continue
			}
			for i, name := range c.names {
				if other := owner[name]; other != "" {
					c.refuse(conf.Element("hosts", i)+".host", "%q is of %s already; a host name belongs to one file", name, other)
				}
			}
			if hosts += len(c.raw); hosts > mostHosts {
				c.refuse("hosts", "there are more than %d hosts", mostHosts)
			}
			if len(c.Mistakes) > 0 {
				hosts -= len(c.raw)
				continue
			}
			for _, name := range c.names {
				owner[name] = c.Path
			}
		}
	}
}

// add returns the configuration own with the hosts of those claims with which it is
// good.
func (l *loading) add(data []byte, own *Config, claims []*claim) (*Config, error) {
	c := own
	for {
		good := slices.DeleteFunc(slices.Clone(claims), func(c *claim) bool { return len(c.Mistakes) > 0 })
		if len(good) == 0 {
			break
		}
		whole, err := l.parse(data, good)
		if err == nil {
			c = whole
			c.tell(good, len(own.Hosts))
			break
		}
		if !blame(err, good, len(own.Hosts)) {
			if _, err := l.parse(data, nil); err != nil {
				return nil, err // of what changed since own was checked, and not of claims
			}
			l.admit(data, nil, good)
		}
	}
	c.owners = map[string]string{}
	for _, file := range claims {
		if len(file.Mistakes) == 0 {
			file.HostsFile.Hosts = len(file.raw)
			for _, name := range file.names {
				c.owners[name] = file.Path
			}
		}
		c.HostsFiles = append(c.HostsFiles, file.HostsFile)
	}
	return c, nil
}

// blame hands the mistakes in the hosts of claims, which come after the first ones, to
// these claims, and reports whether any got one.
func blame(err error, claims []*claim, first int) (any bool) {
	found, _ := errors.AsType[conf.Errors](err)
	for _, m := range found {
		if c, at := whose(m.Path, claims, first); c != nil {
			c.refuse(at, "%s", inClaims(m.Problem, c, claims, first))
			any = true
		}
	}
	return any
}

// whose returns the claim that a path in the whole document leads to, and the path in it.
func whose(path string, claims []*claim, first int) (*claim, string) {
	rest, ok := strings.CutPrefix(path, "proxy.hosts[")
	index, below, closed := strings.Cut(rest, "]")
	n, err := strconv.Atoi(index)
	if !ok || !closed || err != nil {
		return nil, ""
	}
	n -= first
	for _, c := range claims {
		if n >= 0 && n < len(c.raw) {
			return c, conf.Element("hosts", n) + below
		}
		n -= len(c.raw)
	}
	return nil, ""
}

var hostsPath = regexp.MustCompile(`proxy\.hosts\[[0-9]+\]`)

// inClaims says a problem of claim c with the paths that its author knows.
func inClaims(problem string, c *claim, claims []*claim, first int) string {
	return hostsPath.ReplaceAllStringFunc(problem, func(path string) string {
		switch of, at := whose(path, claims, first); of {
		case nil:
			return path
		case c:
			return at
		default:
			return at + " of " + of.Path
		}
	})
}

// admit adds claims to good ones in their order, and refuses those that make a
// mistake of something that is not in them. It halves the list, because there are
// few of these and each check is of the whole configuration.
func (l *loading) admit(data []byte, good, claims []*claim) []*claim {
	all := slices.Concat(good, claims)
	_, err := l.parse(data, all)
	switch {
	case err == nil:
		return all
	case len(claims) == 1:
		claims[0].refuse("", "with this file there is a mistake elsewhere: %v", err)
		return good
	}
	half := len(claims) / 2
	return l.admit(data, l.admit(data, good, claims[:half]), claims[half:])
}

// tell names the files that warnings are about.
func (c *Config) tell(claims []*claim, first int) {
	for i, w := range c.Warnings {
		if of, at := whose(w.Path, claims, first); of != nil {
			c.Warnings[i].Path = of.Path + ": " + at
		}
	}
}
