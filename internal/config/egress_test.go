package config

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

func TestEgress(t *testing.T) {
	c, err := Parse([]byte(minimal+`
egress: {deniedPrefixes: [10.96.0.0/12, "fd00::/8"], proxy: "http://proxy.corp.example:3128", proxyCredentialsFile: creds, proxyMCPServers: true}
registration: {metadataDocuments: {allowedDomains: [apps.corp.example, "apps.corp.example:8443", "*.example.com"]}}`), func(string) ([]byte, error) { return []byte("user:pa:ss\n"), nil })
	if err != nil {
		t.Fatal(err)
	}
	e := c.Egress
	if !reflect.DeepEqual(e.Denied, []netip.Prefix{netip.MustParsePrefix("10.96.0.0/12"), netip.MustParsePrefix("fd00::/8")}) || !e.ProxyMCPServers {
		t.Errorf("%+v", e)
	}
	if password, _ := e.Proxy().User.Password(); password != "pa:ss" || strings.Contains(e.ProxyURL, "pa:ss") {
		t.Errorf("credentials %q, and %v", password, e.ProxyURL)
	}
	if named := c.Registration.MetadataDocuments.NamedHosts(); !reflect.DeepEqual(named, []string{"apps.corp.example", "apps.corp.example:8443"}) {
		t.Errorf("named are %q: a wildcard names no host", named)
	}
	if mustParse(t, minimal).Egress.Proxy() != nil {
		t.Error("a proxy that is not configured")
	}
	for text, want := range map[string]string{
		"deniedPrefixes: [10.0.0.1/8]":             "egress.deniedPrefixes[0]: did you mean",
		"deniedPrefixes: [metadata]":               "egress.deniedPrefixes[0]: is not a network",
		"deniedPrefixes: [10.0.0.0/8, 10.0.0.0/8]": "egress.deniedPrefixes[1]: is listed twice",
		"proxy: 'http://user:pw@proxy:3128'":       "egress.proxy: proxyCredentialsFile",
		"proxy: 'socks5://proxy:1080'":             "egress.proxy: is not an http or https URL",
		"proxy: 'http://proxy:3128/path'":          "egress.proxy: has a path",
		"proxyMCPServers: true":                    "egress.proxy: is required",
	} {
		t.Run(text, func(t *testing.T) { refused(t, minimal+"egress: {"+text+"}", want) })
	}
}

// The natural entry for a server of HTTP+SSE covers one of its two paths.
func TestSSEWarning(t *testing.T) {
	for host, want := range map[string]string{
		"{host: mcp.example.com, endpoint: 'http://s:3001/sse'}":             `set "/"`,
		"{host: mcp.example.com, endpoint: 'http://s:3001/a/sse'}":           `set "/a"`,
		"{host: mcp.example.com, endpoint: 'http://s:3001/sse', path: /}":    "",
		"{host: mcp.example.com, endpoint: 'http://s:3001/sse', path: /all}": "",
		"{host: mcp.example.com, endpoint: 'http://s:3001/mcp'}":             "",
	} {
		warnings := mustParse(t, oidc+"proxy: {hosts: ["+host+"]}").Warnings
		if got := fmt.Sprint(warnings); strings.Contains(got, "HTTP+SSE") != (want != "") || !strings.Contains(got, want) {
			t.Errorf("%s: %s", host, got)
		}
	}
}
