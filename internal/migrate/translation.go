package migrate

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

// translation is one translation under way.
type translation struct {
	request Request
	*given
	doc    *document
	result *Result
	// ruled are the providers that a rule of the policy is about.
	ruled []string
}

// said is the comment of a line that is different from what the option was: the
// note of its declaration, or "" where there is none.
func (t *translation) said(option string) string {
	o, _ := t.option(option)
	if o.Note == "" {
		return ""
	}
	return option + ": " + o.Note
}

// carry sets the key that the option becomes.
func (t *translation) carry(option, key string, v any) { t.doc.set(key, v, t.said(option)) }

// carryText is carry for an option that is one text, if it is given.
func (t *translation) carryText(option, key string) {
	if v := t.text(option); v != "" {
		t.carry(option, key, v)
	}
}

// carryList is carry for an option that is a list, if it is given.
func (t *translation) carryList(option, key string) {
	if v := t.list(option); len(v) > 0 {
		t.carry(option, key, v)
	}
}

// unsafe reports what the predecessor allowed.
func (t *translation) unsafe(option, text string) {
	t.result.Unsafe = append(t.result.Unsafe, Remark{option, text})
}

// lost reports an option that has no counterpart as it is given.
func (t *translation) lost(option, text string) {
	t.raw(option)
	t.result.Lost = append(t.result.Lost, Remark{option, text})
}

// step adds something that is left to do.
func (t *translation) step(format string, args ...any) {
	t.result.Steps = append(t.result.Steps, fmt.Sprintf(format, args...))
}

// secret sets key to a file that holds v, which was the option from.
func (t *translation) secret(key, name, from, v string) {
	t.doc.set(key, t.file(name, "the value of "+from, v, false), from+": in a file of its own, so that the configuration holds no secret")
}

// secretOf is secret for an option, if it is given.
func (t *translation) secretOf(option, key, name string) {
	if v := t.text(option); v != "" {
		t.secret(key, name, option, v)
	}
}

// file adds a secret and returns the path that the configuration names. Holds says
// what is in it.
func (t *translation) file(name, holds, v string, isNew bool) string {
	at := path.Join(t.request.SecretsDir, name)
	if t.request.Chart {
		at = path.Join("secrets", secretsName, name)
		t.doc.set("existingSecrets.files", []map[string]any{{"name": secretsName, "keys": t.names(name)}})
	}
	t.result.Secrets = append(t.result.Secrets, Secret{Name: name, Path: at, Value: conf.NewSecret(v), Holds: holds, New: isNew})
	return at
}

// newAPIKey is a key that was made here. The configuration holds its hash, and names no file.
func newAPIKey(r Request, name, key string) Secret {
	return Secret{Name: name + ".key", Path: path.Join(r.SecretsDir, name+".key"), Value: conf.NewSecret(key), Holds: "a new API key", New: true}
}

func (t *translation) names(more string) []string {
	var names []string
	for _, s := range t.result.Secrets {
		names = append(names, s.Name)
	}
	return append(names, more)
}

// seed gives the service keys that last, where the predecessor's did. They are new
// ones: keys that another program used are not for this one.
func (t *translation) seed(options ...string) {
	said := "sessions outlived a restart before, and do here by a seed; people sign in once more"
	for _, o := range options {
		if t.has(o) {
			t.raw(o)
			said = o + ": not carried over; a new seed takes its place, and people sign in once more"
		}
	}
	random := make([]byte, 32)
	_, _ = rand.Read(random) // never fails
	t.doc.set("keys.source", "seed", said)
	t.doc.set("keys.seedFiles", []string{t.file("seed", "a new seed", hex.EncodeToString(random), true)})
}

// public is the public address of the MCP server: the one of the request, or else
// what the option says.
func (t *translation) public(option string) *url.URL {
	text := t.text(option)
	if t.request.URL != "" {
		option, text = "--url", t.request.URL
	}
	if text == "" {
		t.mistake("", "the public address of the MCP server is in none of the files; give it as --url https://mcp.example.com/mcp")
		return &url.URL{}
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		t.mistake(option, "is not the public https URL of an MCP server")
		return &url.URL{}
	}
	if u.Scheme == "http" && !loopback(u.Hostname()) {
		u.Scheme = "https"
		t.unsafe(option, "clients reached it without TLS; here the public address is https, and http on a loopback host alone")
	}
	return u
}

// joined is u with the path behind its own.
func joined(u *url.URL, path string) *url.URL {
	next := *u
	next.Path, next.RawPath = strings.TrimSuffix(u.Path, "/")+"/"+strings.TrimPrefix(path, "/"), ""
	return &next
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback()
}

// upstream is the URL at which this service reaches the MCP server.
func (t *translation) upstream(option, text string) *url.URL {
	if t.request.Server != "" {
		option, text = "--server", t.request.Server
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.Fragment != "" || u.User != nil {
		if text == "" {
			t.mistake("", "the address of the MCP server is in none of the files; give it as --server http://127.0.0.1:3000/mcp")
		} else {
			t.mistake(option, "is not an http or https URL")
		}
		return &url.URL{}
	}
	return u
}

// host writes proxy.hosts.N for one MCP server, and returns its key.
func (t *translation) host(n int, public, upstream *url.URL, served bool) string {
	at := fmt.Sprintf("proxy.hosts.%d", n)
	if upstream.Path == "" || upstream.Path == "/" {
		p := public.Path
		if p == "" || p == "/" {
			p = "/mcp"
			t.step("Check the path in %s.endpoint: nothing said it, and /mcp is usual", dotted(at))
		}
		upstream = joined(upstream, p)
	}
	t.doc.set(at+".host", public.Host)
	if public.Scheme == "http" {
		t.doc.set(at+".scheme", "http", "for a loopback host alone; other hosts are reached with https")
	}
	t.doc.set(at+".endpoint", upstream.String())
	switch p := public.Path; {
	case strings.HasSuffix(upstream.Path, "/sse"):
		t.doc.set(at+".path", "/", "HTTP+SSE has two paths, so that all of the host is this MCP server")
	case p != "" && p != "/" && p != upstream.Path:
		t.doc.set(at+".path", p)
	}
	if served {
		t.doc.set(at+".serve.enabled", true, "this service stands in place of the proxy and relays; take it away where a gateway is to ask")
	}
	if t.request.Chart && loopback(upstream.Hostname()) {
		t.step("In the cluster %s is the pod itself: name the MCP server's Service in %s.endpoint", upstream.Host, dotted(at))
	}
	return at
}

// uri is the resource that clients name, for a host that was written.
func uri(public, upstream *url.URL) string {
	p := public.Path
	switch {
	case strings.HasSuffix(upstream.Path, "/sse"), p == "/":
		p = ""
	case p == "" && upstream.Path != "/":
		p = upstream.Path
	}
	if p == "" && !strings.HasSuffix(upstream.Path, "/sse") {
		p = "/mcp"
	}
	return public.Scheme + "://" + public.Host + p
}

var listEntry = regexp.MustCompile(`\.(\d+)`)

// dotted is a key of the document as check-config writes it.
func dotted(key string) string { return listEntry.ReplaceAllString(key, "[$1]") }

// closed is a domain that has no people (RFC 2606).
const closed = `example\.invalid`

// domains is who may sign in where the provider admits strangers: by the domains of
// the request, or else those that the predecessor had. With neither it admits no account and says so.
func (t *translation) domains(at string, had []string, option, how string) {
	asked := t.request.EmailDomains
	switch {
	case len(asked) > 0:
		var patterns []string
		for _, d := range asked {
			patterns = append(patterns, domainPattern(d))
		}
		t.doc.set(at+".allowedEmailDomains", patterns, "as --email-domain says")
	case len(had) > 0:
		t.doc.set(at+".allowedEmailDomains", had, t.said(option))
	default:
		t.unsafe(option, how+"; this configuration admits no account until allowedEmailDomains says whose")
		t.doc.set(at+".allowedEmailDomains", []string{closed}, how+". Write the domains of your people here; allowAnyUser: true in its place admits every account.")
	}
}

// domainPattern is the pattern of allowedEmailDomains for a domain; one that begins
// with a dot stands for the names below it.
func domainPattern(d string) string {
	d = strings.ToLower(d)
	if below, ok := strings.CutPrefix(strings.TrimPrefix(d, "*"), "."); ok {
		return `.+\.` + regexp.QuoteMeta(below)
	}
	return regexp.QuoteMeta(strings.TrimPrefix(d, "@"))
}

// allow adds a rule of the policy that allows.
func (t *translation) allow(rule map[string]any, comment string) {
	n := 0
	for t.doc.has(fmt.Sprintf("policy.rules.%d", n)) {
		n++
	}
	at := fmt.Sprintf("policy.rules.%d", n)
	t.doc.set(at+".effect", "allow", comment)
	for _, k := range sortedKeys(rule) {
		t.doc.set(at+"."+k, rule[k])
	}
}

// leftOver reports what was given and became nothing.
func (t *translation) leftOver() {
	for _, path := range t.order {
		if t.values[path].used {
			continue
		}
		o, _ := t.option(path)
		switch {
		case o.Chart && t.request.Chart:
			t.doc.set(path, t.raw(path))
			continue
		case o.Chart:
			t.lost(path, "a value of the chart; translate with --chart to keep it")
			continue
		case o.Restricts:
			t.mistake(path, "keeps people out and has no counterpart here: %s. Take it out of the file if they may come in", reason(o))
			continue
		}
		t.lost(path, reason(o))
	}
}

// reason is why an option became nothing.
func reason(o Option) string {
	switch {
	case o.Note != "":
		return o.Note
	case o.Becomes != "":
		return "has no effect beside the other options"
	}
	return "has no counterpart"
}

// finish writes the configuration down.
func (t *translation) finish() {
	var head strings.Builder
	fmt.Fprintf(&head, "Translated from %s by mcp-forward-auth migrate.", t.request.Kind.Title)
	if t.request.Chart {
		head.Reset()
		fmt.Fprintf(&head, "values.yaml, translated from %s by mcp-forward-auth migrate.", t.request.Kind.Title)
	}
	for _, part := range []struct {
		title   string
		remarks []Remark
	}{{"Was unsafe, and is not so here:", t.result.Unsafe}, {"Without a counterpart:", t.result.Lost}} {
		if len(part.remarks) == 0 {
			continue
		}
		head.WriteString("\n\n" + part.title)
		for _, r := range part.remarks {
			fmt.Fprintf(&head, "\n- %s: %s.", r.Option, strings.TrimSuffix(r.Text, "."))
		}
	}
	t.result.Config = t.doc.text(head.String())
}

// listenAddress is what the predecessor's address means here.
func listenAddress(host, port string) string {
	if slices.Contains([]string{"localhost", "0.0.0.0", "::", "[::]"}, host) {
		host = ""
	}
	return net.JoinHostPort(host, port)
}
