package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

// loading is one reading of a configuration file and of what it names.
type loading struct {
	path string
	pins map[string]any // what stands in the document whatever it says
	read sums           // what was read
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

// file reads a file that the configuration names.
func (l *loading) file(name string) ([]byte, error) {
	l.read.note(l.below(name)) // before, so that a change while it is read is seen later
	return conf.ReadBounded(l.below(name), conf.MaxSecretBytes)
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
	return l.add(data, c, claims), nil
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
func (l *loading) add(data []byte, own *Config, claims []*claim) *Config {
	c := own
	for {
		good := slices.DeleteFunc(slices.Clone(claims), func(c *claim) bool { return len(c.Mistakes) > 0 })
		whole, err := l.parse(data, good)
		if err == nil {
			c = whole
			c.tell(good, len(own.Hosts))
			break
		}
		if !blame(err, good, len(own.Hosts)) {
			l.addOneByOne(data, good)
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
	return c
}

// blame hands the mistakes in the hosts of claims, which come after the first ones, to
// these claims, and reports whether any got one.
func blame(err error, claims []*claim, first int) (any bool) {
	found, _ := errors.AsType[conf.Errors](err)
	for _, m := range found {
		if c, at := whose(m.Path, claims, first); c != nil {
			c.refuse(at, "%s", m.Problem)
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

// addOneByOne finds the claims that make a mistake of something that is not in them.
func (l *loading) addOneByOne(data []byte, claims []*claim) {
	var good []*claim
	for _, c := range claims {
		if _, err := l.parse(data, append(slices.Clone(good), c)); err != nil {
			c.refuse("", "with this file there is a mistake elsewhere: %v", err)
			continue
		}
		good = append(good, c)
	}
}

// tell names the files that warnings are about.
func (c *Config) tell(claims []*claim, first int) {
	for i, w := range c.Warnings {
		if of, at := whose(w.Path, claims, first); of != nil {
			c.Warnings[i].Path = of.Path + ": " + at
		}
	}
}
