package chart

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// alert is what a rule of the PrometheusRule says.
type alert struct {
	Alert, Expr string
	Annotations map[string]string
}

// alerts renders the PrometheusRule and returns its spec, with every alert.
func alerts(t *testing.T) (spec map[string]any, rules []alert) {
	t.Helper()
	out, err := helm4.render(t, filepath.Join(chartDir, "ci", "traefik-values.yaml"), "--set", "prometheusRule.disabled=null")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range regexp.MustCompile(`(?m)^---$`).Split(out, -1) {
		var o struct {
			Kind string
			Spec map[string]any
		}
		if err := yaml.Unmarshal([]byte(text), &o); err != nil || o.Kind != "PrometheusRule" {
			continue
		}
		text, err := json.Marshal(o.Spec)
		if err != nil {
			t.Fatal(err)
		}
		var typed struct{ Groups []struct{ Rules []alert } }
		if err := json.Unmarshal(text, &typed); err != nil {
			t.Fatal(err)
		}
		return o.Spec, typed.Groups[0].Rules
	}
	t.Fatal("no PrometheusRule is rendered")
	return nil, nil
}

// series of one metric, as promtool writes them: a sample a minute.
type series map[string]string

const labels = `{namespace="auth",pod="a"`

// firing has, for each alert, series that make it fire after an hour, and series
// that are ordinary or just below the threshold. All are of an hour and more.
var firing = map[string]struct{ fires, silent series }{
	"McpForwardAuthAbsent": {
		series{`mcp_forward_auth_build_info{namespace="another",pod="a",version="1"}`: "1x90"},
		series{`mcp_forward_auth_build_info` + labels + `,version="1"}`: "1x90"},
	},
	"McpForwardAuthErrors": {
		series{
			`mcp_forward_auth_http_requests_total` + labels + `,route="/token",status="5xx"}`: "0+6x90",
			`mcp_forward_auth_http_requests_total` + labels + `,route="/token",status="2xx"}`: "0+90x90",
		},
		series{
			`mcp_forward_auth_http_requests_total` + labels + `,route="/token",status="5xx"}`: "0+4x90",
			`mcp_forward_auth_http_requests_total` + labels + `,route="/token",status="2xx"}`: "0+96x90",
		},
	},
	"McpForwardAuthSeedsDiffer": {
		series{
			`mcp_forward_auth_build_info` + labels + `}`:                                        "1x90",
			`mcp_forward_auth_build_info{namespace="auth",pod="b"}`:                             "1x90",
			`mcp_forward_auth_seed_info` + labels + `,fingerprint="aa",use="seals"}`:            "1x90",
			`mcp_forward_auth_seed_info{namespace="auth",pod="b",fingerprint="bb",use="seals"}`: "1x90",
			`mcp_forward_auth_seed_info{namespace="auth",pod="b",fingerprint="aa",use="opens"}`: "1x90",
		},
		series{ // a rotation half way: each opens what the other seals; an old seed is left at one
			`mcp_forward_auth_build_info` + labels + `}`:                                        "1x90",
			`mcp_forward_auth_build_info{namespace="auth",pod="b"}`:                             "1x90",
			`mcp_forward_auth_seed_info` + labels + `,fingerprint="aa",use="seals"}`:            "1x90",
			`mcp_forward_auth_seed_info` + labels + `,fingerprint="bb",use="opens"}`:            "1x90",
			`mcp_forward_auth_seed_info` + labels + `,fingerprint="old",use="opens"}`:           "1x90",
			`mcp_forward_auth_seed_info{namespace="auth",pod="b",fingerprint="bb",use="seals"}`: "1x90",
			`mcp_forward_auth_seed_info{namespace="auth",pod="b",fingerprint="aa",use="opens"}`: "1x90",
		},
	},
	"McpForwardAuthSlow": {
		series{
			`mcp_forward_auth_http_request_duration_seconds_bucket` + labels + `,route="/callback",le="2.5"}`:  "0+9x90",
			`mcp_forward_auth_http_request_duration_seconds_bucket` + labels + `,route="/callback",le="10"}`:   "0+10x90",
			`mcp_forward_auth_http_request_duration_seconds_bucket` + labels + `,route="/callback",le="+Inf"}`: "0+10x90",
		},
		series{
			`mcp_forward_auth_http_request_duration_seconds_bucket` + labels + `,route="/callback",le="0.5"}`:  "0+10x90",
			`mcp_forward_auth_http_request_duration_seconds_bucket` + labels + `,route="/callback",le="2.5"}`:  "0+10x90",
			`mcp_forward_auth_http_request_duration_seconds_bucket` + labels + `,route="/callback",le="10"}`:   "0+10x90",
			`mcp_forward_auth_http_request_duration_seconds_bucket` + labels + `,route="/callback",le="+Inf"}`: "0+10x90",
		},
	},
	"McpForwardAuthSigningKeyStale": { // keys.rotation is 90m there
		series{`mcp_forward_auth_signing_key_age_seconds` + labels + `}`: "5401+60x90"},
		series{`mcp_forward_auth_signing_key_age_seconds` + labels + `}`: "5400x90"},
	},
	"McpForwardAuthForgedTokens": {
		series{`mcp_forward_auth_decisions_total` + labels + `,dialect="nginx",reason="bad_signature"}`: "0+60x90"},
		series{
			`mcp_forward_auth_decisions_total` + labels + `,dialect="nginx",reason="bad_signature"}`: "0+1x90",
			`mcp_forward_auth_decisions_total` + labels + `,dialect="nginx",reason="allowed"}`:       "0+600x90",
		},
	},
	"McpForwardAuthUnknownTargets": {
		series{`mcp_forward_auth_decisions_total` + labels + `,dialect="none",reason="unknown_host"}`: "0+30x90"},
		series{
			`mcp_forward_auth_decisions_total` + labels + `,dialect="none",reason="unknown_host"}`: "0+31x90",
			`mcp_forward_auth_gate_questions_total` + labels + `}`:                                 "0+30x90", // the gate watch asks them
		},
	},
	"McpForwardAuthGateOpen": {
		series{`mcp_forward_auth_gate_state` + labels + `,resource="https://mcp.example.com/mcp",state="open"}`: "1x90"},
		series{`mcp_forward_auth_gate_state` + labels + `,resource="https://mcp.example.com/mcp",state="unreachable"}`: "1x90"},
	},
	"McpForwardAuthGateUnseen": {
		series{`mcp_forward_auth_gate_state` + labels + `,resource="https://mcp.example.com/mcp",state="unreachable"}`: "1x90"},
		series{ // another replica sees it
			`mcp_forward_auth_gate_state` + labels + `,resource="https://mcp.example.com/mcp",state="unreachable"}`:       "1x90",
			`mcp_forward_auth_gate_state{namespace="auth",pod="b",resource="https://mcp.example.com/mcp",state="closed"}`: "1x90",
		},
	},
	"McpForwardAuthSignInsRefused": {
		series{
			`mcp_forward_auth_events_total` + labels + `,event="login.refused"}`:   "0+2x90",
			`mcp_forward_auth_events_total` + labels + `,event="login.completed"}`: "0+1x90",
		},
		series{
			`mcp_forward_auth_events_total` + labels + `,event="login.refused"}`:   "0+2x90",
			`mcp_forward_auth_events_total` + labels + `,event="login.completed"}`: "0+3x90",
		},
	},
	"McpForwardAuthCatalogueFails": {
		series{
			`mcp_forward_auth_catalogue_fetch_duration_seconds_count` + labels + `,result="timeout"}`: "0+2x90",
			`mcp_forward_auth_catalogue_fetch_duration_seconds_count` + labels + `,result="ok"}`:      "0+1x90",
		},
		series{
			`mcp_forward_auth_catalogue_fetch_duration_seconds_count` + labels + `,result="timeout"}`:    "0+1x90",
			`mcp_forward_auth_catalogue_fetch_duration_seconds_count` + labels + `,result="undeclared"}`: "0+2x90",
		},
	},
	"McpForwardAuthDenyListBroken": {
		series{`mcp_forward_auth_deny_list_broken` + labels + `}`: "1x90"},
		series{`mcp_forward_auth_deny_list_broken` + labels + `}`: "0x90"},
	},
	"McpForwardAuthConfigBroken": {
		series{`mcp_forward_auth_config_last_reload_successful` + labels + `}`: "0x90"},
		series{`mcp_forward_auth_config_last_reload_successful` + labels + `}`: "1x90"},
	},
	"McpForwardAuthHostsFilesBroken": {
		series{`mcp_forward_auth_hosts_files_broken` + labels + `}`: "2x90"},
		series{`mcp_forward_auth_hosts_files_broken` + labels + `}`: "0x90"},
	},
	"McpForwardAuthConfigPending": {
		series{`mcp_forward_auth_config_restart_pending` + labels + `}`: "2x90"},
		series{`mcp_forward_auth_config_restart_pending` + labels + `}`: "0x90"},
	},
	"McpForwardAuthUsersFileBroken": {
		series{`mcp_forward_auth_users_file_broken` + labels + `,provider="staff"}`: "1x90"},
		series{`mcp_forward_auth_users_file_broken` + labels + `,provider="staff"}`: "0x90"},
	},
	"McpForwardAuthAuditLost": {
		series{`mcp_forward_auth_audit_entries_lost_total` + labels + `}`: "0+1x90"},
		series{`mcp_forward_auth_audit_entries_lost_total` + labels + `}`: "7x90"},
	},
	"McpForwardAuthTracesLost": {
		series{`mcp_forward_auth_trace_export_failures_total` + labels + `}`: "0+1x90"},
		series{`mcp_forward_auth_trace_export_failures_total` + labels + `}`: "7x90"},
	},
	"McpForwardAuthOverload": {
		series{`mcp_forward_auth_shed_requests_total` + labels + `,route="/token"}`: "0+30x90"},
		series{`mcp_forward_auth_shed_requests_total` + labels + `,route="/token"}`: "0+1x90"},
	},
	"McpForwardAuthGuardDown": {
		series{`mcp_forward_auth_guard_up` + labels + `}`: "0x90", `mcp_forward_auth_guard_up{namespace="auth",pod="b"}`: "1x90"},
		series{`mcp_forward_auth_guard_up` + labels + `}`: "1x90"},
	},
	"McpForwardAuthProviderFails": {
		series{
			`mcp_forward_auth_provider_call_duration_seconds_count` + labels + `,provider="google",operation="identify",result="unavailable"}`: "0+1x90",
			`mcp_forward_auth_provider_call_duration_seconds_count` + labels + `,provider="google",operation="identify",result="ok"}`:          "0+2x90",
			`mcp_forward_auth_provider_call_duration_seconds_count` + labels + `,provider="github",operation="identify",result="ok"}`:          "0+9x90",
		},
		series{ // that people are refused says nothing bad about the provider
			`mcp_forward_auth_provider_call_duration_seconds_count` + labels + `,provider="google",operation="identify",result="cancelled"}`:   "0+9x90",
			`mcp_forward_auth_provider_call_duration_seconds_count` + labels + `,provider="google",operation="identify",result="ok"}`:          "0+2x90",
			`mcp_forward_auth_provider_call_duration_seconds_count` + labels + `,provider="google",operation="identify",result="unavailable"}`: "0x90",
		},
	},
	"McpForwardAuthCatalogueUnknown": {
		series{`mcp_forward_auth_catalogue_known` + labels + `,resource="https://a/mcp"}`: "0x90", `mcp_forward_auth_catalogue_known` + labels + `,resource="https://b/mcp"}`: "1x90"},
		series{`mcp_forward_auth_catalogue_known` + labels + `,resource="https://a/mcp"}`: "1x90"},
	},
	"McpForwardAuthToolsChanged": {
		series{`mcp_forward_auth_tools_changed_timestamp_seconds` + labels + `,resource="https://a/mcp"}`: "4000x90"},
		series{`mcp_forward_auth_tools_changed_timestamp_seconds` + labels + `,resource="https://a/mcp"}`: "1x90"},
	},
	"McpForwardAuthCodesNotRedeemed": {
		series{
			`mcp_forward_auth_login_steps_total` + labels + `,step="code_issued"}`: "0+5x90",
			`mcp_forward_auth_login_steps_total` + labels + `,step="redeemed"}`:    "0+2x90",
		},
		series{
			`mcp_forward_auth_login_steps_total` + labels + `,step="code_issued"}`: "0+5x90",
			`mcp_forward_auth_login_steps_total` + labels + `,step="redeemed"}`:    "0+4x90",
		},
	},
	"McpForwardAuthDecisionsSlow": {
		series{
			`mcp_forward_auth_decision_duration_seconds_bucket` + labels + `,le="0.1"}`:  "0+90x90",
			`mcp_forward_auth_decision_duration_seconds_bucket` + labels + `,le="1"}`:    "0+100x90",
			`mcp_forward_auth_decision_duration_seconds_bucket` + labels + `,le="+Inf"}`: "0+100x90",
		},
		series{
			`mcp_forward_auth_decision_duration_seconds_bucket` + labels + `,le="0.0001"}`: "0+100x90",
			`mcp_forward_auth_decision_duration_seconds_bucket` + labels + `,le="1"}`:      "0+100x90",
			`mcp_forward_auth_decision_duration_seconds_bucket` + labels + `,le="+Inf"}`:   "0+100x90",
		},
	},
	"McpForwardAuthClockSkew": {
		series{`mcp_forward_auth_guard_clock_skew_seconds` + labels + `}`: "-6x90"},
		series{`mcp_forward_auth_guard_clock_skew_seconds` + labels + `}`: "0.2x90"},
	},
}

// TestAlerts lets Prometheus itself judge the rules: each alert fires where it
// should, and not where it should not.
func TestAlerts(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatal("not run: there is no promtool; Debian has it in the package prometheus")
	}
	spec, rules := alerts(t)
	dir := t.TempDir()
	writeYAML(t, filepath.Join(dir, "rules.yaml"), spec)
	if out, err := exec.Command(promtool, "check", "rules", "--lint-fatal", filepath.Join(dir, "rules.yaml")).CombinedOutput(); err != nil {
		t.Errorf("promtool check rules: %v\n%s", err, out)
	}
	var cases []any
	for _, r := range rules {
		c, ok := firing[r.Alert]
		if !ok {
			t.Errorf("there is no test of alert %s", r.Alert)
			continue
		}
		cases = append(cases, test(r.Alert+" fires", r.Alert, c.fires, true), test(r.Alert+" is silent", r.Alert, c.silent, false))
	}
	if len(rules) != len(firing) {
		t.Errorf("%d alerts, %d are tested", len(rules), len(firing))
	}
	writeYAML(t, filepath.Join(dir, "test.yaml"), map[string]any{"rule_files": []string{"rules.yaml"}, "evaluation_interval": "1m", "tests": cases})
	if out, err := exec.Command(promtool, "test", "rules", filepath.Join(dir, "test.yaml")).CombinedOutput(); err != nil {
		t.Errorf("promtool test rules: %v\n%s", err, out)
	}
}

// test asks how many alerts of that name are firing after an hour.
func test(title, name string, input series, fires bool) map[string]any {
	var in []any
	for s, values := range input {
		in = append(in, map[string]any{"series": s, "values": values})
	}
	samples := []any{}
	if fires {
		samples = append(samples, map[string]any{"labels": "{}", "value": 1})
	}
	return map[string]any{
		"name": title, "interval": "1m", "input_series": in,
		"promql_expr_test": []any{map[string]any{
			"expr": fmt.Sprintf("count(ALERTS{alertname=%q,alertstate=\"firing\"})", name), "eval_time": "70m", "exp_samples": samples,
		}},
	}
}

func writeYAML(t *testing.T, path string, v any) {
	t.Helper()
	text, err := yaml.Marshal(v)
	if err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestRunbook: each alert leads to a paragraph about it.
func TestRunbook(t *testing.T) {
	_, rules := alerts(t)
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	var headings []string
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "#"); ok {
			headings = append(headings, strings.Trim(name, "# \n"))
		}
	}
	for _, r := range rules {
		if !slices.Contains(headings, r.Alert) {
			t.Errorf("docs/operations.md has no heading %s", r.Alert)
		}
		if want := "docs/operations.md#" + strings.ToLower(r.Alert); !strings.HasSuffix(r.Annotations["runbook_url"], want) {
			t.Errorf("%s: runbook_url is %s", r.Alert, r.Annotations["runbook_url"])
		}
	}
}
