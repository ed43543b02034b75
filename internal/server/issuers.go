package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/claim"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/introspection"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/issuer"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/jwks"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reload"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// issuers makes the kind that verifies the tokens of other authorization servers.
func (b *builder) issuers() error {
	b.foreign = newIssuers(b.cfg, b.table, issuer.Options{
		Transport: func(authorities []byte) http.RoundTripper {
			var base http.RoundTripper
			if b.opt.HTTPClient != nil {
				base = b.opt.HTTPClient.Transport
			}
			return trusting(base, authorities)
		},
		Report: (&issuerReports{log: b.log, metrics: b.metrics}).hear, Now: b.opt.Now,
	})
	if b.before != nil {
		b.foreign.Adopt(b.before.foreign)
	}
	for path, apply := range b.foreign.Files() {
		f := keyFile(path, apply)
		if err := f.Load(); err != nil {
			return err
		}
		b.files.add(f, b.log)
	}
	return nil
}

// introspection makes the kind that asks other authorization servers about tokens.
func (b *builder) introspection() *introspection.Kind {
	k := introspection.New(b.opt.Now)
	report := (&introspectionReports{log: b.log}).hear
	for i, r := range b.table.All() { // in the order of the configuration
		if c := b.cfg.Introspected[i]; c.Config != nil {
			k.Accept(r, introspection.Server{
				Config: c.Config, Issuer: c.Issuer, Transport: b.way("introspection of "+c.Issuer, c.Authorities), Report: report,
				Answer: func(ctx context.Context, signed, clientID string, r *resource.Resource) ([]byte, error) {
					return b.foreign.Answer(ctx, c.Issuer, signed, clientID, r)
				},
				Principal: func(raw string, said claim.Set, r *resource.Resource) (credential.Principal, error) {
					return b.foreign.Told(c.Issuer, raw, said, r)
				},
			})
		}
	}
	b.adoptIntrospection(k)
	return k
}

// introspectionReports tells the operator why there was no answer, once for each
// new problem.
type introspectionReports struct {
	log  *slog.Logger
	mu   sync.Mutex
	last map[string]string // by issuer
}

func (r *introspectionReports) hear(issuer string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last == nil {
		r.last = map[string]string{}
	}
	if problem := err.Error(); r.last[issuer] != problem {
		r.last[issuer] = problem
		r.log.Error("an authorization server gives no answer about a token: such tokens get 503", "issuer", issuer, "problem", problem)
	}
}

// newIssuers turns the kind on where the configuration says so.
func newIssuers(cfg *config.Config, table *resource.Table, opt issuer.Options) *issuer.Kind {
	k := issuer.New(opt)
	for i, r := range table.All() { // in the order of the configuration
		for _, c := range cfg.AuthorizationServers[i] {
			k.Accept(r, c)
		}
	}
	return k
}

// keyFile is a file that an issuer's keys are read from.
func keyFile(path string, apply func([]byte) (int, error)) *reload.File {
	return &reload.File{What: "key set " + path, Path: path, MaxBytes: conf.MaxSecretBytes, Apply: apply, Loaded: func(int, error) {}}
}

// checkIssuers reads the files with keys.
func checkIssuers(cfg *config.Config) error {
	table, err := resource.NewTable(cfg.Hosts)
	if err != nil {
		return nil // checkHosts says so
	}
	var problems []error
	for path, apply := range newIssuers(cfg, table, issuer.Options{Now: time.Now}).Files() {
		if err := keyFile(path, apply).Load(); err != nil {
			problems = append(problems, fmt.Errorf("proxy.hosts: jwksFile: %w", err))
		}
	}
	return errors.Join(problems...)
}

// issuerReports reports the state of issuers' keys: each change once in the log, and
// every attempt in the metrics.
type issuerReports struct {
	log     *slog.Logger
	metrics *metrics

	mu   sync.Mutex
	last map[string]string // by issuer: the problem, "" for none
	left map[string]bool   // keys left out, said once
}

func (r *issuerReports) hear(f jwks.Fetch) {
	r.metrics.issuerKeys(f)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last == nil {
		r.last, r.left = map[string]string{}, map[string]bool{}
	}
	for _, k := range f.Left {
		said := f.Issuer + " " + k.ID + " " + k.Text
		if !r.left[said] && len(r.left) < maxNotices {
			r.left[said] = true
			r.log.Warn("a key of an issuer cannot be used: tokens that it signs are refused", "issuer", f.Issuer, "key", k.ID, "problem", k.Text)
		}
	}
	problem := ""
	if f.Err != nil {
		problem = f.Err.Error()
	}
	before := r.last[f.Issuer]
	r.last[f.Issuer] = problem
	switch {
	case problem == before:
	case problem == "":
		r.log.Info("the keys of an issuer can be had again", "issuer", f.Issuer, "keys", f.Keys)
	case f.Keys > 0:
		r.log.Error("the keys of an issuer cannot be had: those that are known go on", "issuer", f.Issuer, "keys", f.Keys, "problem", problem)
	default:
		r.log.Error("the keys of an issuer cannot be had: its tokens get 503", "issuer", f.Issuer, "problem", problem)
	}
}
