package chart

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
	"sigs.k8s.io/yaml"
)

// Every expression of the alerts and of the dashboard is PromQL.
func TestQueries(t *testing.T) {
	var expressions []string
	out, err := helm4.render(t, filepath.Join(chartDir, "ci", "traefik-values.yaml"), "--set", "prometheusRule.disabled=null")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range regexp.MustCompile(`(?m)^---$`).Split(out, -1) {
		var o struct {
			Kind string
			Spec struct {
				Groups []struct {
					Rules []struct{ Alert, Expr string }
				}
			}
		}
		if err := yaml.Unmarshal([]byte(text), &o); err != nil || o.Kind != "PrometheusRule" {
			continue
		}
		for _, rule := range o.Spec.Groups[0].Rules {
			expressions = append(expressions, rule.Expr)
		}
	}
	alerts := len(expressions)
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
	if alerts < 8 || len(expressions)-alerts < 10 {
		t.Errorf("%d alerts, %d queries", alerts, len(expressions)-alerts)
	}
	p := parser.NewParser(parser.Options{})
	for _, e := range expressions {
		if _, err := p.ParseExpr(e); err != nil {
			t.Errorf("%v in %s", err, e)
		}
	}
	if _, err := p.ParseExpr("sum(rate(a{)"); err == nil {
		t.Error("the parser takes anything")
	}
}
