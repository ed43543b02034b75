//go:build linux

package main

import (
	"strings"
	"testing"
)

// Each location that sets a header of its own has to say Connection "" itself:
// it inherits no proxy_set_header then, and the benchmark would measure how long
// nginx takes to open connections.
func TestNginxKeepsConnections(t *testing.T) {
	locations := strings.Split(nginxServer, "location ")[1:]
	if len(locations) != 2 {
		t.Fatalf("%d locations", len(locations))
	}
	for _, l := range locations {
		if !strings.Contains(l, "proxy_pass http://") || !strings.Contains(l, `proxy_set_header Connection "";`) {
			t.Errorf("this location opens a connection for each request: %s", l)
		}
	}
	if strings.Count(nginxConfig, "keepalive 64;") != strings.Count(nginxConfig, "{ server %") {
		t.Error("an upstream keeps no connections")
	}
}
