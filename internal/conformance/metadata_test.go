package conformance

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

const (
	oauthDocument  = "/.well-known/oauth-authorization-server"
	openidDocument = "/.well-known/openid-configuration"
	jwks           = "/openid/v1/jwks"
	prm            = "/.well-known/oauth-protected-resource"
)

var documents = []string{oauthDocument, openidDocument}

var metadataChecks = []Check{
	{IDs: "AS-META-01", Run: issuerComesFromConfiguration, Twins: twins(
		replies(oauthDocument, func(r *http.Request, a *reply) {
			if h := r.Header.Get("X-Forwarded-Host"); h != "" {
				a.Body = strings.ReplaceAll(a.Body, hostMCP, h)
			}
		}),
		replaceBody(oauthDocument, issuerMCP, "http://"+hostMCP))},
	{IDs: "AS-META-02", Run: bothDocumentsAnswer, Twins: twins(status(openidDocument, 200, 404), status(oauthDocument, 200, 404))},
	{IDs: "AS-META-03", Run: documentsWithPath, Twins: twins(status("/mcp"+openidDocument, 200, 404), status(oauthDocument+"/mcp", 200, 404))},
	{IDs: "AS-META-04", Run: oneIssuerEverywhere, Twins: twins(
		setMember(openidDocument, "issuer", issuerMCP+"/"),
		location("/callback", func(q url.Values) { q.Set("iss", issuerMCP+"/") }))},
	{IDs: "AS-META-05", Run: unknownPathsHaveNoDocument, Twins: twins(replies(oauthDocument+"*", func(_ *http.Request, a *reply) {
		if a.Status == 404 {
			a.Status, a.Body = 200, `{"issuer":"`+issuerMCP+`"}`
		}
	}))},
	{IDs: "AS-META-06", Run: documentsAreOpenJSON, Twins: twins(
		setHeader(oauthDocument, "Content-Type", "text/html"), setHeader(openidDocument, "Cache-Control", "public, max-age=31536000"), status(oauthDocument, 405, 200))},
	{IDs: "AS-META-07", Run: advertisedEndpointsAnswer, Twins: twins(
		setMember(oauthDocument, "registration_endpoint", issuerMCP+"/nothing"), setMember(oauthDocument, "introspection_endpoint", issuerMCP+"/introspect"))},
	{IDs: "AS-META-08", Run: misleadingDefaultsArePublished, Twins: twins(
		dropMember(oauthDocument, "grant_types_supported"),
		setMember(openidDocument, "response_types_supported", []string{"code", "token"}),
		setMember(oauthDocument, "token_endpoint_auth_methods_supported", []string{"client_secret_basic"}))},
	{IDs: "AS-META-09", Run: assertionAlgorithmsAreListed, Twins: twins(
		members(oauthDocument, func(m map[string]any) {
			m["token_endpoint_auth_methods_supported"] = []string{"none", "private_key_jwt"}
			m["token_endpoint_auth_signing_alg_values_supported"] = []string{"RS256", "HS256"}
		}))},
	{IDs: "AS-META-10", Run: pkceIsAdvertised, Twins: twins(
		dropMember(openidDocument, "code_challenge_methods_supported"), setMember(oauthDocument, "code_challenge_methods_supported", []string{"S256", "plain"}))},
	{IDs: "AS-META-11", Run: issParameterIsAdvertised, Twins: twins(dropMember(oauthDocument, "authorization_response_iss_parameter_supported"))},
	{IDs: "AS-META-12", Run: registrationIsAdvertisedWhileOn, Twins: twins(
		dropMember(oauthDocument, "registration_endpoint"),
		members(oauthDocument, func(m map[string]any) { m["registration_endpoint"] = issuerMCP + "/register" }))},
	{IDs: "AS-META-13", Run: openidDocumentIsWhole, Twins: twins(
		dropMember(openidDocument, "subject_types_supported"), setMember(openidDocument, "userinfo_endpoint", issuerMCP+"/userinfo"),
		setMember(openidDocument, "scopes_supported", []string{"openid"}))},
	{IDs: "AS-META-14", Run: offlineAccessIsAdvertisedIfUseful, Twins: twins(members(oauthDocument, func(m map[string]any) {
		grants, _ := m["grant_types_supported"].([]any)
		if slices.Contains(grants, any("refresh_token")) {
			m["scopes_supported"] = []string{"notes:read"}
		} else {
			m["scopes_supported"] = []string{"offline_access"}
		}
	}))},
	{IDs: "AS-META-15 RS-PRM-08", Run: absentFeaturesAreNotSignalled, Twins: twins(
		setMember(oauthDocument, "dpop_signing_alg_values_supported", []string{"ES256"}),
		setMember(prm+"/mcp", "dpop_bound_access_tokens_required", true))},
	{IDs: "AS-META-16", Run: documentsAreClean, Twins: twins(
		setMember(oauthDocument, "ui_locales_supported", []string{}), setMember(openidDocument, "op_policy_uri", nil),
		replaceBody(oauthDocument, `{"issuer"`, `{"issuer":"x","issuer"`))},
	{IDs: "AS-META-17", Run: corsOnMachineEndpointsOnly, Twins: twins(
		dropHeader("/token", "Access-Control-Allow-Origin"), setHeader("/authorize", "Access-Control-Allow-Origin", "*"),
		setHeader(jwks, "Access-Control-Allow-Credentials", "true"),
		setHeader("/register", "Access-Control-Allow-Headers", "Content-Type"))},
}

func issuerComesFromConfiguration(t *T) {
	w := t.World()
	for _, forged := range [][]string{{}, {"X-Forwarded-Host", "evil.example"}, {"X-Forwarded-Proto", "http"}, {"Forwarded", "host=evil.example;proto=http"}} {
		a := w.get(issuerMCP+oauthDocument, forged...)
		t.Want(a.Text("issuer") == issuerMCP, "issuer %q with %v", a.Text("issuer"), forged)
		for name, value := range a.JSON() {
			if s, ok := value.(string); ok && strings.Contains(s, "://") {
				u, err := url.Parse(s)
				t.Want(err == nil && u.Scheme == "https" && u.Host == hostMCP && u.RawQuery == "" && u.Fragment == "", "%s is %q", name, s)
			}
		}
	}
	for _, bad := range []string{"http://" + hostMCP, hostMCP + "?a=b", hostMCP + "#f", "user@" + hostMCP} {
		_, err := parseConfig(strings.Replace(standardConfig, "host: "+hostMCP, "host: '"+bad+"'", 1), nil)
		t.Want(err != nil, "the configuration accepts host %q", bad)
	}
	_, err := parseConfig(strings.Replace(standardConfig, "host: "+hostMCP, "scheme: http, host: "+hostMCP, 1), nil)
	t.Want(err != nil, "the configuration accepts plain http on a public host")
}

func bothDocumentsAnswer(t *T) {
	w := t.World()
	for _, issuer := range []string{issuerMCP, issuerMany, issuerRoot} {
		for _, d := range documents {
			a := w.get(issuer + d)
			t.Want(a.Status == 200 && strings.Contains(a.Body, `"issuer":"`+issuer+`"`), "%s%s: %d %.100q", issuer, d, a.Status, a.Body)
		}
	}
}

func documentsWithPath(t *T) {
	w := t.World()
	for _, path := range []string{oauthDocument + "/mcp", openidDocument + "/mcp", "/mcp" + openidDocument, oauthDocument + "/", oauthDocument + "/mcp/"} {
		a := w.get(issuerMCP + path)
		t.Want(a.Status == 200 && strings.Contains(a.Body, `"issuer":"`+issuerMCP+`"`), "%s: %d %.100q", path, a.Status, a.Body)
	}
}

func oneIssuerEverywhere(t *T) {
	w := t.World()
	for _, d := range documents {
		t.Want(w.get(issuerMCP+d).Text("issuer") == issuerMCP, "%s: issuer %q", d, w.get(issuerMCP+d).Text("issuer"))
	}
	servers, _ := w.get(issuerMCP + prm + "/mcp").JSON()["authorization_servers"].([]any)
	t.Want(len(servers) == 1 && servers[0] == issuerMCP, "authorization_servers %v", servers)
	c := w.register(hostMCP, nil)
	v := c.response()
	t.Want(v.Get("iss") == issuerMCP, "iss parameter %q", v.Get("iss"))
	a := c.exchange(v.Get("code"))
	t.Want(t.claims(a.Text("access_token"))["iss"] == issuerMCP, "iss claim %v", t.claims(a.Text("access_token"))["iss"])
}

func unknownPathsHaveNoDocument(t *T) {
	w := t.World()
	for _, path := range []string{"/other", "/mcp2", "/%6dcp", "/mcp/../other", "/a"} {
		for _, d := range documents {
			a := w.get(issuerMCP + d + path)
			t.Want(a.Status == 404 || a.Status == 301 || a.Status == 307, "%s%s: %d", d, path, a.Status)
			t.Want(!strings.Contains(a.Body, `"issuer"`), "%s%s has a document", d, path)
		}
	}
	a := w.get(issuerMCP + "/other" + openidDocument)
	t.Want(a.Status == 404, "/other%s: %d", openidDocument, a.Status)
	a = w.get("https://unknown.example" + oauthDocument)
	t.Want(a.Status == 404 || a.Status == 421, "unknown host: %d", a.Status)
}

func documentsAreOpenJSON(t *T) {
	w := t.World()
	for _, d := range documents {
		a := w.get(issuerMCP+d, "Accept", "text/html")
		t.Want(a.Status == 200, "%s: %d", d, a.Status)
		t.Want(a.Header.Get("Content-Type") == "application/json", "%s: Content-Type %q", d, a.Header.Get("Content-Type"))
		t.Want(boundedCache(a), "%s: Cache-Control %q", d, a.Header.Get("Cache-Control"))
		t.Want(len(a.Header.Values("Set-Cookie")) == 0, "%s sets a cookie", d)
		t.Want(w.do("POST", issuerMCP+d, "").Status == 405, "%s: POST is not 405", d)
	}
}

// boundedCache: cacheable, for a day at most.
func boundedCache(a *answer) bool {
	_, age, ok := strings.Cut(a.Header.Get("Cache-Control"), "max-age=")
	return ok && len(age) > 0 && len(age) <= 5
}

func advertisedEndpointsAnswer(t *T) {
	w := t.World()
	for _, d := range documents {
		for name, value := range w.get(issuerMCP + d).JSON() {
			address, ok := value.(string)
			if !ok || !strings.HasSuffix(name, "_endpoint") && name != "jwks_uri" {
				continue
			}
			t.Want(strings.HasPrefix(address, issuerMCP+"/"), "%s: %q", name, address)
			if a := w.get(address); a.Status == 404 || a.Status == 403 { // 403: the gateway knows no such path either
				t.Errorf("%s is advertised as %s and does not exist", name, address)
			}
		}
	}
}

func misleadingDefaultsArePublished(t *T) {
	w := t.World()
	for _, d := range documents {
		m := w.get(issuerMCP + d).JSON()
		t.Want(sameList(m["response_types_supported"], "code"), "%s: response_types_supported %v", d, m["response_types_supported"])
		t.Want(sameList(m["response_modes_supported"], "query"), "%s: response_modes_supported %v", d, m["response_modes_supported"])
		grants := list(m["grant_types_supported"])
		t.Want(slices.Contains(grants, "authorization_code"), "%s: grant_types_supported %v", d, grants)
		for _, g := range grants {
			t.Want(g == "authorization_code" || g == "refresh_token", "%s advertises grant %s", d, g)
		}
		t.Want(slices.Contains(list(m["token_endpoint_auth_methods_supported"]), "none"), "%s: no public clients", d)
		if m["revocation_endpoint"] != nil {
			t.Want(slices.Contains(list(m["revocation_endpoint_auth_methods_supported"]), "none"), "%s: no public clients at revocation", d)
		}
	}
}

func list(v any) (out []string) {
	items, _ := v.([]any)
	for _, i := range items {
		s, _ := i.(string)
		out = append(out, s)
	}
	return out
}

func sameList(v any, want ...string) bool { return slices.Equal(list(v), want) }

func assertionAlgorithmsAreListed(t *T) {
	w := t.World()
	for _, d := range documents {
		m := w.get(issuerMCP + d).JSON()
		for _, endpoint := range []string{"token", "revocation"} {
			algs := list(m[endpoint+"_endpoint_auth_signing_alg_values_supported"])
			if slices.Contains(list(m[endpoint+"_endpoint_auth_methods_supported"]), "private_key_jwt") {
				t.Want(len(algs) > 0, "%s: private_key_jwt at %s without algorithms", d, endpoint)
			}
			for _, alg := range algs {
				t.Want(alg != "none" && !strings.HasPrefix(alg, "HS"), "%s: algorithm %s", d, alg)
			}
		}
	}
}

func pkceIsAdvertised(t *T) {
	w := t.World()
	for _, d := range documents {
		m := w.get(issuerMCP + d).JSON()
		t.Want(sameList(m["code_challenge_methods_supported"], "S256"), "%s: %v", d, m["code_challenge_methods_supported"])
	}
}

func issParameterIsAdvertised(t *T) {
	w := t.World()
	for _, d := range documents {
		t.Want(w.get(issuerMCP + d).JSON()["authorization_response_iss_parameter_supported"] == true, "%s does not say so", d)
	}
}

func registrationIsAdvertisedWhileOn(t *T) {
	on, off := t.World(), t.World(configured("", "registration: {dynamic: {enabled: false}}"))
	t.Want(on.get(issuerMCP+oauthDocument).Text("registration_endpoint") == issuerMCP+"/register", "on, but not advertised")
	t.Want(off.get(issuerMCP + oauthDocument).JSON()["registration_endpoint"] == nil, "off, but advertised")
	t.Want(off.postJSON(issuerMCP+"/register", metadata()).Status == 404, "off, but served")
	m := on.get(issuerMCP + oauthDocument).JSON()
	if m["client_id_metadata_document_supported"] == true {
		noDocuments := t.World(configured("", noMetadataDocuments))
		t.Want(noDocuments.get(issuerMCP + oauthDocument).JSON()["client_id_metadata_document_supported"] == nil, "metadata documents are off, but advertised")
	}
}

func openidDocumentIsWhole(t *T) {
	m := t.World().get(issuerMCP + openidDocument).JSON()
	for _, name := range []string{"issuer", "authorization_endpoint", "token_endpoint", "jwks_uri", "response_types_supported", "subject_types_supported", "id_token_signing_alg_values_supported"} {
		t.Want(m[name] != nil, "%s is missing", name)
	}
	t.Want(slices.Contains(list(m["id_token_signing_alg_values_supported"]), "RS256"), "RS256 is missing")
	t.Want(m["userinfo_endpoint"] == nil && !slices.Contains(list(m["scopes_supported"]), "openid"), "promises userinfo or openid")
}

func offlineAccessIsAdvertisedIfUseful(t *T) {
	m := t.World().get(issuerMCP + oauthDocument).JSON()
	refresh := slices.Contains(list(m["grant_types_supported"]), "refresh_token")
	t.Want(slices.Contains(list(m["scopes_supported"]), "offline_access") == refresh, "refresh %v, scopes_supported %v", refresh, m["scopes_supported"])
}

func absentFeaturesAreNotSignalled(t *T) {
	w := t.World()
	for _, path := range []string{oauthDocument, openidDocument, prm + "/mcp", prm} {
		for name := range w.get(issuerMCP + path).JSON() {
			for _, hint := range []string{"dpop", "grant_profiles", "device_", "pushed_", "introspection", "mtls", "backchannel", "signed_metadata"} {
				t.Want(!strings.Contains(name, hint), "%s has %s", path, name)
			}
		}
	}
}

func documentsAreClean(t *T) {
	w := t.World()
	for _, path := range []string{oauthDocument, openidDocument, prm + "/mcp", prm} {
		body := w.get(issuerMCP + path).Body
		dec := json.NewDecoder(bytes.NewReader([]byte(body)))
		if _, err := dec.Token(); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		seen := map[string]bool{}
		for dec.More() {
			name, _ := dec.Token()
			var raw json.RawMessage
			if err := dec.Decode(&raw); err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			t.Want(!seen[name.(string)], "%s: %v is repeated", path, name)
			seen[name.(string)] = true
			t.Want(!slices.Contains([]string{"null", "[]", `""`, "{}"}, string(raw)), "%s: %v is %s", path, name, raw)
		}
	}
}

func corsOnMachineEndpointsOnly(t *T) {
	w := t.World()
	machine := []string{oauthDocument, openidDocument, prm + "/mcp", jwks, "/token", "/register"}
	if w.get(issuerMCP + oauthDocument).JSON()["revocation_endpoint"] != nil {
		machine = append(machine, "/revoke")
	}
	for _, path := range machine {
		for _, method := range []string{"GET", "POST"} {
			a := w.do(method, issuerMCP+path, "", "Origin", "https://app.example")
			t.Want(a.Header.Get("Access-Control-Allow-Origin") == "*", "%s %s: not open to any origin", method, path)
			t.Want(a.Header.Get("Access-Control-Allow-Credentials") == "", "%s %s: with credentials", method, path)
		}
		a := w.do("OPTIONS", issuerMCP+path, "", "Origin", "https://app.example", "Access-Control-Request-Method", "POST")
		t.Want(a.Status == 200 || a.Status == 204, "preflight of %s: %d", path, a.Status)
		for _, h := range []string{"Authorization", "Content-Type", "DPoP", "MCP-Protocol-Version"} {
			t.Want(strings.Contains(a.Header.Get("Access-Control-Allow-Headers"), h), "preflight of %s does not allow %s", path, h)
		}
	}
	for _, path := range []string{"/authorize", "/consent", "/callback"} {
		for _, method := range []string{"GET", "POST", "OPTIONS"} {
			a := w.do(method, issuerMCP+path, "", "Origin", "https://app.example")
			t.Want(a.Header.Get("Access-Control-Allow-Origin") == "", "%s %s: open to other origins", method, path)
		}
	}
}
