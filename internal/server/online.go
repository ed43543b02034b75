package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/catalog"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/jwks"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/keysource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/outbound"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// Contact is the result of asking one of the servers that a configuration names.
type Contact struct {
	// Path is the key of the configuration, and Asked says what was asked.
	Path  string `json:"path"`
	Asked string `json:"asked"`
	OK    bool   `json:"ok"`
	// Said is the answer, or what is wrong and what to do.
	Said string `json:"said"`
}

const (
	// contactTimeout bounds each question.
	contactTimeout = 10 * time.Second
	// contacts is how many questions run at the same time.
	contacts = 8
	// maxDrift is how far clocks may differ: a token's times may be off by a minute.
	maxDrift = 30 * time.Second
	// maxGuardDrift is how far the clocks of the guard and of replicas may differ, as in
	// the alert McpForwardAuthClockSkew.
	maxGuardDrift = 5 * time.Second
	// renewBy is how long before its end a certificate should have been renewed.
	renewBy = 14 * 24 * time.Hour
)

// Online asks what the configuration names, as the service would: identity providers (discovery, keys, the client's secret, the clock), other authorization servers, trusted issuers and streams of security events (their keys), introspection endpoints and the webhook for API keys (about a token and a key that were never issued), the collector of traces (with an empty batch), MCP servers (their list of tools), and the public names (DNS, the certificate). It changes nothing, except that it writes an entry to the guard that expires at once. The order is that of the configuration, with the guard after the providers, and what belongs to no host last.
func Online(ctx context.Context, cfg *config.Config, roots *tls.Config) []Contact {
	var questions []func(context.Context) Contact
	for i, p := range cfg.Providers {
		at := "provider"
		if p.ID != "" {
			at = conf.Element("providers", i)
		}
		if p.Settings.Kind() != "static" {
			questions = append(questions, func(ctx context.Context) Contact { return askProvider(ctx, at, p, cfg) })
		}
	}
	if cfg.Guard.Backend == "redis" || cfg.Guard.Backend == "postgres" {
		questions = append(questions, func(ctx context.Context) Contact { return askGuard(ctx, cfg.Guard) })
	}
	for i, h := range cfg.Hosts {
		at := conf.Element("proxy.hosts", i)
		questions = append(questions,
			func(ctx context.Context) Contact { return askEndpoint(ctx, at, i, cfg) },
			func(ctx context.Context) Contact { return askName(ctx, at, h, roots) })
		for j, c := range cfg.AuthorizationServers[i] {
			at := conf.Element(conf.Join(at, "authorizationServers"), j)
			if c.NeedsKeys() {
				questions = append(questions, func(ctx context.Context) Contact { return askKeys(ctx, at, c.Issuer, c.Keys) })
			}
			if cfg.Introspected[i].Config != nil && cfg.Introspected[i].Issuer == c.Issuer {
				questions = append(questions, func(ctx context.Context) Contact {
					return askIntrospection(ctx, conf.Join(at, "introspection"), i, cfg)
				})
			}
		}
	}
	questions = append(questions, others(cfg)...)
	found := make([]Contact, len(questions))
	places := make(chan struct{}, contacts)
	var wg sync.WaitGroup
	for i, ask := range questions {
		wg.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			ctx, cancel := context.WithTimeout(ctx, contactTimeout)
			defer cancel()
			found[i] = ask(ctx)
		})
	}
	wg.Wait()
	return found
}

// askProvider makes the address of a sign-in, which reads the discovery document, and looks
// at the clock of what answers.
func askProvider(ctx context.Context, at string, p connector.Config, cfg *config.Config) Contact {
	c := Contact{Path: at, Asked: p.DisplayName + ": where people sign in, its keys, the client and the clock"}
	clock := &clockReader{base: trusting(nil, p.Settings.Authorities())}
	browser, _, err := p.Settings.New(p.Unused, &http.Client{Transport: clock, Timeout: contactTimeout})
	if err != nil || browser == nil {
		c.Said = "it cannot be used: " + fmt.Sprint(err)
		return c
	}
	host := "https://mcp.invalid" // if all hosts are in files, and there is none yet
	if len(cfg.Hosts) > 0 {
		host = cfg.Hosts[0].Scheme + "://" + cfg.Hosts[0].Host
	}
	login := connector.Login{State: "check-config", Nonce: "check-config", Verifier: strings.Repeat("c", 43), RedirectURI: host + "/callback"}
	address, err := browser.AuthorizationURL(ctx, login)
	if err == nil && clock.asked() == 0 { // a kind without discovery: its page answers
		err = clock.visit(ctx, address)
	}
	if err == nil {
		err = readKeys(ctx, browser)
	}
	if err == nil {
		err = tryCredential(ctx, p, browser, login)
	}
	drift, known := clock.drift()
	switch {
	case err != nil:
		c.Said = err.Error()
	case known && drift.Abs() > maxDrift:
		c.Said = fmt.Sprintf("it answers, and its clock is %s %s this machine's: set the clocks by NTP, or tokens are refused", drift.Abs().Round(time.Second), ahead(drift))
	default:
		c.OK, c.Said = true, "it answers"
		if known {
			c.Said += fmt.Sprintf(", and the clocks agree within %s", max(drift.Abs().Round(time.Second), time.Second))
		}
	}
	return c
}

// readKeys reads the keys that a provider's answers are verified with.
func readKeys(ctx context.Context, browser connector.Connector) error {
	reader, ok := browser.(connector.KeyReader)
	if !ok {
		return nil
	}
	n, err := reader.ReadKeys(ctx)
	if err == nil && n == 0 {
		err = errors.New("its key set has no key for signatures, so no answer of it can be verified")
	}
	return err
}

// tryCredential redeems a code that was never issued. A provider that checks the client
// first says if it does not know the client, its secret or its redirect URI; any other
// refusal means that they are right.
func tryCredential(ctx context.Context, p connector.Config, browser connector.Connector, login connector.Login) error {
	answer := url.Values{"code": {"check-config"}, "state": {login.State}}
	if i, ok := p.Settings.(connector.Issuer); ok {
		issuer, _ := i.Issuer()
		answer.Set("iss", issuer)
	}
	if _, _, err := browser.Identify(ctx, login, answer); errors.Is(err, connector.ErrMisconfigured) {
		return err
	}
	return nil
}

func ahead(drift time.Duration) string {
	if drift > 0 {
		return "ahead of"
	}
	return "behind"
}

// clockReader compares Date of answers with the clock of this machine.
type clockReader struct {
	base http.RoundTripper

	mu    sync.Mutex
	count int
	off   time.Duration
	known bool
}

// RoundTrip implements http.RoundTripper.
func (t *clockReader) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.base.RoundTrip(r)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count++
	if err == nil {
		// Date is whole seconds, cut off.
		if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
			t.off, t.known = time.Until(date.Add(time.Second/2)), true
		}
	}
	return resp, err
}

func (t *clockReader) asked() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count
}

func (t *clockReader) drift() (time.Duration, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.off, t.known
}

// visit sends HEAD for a page and follows no redirect.
func (t *clockReader) visit(ctx context.Context, address string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, address, nil)
	if err != nil {
		return err
	}
	resp, err := t.RoundTrip(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode >= http.StatusInternalServerError {
		return errors.New("it answers " + resp.Status)
	}
	return nil
}

// askEndpoint reads the list of tools of host i, with the credential that the service shows.
func askEndpoint(ctx context.Context, at string, i int, cfg *config.Config) Contact {
	h := cfg.Hosts[i]
	c := Contact{Path: conf.Join(at, "endpoint"), Asked: h.Endpoint.Redacted() + ": its tools"}
	f := &catalog.Fetcher{}
	if cfg.Egress.ProxyMCPServers {
		f.Proxy = cfg.Egress.Proxy()
	}
	if len(h.Authorities) > 0 {
		f.TLS = trust(h.Authorities)
	}
	list, err := fetchTools(ctx, f, h.Endpoint.String(), cfg.ServerCredentials[i])
	if failed, ok := errors.AsType[*catalog.Error](err); ok && failed.Result == catalog.ResultUnauthorized {
		c.Said = err.Error() + "; " + credentialAdvice(at, cfg.ServerCredentials[i])
		return c
	} else if err != nil {
		c.Said = err.Error()
		return c
	}
	c.OK, c.Said = true, fmt.Sprintf("%d tools, %d scopes", len(list.Tools), len(list.Scopes))
	return c
}

// credentialAdvice is what to do about an MCP server that refuses the question.
func credentialAdvice(at string, shown *outbound.Credential) string {
	key := conf.Join(at, "serverCredential")
	if shown == nil {
		return "if it wants a credential of this service, name it in " + key
	}
	return "it was shown the credential of " + key + ", in the header " + shown.Header
}

// askName looks up the public name in DNS, and checks the certificate there.
func askName(ctx context.Context, at string, h resource.Entry, roots *tls.Config) Contact {
	c := Contact{Path: conf.Join(at, "host"), Asked: h.Host + ": DNS and certificate"}
	name, port, err := net.SplitHostPort(h.Host)
	if err != nil {
		name, port = strings.Trim(h.Host, "[]"), "443"
	}
	addresses, err := net.DefaultResolver.LookupHost(ctx, name)
	switch {
	case err != nil:
		c.Said = "the name is not found from here: " + err.Error() + "; clients need it in their DNS"
		return c
	case h.Scheme != "https":
		c.OK, c.Said = true, addresses[0]+", without TLS"
		return c
	}
	dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: contactTimeout}, Config: cmp.Or(roots, &tls.Config{MinVersion: tls.VersionTLS12})}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(name, port))
	if err != nil {
		c.Said = "the name is found (" + addresses[0] + "), and the connection fails: " + err.Error() + nameAdvice(err)
		return c
	}
	defer conn.Close()
	ends := conn.(*tls.Conn).ConnectionState().PeerCertificates[0].NotAfter
	c.OK, c.Said = true, fmt.Sprintf("%s, certificate valid until %s", addresses[0], ends.UTC().Format(time.DateOnly))
	if time.Until(ends) < renewBy {
		c.OK, c.Said = false, c.Said+": it should have been renewed by now; look at what renews it"
	}
	return c
}

// nameAdvice says what to do about a failed connection to a public name; clients have
// the same problem.
func nameAdvice(err error) string {
	invalid, _ := errors.AsType[x509.CertificateInvalidError](err)
	_, name := errors.AsType[x509.HostnameError](err)
	_, authority := errors.AsType[x509.UnknownAuthorityError](err)
	_, plain := errors.AsType[tls.RecordHeaderError](err)
	switch {
	case name:
		return "; a default certificate of the gateway says that no route or secret of it is for this name"
	case authority:
		return "; install the certificate with its intermediate ones, or set SSL_CERT_FILE if the authority is private"
	case invalid.Cert != nil && invalid.Reason == x509.Expired:
		return "; renew it, or correct the clock of this machine"
	case plain:
		return "; it does not speak TLS at this port: set proxy.hosts[].scheme to http only where clients reach it so"
	}
	return "; look at the address in DNS, and at a firewall between"
}

// askGuard writes an entry to the guard's back end, which expires at once, and compares
// its clock.
func askGuard(ctx context.Context, g config.GuardFile) Contact {
	c := Contact{Path: "guard." + g.Backend, Asked: "an entry that is written and gone at once, and the clock"}
	store, advice, err := openStore(g, time.Now)
	if err != nil {
		c.Said = err.Error()
		return c
	}
	defer store.Close()
	before := time.Now()
	theirs, err := store.Try(ctx)
	if err != nil {
		c.Said = err.Error()
		if do := advice(err); do != "" {
			c.Said = do + " (" + c.Said + ")"
		}
		return c
	}
	drift := theirs.Sub(before.Add(time.Since(before) / 2))
	if drift.Abs() > maxGuardDrift {
		c.Said = fmt.Sprintf("it answers, and its clock is %s %s this machine's: set the clocks by NTP", drift.Abs().Round(time.Second), ahead(drift))
		return c
	}
	c.OK, c.Said = true, "it answers and takes writes, and the clocks agree"
	return c
}

// askKeys reads the keys that another server publishes, if they are not in a file.
func askKeys(ctx context.Context, at, issuer string, keys keysource.Keys) Contact {
	said := Contact{Path: at, Asked: issuer + ": its keys"}
	if keys.JWKSFile != "" {
		said.OK, said.Said = true, "they are in a file"
		return said
	}
	return countKeys(ctx, said, keys.Source(issuer), keys.Authorities, conf.Join(at, "caFile"))
}

// countKeys fetches keys and says how many of them are of use.
func countKeys(ctx context.Context, said Contact, source *jwks.Source, authorities []byte, caFile string) Contact {
	document, err := source.Over(trusting(nil, authorities)).Fetch(ctx)
	if err != nil {
		said.Said = err.Error() + wayAdvice(err, caFile)
		return said
	}
	usable, left := document.Usable()
	said.OK, said.Said = len(usable) > 0, fmt.Sprintf("%d keys, %d of them of no use here", len(usable)+len(left), len(left))
	if !said.OK {
		said.Said += ", so nothing that it signs can be verified; see the use, alg and kty of its keys"
	}
	return said
}
