package server

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/assertion"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/assertion/kinds"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/jwks"
)

// trust makes the reader of machines' assertions, and follows files with keys. Each
// entry has its own keys, even if another entry has the same settings.
func (b *builder) trust() error {
	if len(b.cfg.TrustedIssuers) == 0 {
		return nil
	}
	report := (&issuerReports{log: b.log, metrics: b.metrics}).hear
	var problems []error
	b.assertions = assertion.NewRegistry(kinds.All(), b.cfg.TrustedIssuers, func(c *assertion.Config) *jwks.Set {
		set := b.keysOf(c, report)
		b.adoptTrusted(c, set)
		b.trusted = append(b.trusted, set)
		if c.JWKSFile == "" {
			return set
		}
		file := keyFile(c.JWKSFile, set.Load)
		problems = append(problems, file.Load())
		b.files.add(file, b.log)
		return set
	}, b.opt.Now)
	return errors.Join(problems...)
}

// keysOf makes the keys of an entry. What a client sends never says where they are.
func (b *builder) keysOf(c *assertion.Config, report func(jwks.Fetch)) *jwks.Set {
	if c.JWKSFile != "" {
		return jwks.NewSet(c.Issuer, nil, report, b.opt.Now)
	}
	var base http.RoundTripper
	if b.opt.HTTPClient != nil {
		base = b.opt.HTTPClient.Transport
	}
	return jwks.NewSet(c.Issuer, c.Source(c.Issuer).Over(trusting(base, c.Authorities)).Fetch, report, b.opt.Now)
}

// checkTrusted reads the files with keys.
func checkTrusted(cfg *config.Config) error {
	var problems []error
	for _, c := range cfg.TrustedIssuers {
		if c.JWKSFile == "" {
			continue
		}
		set := jwks.NewSet(c.Issuer, nil, func(jwks.Fetch) {}, time.Now)
		if err := keyFile(c.JWKSFile, set.Load).Load(); err != nil {
			problems = append(problems, fmt.Errorf("%s.jwksFile: %w", c.At, err))
		}
	}
	return errors.Join(problems...)
}
