// Package charts holds what the Helm chart renders against the program: the
// golden files in ci/golden are what Helm makes of ci/*-values.yaml, which the
// tests in hack/chart see to. The tests here need nothing but Go.
package charts

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/forwardauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/server"
)

const chart = "mcp-forward-auth"

// object is as much of a Kubernetes object as the tests look at.
type object struct {
	APIVersion, Kind string
	Metadata         struct {
		Name, Namespace     string
		Labels, Annotations map[string]string
	}
	StringData, Data map[string]string
	Spec             json.RawMessage
}

// rendered is one golden file.
type rendered struct {
	name    string
	objects []object
}

func (r rendered) of(kind string) (found []object) {
	for _, o := range r.objects {
		if o.Kind == kind {
			found = append(found, o)
		}
	}
	return found
}

func (o object) spec(t *testing.T, into any) {
	t.Helper()
	if err := json.Unmarshal(o.Spec, into); err != nil {
		t.Fatalf("%s %s: %v", o.Kind, o.Metadata.Name, err)
	}
}

// each runs f over all golden files.
func each(t *testing.T, f func(t *testing.T, r rendered)) {
	t.Helper()
	values, _ := filepath.Glob(filepath.Join(chart, "ci", "*-values.yaml"))
	files, _ := filepath.Glob(filepath.Join(chart, "ci", "golden", "*.yaml"))
	if len(files) != len(values) || len(files) < 5 {
		t.Fatalf("%d golden files for %d values files; run make chart-update", len(files), len(values))
	}
	for _, file := range files {
		r := rendered{name: strings.TrimSuffix(filepath.Base(file), ".yaml")}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, document := range regexp.MustCompile(`(?m)^---$`).Split(string(text), -1) {
			var o object
			if err := yaml.Unmarshal([]byte(document), &o); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			if o.Kind != "" {
				r.objects = append(r.objects, o)
			}
		}
		t.Run(r.name, func(t *testing.T) { f(t, r) })
	}
}

// pod is what the tests look at of the specification of a pod.
type pod struct {
	AutomountServiceAccountToken *bool
	HostNetwork, HostPID         bool
	SecurityContext              struct {
		RunAsNonRoot   *bool
		RunAsUser      *int
		SeccompProfile struct{ Type string }
	}
	TerminationGracePeriodSeconds int
	InitContainers, Containers    []container
	Volumes                       []struct {
		Name      string
		HostPath  *struct{}
		Projected struct {
			Sources []struct {
				Secret struct {
					Name  string
					Items []struct{ Key, Path string }
				}
			}
		}
	}
}

type container struct {
	Name            string
	Args            []string
	SecurityContext struct {
		AllowPrivilegeEscalation, ReadOnlyRootFilesystem, RunAsNonRoot *bool
		RunAsUser                                                      *int
		Capabilities                                                   struct{ Drop, Add []string }
	}
	VolumeMounts                                []struct{ Name, MountPath string }
	StartupProbe, LivenessProbe, ReadinessProbe struct {
		HTTPGet struct{ Path, Port string }
	}
}

func (r rendered) pod(t *testing.T) pod {
	t.Helper()
	deployments := r.of("Deployment")
	if len(deployments) != 1 {
		t.Fatalf("%d Deployments", len(deployments))
	}
	var d struct{ Template struct{ Spec pod } }
	deployments[0].spec(t, &d)
	return d.Template.Spec
}

// file is what the program reads at a path relative to its configuration: only
// what the pod mounts there is to be had.
func (r rendered) file(t *testing.T, name string) ([]byte, error) {
	t.Helper()
	for _, v := range r.pod(t).Volumes {
		for _, source := range v.Projected.Sources {
			for _, item := range source.Secret.Items {
				if item.Path == name {
					sum := sha256.Sum256([]byte(source.Secret.Name + "/" + item.Key))
					return fmt.Appendf(nil, "%x", sum), nil
				}
			}
		}
	}
	return nil, fs.ErrNotExist
}

// config is the configuration as the program reads it, nil if the chart does not make it.
func (r rendered) config(t *testing.T) *config.Config {
	t.Helper()
	for _, secret := range r.of("Secret") {
		if text := secret.StringData["config.yaml"]; text != "" {
			c, err := config.Parse([]byte(text), func(name string) ([]byte, error) { return r.file(t, name) })
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			return c
		}
	}
	return nil
}

func TestConfiguration(t *testing.T) {
	each(t, func(t *testing.T, r rendered) {
		if c := r.config(t); c == nil && r.name != "existing-config" {
			t.Error("there is no configuration")
		}
		if _, err := r.file(t, "config.yaml"); err != nil {
			t.Error("config.yaml is not mounted")
		}
		main := r.pod(t).Containers[0]
		for _, got := range []string{main.StartupProbe.HTTPGet.Port, main.LivenessProbe.HTTPGet.Port, main.ReadinessProbe.HTTPGet.Port} {
			if got != "management" {
				t.Errorf("a probe asks at port %s", got)
			}
		}
		if !slices.Contains(main.Args, "--config=/etc/mcp-forward-auth/config.yaml") || main.VolumeMounts[0].MountPath != "/etc/mcp-forward-auth" {
			t.Errorf("args %q, mounts %v", main.Args, main.VolumeMounts)
		}
	})
}

// More than one replica shares its keys.
func TestReplicasShareKeys(t *testing.T) {
	each(t, func(t *testing.T, r rendered) {
		var d struct{ Replicas *int }
		r.of("Deployment")[0].spec(t, &d)
		several := d.Replicas == nil || *d.Replicas > 1
		c := r.config(t)
		if c == nil {
			return
		}
		if several && c.Keys.Source != "seed" {
			t.Errorf("replicas %v with keys of source %s", d.Replicas, c.Keys.Source)
		}
		if got := len(r.of("PodDisruptionBudget")) == 1; got != several {
			t.Errorf("there is a disruption budget: %v, several replicas: %v", got, several)
		}
	})
}

// The Pod Security Standard "restricted", on all pods whose values do not say otherwise.
func TestRestricted(t *testing.T) {
	each(t, func(t *testing.T, r rendered) {
		if r.name == "predecessor" || r.name == "everything" {
			t.Skip("these values set security contexts and containers of their own")
		}
		pods := map[string]pod{"Deployment": r.pod(t)}
		for _, o := range r.of("Pod") {
			var p pod
			o.spec(t, &p)
			pods[o.Metadata.Name] = p
		}
		if len(pods) != 2 {
			t.Errorf("%d pods, want the service and the test", len(pods))
		}
		yes := func(b *bool) bool { return b != nil && *b }
		no := func(b *bool) bool { return b != nil && !*b }
		for name, p := range pods {
			// OpenShift gives each namespace users of its own, and refuses any other.
			user, assigned := p.SecurityContext.RunAsUser, r.name == "openshift"
			if p.HostNetwork || p.HostPID || !yes(p.SecurityContext.RunAsNonRoot) || assigned != (user == nil) ||
				user != nil && *user == 0 || p.SecurityContext.SeccompProfile.Type != "RuntimeDefault" || !no(p.AutomountServiceAccountToken) {
				t.Errorf("%s: %+v", name, p.SecurityContext)
			}
			for _, c := range append(p.Containers, p.InitContainers...) {
				s := c.SecurityContext
				if !no(s.AllowPrivilegeEscalation) || !yes(s.ReadOnlyRootFilesystem) || !slices.Equal(s.Capabilities.Drop, []string{"ALL"}) || s.Capabilities.Add != nil {
					t.Errorf("%s, container %s: %+v", name, c.Name, s)
				}
			}
			for _, v := range p.Volumes {
				if v.HostPath != nil {
					t.Errorf("%s: volume %s is of the node", name, v.Name)
				}
			}
		}
	})
}

// route is one path that a gateway sends to a Service.
type route struct {
	host, path, kind, service string
}

func (r rendered) routes(t *testing.T) (all []route) {
	t.Helper()
	for _, o := range r.of("Ingress") {
		var spec struct {
			Rules []struct {
				Host string
				HTTP struct {
					Paths []struct {
						Path, PathType string
						Backend        struct{ Service struct{ Name string } }
					}
				}
			}
		}
		o.spec(t, &spec)
		for _, rule := range spec.Rules {
			for _, p := range rule.HTTP.Paths {
				all = append(all, route{rule.Host, p.Path, p.PathType, p.Backend.Service.Name})
			}
		}
	}
	for _, o := range r.of("HTTPRoute") {
		var spec struct {
			Hostnames []string
			Rules     []struct {
				Matches     []struct{ Path struct{ Type, Value string } }
				BackendRefs []struct{ Name string }
			}
		}
		o.spec(t, &spec)
		for _, host := range spec.Hostnames {
			for _, rule := range spec.Rules {
				for _, m := range rule.Matches {
					all = append(all, route{host, m.Path.Value, strings.TrimPrefix(m.Path.Type, "Path"), rule.BackendRefs[0].Name})
				}
			}
		}
	}
	return all
}

func (ro route) covers(host, path string) bool {
	return ro.host == host && (ro.path == path || ro.kind == "Prefix" && strings.HasPrefix(path, strings.TrimSuffix(ro.path, "/")+"/"))
}

// Every endpoint that the program publishes reaches it, everything that reaches
// it is there, and /authenticate never is.
func TestRoutes(t *testing.T) {
	seen := 0
	each(t, func(t *testing.T, r rendered) {
		service := r.of("Service")[0].Metadata.Name
		var own []route
		for _, ro := range r.routes(t) {
			if ro.service == service {
				own = append(own, ro)
			}
			if ro.service == service && (ro.covers(ro.host, "/authenticate") || ro.covers(ro.host, "/authenticate/forwarded")) {
				t.Errorf("%s%s lets the world ask", ro.host, ro.path)
			}
		}
		c := r.config(t)
		if c == nil || own == nil {
			return
		}
		seen++
		s, err := server.New(c, server.Options{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		get := func(host, path string) *httptest.ResponseRecorder {
			req := httptest.NewRequest(http.MethodGet, path, nil)
			req.Host = host
			rec := httptest.NewRecorder()
			s.Protocol.ServeHTTP(rec, req)
			return rec
		}
		for _, h := range c.Hosts {
			name, _, _ := strings.Cut(h.Host, ":")
			must := []string{
				"/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource" + h.Path, "/.well-known/oauth-authorization-server",
				"/.well-known/oauth-authorization-server" + h.Path, "/.well-known/openid-configuration", "/consent", "/callback", "/login",
			}
			if h.Path != "/" {
				must = append(must, h.Path+"/.well-known/openid-configuration")
			}
			var published map[string]any
			if err := json.Unmarshal(get(h.Host, "/.well-known/oauth-authorization-server").Body.Bytes(), &published); err != nil {
				t.Fatal(err)
			}
			for key, value := range published {
				if url, ok := value.(string); ok && (strings.HasSuffix(key, "_endpoint") || key == "jwks_uri") {
					must = append(must, strings.TrimPrefix(url, "https://"+h.Host))
				}
			}
			if len(must) < 11 {
				t.Errorf("%s publishes only %v", h.Host, published)
			}
			if h.Exchange != nil {
				must = append(must, "/dead-token")
			}
			for _, path := range must {
				if !slices.ContainsFunc(own, func(ro route) bool { return ro.covers(name, path) }) {
					t.Errorf("%s%s is not routed to the service", name, path)
				}
			}
		}
		// Where providers send browsers back to, which may be a host of its own.
		back := []string{c.CallbackHost.Host}
		if back[0] == "" {
			back = nil
			for _, h := range c.Hosts {
				back = append(back, h.Host)
			}
		}
		for _, host := range back {
			for _, p := range c.Providers {
				path := strings.TrimSuffix("/callback/"+p.ID, "/")
				if !slices.ContainsFunc(own, func(ro route) bool { return ro.covers(host, path) || ro.covers(strings.Split(host, ":")[0], path) }) {
					t.Errorf("%s%s is not routed to the service", host, path)
				}
			}
		}
		optional := []string{"/login"} // of providers with passwords
		for _, ro := range own {
			if ro.host == c.CallbackHost.Host {
				if code := get(ro.host, ro.path).Code; code == http.StatusNotFound || !strings.HasPrefix(ro.path, "/callback") {
					t.Errorf("%s%s is routed to the service, which answers %d", ro.host, ro.path, code)
				}
				continue
			}
			if strings.HasPrefix(ro.host, "*.") {
				continue // of hosts in files, which the configuration does not show
			}
			host := c.Hosts[slices.IndexFunc(c.Hosts, func(h resource.Entry) bool { return strings.HasPrefix(h.Host, ro.host) })]
			appended := strings.HasSuffix(ro.path, "/.well-known/openid-configuration") && !strings.HasPrefix(ro.path, host.Path+"/")
			path := ro.path
			if ro.kind == "Prefix" {
				path += strings.TrimSuffix(host.Path, "/")
			}
			if got := get(host.Host, path).Code; got == http.StatusNotFound && !slices.Contains(optional, ro.path) && !appended {
				t.Errorf("%s%s is routed to the service, which answers 404", ro.host, ro.path)
			}
		}
	})
	if seen < 3 {
		t.Errorf("only %d files have routes", seen)
	}
}

// What asks the service asks it at an address that is there, by a path of the
// dialect that the gateway speaks, and fails closed.
func TestProtection(t *testing.T) {
	each(t, func(t *testing.T, r rendered) {
		service := r.of("Service")[0].Metadata
		port := servicePort(t, r.of("Service")[0])
		url := fmt.Sprintf("http://%s.%s.svc.cluster.local", service.Name, service.Namespace)
		if port != 80 {
			url += fmt.Sprintf(":%d", port)
		}
		headers := []string{"X-Auth-Request-Email", "X-Auth-Request-Groups", "X-Auth-Request-User"}
		if c := r.config(t); c != nil {
			headers = []string{c.IdentityHeaders.User, c.IdentityHeaders.Email, c.IdentityHeaders.Groups}
			if c.IdentityHeaders.JWT != "" {
				headers = append(headers, c.IdentityHeaders.JWT)
			}
			for _, h := range c.Hosts {
				headers = append(headers, h.ProviderToken.Names()...)
			}
		}
		slices.Sort(headers)
		headers = append(headers, "Authorization", "DPoP") // taken from the answer, which has none: the token and its proof end at the gateway
		for _, o := range r.of("Ingress") {
			if o.Metadata.Name == service.Name {
				if len(o.Metadata.Annotations) > 0 && o.Metadata.Annotations["nginx.ingress.kubernetes.io/auth-url"] != "" {
					t.Error("the OAuth paths are protected, so nobody can sign in")
				}
				continue
			}
			if got := o.Metadata.Annotations["nginx.ingress.kubernetes.io/auth-url"]; got != url+"/authenticate?host=$host" {
				t.Errorf("auth-url is %s, want %s", got, url)
			}
			if got := o.Metadata.Annotations["nginx.ingress.kubernetes.io/auth-response-headers"]; got != strings.Join(headers, ",") {
				t.Errorf("auth-response-headers is %s", got)
			}
		}
		for _, o := range r.of("Middleware") {
			var m struct {
				ForwardAuth struct {
					Address             string
					TrustForwardHeader  *bool
					AuthResponseHeaders []string
				}
			}
			o.spec(t, &m)
			if m.ForwardAuth.Address != url+"/authenticate/forwarded" || m.ForwardAuth.TrustForwardHeader == nil || *m.ForwardAuth.TrustForwardHeader ||
				!slices.Equal(m.ForwardAuth.AuthResponseHeaders, headers) {
				t.Errorf("%+v", m)
			}
		}
		for _, o := range r.of("SecurityPolicy") {
			var p struct {
				TargetRefs    []struct{ Kind, Name string }
				Authorization struct{ DefaultAction string }
				ExtAuth       struct {
					FailOpen *bool
					HTTP     *struct {
						Path        string
						BackendRefs []backend
					}
					GRPC *struct{ BackendRefs []backend }
				}
			}
			o.spec(t, &p)
			want := backend{service.Name, service.Namespace, port}
			switch e := p.ExtAuth; {
			case p.Authorization.DefaultAction != "": // without a question
				target := p.TargetRefs[0]
				if len(p.TargetRefs) != 1 || p.Authorization.DefaultAction != map[string]string{"Gateway": "Deny", "HTTPRoute": "Allow"}[target.Kind] ||
					target.Kind == "HTTPRoute" && target.Name != service.Name {
					t.Errorf("%+v", p)
				}
			case e.FailOpen == nil || *e.FailOpen:
				t.Error("it fails open")
			case e.HTTP != nil && (e.HTTP.Path != "/authenticate/envoy" || e.HTTP.BackendRefs[0] != want):
				t.Errorf("%+v", e.HTTP)
			case e.GRPC != nil:
				address := r.config(t).Listen.GRPC
				if want.Port, _ = strconv.Atoi(strings.TrimPrefix(address, ":")); e.GRPC.BackendRefs[0] != want {
					t.Errorf("%+v, want %+v", e.GRPC, want)
				}
			case e.HTTP == nil:
				t.Error("it asks nobody")
			}
		}
	})
}

type backend struct {
	Name, Namespace string
	Port            int
}

func servicePort(t *testing.T, o object) int {
	t.Helper()
	var s struct{ Ports []struct{ Port int } }
	o.spec(t, &s)
	return s.Ports[0].Port
}

// The policy lets gateways in, only those to the management port who need it, and
// the service out to what its configuration names.
// A gateway that names the headers of its question names all that a decision
// looks at, as the pages of docs/gateways do.
func TestAskedWithAllHeaders(t *testing.T) {
	list := regexp.MustCompile(`(?:allowedHeaders|headersToExtAuth|includeRequestHeadersInCheck|allowed_headers): (?:\{patterns: )?\[([^\]]*)\]`)
	prefix := regexp.MustCompile(`\{prefix: ([a-z-]+)`)
	files := []string{filepath.Join(chart, "values.yaml"), filepath.Join(chart, "ci", "golden", "istio.notes.txt")}
	pages, err := filepath.Glob(filepath.Join("..", "docs", "gateways", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, file := range append(files, pages...) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range list.FindAllStringSubmatch(string(text), -1) {
			found++
			names := strings.FieldsFunc(prefix.ReplaceAllString(m[1], "$1*"), func(r rune) bool { return strings.ContainsRune(`, "{}`, r) })
			for _, want := range []string{"dpop", "origin", "access-control-request-method", "content-type", "content-encoding", "mcp-protocol-version", "mcp-method", "mcp-name"} {
				// Some gateways take patterns.
				if !slices.ContainsFunc(names, func(name string) bool { ok, _ := path.Match(name, want); return ok }) {
					t.Errorf("%s: %s lacks %s", file, m[0], want)
				}
			}
		}
	}
	if found < 8 {
		t.Errorf("only %d lists are found", found)
	}
}

func TestNetworkPolicy(t *testing.T) {
	type selector struct {
		MatchLabels      map[string]string
		MatchExpressions []any
	}
	type peer struct {
		NamespaceSelector, PodSelector *selector
	}
	type rule struct {
		Ports    []struct{ Port any }
		From, To []peer
	}
	each(t, func(t *testing.T, r rendered) {
		policies := r.of("NetworkPolicy")
		if r.name == "istio" {
			if len(policies) != 0 {
				t.Error("networkPolicy.create is false, and there is one")
			}
			return
		}
		var p struct {
			PolicyTypes     []string
			Ingress, Egress []rule
		}
		policies[0].spec(t, &p)
		if !slices.Equal(p.PolicyTypes, []string{"Ingress", "Egress"}) || len(p.Ingress) != 2 {
			t.Fatalf("%+v", p)
		}
		http, management := p.Ingress[0], p.Ingress[1]
		for _, port := range http.Ports {
			if port.Port != "http" && port.Port != "grpc" {
				t.Errorf("gateways reach the port %v", port.Port)
			}
		}
		if len(http.Ports) == 0 || management.Ports[0].Port != "management" || len(management.From) == 0 {
			t.Errorf("%+v", p.Ingress)
		}
		// A rule without peers, and a selector of everything, would let every pod ask.
		all := func(s *selector) bool { return s == nil || len(s.MatchLabels)+len(s.MatchExpressions) == 0 }
		if len(http.From) == 0 || slices.ContainsFunc(http.From, func(p peer) bool { return all(p.NamespaceSelector) && all(p.PodSelector) }) {
			t.Errorf("every pod may ask: %+v", http.From)
		}
		c := r.config(t)
		if c == nil {
			return
		}
		for _, h := range c.Hosts {
			labels := strings.Split(h.Endpoint.Hostname(), ".")
			reached := slices.ContainsFunc(p.Egress, func(e rule) bool {
				if len(e.To) == 0 {
					return slices.ContainsFunc(e.Ports, func(p struct{ Port any }) bool { return fmt.Sprint(p.Port) == h.Endpoint.Port() })
				}
				return slices.ContainsFunc(e.To, func(to peer) bool {
					return to.NamespaceSelector.MatchLabels["kubernetes.io/metadata.name"] == labels[1]
				})
			})
			if !reached {
				t.Errorf("%s cannot be reached", h.Endpoint)
			}
		}
	})
}

var (
	metricName = regexp.MustCompile(`mcp_forward_auth_\w+`)
	labelValue = regexp.MustCompile(`(reason|event)(?:=|!=|=~|!~)\\?"([\w.|]+)\\?"`)
)

// Rules and dashboard speak of metrics and labels that there are.
func TestMetrics(t *testing.T) {
	files, err := filepath.Glob("../internal/server/*.go")
	if err != nil {
		t.Fatal(err)
	}
	var source []byte
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		source = append(source, text...)
	}
	var known []string
	for _, m := range regexp.MustCompile(`(?:Name: |NewDesc\(\s*)"(\w+)"`).FindAllStringSubmatch(string(source), -1) {
		known = append(known, m[1])
	}
	var reasons, events []string
	for _, r := range forwardauth.Reasons() {
		reasons = append(reasons, r.String())
	}
	for _, e := range audit.Events {
		events = append(events, string(e))
	}
	dashboard, err := os.ReadFile(filepath.Join(chart, "dashboards", chart+".json"))
	if err != nil || !json.Valid(dashboard) {
		t.Fatalf("the dashboard is not JSON, or %v", err)
	}
	rules, err := os.ReadFile(filepath.Join(chart, "templates", "monitoring.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(dashboard) + string(rules)
	used := 0
	for _, name := range metricName.FindAllString(text, -1) {
		base := name
		for _, suffix := range []string{"_bucket", "_count", "_sum"} {
			base = strings.TrimSuffix(base, suffix)
		}
		if used++; !slices.Contains(known, base) {
			t.Errorf("there is no metric %s", name)
		}
	}
	for _, m := range labelValue.FindAllStringSubmatch(text, -1) {
		for _, value := range strings.Split(m[2], "|") {
			if used++; !slices.Contains(map[string][]string{"reason": reasons, "event": events}[m[1]], value) {
				t.Errorf("there is no %s %s", m[1], value)
			}
		}
	}
	if used < 30 {
		t.Errorf("found %d names: the patterns find none", used)
	}
}

// Chart.yaml has what Artifact Hub wants, in the form it wants.
func TestChartFile(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(chart, "Chart.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		Version, AppVersion, KubeVersion, Home string
		Annotations                            map[string]string
	}
	if err := yaml.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^\d+\.\d+\.\d+`).MatchString(c.Version) || c.KubeVersion == "" || c.Home == "" {
		t.Errorf("%+v", c)
	}
	for _, key := range []string{"artifacthub.io/links", "artifacthub.io/images", "artifacthub.io/changes"} {
		var list []map[string]any
		if err := yaml.Unmarshal([]byte(c.Annotations[key]), &list); err != nil || len(list) == 0 {
			t.Errorf("%s: %v, %d entries", key, err, len(list))
		}
	}
	if !strings.Contains(c.Annotations["artifacthub.io/images"], ":"+c.AppVersion) {
		t.Errorf("the image is not that of version %s", c.AppVersion)
	}
}
