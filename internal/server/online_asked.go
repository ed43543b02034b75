package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/introspection"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/issuer"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/ssf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/tracing"
)

// others are the questions to servers that belong to no host.
func others(cfg *config.Config) (questions []func(context.Context) Contact) {
	if cfg.APIKeys.Webhook.On() {
		questions = append(questions, func(ctx context.Context) Contact { return askWebhook(ctx, cfg) })
	}
	for _, c := range cfg.TrustedIssuers {
		questions = append(questions, func(ctx context.Context) Contact { return askKeys(ctx, c.At, c.Issuer, c.Keys) })
	}
	for i, s := range cfg.SecurityEvents {
		questions = append(questions, func(ctx context.Context) Contact {
			return askStream(ctx, conf.Element("securityEvents.streams", i), s)
		})
	}
	if cfg.Tracing.OTLP.Endpoint != "" {
		questions = append(questions, func(ctx context.Context) Contact { return askCollector(ctx, cfg.Tracing) })
	}
	return questions
}

// askIntrospection asks the authorization server of host i about a token that was never
// issued.
func askIntrospection(ctx context.Context, at string, i int, cfg *config.Config) Contact {
	how := cfg.Introspected[i]
	c := Contact{Path: at, Asked: how.Endpoint + ": whether a made-up token is active"}
	table, err := resource.NewTable(cfg.Hosts)
	if err != nil {
		c.Said = err.Error()
		return c
	}
	foreign := newIssuers(cfg, table, issuer.Options{
		Transport: func(authorities []byte) http.RoundTripper { return trusting(nil, authorities) }, Now: time.Now,
	})
	server := introspection.Server{
		Config: how.Config, Issuer: how.Issuer, Transport: trusting(nil, how.Authorities),
		Answer: func(ctx context.Context, signed, clientID string, r *resource.Resource) ([]byte, error) {
			return foreign.Answer(ctx, how.Issuer, signed, clientID, r)
		},
	}
	if err := introspection.Try(ctx, server, table.All()[i], time.Now()); err != nil {
		c.Said = err.Error() + wayAdvice(err, strings.TrimSuffix(at, "introspection")+"caFile")
		return c
	}
	c.OK, c.Said = true, "it knows this service, and says that the token is not active"
	return c
}

// askWebhook asks the webhook about an API key that was never issued.
func askWebhook(ctx context.Context, cfg *config.Config) Contact {
	const at = "apiKeys.webhook"
	hook := cfg.APIKeys.Webhook // a copy, which Start may change
	c := Contact{Path: at, Asked: hook.URL + ": whether a made-up key is good"}
	table, err := resource.NewTable(cfg.Hosts)
	if err != nil {
		c.Said = err.Error()
		return c
	}
	place := slices.IndexFunc(table.All(), func(r *resource.Resource) bool { return r.APIKeys })
	if place < 0 {
		c.OK, c.Said = true, "not asked: no MCP server accepts API keys"
		return c
	}
	hook.Start(trusting(nil, hook.Authorities), time.Now)
	if err := hook.Try(ctx, table.All()[place]); err != nil {
		c.Said = err.Error()
		if advice := wayAdvice(err, at+".caFile"); advice != "" {
			c.Said += advice
		} else {
			c.Said += `; to a key that it does not know it must answer {"allowed": false} in JSON. If it refuses this service itself, see ` + at + ".tokenFile"
		}
		return c
	}
	c.OK, c.Said = true, "it answers, and refuses the key"
	return c
}

// askStream reads the keys of a transmitter of security events.
func askStream(ctx context.Context, at string, s ssf.Stream) Contact {
	return countKeys(ctx, Contact{Path: at, Asked: s.Issuer + ": its keys"}, s.Keys(), s.Authorities, conf.Join(at, "caFile"))
}

// askCollector sends the collector of traces a batch without a span.
func askCollector(ctx context.Context, t tracing.Config) Contact {
	const at = "tracing.otlp"
	c := Contact{Path: at, Asked: t.OTLP.Endpoint + ": an empty batch of traces"}
	err := tracing.Try(ctx, t)
	if err == nil {
		c.OK, c.Said = true, "it accepts traces"
		return c
	}
	c.Said = err.Error() + wayAdvice(err, at+".caFile")
	switch text := err.Error(); {
	case strings.Contains(text, "401"), strings.Contains(text, "403"):
		c.Said += "; it wants to know who sends: see " + at + ".headersFile"
	case strings.Contains(text, "404"), strings.Contains(text, "405"):
		c.Said += "; see the path of " + at + ".endpoint, which is mostly /v1/traces"
	case strings.Contains(text, "connection broken"), strings.Contains(text, "malformed HTTP"), strings.Contains(text, "EOF"), strings.Contains(text, "reset by peer"):
		c.Said += "; it does not speak HTTP at this port. OTLP over HTTP is mostly at 4318, and 4317 is for gRPC"
	}
	return c
}

// wayAdvice says what to do about an error on the way to a server, "" for any other.
// caFile is the key of its authorities.
func wayAdvice(err error, caFile string) string {
	invalid, _ := errors.AsType[x509.CertificateInvalidError](err)
	_, name := errors.AsType[x509.HostnameError](err)
	_, authority := errors.AsType[x509.UnknownAuthorityError](err)
	_, plain := errors.AsType[tls.RecordHeaderError](err)
	_, unknown := errors.AsType[*net.DNSError](err)
	broken, _ := errors.AsType[*net.OpError](err)
	late, _ := errors.AsType[net.Error](err)
	switch {
	case name:
		return "; its certificate is for other names: correct the host of the URL, or the certificate"
	case authority:
		return fmt.Sprintf("; if its certificate is of a private authority, name that in %s", caFile)
	case invalid.Cert != nil && invalid.Reason == x509.Expired:
		return "; renew its certificate, or correct the clock of this machine"
	case plain, err != nil && strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return "; it does not speak TLS at this port: correct the port, or write http where the network is yours alone"
	case unknown:
		return "; correct the host of the URL, or the DNS of this machine"
	case late != nil && late.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return "; look for a firewall or an egress policy between, or for a server that is slow"
	case broken != nil && broken.Op == "dial":
		return "; see whether it runs, and look at its address and port, and at egress policies"
	}
	return ""
}
