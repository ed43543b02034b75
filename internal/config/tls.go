package config

import "slices"

// SecureHosts are the public hosts with the scheme https, each once, with that of
// callbacks.
func (c *Config) SecureHosts() []string {
	var hosts []string
	for _, h := range c.Hosts {
		if h.Scheme == "https" && !slices.Contains(hosts, h.Host) {
			hosts = append(hosts, h.Host)
		}
	}
	if c.CallbackHost.Scheme == "https" && !slices.Contains(hosts, c.CallbackHost.Host) {
		hosts = append(hosts, c.CallbackHost.Host)
	}
	return hosts
}
