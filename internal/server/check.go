package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/apikey"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reload"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/revocation"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/tracing"
)

// Check returns every reason for which New would refuse a configuration that
// config.Load has accepted, one in each line with its path: mistakes that only the
// parts themselves can find, and those in other files. It opens no connection and
// changes nothing. New calls it first, so check-config and serve give the same verdict
// with the same messages.
func Check(cfg *config.Config) error {
	var problems []error
	for _, check := range []func(*config.Config) error{
		checkHosts, checkProviders, checkIssuers, checkTrusted, checkClients, checkGuard, checkDenyList, checkAPIKeys, checkTracing, checkAudit,
	} {
		problems = append(problems, check(cfg))
	}
	return errors.Join(problems...)
}

func checkHosts(cfg *config.Config) error {
	_, err := resource.NewTable(cfg.Hosts)
	_, problem := callbackHost(cfg.CallbackHost)
	return errors.Join(err, problem)
}

func checkProviders(cfg *config.Config) error {
	var problems []error
	for _, p := range cfg.Providers {
		_, _, err := p.Settings.New(p.Unused, nil)
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

func checkClients(cfg *config.Config) error {
	_, err := registration.NewStatic(cfg.Clients, registration.NewKeySets(urlPolicy(cfg, Options{Now: time.Now}), time.Now))
	return err
}

func checkGuard(cfg *config.Config) error {
	m, err := newMemory(cfg.Guard, Options{Logger: slog.New(slog.DiscardHandler), Now: time.Now}, newMetrics(""))
	if err != nil {
		return err
	}
	m.close()
	return nil
}

func checkDenyList(cfg *config.Config) error {
	if cfg.DenyList == "" {
		return nil
	}
	if err := denyList(cfg.DenyList, revocation.New(1, time.Now), func(int, error) {}).Load(); err != nil {
		return fmt.Errorf("denyList.file: %w", err)
	}
	return nil
}

// denyList is the file that the operator's deny-list is read from.
func denyList(path string, into *revocation.List, loaded func(int, error)) *reload.File {
	return &reload.File{What: "deny-list", Path: path, MaxBytes: revocation.MaxFileBytes, Apply: into.Load, Loaded: loaded}
}

func checkAPIKeys(cfg *config.Config) error {
	if cfg.APIKeys.File == "" {
		return nil
	}
	err := apiKeysFile(cfg.APIKeys, apikey.NewStore(cfg.APIKeys, time.Now), func(int, error) {}).Load()
	mistakes, ok := errors.AsType[conf.Errors](err)
	if !ok && err != nil {
		return fmt.Errorf("apiKeys.file: %w", err)
	}
	var problems []error
	for _, m := range mistakes {
		problems = append(problems, fmt.Errorf("apiKeys.file: in the file: %s", m))
	}
	return errors.Join(problems...)
}

// apiKeysFile is the file that more API keys are read from.
func apiKeysFile(c apikey.Config, into *apikey.Store, loaded func(int, error)) *reload.File {
	return &reload.File{What: "file of API keys", Path: c.File, MaxBytes: apikey.MaxFileBytes, Apply: into.Apply, Loaded: loaded}
}

func checkTracing(cfg *config.Config) error {
	t, err := tracing.New(cfg.Tracing, tracing.Options{Logger: slog.New(slog.DiscardHandler), Now: time.Now, Failed: func() {}})
	if err != nil {
		return err
	}
	t.Close(context.Background())
	return nil
}

func checkAudit(cfg *config.Config) error {
	if cfg.AuditFile == "" {
		return nil
	}
	if err := audit.CheckFile(cfg.AuditFile); err != nil {
		return fmt.Errorf("audit.file: %w", err)
	}
	return nil
}
