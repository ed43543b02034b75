//go:build linux

package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Two virtual servers that differ in whom they ask. What they protect answers
// at once.
const nginxConfig = `
daemon off; worker_processes 1; pid %[1]s/nginx.pid; error_log %[1]s/error.log;
events { worker_connections 1024; }
http {
  access_log off; client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;
  large_client_header_buffers 4 32k; keepalive_requests 1000000;
  upstream upstream { server %[2]s; keepalive 64; }
  upstream bare { server %[2]s; keepalive 64; }
  upstream ours { server %[3]s; keepalive 64; }
  proxy_http_version 1.1;
%[4]s}
`

// nginxServer says Connection "" in each location: one proxy_set_header there
// cancels all of the level above, and then nginx opens a connection for each
// request, which would be what is measured.
const nginxServer = `  server {
    listen 127.0.0.1:%[1]d;
    location / {
      auth_request /ask; auth_request_set $user $upstream_http_x_auth_request_user; proxy_set_header X-Auth-Request-User $user;
      proxy_set_header Connection ""; proxy_pass http://upstream;
    }
    location = /ask {
      internal; proxy_pass http://%[2]s/authenticate?host=$host; proxy_pass_request_body off; proxy_set_header Content-Length ""; proxy_set_header Connection "";
      proxy_set_header Host $http_host; proxy_set_header X-Original-URL https://$http_host$request_uri; proxy_set_header X-Original-Method $request_method;
    }
  }
`

// throughNGINX measures what a client of an MCP server notices.
func throughNGINX(ctx context.Context, b bench) error {
	program, err := exec.LookPath("nginx")
	if err != nil {
		fmt.Fprintln(b.out, "\nthrough nginx: not measured, there is no nginx on this machine")
		return nil
	}
	dir, err := os.MkdirTemp("", "mcp-forward-auth-bench-nginx-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var ports [2]int
	for i := range ports {
		if ports[i], err = freePort(); err != nil {
			return err
		}
	}
	servers := fmt.Sprintf(nginxServer, ports[0], "bare") + fmt.Sprintf(nginxServer, ports[1], "ours")
	config := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, nginxConfig, dir, b.reference.HTTP, b.subject.HTTP, servers), 0o600); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, program, "-p", dir, "-c", config)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} // which ends its worker too
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
	}()
	tokens, err := b.service.mint(1)
	if err != nil {
		return err
	}
	var places []place
	for i, name := range []string{"nginx asking the bare handler", "nginx asking forward auth"} {
		address := fmt.Sprintf("127.0.0.1:%d", ports[i])
		if err := waitPort(address); err != nil {
			return err
		}
		places = append(places, place{name, address, [][]byte{clientRequest(tokens[0])}})
	}
	return inTurn(b, "through nginx, 16 connections at once", 16, 1600, places)
}

// clientRequest is what the MCP client sends.
func clientRequest(bearer string) []byte {
	return fmt.Appendf(nil, "GET /mcp HTTP/1.1\r\nHost: %s\r\nAccept: application/json, text/event-stream\r\nUser-Agent: mcp-client/1.0\r\n"+
		"MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/list\r\nAuthorization: Bearer %s\r\n\r\n", host, bearer)
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func waitPort(address string) error {
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			return conn.Close()
		}
		if time.Now().After(deadline) {
			return err
		}
	}
}
