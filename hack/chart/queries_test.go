package chart

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
)

var metricNames = regexp.MustCompile(`\bmcp_forward_auth_[a-z_]+`)

// known reports whether the reference has the metric, or the histogram that it is of.
func known(reference, name string) bool {
	for _, part := range []string{"_bucket", "_sum", "_count"} {
		base, ok := strings.CutSuffix(name, part)
		if ok && strings.Contains(reference, "| `"+base+"` | histogram |") {
			return true
		}
	}
	return strings.Contains(reference, "| `"+name+"` |")
}

// Every expression of the alerts and of the dashboard is PromQL about metrics that
// there are.
func TestQueries(t *testing.T) {
	var expressions []string
	_, rules := alerts(t)
	for _, rule := range rules {
		expressions = append(expressions, rule.Expr)
	}
	ofAlerts := len(expressions)
	var dashboard struct {
		Panels []struct{ Targets []struct{ Expr string } }
	}
	data, err := os.ReadFile(filepath.Join(chartDir, "dashboards", "mcp-forward-auth.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &dashboard); err != nil {
		t.Fatal(err)
	}
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			// What Grafana puts in.
			expressions = append(expressions, strings.NewReplacer("$__rate_interval", "5m", "$namespace", "mcp").Replace(target.Expr))
		}
	}
	if ofAlerts < 15 || len(expressions)-ofAlerts < 30 {
		t.Errorf("%d alerts, %d queries", ofAlerts, len(expressions)-ofAlerts)
	}
	reference, err := os.ReadFile("../../docs/reference/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	p := parser.NewParser(parser.Options{})
	for _, e := range expressions {
		for _, name := range metricNames.FindAllString(e, -1) {
			if !known(string(reference), name) {
				t.Errorf("%s is no metric of the reference, in %s", name, e)
			}
		}
		if _, err := p.ParseExpr(e); err != nil {
			t.Errorf("%v in %s", err, e)
		}
	}
	if _, err := p.ParseExpr("sum(rate(a{)"); err == nil {
		t.Error("the parser takes anything")
	}
}
