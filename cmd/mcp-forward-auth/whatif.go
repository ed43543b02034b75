package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/whatif"
)

// exitRefused: the policy refuses something of what was asked.
const exitRefused = 3

// tryPolicy prints what the policy says.
func tryPolicy(cfg *config.Config, q whatif.Question, asJSON bool, std streams) error {
	service := whatif.Service{Providers: cfg.Providers, Hosts: cfg.Hosts, Clients: cfg.Clients, DenyList: cfg.DenyList}
	d, err := service.Decide(q)
	if err != nil {
		return fmt.Errorf("check-config: %w", err)
	}
	if asJSON {
		enc := json.NewEncoder(std.out)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		err = enc.Encode(d)
	} else {
		_, err = io.WriteString(std.out, d.String())
	}
	if err == nil && !d.OK {
		err = exitError{exitRefused, errReported}
	}
	return err
}
