package config

import (
	"io/fs"
	"strings"
	"testing"
	"time"
)

func TestGateWatch(t *testing.T) {
	if c := mustParse(t, minimal); c.GateWatch.Enabled {
		t.Error("on without being asked for")
	}
	c := mustParse(t, minimal+"gateWatch: {enabled: true, connect: 'gateway.ingress.svc:443', hosts: [{host: mcp.example.com, connect: '10.0.0.1:8443'}]}\n")
	if g := c.GateWatch; !g.Enabled || g.Interval != time.Minute || g.Of("other").Connect != "gateway.ingress.svc:443" || g.Of("mcp.example.com").Connect != "10.0.0.1:8443" {
		t.Errorf("got %+v", g)
	}
	c = mustParse(t, minimal+"gateWatch: {enabled: true, interval: 5m, connect: 'gateway:443', hosts: [{host: mcp.example.com, skip: true}]}\n")
	if g := c.GateWatch.Of("mcp.example.com"); !g.Skip || g.Connect != "gateway:443" || !strings.Contains(c.Summary(), "every 5m, without mcp.example.com") {
		t.Errorf("got %+v\n%s", g, c.Summary())
	}
}

func TestGateWatchMistakes(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"{interval: 1s}", "gateWatch.interval: \"1s\" is not between 10s and 1h"},
		{"{interval: often}", "gateWatch.interval: \"often\" is not a duration"},
		{"{connect: gateway}", "gateWatch.connect: \"gateway\" is not an address such as"},
		{"{connect: 'https://gateway'}", "gateWatch.connect: \"https://gateway\" is not an address"},
		{"{caFile: nowhere}", "gateWatch.caFile: there is no such file"},
		{"{hosts: [{connect: 'gateway:443'}]}", "gateWatch.hosts[0].host: is required"},
		{"{hosts: [{host: other.example.com}]}", "gateWatch.hosts[0].host: \"other.example.com\" is no host of proxy.hosts"},
		{"{hosts: [{host: mcp.example.com}, {host: mcp.example.com}]}", "gateWatch.hosts[1].host: \"mcp.example.com\" is listed twice"},
		{"{hosts: [{host: mcp.example.com, caFile: nowhere, connect: 'x'}]}", "gateWatch.hosts[0].connect"},
		{"{enabled: 'yes'}", "gateWatch.enabled"},
		{"{always: true}", "gateWatch.always"},
	} {
		_, err := Parse([]byte(minimal+"gateWatch: "+tt.text+"\n"), func(string) ([]byte, error) { return nil, fs.ErrNotExist })
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.text, err, tt.want)
		}
	}
}
