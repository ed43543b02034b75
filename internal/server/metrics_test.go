package server

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/forwardauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// seriesOf counts the series of our own metrics.
func seriesOf(t *testing.T, m *metrics) int {
	t.Helper()
	families, err := m.make.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "mcp_forward_auth_") {
			continue
		}
		for _, each := range f.GetMetric() {
			n += max(1, len(each.GetHistogram().GetBucket()))
		}
	}
	return n
}

// Strangers begin no series, however many hosts there are, and all hosts
// together begin a bounded number.
func TestSeriesAreBounded(t *testing.T) {
	const hosts = 10_000
	var list []resource.Entry
	for i := range hosts {
		list = append(list, resource.Entry{Host: fmt.Sprintf("h%05d.example.com", i), Scheme: "https", Path: "/mcp", Endpoint: &url.URL{Scheme: "http", Host: "mcp"}})
	}
	table, err := resource.NewTable(list)
	if err != nil {
		t.Fatal(err)
	}
	m := newMetrics("test")
	m.watchResources(table, func(*resource.Resource) bool { return true })
	everywhere := func(proven bool) {
		for _, r := range table.All() {
			for _, reason := range forwardauth.Reasons() {
				m.decision(forwardauth.Outcome{Reason: reason, Dialect: forwardauth.NGINX, Resource: r, Proven: proven})
			}
		}
	}
	before := seriesOf(t, m)
	if before > hosts+1000 {
		t.Errorf("%d series before the first request", before)
	}
	everywhere(false)
	if n := seriesOf(t, m); n != before {
		t.Errorf("strangers begin %d series", n-before)
	}
	everywhere(true)
	if n, most := seriesOf(t, m)-before, maxResourceSeries+forwardauth.NumReasons; n > most {
		t.Errorf("good tokens begin %d series, more than %d", n, most)
	}
}
