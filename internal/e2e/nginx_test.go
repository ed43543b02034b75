//go:build e2e

package e2e

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/template"
)

// nginxSite is what the generated configuration needs to know.
type nginxSite struct {
	Dir     string
	Port    string
	Service string // address of the service
	Root    bool
	// Modules are the files of dynamic modules that ingress-nginx has built in.
	Modules []string
	// Callback is an address that has the callback of all routes, "" for none.
	Callback string
	// HTTP are more lines for everything, such as a limit on requests.
	HTTP   string
	Routes []nginxRoute
}

// nginxRoute is one Ingress: a host, and the path of its MCP server.
type nginxRoute struct {
	Host string // without port, as server_name wants it
	Path string
	MCP  string // address of the MCP server
	// AuthHost is the Host header of the sub-request: $http_host where the
	// operator writes the configuration, the host of auth-url (without port)
	// in what ingress-nginx renders.
	AuthHost string
	// Snippet is the value of the configuration-snippet annotation.
	Snippet string
	Service string // that of the site
}

// AuthLocation is the name ingress-nginx gives to the internal location.
func (r nginxRoute) AuthLocation() string {
	return "/_external-auth-" + base64.RawURLEncoding.EncodeToString([]byte(r.Path)) + "-Prefix"
}

// identityHeaders is the value of the auth-response-headers annotation.
var identityHeaders = []string{"X-Auth-Request-User", "X-Auth-Request-Email", "X-Auth-Request-Groups"}

// The shape follows what ingress-nginx renders for auth-url,
// auth-response-headers and a second Ingress without auth for the OAuth paths.
// Without a snippet 403 keeps no challenge, as for most operators.
var nginxConf = template.Must(template.New("nginx.conf").Funcs(template.FuncMap{
	"headers":  func() []string { return identityHeaders },
	"variable": func(name string) string { return strings.ToLower(strings.ReplaceAll(name, "-", "_")) },
}).Parse(`daemon off;
worker_processes 1;
{{- if .Root}}
user root;
{{- end}}
pid {{.Dir}}/nginx.pid;
error_log stderr notice;
{{- range .Modules}}
load_module {{.}};
{{- end}}
events { worker_connections 512; }
http {
  access_log {{.Dir}}/access.log;
  client_body_temp_path {{.Dir}}/body;
  proxy_temp_path {{.Dir}}/proxy;
  fastcgi_temp_path {{.Dir}}/fastcgi;
  uwsgi_temp_path {{.Dir}}/uwsgi;
  scgi_temp_path {{.Dir}}/scgi;
  client_max_body_size 8m;
  {{.HTTP}}
  {{- range .Routes}}
  server {
    listen 127.0.0.1:{{$.Port}};
    server_name {{.Host}};
{{template "locations" .}}
  }
  {{- end}}
  {{- with .Callback}}
  server {
    listen {{.}}:{{$.Port}};
    server_name {{.}};
    location ~ ^/callback(/[a-z0-9-]+)?$ {
      proxy_set_header Host $http_host;
      proxy_pass http://{{$.Service}};
    }
  }
  {{- end}}
}
{{define "locations"}}
    location = {{.AuthLocation}} {
      internal;
      proxy_pass_request_body off;
      proxy_set_header Content-Length "";
      proxy_set_header X-Forwarded-Proto "";
      proxy_set_header X-Request-ID $request_id;
      proxy_set_header Host {{.AuthHost}};
      proxy_set_header X-Original-URL $scheme://$http_host$request_uri;
      proxy_set_header X-Original-Method $request_method;
      proxy_set_header X-Sent-From "nginx-ingress-controller";
      proxy_set_header X-Real-IP $remote_addr;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Auth-Request-Redirect $request_uri;
      proxy_buffering off;
      proxy_buffer_size 4k;
      proxy_buffers 4 4k;
      proxy_request_buffering on;
      proxy_pass_request_headers on;
      client_max_body_size 8m;
      set $target http://{{.Service}}/authenticate?host=$host;
      proxy_pass $target;
    }

    location {{.Path}}/ { {{template "protected" .}} }
    location = {{.Path}} { {{template "protected" .}} }

    location ~ ^/(authorize|consent|login|callback(/[a-z0-9-]+)?|token|register|revoke|openid/v1/jwks|\.well-known/(oauth-protected-resource|oauth-authorization-server|openid-configuration)(/.*)?)$ {
      proxy_set_header Host $http_host;
      proxy_set_header X-Request-ID $request_id;
      proxy_set_header X-Real-IP $remote_addr;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_pass http://{{.Service}};
    }{{end}}
{{define "protected"}}
      auth_request {{.AuthLocation}};
      auth_request_set $auth_cookie $upstream_http_set_cookie;
      add_header Set-Cookie $auth_cookie;
      {{- range $i, $h := headers}}
      auth_request_set $authHeader{{$i}} $upstream_http_{{variable $h}};
      proxy_set_header {{$h}} $authHeader{{$i}};
      {{- end}}
      proxy_set_header Host $http_host;
      proxy_set_header X-Request-ID $request_id;
      proxy_set_header X-Real-IP $remote_addr;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header Proxy "";
      proxy_connect_timeout 5s;
      proxy_read_timeout 3600s;
      proxy_buffering off;
      proxy_request_buffering on;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      {{.Snippet}}
      proxy_pass http://{{.MCP}};
    {{end}}
`))

// startNginx runs nginx for site. It needs no privilege.
func startNginx(t *testing.T, site nginxSite) *process {
	t.Helper()
	binary := program(t, "nginx", "/usr/sbin/nginx")
	site.Dir, site.Root = t.TempDir(), os.Getuid() == 0
	for i := range site.Routes {
		site.Routes[i].Service = site.Service
	}
	conf := filepath.Join(site.Dir, "nginx.conf")
	f, err := os.Create(conf)
	if err != nil {
		t.Fatal(err)
	}
	if err := nginxConf.Execute(f, site); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	p := start(t, "nginx", nil, binary, "-p", site.Dir, "-c", conf, "-e", "stderr")
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(site.Dir, "access.log"))
			t.Logf("---- nginx access log ----\n%s", tail(string(log), 8<<10))
		}
	})
	p.waitTCP(t, "127.0.0.1:"+site.Port)
	return p
}
