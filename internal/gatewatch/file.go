package gatewatch

import (
	"maps"
	"slices"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

// File is the `gateWatch` section.
type File struct {
	// Send requests to the public address of every MCP server from outside, without a token and with a wrong one, in several spellings, and report each gateway that lets one pass without asking this service. Each replica does so. Default false.
	Enabled bool `json:"enabled"`
	// How often, "10s" to "1h", varied by a tenth. A gateway that looks open is checked again after a quarter of this time, and reported if it looks open again.
	Interval time.Duration `json:"interval" default:"1m" min:"10s" max:"1h"`
	// Address of the gateway, such as "gateway.ingress.svc:443", if the public names do not lead to it from here. Requests and certificates keep the public names. Default: what DNS says.
	Connect string `json:"connect" check:"address"`
	// File with the certificates of the authorities to trust for the gateway, in PEM, and no others. Default: those of the system.
	Authorities []byte `json:"caFile"`
	// Settings for single hosts.
	Hosts []HostFile `json:"hosts" max:"1000"`
}

// HostFile is one entry of `gateWatch.hosts`.
type HostFile struct {
	// One of the hosts of proxy.hosts, with its port if it has one there. Required.
	Host string `json:"host"`
	// Address of the gateway of this host. Default: that of gateWatch.
	Connect string `json:"connect" check:"address"`
	// File with the certificates of the authorities to trust for this host, in PEM. Default: that of gateWatch.
	Authorities []byte `json:"caFile"`
	// Leave this host out. Default false.
	Skip bool `json:"skip"`
}

// Config says which gates are watched; the zero value watches none.
type Config struct {
	Enabled  bool
	Interval time.Duration
	Default  Gateway
	// Hosts are those that differ, by canonical name.
	Hosts map[string]Gateway
}

// Gateway is how the gateway of a host is reached.
type Gateway struct {
	Connect     string // host and port; "" for what DNS says
	Authorities []byte // PEM; empty for those of the system
	Skip        bool
}

// Resolve checks the section. hosts are the names of proxy.hosts.
func (f File) Resolve(c conf.Section, hosts []string) Config {
	out := Config{Enabled: f.Enabled, Interval: f.Interval}
	out.Default = reached(Gateway{}, f.Connect, f.Authorities)
	out.Hosts = map[string]Gateway{}
	for i, h := range f.Hosts {
		entry := conf.Section{Check: c.Check, At: conf.Element(c.Key("hosts"), i)}
		_, twice := out.Hosts[h.Host]
		switch {
		case entry.IsMalformed(entry.Key("host")):
		case h.Host == "":
			entry.Add(entry.Key("host"), "is required: a host of proxy.hosts")
		case !slices.Contains(hosts, h.Host):
			entry.Add(entry.Key("host"), "%s is no host of proxy.hosts", conf.Show(h.Host))
		case twice:
			entry.Add(entry.Key("host"), "%s is listed twice", conf.Show(h.Host))
		}
		g := reached(out.Default, h.Connect, h.Authorities)
		g.Skip = h.Skip
		out.Hosts[h.Host] = g
	}
	return out
}

// reached is standard with what an entry says.
func reached(standard Gateway, connect string, authorities []byte) Gateway {
	g := standard
	if connect != "" {
		g.Connect = connect
	}
	if authorities != nil {
		g.Authorities = authorities
	}
	return g
}

// Of returns how the gateway of a host is reached.
func (c Config) Of(host string) Gateway {
	if g, ok := c.Hosts[host]; ok {
		return g
	}
	return c.Default
}

// Summary says for the operator what is watched.
func (c Config) Summary() string {
	if !c.Enabled {
		return "off"
	}
	text := "every " + conf.ShowDuration(c.Interval)
	var skipped []string
	for _, name := range slices.Sorted(maps.Keys(c.Hosts)) {
		if c.Hosts[name].Skip {
			skipped = append(skipped, name)
		}
	}
	if len(skipped) > 0 {
		text += ", without " + conf.Names(skipped)
	}
	return text
}
